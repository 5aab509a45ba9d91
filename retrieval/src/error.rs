//! Why a read fails.

use content::{Cid, unixfs::walk::WalkError};

/// Why something could not be read. Clone, because readers that wait for the same fetch get the same answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
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
    /// A block is not what its place in the DAG demands.
    #[error("malformed data: {0}")]
    Malformed(#[from] WalkError),
    /// A CID whose hash function is not known here.
    #[error("{0} uses a hash function that is not supported")]
    UnsupportedHash(Cid),
    /// The path or the DAG is deeper, or larger, than is allowed.
    #[error("{0}")]
    TooLarge(&'static str),
    /// Too few pieces can be reached right now.
    #[error("temporarily unavailable: {0}")]
    Unavailable(String),
}
