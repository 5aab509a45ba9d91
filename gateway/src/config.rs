//! Configuration of a gateway.

mod directory;
mod limits;
mod pinata;
mod reads;
mod uploads;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use client::Timeouts;
use fetch::FetchConfig;
use protocol::{pay::Rates, ranking::RankingRules, redundancy::RedundancyRules, reputation::ReputationRules};
use retrieval::{BlocksConfig, DenylistConfig};
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

pub(crate) use self::pinata::PinataConfig;
pub use self::{
    directory::DirectoryConfig,
    limits::LimitsConfig,
    reads::{ReadMode, ReadsConfig},
    uploads::UploadsConfig,
};
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
        check(self.public_url.starts_with("http"), "public_url: must be an http or https URL");
        check(
            self.redis_url.is_empty() || self.redis_url_file.is_none(),
            "redis_url: set it or redis_url_file, not both",
        );
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
        problems.extend(self.uploads.problems(self.redundancy));
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
