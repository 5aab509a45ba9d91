//! Bounds of what Pinata's API takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `[pinata]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PinataConfig {
    /// Groups of one account, at most.
    pub groups_max: u32,
    /// Entries of one pin's metadata, at most.
    pub keyvalues_max: usize,
    /// Bytes of JSON that is pinned, at most.
    pub json_bytes_max: usize,
    /// How long a signed URL for uploads may be good, at most.
    #[serde(with = "humantime_serde")]
    pub signed_url_lifetime: Duration,
}

impl Default for PinataConfig {
    fn default() -> Self {
        Self {
            groups_max: 10_000,
            keyvalues_max: 10,
            json_bytes_max: 10 << 20,
            signed_url_lifetime: Duration::from_hours(24),
        }
    }
}
