//! The numbers behind the ranking.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rules::{Checks, InvalidRules};

/// How nodes are ranked for reads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RankingRules {
    /// After this time a success or failure counts half.
    #[serde(with = "humantime_serde")]
    pub success_half_life: Duration,
    /// After this time a latency counts half.
    #[serde(with = "humantime_serde")]
    pub latency_half_life: Duration,
    /// A node starts, and after long silence is again, as if it had had this many requests, all of them fine
    /// and at `latency_good`.
    pub prior: f64,
    /// Up to this latency nodes are not told apart.
    #[serde(with = "humantime_serde")]
    pub latency_good: Duration,
    /// The weight of a node falls no lower than this however slow it is, above 0 and up to 1.
    pub slow_weight_min: f64,
    /// Under this share of successes a node is strained.
    pub success_min: f64,
    /// So long after a failure a node is strained.
    #[serde(with = "humantime_serde")]
    pub failure_pause: Duration,
    /// After this many failures in a row a node is down.
    pub failures_down: u32,
    /// How long it is down then; each further failure doubles it.
    #[serde(with = "humantime_serde")]
    pub down_for: Duration,
    /// The longest time a node is down after a failure.
    #[serde(with = "humantime_serde")]
    pub down_for_max: Duration,
    /// A node that was down, or that fails often, gets one in so many of its keys, until it has proven
    /// itself.
    pub probe_one_in: u64,
    /// By which share a node may be above its part of its region's load before it is passed over.
    pub load_slack: f64,
    /// With fewer requests than this in flight a node is never passed over: so few are no load, and moving
    /// them costs caches.
    pub load_free: u32,
    /// With so many requests in flight a node is strained.
    pub in_flight_max: u32,
}

impl Default for RankingRules {
    /// Half-life of a minute for failures as in Sia's host picking; load slack of a quarter as in Google's
    /// use of bounded loads. The rest is chosen: a node that dies is left alone after three failed requests,
    /// tried again after 5 s, and so on up to every 2 min.
    fn default() -> Self {
        Self {
            success_half_life: Duration::from_mins(1),
            latency_half_life: Duration::from_mins(5),
            prior: 2.0,
            latency_good: Duration::from_millis(20),
            slow_weight_min: 1.0 / 16.0,
            success_min: 0.5,
            failure_pause: Duration::from_secs(1),
            failures_down: 3,
            down_for: Duration::from_secs(5),
            down_for_max: Duration::from_mins(2),
            probe_one_in: 16,
            load_slack: 0.25,
            load_free: 8,
            in_flight_max: 512,
        }
    }
}

impl RankingRules {
    /// Checks that the numbers make sense.
    pub fn validate(&self) -> Result<(), InvalidRules> {
        let mut checks = Checks::default();
        checks.span("success_half_life", self.success_half_life);
        checks.span("latency_half_life", self.latency_half_life);
        checks.positive("prior", self.prior);
        checks.span("latency_good", self.latency_good);
        checks.positive("slow_weight_min", self.slow_weight_min);
        checks.share("slow_weight_min", self.slow_weight_min);
        checks.share("success_min", self.success_min);
        checks.require(self.failures_down >= 1, "failures_down must be at least 1");
        checks.span("down_for", self.down_for);
        checks.require(self.down_for_max >= self.down_for, "down_for_max must not be below down_for");
        checks.require(self.probe_one_in >= 1, "probe_one_in must be at least 1");
        checks.positive("load_slack", self.load_slack);
        checks.require(self.in_flight_max > self.load_free, "in_flight_max must be above load_free");
        checks.finish()
    }
}
