//! The two properties a CID carries besides its digest: how the block is encoded and how it was hashed.
//!
//! Codes are those of the multicodec table. This file never parses a CID.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// Multihash code of the identity "hash", whose digest is the data itself.
pub(super) const IDENTITY: u64 = 0x00;

/// How the bytes of a block are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Plain bytes: a leaf of a file.
    Raw,
    /// A node with links, see [`crate::dagpb`]; files and directories of `UnixFS` are these.
    DagPb,
    /// CBOR with links.
    DagCbor,
    /// JSON with links.
    DagJson,
    /// Plain CBOR without links.
    Cbor,
    /// Plain JSON without links.
    Json,
    /// Any other code of the multicodec table. Never holds a code that has a name here.
    Other(u64),
}

impl Codec {
    /// The multicodec code.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagPb => 0x70,
            Self::DagCbor => 0x71,
            Self::DagJson => 0x0129,
            Self::Cbor => 0x51,
            Self::Json => 0x0200,
            Self::Other(code) => code,
        }
    }

    /// Whether blocks of this codec can have links that are known here. Those of all others are leaves.
    #[must_use]
    pub const fn may_link(self) -> bool {
        matches!(self, Self::DagPb | Self::DagCbor | Self::DagJson)
    }
}

impl From<u64> for Codec {
    fn from(code: u64) -> Self {
        match code {
            0x55 => Self::Raw,
            0x70 => Self::DagPb,
            0x71 => Self::DagCbor,
            0x0129 => Self::DagJson,
            0x51 => Self::Cbor,
            0x0200 => Self::Json,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::DagPb => f.write_str("dag-pb"),
            Self::DagCbor => f.write_str("dag-cbor"),
            Self::DagJson => f.write_str("dag-json"),
            Self::Cbor => f.write_str("cbor"),
            Self::Json => f.write_str("json"),
            Self::Other(code) => write!(f, "codec {code:#x}"),
        }
    }
}

/// A hash function this crate computes. Its names (`Display`, `FromStr`) are those of the multicodec table.
///
/// The identity "hash" is deliberately not here: it names nothing but itself and is limited in length, so
/// it has its own constructor, [`crate::Cid::identity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HashFn {
    /// SHA-256, the function every IPFS tool reads.
    #[default]
    Sha2_256,
    /// SHA-512.
    Sha2_512,
    /// BLAKE3 with its 32-byte output.
    Blake3,
}

impl HashFn {
    /// The multihash code.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Sha2_256 => 0x12,
            Self::Sha2_512 => 0x13,
            Self::Blake3 => 0x1e,
        }
    }

    /// The function with this multihash code, if it is one that can be computed here.
    #[must_use]
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            0x12 => Some(Self::Sha2_256),
            0x13 => Some(Self::Sha2_512),
            0x1e => Some(Self::Blake3),
            _ => None,
        }
    }

    /// Length of a digest in bytes.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha2_256 | Self::Blake3 => 32,
            Self::Sha2_512 => 64,
        }
    }

    /// Hashes `bytes`.
    pub(super) fn digest(self, bytes: &[u8]) -> Digest {
        match self {
            Self::Sha2_256 => Digest::Short(sha2::Sha256::digest(bytes).into()),
            Self::Blake3 => Digest::Short(blake3::hash(bytes).into()),
            Self::Sha2_512 => Digest::Long(sha2::Sha512::digest(bytes).into()),
        }
    }
}

/// What [`HashFn::digest`] gives: one of the two lengths in use.
pub(super) enum Digest {
    Short([u8; 32]),
    Long([u8; 64]),
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Short(digest) => digest,
            Self::Long(digest) => digest,
        }
    }
}

impl fmt::Display for HashFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sha2_256 => "sha2-256",
            Self::Sha2_512 => "sha2-512",
            Self::Blake3 => "blake3",
        })
    }
}

/// The name of a hash function that is not offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown hash function {0:?}: use sha2-256, sha2-512 or blake3")]
pub struct UnknownHashFn(pub String);

impl FromStr for HashFn {
    type Err = UnknownHashFn;

    fn from_str(name: &str) -> Result<Self, UnknownHashFn> {
        match name {
            "sha2-256" => Ok(Self::Sha2_256),
            "sha2-512" => Ok(Self::Sha2_512),
            "blake3" => Ok(Self::Blake3),
            other => Err(UnknownHashFn(other.chars().take(32).collect())),
        }
    }
}
