//! The life of a gateway process: open, build, look at the nodes once, serve, work, drain.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use client::Transport;
use ed25519_dalek::SigningKey;
use service::{
    clock::Clock,
    dice::Dice,
    http::server::Server,
    job::{self, Job as _},
    lifecycle::Lifecycle,
    telemetry::start_metrics,
};
use shared::Link;
use store::{Db, DbOptions};

use crate::{Config, Gateway, Parts, WatchDenylist, geoip::GeoIpReload, heed::heed, routes};

/// Runs a gateway until it is asked to stop.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let metrics = start_metrics()?;
    let network_key = read_key(&config.network_key_file)?;
    let admin_token = match &config.admin_token_file {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
            Some(text.trim().to_string()).filter(|token| !token.is_empty())
        }
        None => None,
    };
    let options =
        DbOptions::configured(&config.database_url, config.database_url_file.as_deref(), &config.database)?;
    let db = Db::open(&options).await.context("open the database")?;
    db.check_schema().await?;
    let redis = link(&config, &network_key)?;
    let transport = Transport::http(config.timeouts.clone())?;
    let (listen, http) = (config.listen, config.http.clone());
    let (probe_every, geoip_every) = (config.nodes.probe_every, config.geoip.reload_every);
    let denylist_every = config.denylist.reload_every;
    let gateway = Gateway::new(Parts {
        db: db.clone(),
        transport,
        network_key,
        admin_token,
        clock: Clock::System,
        dice: Dice::System,
        config,
        redis,
        metrics: Some(metrics),
    })?;
    look_at_nodes(&gateway, gateway.config.nodes.first_look_max).await;
    let server = Server::bind(listen, http.clone()).await?;
    tracing::info!(address = %server.local_addr()?, "gateway is listening");
    let lifecycle = Lifecycle::default();
    lifecycle.spawn(job::run(gateway.probe_nodes(), probe_every, lifecycle.stop()));
    lifecycle.spawn(job::run(GeoIpReload::new(gateway.routing.geoip.clone()), geoip_every, lifecycle.stop()));
    lifecycle.spawn(job::run(WatchDenylist(gateway.clone()), denylist_every, lifecycle.stop()));
    lifecycle.spawn(heed(gateway.clone(), gateway.notices.listen(), lifecycle.stop()));
    lifecycle.spawn(gateway.notices.clone().hear(lifecycle.stop()));
    for _ in 0..gateway.config.pins.fetches_max {
        let every = gateway.config.pins.poll_every;
        lifecycle.spawn(job::run(gateway.fetch_pins(lifecycle.stop()), every, lifecycle.stop()));
    }
    let log_every = gateway.config.pin_log.every;
    lifecycle.spawn(job::run(gateway.write_pin_log(), log_every, lifecycle.stop()));
    lifecycle.spawn(server.serve(routes::router(&gateway), lifecycle.stop()));
    let code = lifecycle.run(http.drain * 2).await?;
    db.close().await;
    Ok(code)
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

/// Reads the network's secret key.
fn read_key(file: &std::path::Path) -> anyhow::Result<SigningKey> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("read the network key {}", file.display()))?;
    let mut secret = [0; 32];
    let decoded = data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes());
    let decoded = decoded.ok().filter(|bytes| bytes.len() == secret.len());
    // The file's content is never part of the error.
    secret.copy_from_slice(&decoded.with_context(|| format!("{} must hold 64 hex digits", file.display()))?);
    Ok(SigningKey::from_bytes(&secret))
}
