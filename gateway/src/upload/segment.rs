//! A segment while it is being filled: a CARv1 in one buffer, its header's place kept free until the root is known.

use bytes::Bytes;
use content::{
    Block, Cid,
    car::{self, HEADER_LEN_ONE_ROOT},
};
use protocol::{
    ids::SegmentId,
    record::{self, PinRecord},
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
}

impl OpenSegment {
    /// An empty segment in `buffer`.
    pub(super) fn new(id: SegmentId, mut buffer: PooledBytes) -> Self {
        buffer.vec().resize(HEADER_LEN_ONE_ROOT, 0);
        Self { id, buffer, first: None, pins: Vec::new() }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.buffer.as_ref().len()
    }

    /// Whether there is no block in it.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether a block still fits under `limit` bytes, with room for the record of finished uploads.
    pub(super) fn has_room(&self, block: &Block, limit: usize) -> bool {
        let record = RECORD_BASE + RECORD_PER_PIN * (self.pins.len() + 1);
        self.is_empty() || self.len() + car::frame_len(&block.cid, block.bytes.len()) + record <= limit
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

    /// Notes an upload whose last new block is in here, for the segment's record.
    pub(super) fn note_pin(&mut self, pin: PinRecord) {
        self.pins.push(pin);
    }

    /// Appends the record and writes the header: what is in the buffer now is a whole CARv1.
    pub(super) fn close(mut self) -> (SegmentId, PooledBytes) {
        let mut root = self.first.clone();
        if !self.pins.is_empty() {
            let record = record::encode(&self.pins);
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

/// Bytes of a record without pins, generously.
const RECORD_BASE: usize = 128;
/// Bytes of one pin in a record, generously.
const RECORD_PER_PIN: usize = 160;

fn empty_root() -> Cid {
    Block::of(content::Codec::Raw, content::HashFn::Sha2_256, Bytes::new()).cid
}
