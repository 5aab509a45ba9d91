//! The `[traces]` section of every process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `[traces]` section of every process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// Where a collector takes OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`; empty: there are no traces.
    pub endpoint: String,
    /// Share of the traces beginning here that are kept, 0 to 1.
    pub sampled: f64,
    /// Requests a second that other processes of the network want kept and that are, at most, a quarter of them from one
    /// client; 0: none. Beyond that a request begins a trace of its own. Others than processes of the network have no say.
    pub parents_rate: f64,
    /// How long one sending may take, and what waits at the end of the process.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Spans wait so long for others to be sent with.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// Spans sent together, at most.
    pub batch_max: usize,
    /// Spans that wait, at most. Further ones are dropped.
    pub queue_max: usize,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            sampled: 0.01,
            parents_rate: 100.0,
            timeout: Duration::from_secs(5),
            every: Duration::from_secs(1),
            batch_max: 512,
            queue_max: 4096,
        }
    }
}

impl TracesConfig {
    /// What is wrong with the section, each with its key.
    pub fn problems(&self) -> Vec<String> {
        let url = self.endpoint.parse::<axum::http::Uri>();
        let is_url = url.is_ok_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.host().is_some_and(|host| !host.is_empty())
        });
        let checks = [
            (self.endpoint.is_empty() || is_url, "endpoint: must be an http or https URL, or empty"),
            ((0.0..=1.0).contains(&self.sampled), "sampled: must be in 0..=1"),
            (
                self.parents_rate == 0.0 || (0.001..=1_000_000.0).contains(&self.parents_rate),
                "parents_rate: must be 0 or in 0.001..=1000000",
            ),
            (!self.timeout.is_zero() && !self.every.is_zero(), "timeout, every: must not be 0"),
            ((1..=10_000).contains(&self.batch_max), "batch_max: must be in 1..=10000"),
            (
                (self.batch_max..=1_000_000).contains(&self.queue_max),
                "queue_max: must hold a batch, and be 1000000 at most",
            ),
        ];
        let wrong = checks.into_iter().filter(|(fine, _)| !fine);
        wrong.map(|(_, problem)| format!("traces.{problem}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named() {
        assert_eq!(TracesConfig::default().problems(), Vec::<String>::new());
        let endpoint = "https://collector:4318/v1/traces".to_string();
        assert_eq!(TracesConfig { endpoint, ..TracesConfig::default() }.problems(), Vec::<String>::new());
        let wrong = TracesConfig {
            endpoint: "collector:4318".into(),
            sampled: f64::NAN,
            parents_rate: -1.0,
            timeout: Duration::ZERO,
            batch_max: 0,
            queue_max: usize::MAX,
            ..TracesConfig::default()
        };
        let problems = wrong.problems();
        assert_eq!(problems.len(), 6, "{problems:?}");
        for key in ["endpoint", "sampled", "parents_rate", "timeout", "batch_max", "queue_max"] {
            assert!(problems.iter().any(|problem| problem.starts_with(&format!("traces.{key}"))), "{key}");
        }
    }
}
