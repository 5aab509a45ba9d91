//! How much a node is trusted, from what its audits came to.
//!
//! Three scores are kept. The audit score falls with every lost piece and alone can end in disqualification,
//! and only after the node has been suspended for a time in which it could recover. The scores for unknown
//! results and for being online can suspend, and never more. A suspended node gets no new pieces; it keeps,
//! serves and is paid for those it has, and is audited more often.
//!
//! Nothing here looks at more than one node: the caller asks the breaker ([`crate::repair::Round`]) first,
//! and does not record what may be the network's own fault.

use serde::{Deserialize, Serialize};

use crate::{
    audit::{Fault, Outcome, Verdict},
    time::UnixMillis,
};

mod beta;
mod online;
mod rules;

pub use beta::Beta;
pub use online::OnlineHistory;
pub use rules::ReputationRules;

/// Why a node is suspended, the gravest reason last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspendReason {
    /// It was away too much.
    Offline,
    /// Too many of its audits came to nothing.
    Unknown,
    /// It lost too many pieces.
    Failures,
}

/// What a node may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// New: gets few pieces until it has passed enough audits over enough time.
    Vetting,
    /// In good standing.
    Good,
    /// Gets no new pieces, keeps and serves those it has, and is audited more often.
    Suspended {
        /// Since when, for this reason.
        since: UnixMillis,
        /// The gravest reason that holds.
        reason: SuspendReason,
    },
    /// Out for good: its pieces count as lost.
    Disqualified,
}

impl Standing {
    /// Whether its pieces count as healthy.
    pub fn is_trusted(self) -> bool {
        matches!(self, Self::Vetting | Self::Good)
    }

    /// Its name in APIs and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vetting => "vetting",
            Self::Good => "good",
            Self::Suspended { .. } => "suspended",
            Self::Disqualified => "disqualified",
        }
    }

    /// Whether it is suspended.
    pub fn is_suspended(self) -> bool {
        matches!(self, Self::Suspended { .. })
    }
}

/// What one visit (or several, added up) counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Challenges passed.
    pub passed: u32,
    /// Pieces lost, but for those that the node owned up to.
    pub failed: u32,
    /// Pieces that the node owned up to have lost.
    pub admitted: u32,
    /// Visits that left at least one challenge without a result, by a fault that may be the node's. One per
    /// visit, however many challenges it had: one bad moment is one bad moment.
    pub unknown: u32,
    /// Visits without such a challenge.
    pub known: u32,
    /// Visits at which the node was there.
    pub online: u32,
    /// Visits at which it was not.
    pub offline: u32,
}

impl Tally {
    /// What one visit counts for. A contained visit shows that the node is online, and nothing else yet.
    pub fn of(outcome: &Outcome) -> Self {
        let verdicts = match outcome {
            Outcome::Offline => return Self { offline: 1, ..Self::default() },
            Outcome::Contained => return Self { online: 1, ..Self::default() },
            Outcome::Unknown => return Self { online: 1, unknown: 1, ..Self::default() },
            Outcome::Answered(verdicts) => verdicts,
        };
        let mut tally = Self { online: 1, ..Self::default() };
        let mut unknown = false;
        for verdict in verdicts {
            match verdict {
                Verdict::Passed => tally.passed = tally.passed.saturating_add(1),
                Verdict::Failed(Fault::Admitted) => tally.admitted = tally.admitted.saturating_add(1),
                Verdict::Failed(_) => tally.failed = tally.failed.saturating_add(1),
                Verdict::Unknown => unknown = true,
            }
        }
        tally.unknown = unknown.into();
        tally.known = (!unknown).into();
        tally
    }
}

/// All that is remembered of a node's conduct.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reputation {
    /// Passed and failed audits.
    pub audit: Beta,
    /// Known and unknown results.
    pub unknown: Beta,
    /// When it was there.
    pub online: OnlineHistory,
    /// Audits passed in all its life.
    pub passed_total: u64,
    /// When it joined.
    pub joined: UnixMillis,
    /// What it may do.
    pub standing: Standing,
}

impl Reputation {
    /// Of a node that has just joined.
    pub fn new(joined: UnixMillis, rules: &ReputationRules) -> Self {
        Self {
            audit: rules.audit_start(),
            unknown: rules.unknown_start(),
            online: OnlineHistory::default(),
            passed_total: 0,
            joined,
            standing: Standing::Vetting,
        }
    }

    /// Takes in what visits came to. Returns the former standing if it has changed: worth a log line and a
    /// notice to the operator.
    pub fn record(&mut self, tally: &Tally, now: UnixMillis, rules: &ReputationRules) -> Option<Standing> {
        self.take_in(tally, now, rules);
        let answered = tally.passed > 0 || tally.failed > 0 || tally.admitted > 0;
        self.stand(answered, now, rules)
    }

    /// As [`Self::record`], for a node that failed together with many others, so that the fault may be ours: its failures
    /// can suspend it, and disqualify it neither now nor later. The score that they leave is halfway between the two
    /// bounds at the least, from where it recovers within some visits.
    pub fn record_in_doubt(
        &mut self,
        tally: &Tally,
        now: UnixMillis,
        rules: &ReputationRules,
    ) -> Option<Standing> {
        let least = f64::midpoint(rules.disqualify_at, rules.suspend_under).min(self.audit.score());
        self.take_in(tally, now, rules);
        self.audit.raise_to(least);
        self.stand(false, now, rules)
    }

    fn take_in(&mut self, tally: &Tally, now: UnixMillis, rules: &ReputationRules) {
        // Failures before successes, so that a batch is never judged more harshly than its challenges in any
        // other order.
        let (memory, weight) = (rules.memory, rules.weight);
        self.audit.fail(tally.failed, memory, weight);
        self.audit.fail(tally.admitted, memory, weight * rules.admitted_weight);
        self.audit.succeed(tally.passed, memory, weight);
        self.unknown.fail(tally.unknown, rules.unknown_memory, 1.0);
        self.unknown.succeed(tally.known, rules.unknown_memory, 1.0);
        self.online.record(tally.online, tally.offline, now, rules);
        self.passed_total = self.passed_total.saturating_add(tally.passed.into());
    }

    fn stand(&mut self, answered: bool, now: UnixMillis, rules: &ReputationRules) -> Option<Standing> {
        let before = self.standing;
        self.standing = self.next_standing(answered, now, rules);
        (self.standing != before).then_some(before)
    }

    /// Lets a node begin again that is suspended for what its audits came to and holds nothing any more, so that no audit
    /// could ever better its scores: once it has been suspended for the grace that comes before disqualification it is new,
    /// with few pieces until it is vetted. How often it was there stays on record. Returns the former standing if anything
    /// changed.
    pub fn begin_again(&mut self, now: UnixMillis, rules: &ReputationRules) -> Option<Standing> {
        let before = self.standing;
        let Standing::Suspended { since, reason: SuspendReason::Failures | SuspendReason::Unknown } = before
        else {
            return None;
        };
        if now.since(since) < rules.disqualify_grace {
            return None;
        }
        *self = Self { online: std::mem::take(&mut self.online), ..Self::new(now, rules) };
        self.standing = self.next_standing(false, now, rules);
        Some(before)
    }

    /// The weight with which the node is drawn for new pieces, 0..=1
    /// ([`crate::placement::Candidate::score`]).
    pub fn placement_weight(&self, rules: &ReputationRules) -> f64 {
        match self.standing {
            Standing::Good => 1.0,
            Standing::Vetting => rules.vetting_weight,
            Standing::Suspended { .. } | Standing::Disqualified => 0.0,
        }
    }

    /// `answered`: the node has just shown what it has. Time passing alone disqualifies nobody.
    fn next_standing(&self, answered: bool, now: UnixMillis, rules: &ReputationRules) -> Standing {
        if self.standing == Standing::Disqualified {
            return Standing::Disqualified;
        }
        let Some(reason) = self.gravest_reason(now, rules) else {
            return if self.is_vetted(now, rules) { Standing::Good } else { Standing::Vetting };
        };
        let since = match self.standing {
            Standing::Suspended { since, reason: same } if same == reason => since,
            _ => now,
        };
        let had_its_chance = reason == SuspendReason::Failures && now.since(since) >= rules.disqualify_grace;
        if answered && had_its_chance && self.audit.score() <= rules.disqualify_at {
            return Standing::Disqualified;
        }
        Standing::Suspended { since, reason }
    }

    /// Each reason begins under one bound and ends at a higher one, so that a score at the bound does not
    /// flap.
    fn gravest_reason(&self, now: UnixMillis, rules: &ReputationRules) -> Option<SuspendReason> {
        let current = match self.standing {
            Standing::Suspended { reason, .. } => Some(reason),
            _ => None,
        };
        let holds = |reason, score: f64, begins_under: f64, ends_at: f64| {
            score < if current == Some(reason) { ends_at } else { begins_under }
        };
        let online = self.online.score(now, rules).unwrap_or(1.0);
        if holds(SuspendReason::Failures, self.audit.score(), rules.suspend_under, rules.restore_at) {
            Some(SuspendReason::Failures)
        } else if holds(
            SuspendReason::Unknown,
            self.unknown.score(),
            rules.unknown_suspend_under,
            rules.unknown_restore_at,
        ) {
            Some(SuspendReason::Unknown)
        } else if holds(SuspendReason::Offline, online, rules.online_suspend_under, rules.online_restore_at) {
            Some(SuspendReason::Offline)
        } else {
            None
        }
    }

    fn is_vetted(&self, now: UnixMillis, rules: &ReputationRules) -> bool {
        self.passed_total >= rules.vetted_audits && now.since(self.joined) >= rules.vetted_age
    }
}

#[cfg(test)]
mod tests;
