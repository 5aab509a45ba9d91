//! How Redis is used.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `[redis]` section. Where Redis is, is said apart from it (`redis_url`), because that may hold a password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// Whether the servers are a Redis Cluster.
    pub cluster: bool,
    /// What all names begin with, so that several networks can share a server.
    pub prefix: String,
    /// Gateways of one group share what they hear of nodes: those from which the nodes look alike, as in one region.
    pub group: String,
    /// How long a connection may take to come about.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long an answer may take. When one takes longer, Redis is left alone until it has answered in the background.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// How long Redis is left alone between two attempts to reach it again.
    #[serde(with = "humantime_serde")]
    pub retry_every: Duration,
    /// How often the subscription is asked whether it is still there.
    #[serde(with = "humantime_serde")]
    pub ping_every: Duration,
    /// Questions on their way, at most; what comes beyond that does without Redis.
    pub in_flight_max: usize,
    /// How long places of blocks that are asked for often are kept.
    #[serde(with = "humantime_serde")]
    pub places_ttl: Duration,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            cluster: false,
            prefix: "pinstripe".into(),
            group: "default".into(),
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_millis(50),
            retry_every: Duration::from_secs(1),
            ping_every: Duration::from_secs(1),
            in_flight_max: 1_024,
            places_ttl: Duration::from_hours(1),
        }
    }
}

impl RedisConfig {
    /// Every problem found, each naming its key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, text) in [("prefix", &self.prefix), ("group", &self.group)] {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
                problems.push(format!("redis.{key}: must be 1 to 64 letters, digits, '-', '_' or '.'"));
            }
        }
        let spans = [
            ("connect_timeout", self.connect_timeout),
            ("call_timeout", self.call_timeout),
            ("retry_every", self.retry_every),
            ("ping_every", self.ping_every),
            ("places_ttl", self.places_ttl),
        ];
        for (key, span) in spans {
            if span.is_zero() {
                problems.push(format!("redis.{key}: must not be zero"));
            }
        }
        if self.in_flight_max == 0 {
            problems.push("redis.in_flight_max: must be at least 1".into());
        }
        problems
    }
}
