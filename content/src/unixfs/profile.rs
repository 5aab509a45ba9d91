//! The parameters that decide a CID: two importers that share them compute the same CID for the same bytes.
//!
//! The default is the public profile `unixfs-v1-2025` of IPIP-0499. Everything that Kubo's `ipfs add` takes can be
//! written as [`Parameters`], save content-defined chunks, modes and times. A [`Profile`] is parameters that
//! were found to be possible; nothing here looks at content.

use bytes::Bytes;

use super::hamt::Fanout;
use crate::block::{BLOCK_MAX, Block};
use crate::cid::{Cid, Codec, DIGEST_MAX, HashFn};

/// Largest chunk: leaves room in a block for what wraps it. Kubo has the same limit.
pub const CHUNK_MAX: usize = BLOCK_MAX - 256;

/// Most links in a node of a file. At 100 bytes for a link with its block size (a 68-byte CID of sha2-512, two
/// ten-byte numbers, tags) a node stays under half of [`BLOCK_MAX`].
pub const LINKS_MAX: usize = 8192;

/// Largest threshold: an unsharded directory must be a block with room to spare.
const BLOCK_THRESHOLD_MAX: usize = BLOCK_MAX / 2;

/// Largest threshold when only names and CIDs are measured: an entry that measures five bytes (an inlined empty
/// file) can take 22.
const LINKS_THRESHOLD_MAX: usize = BLOCK_MAX / 8;

/// The version in which CIDs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CidVersion {
    /// `Qm...`, for dag-pb under sha2-256. What has no such name (raw leaves, inlined blocks) is written in
    /// version 1 all the same, as everybody does.
    V0,
    /// The version that names everything.
    V1,
}

/// What the leaves of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// The bytes themselves.
    Raw,
    /// dag-pb nodes around the bytes.
    DagPb,
}

/// The shape of the tree above the leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All leaves at the same depth.
    Balanced,
    /// Each node has leaves first and then ever deeper trees.
    Trickle,
}

/// How the size of a directory is measured when it is compared with the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// `block-bytes`: the length of its single block.
    Block,
    /// `links-bytes`: the bytes of the names and of the CIDs as they are written.
    Links,
}

/// What decides a CID, possible or not: see [`Profile::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Version of CIDs and links.
    pub cid_version: CidVersion,
    /// Hash function of every block.
    pub hash_fn: HashFn,
    /// What leaves are.
    pub leaves: Leaves,
    /// Length in bytes of every leaf's content but the last, at most [`CHUNK_MAX`].
    pub chunk_bytes: usize,
    /// The tree above the leaves.
    pub layout: Layout,
    /// Most links in a node of a file, 2 to [`LINKS_MAX`]; of a trickle tree, most leaves.
    pub links_max: usize,
    /// Blocks of at most this many bytes are carried by their own CID, up to 128; `None` when no block is.
    pub inline_max: Option<usize>,
    /// Most children of one shard.
    pub hamt_fanout: Fanout,
    /// A directory that is larger than this is sharded.
    pub hamt_threshold_bytes: usize,
    /// How that is measured.
    pub hamt_measure: Measure,
}

/// How files and directories are cut into blocks: parameters that are possible together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile(Parameters);

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Chunks are empty or larger than a block has room for.
    #[error("chunks of {0} bytes are impossible: 1 to {CHUNK_MAX}")]
    Chunk(usize),
    /// A node needs two links to make a tree, and must fit a block.
    #[error("{0} links in a node are impossible: 2 to {LINKS_MAX}")]
    Links(usize),
    /// Unsharded directories could outgrow a block.
    #[error("a sharding threshold of {threshold} bytes is too large: at most {max}")]
    Threshold {
        /// The threshold.
        threshold: usize,
        /// The largest that its measure allows.
        max: usize,
    },
    /// Identity CIDs are limited (IPIP-0512).
    #[error("blocks of {0} bytes cannot be inlined: at most {DIGEST_MAX}")]
    Inline(usize),
    /// Version 0 knows one hash function.
    #[error("cids of version 0 are sha2-256 only, not {0}: use version 1")]
    HashOfV0(HashFn),
}

impl Parameters {
    const UNIXFS_V1_2025: Self = Self {
        cid_version: CidVersion::V1,
        hash_fn: HashFn::Sha2_256,
        leaves: Leaves::Raw,
        chunk_bytes: 1024 * 1024,
        layout: Layout::Balanced,
        links_max: 1024,
        inline_max: None,
        hamt_fanout: Fanout::F256,
        hamt_threshold_bytes: 256 * 1024,
        hamt_measure: Measure::Block,
    };

    const KUBO_V1: Self = Self {
        chunk_bytes: 256 * 1024,
        links_max: 174,
        hamt_measure: Measure::Links,
        ..Self::UNIXFS_V1_2025
    };
}

impl Profile {
    /// `unixfs-v1-2025`: sha2-256, raw leaves of 1 MiB, 1024 links in a node, fanout 256, directories sharded when
    /// their one block would be over 256 KiB.
    pub const UNIXFS_V1_2025: Self = Self(Parameters::UNIXFS_V1_2025);

    /// `unixfs-v0-2015`, what Kubo does when it is told nothing: version 0, dag-pb leaves of 256 KiB, 174 links in a
    /// node, fanout 256, directories sharded when names and CIDs are over 256 KiB.
    pub const UNIXFS_V0_2015: Self =
        Self(Parameters { cid_version: CidVersion::V0, leaves: Leaves::DagPb, ..Parameters::KUBO_V1 });

    /// What Kubo does when it is told only `cid-version=1`: like [`Self::UNIXFS_V0_2015`], but version 1 and raw
    /// leaves.
    pub const KUBO_V1: Self = Self(Parameters::KUBO_V1);

    /// Checks parameters. Change those of a profile:
    /// `Profile::new(Parameters { hash_fn, ..Profile::default().parameters() })`.
    pub fn new(parameters: Parameters) -> Result<Self, ProfileError> {
        let Parameters { chunk_bytes, links_max, hamt_threshold_bytes, hash_fn, .. } = parameters;
        if !(1..=CHUNK_MAX).contains(&chunk_bytes) {
            return Err(ProfileError::Chunk(chunk_bytes));
        }
        if !(2..=LINKS_MAX).contains(&links_max) {
            return Err(ProfileError::Links(links_max));
        }
        let threshold_max = match parameters.hamt_measure {
            Measure::Block => BLOCK_THRESHOLD_MAX,
            Measure::Links => LINKS_THRESHOLD_MAX,
        };
        if hamt_threshold_bytes > threshold_max {
            return Err(ProfileError::Threshold { threshold: hamt_threshold_bytes, max: threshold_max });
        }
        if let Some(inline_max) = parameters.inline_max.filter(|&max| max > DIGEST_MAX) {
            return Err(ProfileError::Inline(inline_max));
        }
        if parameters.cid_version == CidVersion::V0 && hash_fn != HashFn::Sha2_256 {
            return Err(ProfileError::HashOfV0(hash_fn));
        }
        Ok(Self(parameters))
    }

    /// The parameters.
    #[must_use]
    pub const fn parameters(&self) -> Parameters {
        self.0
    }

    /// Length in bytes of every leaf's content but the last.
    #[must_use]
    pub const fn chunk_bytes(&self) -> usize {
        self.0.chunk_bytes
    }

    /// Names a block. One that is small enough to be inlined gets a CID that carries it, and needs no store.
    pub(super) fn block(&self, codec: Codec, bytes: Bytes) -> Block {
        let inlined = self.0.inline_max.filter(|&max| bytes.len() <= max);
        if let Some(cid) = inlined.and_then(|_| Cid::identity(codec, &bytes).ok()) {
            return Block { cid, bytes };
        }
        let Block { cid, bytes } = Block::of(codec, self.0.hash_fn, bytes);
        let is_v0 = self.0.cid_version == CidVersion::V0 && codec == Codec::DagPb;
        Block { cid: if is_v0 { cid.written_v0() } else { cid }, bytes }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::UNIXFS_V1_2025
    }
}

#[cfg(test)]
mod tests {
    use super::{
        BLOCK_THRESHOLD_MAX, CHUNK_MAX, CidVersion, LINKS_MAX, LINKS_THRESHOLD_MAX, Leaves, Measure,
        Parameters, Profile, ProfileError,
    };
    use crate::cid::HashFn;

    #[test]
    fn the_named_ones_pass_their_own_checks() {
        for profile in [Profile::UNIXFS_V1_2025, Profile::UNIXFS_V0_2015, Profile::KUBO_V1] {
            assert_eq!(Profile::new(profile.parameters()), Ok(profile));
        }
    }

    #[test]
    fn impossible_profiles_are_refused() {
        let with = |change: fn(&mut Parameters)| {
            let mut parameters = Profile::default().parameters();
            change(&mut parameters);
            Profile::new(parameters).map(|_| ())
        };
        assert_eq!(with(|p| p.chunk_bytes = 0), Err(ProfileError::Chunk(0)));
        assert_eq!(with(|p| p.chunk_bytes = CHUNK_MAX + 1), Err(ProfileError::Chunk(CHUNK_MAX + 1)));
        assert_eq!(with(|p| p.links_max = 1), Err(ProfileError::Links(1)));
        assert_eq!(with(|p| p.links_max = LINKS_MAX + 1), Err(ProfileError::Links(LINKS_MAX + 1)));
        assert!(with(|p| p.hamt_threshold_bytes = BLOCK_THRESHOLD_MAX + 1).is_err());
        let by_links = with(|p| {
            (p.hamt_measure, p.hamt_threshold_bytes) = (Measure::Links, LINKS_THRESHOLD_MAX + 1);
        });
        assert!(by_links.is_err());
        assert_eq!(with(|p| p.inline_max = Some(129)), Err(ProfileError::Inline(129)));
        let most = with(|p| {
            (p.chunk_bytes, p.links_max, p.inline_max) = (CHUNK_MAX, LINKS_MAX, Some(128));
            p.hamt_threshold_bytes = BLOCK_THRESHOLD_MAX;
        });
        assert_eq!(most, Ok(()));
    }

    #[test]
    fn version_0_is_sha2_256_only() {
        let v0 = Profile::UNIXFS_V0_2015.parameters();
        for hash_fn in [HashFn::Sha2_512, HashFn::Blake3] {
            let error = Profile::new(Parameters { hash_fn, ..v0 }).unwrap_err();
            assert_eq!(error, ProfileError::HashOfV0(hash_fn));
            assert!(Profile::new(Parameters { hash_fn, cid_version: CidVersion::V1, ..v0 }).is_ok());
        }
        // Kubo has this combination, with leaves in version 1.
        assert!(Profile::new(Parameters { leaves: Leaves::Raw, ..v0 }).is_ok());
    }
}
