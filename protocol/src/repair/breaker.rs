//! The breaker: when many nodes fail at once the fault is probably ours, so nobody is blamed and little is
//! repaired.
//!
//! It must be asked before verdicts are recorded and before pins are dropped. While it holds, outcomes are
//! thrown away (the same pieces are audited again soon), and only segments that are about to be lost are
//! repaired.
//!
//! It ends by itself: an outage that lasts, and failures that are confirmed for long enough ([`Failing`]), are
//! facts and do not count as happening at once. Only where nodes are heard of by others and not by us
//! ([`Hold::CutOff`]) is time no argument.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SegmentHealth;
use crate::{
    reputation::Tally,
    rules::{Checks, InvalidRules},
    time::UnixMillis,
};

/// When consequences are held back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerRules {
    /// Nodes that went offline within this time went offline at once. After it, an outage is a fact, and is
    /// repaired.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// More than this share of the nodes may not go offline at once, nor be out of our reach while gateways hear of them.
    pub offline_share_max: f64,
    /// A node that sent a gateway a heartbeat within this time is there, whether we reach it or not.
    #[serde(with = "humantime_serde")]
    pub heartbeat_max: Duration,
    /// More than this share of the nodes visited may not fail audits in one round.
    pub failed_share_max: f64,
    /// More than this share of the nodes visited may not give unknown results in one round.
    pub unknown_share_max: f64,
    /// A node that has failed audits for so long does not fail together with others any more: its failures are a fact, and
    /// what it lost is repaired.
    #[serde(with = "humantime_serde")]
    pub fact_after: Duration,
    /// In so many separate rounds it must have failed by then.
    pub fact_rounds: u32,
    /// Fewer nodes than this are never "many".
    pub nodes_min: u32,
    /// More pieces of one segment may not be dropped in one sweep.
    pub removed_per_segment_max: u32,
    /// Segments with at most so many healthy pieces beyond `needed` are repaired all the same.
    pub urgent_margin: u8,
}

impl Default for BreakerRules {
    /// A third of the nodes never fails by itself in an hour. Gateways too believe a heartbeat for two minutes. Six pieces of one segment are what Storj's
    /// auditor refuses to remove more than; the shares are chosen. Half a day is what people get to find a fault of our own,
    /// and little beside the year for which a node lives.
    fn default() -> Self {
        Self {
            window: Duration::from_hours(1),
            offline_share_max: 0.3,
            heartbeat_max: Duration::from_mins(2),
            failed_share_max: 0.2,
            unknown_share_max: 0.3,
            fact_after: Duration::from_hours(12),
            fact_rounds: 3,
            nodes_min: 3,
            removed_per_segment_max: 6,
            urgent_margin: 2,
        }
    }
}

/// Why consequences are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Hold {
    /// Many nodes cannot be reached from here although they talk to gateways: our own line is down. For as long as that is
    /// so, none of them counts as offline.
    #[error("{count} of {nodes} nodes that gateways hear of cannot be reached from here")]
    CutOff {
        /// Nodes that gateways hear of and we do not reach.
        count: u32,
        /// Nodes that gateways hear of.
        nodes: u32,
    },
    /// Many nodes went offline at once: our own line may be down.
    #[error("{count} of {nodes} nodes went offline at once")]
    ManyOffline {
        /// Nodes that went offline.
        count: u32,
        /// Nodes that were online before, or still are.
        nodes: u32,
    },
    /// Many nodes failed audits at once: our own records or checks may be wrong.
    #[error("{count} of {nodes} nodes failed audits in one round")]
    ManyFailed {
        /// Nodes that failed at least one audit.
        count: u32,
        /// Nodes visited.
        nodes: u32,
    },
    /// Many nodes gave unknown results at once: our requests may be wrong.
    #[error("{count} of {nodes} nodes gave unknown results in one round")]
    ManyUnknown {
        /// Nodes with at least one unknown result.
        count: u32,
        /// Nodes visited.
        nodes: u32,
    },
    /// One sweep would drop many pieces of one segment.
    #[error("{count} pieces of one segment would be dropped in one sweep")]
    ManyRemoved {
        /// Pieces that would be dropped.
        count: u32,
    },
}

/// A node that fails audits, round after round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    since: UnixMillis,
    latest: UnixMillis,
    rounds: u32,
}

/// After so many rounds without a failure it is over.
const QUIET_ROUNDS: u32 = 4;

impl Failing {
    /// A node that has just failed.
    pub fn new(now: UnixMillis) -> Self {
        Self { since: now, latest: now, rounds: 1 }
    }

    /// It failed again. What comes less than half an interval between rounds after the last one is of the same round.
    pub fn again(&mut self, now: UnixMillis, interval: Duration) {
        if now.since(self.latest) >= interval / 2 {
            (self.latest, self.rounds) = (now, self.rounds.saturating_add(1));
        }
    }

    /// In how many rounds it failed.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Whether it has failed for so long that this cannot be taken for a moment's fault any more.
    pub fn is_fact(&self, rules: &BreakerRules) -> bool {
        self.rounds >= rules.fact_rounds && self.latest.since(self.since) >= rules.fact_after
    }

    /// Whether it has not failed for so long that it would be something new.
    pub fn is_over(&self, now: UnixMillis, interval: Duration) -> bool {
        now.since(self.latest) > interval.saturating_mul(QUIET_ROUNDS)
    }
}

/// One node, as a monitor sees it at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// Since when it is offline, if it is.
    pub offline_since: Option<UnixMillis>,
    /// When it last sent a gateway a heartbeat.
    pub heartbeat: UnixMillis,
    /// Whether it could be reached when it was last probed; `None` when it was not probed lately.
    pub reached: Option<bool>,
    /// What its visit came to, if there was one.
    pub visit: Option<&'a Tally>,
    /// Since when it fails audits, if it does.
    pub failing: Option<&'a Failing>,
}

/// What one round of probes and visits over all nodes came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Nodes that are online or went offline within the window.
    pub nodes: u32,
    /// Nodes that went offline within the window.
    pub went_offline: u32,
    /// Of `nodes`, those that were probed and that gateways hear of.
    pub heard: u32,
    /// Of `heard`, those that could not be reached.
    pub unreached: u32,
    /// Nodes that answered, but for those whose failures are a fact.
    pub visited: u32,
    /// Nodes that failed at least one audit.
    pub failed: u32,
    /// Nodes that gave an unknown result.
    pub unknown: u32,
}

impl Round {
    /// Counts one node.
    pub fn add(&mut self, node: &Sighting<'_>, now: UnixMillis, rules: &BreakerRules) {
        let long_gone = node.offline_since.is_some_and(|since| now.since(since) >= rules.window);
        if !long_gone {
            self.nodes += 1;
            self.went_offline += u32::from(node.offline_since.is_some());
            if let Some(reached) = node.reached
                && now.since(node.heartbeat) <= rules.heartbeat_max
            {
                self.heard += 1;
                self.unreached += u32::from(!reached);
            }
        }
        let is_fact = node.failing.is_some_and(|failing| failing.is_fact(rules));
        if let Some(tally) = node.visit.filter(|tally| tally.online > 0 && !is_fact) {
            self.visited += 1;
            self.failed += u32::from(tally.failed > 0 || tally.admitted > 0);
            self.unknown += u32::from(tally.unknown > 0);
        }
    }

    /// Whether consequences are to be held back, and why.
    pub fn hold(&self, rules: &BreakerRules) -> Option<Hold> {
        let many = |count: u32, of: u32, share_max: f64| {
            count >= rules.nodes_min && f64::from(count) > share_max * f64::from(of)
        };
        if many(self.unreached, self.heard, rules.offline_share_max) {
            Some(Hold::CutOff { count: self.unreached, nodes: self.heard })
        } else if many(self.went_offline, self.nodes, rules.offline_share_max) {
            Some(Hold::ManyOffline { count: self.went_offline, nodes: self.nodes })
        } else if many(self.failed, self.visited, rules.failed_share_max) {
            Some(Hold::ManyFailed { count: self.failed, nodes: self.visited })
        } else if many(self.unknown, self.visited, rules.unknown_share_max) {
            Some(Hold::ManyUnknown { count: self.unknown, nodes: self.visited })
        } else {
            None
        }
    }
}

impl BreakerRules {
    /// Checks that the numbers make sense.
    pub fn validate(&self) -> Result<(), InvalidRules> {
        let mut checks = Checks::default();
        checks.share("offline_share_max", self.offline_share_max);
        checks.share("failed_share_max", self.failed_share_max);
        checks.share("unknown_share_max", self.unknown_share_max);
        checks.span("fact_after", self.fact_after);
        checks.require(self.fact_rounds >= 2, "fact_rounds must be at least 2: once is not again");
        checks.require(self.removed_per_segment_max >= 1, "removed_per_segment_max must be at least 1");
        checks.finish()
    }

    /// Whether dropping `count` pieces of one segment in one sweep is to be held back.
    pub fn hold_removal(&self, count: u32) -> Option<Hold> {
        (count > self.removed_per_segment_max).then_some(Hold::ManyRemoved { count })
    }

    /// Whether a segment may be repaired now: always, unless something is held back and it can wait.
    pub fn may_repair(&self, hold: Option<Hold>, health: &SegmentHealth) -> bool {
        hold.is_none() || health.losses_tolerated() <= self.urgent_margin
    }
}
