//! Logs and metrics. Logs go to standard error; metrics are rendered on each process's `/metrics`.

mod lines;

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, reload};

use self::lines::WithTrace;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// The `[log]` section of every process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A `tracing` filter such as `info` or `info,gateway=debug`.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

impl LogConfig {
    /// What is wrong with the section, each with its key.
    pub fn problems(&self) -> Vec<String> {
        let filter = EnvFilter::try_new(&self.filter).err();
        filter.map(|error| format!("log.filter: {error}")).into_iter().collect()
    }
}

/// Puts another filter in the place of the one in use.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// The process's one log, once it was started.
static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Starts logging. Call once, first thing in a process.
pub fn start_logs(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let kind = config.format;
    let (started, set): (_, SetFilter) = match kind {
        LogFormat::Text => {
            let lines = lines.map_event_format(|format| WithTrace { format, kind }).with_filter_reloading();
            let handle = lines.reload_handle();
            (lines.try_init(), Box::new(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            let lines = lines.map_event_format(|format| WithTrace { format, kind }).with_filter_reloading();
            let handle = lines.reload_handle();
            (lines.try_init(), Box::new(move |filter| handle.reload(filter)))
        }
    };
    started.map_err(|error| anyhow::anyhow!("start logging: {error}"))?;
    // There is only one log, or starting it had failed.
    let _ = SET_FILTER.set(set);
    Ok(())
}

/// Changes what is logged from now on. Without a log that was started, only whether the filter can be understood is seen.
pub fn set_log_filter(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)?;
    if let Some(set) = SET_FILTER.get() {
        set(filter)?;
    }
    Ok(())
}

/// Bounds of latency histograms, in seconds.
const LATENCY_BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Bounds of histograms of sizes, in bytes.
const BYTES_BUCKETS: [f64; 9] =
    [1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// How often what was measured is added up: until then each measurement takes memory, whether or not somebody asks for it.
const ADD_UP_EVERY: Duration = Duration::from_secs(5);

/// Starts metrics and returns what renders them. Call inside a runtime, which adds them up as long as it lives.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = builder()?.install_recorder()?;
    let added_up = handle.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(ADD_UP_EVERY);
        loop {
            every.tick().await;
            added_up.run_upkeep();
        }
    });
    metrics::gauge!("pinstripe_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

fn builder() -> anyhow::Result<PrometheusBuilder> {
    Ok(PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &LATENCY_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".into()), &BYTES_BUCKETS)?)
}

#[cfg(test)]
mod tests;
