//! The configuration files of a network on one machine: everything that takes minutes or hours in production takes seconds.

use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use anyhow::Context as _;
use pinner::config::ByteSize;
use protocol::reputation::ReputationRules;
use serde::Serialize;
use service::http::server::HttpConfig;

use super::layout::{Layout, NodeLayout, ServerLayout};

/// What one node offers.
const NODE_CAPACITY: u64 = 20 << 30;
/// A node stops before the disk is full: this much stays free for everything else on the machine.
const NODE_RESERVE: u64 = 256 << 20;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Writes all files.
pub(super) fn write(layout: &Layout) -> anyhow::Result<()> {
    for server in &layout.gateways {
        save(&server.config, &gateway_config(layout, server))?;
    }
    for server in &layout.monitors {
        save(&server.config, &monitor_config(layout, server))?;
    }
    for node in &layout.nodes {
        save(&node.config_file(), &pinner_config(layout, node))?;
    }
    Ok(())
}

/// Everybody here is one client to a server: the nodes, the gateway and whoever tries them out come from one address.
fn http() -> HttpConfig {
    let http = HttpConfig::default();
    HttpConfig { connections_per_client_max: http.connections_max, ..http }
}

fn save(path: &Path, config: &impl Serialize) -> anyhow::Result<()> {
    let text = toml::to_string(config).with_context(|| format!("write {}", path.display()))?;
    // It may hold passwords of databases, and it holds invitations: nobody else on this machine may read it.
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("write {}", path.display()))
}

/// Nodes are trusted after a minute instead of three weeks.
fn reputation() -> ReputationRules {
    ReputationRules { vetted_age: secs(60), vetted_audits: 20, ..ReputationRules::default() }
}

fn gateway_config(layout: &Layout, server: &ServerLayout) -> gateway::Config {
    let mut config = gateway::Config {
        listen: server.listen,
        public_url: server.url(),
        database_url: layout.database_url.clone(),
        redis_url: layout.redis_url.clone(),
        network_key_file: layout.dir.join("network.key"),
        admin_token_file: Some(layout.dir.join("admin.token")),
        http: http(),
        reputation: reputation(),
        ..gateway::Config::default()
    };
    config.uploads.lease = secs(60);
    config.uploads.orphan_delay = secs(10);
    config.nodes.heartbeat_max = secs(20);
    config.nodes.probe_every = Duration::from_millis(500);
    // A node that was just killed must not get a reader: here asking costs a fraction of a millisecond.
    config.reads.confirm_after = Duration::from_millis(5);
    config.geoip.path = Some(layout.dir.join("geo.mmdb"));
    config.geoip.reload_every = secs(5);
    config
}

fn monitor_config(layout: &Layout, server: &ServerLayout) -> monitor::Config {
    let mut config = monitor::Config {
        listen: server.listen,
        database_url: layout.database_url.clone(),
        network_key_file: layout.dir.join("network.key"),
        reputation: reputation(),
        ..monitor::Config::default()
    };
    config.jobs = monitor::JobsConfig {
        probe: Duration::from_millis(500),
        audit: secs(1),
        recheck: secs(2),
        sweep: secs(1),
        walk: secs(1),
        repair: Duration::from_millis(500),
        collect: secs(2),
        deliver: secs(2),
        reconcile: secs(2),
    };
    config.probe.interval = secs(2);
    config.probe.retry = secs(1);
    config.probe.timeout = secs(2);
    config.probe.score_every = secs(30);
    config.audit.interval = secs(15);
    config.audit.interval_suspended = secs(5);
    config.audit.contained_retry = secs(10);
    config.breaker.window = secs(30);
    config.breaker.heartbeat_max = secs(6);
    config.breaker.fact_after = secs(120);
    config.repair.offline_grace = secs(8);
    // One missing piece is repaired when a node is spare, so that there is something to watch.
    config.repairs.eagerly = true;
    config.repairs.lease = secs(60);
    config.repairs.backoff_min = secs(2);
    config.repairs.backoff_max = secs(15);
    config.sweep.walk_every = secs(20);
    config.collect.orphan_delay = secs(10);
    config.collect.measure_every = secs(10);
    // A network on somebody's own machine is off for days, and then its database is no older one.
    config.safety.away_max = secs(10 * 365 * 24 * 3600);
    config.safety.doubt_kept = secs(60);
    config.reconcile.interval = secs(15);
    config.reconcile.retry = secs(5);
    // Longer than an upload may take between storing a piece and recording it.
    config.reconcile.orphan_grace = secs(60);
    // A laptop is switched off for days, and nobody puts a backup in place here.
    config.safety.away_max = Duration::from_hours(24 * 365);
    config
}

fn pinner_config(layout: &Layout, node: &NodeLayout) -> pinner::Config {
    let mut config = pinner::Config {
        listen: node.listen,
        url: node.url(),
        data_dir: node.dir.clone(),
        gateways: layout.gateways.iter().map(ServerLayout::url).collect(),
        invite: node.invite.clone(),
        capacity: ByteSize(NODE_CAPACITY),
        reserve: ByteSize(NODE_RESERVE),
        http: http(),
        ..pinner::Config::default()
    };
    config.heartbeat.every = secs(2);
    // A node finds a damaged file by itself within half a minute. A round over what a few uploads leave on a node takes a
    // second of reading or less; `scrub.rate` bounds it where a node holds more, and rounds are longer then.
    config.scrub.round_min = secs(15);
    config.cache.disk_dir = node.dir.join("cache");
    config.cache.disk_bytes = 1 << 30;
    config
}
