//! The life of a gateway process: open, build, look at the nodes once, serve, work, drain.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use axum::Router;
use client::Transport;
use ed25519_dalek::SigningKey;
use retrieval::Denylist;
use service::{
    clock::Clock,
    config::reload::{ConfigReload, ConfigSource, RELOAD_EVERY},
    dice::Dice,
    http::{
        server::Server,
        tls::{Tls, TlsReload},
    },
    job::{self, Job as _},
    lifecycle::Lifecycle,
    secrets::{read_admin_token, read_network_key, refuse_dev_secrets},
    telemetry::{set_log_filter, start_metrics},
    traces,
};
use shared::Link;
use store::{Db, DbOptions};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Gateway, Parts, WatchDenylist,
    geoip::{GeoIp, GeoIpReload},
    heed::heed,
    routes::{Surface, surface},
};

/// What of the configuration, and of the files that it names, is taken anew while a gateway runs; GeoIP, denylists and
/// certificates besides, each by a job of its own.
const CHANGEABLE: [&str; 3] = ["rates", "limits", "log.filter"];

/// Runs a gateway until it is asked to stop.
pub async fn run(source: ConfigSource, config: Config) -> anyhow::Result<ExitCode> {
    let (metrics, traces) = (start_metrics()?, traces::start(&config.traces, "pinstripe-gateway")?);
    let secrets = Secrets::read(&config)?;
    let tls = Tls::open(&config.tls).context("tls")?;
    let options =
        DbOptions::configured(&config.database_url, config.database_url_file.as_deref(), &config.database)?;
    let db = Db::open(&options).await.context("open the database")?;
    db.check_schema().await?;
    let redis = link(&config, &secrets.network_key)?;
    let transport = Transport::http(config.timeouts.clone())?;
    let gateway = Gateway::new(Parts {
        db: db.clone(),
        transport,
        network_key: secrets.network_key,
        admin_token: secrets.admin_token,
        clock: Clock::System,
        dice: Dice::System,
        config,
        redis,
        metrics: Some(metrics),
    })?;
    let lifecycle = Lifecycle::default();
    let servers = listen(&gateway, tls.as_ref(), lifecycle.draining()).await?;
    look_at_nodes(&gateway, gateway.config.nodes.first_look_max).await;
    spawn_jobs(&gateway, tls, &lifecycle);
    lifecycle.spawn(job::run(reload_config(&gateway, source), RELOAD_EVERY, lifecycle.stop()));
    for (server, router) in servers {
        lifecycle.spawn(server.serve(router, lifecycle.stop()));
    }
    let http = gateway.config.http.clone();
    let code = lifecycle.run(http.drain_delay, http.drain * 2).await;
    db.close().await;
    traces.shut_down().await;
    code
}

/// What is wrong with the files that a configuration names, each with its key. Nothing of a secret is in the text.
pub fn file_problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    if let Err(error) = read_network_key(&config.network_key_file) {
        problems.push(format!("network_key_file: {error}"));
    }
    if let Some(Err(error)) = config.admin_token_file.as_deref().map(read_admin_token) {
        problems.push(format!("admin_token_file: {error}"));
    }
    // Good ones may still not go together with the listeners.
    if problems.is_empty()
        && let Err(error) = Secrets::read(config)
    {
        problems.push(format!("{error:#}"));
    }
    if let Err(error) = Tls::open(&config.tls) {
        problems.push(format!("tls: {error}"));
    }
    if let Err(error) = Denylist::open(&config.denylist) {
        problems.push(format!("denylist.files: {error}"));
    }
    if config.geoip.path.is_some() && !GeoIp::open(&config.geoip).is_loaded() {
        problems.push("geoip.path: is no GeoIP database, or none that can be used".into());
    }
    problems
}

/// Binds all listeners.
async fn listen(
    gateway: &Gateway,
    tls: Option<&Tls>,
    draining: CancellationToken,
) -> anyhow::Result<Vec<(Server, Router)>> {
    let config = &gateway.config;
    let Surface { public, internal, admin } = surface(gateway, draining);
    let server = Server::bind(config.listen, config.http.clone()).await?;
    let server = server.trusting(&config.reads.trusted_proxies).with_tls(tls.cloned());
    let mut servers = vec![(server, public)];
    let operators = [
        ("internal", config.internal_listen.zip(internal), None),
        ("admin", config.admin_listen.zip(admin), tls.cloned()),
    ];
    for (name, listener, tls) in operators {
        let Some((address, router)) = listener else { continue };
        let server = Server::bind(address, config.http.for_operators()).await?;
        servers.push((server.named(name).with_tls(tls), router));
    }
    for (server, _) in &servers {
        tracing::info!(listener = server.name(), address = %server.local_addr()?, "gateway is listening");
    }
    Ok(servers)
}

fn spawn_jobs(gateway: &Gateway, tls: Option<Tls>, lifecycle: &Lifecycle) {
    let (config, stop) = (&gateway.config, || lifecycle.stop());
    let geoip = GeoIpReload::new(gateway.routing.geoip.clone());
    lifecycle.spawn(job::run(gateway.probe_nodes(), config.nodes.probe_every, stop()));
    lifecycle.spawn(job::run(geoip, config.geoip.reload_every, stop()));
    lifecycle.spawn(job::run(WatchDenylist(gateway.clone()), config.denylist.reload_every, stop()));
    lifecycle.spawn(heed(gateway.clone(), gateway.notices.listen(), stop()));
    lifecycle.spawn(gateway.notices.clone().hear(stop()));
    if let Some(tls) = tls {
        lifecycle.spawn(job::run(TlsReload(tls), config.tls.reload_every, stop()));
    }
    lifecycle.spawn(job::run(gateway.write_pin_log(), config.pin_log.every, stop()));
    for _ in 0..config.pins.fetches_max {
        lifecycle.spawn(job::run(gateway.fetch_pins(stop()), config.pins.poll_every, stop()));
    }
}

/// The job that takes a changed configuration, or admin token.
fn reload_config(gateway: &Gateway, source: ConfigSource) -> ConfigReload<Config> {
    let started = Config::clone(&gateway.config);
    let token_file = started.admin_token_file.clone();
    let gateway = gateway.clone();
    ConfigReload::new(source, token_file.into_iter().collect(), started, &CHANGEABLE, move |config| {
        // Listeners and the names of files stay as they were at the start.
        let admin_token = Secrets::read(&gateway.config)?.admin_token;
        set_log_filter(&config.log.filter)?;
        gateway.live.set(config, admin_token, &gateway.clock)
    })
}

/// What is secret, from the files that the configuration names.
struct Secrets {
    network_key: SigningKey,
    admin_token: Option<String>,
}

impl Secrets {
    fn read(config: &Config) -> anyhow::Result<Self> {
        let key = read_network_key(&config.network_key_file).context("network_key_file")?;
        let token = config.admin_token_file.as_deref().map(read_admin_token).transpose();
        let token = token.context("admin_token_file")?;
        let of_dev = [
            key.is_dev.then_some("network_key_file"),
            token.as_ref().and_then(|token| token.is_dev.then_some("admin_token_file")),
        ];
        refuse_dev_secrets(of_dev.into_iter().flatten(), &config.listeners())?;
        Ok(Self { network_key: key.value, admin_token: token.map(|token| token.value) })
    }
}

/// The way to Redis, if there is one to be.
fn link(config: &Config, network_key: &SigningKey) -> anyhow::Result<Option<Link>> {
    let addresses = match &config.redis_url_file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?,
        None => config.redis_url.clone(),
    };
    if addresses.trim().is_empty() {
        return Ok(None);
    }
    let link = Link::new(addresses.trim(), config.redis.clone(), network_key.as_bytes());
    link.map(Some).context("redis_url")
}

/// Reads the list of nodes and asks each of them once, so that the first uploads find them; gives up after `at_most`, so
/// that nodes that do not answer stop nobody.
pub(crate) async fn look_at_nodes(gateway: &Gateway, at_most: Duration) {
    match tokio::time::timeout(at_most, gateway.probe_nodes().step()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(error = format!("{error:#}"), "no list of nodes yet"),
        Err(_) => {
            tracing::warn!("not all nodes have answered or failed yet; starting without");
            gateway.nodes.end_first_look();
        }
    }
}
