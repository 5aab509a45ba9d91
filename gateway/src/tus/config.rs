//! Limits and times of uploads in several requests.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::Validate;

/// The `[tus]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TusConfig {
    /// Uploads of one account that are not finished, at most.
    pub account_max: u64,
    /// How long an upload is kept that does not go on.
    #[serde(with = "humantime_serde")]
    pub expiry: Duration,
    /// After how many bytes a long request has recorded how far it has come: what is lost when a gateway dies.
    pub progress_bytes: u64,
    /// How long an upload is locked for the request that writes to it without a sign of life from the gateway. So long
    /// another request waits for it, too.
    #[serde(with = "humantime_serde")]
    pub claim: Duration,
    /// Bytes of `Upload-Metadata`, at most.
    pub metadata_max: usize,
    /// Uploads that are put together into one, at most.
    pub parts_max: usize,
    /// Bytes of uploads on their way to being put together, at most.
    pub joining_bytes: u32,
}

impl Default for TusConfig {
    fn default() -> Self {
        Self {
            account_max: 1_000,
            expiry: Duration::from_hours(24),
            progress_bytes: 64 << 20,
            claim: Duration::from_secs(6),
            metadata_max: 16 << 10,
            parts_max: 1_000,
            joining_bytes: 8 << 20,
        }
    }
}

impl Validate for TusConfig {
    fn problems(&self) -> Vec<String> {
        let checks = [
            (self.account_max > 0 && self.parts_max > 0, "tus: account_max and parts_max must not be 0"),
            (!self.expiry.is_zero(), "tus.expiry: must not be 0"),
            (self.progress_bytes >= 1 << 20, "tus.progress_bytes: must be at least 1 MiB"),
            (self.claim >= Duration::from_millis(100), "tus.claim: must be at least 100 ms"),
            (self.joining_bytes >= 4 << 20, "tus.joining_bytes: must be at least 4 MiB"),
        ];
        let wrong = checks.into_iter().filter(|(fine, _)| !fine);
        wrong.map(|(_, problem)| problem.to_string()).collect()
    }
}
