//! The life of a monitor process: open, build, bind, run, drain. Logs are started by the binary; the schema is brought up
//! to date before, by `migrate`.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use client::Transport;
use ed25519_dalek::SigningKey;
use service::{
    clock::Clock,
    config::reload::{ConfigReload, ConfigSource, RELOAD_EVERY},
    dice::Dice,
    http::server::Server,
    job,
    lifecycle::Lifecycle,
    secrets::{read_network_key, refuse_dev_secrets},
    signer::Signer,
    telemetry::{self, set_log_filter},
    traces,
};
use store::{Db, DbOptions};

use crate::{Config, Monitor, Parts};

/// What of the configuration is taken anew while a monitor runs.
const CHANGEABLE: [&str; 2] = ["rates", "log.filter"];

/// Runs a monitor until it is asked to stop.
pub async fn run(source: ConfigSource, config: Config) -> anyhow::Result<ExitCode> {
    let metrics = telemetry::start_metrics()?;
    let traces = traces::start(&config.traces, "pinstripe-monitor")?;
    let (clock, dice) = (Clock::System, Dice::System);
    let key = read_key(&config)?;
    let options =
        DbOptions::configured(&config.database_url, config.database_url_file.as_deref(), &config.database)?;
    let db = Db::open(&options).await.context("open the database")?;
    db.check_schema().await?;
    let transport = Transport::http(config.timeouts.clone()).context("set up the HTTP client")?;
    let monitor = Monitor::new(Parts {
        id: hex::encode(dice.bytes::<8>()),
        db: db.clone(),
        transport,
        signer: Signer::new(key, clock.clone(), dice.clone()),
        clock,
        dice,
        config: config.clone(),
    });
    let server = Server::bind(config.listen, config.http.for_operators()).await?.named("internal");
    tracing::info!(address = %server.local_addr()?, monitor = monitor.inner().id, "monitor started");

    let lifecycle = Lifecycle::default();
    lifecycle.spawn(server.serve(monitor.router(Some(metrics), lifecycle.draining()), lifecycle.stop()));
    spawn_jobs(&monitor, &lifecycle, &config);
    let inner = monitor.inner().clone();
    let reload =
        ConfigReload::new(source, Vec::new(), config.clone(), &CHANGEABLE, move |config: &Config| {
            set_log_filter(&config.log.filter)?;
            inner.rates.store(Arc::new(config.rates));
            Ok(())
        });
    lifecycle.spawn(job::run(reload, RELOAD_EVERY, lifecycle.stop()));
    let grace = config.http.drain + config.repairs.lease.min(std::time::Duration::from_mins(1));
    let code = lifecycle.run(config.http.drain_delay, grace).await;
    db.close().await;
    traces.shut_down().await;
    code
}

/// What is wrong with the files that a configuration names, each with its key. Nothing of a secret is in the text.
pub fn file_problems(config: &Config) -> Vec<String> {
    read_key(config).err().map(|error| format!("{error:#}")).into_iter().collect()
}

fn read_key(config: &Config) -> anyhow::Result<SigningKey> {
    let key = read_network_key(&config.network_key_file).context("network_key_file")?;
    refuse_dev_secrets(key.is_dev.then_some("network_key_file"), &[config.listen])?;
    Ok(key.value)
}

fn spawn_jobs(monitor: &Monitor, lifecycle: &Lifecycle, config: &Config) {
    let (every, stop) = (&config.jobs, || lifecycle.stop());
    lifecycle.spawn(job::run(monitor.probe(), every.probe, stop()));
    lifecycle.spawn(job::run(monitor.audit(), every.audit, stop()));
    lifecycle.spawn(job::run(monitor.recheck(), every.recheck, stop()));
    lifecycle.spawn(job::run(monitor.sweep(), every.sweep, stop()));
    lifecycle.spawn(job::run(monitor.walk(), every.walk, stop()));
    lifecycle.spawn(job::run(monitor.repair(), every.repair, stop()));
    lifecycle.spawn(job::run(monitor.collect(), every.collect, stop()));
    lifecycle.spawn(job::run(monitor.deliver(), every.deliver, stop()));
    lifecycle.spawn(job::run(monitor.reconcile(), every.reconcile, stop()));
}
