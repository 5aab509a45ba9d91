//! What is known of a node from the requests that went to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{RankingRules, Readiness, mix};
use crate::time::UnixMillis;

/// Averages over a node's requests in which older ones count less and less, and its failures in a row.
///
/// A sum decays by half in each half-life; an average is a quotient of two such sums. So it does not matter
/// how often somebody looks, and health that several gateways keep can be told in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    successes: f64,
    requests: f64,
    latency_ms: f64,
    latencies: f64,
    updated: UnixMillis,
    failures_in_row: u32,
    last_failure: UnixMillis,
    last_success: UnixMillis,
}

/// The share of something that is left after a time.
fn left_after(span: Duration, half_life: Duration) -> f64 {
    if span.is_zero() {
        return 1.0;
    }
    // A half-life of zero forgets at once.
    if half_life.is_zero() { 0.0 } else { (-span.as_secs_f64() / half_life.as_secs_f64()).exp2() }
}

impl Health {
    /// Of a node that nothing is known of: as good as any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a request that was answered as it should be, `latency` after it was sent.
    pub fn succeeded(&mut self, latency: Duration, now: UnixMillis, rules: &RankingRules) {
        self.decay(now, rules);
        self.successes += 1.0;
        self.requests += 1.0;
        self.latency_ms += latency.as_secs_f64() * 1000.0;
        self.latencies += 1.0;
        self.failures_in_row = 0;
        self.last_success = self.last_success.max(now);
    }

    /// Notes a request that failed by the node's fault.
    pub fn failed(&mut self, now: UnixMillis, rules: &RankingRules) {
        self.decay(now, rules);
        self.requests += 1.0;
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        self.last_failure = self.last_failure.max(now);
    }

    /// The share of requests that succeed, 0..=1.
    pub fn success(&self, now: UnixMillis, rules: &RankingRules) -> f64 {
        let left = left_after(now.since(self.updated), rules.success_half_life);
        (self.successes * left + rules.prior) / (self.requests * left + rules.prior)
    }

    /// How long an answer takes, in milliseconds.
    pub fn latency_ms(&self, now: UnixMillis, rules: &RankingRules) -> f64 {
        let left = left_after(now.since(self.updated), rules.latency_half_life);
        let prior_ms = rules.prior * rules.latency_good.as_secs_f64() * 1000.0;
        (self.latency_ms * left + prior_ms) / (self.latencies * left + rules.prior)
    }

    /// Failures since the last success.
    pub fn failures_in_row(&self) -> u32 {
        self.failures_in_row
    }

    /// When it last answered as it should; the epoch if never.
    pub fn last_success(&self) -> UnixMillis {
        self.last_success
    }

    /// Until when the node is left alone, if it is down.
    pub fn down_until(&self, rules: &RankingRules) -> Option<UnixMillis> {
        let beyond = self.failures_in_row.checked_sub(rules.failures_down)?;
        let span = rules.down_for.saturating_mul(2_u32.saturating_pow(beyond)).min(rules.down_for_max);
        Some(self.last_failure + span)
    }

    /// How likely the node is to answer a key. `success` is what [`Health::success`] says now,
    /// `mixed` the hash of key and node: of a node on probation
    /// the keys that it gets change every second, so that no key is stuck with it.
    pub(super) fn readiness(
        &self,
        success: f64,
        mixed: u64,
        now: UnixMillis,
        rules: &RankingRules,
    ) -> Readiness {
        let second = now.0.div_euclid(1000).cast_unsigned();
        let its_turn = || mix(mixed ^ mix(second)).is_multiple_of(rules.probe_one_in.max(1));
        let probation = || if its_turn() { Readiness::Ready } else { Readiness::Strained };
        match self.down_until(rules) {
            Some(until) if now < until => Readiness::Down,
            Some(_) => probation(),
            None if self.failures_in_row > 0 && now < self.last_failure + rules.failure_pause => {
                Readiness::Strained
            }
            None if success < rules.success_min => probation(),
            None => Readiness::Ready,
        }
    }

    /// The node's weight among equals. It moves in steps: were it exact, every request would move some keys.
    pub(super) fn weight(&self, success: f64, now: UnixMillis, rules: &RankingRules) -> f64 {
        let success = (success * 8.0).round() / 8.0;
        let mut slowness = self.latency_ms(now, rules) / (rules.latency_good.as_secs_f64() * 1000.0);
        let mut speed = 1.0;
        // Half the weight for every doubling, rounded to whole ones.
        while slowness >= std::f64::consts::SQRT_2 && speed > rules.slow_weight_min {
            slowness /= 2.0;
            speed /= 2.0;
        }
        success * success * f64::max(speed, rules.slow_weight_min)
    }

    pub(super) fn decay(&mut self, now: UnixMillis, rules: &RankingRules) {
        let span = now.since(self.updated);
        let left = left_after(span, rules.success_half_life);
        self.successes *= left;
        self.requests *= left;
        let left = left_after(span, rules.latency_half_life);
        self.latency_ms *= left;
        self.latencies *= left;
        self.updated = self.updated.max(now);
    }
}
