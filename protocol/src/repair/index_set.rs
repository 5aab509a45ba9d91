//! Sets of piece indices, small enough to be copied about for millions of segments.

use std::fmt;

use crate::redundancy::TOTAL_MAX;

/// Indices under 64, as bits of a number.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct IndexSet(u64);

impl IndexSet {
    /// All indices under `end`.
    pub fn below(end: u8) -> Self {
        Self(1_u64.checked_shl(end.into()).map_or(u64::MAX, |bit| bit - 1))
    }

    /// Adds an index; one that is not under 64 is left out, as no segment has it.
    pub fn insert(&mut self, index: u8) {
        self.0 |= bit(index);
    }

    /// Whether the index is in the set.
    pub fn contains(self, index: u8) -> bool {
        self.0 & bit(index) != 0
    }

    /// How many indices there are.
    pub fn len(self) -> u8 {
        u8::try_from(self.0.count_ones()).unwrap_or(TOTAL_MAX)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The smallest `count` of them.
    #[must_use]
    pub fn first(self, count: usize) -> Self {
        self.iter().take(count).collect()
    }

    /// The indices, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..TOTAL_MAX).filter(move |&index| self.contains(index))
    }
}

fn bit(index: u8) -> u64 {
    1_u64.checked_shl(index.into()).unwrap_or(0)
}

impl FromIterator<u8> for IndexSet {
    fn from_iter<I: IntoIterator<Item = u8>>(indices: I) -> Self {
        let mut set = Self::default();
        indices.into_iter().for_each(|index| set.insert(index));
        set
    }
}

impl fmt::Debug for IndexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
