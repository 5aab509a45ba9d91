//! The numbers behind reputation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Beta;
use crate::rules::{Checks, InvalidRules};

const DAY: Duration = Duration::from_hours(24);

/// When a node is trusted, suspended and disqualified.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReputationRules {
    /// What is left of earlier audits' weight after one more; under 1.
    pub memory: f64,
    /// Weight of one audit.
    pub weight: f64,
    /// Weight of a failure that the node owned up to, as a share of `weight`.
    ///
    /// With half the weight, a node that owns up to everything is disqualified when it loses 7.7 % of its
    /// pieces instead of 4 %: it gains little by dressing deleted pieces up as decay, and loses the pay for
    /// each of them all the same.
    pub admitted_weight: f64,
    /// A node starts with this faded count of successes.
    pub alpha_start: f64,
    /// A node starts with this faded count of failures.
    pub beta_start: f64,
    /// Under this audit score a node is suspended.
    pub suspend_under: f64,
    /// At this audit score that suspension ends.
    pub restore_at: f64,
    /// At or under this audit score a node is disqualified, once it has been suspended for the grace period.
    pub disqualify_at: f64,
    /// How long a node is suspended for failures at least before it can be disqualified.
    #[serde(with = "humantime_serde")]
    pub disqualify_grace: Duration,
    /// Memory of the score for unknown results; under 1.
    pub unknown_memory: f64,
    /// Under this score for unknown results a node is suspended.
    pub unknown_suspend_under: f64,
    /// At this score for unknown results that suspension ends.
    pub unknown_restore_at: f64,
    /// Length of the windows in which being online is counted.
    #[serde(with = "humantime_serde")]
    pub online_window: Duration,
    /// How far back being online counts.
    #[serde(with = "humantime_serde")]
    pub online_span: Duration,
    /// A node with fewer windows than this counts as there in those it lacks: a young one is not judged by one bad hour.
    pub online_windows_min: u32,
    /// Under this online score a node is suspended.
    pub online_suspend_under: f64,
    /// At this online score that suspension ends.
    pub online_restore_at: f64,
    /// Audits a new node has to pass.
    pub vetted_audits: u64,
    /// Time a new node has to be there.
    #[serde(with = "humantime_serde")]
    pub vetted_age: Duration,
    /// Weight of a new node in the draw for new pieces, as a share of an old one's.
    pub vetting_weight: f64,
}

impl Default for ReputationRules {
    /// Memory, weight, start, the bounds for disqualification, unknowns and being online, and the conditions
    /// of vetting are those that Storj's satellites have run with for years: never disqualified at 2 % of
    /// pieces lost, always at 3.5 % and more, after 41 failures in a row at most. Suspension at 0.98 comes
    /// before that; unknowns are counted per visit. A week's windows are what a young node is given.
    fn default() -> Self {
        Self {
            memory: 0.999,
            weight: 1.0,
            admitted_weight: 0.5,
            alpha_start: 1000.0,
            beta_start: 0.0,
            suspend_under: 0.98,
            restore_at: 0.985,
            disqualify_at: 0.96,
            disqualify_grace: DAY * 7,
            unknown_memory: 0.95,
            unknown_suspend_under: 0.6,
            unknown_restore_at: 0.75,
            online_window: Duration::from_hours(12),
            online_span: DAY * 30,
            online_windows_min: 14,
            online_suspend_under: 0.6,
            online_restore_at: 0.65,
            vetted_audits: 100,
            vetted_age: DAY * 21,
            vetting_weight: 0.2,
        }
    }
}

impl ReputationRules {
    /// Checks that the numbers make sense together.
    pub fn validate(&self) -> Result<(), InvalidRules> {
        let mut checks = Checks::default();
        for (name, memory) in [("memory", self.memory), ("unknown_memory", self.unknown_memory)] {
            checks.share(name, memory);
            checks.require(memory < 1.0, &format!("{name} must be under 1"));
        }
        checks.positive("weight", self.weight);
        checks.share("admitted_weight", self.admitted_weight);
        checks.positive("alpha_start", self.alpha_start);
        checks.require(
            self.beta_start >= 0.0 && self.beta_start.is_finite(),
            "beta_start must not be negative",
        );
        let pairs = [
            ("disqualify_at", self.disqualify_at, "suspend_under", self.suspend_under),
            ("suspend_under", self.suspend_under, "restore_at", self.restore_at),
            (
                "unknown_suspend_under",
                self.unknown_suspend_under,
                "unknown_restore_at",
                self.unknown_restore_at,
            ),
            ("online_suspend_under", self.online_suspend_under, "online_restore_at", self.online_restore_at),
        ];
        for (low_name, low, high_name, high) in pairs {
            checks.share(low_name, low);
            checks.require(low < high && high <= 1.0, &format!("{low_name} must be under {high_name}"));
        }
        checks.require(self.audit_start().score() >= self.restore_at, "a node would start suspended");
        checks.span("online_window", self.online_window);
        let windows = self.online_span.as_millis() / self.online_window.as_millis().max(1);
        checks.require((1..=1000).contains(&windows), "online_span must hold 1..=1000 windows");
        checks.require(
            u128::from(self.online_windows_min) <= windows,
            "online_windows_min must not be more than online_span holds",
        );
        checks.share("vetting_weight", self.vetting_weight);
        checks.finish()
    }

    pub(super) fn audit_start(&self) -> Beta {
        Beta { alpha: self.alpha_start, beta: self.beta_start }
    }

    /// Where the score for unknown results tends to when all are known.
    pub(super) fn unknown_start(&self) -> Beta {
        Beta { alpha: 1.0 / (1.0 - self.unknown_memory).max(f64::EPSILON), beta: 0.0 }
    }
}
