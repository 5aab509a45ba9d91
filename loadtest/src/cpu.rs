//! Processor time of each part while something is measured.

use crate::{network::Network, process, table::number};

/// Processor seconds of the parts of a network and of this client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) client: f64,
    pub(crate) gateway: f64,
    pub(crate) nodes: f64,
    pub(crate) monitor: f64,
}

impl Cpu {
    /// What was used up to now.
    pub(crate) fn now(network: &Network) -> Self {
        Self {
            client: process::cpu_seconds(std::process::id()),
            gateway: process::cpu_seconds(network.gateway_pid),
            nodes: network.node_pids().into_iter().map(process::cpu_seconds).sum(),
            monitor: process::cpu_seconds(network.monitor_pid),
        }
    }

    /// What was used since `earlier`. (A process that was killed meanwhile counts as nothing.)
    pub(crate) fn since(self, earlier: Self) -> Self {
        let difference = |now: f64, then: f64| (now - then).max(0.0);
        Self {
            client: difference(self.client, earlier.client),
            gateway: difference(self.gateway, earlier.gateway),
            nodes: difference(self.nodes, earlier.nodes),
            monitor: difference(self.monitor, earlier.monitor),
        }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            client: self.client + other.client,
            gateway: self.gateway + other.gateway,
            nodes: self.nodes + other.nodes,
            monitor: self.monitor + other.monitor,
        }
    }

    /// Seconds for each 10^9 bytes.
    pub(crate) fn per_gigabyte(self, bytes: f64) -> String {
        self.show(bytes / 1e9, "s/GB")
    }

    /// Microseconds for each of `count` requests.
    pub(crate) fn per_request(self, count: u64) -> String {
        self.show(count as f64 / 1e6, "µs each")
    }

    fn show(self, by: f64, unit: &str) -> String {
        let parts = [
            ("client", self.client),
            ("gateway", self.gateway),
            ("nodes", self.nodes),
            ("monitor", self.monitor),
        ];
        // What used next to nothing did not take part.
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, used)| *used > 0.02)
            .map(|(name, used)| format!("{name} {}", number(used / by)))
            .collect();
        format!("{} {unit}", parts.join(" + "))
    }
}
