//! The `[denylist]` section of gateways and nodes.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::rules::RULES_LIMIT;

/// Which denylists are used and how they are kept fresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DenylistConfig {
    /// Files in the compact denylist format. Of rules that contradict each other the one in the later file wins.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub files: Vec<PathBuf>,
    /// How often the files are looked at for a change; at least a second.
    #[serde(with = "humantime_serde")]
    pub reload_every: Duration,
    /// Bytes of one file, at most. A file is held in memory while it is read.
    pub bytes_max: u64,
    /// Rules of all files together, at most: 20 bytes of memory each, and those that end with a star their text besides.
    pub rules_max: usize,
}

/// Somebody waits for a takedown; looking costs one system call for each file.
const RELOAD_EVERY: Duration = Duration::from_secs(10);
/// The public list of bad bits has some 400,000 lines and 27 MB; there is room for twice as many.
const BYTES_MAX: u64 = 64 << 20;
/// As many lines with a hash as fit in a file of that size.
const RULES_MAX: usize = 1_000_000;

impl Default for DenylistConfig {
    fn default() -> Self {
        Self { files: Vec::new(), reload_every: RELOAD_EVERY, bytes_max: BYTES_MAX, rules_max: RULES_MAX }
    }
}

impl DenylistConfig {
    /// What cannot be meant so.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, problem: String| {
            if !fine {
                problems.push(problem);
            }
        };
        let named = self.files.iter().all(|file| !file.as_os_str().is_empty());
        check(named, "denylist.files: must not have an empty name".into());
        check(
            self.reload_every >= Duration::from_secs(1),
            "denylist.reload_every: must be at least 1s".into(),
        );
        check(self.bytes_max > 0, "denylist.bytes_max: must be at least 1".into());
        let rules = (1..=RULES_LIMIT).contains(&self.rules_max);
        check(rules, format!("denylist.rules_max: must be in 1..={RULES_LIMIT}"));
        problems
    }
}
