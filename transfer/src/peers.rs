//! What this process has seen of each node lately: how fast it answers, whether it just failed. Decides whom to ask
//! first; consequences for a node's reputation come from audits alone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::RwLock;
use protocol::ids::NodeId;
use service::clock::Clock;

/// Weight of a new measurement in the moving averages.
const ALPHA: f64 = 0.2;
/// How long a failure pushes a node back; doubles with each one in a row.
const PENALTY: Duration = Duration::from_secs(2);
/// Longest time a node is pushed back.
const PENALTY_MAX: Duration = Duration::from_mins(1);

/// Shared, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    clock: Clock,
    nodes: Arc<RwLock<HashMap<NodeId, Peer>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    latency_ms: Option<f64>,
    failures: u32,
    /// By [`Clock::monotonic`].
    pushed_back_until: Option<Duration>,
}

impl Peers {
    /// Nothing seen yet; times are measured by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, nodes: Arc::default() }
    }

    /// The time by which calls are measured; only differences mean anything.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// A call to the node worked and took this long.
    pub fn succeeded(&self, node: NodeId, took: Duration) {
        let took_ms = took.as_secs_f64() * 1000.0;
        let mut nodes = self.nodes.write();
        let peer = nodes.entry(node).or_default();
        peer.latency_ms = Some(peer.latency_ms.map_or(took_ms, |was| was + ALPHA * (took_ms - was)));
        peer.failures = 0;
        peer.pushed_back_until = None;
    }

    /// A call to the node failed, or took so long that others were asked in its place.
    pub fn failed(&self, node: NodeId) {
        let mut nodes = self.nodes.write();
        let peer = nodes.entry(node).or_default();
        let penalty = PENALTY.saturating_mul(1 << peer.failures.min(10)).min(PENALTY_MAX);
        peer.failures = peer.failures.saturating_add(1);
        peer.pushed_back_until = Some(self.now() + penalty);
    }

    /// Whether the node failed so recently that others should be asked first.
    pub fn is_pushed_back(&self, node: NodeId) -> bool {
        let now = self.now();
        self.nodes
            .read()
            .get(&node)
            .is_some_and(|peer| peer.pushed_back_until.is_some_and(|until| until > now))
    }

    /// For sorting: who to ask first comes first. Nodes never asked come before slow ones, so that they get a chance.
    pub fn rank(&self, node: NodeId) -> (bool, u64) {
        let pushed_back = self.is_pushed_back(node);
        let latency = self.nodes.read().get(&node).and_then(|peer| peer.latency_ms).unwrap_or(0.0);
        // Microseconds; the cast saturates.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and only sorts"
        )]
        (pushed_back, (latency * 1000.0) as u64)
    }

    /// A usual time for a call, over all nodes; `None` before the first one.
    pub fn typical_latency(&self) -> Option<Duration> {
        let nodes = self.nodes.read();
        let mut latencies: Vec<f64> = nodes.values().filter_map(|peer| peer.latency_ms).collect();
        let middle = latencies.len() / 2;
        if latencies.is_empty() {
            return None;
        }
        let (_, median, _) = latencies.select_nth_unstable_by(middle, f64::total_cmp);
        Some(Duration::from_secs_f64((*median / 1000.0).clamp(0.0, 60.0)))
    }
}
