//! How a segment is repaired: what is read, what is rebuilt, what stays.

use super::{IndexSet, SegmentHealth};

/// What a repair does. It only ever adds healthy pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairPlan {
    /// Indices to read from, best first; any `needed` of them are enough. Data pieces that stay come first,
    /// since each of them is one that need not be decoded.
    pub sources: Vec<u8>,
    /// Indices to rebuild and place on nodes that hold no piece of the segment.
    pub rebuild: IndexSet,
    /// Indices whose pieces stay.
    pub keep: IndexSet,
}

/// Why there is nothing to do, or nothing can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlan {
    /// No repair is due.
    #[error("{healthy} of {total} pieces are healthy, no repair is due")]
    NotDue {
        /// Healthy pieces.
        healthy: u8,
        /// All pieces.
        total: u8,
    },
    /// Too few pieces can be read; perhaps later.
    #[error("{retrievable} pieces can be read, {needed} are needed")]
    Unreadable {
        /// Pieces that can be read.
        retrievable: u8,
        /// Pieces that are needed.
        needed: u8,
    },
    /// No node can take a piece.
    #[error("no node can take a piece")]
    NoHome,
}

impl SegmentHealth {
    /// Plans the repair of a segment when `homes` nodes can take a new piece.
    ///
    /// With fewer homes than missing pieces it rebuilds as many as find one, data pieces first (they save
    /// readers the decoding). Pieces on suspended nodes stay: they may recover, and until then can be read.
    pub fn plan(&self, homes: usize) -> Result<RepairPlan, NoPlan> {
        let redundancy = self.redundancy;
        if !self.is_rebuildable() {
            return Err(NoPlan::Unreadable {
                retrievable: self.retrievable.len(),
                needed: redundancy.needed,
            });
        }
        if !self.needs_repair() {
            return Err(NoPlan::NotDue { healthy: self.healthy.len(), total: redundancy.total });
        }
        if homes == 0 {
            return Err(NoPlan::NoHome);
        }
        let rebuild = self.missing().first(homes);
        let data = IndexSet::below(redundancy.needed);
        let (steady, shaky) = (self.retrievable.and(self.healthy), self.retrievable.without(self.healthy));
        let groups = [steady.and(data), steady.without(data), shaky.and(data), shaky.without(data)];
        Ok(RepairPlan {
            sources: groups.into_iter().flat_map(IndexSet::iter).collect(),
            rebuild,
            keep: self.existing,
        })
    }
}
