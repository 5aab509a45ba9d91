//! Configuration of a gateway.

mod directory;
mod limits;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use client::Timeouts;
use fetch::FetchConfig;
use ipnet::IpNet;
use protocol::{pay::Rates, ranking::RankingRules, redundancy::RedundancyRules, reputation::ReputationRules};
use retrieval::{ActiveContent, AnswerRules, BlocksConfig, DenylistConfig};
use serde::{Deserialize, Serialize};
use service::{
    config::{Validate, rule_problems},
    http::{server::HttpConfig, tls::TlsConfig},
    secrets::is_loopback,
    telemetry::LogConfig,
    traces::TracesConfig,
};
use shared::RedisConfig;
use store::{DATABASE_URL_DEFAULT, DatabaseConfig};
use transfer::{GatherConfig, SpreadConfig};

pub use self::{directory::DirectoryConfig, limits::LimitsConfig};
use crate::{geoip::GeoIpConfig, pinning::PinsConfig, tus::TusConfig, upload::PinLogConfig};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address to listen on for the public: APIs, content, and nodes.
    pub listen: SocketAddr,
    /// Address for health and metrics, which are then nowhere else. Without it they are on `listen`, metrics only where that
    /// is a loopback address.
    pub internal_listen: Option<SocketAddr>,
    /// Address for the admin API, which is then nowhere else. Without it that is on `listen`, which must be a loopback
    /// address if there is an admin token.
    pub admin_listen: Option<SocketAddr>,
    /// How the world reaches this gateway: the start of the URLs in its answers.
    pub public_url: String,
    /// `sqlite://FILE` or `postgres://...`.
    pub database_url: String,
    /// File that holds it instead.
    pub database_url_file: Option<PathBuf>,
    /// `redis://...`, several with commas between them for a cluster; empty: this gateway shares nothing with others.
    pub redis_url: String,
    /// A file that holds it; instead of `redis_url`.
    pub redis_url_file: Option<PathBuf>,
    /// File with the network's secret key, 64 hex digits.
    pub network_key_file: PathBuf,
    /// File with the token of the admin API; the admin API is off without it.
    pub admin_token_file: Option<PathBuf>,
    /// What is asked of the database, at most.
    pub database: DatabaseConfig,
    /// How Redis is used.
    pub redis: RedisConfig,
    /// Server limits.
    pub http: HttpConfig,
    /// The certificate of `listen` and `admin_listen`.
    pub tls: TlsConfig,
    /// Logs.
    pub log: LogConfig,
    /// Traces.
    pub traces: TracesConfig,
    /// Waiting times of calls to nodes.
    pub timeouts: Timeouts,
    /// How uploads are taken in.
    pub uploads: UploadsConfig,
    /// Pins by CID.
    pub pins: PinsConfig,
    /// How what is not stored here is fetched from elsewhere.
    pub fetch: FetchConfig,
    /// Uploads in several requests.
    pub tus: TusConfig,
    /// The network's log of pins, from which a lost database is rebuilt.
    pub pin_log: PinLogConfig,
    /// How many pieces a segment gets.
    pub redundancy: RedundancyRules,
    /// How pieces are spread.
    pub spread: SpreadConfig,
    /// How pieces are gathered.
    pub gather: GatherConfig,
    /// What is kept of what was read.
    pub cache: BlocksConfig,
    /// How readers are served.
    pub reads: ReadsConfig,
    /// What is done while the database is away.
    pub directory: DirectoryConfig,
    /// How many requests clients and accounts may have.
    pub limits: LimitsConfig,
    /// Bounds of Pinata's API.
    pub pinata: PinataConfig,
    /// What is not served.
    pub denylist: DenylistConfig,
    /// How nodes are ranked for readers.
    pub ranking: RankingRules,
    /// How nodes are watched and enrolled.
    pub nodes: NodesConfig,
    /// How node reputations start and weigh.
    pub reputation: ReputationRules,
    /// Where readers and nodes are.
    pub geoip: GeoIpConfig,
    /// What nodes are paid.
    pub rates: Rates,
}

/// The `[uploads]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UploadsConfig {
    /// Bytes of one upload, at most.
    pub size_max: u64,
    /// Uploads in progress, at most.
    pub uploads_max: usize,
    /// Uploads of one account in progress, at most.
    pub account_uploads_max: usize,
    /// Files in one upload, at most.
    pub files_max: usize,
    /// Where archives are put down that can only be read whole; the system's directory for temporary files by default.
    pub spool_dir: Option<PathBuf>,
    /// Bytes of all of them together, at most.
    pub spool_bytes: u64,
    /// How many of them are unpacked at once, at most.
    pub unpackers_max: usize,
    /// Blocks of CARs in progress, links between them, and names in directories, over all uploads, at most: each takes up to
    /// 160 bytes of memory, and a long name several times that.
    pub dag_nodes_max: u32,
    /// Blocks of one upload that are remembered until it is finished. Those of longer ones are recorded as they become
    /// durable.
    pub blocks_remembered: usize,
    /// A segment is sealed when it has about this many bytes, at most 64 MiB.
    pub segment_bytes: usize,
    /// How long a finished upload waits for others to share its segment.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// Segments that are sealed before they are full, because somebody waits, and are not durable yet, at most. While so
    /// many are, later uploads gather in the next one.
    pub early_segments_max: usize,
    /// The erasure code of new segments: `gf8` or `rs16`.
    pub codec: String,
    /// Bytes of segments and their pieces in memory, at most.
    pub coding_bytes: usize,
    /// Bytes of leaves being hashed or waiting to be packed, at most.
    pub ingest_bytes: usize,
    /// Blocks waiting to be packed, at most.
    pub queue_max: usize,
    /// How long a client may send nothing.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// How many bytes a second a client must manage on average, after a first `idle_timeout`. Whoever was faster may be
    /// slower for ten minutes, at most.
    pub rate_min: u64,
    /// How long pieces of unfinished uploads are kept without a sign of life from the gateway.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How long blocks are kept that were uploaded without being pinned.
    #[serde(with = "humantime_serde")]
    pub hold: Duration,
    /// How long segments are kept that no pin needs any more.
    #[serde(with = "humantime_serde")]
    pub orphan_delay: Duration,
}

/// The `[pinata]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PinataConfig {
    /// Groups of one account, at most.
    pub groups_max: u32,
    /// Entries of one pin's metadata, at most.
    pub keyvalues_max: usize,
    /// Bytes of JSON that is pinned, at most.
    pub json_bytes_max: usize,
    /// How long a signed URL for uploads may be good, at most.
    #[serde(with = "humantime_serde")]
    pub signed_url_lifetime: Duration,
}

impl Default for PinataConfig {
    fn default() -> Self {
        Self {
            groups_max: 10_000,
            keyvalues_max: 10,
            json_bytes_max: 10 << 20,
            signed_url_lifetime: Duration::from_hours(24),
        }
    }
}

/// Whether readers are sent to nodes or served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadMode {
    /// 307 to the best node of the reader's region.
    Redirect,
    /// Served by the gateway.
    Proxy,
}

/// The `[reads]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadsConfig {
    /// What happens when a request does not say.
    pub mode: ReadMode,
    /// Reads served here at once, at most.
    pub reads_max: usize,
    /// Networks of proxies in front whose `X-Forwarded-For`, `-Host` and `-Proto` are believed.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub trusted_proxies: Vec<IpNet>,
    /// Hosts (names without port) below which every CID has a host of its own, `{cid}.ipfs.{host}`. Paths under `/ipfs/`
    /// of these hosts lead there.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub subdomain_hosts: Vec<String>,
    /// Hosts that give nothing but raw blocks and CARs.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub trustless_hosts: Vec<String>,
    /// What is done with HTML, SVG and their like under `/ipfs/`, where they share an origin with the API.
    pub active_content: ActiveContent,
    /// How long a reader waits for the head of an answer, at most.
    #[serde(with = "humantime_serde")]
    pub first_byte_timeout: Duration,
    /// How long an answer may pause before it is broken off.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Blocks of a CAR without duplicates, at most.
    pub car_blocks_max: usize,
    /// How long a ticket is valid.
    #[serde(with = "humantime_serde")]
    pub ticket_lifetime: Duration,
    /// A node that was not heard of for so long is asked before a reader is sent to it.
    #[serde(with = "humantime_serde")]
    pub confirm_after: Duration,
    /// How long that answer is waited for.
    #[serde(with = "humantime_serde")]
    pub confirm_timeout: Duration,
    /// How long orders for reading pieces hold.
    #[serde(with = "humantime_serde")]
    pub order_lifetime: Duration,
}

/// The `[nodes]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodesConfig {
    /// How often the list of nodes is read from the database.
    #[serde(with = "humantime_serde")]
    pub refresh_every: Duration,
    /// How often every node is asked how it is.
    #[serde(with = "humantime_serde")]
    pub probe_every: Duration,
    /// Nodes asked at the same time.
    pub probes_max: usize,
    /// How long the first round may take that a gateway waits for before it is ready.
    #[serde(with = "humantime_serde")]
    pub first_look_max: Duration,
    /// A node that sent no heartbeat for so long gets no pieces.
    #[serde(with = "humantime_serde")]
    pub heartbeat_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            internal_listen: None,
            admin_listen: None,
            public_url: "http://127.0.0.1:8080".into(),
            database_url: DATABASE_URL_DEFAULT.into(),
            database_url_file: None,
            redis_url: String::new(),
            redis_url_file: None,
            redis: RedisConfig::default(),
            network_key_file: "network.key".into(),
            admin_token_file: None,
            database: DatabaseConfig::default(),
            http: HttpConfig::default(),
            tls: TlsConfig::default(),
            log: LogConfig::default(),
            traces: TracesConfig::default(),
            timeouts: Timeouts::default(),
            uploads: UploadsConfig::default(),
            pins: PinsConfig::default(),
            fetch: FetchConfig::default(),
            tus: TusConfig::default(),
            pin_log: PinLogConfig::default(),
            redundancy: RedundancyRules::default(),
            spread: SpreadConfig::default(),
            gather: GatherConfig::default(),
            cache: BlocksConfig::default(),
            reads: ReadsConfig::default(),
            directory: DirectoryConfig::default(),
            limits: LimitsConfig::default(),
            pinata: PinataConfig::default(),
            denylist: DenylistConfig::default(),
            ranking: RankingRules::default(),
            nodes: NodesConfig::default(),
            reputation: ReputationRules::default(),
            geoip: GeoIpConfig::default(),
            rates: Rates::default(),
        }
    }
}

impl Default for UploadsConfig {
    fn default() -> Self {
        Self {
            size_max: 32 << 30,
            uploads_max: 256,
            account_uploads_max: 128,
            files_max: 200_000,
            spool_dir: None,
            spool_bytes: 16 << 30,
            unpackers_max: 8,
            dag_nodes_max: 1_000_000,
            blocks_remembered: 2_048,
            segment_bytes: 16 << 20,
            linger: Duration::from_millis(5),
            early_segments_max: 4,
            codec: "gf8".into(),
            coding_bytes: 88 << 20,
            ingest_bytes: 16 << 20,
            queue_max: 512,
            idle_timeout: Duration::from_secs(30),
            rate_min: 4 << 10,
            lease: Duration::from_mins(10),
            hold: Duration::from_hours(24),
            orphan_delay: Duration::from_hours(24),
        }
    }
}

impl ReadsConfig {
    /// The rules of answers that nodes have too.
    pub fn answers(&self) -> AnswerRules {
        AnswerRules {
            trustless_hosts: self.trustless_hosts.clone(),
            active_content: self.active_content,
            first_byte_timeout: self.first_byte_timeout,
            stall_timeout: self.stall_timeout,
            car_blocks_max: self.car_blocks_max,
        }
    }
}

impl Default for ReadsConfig {
    fn default() -> Self {
        let answers = AnswerRules::default();
        Self {
            mode: ReadMode::Redirect,
            reads_max: 512,
            trusted_proxies: Vec::new(),
            subdomain_hosts: vec!["localhost".into()],
            trustless_hosts: answers.trustless_hosts,
            active_content: ActiveContent::Sandbox,
            first_byte_timeout: answers.first_byte_timeout,
            stall_timeout: answers.stall_timeout,
            car_blocks_max: answers.car_blocks_max,
            ticket_lifetime: Duration::from_mins(5),
            confirm_after: Duration::from_millis(250),
            confirm_timeout: Duration::from_secs(1),
            order_lifetime: Duration::from_mins(10),
        }
    }
}

impl Default for NodesConfig {
    fn default() -> Self {
        Self {
            refresh_every: Duration::from_secs(1),
            probe_every: Duration::from_secs(1),
            probes_max: 64,
            first_look_max: Duration::from_secs(5),
            heartbeat_max: Duration::from_mins(2),
        }
    }
}

impl Config {
    /// All addresses that are listened on.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        [Some(self.listen), self.internal_listen, self.admin_listen].into_iter().flatten().collect()
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<String> {
        let mut problems = self.database.problems(&self.database_url, self.database_url_file.as_deref());
        let mut check = |fine: bool, problem: &str| {
            if !fine {
                problems.push(problem.to_string());
            }
        };
        let uploads = &self.uploads;
        check(self.public_url.starts_with("http"), "public_url: must be an http or https URL");
        check(
            self.redis_url.is_empty() || self.redis_url_file.is_none(),
            "redis_url: set it or redis_url_file, not both",
        );
        check(
            (1 << 20..=64 << 20).contains(&uploads.segment_bytes),
            "uploads.segment_bytes: must be between 1 MiB and 64 MiB",
        );
        check(uploads.codec.parse::<erasure::Codec>().is_ok(), "uploads.codec: must be gf8 or rs16");
        let coded = uploads.segment_bytes * usize::from(self.redundancy.total_max)
            / usize::from(self.redundancy.needed.max(1));
        check(uploads.coding_bytes >= coded, "uploads.coding_bytes: must hold one coded segment");
        check(uploads.ingest_bytes >= 4 << 20, "uploads.ingest_bytes: must be at least 4 MiB");
        check(uploads.dag_nodes_max >= 1_024, "uploads.dag_nodes_max: must be at least 1024");
        check(
            uploads.uploads_max > 0 && uploads.account_uploads_max > 0 && uploads.queue_max > 0,
            "uploads: uploads_max, account_uploads_max and queue_max must not be 0",
        );
        check((1..=64).contains(&uploads.unpackers_max), "uploads.unpackers_max: must be in 1..=64");
        check(uploads.spool_bytes >= 1 << 20, "uploads.spool_bytes: must be at least 1 MiB");
        check(uploads.early_segments_max > 0, "uploads.early_segments_max: must not be 0");
        check(!uploads.lease.is_zero(), "uploads.lease: must not be 0");
        check(self.cache.in_flight_bytes >= 4 << 20, "cache.in_flight_bytes: must be at least 4 MiB");
        check(self.reads.reads_max > 0, "reads.reads_max: must not be 0");
        let day = Duration::from_hours(24);
        check(
            self.pinata.signed_url_lifetime <= 7 * day,
            "pinata.signed_url_lifetime: must be 7 days at most",
        );
        let rules = [
            ("redundancy", self.redundancy.validate()),
            ("reputation", self.reputation.validate()),
            ("ranking", self.ranking.validate()),
        ];
        problems.extend(self.redis.problems());
        problems.extend(rules.into_iter().flat_map(|(section, outcome)| rule_problems(section, outcome)));
        if self.admin_token_file.is_some() && self.admin_listen.is_none() && !is_loopback(self.listen) {
            let listen = self.listen;
            problems.push(format!(
                "admin_listen: must be set, as there is an admin token and {listen} is reached by others"
            ));
        }
        problems.extend(self.http.problems());
        problems.extend(self.log.problems());
        problems.extend(self.traces.problems());
        problems.extend(self.tls.problems());
        problems.extend(self.limits.problems());
        problems.extend(self.directory.problems());
        problems.extend(self.tus.problems());
        problems.extend(self.pin_log.problems());
        problems.extend(self.reads.answers().problems());
        problems.extend(self.denylist.problems());
        problems.extend(self.geoip.problems());
        problems.extend(self.pins.problems());
        problems.extend(self.fetch.problems());
        problems
    }
}

#[cfg(test)]
mod tests {
    use service::{clock::Clock, config::load};

    use super::*;

    #[test]
    fn the_rules_that_are_shared_with_monitors_are_checked() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
        let wrong = Config {
            reputation: ReputationRules { memory: 1.5, vetting_weight: -1.0, ..ReputationRules::default() },
            redundancy: RedundancyRules { needed: 0, ..RedundancyRules::default() },
            ranking: RankingRules { success_min: 7.0, ..RankingRules::default() },
            ..Config::default()
        };
        let problems = wrong.problems();
        for section in ["reputation: memory", "reputation: vetting_weight", "redundancy: ", "ranking: "] {
            assert!(problems.iter().any(|problem| problem.starts_with(section)), "{section}: {problems:?}");
        }
    }

    #[test]
    fn the_admin_api_is_not_shown_to_everybody() {
        let open = "0.0.0.0:80".parse().unwrap();
        let with = |listen, admin_token_file: Option<&str>, admin_listen| {
            let admin_token_file = admin_token_file.map(Into::into);
            Config { listen, admin_listen, admin_token_file, ..Config::default() }.problems()
        };
        let problems = with(open, Some("token"), None);
        assert!(problems.len() == 1 && problems[0].starts_with("admin_listen: must be set"), "{problems:?}");
        assert_eq!(with(open, None, None), Vec::<String>::new());
        assert_eq!(with(open, Some("token"), Some(Config::default().listen)), Vec::<String>::new());
        assert_eq!(with(Config::default().listen, Some("token"), None), Vec::<String>::new());
    }

    #[test]
    fn limits_are_off_and_wrong_ones_are_named() {
        let variables = [("CLIENT_RATE", "100"), ("ACCOUNT_RATE", "0.5"), ("ACCOUNT_BURST", "3")]
            .map(|(name, value)| (format!("PINSTRIPE__LIMITS__{name}"), value.to_string()));
        let config: Config = load(None, variables.to_vec()).unwrap();
        assert_eq!((config.limits.client_rate, config.limits.account_burst), (100.0, 3));
        assert_eq!(config.problems(), Vec::<String>::new());
        let clock = Clock::System;
        let off = LimitsConfig::default();
        assert!(
            off.clients(&clock, None).unwrap().is_none() && off.accounts(&clock, None).unwrap().is_none()
        );
        assert!(config.limits.clients(&clock, None).unwrap().is_some());
        assert!(config.limits.accounts(&clock, None).unwrap().is_some());
        let limits = LimitsConfig { client_rate: -1.0, account_burst: 0, clients_max: 1, ..off };
        let problems = Config { limits, ..Config::default() }.problems();
        for name in ["limits.client_rate: ", "limits.account_burst: ", "limits.clients_max: "] {
            assert!(problems.iter().any(|problem| problem.starts_with(name)), "{name}: {problems:?}");
        }
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
