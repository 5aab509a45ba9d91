//! Why a read fails.

use content::{Cid, ipld::IpldError, unixfs::walk::WalkError};

use crate::denylist::Denial;

/// Why something could not be read. Clone, because readers that wait for the same fetch get the same answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A rule denies the block, or the path below it.
    #[error("{0} {1}")]
    Denied(Cid, Denial),
    /// Nobody stores a block of this name.
    #[error("{0} is not stored here")]
    NotFound(Cid),
    /// A path component that does not exist.
    #[error("no link named {name:?} under {parent}")]
    NoLink {
        /// Where it was looked for.
        parent: Cid,
        /// The missing component.
        name: String,
    },
    /// The path goes on below something that is no directory.
    #[error("{0} is not a directory")]
    NotADirectory(Cid),
    /// The path ends at a value within a block.
    #[error("{0}: reading IPLD Kinds other than Links (CBOR Tag 42) is not implemented")]
    NotALink(Cid),
    /// A block is not what its place in the DAG demands.
    #[error("malformed data: {0}")]
    Malformed(#[from] WalkError),
    /// A block is not what its codec says.
    #[error("malformed data: block {0}: {1}")]
    BadData(Cid, IpldError),
    /// A CID whose hash function is not known here.
    #[error("{0} uses a hash function that is not supported")]
    UnsupportedHash(Cid),
    /// The path or the DAG is deeper, or larger, than is allowed.
    #[error("{0}")]
    TooLarge(&'static str),
    /// Something that cannot be put into an archive.
    #[error("{0}")]
    NoArchive(String),
    /// Nobody could say where a block is.
    #[error("temporarily unavailable: {0}")]
    Unlocated(String),
    /// Too few pieces can be reached right now.
    #[error("temporarily unavailable: {0}")]
    Unavailable(String),
    /// The answer took longer than it may.
    #[error("temporarily unavailable: nothing came in time")]
    TooSlow,
}
