//! The monitor: watches nodes, audits what they hold, pays what passed, rebuilds what was lost and collects what nobody
//! needs.
//!
//! Every flow is a job with a bounded, restartable step. Several monitors share one database: each unit of work is claimed
//! or written by compare-and-swap, so that any of them may die or be started at any time. It never serves content and never
//! decides by itself what a node did wrong: that is in `protocol::{audit, reputation, repair}`.
//!
//! One file per flow: `probe`, `audit` (-> `verdicts`), `recheck`, `sweep` and `walk` (-> `assess`), `repair`, `collect`,
//! `deliver`, `reconcile`. What they share: `monitor` (the parts), `network` (the nodes as rules see them), `rounds` (the
//! breaker), `safety` (whether the database may lack something, so that nothing is dropped), `events`.

mod app;
mod assess;
mod audit;
mod collect;
mod config;
mod deliver;
mod events;
mod monitor;
mod network;
mod probe;
mod recheck;
mod reconcile;
mod repair;
mod reputation;
mod rounds;
mod routes;
mod safety;
mod sweep;
mod verdicts;
mod walk;

pub use app::{file_problems, run};
pub use audit::Audit;
pub use collect::Collect;
pub use config::{
    CollectConfig, Config, JobsConfig, ProbeConfig, ReconcileConfig, RepairsConfig, SafetyConfig,
    SweepConfig, VisitsConfig,
};
pub use deliver::Deliver;
pub use monitor::{Monitor, Parts};
pub use probe::Probe;
pub use recheck::Recheck;
pub use reconcile::Reconcile;
pub use repair::Repair;
pub use sweep::Sweep;
pub use walk::Walk;

#[cfg(test)]
mod tests;
