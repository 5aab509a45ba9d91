//! A piece store in memory that behaves like the one on disk, for simulations of many nodes in one process.
//!
//! It can be told to misbehave, so that a simulation can show what the network does about it.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    sync::{Arc, Weak},
};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use protocol::{ids::PieceHash, piece::PieceMeta, time::UnixMillis, unpin::PieceUnpin};

use super::{
    CompactProgress, Described, Inventory, Listed, PieceReader, PieceStore, PutError, PutPiece, ReadError,
    ScrubProgress, Stats, StoreError, Stored,
    disk::checked_len,
    outboard::hash_piece,
    proof::{self, SliceSource},
    read::copy,
    record::HEADER_LEN,
};

/// How a [`MemoryPieceStore`] treats its callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// As promised.
    #[default]
    Honest,
    /// Gives altered bytes and checks nothing.
    Lies,
    /// Says that it stored what it throws away.
    Forgets,
}

/// Pieces in memory.
#[derive(Debug, Clone)]
pub struct MemoryPieceStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    pieces: BTreeMap<PieceHash, Piece>,
    capacity_bytes: u64,
    used_bytes: u64,
    reserved_bytes: u64,
    scrub_cursor: Option<PieceHash>,
    behaviour: Behaviour,
}

#[derive(Clone, Debug)]
struct Piece {
    meta: PieceMeta,
    stored_at: UnixMillis,
    data: Bytes,
    outboard: Bytes,
    corrupt: bool,
    reported: bool,
}

impl Piece {
    fn used_bytes(&self) -> u64 {
        (self.data.len() + self.outboard.len() + HEADER_LEN) as u64
    }

    fn is_sound(&self) -> bool {
        hash_piece(&self.data)
            .is_some_and(|(hash, outboard)| hash == self.meta.hash && outboard == self.outboard)
    }
}

impl SliceSource for Piece {
    fn read_data(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        copy(&self.data, offset, out)
    }

    fn read_outboard(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        copy(&self.outboard, offset, out)
    }
}

impl MemoryPieceStore {
    /// An empty store.
    pub fn new(capacity_bytes: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State { capacity_bytes, ..State::default() })) }
    }

    /// Changes how the store treats its callers from now on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.state.lock().behaviour = behaviour;
    }

    /// Loses everything, as a dead disk does.
    pub fn lose_everything(&self) {
        let mut state = self.state.lock();
        state.pieces.clear();
        state.used_bytes = 0;
    }

    /// Flips one bit of a piece where it is stored, unnoticed; `false` if the piece is not here.
    pub fn flip_bit(&self, hash: PieceHash, offset: usize) -> bool {
        let mut state = self.state.lock();
        let Some(piece) = state.pieces.get_mut(&hash) else { return false };
        let mut data = BytesMut::from(&piece.data[..]);
        let at = offset % data.len();
        data[at] ^= 1;
        piece.data = data.freeze();
        true
    }
}

impl State {
    fn mark(&mut self, hash: PieceHash) {
        if let Some(piece) = self.pieces.get_mut(&hash) {
            piece.corrupt = true;
        }
    }
}

struct MemoryPut {
    state: Arc<Mutex<State>>,
    meta: PieceMeta,
    now: UnixMillis,
    piece_len: usize,
    data: BytesMut,
    reserved: u64,
}

impl Drop for MemoryPut {
    fn drop(&mut self) {
        self.state.lock().reserved_bytes -= self.reserved;
    }
}

impl MemoryPut {
    fn take(&mut self, bytes: &[u8]) -> Result<(), PutError> {
        if self.data.len() + bytes.len() > self.piece_len {
            return Err(PutError::WrongLength { hash: self.meta.hash });
        }
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    fn store(mut self) -> Result<Stored, PutError> {
        let data = std::mem::take(&mut self.data).freeze();
        if data.len() != self.piece_len {
            return Err(PutError::WrongLength { hash: self.meta.hash });
        }
        let (found, outboard) = hash_piece(&data).ok_or(PutError::WrongLength { hash: self.meta.hash })?;
        if found != self.meta.hash {
            return Err(PutError::WrongHash { expected: self.meta.hash, found });
        }
        let mut state = self.state.lock();
        if state.behaviour == Behaviour::Forgets {
            return Ok(Stored::New);
        }
        if let Some(held) = state.pieces.get_mut(&found).filter(|held| !held.corrupt) {
            held.stored_at = held.stored_at.max(self.now);
            return Ok(Stored::AlreadyHeld);
        }
        let (meta, stored_at, outboard) = (self.meta, self.now, Bytes::from(outboard));
        let piece = Piece { meta, stored_at, data, outboard, corrupt: false, reported: false };
        state.used_bytes += piece.used_bytes();
        if let Some(replaced) = state.pieces.insert(found, piece) {
            state.used_bytes -= replaced.used_bytes();
        }
        Ok(Stored::New)
    }
}

impl PutPiece for MemoryPut {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), PutError>> {
        std::future::ready(self.take(&bytes)).boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Stored, PutError>> {
        async move { self.store() }.boxed()
    }
}

#[derive(Debug)]
struct MemoryReader {
    state: Weak<Mutex<State>>,
    piece: Piece,
    lies: bool,
}

impl PieceReader for MemoryReader {
    fn meta(&self) -> &PieceMeta {
        &self.piece.meta
    }

    fn piece_len(&self) -> u64 {
        self.piece.data.len() as u64
    }

    fn stored_at(&self) -> UnixMillis {
        self.piece.stored_at
    }

    fn slice(
        &self,
        range: Range<u64>,
        sink: &mut dyn FnMut(Bytes) -> io::Result<()>,
    ) -> Result<(), ReadError> {
        let hash = self.piece.meta.hash;
        let mut altered = |part: Bytes| {
            let mut part = BytesMut::from(&part[..]);
            if let Some(last) = part.last_mut() {
                *last ^= 1;
            }
            sink(part.freeze())
        };
        let sink: &mut dyn FnMut(Bytes) -> io::Result<()> = if self.lies { &mut altered } else { sink };
        proof::encode_slice(hash, self.piece_len(), &self.piece, &range, sink).map_err(|error| {
            let error = ReadError::of_slice(hash, error);
            if let (ReadError::Corrupt(hash), Some(state)) = (&error, self.state.upgrade()) {
                state.lock().mark(*hash);
            }
            error
        })
    }
}

impl PieceStore for MemoryPieceStore {
    fn put(&self, meta: PieceMeta, now: UnixMillis) -> Result<Box<dyn PutPiece>, PutError> {
        let piece_len = checked_len(&meta)?;
        let mut state = self.state.lock();
        let held = state.pieces.get(&meta.hash).is_some_and(|held| !held.corrupt);
        let bytes = u64::from(piece_len) + proof::outboard_len(u64::from(piece_len)) + HEADER_LEN as u64;
        let reserved = if held { 0 } else { bytes };
        if state.used_bytes + state.reserved_bytes + reserved > state.capacity_bytes {
            return Err(PutError::NoSpace { bytes });
        }
        state.reserved_bytes += reserved;
        let (state, piece_len, data) = (Arc::clone(&self.state), piece_len as usize, BytesMut::new());
        Ok(Box::new(MemoryPut { state, meta, now, piece_len, data, reserved }))
    }

    fn delete(&self, unpins: Vec<PieceUnpin>) -> BoxFuture<'static, Result<usize, StoreError>> {
        let mut state = self.state.lock();
        let mut count = 0;
        for PieceUnpin { hash, stored_before } in unpins {
            if state.pieces.get(&hash).is_some_and(|piece| piece.stored_at >= stored_before) {
                continue;
            }
            if let Some(piece) = state.pieces.remove(&hash) {
                state.used_bytes -= piece.used_bytes();
                count += 1;
            }
        }
        std::future::ready(Ok(count)).boxed()
    }

    fn read(&self, hash: PieceHash) -> Result<Box<dyn PieceReader>, ReadError> {
        let state = self.state.lock();
        let piece = state.pieces.get(&hash).ok_or(ReadError::NotFound(hash))?.clone();
        if piece.corrupt {
            return Err(ReadError::Corrupt(hash));
        }
        let lies = state.behaviour == Behaviour::Lies;
        Ok(Box::new(MemoryReader { state: Arc::downgrade(&self.state), piece, lies }))
    }

    fn list(&self, after: Option<PieceHash>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let state = self.state.lock();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let line = |(hash, piece): (&PieceHash, &Piece)| Listed {
            hash: *hash,
            stored_at: piece.stored_at,
            piece_len: piece.data.len() as u64,
            corrupt: piece.corrupt,
        };
        Ok(state.pieces.range((from, std::ops::Bound::Unbounded)).take(limit).map(line).collect())
    }

    fn inventory(&self, after: Option<PieceHash>, limit: usize) -> Result<Inventory, StoreError> {
        let state = self.state.lock();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let line = |piece: &Piece| Described {
            meta: piece.meta,
            stored_at: piece.stored_at,
            corrupt: piece.corrupt,
        };
        let pieces: Vec<Described> = state
            .pieces
            .range((from, std::ops::Bound::Unbounded))
            .take(limit)
            .map(|(_, piece)| line(piece))
            .collect();
        Ok(Inventory { last: pieces.last().map(|piece| piece.meta.hash), pieces })
    }

    fn problems(&self, limit: usize) -> Result<Vec<PieceHash>, StoreError> {
        let state = self.state.lock();
        let open = state.pieces.iter().filter(|(_, piece)| piece.corrupt && !piece.reported);
        Ok(open.map(|(hash, _)| *hash).take(limit).collect())
    }

    fn forget_problem(&self, hash: PieceHash) -> Result<(), StoreError> {
        if let Some(piece) = self.state.lock().pieces.get_mut(&hash) {
            piece.reported = piece.corrupt;
        }
        Ok(())
    }

    fn scrub_step(&self, budget_bytes: u64) -> Result<ScrubProgress, StoreError> {
        let mut state = self.state.lock();
        let mut progress = ScrubProgress::default();
        let from = state.scrub_cursor.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut damaged = Vec::new();
        let mut cursor = None;
        for (hash, piece) in
            state.pieces.range((from, std::ops::Bound::Unbounded)).filter(|(_, piece)| !piece.corrupt)
        {
            progress.pieces += 1;
            progress.bytes += piece.used_bytes();
            damaged.extend((!piece.is_sound()).then_some(*hash));
            if progress.bytes >= budget_bytes {
                cursor = Some(*hash);
                break;
            }
        }
        state.scrub_cursor = cursor;
        progress.wrapped = cursor.is_none();
        progress.corrupt = damaged.len() as u64;
        for hash in damaged {
            state.mark(hash);
        }
        Ok(progress)
    }

    fn compact_step(&self, _budget_bytes: u64) -> Result<CompactProgress, StoreError> {
        Ok(CompactProgress::default())
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn stats(&self) -> Stats {
        let state = self.state.lock();
        let taken = state.used_bytes + state.reserved_bytes;
        Stats {
            pieces: state.pieces.len() as u64,
            corrupt_pieces: state.pieces.values().filter(|piece| piece.corrupt).count() as u64,
            used_bytes: state.used_bytes,
            dead_bytes: 0,
            reserved_bytes: state.reserved_bytes,
            capacity_bytes: state.capacity_bytes,
            free_bytes: state.capacity_bytes.saturating_sub(taken),
        }
    }
}
