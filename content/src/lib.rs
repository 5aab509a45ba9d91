//! Content addressing: the rules by which bytes get their public name and a name finds its bytes.
//!
//! [`Cid`] names a [`Block`]; [`dagpb`] and [`unixfs`] turn files and directories into blocks and back;
//! [`car`] lays blocks one after another in a file, and [`dag_index`] tells which of them are still missing.
//! Everything here is a pure function of its arguments: this crate never does I/O, reads no clock, draws no
//! randomness and spawns nothing. Whoever calls it fetches, stores and hashes in parallel as it likes.
//!
//! Every parser is total. Bytes from a network or a disk give a value or an error, never a panic, and
//! nothing is allocated before its size is known to be backed by bytes that are really there.

pub mod block;
pub mod car;
pub mod cid;
pub mod dag_index;
pub mod dagpb;
pub mod ipld;
mod protobuf;
pub mod unixfs;
mod varint;

#[cfg(test)]
mod tests;

pub use crate::block::{BLOCK_MAX, Block};
pub use crate::cid::{Cid, Codec, HashFn};
