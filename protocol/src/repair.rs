//! The state of a segment's pieces, whether and how urgently it must be repaired, and how.
//!
//! Two words differ here: a piece is *retrievable* when it can be read now, and *healthy* when it can be
//! counted on. A piece on a suspended node is retrievable but not healthy; a piece on
//! a node that has been offline for a short time is healthy but not retrievable.
//!
//! Flow: [`classify`] -> [`SegmentHealth::needs_repair`] -> [`Round::hold`] (blame nobody while many nodes
//! fail at once) -> [`SegmentHealth::plan`]. What is written back by compare-and-swap is the caller's
//! business.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    redundancy::Redundancy,
    reputation::Standing,
    rules::{Checks, InvalidRules},
    time::UnixMillis,
};

mod breaker;
mod index_set;
mod plan;

pub use breaker::{BreakerRules, Failing, Hold, Round, Sighting};
pub use index_set::IndexSet;
pub use plan::{NoPlan, RepairPlan};

/// When pieces count and how urgent a repair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepairRules {
    /// For so long the pieces of a node that is offline count as healthy.
    #[serde(with = "humantime_serde")]
    pub offline_grace: Duration,
    /// Mean time until a node is gone for good, for the estimate of [`SegmentHealth::expected_days_to_loss`].
    #[serde(with = "humantime_serde")]
    pub node_lifetime: Duration,
}

impl Default for RepairRules {
    /// Nodes that come back mostly do so within four hours; rebuilding earlier is mostly wasted. A year of
    /// life is what the redundancy rules assume too.
    fn default() -> Self {
        Self { offline_grace: Duration::from_hours(4), node_lifetime: Duration::from_hours(365 * 24) }
    }
}

impl RepairRules {
    /// Checks that the numbers make sense.
    pub fn validate(&self) -> Result<(), InvalidRules> {
        let mut checks = Checks::default();
        checks.span("node_lifetime", self.node_lifetime);
        checks.finish()
    }
}

/// State of one piece on one node, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PieceState {
    /// It can be counted on.
    Healthy,
    /// Its node has not been offline for long: it still counts as healthy.
    Offline,
    /// Its node is suspended.
    Suspended,
    /// It is lost, or its node is disqualified or has been offline for too long.
    Missing,
}

/// A piece as the records have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceView {
    /// Which of the segment's pieces it is.
    pub index: u8,
    /// Whether its pin is live, that is, not lost by a failed audit.
    pub pinned: bool,
    /// Standing of its node.
    pub standing: Standing,
    /// Since when its node has been offline, if it is.
    pub offline_since: Option<UnixMillis>,
}

impl PieceView {
    /// The state of this piece.
    pub fn state(&self, now: UnixMillis, rules: &RepairRules) -> PieceState {
        let away = self.offline_since.map(|since| now.since(since));
        if !self.pinned
            || self.standing == Standing::Disqualified
            || away.is_some_and(|away| away >= rules.offline_grace)
        {
            PieceState::Missing
        } else if !self.standing.is_trusted() {
            PieceState::Suspended
        } else if away.is_some() {
            PieceState::Offline
        } else {
            PieceState::Healthy
        }
    }

    fn is_retrievable(&self) -> bool {
        self.pinned && self.standing != Standing::Disqualified && self.offline_since.is_none()
    }
}

/// A segment in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentStatus {
    /// All pieces are healthy.
    Healthy,
    /// Some are not, but it can be rebuilt (perhaps not before an offline node comes back).
    Degraded,
    /// Fewer than `needed` pieces are left.
    Lost,
}

/// What the states of its pieces mean for a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHealth {
    /// How it is coded and when it is repaired.
    pub redundancy: Redundancy,
    /// Indices with a piece that is healthy (or offline for a short time).
    pub healthy: IndexSet,
    /// Indices with a piece that can be read now.
    pub retrievable: IndexSet,
    /// Indices with a piece that is not missing.
    pub existing: IndexSet,
}

/// Looks at all pieces of a segment. An index may have several pieces (a node came back after a repair): the
/// best counts.
///
/// Indices not under `redundancy.total` are ignored; there are no such pieces.
pub fn classify(
    pieces: &[PieceView],
    redundancy: Redundancy,
    now: UnixMillis,
    rules: &RepairRules,
) -> SegmentHealth {
    let empty = IndexSet::default();
    let mut health = SegmentHealth { redundancy, healthy: empty, retrievable: empty, existing: empty };
    for piece in pieces.iter().filter(|piece| piece.index < redundancy.total) {
        match piece.state(now, rules) {
            PieceState::Healthy | PieceState::Offline => health.healthy.insert(piece.index),
            PieceState::Suspended => {}
            PieceState::Missing => continue,
        }
        health.existing.insert(piece.index);
        if piece.is_retrievable() {
            health.retrievable.insert(piece.index);
        }
    }
    health
}

impl SegmentHealth {
    /// The segment in one word.
    pub fn status(&self) -> SegmentStatus {
        if self.existing.len() < self.redundancy.needed {
            SegmentStatus::Lost
        } else if self.healthy.len() < self.redundancy.total {
            SegmentStatus::Degraded
        } else {
            SegmentStatus::Healthy
        }
    }

    /// How many of its healthy pieces it can lose and still be rebuilt.
    pub fn losses_tolerated(&self) -> u8 {
        self.healthy.len().saturating_sub(self.redundancy.needed)
    }

    /// Indices that need a new home: without a healthy piece.
    pub fn missing(&self) -> IndexSet {
        IndexSet::below(self.redundancy.total).without(self.healthy)
    }

    /// Whether enough can be read now to rebuild it.
    pub fn is_rebuildable(&self) -> bool {
        self.retrievable.len() >= self.redundancy.needed
    }

    /// Whether a repair is due: at or under the threshold, and rebuildable.
    pub fn needs_repair(&self) -> bool {
        let due = self.healthy.len() <= self.redundancy.repair;
        due && !self.missing().is_empty() && self.is_rebuildable()
    }

    /// Expected days until it is lost if nothing is done, in a network of `nodes` nodes: the smaller, the
    /// sooner it must be repaired.
    ///
    /// Nodes are gone one after the other, in random order. With `h` healthy pieces, the segment is lost with
    /// the `r`-th of their nodes, `r = h - needed + 1`. How many nodes are gone by then has a negative
    /// hypergeometric distribution with the mean `r * (nodes - h) / (h + 1) + r`; a network of `nodes` loses
    /// one every `lifetime / nodes`.
    pub fn expected_days_to_loss(&self, nodes: u32, rules: &RepairRules) -> f64 {
        let healthy = self.healthy.len();
        let Some(spare) = healthy.checked_sub(self.redundancy.needed) else { return 0.0 };
        let (healthy, losses) = (f64::from(healthy), f64::from(spare) + 1.0);
        let nodes = f64::from(nodes).max(healthy).max(1.0);
        let gone = losses * (nodes - healthy) / (healthy + 1.0) + losses;
        gone * rules.node_lifetime.as_secs_f64() / 86_400.0 / nodes
    }
}

/// Positions of the pieces that may be unpinned: of each index that has a healthy piece on a node that is
/// online, all but the first such piece. The segment has the same healthy indices without them.
pub fn surplus(pieces: &[PieceView], now: UnixMillis, rules: &RepairRules) -> Vec<usize> {
    let mut covered = IndexSet::default();
    let mut kept = vec![false; pieces.len()];
    for (piece, kept) in pieces.iter().zip(&mut kept) {
        if piece.state(now, rules) == PieceState::Healthy && !covered.contains(piece.index) {
            covered.insert(piece.index);
            *kept = true;
        }
    }
    let is_surplus = |&at: &usize| pieces[at].pinned && !kept[at] && covered.contains(pieces[at].index);
    (0..pieces.len()).filter(is_surplus).collect()
}

#[cfg(test)]
mod tests;
