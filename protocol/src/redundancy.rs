//! How many pieces a segment gets, when an upload is acknowledged and when a repair is due.

use serde::{Deserialize, Serialize};

use crate::rules::{Checks, InvalidRules};

/// Most pieces of one segment: the sets of indices in repair are 64 bits wide, and so is the erasure code's
/// limit.
pub const TOTAL_MAX: u8 = 64;

/// The numbers from which [`Redundancy`] is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedundancyRules {
    /// Pieces that rebuild a segment.
    pub needed: u8,
    /// Fewest pieces a segment is stored as; with fewer usable nodes nothing is stored.
    pub total_min: u8,
    /// Most pieces a segment is stored as.
    pub total_max: u8,
    /// How many pieces may still be under way when an upload is acknowledged.
    pub ack_behind_max: u8,
    /// How many pieces beyond `needed` must be durable when an upload is acknowledged.
    pub ack_margin_min: u8,
    /// Repair is due at this many healthy pieces or fewer, of `total_min`.
    pub repair_at_total_min: u8,
    /// Repair is due at this many healthy pieces or fewer, of `total_max`.
    pub repair_at_total_max: u8,
}

impl Default for RedundancyRules {
    /// 8 of 16..=20, repair at 12 of 16 and 14 of 20. With independent failures, a node lifetime of 365 days
    /// and a day to repair, 8/14/20 keeps a segment for 10^10.3 years in the mean and 8/12/16 for 10^7.3
    /// (Markov chain of losses and repairs); with seven days to repair it is 10^4.9 and 10^3.5: repair time
    /// counts for more than a piece.
    fn default() -> Self {
        Self {
            needed: 8,
            total_min: 16,
            total_max: 20,
            ack_behind_max: 2,
            ack_margin_min: 4,
            repair_at_total_min: 12,
            repair_at_total_max: 14,
        }
    }
}

/// The redundancy of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Redundancy {
    /// Pieces that rebuild it.
    pub needed: u8,
    /// Pieces it is stored as.
    pub total: u8,
    /// Pieces that must be durable before its upload is acknowledged.
    pub ack: u8,
    /// It is repaired at this many healthy pieces or fewer.
    pub repair: u8,
}

impl RedundancyRules {
    /// Checks that the numbers make sense together.
    pub fn validate(self) -> Result<(), InvalidRules> {
        let mut checks = Checks::default();
        checks.require(self.needed >= 1, "needed must be at least 1");
        checks.require(self.total_min > self.needed, "total_min must be above needed");
        checks.require(self.total_max >= self.total_min, "total_max must not be below total_min");
        checks.require(self.total_max <= TOTAL_MAX, "total_max must not be above 64");
        checks.require(
            u16::from(self.needed) + u16::from(self.ack_margin_min) <= u16::from(self.total_min),
            "needed + ack_margin_min must not be above total_min",
        );
        let (low, high) = (self.repair_at_total_min, self.repair_at_total_max);
        checks.require(low > self.needed, "repair_at_total_min must be above needed");
        checks.require(high >= low, "repair_at_total_max must not be below repair_at_total_min");
        checks.require(low < self.total_min, "repair_at_total_min must be below total_min");
        checks.require(high < self.total_max, "repair_at_total_max must be below total_max");
        checks.finish()
    }

    /// The redundancy of a new segment while `usable_nodes` can take a piece; `None` when they are too few.
    pub fn total_for(self, usable_nodes: usize) -> Option<Redundancy> {
        let usable = u8::try_from(usable_nodes).unwrap_or(u8::MAX);
        if usable < self.total_min {
            return None;
        }
        Some(self.of(self.needed, usable.min(self.total_max)))
    }

    /// The redundancy of a segment that is coded as `needed` of `total`, perhaps under other rules than
    /// today's.
    pub fn of(self, needed: u8, total: u8) -> Redundancy {
        let ack = total.saturating_sub(self.ack_behind_max).max(needed.saturating_add(self.ack_margin_min));
        Redundancy { needed, total, ack: ack.min(total), repair: self.repair_at(needed, total) }
    }

    /// On the straight line between the two given points, rounded up: in doubt a repair comes a piece
    /// earlier. (12, 13, 13, 14, 14 for 16..=20.) A segment with another `needed` has as many pieces to spare
    /// as one of these rules has.
    fn repair_at(self, needed: u8, total: u8) -> u8 {
        let shift = i32::from(needed) - i32::from(self.needed);
        let (low, high) = (i32::from(self.repair_at_total_min), i32::from(self.repair_at_total_max));
        let (from, to) = (i32::from(self.total_min), i32::from(self.total_max));
        let along = (i32::from(total) - shift).clamp(from, to.max(from)) - from;
        let rise = (high - low).max(0) * along;
        let at = low + shift + (rise + (to - from).max(1) - 1) / (to - from).max(1);
        let top = i32::from(total) - 1;
        u8::try_from(at.clamp((i32::from(needed) + 1).min(top), top).max(0)).unwrap_or(needed)
    }
}

#[cfg(test)]
mod tests;
