//! Reads `UnixFS` blocks one at a time: what a block is, which blocks come next, and nothing fetched.
//!
//! The caller has the block (verified) and asks here what to fetch. [`kind`] says what it is, [`file()`] gives the
//! children of a file with the byte ranges they cover, [`NameLookup`] follows one name through a directory of
//! any layout, and [`list`] gives the entries of one block. Each step looks at one block, so each is bounded by
//! the size of a block; how many steps to take is the caller's budget, for a DAG can repeat a block without end.

mod directory;
mod file;

pub use self::directory::{DirEntry, Listing, NameLookup, Step, list};
pub use self::file::{Child, FileNode, file};
use super::hamt::{self, ShardError};
use super::{Data, DataError, DataType};
use crate::block::Block;
use crate::cid::{Cid, Codec};
use crate::dagpb::{self, DecodeError, Outline};

/// What a block is to somebody who walks a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Bytes of a file and nothing else.
    Raw {
        /// How many.
        size_bytes: u64,
    },
    /// A file with inner structure, or an inner node of one: see [`file()`].
    File {
        /// Length of the file under this node.
        size_bytes: u64,
    },
    /// A directory in one block: see [`NameLookup`] and [`list`].
    Directory,
    /// The root, or an inner node, of a sharded directory: see [`NameLookup`] and [`list`].
    HamtShard,
    /// A symbolic link and where it points.
    Symlink(&'a str),
}

/// Why a block cannot be walked, and which block it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("block {cid}: {reason}")]
pub struct WalkError {
    /// The block.
    pub cid: Cid,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Neither raw nor dag-pb: there may be data, but no file or directory.
    #[error("{0} is not unixfs")]
    Codec(Codec),
    /// Not a dag-pb node.
    #[error(transparent)]
    Node(#[from] DecodeError),
    /// A dag-pb node without data.
    #[error("a dag-pb node without data is not unixfs")]
    NoData,
    /// The data is not a `UnixFS` message.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The reserved type.
    #[error("unixfs metadata nodes are not supported")]
    Metadata,
    /// A file was needed.
    #[error("not a file")]
    NotAFile,
    /// A directory was needed.
    #[error("not a directory")]
    NotADirectory,
    /// A file's links and block sizes do not pair up.
    #[error("a file has {links} links and {blocksizes} block sizes")]
    Blocksizes {
        /// Number of links.
        links: usize,
        /// Number of block sizes.
        blocksizes: usize,
    },
    /// A chunk of a file has a name.
    #[error("a chunk of a file is named {0:?}")]
    NamedChunk(String),
    /// A file is larger than 2^64 bytes.
    #[error("the block sizes of a file overflow")]
    SizeOverflow,
    /// The length a file states is not the sum of its parts. A missing length reads as 0.
    #[error("a file states {stated} bytes and has {found}")]
    Size {
        /// What the node, or its parent, states.
        stated: u64,
        /// What is there.
        found: u64,
    },
    /// The parameters of a shard are not acceptable.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The name of a shard's link does not begin with a bucket.
    #[error("a shard has a link named {0:?}")]
    ShardLink(String),
    /// A bucket of a shard leads to something that is no shard.
    #[error("not a shard, but inside a sharded directory")]
    NotAShard,
    /// The trie goes on below the last bit of the hash.
    #[error("a sharded directory is deeper than its hash")]
    TooDeep,
    /// A symbolic link has links, or its target is not UTF-8.
    #[error("a malformed symbolic link")]
    Symlink,
}

/// Says what a block is. Links are counted, not looked at, so this is cheap even for large nodes.
pub fn kind(block: &Block) -> Result<Kind<'_>, WalkError> {
    kind_of(block).map_err(|reason| WalkError { cid: block.cid.clone(), reason })
}

fn kind_of(block: &Block) -> Result<Kind<'_>, Reason> {
    let (outline, data) = match block.cid.codec() {
        Codec::Raw => return Ok(Kind::Raw { size_bytes: block.bytes.len() as u64 }),
        _ => message(block)?,
    };
    match data.data_type {
        DataType::Raw | DataType::File => {
            let size_bytes = file::size(&outline, &data)?;
            Ok(Kind::File { size_bytes })
        }
        DataType::Directory => Ok(Kind::Directory),
        DataType::HamtShard => hamt::check(&data).map(|_| Kind::HamtShard).map_err(Reason::from),
        DataType::Symlink => {
            let target = std::str::from_utf8(data.data.unwrap_or_default()).map_err(|_| Reason::Symlink)?;
            if outline.links == 0 { Ok(Kind::Symlink(target)) } else { Err(Reason::Symlink) }
        }
        DataType::Metadata => Err(Reason::Metadata),
    }
}

/// The `UnixFS` message of a dag-pb block.
fn message(block: &Block) -> Result<(Outline<'_>, Data<'_>), Reason> {
    let codec = block.cid.codec();
    if codec != Codec::DagPb {
        return Err(Reason::Codec(codec));
    }
    let outline = dagpb::outline(&block.bytes)?;
    let data = Data::decode(outline.data.ok_or(Reason::NoData)?)?;
    Ok((outline, data))
}
