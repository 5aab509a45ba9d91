//! The parameters that decide a CID: two importers that share them compute the same CID for the same bytes.
//!
//! The default is the public profile `unixfs-v1-2025` of IPIP-0499. CID version 1, raw leaves and the balanced
//! layout are not parameters here: nothing else is ever written.

use super::hamt::{Fanout, FanoutError};
use crate::block::BLOCK_MAX;
use crate::cid::HashFn;

/// Most links in a node of a file. At 100 bytes for a link with its block size (a 68-byte CID of sha2-512, two
/// ten-byte numbers, tags) a node stays under half of [`BLOCK_MAX`].
const LINKS_MAX: usize = 8192;

/// Largest threshold: an unsharded directory must be a block with room to spare.
const HAMT_THRESHOLD_MAX: usize = BLOCK_MAX / 2;

/// How files and directories are cut into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    hash_fn: HashFn,
    chunk_bytes: usize,
    links_max: usize,
    hamt_fanout: Fanout,
    hamt_threshold_bytes: usize,
}

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Chunks are empty or larger than a block.
    #[error("chunks of {0} bytes are impossible: 1 to 2097152")]
    Chunk(usize),
    /// A node needs two links to make a tree, and must fit a block.
    #[error("{0} links in a node are impossible: 2 to 8192")]
    Links(usize),
    /// The fanout of sharded directories.
    #[error(transparent)]
    Fanout(#[from] FanoutError),
    /// Unsharded directories could outgrow a block.
    #[error("a sharding threshold of {0} bytes is too large: at most 1048576")]
    Threshold(usize),
}

impl Profile {
    /// `unixfs-v1-2025`: sha2-256, leaves of 1 MiB, 1024 links in a node, fanout 256, directories sharded when
    /// their one block would be over 256 KiB.
    pub const UNIXFS_V1_2025: Self = Self {
        hash_fn: HashFn::Sha2_256,
        chunk_bytes: 1024 * 1024,
        links_max: 1024,
        hamt_fanout: Fanout::F256,
        hamt_threshold_bytes: 256 * 1024,
    };

    /// A profile of one's own.
    pub fn new(
        hash_fn: HashFn,
        chunk_bytes: usize,
        links_max: usize,
        hamt_fanout: u64,
        hamt_threshold_bytes: usize,
    ) -> Result<Self, ProfileError> {
        if !(1..=BLOCK_MAX).contains(&chunk_bytes) {
            return Err(ProfileError::Chunk(chunk_bytes));
        }
        if !(2..=LINKS_MAX).contains(&links_max) {
            return Err(ProfileError::Links(links_max));
        }
        if hamt_threshold_bytes > HAMT_THRESHOLD_MAX {
            return Err(ProfileError::Threshold(hamt_threshold_bytes));
        }
        let hamt_fanout = Fanout::new(hamt_fanout)?;
        Ok(Self { hash_fn, chunk_bytes, links_max, hamt_fanout, hamt_threshold_bytes })
    }

    /// The same cut with another hash function.
    #[must_use]
    pub const fn with_hash_fn(self, hash_fn: HashFn) -> Self {
        Self { hash_fn, ..self }
    }

    /// Hash function of every block.
    #[must_use]
    pub const fn hash_fn(&self) -> HashFn {
        self.hash_fn
    }

    /// Length in bytes of every leaf but the last.
    #[must_use]
    pub const fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// Most links in a node of a file.
    #[must_use]
    pub const fn links_max(&self) -> usize {
        self.links_max
    }

    /// Most children of one shard.
    #[must_use]
    pub const fn hamt_fanout(&self) -> Fanout {
        self.hamt_fanout
    }

    /// A directory is sharded when its single block would have more bytes than this.
    #[must_use]
    pub const fn hamt_threshold_bytes(&self) -> usize {
        self.hamt_threshold_bytes
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::UNIXFS_V1_2025
    }
}

#[cfg(test)]
mod tests {
    use super::Profile;
    use crate::cid::HashFn;

    #[test]
    fn the_default_passes_its_own_checks() {
        let made = Profile::new(HashFn::Sha2_256, 1 << 20, 1024, 256, 1 << 18);
        assert_eq!(made, Ok(Profile::default()));
    }

    #[test]
    fn impossible_profiles_are_refused() {
        for (chunk, links, fanout, threshold) in
            [(0, 2, 256, 0), (1 << 22, 2, 256, 0), (1, 1, 256, 0), (1, 2, 100, 0), (1, 2, 256, 1 << 21)]
        {
            assert!(Profile::new(HashFn::Blake3, chunk, links, fanout, threshold).is_err());
        }
    }
}
