//! Checking of a slice while it arrives. It does no I/O and waits for nothing: bytes are handed in as they
//! come.

use std::ops::Range;

use blake3::hazmat::ChainingValue;

use super::{Asked, PAIR_LEN, ProofError, Subtree, check_range, hash_leaf, hash_pair, split_pair};
use crate::ids::PieceHash;

/// A part of the slice that is expected, with the hash that it must have.
#[derive(Clone, Copy, Debug)]
struct Expected {
    subtree: Subtree,
    hash: ChainingValue,
}

/// Takes a slice in parts of any size, checks it, and leaves the bytes of the range in a buffer.
///
/// The buffer `B` is the caller's, as long as the range, and is given back by [`SliceDecoder::finish`]. Bytes
/// go to their place in it once, before they are checked; [`SliceDecoder::verified_len`] tells how many of
/// them may be used.
#[derive(Debug)]
pub struct SliceDecoder<B> {
    out: B,
    range: Range<u64>,
    asked: Asked,
    piece_len: u64,
    /// What is still expected, the next one last.
    open: Vec<Expected>,
    /// How much of the next one has arrived.
    filled: usize,
    pair: [u8; PAIR_LEN],
    /// For a chunk or group that is not wholly inside the range.
    edge: Vec<u8>,
    verified: usize,
}

impl<B: AsMut<[u8]>> SliceDecoder<B> {
    /// Expects the slice for `range` of this piece; `out` must be as long as the range.
    pub fn new(hash: PieceHash, piece_len: u64, range: Range<u64>, mut out: B) -> Result<Self, ProofError> {
        check_range(&range, piece_len)?;
        let (got, wanted) = (out.as_mut().len(), range.end - range.start);
        if u64::try_from(got) != Ok(wanted) {
            return Err(ProofError::Buffer { got, wanted });
        }
        let root = Expected { subtree: Subtree { start: 0, len: piece_len }, hash: hash.0 };
        Ok(Self {
            out,
            asked: Asked::new(&range),
            range,
            piece_len,
            open: vec![root],
            filled: 0,
            pair: [0; PAIR_LEN],
            edge: Vec::new(),
            verified: 0,
        })
    }

    /// Takes the next bytes of the slice, however many.
    pub fn push(&mut self, mut input: &[u8]) -> Result<(), ProofError> {
        while !input.is_empty() {
            let slot = self.slot().ok_or(ProofError::Trailing)?;
            let len = slot.len().min(input.len());
            let (now, later) = input.split_at(len);
            slot[..len].copy_from_slice(now);
            input = later;
            self.advance(len)?;
        }
        Ok(())
    }

    /// Where the next bytes of the slice belong; `None` when the slice is complete.
    ///
    /// After writing a number of bytes to its front, report them to [`SliceDecoder::advance`].
    pub fn slot(&mut self) -> Option<&mut [u8]> {
        let subtree = self.open.last()?.subtree;
        let filled = self.filled;
        self.whole(subtree).get_mut(filled..)
    }

    /// Notes that `len` bytes were written to the slot; checks the part of the slice that they complete.
    pub fn advance(&mut self, len: usize) -> Result<(), ProofError> {
        let Some(Expected { subtree, hash }) = self.open.last().copied() else {
            return if len == 0 { Ok(()) } else { Err(ProofError::Trailing) };
        };
        self.filled = self.filled.saturating_add(len);
        if self.filled < self.whole(subtree).len() {
            return Ok(());
        }
        self.filled = 0;
        let is_root = subtree.len == self.piece_len;
        let is_leaf = self.asked.is_leaf(subtree);
        let (left, right) = split_pair(&self.pair);
        let got = if is_leaf {
            hash_leaf(subtree.start, self.whole(subtree), is_root)
        } else {
            hash_pair(&left, &right, is_root)
        };
        if got != hash {
            return Err(ProofError::Mismatch { offset: subtree.start });
        }
        self.open.pop();
        if is_leaf {
            self.accept(subtree);
        } else {
            let trees = subtree.split();
            let children = [(trees.1, right), (trees.0, left)];
            let asked = children.into_iter().filter(|(subtree, _)| self.asked.touches(*subtree));
            self.open.extend(asked.map(|(subtree, hash)| Expected { subtree, hash }));
        }
        Ok(())
    }

    /// Where all the bytes of the next part go: the hashes of two children, or a leaf, which goes straight to
    /// its place if all of it was asked for.
    fn whole(&mut self, subtree: Subtree) -> &mut [u8] {
        if !self.asked.is_leaf(subtree) {
            return &mut self.pair;
        }
        if self.range.start <= subtree.start && subtree.end() <= self.range.end {
            // The buffer was as long as the range when it came; one that shrinks since only gets a mismatch.
            return self.out.as_mut().get_mut(offset(&self.range, subtree)).unwrap_or_default();
        }
        self.edge.resize(length(subtree), 0);
        &mut self.edge
    }

    /// Notes that a leaf is right; of a leaf on the edge, copies what was asked for.
    fn accept(&mut self, leaf: Subtree) {
        let (start, end) = (leaf.start.max(self.range.start), leaf.end().min(self.range.end));
        let part = Subtree { start, len: end.saturating_sub(start) };
        let to = offset(&self.range, part);
        self.verified = to.end;
        if part.len < leaf.len {
            let from = offset(&(leaf.start..leaf.end()), part);
            if let (Some(to), Some(from)) = (self.out.as_mut().get_mut(to), self.edge.get(from)) {
                to.copy_from_slice(from);
            }
        }
    }

    /// How many bytes from the start of the range on are checked and in the buffer.
    pub fn verified_len(&self) -> usize {
        self.verified
    }

    /// The buffer. Of its bytes, only the first [`SliceDecoder::verified_len`] are checked.
    pub fn buffer(&mut self) -> &mut [u8] {
        self.out.as_mut()
    }

    /// Whether all has arrived and been checked.
    pub fn is_complete(&self) -> bool {
        self.open.is_empty()
    }

    /// The buffer with the bytes of the range; an error if the slice is not complete.
    pub fn finish(self) -> Result<B, ProofError> {
        match self.open.last() {
            None => Ok(self.out),
            Some(next) => Err(ProofError::Truncated { offset: next.subtree.start }),
        }
    }
}

fn length(subtree: Subtree) -> usize {
    // Leaves are at most a group long, parts of a range at most as long as the buffer.
    usize::try_from(subtree.len).unwrap_or(usize::MAX)
}

/// Where a part of the piece lies in a buffer that holds `range` of the piece.
fn offset(range: &Range<u64>, part: Subtree) -> Range<usize> {
    let start = usize::try_from(part.start.saturating_sub(range.start)).unwrap_or(usize::MAX);
    start..start.saturating_add(length(part))
}
