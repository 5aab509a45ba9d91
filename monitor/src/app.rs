//! The life of a monitor process: open, build, bind, run, drain. Logs are started by the binary; the schema is brought up
//! to date before, by `migrate`.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use client::Transport;
use ed25519_dalek::SigningKey;
use service::{
    clock::Clock, dice::Dice, http::server::Server, job, lifecycle::Lifecycle, signer::Signer, telemetry,
};
use store::{Db, DbOptions};

use crate::{Config, Monitor, Parts};

/// Runs a monitor until it is asked to stop.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let metrics = telemetry::start_metrics()?;
    let (clock, dice) = (Clock::System, Dice::System);
    let key = read_key(&config.network_key_file)?;
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
    let server = Server::bind(config.listen, config.http.clone()).await?;
    tracing::info!(address = %server.local_addr()?, monitor = monitor.inner().id, "monitor started");

    let lifecycle = Lifecycle::default();
    lifecycle.spawn(server.serve(monitor.router(Some(metrics)), lifecycle.stop()));
    spawn_jobs(&monitor, &lifecycle, &config);
    let grace = config.http.drain + config.repairs.lease.min(std::time::Duration::from_mins(1));
    let code = lifecycle.run(grace).await;
    db.close().await;
    code
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

/// Reads the network's secret key: 64 hex digits.
fn read_key(path: &Path) -> anyhow::Result<SigningKey> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("read network key {}", path.display()))?;
    let mut bytes = [0; 32];
    // The decoder's error would show digits of the secret.
    hex::decode_to_slice(text.trim(), &mut bytes)
        .map_err(|_| anyhow::anyhow!("network key {} must hold 64 hex digits", path.display()))?;
    Ok(SigningKey::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_key_is_64_hex_digits() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(format!("{}\n", "0a".repeat(32)).as_bytes()).unwrap();
        assert_eq!(read_key(file.path()).unwrap().to_bytes(), [10; 32]);
        let mut short = tempfile::NamedTempFile::new().unwrap();
        short.write_all(b"c0ffee").unwrap();
        let error = read_key(short.path()).unwrap_err().to_string();
        assert!(error.contains("64 hex digits") && !error.contains("c0ffee"), "{error}");
        assert!(read_key(Path::new("/nowhere/network.key")).is_err());
    }
}
