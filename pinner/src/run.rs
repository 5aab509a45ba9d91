//! The life of the process: identity, store, serve, enrol, work, drain.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use client::Transport;
use retrieval::Denylist;
use service::{
    clock::Clock,
    config::reload::{ConfigReload, ConfigSource, RELOAD_EVERY},
    dice::Dice,
    http::{
        server::Server,
        tls::{Tls, TlsReload},
    },
    job,
    lifecycle::Lifecycle,
    telemetry, traces,
};

use crate::{
    config::Config,
    directory::Directory,
    disk::blocking,
    identity::{self, NetworkKey, node_id},
    node::{Parts, Pinner},
    piece_store::{DiskPieceStore, PieceStore, PieceStoreConfig},
    usage::Usage,
};

/// What tasks may take to stop beyond the draining of connections.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// What of the configuration is taken anew while a node runs.
const CHANGEABLE: [&str; 4] =
    ["limits.client_rate", "limits.client_burst", "limits.clients_max", "log.filter"];
/// The file of counts, in the data directory.
const USAGE_FILE: &str = "usage.redb";
/// Where statements about places are, in the data directory.
const PLACES_DIR: &str = "places";

/// Runs a storage node until it is asked to stop. Logs must have been started.
///
/// Fails when the disk is not this node's, the address is taken, or the configuration does not hold.
pub async fn run(source: ConfigSource, config: Config) -> anyhow::Result<ExitCode> {
    let (clock, dice) = (Clock::System, Dice::System);
    let metrics = telemetry::start_metrics()?;
    let traces = traces::start(&config.traces, "pinstripe-pinner")?;
    let tls = Tls::open(&config.tls).context("tls")?;
    let server = Server::bind(config.listen, config.http.clone()).await?;
    let server = server.trusting(&config.limits.trusted_proxies).with_tls(tls.clone());
    let internal = match config.internal_listen {
        Some(address) => Some(Server::bind(address, config.http.for_operators()).await?.named("internal")),
        None => None,
    };
    let address = server.local_addr()?;
    let transport = Transport::http(config.timeouts.clone()).context("prepare outgoing connections")?;
    // A certificate is for the name in the URL, and not for the address.
    let own_url = if tls.is_some() { config.url.clone() } else { own_url(address) };
    let parts = open(&config, transport, clock, dice, own_url).await?;
    let (store, usage) = (parts.store.clone(), parts.usage.clone());
    let (drain_delay, grace) = (config.http.drain_delay, config.http.drain + STOP_GRACE);
    let reload_every = config.tls.reload_every;

    let pinner = Pinner::new(parts, config.clone());
    let node = pinner.id();
    let life = Lifecycle::default();
    // Before enrolling: the gateway calls back.
    let (public, health) = pinner.surface(metrics, life.draining());
    life.spawn(server.serve(public, life.stop()));
    if let Some((server, router)) = internal.zip(health) {
        life.spawn(server.serve(router, life.stop()));
    }
    pinner.spawn_jobs(&life);
    if let Some(tls) = tls {
        life.spawn(job::run(TlsReload(tls), reload_every, life.stop()));
    }
    let reload =
        ConfigReload::new(source, Vec::new(), config, &CHANGEABLE, move |config| pinner.change(config));
    life.spawn(job::run(reload, RELOAD_EVERY, life.stop()));
    tracing::info!(%node, %address, "node is up");
    let exit = life.run(drain_delay, grace).await;

    let closed = close(store, usage).await;
    traces.shut_down().await;
    closed?;
    tracing::info!(%node, "node is down");
    exit
}

/// What is wrong with the files that a configuration names, each with its key.
pub fn file_problems(config: &Config) -> Vec<String> {
    let checks = [
        ("tls", Tls::open(&config.tls).err().map(anyhow::Error::from)),
        ("denylist.files", Denylist::open(&config.denylist).err().map(anyhow::Error::from)),
        ("invite_file", invite(config).err()),
    ];
    let problem = |(key, error): (_, Option<anyhow::Error>)| error.map(|error| format!("{key}: {error:#}"));
    checks.into_iter().filter_map(problem).collect()
}

/// Opens everything that is kept on disk.
async fn open(
    config: &Config,
    transport: Transport,
    clock: Clock,
    dice: Dice,
    own_url: String,
) -> anyhow::Result<Parts> {
    let (config, now) = (config.clone(), clock.now());
    blocking(move || {
        let (data_dir, pieces_dir) = (&config.data_dir, config.pieces_dir());
        let key = identity::open(data_dir, &pieces_dir, &dice).context("open the identity")?;
        let network_key = NetworkKey::open(data_dir).context("open the network key")?;
        let store =
            DiskPieceStore::open(&pieces_dir, store_config(&config)).context("open the piece store")?;
        let stats = store.stats();
        tracing::info!(
            node = %node_id(&key), pieces = stats.pieces, used_bytes = stats.used_bytes,
            free_bytes = stats.free_bytes, path = %pieces_dir.display(), "piece store is open"
        );
        let usage = Usage::open(&data_dir.join(USAGE_FILE), &config.usage, now)?;
        // Behind the counts, whose file only one process can open: nobody else writes there.
        let directory = Directory::open(&data_dir.join(PLACES_DIR), &config.directory);
        let denylist = Denylist::open(&config.denylist)?;
        let invite = invite(&config)?;
        let store: Arc<dyn PieceStore> = Arc::new(store);
        Ok(Parts {
            key,
            network_key,
            store,
            usage,
            directory,
            denylist,
            transport,
            clock,
            dice,
            own_url,
            invite,
        })
    })
    .await?
}

fn store_config(config: &Config) -> PieceStoreConfig {
    PieceStoreConfig {
        capacity_bytes: config.capacity.0,
        reserve_bytes: config.reserve.0,
        ..PieceStoreConfig::default()
    }
}

/// The invitation, from the configuration or its file. A file that is gone is fine: it is needed once.
fn invite(config: &Config) -> anyhow::Result<Option<String>> {
    if config.invite_file.as_os_str().is_empty() {
        return Ok(Some(config.invite.clone()).filter(|invite| !invite.is_empty()));
    }
    let file: &Path = &config.invite_file;
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_string()).filter(|invite| !invite.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read invitation {}", file.display())),
    }
}

/// Where a node that listens on `address` reaches itself.
fn own_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// Writes down what the next start wants to find.
async fn close(store: Arc<dyn PieceStore>, usage: Usage) -> anyhow::Result<()> {
    blocking(move || {
        usage.flush(Clock::System.now()).context("write counts down")?;
        store.checkpoint().context("write the index of the store down")
    })
    .await?
}

#[cfg(test)]
mod tests;
