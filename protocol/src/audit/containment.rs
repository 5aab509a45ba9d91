//! Pieces of a node that stalled: neither passed nor failed until the whole piece has been asked for again,
//! some times.
//!
//! A node that has lost a piece could let every audit of it run into the timeout. One that is merely
//! overloaded does that too, but not for a day and for the same piece.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fault, Verdict};
use crate::{
    ids::PieceHash,
    rules::{Checks, InvalidRules},
    time::UnixMillis,
};

/// How often and how much is audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditRules {
    /// Between two visits of one node.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Between two visits of a node that is suspended.
    #[serde(with = "humantime_serde")]
    pub interval_suspended: Duration,
    /// Challenges per visit.
    pub batch: usize,
    /// Between two checks of a contained piece.
    #[serde(with = "humantime_serde")]
    pub contained_retry: Duration,
    /// How many checks in a row a contained piece may run into the timeout until it counts as failed.
    pub contained_tries_max: u8,
}

impl Default for AuditRules {
    /// Every 5 minutes 100 challenges: 28,800 a day, which finds a loss of 1 in 10,000 pieces within a day at
    /// 94 %, for 1.6 GB of proofs a month and node. Contained pieces: three tries six hours apart, as Storj's
    /// satellites do.
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(5),
            interval_suspended: Duration::from_mins(2),
            batch: 100,
            contained_retry: Duration::from_hours(6),
            contained_tries_max: 3,
        }
    }
}

impl AuditRules {
    /// Checks that the numbers make sense.
    pub fn validate(&self) -> Result<(), InvalidRules> {
        let mut checks = Checks::default();
        checks.span("interval", self.interval);
        checks.span("interval_suspended", self.interval_suspended);
        checks.require((1..=super::CHALLENGES_MAX).contains(&self.batch), "batch must be in 1..=1024");
        checks.span("contained_retry", self.contained_retry);
        checks.require(self.contained_tries_max >= 1, "contained_tries_max must be at least 1");
        checks.finish()
    }
}

/// What came of asking for a whole piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WholeCheck {
    /// All of it came and has its hash.
    Right,
    /// It is not there, or not right.
    Wrong(Fault),
    /// The node stalled once more.
    TimedOut,
    /// The node was not there, or something else went wrong: nothing is known, and no try is used up.
    Unknown,
}

/// A piece that is to be checked whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Containment {
    /// The piece.
    pub piece: PieceHash,
    /// Since when.
    pub since: UnixMillis,
    /// How many times the node stalled on it alone.
    pub tries: u8,
    /// When it is checked next.
    pub next: UnixMillis,
}

impl Containment {
    /// Contains a piece of a batch on which its node stalled. The first check is due at once: it mostly
    /// clears the matter.
    pub fn new(piece: PieceHash, now: UnixMillis) -> Self {
        Self { piece, since: now, tries: 0, next: now }
    }

    /// What follows from a check: a verdict that ends the containment, or the time of the next check.
    pub fn checked(self, check: WholeCheck, now: UnixMillis, rules: &AuditRules) -> Result<Verdict, Self> {
        let again = Self { next: now + rules.contained_retry, ..self };
        match check {
            WholeCheck::Right => Ok(Verdict::Passed),
            WholeCheck::Wrong(fault) => Ok(Verdict::Failed(fault)),
            WholeCheck::TimedOut if self.tries.saturating_add(1) >= rules.contained_tries_max => {
                Ok(Verdict::Failed(Fault::TimedOut))
            }
            WholeCheck::TimedOut => Err(Self { tries: self.tries + 1, ..again }),
            WholeCheck::Unknown => Err(again),
        }
    }
}
