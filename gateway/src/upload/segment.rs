//! A segment while it is being filled: a CARv1 in one buffer, its header's place kept free until the root is known.

use bytes::Bytes;
use content::{
    Block, Cid,
    car::{self, HEADER_LEN_ONE_ROOT},
};
use ed25519_dalek::SigningKey;
use protocol::{
    ids::SegmentId,
    record::{PinRecord, RECORD_BASE, Record},
};
use store::BlockAt;
use transfer::PooledBytes;

/// Blocks laid one behind the other.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) id: SegmentId,
    buffer: PooledBytes,
    first: Option<Cid>,
    pins: Vec<PinRecord>,
    /// Bytes that the record of those pins takes, at most.
    record_len: usize,
}

impl OpenSegment {
    /// An empty segment in `buffer`.
    pub(super) fn new(id: SegmentId, mut buffer: PooledBytes) -> Self {
        buffer.vec().resize(HEADER_LEN_ONE_ROOT, 0);
        Self { id, buffer, first: None, pins: Vec::new(), record_len: RECORD_BASE }
    }

    /// Bytes that it will have when it is closed now, at most.
    pub(super) fn len(&self) -> usize {
        self.buffer.as_ref().len() + RECORD_PREFIX_MAX + self.record_len
    }

    /// Whether there is no block in it.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether a block still fits under `limit` bytes, with the record of the uploads that were finished in here.
    pub(super) fn has_room(&self, block: &Block, limit: usize) -> bool {
        self.is_empty() || self.len() + car::frame_len(&block.cid, block.bytes.len()) <= limit
    }

    /// Copies a block in and says where it lies.
    pub(super) fn push(&mut self, block: &Block) -> BlockAt {
        self.first.get_or_insert_with(|| block.cid.clone());
        let prefix = car::frame_prefix(&block.cid, block.bytes.len());
        let buffer = self.buffer.vec();
        buffer.extend_from_slice(&prefix);
        let offset = buffer.len();
        buffer.extend_from_slice(&block.bytes);
        BlockAt {
            cid: block.cid.clone(),
            segment: self.id,
            offset_bytes: offset as u64,
            length_bytes: block.bytes.len() as u64,
        }
    }

    /// Notes an upload whose last new block is in here, for the segment's record, as far as there is room for it under
    /// `limit` bytes. The record serves to rebuild lost metadata; an upload is none the worse without it.
    pub(super) fn note_pin(&mut self, pin: PinRecord, limit: usize) {
        let room = pin.room();
        if self.record_len + room <= RECORD_MAX && self.len() + room <= limit {
            self.record_len += room;
            self.pins.push(pin);
        }
    }

    /// Appends the record and writes the header: what is in the buffer now is a whole CARv1.
    pub(super) fn close(mut self, key: &SigningKey) -> (SegmentId, PooledBytes) {
        let mut root = self.first.clone();
        if !self.pins.is_empty() {
            let record = Record { pins: std::mem::take(&mut self.pins), ..Record::default() };
            let record = record.encode(self.id, key);
            self.push(&record);
            root = Some(record.cid);
        }
        let root = root.filter(|root| car::header(std::slice::from_ref(root)).len() == HEADER_LEN_ONE_ROOT);
        // Every CID that we make has a 32-byte digest. Imported ones may not: then an empty block stands in as root.
        let root = root.unwrap_or_else(empty_root);
        let header = car::header(&[root]);
        self.buffer.vec()[..HEADER_LEN_ONE_ROOT].copy_from_slice(&header);
        (self.id, self.buffer)
    }
}

/// Bytes before a record: its length and its CID.
const RECORD_PREFIX_MAX: usize = 64;
/// Longest record: it is a block, and those have at most 2 MiB.
const RECORD_MAX: usize = content::BLOCK_MAX / 2;

fn empty_root() -> Cid {
    Block::of(content::Codec::Raw, content::HashFn::Sha2_256, Bytes::new()).cid
}

/// A segment that is a record alone, and the name of that.
pub(super) fn of_record(
    id: SegmentId,
    buffer: PooledBytes,
    record: &Record,
    key: &SigningKey,
) -> (PooledBytes, Cid) {
    let mut segment = OpenSegment::new(id, buffer);
    let block = record.encode(id, key);
    segment.push(&block);
    (segment.close(key).1, block.cid)
}
