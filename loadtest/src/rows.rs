//! What is measured: one function for each kind, which gives the lines of the table that belong together.

mod audit;
mod cold;
mod first_byte;
mod hot;
mod memory;
mod redirect;
mod repair;
mod small;
mod upload;

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use tempfile::TempDir;

use crate::{
    baseline::server::BaselineServer,
    load::Plan,
    network::Network,
    table::{Row, number},
};

/// What can be measured, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Memory of processes that have done nothing yet
    Idle,
    /// One large file
    Upload,
    /// Many files of 1 KiB
    Small,
    /// Proofs of possession
    Audit,
    /// Reads of what is in memory
    Hot,
    /// Sending readers to nodes
    Redirect,
    /// Time to the first byte of what was never read before
    FirstByte,
    /// Reads of what was never read before
    Cold,
    /// Peak memory of the gateway under many uploads and reads
    Memory,
    /// Cold reads with 12 of 20 nodes killed
    Dead,
    /// Rebuilding what was on killed nodes, in a network with spare ones
    Repair,
}

impl Kind {
    /// Whether it kills nodes.
    pub(crate) fn kills(self) -> bool {
        matches!(self, Self::Dead | Self::Repair)
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) runs: u32,
    /// The one large file.
    pub(crate) upload_bytes: u64,
    /// A file that is read cold as a whole.
    pub(crate) cold_bytes: u64,
    /// Cold files and ranges for times to the first byte.
    pub(crate) first_bytes: u32,
    /// Longest time of one run of many requests.
    pub(crate) load_time: Duration,
    /// Most requests of one run.
    pub(crate) requests_max: u64,
    /// Uploads and reads at the same time when memory is looked at.
    pub(crate) memory_uploads: usize,
    pub(crate) memory_reads: usize,
}

impl Sizes {
    pub(crate) fn new(quick: bool, runs: Option<u32>) -> Self {
        if quick {
            return Self {
                runs: runs.unwrap_or(1),
                upload_bytes: 100 << 20,
                cold_bytes: 16 << 20,
                first_bytes: 10,
                load_time: Duration::from_millis(400),
                requests_max: 2000,
                memory_uploads: 16,
                memory_reads: 32,
            };
        }
        Self {
            runs: runs.unwrap_or(5),
            upload_bytes: 1 << 30,
            cold_bytes: 128 << 20,
            first_bytes: 100,
            load_time: Duration::from_secs(2),
            requests_max: 400_000,
            memory_uploads: 64,
            memory_reads: 256,
        }
    }

    /// One run over `connections` connections.
    pub(crate) fn plan(&self, connections: usize) -> Plan {
        Plan { connections, count_max: self.requests_max, time_max: self.load_time }
    }
}

/// Everything that measurements use.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) network: Network,
    pub(crate) server: BaselineServer,
    pub(crate) scratch: TempDir,
    pub(crate) sizes: Sizes,
    pub(crate) pinstripe: PathBuf,
    pub(crate) parent: PathBuf,
}

impl Bench {
    pub(crate) async fn run(&mut self, kind: Kind) -> anyhow::Result<Vec<Row>> {
        match kind {
            Kind::Idle => memory::idle(self),
            Kind::Upload => upload::large(self).await,
            Kind::Small => small::small(self).await,
            Kind::Audit => audit::audits(self).await,
            Kind::Hot => hot::hot(self).await,
            Kind::Redirect => redirect::redirects(self).await,
            Kind::FirstByte => first_byte::first_bytes(self).await,
            Kind::Cold => cold::cold(self).await,
            Kind::Memory => memory::loaded(self).await,
            Kind::Dead => cold::dead(self).await,
            Kind::Repair => repair::repair(self).await,
        }
    }

    /// Ends what was started.
    pub(crate) async fn end(self) {
        self.server.end().await;
        self.network.end().await;
    }
}

/// Measured by baseline.
fn ratio(measured: f64, baseline: f64) -> String {
    number(measured / baseline)
}

/// A size for people.
fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 30 => format!("{} GiB", bytes >> 30),
        bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes >> 10),
    }
}

/// Bytes in MiB.
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
