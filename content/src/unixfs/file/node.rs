//! An inner node of a file while it is being filled. Which parts it gets is decided by the layouts.

use bytes::Bytes;

use super::{Part, state::push_bytes};
use crate::block::Block;
use crate::cid::Codec;
use crate::dagpb::{self, Link};
use crate::protobuf;
use crate::unixfs::profile::Profile;
use crate::unixfs::{BLOCKSIZES, Data, DataType};

/// A node that is being filled. It keeps links and block sizes encoded, which takes a third of the memory and
/// makes finishing it a copy.
#[derive(Debug, Default)]
pub(super) struct OpenNode {
    links: Vec<u8>,
    blocksizes: Vec<u8>,
    count: usize,
    size_bytes: u64,
    dag_size_bytes: u64,
}

impl OpenNode {
    /// How many parts it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the file under its parts.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Appends the node to a builder's state.
    pub(super) fn save(&self, out: &mut Vec<u8>) {
        push_bytes(out, &self.links);
        push_bytes(out, &self.blocksizes);
    }

    pub(super) fn push(&mut self, part: &Part) {
        // The empty name is written, not left out: the published CIDs have it so.
        let link = Link { cid: part.cid.clone(), name: Some(""), tsize: Some(part.dag_size_bytes) };
        link.push(&mut self.links);
        protobuf::push_varint(&mut self.blocksizes, BLOCKSIZES, part.size_bytes);
        self.count += 1;
        // 2^64 bytes cannot be pushed in anyone's lifetime; a caller that lies about lengths gets a wrong sum.
        self.size_bytes = self.size_bytes.saturating_add(part.size_bytes);
        self.dag_size_bytes = self.dag_size_bytes.saturating_add(part.dag_size_bytes);
    }

    /// Makes the block of this node, adds it to `blocks` unless its CID carries it, and leaves the node empty.
    pub(super) fn seal(&mut self, profile: &Profile, blocks: &mut Vec<Block>) -> Part {
        let node = std::mem::take(self);
        let mut data = Data { filesize: Some(node.size_bytes), ..Data::new(DataType::File) }.encode();
        data.extend(node.blocksizes);
        let mut bytes = node.links;
        dagpb::push_data(&mut bytes, &data);
        let dag_size_bytes = node.dag_size_bytes.saturating_add(bytes.len() as u64);
        let block = profile.block(Codec::DagPb, Bytes::from(bytes));
        let part = Part { cid: block.cid.clone(), size_bytes: node.size_bytes, dag_size_bytes };
        blocks.extend(block.to_store());
        part
    }
}
