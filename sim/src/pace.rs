//! How often everything happens in a simulation, and the configurations that follow from it.
//!
//! Intervals are coarser than in production, so that a month takes seconds: hours instead of minutes and seconds. What is
//! decided by ratios of intervals (a node is offline after two missed probes, an audit comes long before a repair's grace
//! ends) keeps its order.

use std::time::Duration;

use monitor::{
    CollectConfig, ProbeConfig, ReconcileConfig, RepairsConfig, SafetyConfig, SweepConfig, VisitsConfig,
};
use pinner::config::{ByteSize, HeartbeatConfig, ScrubConfig, UsageConfig};
use protocol::{audit::AuditRules, pay::Rates, repair::BreakerRules, reputation::ReputationRules};
use retrieval::BlocksConfig;
use transfer::{GatherConfig, SpreadConfig};

/// An hour.
pub const HOUR: Duration = Duration::from_hours(1);
/// A day.
pub const DAY: Duration = Duration::from_hours(24);

/// Between two rounds of probes, sweeps and repairs: the step of a simulation.
pub const STEP: Duration = Duration::from_hours(6);
/// A node that missed a probe is asked again after this.
pub const PROBE_RETRY: Duration = Duration::from_mins(10);
/// Between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_hours(6);
/// Between two audits of a node; each is asked for all pieces it holds.
pub const AUDIT: Duration = Duration::from_hours(12);
/// Between two audits of a suspended node.
pub const AUDIT_SUSPENDED: Duration = Duration::from_hours(6);
/// Between two turns of care for the disk, of handing traffic in, and of collecting.
pub const CARE: Duration = Duration::from_hours(12);
/// How long a gateway believes its view of the nodes: it is brought up to date before an upload or a read.
pub const VIEW: Duration = Duration::from_mins(20);
/// How long a segment is kept that no pin needs.
pub const ORPHAN_DELAY: Duration = Duration::from_hours(24);
/// How long a lie, a lost disk or damage may stay on record, while the node can be reached: rounds of audits fall twelve hours
/// apart and those of scrubbing a day, and a contained piece is asked for three times.
pub const FOUND_WITHIN: Duration = Duration::from_hours(60);

/// So high that small pieces come to sums worth checking.
pub const RATES: Rates = Rates {
    storage_per_tb_month: 1_000_000_000_000_000,
    egress_per_tb: 1_000_000_000_000,
    repair_egress_per_tb: 1_000_000_000_000,
    audit_egress_per_tb: 1_000_000_000_000,
};

/// A node is asked for some fifty pieces a day here and for 28,800 in production, so that fewer audits count for more: five
/// failures suspend, in place of twenty.
fn reputation() -> ReputationRules {
    ReputationRules { memory: 0.995, alpha_start: 200.0, ..ReputationRules::default() }
}

/// Never in real time: it would make the course depend on how fast the machine is.
const NEVER: Duration = Duration::from_hours(1);

fn gather() -> GatherConfig {
    GatherConfig { hedge_after: NEVER, ..GatherConfig::default() }
}

fn spread() -> SpreadConfig {
    SpreadConfig { slow_after: NEVER, ..SpreadConfig::default() }
}

/// Nothing is kept of what was read, so that every read goes to the pieces.
fn cache() -> BlocksConfig {
    BlocksConfig { memory_bytes: 0, ..BlocksConfig::default() }
}

/// How long uploads wait for others to share their segment, in real time: those that come at the same moment do.
const LINGER: Duration = Duration::from_millis(1);

/// A gateway's configuration.
pub fn gateway(url: &str, places: &std::path::Path) -> gateway::Config {
    gateway::Config {
        public_url: url.to_string(),
        uploads: gateway::UploadsConfig {
            linger: LINGER,
            orphan_delay: ORPHAN_DELAY,
            lease: HOUR,
            ..gateway::UploadsConfig::default()
        },
        nodes: gateway::NodesConfig { heartbeat_max: HEARTBEAT * 3, ..gateway::NodesConfig::default() },
        geoip: gateway::geoip::GeoIpConfig {
            path: Some(places.to_owned()),
            ..gateway::geoip::GeoIpConfig::default()
        },
        reputation: reputation(),
        spread: spread(),
        gather: gather(),
        cache: cache(),
        rates: RATES,
        ..gateway::Config::default()
    }
}

/// A monitor's configuration.
pub fn monitor(eagerly: bool) -> monitor::Config {
    monitor::Config {
        probe: ProbeConfig {
            interval: STEP,
            retry: PROBE_RETRY,
            misses_max: 2,
            score_every: HOUR,
            ..ProbeConfig::default()
        },
        audit: AuditRules {
            interval: AUDIT,
            interval_suspended: AUDIT_SUSPENDED,
            batch: 200,
            ..AuditRules::default()
        },
        visits: VisitsConfig { sample_factor: 2, ..VisitsConfig::default() },
        breaker: BreakerRules { heartbeat_max: HOUR, ..BreakerRules::default() },
        // One after another: what one stores decides what the next one may.
        reputation: reputation(),
        repairs: RepairsConfig { eagerly, at_once: 1, ..RepairsConfig::default() },
        sweep: SweepConfig { walk_every: STEP * 2, ..SweepConfig::default() },
        collect: CollectConfig { orphan_delay: ORPHAN_DELAY, ..CollectConfig::default() },
        reconcile: ReconcileConfig { interval: DAY, retry: HOUR, ..ReconcileConfig::default() },
        safety: SafetyConfig { away_max: DAY * 10, doubt_kept: HOUR },
        gather: gather(),
        spread: spread(),
        rates: RATES,
        ..monitor::Config::default()
    }
}

const SMALL_DISK_BYTES: u64 = 300_000;

/// A node's configuration.
pub fn node(url: &str, gateways: &[String], number: usize) -> pinner::Config {
    pinner::Config {
        url: url.to_string(),
        gateways: gateways.to_vec(),
        // Some are soon full.
        capacity: ByteSize(if number % 8 == 5 { SMALL_DISK_BYTES } else { 64 << 20 }),
        heartbeat: HeartbeatConfig { every: HEARTBEAT, ..HeartbeatConfig::default() },
        scrub: ScrubConfig { round_min: DAY, rate: ByteSize(64 << 20), ..ScrubConfig::default() },
        usage: UsageConfig::default(),
        cache: cache(),
        gather: gather(),
        ..pinner::Config::default()
    }
}
