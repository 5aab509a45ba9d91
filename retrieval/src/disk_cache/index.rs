//! Where every block of the cache is, in 24 bytes a slot and at most 30 an entry.
//!
//! An open-addressing table with linear probing, at most 4/5 full. It is written out here because a map of
//! the standard library doubles when it is full, deletions count against it, and the bound in memory must
//! hold at every moment. Placement is keyed with randomness of the process, so that nobody can choose blocks
//! that crowd one corner of the table. It knows nothing of files beyond their numbers.

use std::hash::{BuildHasher as _, RandomState};

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the file, never 0.
    pub(super) file: u32,
    /// Offset of the record's head.
    pub(super) offset: u64,
    /// Length of the block, at most [`content::BLOCK_MAX`].
    pub(super) len: u32,
    /// How often it was read since it was written, up to [`TOUCHED_MAX`].
    pub(super) touched: u8,
}

/// Reads beyond this many are not counted.
pub(super) const TOUCHED_MAX: u8 = 3;

/// Key, offset, and `file << 32 | len << 2 | touched`. An array of integers, because those are allocated as
/// zero pages that cost nothing until they are used. All zero is empty: files are numbered from 1.
type Slot = [u64; 3];

const EMPTY: Slot = [0; 3];
/// Slots of a new table.
const SLOTS_MIN: usize = 64;

/// The table.
#[derive(Debug)]
pub(super) struct Index {
    slots: Vec<Slot>,
    len: usize,
    len_max: usize,
    /// Secret of the process that decides where keys go; the second half is odd.
    placement: [u64; 2],
}

impl Index {
    /// An empty index that will hold at most `len_max` entries.
    pub(super) fn new(len_max: usize) -> Self {
        let slots = vec![EMPTY; SLOTS_MIN.min(slots_for(len_max))];
        let random = RandomState::new();
        let placement = [random.hash_one(0), random.hash_one(1) | 1];
        Self { slots, len: 0, len_max, placement }
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory the table takes.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// Where the block is.
    pub(super) fn get(&self, key: u64) -> Option<Place> {
        self.find(key).ok().map(|at| unpack(self.slots[at]))
    }

    /// Where the block is; counts a read of it.
    pub(super) fn touch(&mut self, key: u64) -> Option<Place> {
        let at = self.find(key).ok()?;
        let place = unpack(self.slots[at]);
        if place.touched < TOUCHED_MAX {
            self.slots[at][2] += 1;
        }
        Some(place)
    }

    /// Notes where a block is, instead of where it was before, which is returned. An error when the index is full.
    pub(super) fn insert(&mut self, key: u64, place: Place) -> Result<Option<Place>, Full> {
        if let Ok(at) = self.find(key) {
            let before = unpack(self.slots[at]);
            self.slots[at] = pack(key, place);
            return Ok(Some(before));
        }
        if self.len >= self.len_max {
            return Err(Full);
        }
        if (self.len + 1) * 5 > self.slots.len() * 4 {
            let slots = (self.slots.len() * 2).min(slots_for(self.len_max));
            self.rebuild(slots, |_| true);
        }
        self.put(pack(key, place));
        Ok(None)
    }

    /// Forgets the block if it is (still) at `place`, whatever its reads.
    pub(super) fn remove(&mut self, key: u64, place: Place) -> bool {
        let Ok(mut hole) = self.find(key) else { return false };
        let found = unpack(self.slots[hole]);
        if (found.file, found.offset) != (place.file, place.offset) {
            return false;
        }
        // Entries after the hole move up, unless that would put them before the slot their search starts at.
        let mut at = hole;
        loop {
            at = self.next(at);
            if self.slots[at] == EMPTY {
                break;
            }
            let home = self.home(self.slots[at][0]);
            let stays = if hole <= at { hole < home && home <= at } else { hole < home || home <= at };
            if !stays {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
        }
        self.slots[hole] = EMPTY;
        self.len -= 1;
        true
    }

    /// Forgets everything in file `number`, by going through the whole table; returns how much that was.
    pub(super) fn remove_file(&mut self, number: u32) -> usize {
        let before = self.len;
        self.rebuild(self.slots.len(), |file| file != number);
        before - self.len
    }

    fn rebuild(&mut self, slots: usize, keep: impl Fn(u32) -> bool) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        self.len = 0;
        for slot in old {
            if slot != EMPTY && keep(unpack(slot).file) {
                self.put(slot);
            }
        }
    }

    /// Puts a slot whose key is not there into the first free place.
    fn put(&mut self, slot: Slot) {
        if let Err(at) = self.find(slot[0]) {
            self.slots[at] = slot;
            self.len += 1;
        }
    }

    /// The slot of `key`, or else the empty one where it belongs. There is one, for the table is never full.
    fn find(&self, key: u64) -> Result<usize, usize> {
        let mut at = self.home(key);
        loop {
            match self.slots[at] {
                EMPTY => return Err(at),
                slot if slot[0] == key => return Ok(at),
                _ => at = self.next(at),
            }
        }
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// Where the search for `key` starts: its hash, both halves of a product folded into one, scaled to the number
    /// of slots.
    fn home(&self, key: u64) -> usize {
        let [mask, factor] = self.placement;
        let product = u128::from(key ^ mask) * u128::from(factor);
        let folded = (product >> 64) ^ (product & u128::from(u64::MAX));
        usize::try_from((folded * self.slots.len() as u128) >> 64).expect("less than the number of slots")
    }
}

/// The index holds as many entries as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Slots that hold `len` entries 4/5 full.
fn slots_for(len: usize) -> usize {
    len + len / 4 + 2
}

fn pack(key: u64, place: Place) -> Slot {
    let rest =
        u64::from(place.file) << 32 | u64::from(place.len) << 2 | u64::from(place.touched.min(TOUCHED_MAX));
    [key, place.offset, rest]
}

fn unpack([_, offset, rest]: Slot) -> Place {
    let low = |value: u64| u32::try_from(value & u64::from(u32::MAX)).expect("masked to 32 bits");
    Place { file: low(rest >> 32), offset, len: low(rest) >> 2, touched: rest.to_le_bytes()[0] & TOUCHED_MAX }
}
