//! What uploads may be, and what they may take of this gateway.

use std::{path::PathBuf, time::Duration};

use protocol::redundancy::RedundancyRules;
use serde::{Deserialize, Serialize};

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

impl UploadsConfig {
    /// What is wrong with it, each with its key.
    pub(super) fn problems(&self, redundancy: RedundancyRules) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, problem: &str| {
            if !fine {
                problems.push(problem.to_string());
            }
        };
        check(
            (1 << 20..=64 << 20).contains(&self.segment_bytes),
            "uploads.segment_bytes: must be between 1 MiB and 64 MiB",
        );
        check(self.codec.parse::<erasure::Codec>().is_ok(), "uploads.codec: must be gf8 or rs16");
        let pieces = self.segment_bytes.saturating_mul(usize::from(redundancy.total_max));
        let coded = pieces / usize::from(redundancy.needed.max(1));
        check(self.coding_bytes >= coded, "uploads.coding_bytes: must hold one coded segment");
        check(self.ingest_bytes >= 4 << 20, "uploads.ingest_bytes: must be at least 4 MiB");
        check(self.dag_nodes_max >= 1_024, "uploads.dag_nodes_max: must be at least 1024");
        check(
            self.uploads_max > 0 && self.account_uploads_max > 0 && self.queue_max > 0,
            "uploads: uploads_max, account_uploads_max and queue_max must not be 0",
        );
        check((1..=64).contains(&self.unpackers_max), "uploads.unpackers_max: must be in 1..=64");
        check(self.spool_bytes >= 1 << 20, "uploads.spool_bytes: must be at least 1 MiB");
        check(self.early_segments_max > 0, "uploads.early_segments_max: must not be 0");
        check(!self.lease.is_zero(), "uploads.lease: must not be 0");
        problems
    }
}
