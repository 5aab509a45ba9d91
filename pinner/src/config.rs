//! The configuration of a storage node. Read once at the start; see `service::config` for where values come from.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use client::Timeouts;
use retrieval::{AnswerRules, BlocksConfig, DenylistConfig};
use serde::{Deserialize, Serialize};
use service::{
    config::Validate,
    http::{server::HttpConfig, tls::TlsConfig},
    telemetry::LogConfig,
    traces::TracesConfig,
};
use transfer::GatherConfig;

mod limits;
mod size;
#[cfg(test)]
mod tests;

pub use limits::{DirectoryConfig, HeartbeatConfig, LimitsConfig, ScrubConfig, UsageConfig};
pub use size::{ByteSize, ParseSizeError};

/// Everything that an operator can set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address to listen on for gateways, other nodes and readers; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address for health and metrics, which are then nowhere else. Without it they are on `listen`, metrics only where that
    /// is a loopback address.
    pub internal_listen: Option<SocketAddr>,
    /// The URL under which gateways and readers reach this node.
    pub url: String,
    /// Where the node keeps its identity and its accounts; pieces too, unless `pieces_dir` says otherwise.
    pub data_dir: PathBuf,
    /// Where pieces are kept; empty for `pieces` in `data_dir`.
    pub pieces_dir: PathBuf,
    /// Gateways, asked in turn. A list, or one text with commas.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub gateways: Vec<String>,
    /// The invitation, needed the first time only.
    pub invite: String,
    /// A file that holds the invitation; instead of `invite`.
    pub invite_file: PathBuf,
    /// What pieces may take on disk: bytes, or a text such as `"1 TB"` or `"500 GiB"`.
    pub capacity: ByteSize,
    /// What always stays free on the file system.
    pub reserve: ByteSize,
    /// Whether content is given to readers without a ticket, which nobody pays for.
    pub serve_without_ticket: bool,
    /// Bounds on what is done at once.
    pub limits: LimitsConfig,
    /// The sign of life.
    pub heartbeat: HeartbeatConfig,
    /// Counting what was served, and handing it in.
    pub usage: UsageConfig,
    /// Care of the disk in the background.
    pub scrub: ScrubConfig,
    /// What gateways told of places, kept for those whose database is away.
    pub directory: DirectoryConfig,
    /// Blocks kept for readers.
    pub cache: BlocksConfig,
    /// How content is answered.
    pub reads: AnswerRules,
    /// What is not served.
    pub denylist: DenylistConfig,
    /// Reading from other nodes.
    pub gather: GatherConfig,
    /// The HTTP server.
    pub http: HttpConfig,
    /// The certificate of `listen`.
    pub tls: TlsConfig,
    /// Log lines.
    pub log: LogConfig,
    /// Traces.
    pub traces: TracesConfig,
    /// Waiting for others.
    pub timeouts: Timeouts,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4100)),
            internal_listen: None,
            url: "http://127.0.0.1:4100".into(),
            data_dir: PathBuf::from("pinner"),
            pieces_dir: PathBuf::new(),
            gateways: vec!["http://127.0.0.1:8080".into()],
            invite: String::new(),
            invite_file: PathBuf::new(),
            capacity: ByteSize(10 << 30),
            reserve: ByteSize(1 << 30),
            serve_without_ticket: true,
            limits: LimitsConfig::default(),
            heartbeat: HeartbeatConfig::default(),
            usage: UsageConfig::default(),
            scrub: ScrubConfig::default(),
            directory: DirectoryConfig::default(),
            // A node's whole idle memory shall stay under 48 MiB, so it caches less than a gateway does.
            cache: BlocksConfig { memory_bytes: 16 << 20, places_max: 10_000, ..BlocksConfig::default() },
            reads: AnswerRules::default(),
            denylist: DenylistConfig::default(),
            gather: GatherConfig::default(),
            http: HttpConfig::default(),
            tls: TlsConfig::default(),
            log: LogConfig::default(),
            traces: TracesConfig::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Config {
    /// Where pieces are kept.
    pub fn pieces_dir(&self) -> PathBuf {
        if self.pieces_dir.as_os_str().is_empty() {
            self.data_dir.join("pieces")
        } else {
            self.pieces_dir.clone()
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(reason) = check_url(&self.url) {
            problems.push(format!("url: {reason}"));
        }
        if self.gateways.is_empty() {
            problems.push("gateways: at least one is needed".into());
        }
        for gateway in &self.gateways {
            if let Err(reason) = check_url(gateway) {
                problems.push(format!("gateways: {gateway:?}: {reason}"));
            }
        }
        if self.data_dir.as_os_str().is_empty() {
            problems.push("data_dir: must not be empty".into());
        }
        if !self.invite.is_empty() && !self.invite_file.as_os_str().is_empty() {
            problems.push("invite: set it or invite_file, not both".into());
        }
        if self.capacity.0 == 0 {
            problems.push("capacity: must not be zero".into());
        }
        if self.cache.in_flight_bytes == 0 {
            problems.push("cache.in_flight_bytes: must not be zero".into());
        }
        problems.extend(self.http.problems());
        problems.extend(self.log.problems());
        problems.extend(self.traces.problems());
        problems.extend(self.tls.problems());
        problems.extend(self.reads.problems());
        problems.extend(self.denylist.problems());
        problems.extend(self.limits.problems());
        problems.extend(self.heartbeat.problems());
        problems.extend(self.usage.problems());
        problems.extend(self.scrub.problems());
        problems.extend(self.directory.problems());
        problems
    }
}

/// A base URL: scheme and host, perhaps a port and a path, nothing behind them.
fn check_url(text: &str) -> Result<(), &'static str> {
    let uri: axum::http::Uri = text.parse().map_err(|_| "is no url")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("must start with http:// or https://");
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err("has no host");
    }
    if uri.query().is_some() { Err("must have no query") } else { Ok(()) }
}

/// Notes `problem` unless `ok`.
fn require(problems: &mut Vec<String>, ok: bool, problem: &str) {
    if !ok {
        problems.push(problem.to_string());
    }
}

/// Notes that a span is zero.
fn require_span(problems: &mut Vec<String>, name: &str, span: Duration) {
    if span.is_zero() {
        problems.push(format!("{name}: must not be zero"));
    }
}
