//! What other gateways have just heard of nodes. Good news is believed, so that of several gateways each node is asked by one;
//! bad news everybody finds out for themselves: a gateway that is cut off takes no node away from the others.

use std::time::Duration;

use protocol::{ids::NodeId, time::UnixMillis};
use serde::{Deserialize, Serialize};
use shared::Memo;

/// Clocks of gateways may differ by so much; what was heard later than that from now is not believed.
const CLOCK_AHEAD_MAX: Duration = Duration::from_millis(500);

/// That a node answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// When, in milliseconds since 1970 of the clock of the gateway that asked.
    at: i64,
    latency_ms: u64,
    pub(super) in_flight: u32,
}

impl Heard {
    pub(super) fn new(at: UnixMillis, latency: Duration, in_flight: u32) -> Self {
        Self { at: at.0, latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX), in_flight }
    }

    pub(super) fn at(self) -> UnixMillis {
        UnixMillis(self.at)
    }

    pub(super) fn latency(self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }
}

/// What gateways from which the nodes look alike tell each other.
pub(crate) struct Hearsay {
    memo: Memo<Heard>,
    group: String,
}

impl Hearsay {
    pub(crate) fn new(memo: Memo<Heard>, group: String) -> Self {
        Self { memo, group }
    }

    /// Which of these nodes others heard of no longer than `age_max` ago.
    pub(super) async fn fresh(
        &self,
        nodes: &[NodeId],
        now: UnixMillis,
        age_max: Duration,
    ) -> Vec<(NodeId, Heard)> {
        if !self.memo.is_shared() {
            return Vec::new();
        }
        let names: Vec<String> = nodes.iter().map(|node| self.name(*node)).collect();
        let heard = self.memo.get(&names).await;
        let is_fresh = |heard: &Heard| now.since(heard.at()) < age_max && heard.at() <= now + CLOCK_AHEAD_MAX;
        nodes.iter().zip(heard).filter_map(|(node, heard)| Some((*node, heard.filter(is_fresh)?))).collect()
    }

    /// Tells the others that these nodes answered.
    pub(super) fn tell(&self, heard: Vec<(NodeId, Heard)>) {
        self.memo.put(heard.into_iter().map(|(node, heard)| (self.name(node), heard)).collect());
    }

    fn name(&self, node: NodeId) -> String {
        format!("{}:{node}", self.group)
    }
}
