//! Valid bytes made invalid, as a failing disk or somebody with bad intent would.

use proptest::prelude::*;
use proptest::sample::Index;

/// One thing done to some bytes.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    /// Bits of one byte are flipped.
    Flip(Index, u8),
    /// What follows is gone.
    Cut(Index),
    /// Bytes are put in.
    Insert(Index, Vec<u8>),
    /// Bytes are taken out.
    Remove(Index, usize),
    /// What stands at one place stands at another as well.
    Repeat(Index, Index, usize),
}

/// A few edits; flips most of all, as they leave most of the bytes to be understood.
pub(crate) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let number = prop_oneof![Just(1_u8), Just(0x80), Just(0xff), any::<u8>()];
    let bytes = proptest::collection::vec(any::<u8>(), 1..12);
    let edit = prop_oneof![
        6 => (any::<Index>(), number).prop_map(|(at, mask)| Edit::Flip(at, mask)),
        1 => any::<Index>().prop_map(Edit::Cut),
        1 => (any::<Index>(), bytes).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => (any::<Index>(), 1..12_usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        1 => (any::<Index>(), any::<Index>(), 1..60_usize).prop_map(|(from, to, len)| Edit::Repeat(from, to, len)),
    ];
    proptest::collection::vec(edit, 1..5)
}

/// Does all of it.
pub(crate) fn damage(bytes: &mut Vec<u8>, edits: &[Edit]) {
    for edit in edits {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        match edit {
            Edit::Flip(at, mask) => bytes[at.index(len)] ^= mask,
            Edit::Cut(at) => bytes.truncate(at.index(len)),
            Edit::Insert(at, more) => drop(bytes.splice(at.index(len)..at.index(len), more.iter().copied())),
            Edit::Remove(at, count) => {
                let at = at.index(len);
                bytes.drain(at..len.min(at + count));
            }
            Edit::Repeat(from, to, count) => {
                let (from, to) = (from.index(len), to.index(len));
                let copy = bytes[from..len.min(from + count)].to_vec();
                bytes.splice(to..to, copy);
            }
        }
    }
}
