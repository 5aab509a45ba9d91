//! What is answered on which host, and for how long an answer may keep its reader waiting.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens to pages and images that can run scripts, where many people's content shares one origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActiveContent {
    /// Nothing.
    #[default]
    Allow,
    /// They are shown in an origin of their own that can store nothing: `Content-Security-Policy: sandbox`.
    Sandbox,
    /// 403, unless they are downloaded.
    Refuse,
}

/// How content is answered. The `[reads]` section of a node; part of that of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerRules {
    /// Hosts (names without port) that give nothing but raw blocks and CARs.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub trustless_hosts: Vec<String>,
    /// What is done with HTML, SVG and their like under `/ipfs/`.
    pub active_content: ActiveContent,
    /// How long a reader waits for the head of an answer, at most; then it is 504.
    #[serde(with = "humantime_serde")]
    pub first_byte_timeout: Duration,
    /// How long an answer may pause, because blocks do not come, before it is broken off.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Blocks of a CAR without duplicates, at most: their names have to be remembered, some 32 bytes each, until it ends.
    /// A CAR that would be longer is broken off. With duplicates there is no such limit.
    pub car_blocks_max: usize,
}

impl Default for AnswerRules {
    fn default() -> Self {
        Self {
            trustless_hosts: Vec::new(),
            active_content: ActiveContent::default(),
            first_byte_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_mins(1),
            car_blocks_max: 262_144,
        }
    }
}

impl AnswerRules {
    /// What cannot be meant so.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.first_byte_timeout.is_zero() || self.stall_timeout.is_zero() {
            problems.push("reads: first_byte_timeout and stall_timeout must not be 0".into());
        }
        if self.car_blocks_max == 0 {
            problems.push("reads.car_blocks_max: must not be 0".into());
        }
        problems
    }

    /// Whether a host gives nothing but what can be verified.
    pub(super) fn is_trustless(&self, host: Option<&str>) -> bool {
        let name = host.map(|host| host_name(host).to_ascii_lowercase());
        name.is_some_and(|name| self.trustless_hosts.iter().any(|host| host.eq_ignore_ascii_case(&name)))
    }
}

/// A host without its port.
#[must_use]
pub fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
