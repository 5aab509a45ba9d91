//! `UnixFS`: files, directories and symbolic links as blocks.
//!
//! This file is the message that sits in the data of a dag-pb node, and nothing more: its rules across links
//! are in [`walk`]. Writing starts at [`mod@file`] for the bytes of one file and at [`tree`] for many files under
//! paths; [`directory`] is one directory, [`hamt`] the layout of those too large for one block, and
//! [`profile`] the parameters that two parties must share to compute the same CID. Reading is [`walk`].

pub mod directory;
pub mod file;
pub mod hamt;
pub mod profile;
pub mod tree;
pub mod walk;

#[cfg(test)]
mod tests;

use crate::block::BLOCK_MAX;
use crate::cid::Cid;
use crate::protobuf::{self, Fields, Value, WireError};
use crate::varint;

const TYPE: u32 = 1;
const DATA: u32 = 2;
const FILESIZE: u32 = 3;
const BLOCKSIZES: u32 = 4;
const HASH_TYPE: u32 = 5;
const FANOUT: u32 = 6;
const MODE: u32 = 7;
const MTIME: u32 = 8;
const MTIME_SECONDS: u32 = 1;
const MTIME_NANOS: u32 = 2;

/// Most block sizes a node can have: each belongs to a link, and no link is shorter than eight bytes
/// (two tags, two lengths, a four-byte CID).
const BLOCKSIZES_MAX: usize = BLOCK_MAX / 8;

/// What a link points at: a CID and how much is under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The block the link names.
    pub cid: Cid,
    /// Bytes of that block and of all blocks under it, counting a repeated block each time (`Tsize`). When read
    /// from a block it is the writer's claim, and 0 when there was none.
    pub dag_size_bytes: u64,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// A leaf of old files: read like a file, never written.
    Raw,
    /// A directory in one block.
    Directory,
    /// A file, or an inner node of one.
    File,
    /// Reserved; nothing uses it.
    Metadata,
    /// A symbolic link.
    Symlink,
    /// One block of a sharded directory.
    HamtShard,
}

/// A modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mtime {
    /// Seconds since the Unix epoch, negative before it.
    pub seconds: i64,
    /// Nanoseconds within the second, below one thousand million.
    pub nanos: u32,
}

/// The message in the data of a dag-pb node, as far as it was present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data<'a> {
    /// What the node is.
    pub data_type: DataType,
    /// Bytes of a file that precede those of its links, target of a symlink, or bitmap of a shard.
    pub data: Option<&'a [u8]>,
    /// Length of the file in bytes.
    pub filesize: Option<u64>,
    /// Length of the file under each link.
    pub blocksizes: Vec<u64>,
    /// Multihash code of the function that spreads names over shards.
    pub hash_type: Option<u64>,
    /// How many children a shard can have.
    pub fanout: Option<u64>,
    /// POSIX mode bits.
    pub mode: Option<u32>,
    /// Modification time; a malformed one reads as none.
    pub mtime: Option<Mtime>,
}

/// Why bytes are not a `UnixFS` message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// Not protobuf.
    #[error("the unixfs data is malformed: {0}")]
    Wire(#[from] WireError),
    /// A known field with another wire type.
    #[error("field {0} of the unixfs data has the wrong type")]
    Field(u32),
    /// The type is missing.
    #[error("the unixfs data has no type")]
    NoType,
    /// The type is not one of the six.
    #[error("unixfs type {0} is unknown")]
    Type(u64),
    /// More block sizes than a block has room for links.
    #[error("the unixfs data has more block sizes than a block can have links")]
    TooManyBlocksizes,
}

impl DataType {
    fn from_code(code: u64) -> Result<Self, DataError> {
        Ok(match code {
            0 => Self::Raw,
            1 => Self::Directory,
            2 => Self::File,
            3 => Self::Metadata,
            4 => Self::Symlink,
            5 => Self::HamtShard,
            other => return Err(DataError::Type(other)),
        })
    }

    const fn code(self) -> u64 {
        match self {
            Self::Raw => 0,
            Self::Directory => 1,
            Self::File => 2,
            Self::Metadata => 3,
            Self::Symlink => 4,
            Self::HamtShard => 5,
        }
    }
}

impl<'a> Data<'a> {
    /// A message with nothing but its type.
    #[must_use]
    pub const fn new(data_type: DataType) -> Self {
        Self {
            data_type,
            data: None,
            filesize: None,
            blocksizes: Vec::new(),
            hash_type: None,
            fanout: None,
            mode: None,
            mtime: None,
        }
    }

    /// Decodes the message. Unknown fields are skipped and of a repeated field the last counts, as protobuf
    /// demands; block sizes may be packed.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DataError> {
        let mut data_type = None;
        let mut out = Self::new(DataType::Raw);
        for field in Fields::new(bytes) {
            match field? {
                (TYPE, Value::Varint(code)) => data_type = Some(DataType::from_code(code)?),
                (DATA, Value::Bytes(bytes)) => out.data = Some(bytes),
                (FILESIZE, Value::Varint(size)) => out.filesize = Some(size),
                (BLOCKSIZES, Value::Varint(size)) => out.push_blocksize(size)?,
                (BLOCKSIZES, Value::Bytes(packed)) => out.push_packed(packed)?,
                (HASH_TYPE, Value::Varint(code)) => out.hash_type = Some(code),
                (FANOUT, Value::Varint(fanout)) => out.fanout = Some(fanout),
                // Mode and time are decoration: a wrong one is no reason to withhold the file.
                (MODE, Value::Varint(mode)) => out.mode = u32::try_from(mode).ok(),
                (MTIME, Value::Bytes(bytes)) => out.mtime = decode_mtime(bytes),
                (MODE | MTIME, _) => {}
                (number @ TYPE..=FANOUT, _) => return Err(DataError::Field(number)),
                _ => {}
            }
        }
        out.data_type = data_type.ok_or(DataError::NoType)?;
        Ok(out)
    }

    /// Encodes the message, fields in order of their numbers and block sizes unpacked, as every other
    /// implementation does.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.data.map_or(0, <[u8]>::len) + 4 * self.blocksizes.len());
        protobuf::push_varint(&mut out, TYPE, self.data_type.code());
        if let Some(data) = self.data {
            protobuf::push_bytes(&mut out, DATA, data);
        }
        let push = |out: &mut Vec<u8>, number, value: Option<u64>| {
            if let Some(value) = value {
                protobuf::push_varint(out, number, value);
            }
        };
        push(&mut out, FILESIZE, self.filesize);
        for &size in &self.blocksizes {
            protobuf::push_varint(&mut out, BLOCKSIZES, size);
        }
        push(&mut out, HASH_TYPE, self.hash_type);
        push(&mut out, FANOUT, self.fanout);
        push(&mut out, MODE, self.mode.map(u64::from));
        if let Some(mtime) = self.mtime {
            protobuf::push_bytes(&mut out, MTIME, &encode_mtime(mtime));
        }
        out
    }

    fn push_blocksize(&mut self, size: u64) -> Result<(), DataError> {
        if self.blocksizes.len() == BLOCKSIZES_MAX {
            return Err(DataError::TooManyBlocksizes);
        }
        self.blocksizes.push(size);
        Ok(())
    }

    fn push_packed(&mut self, mut packed: &[u8]) -> Result<(), DataError> {
        while !packed.is_empty() {
            let (size, len) = varint::read(packed).map_err(WireError::from)?;
            self.push_blocksize(size)?;
            packed = &packed[len..];
        }
        Ok(())
    }
}

fn decode_mtime(bytes: &[u8]) -> Option<Mtime> {
    let mut seconds = None;
    let mut nanos = 0;
    for field in Fields::new(bytes) {
        match field.ok()? {
            (MTIME_SECONDS, Value::Varint(value)) => seconds = Some(value.cast_signed()),
            (MTIME_NANOS, Value::Fixed32(value)) => nanos = value,
            _ => {}
        }
    }
    (nanos < 1_000_000_000).then_some(Mtime { seconds: seconds?, nanos })
}

fn encode_mtime(mtime: Mtime) -> Vec<u8> {
    let mut out = Vec::new();
    protobuf::push_varint(&mut out, MTIME_SECONDS, mtime.seconds.cast_unsigned());
    // The specification wants a fraction of zero left out.
    if mtime.nanos != 0 {
        varint::push(&mut out, u64::from(MTIME_NANOS) << 3 | 5);
        out.extend_from_slice(&mtime.nanos.to_le_bytes());
    }
    out
}
