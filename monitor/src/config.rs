//! Configuration of a monitor. The defaults are for production; a network on one machine sets shorter times.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use client::Timeouts;
use protocol::{
    audit::AuditRules,
    pay::Rates,
    redundancy::RedundancyRules,
    repair::{BreakerRules, RepairRules},
    reputation::ReputationRules,
};
use serde::{Deserialize, Serialize};
use service::{
    config::{Validate, rule_problems},
    http::server::HttpConfig,
    telemetry::LogConfig,
    traces::TracesConfig,
};
use store::{DATABASE_URL_DEFAULT, DatabaseConfig};
use transfer::{GatherConfig, SpreadConfig};

mod sections;

pub use sections::{
    CollectConfig, JobsConfig, ProbeConfig, ReconcileConfig, RepairsConfig, SafetyConfig, SweepConfig,
    VisitsConfig,
};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address to listen on: health, metrics, status and events, for operators.
    pub listen: SocketAddr,
    /// `sqlite://FILE` or `postgres://...`.
    pub database_url: String,
    /// File that holds it instead.
    pub database_url_file: Option<PathBuf>,
    /// File with the network's secret key, 64 hex digits.
    pub network_key_file: PathBuf,
    /// What is asked of the database, at most.
    pub database: DatabaseConfig,
    /// Server limits.
    pub http: HttpConfig,
    /// Logs.
    pub log: LogConfig,
    /// Traces.
    pub traces: TracesConfig,
    /// Waiting times of calls to nodes.
    pub timeouts: Timeouts,
    /// How long each job pauses when it has nothing to do.
    pub jobs: JobsConfig,
    /// When a node counts as offline.
    pub probe: ProbeConfig,
    /// How often and how much is audited.
    pub audit: AuditRules,
    /// How audits are carried out.
    pub visits: VisitsConfig,
    /// When a node is trusted, suspended and disqualified.
    pub reputation: ReputationRules,
    /// When consequences are held back.
    pub breaker: BreakerRules,
    /// How many pieces a segment should have, and when it is repaired.
    pub redundancy: RedundancyRules,
    /// When pieces count and how urgent a repair is.
    pub repair: RepairRules,
    /// How repairs are carried out.
    pub repairs: RepairsConfig,
    /// How segments that need repair are looked for.
    pub sweep: SweepConfig,
    /// How pieces are gathered for repairs.
    pub gather: GatherConfig,
    /// How rebuilt pieces are spread.
    pub spread: SpreadConfig,
    /// What is collected, and when.
    pub collect: CollectConfig,
    /// How nodes' lists of pieces are compared with ours.
    pub reconcile: ReconcileConfig,
    /// When nothing is collected.
    pub safety: SafetyConfig,
    /// What nodes are paid.
    pub rates: Rates,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
            database_url: DATABASE_URL_DEFAULT.into(),
            database_url_file: None,
            network_key_file: "network.key".into(),
            database: DatabaseConfig::default(),
            http: HttpConfig::default(),
            log: LogConfig::default(),
            traces: TracesConfig::default(),
            timeouts: Timeouts::default(),
            jobs: JobsConfig::default(),
            probe: ProbeConfig::default(),
            audit: AuditRules::default(),
            visits: VisitsConfig::default(),
            reputation: ReputationRules::default(),
            breaker: BreakerRules::default(),
            redundancy: RedundancyRules::default(),
            repair: RepairRules::default(),
            repairs: RepairsConfig::default(),
            sweep: SweepConfig::default(),
            gather: GatherConfig::default(),
            spread: SpreadConfig::default(),
            collect: CollectConfig::default(),
            reconcile: ReconcileConfig::default(),
            safety: SafetyConfig::default(),
            rates: Rates::default(),
        }
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
        let (probe, visits, repairs) = (&self.probe, &self.visits, &self.repairs);
        check(!probe.interval.is_zero() && !probe.retry.is_zero(), "probe: interval and retry must not be 0");
        check(probe.misses_max > 0, "probe.misses_max: must be at least 1");
        check(
            probe.at_once > 0 && probe.nodes_per_step > 0,
            "probe: at_once and nodes_per_step must not be 0",
        );
        check(
            visits.at_once > 0 && visits.nodes_per_step > 0,
            "visits: at_once and nodes_per_step must not be 0",
        );
        check(visits.sample_factor > 0, "visits.sample_factor: must be at least 1");
        check(visits.whole_at_once > 0, "visits.whole_at_once: must be at least 1");
        check(repairs.at_once > 0, "repairs.at_once: must be at least 1");
        check(!repairs.lease.is_zero(), "repairs.lease: must not be 0");
        check(
            !repairs.backoff_min.is_zero() && repairs.backoff_max >= repairs.backoff_min,
            "repairs: backoff_min must not be 0, nor above backoff_max",
        );
        let pages = [self.sweep.page, self.sweep.pages_per_step, self.sweep.walk_page];
        check(
            pages.iter().all(|count| *count > 0),
            "sweep: page, pages_per_step and walk_page must not be 0",
        );
        let collect = &self.collect;
        check(
            collect.batch > 0 && collect.nodes_per_step > 0,
            "collect: batch and nodes_per_step must not be 0",
        );
        check(
            (1..=10_000).contains(&collect.unpins_per_call),
            "collect.unpins_per_call: must be in 1..=10000",
        );
        let reconcile = &self.reconcile;
        check(
            !reconcile.interval.is_zero() && !reconcile.retry.is_zero(),
            "reconcile: interval and retry must not be 0",
        );
        check((1..=20_000).contains(&reconcile.page), "reconcile.page: must be in 1..=20000");
        check(reconcile.pages_per_step > 0, "reconcile.pages_per_step: must be at least 1");
        let rules = [
            ("audit", self.audit.validate()),
            ("reputation", self.reputation.validate()),
            ("breaker", self.breaker.validate()),
            ("redundancy", self.redundancy.validate()),
            ("repair", self.repair.validate()),
        ];
        problems.extend(self.http.problems());
        problems.extend(self.log.problems());
        problems.extend(self.traces.problems());
        problems.extend(rules.into_iter().flat_map(|(section, outcome)| rule_problems(section, outcome)));
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_defaults_are_usable_and_problems_are_listed() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
        let config: Config = service::config::load(
            None,
            vec![
                ("PINSTRIPE__REPAIRS__EAGERLY".into(), "true".into()),
                ("PINSTRIPE__PROBE__INTERVAL".into(), "2s".into()),
            ],
        )
        .unwrap();
        assert!(config.repairs.eagerly && config.probe.interval == Duration::from_secs(2));
        let wrong = Config {
            repairs: RepairsConfig { at_once: 0, ..RepairsConfig::default() },
            audit: AuditRules { batch: 0, ..AuditRules::default() },
            ..Config::default()
        };
        assert_eq!(wrong.problems().len(), 2, "{:?}", wrong.problems());
    }
}
