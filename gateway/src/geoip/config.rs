//! The `[geoip]` section of the gateway's configuration.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use service::config::Validate;

/// Which GeoIP database is used and how it is kept fresh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeoIpConfig {
    /// The `.mmdb` file. Without one, where a reader is stays unknown. A file that is not there yet is waited for.
    pub path: Option<PathBuf>,
    /// How often the file is looked at for a change; at least a second.
    #[serde(with = "humantime_serde")]
    pub reload_every: Duration,
    /// Largest file that is accepted, in bytes. It is held in memory, and twice during a reload.
    pub bytes_max: u64,
}

/// A database is published daily at most; a minute is soon enough, and looking costs one system call.
const RELOAD_EVERY: Duration = Duration::from_secs(60);

/// City databases for the whole world are 60 to 130 MB; twice that leaves room for their growth.
const BYTES_MAX: u64 = 256 << 20;

impl Default for GeoIpConfig {
    fn default() -> Self {
        Self { path: None, reload_every: RELOAD_EVERY, bytes_max: BYTES_MAX }
    }
}

impl Validate for GeoIpConfig {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.reload_every < Duration::from_secs(1) {
            problems.push("geoip.reload_every: must be at least 1s".into());
        }
        if self.bytes_max == 0 {
            problems.push("geoip.bytes_max: must be at least 1".into());
        }
        if self.path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            problems.push("geoip.path: must not be empty; leave it out to run without a database".into());
        }
        problems
    }
}
