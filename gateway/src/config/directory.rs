//! What a gateway does when the database does not answer.

use std::time::Duration;

use protocol::region::Region;
use serde::{Deserialize, Serialize};

/// Nodes asked about one miss, at most.
const NODES_MAX: usize = 64;

/// The `[directory]` section: when the database is taken to be slow, and which nodes are then asked where blocks are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectoryConfig {
    /// How long a reader waits for the database before others are asked; from then on it is taken to be slow.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
    /// How often a database that is away or slow is asked again in the background.
    #[serde(with = "humantime_serde")]
    pub retry_every: Duration,
    /// The region of this gateway, whose nodes are asked first; empty: that of the address in `public_url`, if there is one.
    pub region: String,
    /// Nodes of it that are asked about one miss, at most.
    pub own_region_max: usize,
    /// Nodes of other regions that are asked when those do not know, at most.
    pub elsewhere_max: usize,
    /// Nodes asked about one miss at the same time.
    pub at_once: usize,
    /// How long one node is waited for.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long all of them together are, for one miss.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
    /// Nodes asked at the same time about all misses.
    pub questions_max: usize,
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(2),
            retry_every: Duration::from_secs(1),
            region: String::new(),
            own_region_max: 8,
            elsewhere_max: 4,
            at_once: 4,
            timeout: Duration::from_secs(1),
            within: Duration::from_secs(3),
            questions_max: 64,
        }
    }
}

impl DirectoryConfig {
    /// The region that is set.
    pub(crate) fn own_region(&self) -> Option<Region> {
        self.region.parse().ok()
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let spans = [
            ("patience", self.patience),
            ("retry_every", self.retry_every),
            ("timeout", self.timeout),
            ("within", self.within),
        ];
        let mut problems: Vec<String> = spans
            .iter()
            .filter(|(_, span)| span.is_zero())
            .map(|(name, _)| format!("directory.{name}: must not be 0"))
            .collect();
        let mut check = |fine: bool, problem: &str| {
            if !fine {
                problems.push(format!("directory.{problem}"));
            }
        };
        check(self.region.is_empty() || self.own_region().is_some(), "region: must be such as eu or eu-west");
        check(
            self.own_region_max <= NODES_MAX && self.elsewhere_max <= NODES_MAX,
            "own_region_max, elsewhere_max: must be at most 64",
        );
        check(self.at_once > 0, "at_once: must not be 0");
        check((1..=10_000).contains(&self.questions_max), "questions_max: must be in 1..=10000");
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_listed_and_the_defaults_have_none() {
        assert_eq!(DirectoryConfig::default().problems(), Vec::<String>::new());
        let wrong = DirectoryConfig {
            patience: Duration::ZERO,
            retry_every: Duration::ZERO,
            region: "Nowhere!".into(),
            own_region_max: 65,
            elsewhere_max: 4,
            at_once: 0,
            timeout: Duration::ZERO,
            within: Duration::ZERO,
            questions_max: 0,
        };
        assert_eq!(wrong.problems().len(), 8, "{:?}", wrong.problems());
    }
}
