//! The sections of the configuration that are the monitor's own: how its work is carried out. The rules by which it decides
//! are configured where they live, in `protocol`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `[jobs]` section: how long each job pauses when it has nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// Looking for nodes that are due to be probed.
    #[serde(with = "humantime_serde")]
    pub probe: Duration,
    /// Looking for nodes that are due to be audited.
    #[serde(with = "humantime_serde")]
    pub audit: Duration,
    /// Looking for contained pieces that are due to be checked.
    #[serde(with = "humantime_serde")]
    pub recheck: Duration,
    /// Looking for nodes that went or came back.
    #[serde(with = "humantime_serde")]
    pub sweep: Duration,
    /// Between two pages of the walk over all segments: its pace.
    #[serde(with = "humantime_serde")]
    pub walk: Duration,
    /// Looking for repairs that are due.
    #[serde(with = "humantime_serde")]
    pub repair: Duration,
    /// Looking for what is to be collected.
    #[serde(with = "humantime_serde")]
    pub collect: Duration,
    /// Between two rounds of telling nodes what they may drop.
    #[serde(with = "humantime_serde")]
    pub deliver: Duration,
    /// Looking for nodes whose list is due to be compared.
    #[serde(with = "humantime_serde")]
    pub reconcile: Duration,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            probe: Duration::from_secs(1),
            audit: Duration::from_secs(5),
            recheck: Duration::from_secs(5),
            sweep: Duration::from_secs(10),
            walk: Duration::from_secs(2),
            repair: Duration::from_secs(2),
            collect: Duration::from_secs(30),
            deliver: Duration::from_secs(30),
            reconcile: Duration::from_secs(10),
        }
    }
}

/// The `[probe]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Between two probes of a node.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Until a node that missed a probe, but is not offline yet, is probed again.
    #[serde(with = "humantime_serde")]
    pub retry: Duration,
    /// How many probes in a row a node misses until it is offline.
    pub misses_max: u32,
    /// How long an answer is waited for.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Nodes probed at the same time.
    pub at_once: usize,
    /// Nodes claimed in one step.
    pub nodes_per_step: u32,
    /// How long a node's probes are added up before they are written to its reputation.
    #[serde(with = "humantime_serde")]
    pub score_every: Duration,
}

impl Default for ProbeConfig {
    /// Ten seconds apart; offline after three misses in a row, some 20 seconds after it went. Readers are sent elsewhere
    /// sooner (gateways probe for themselves); what follows here is repair, which waits for hours anyway.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            retry: Duration::from_secs(4),
            misses_max: 3,
            timeout: Duration::from_secs(3),
            at_once: 64,
            nodes_per_step: 256,
            score_every: Duration::from_mins(5),
        }
    }
}

/// The `[visits]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VisitsConfig {
    /// Nodes claimed in one step. What they came to is looked at together, before anybody is blamed.
    pub nodes_per_step: u32,
    /// Nodes audited at the same time.
    pub at_once: usize,
    /// How long the answers to a batch are waited for.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How many pieces are read for each one that is challenged; the draw among them is weighted by size.
    pub sample_factor: usize,
    /// Pieces of a batch on which a node stalled that are checked whole.
    pub contained_per_visit: usize,
    /// Contained pieces of one node, at most.
    pub contained_per_node: usize,
    /// Pieces checked whole at the same time: each is held in memory.
    pub whole_at_once: usize,
    /// How long a whole piece is waited for.
    #[serde(with = "humantime_serde")]
    pub whole_timeout: Duration,
}

impl Default for VisitsConfig {
    /// 15 seconds for a batch and 5 minutes for a whole piece are what Storj's satellites wait at least for a share and
    /// a piece.
    fn default() -> Self {
        Self {
            nodes_per_step: 256,
            at_once: 32,
            timeout: Duration::from_secs(15),
            sample_factor: 8,
            contained_per_visit: 4,
            contained_per_node: 16,
            whole_at_once: 4,
            whole_timeout: Duration::from_mins(5),
        }
    }
}

/// The `[repairs]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepairsConfig {
    /// Repair as soon as one piece is missing and a node is spare for it, instead of at the threshold.
    pub eagerly: bool,
    /// Segments repaired at the same time. Each is held in memory with its rebuilt pieces: for 8 of 20, up to 160 MiB.
    pub at_once: u32,
    /// How long a claimed repair belongs to this monitor.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How long a repair that could not be done waits at first; twice as long each further time.
    #[serde(with = "humantime_serde")]
    pub backoff_min: Duration,
    /// How long it waits at most.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// Further nodes named beside those that shall take a piece.
    pub spares: usize,
    /// A node that lost a piece of a segment is passed over for so long when pieces of it are placed, unless no other
    /// node is left.
    #[serde(with = "humantime_serde")]
    pub losers_wait: Duration,
    /// How long orders to read pieces hold.
    #[serde(with = "humantime_serde")]
    pub order_lifetime: Duration,
}

impl Default for RepairsConfig {
    /// A failed repair is tried again after a minute to an hour, the pause of Storj's retry queue. In a month the audits
    /// of its other pieces have shown whether a node that lost one keeps what it has.
    fn default() -> Self {
        Self {
            eagerly: false,
            at_once: 2,
            lease: Duration::from_mins(15),
            backoff_min: Duration::from_mins(1),
            backoff_max: Duration::from_hours(1),
            spares: 3,
            losers_wait: Duration::from_hours(30 * 24),
            order_lifetime: Duration::from_mins(10),
        }
    }
}

/// The `[sweep]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SweepConfig {
    /// Pieces of a page in the walk over a node's pieces.
    pub page: u32,
    /// Pages in one step.
    pub pages_per_step: u32,
    /// Segments of a page in the walk over all segments.
    pub walk_page: u32,
    /// From the start of one walk over all segments to the next, if it takes less.
    #[serde(with = "humantime_serde")]
    pub walk_every: Duration,
}

impl Default for SweepConfig {
    fn default() -> Self {
        Self { page: 500, pages_per_step: 4, walk_page: 500, walk_every: Duration::from_hours(1) }
    }
}

/// The `[collect]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectConfig {
    /// Pins or segments in one step.
    pub batch: u32,
    /// How long segments are kept that no pin needs since one expired.
    #[serde(with = "humantime_serde")]
    pub orphan_delay: Duration,
    /// How long events are kept.
    #[serde(with = "humantime_serde")]
    pub events_kept: Duration,
    /// For how long hours of traffic can be settled. Afterwards it is forgotten which were, and nobody is paid for them any more.
    #[serde(with = "humantime_serde")]
    pub settlements_kept: Duration,
    /// How long the ledger has a line for each hour; afterwards one for each day.
    #[serde(with = "humantime_serde")]
    pub ledger_hours_kept: Duration,
    /// How often the gauges count everything.
    #[serde(with = "humantime_serde")]
    pub measure_every: Duration,
    /// Nodes that are told in one step what they may drop.
    pub nodes_per_step: usize,
    /// Pieces named in one request to drop them.
    pub unpins_per_call: u32,
}

impl Default for CollectConfig {
    /// Nodes take at most 10,000 names in one request, and give up an hour that could not be settled for seven days.
    fn default() -> Self {
        Self {
            batch: 200,
            orphan_delay: Duration::from_hours(24),
            events_kept: Duration::from_hours(30 * 24),
            settlements_kept: Duration::from_hours(30 * 24),
            ledger_hours_kept: Duration::from_hours(90 * 24),
            measure_every: Duration::from_mins(5),
            nodes_per_step: 64,
            unpins_per_call: 2_000,
        }
    }
}

/// The `[reconcile]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReconcileConfig {
    /// Between two comparisons of a node's whole list.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Until a comparison that was begun and not finished is begun anew, by any monitor.
    #[serde(with = "humantime_serde")]
    pub retry: Duration,
    /// Pieces of a page of the list.
    pub page: u32,
    /// Pages in one step.
    pub pages_per_step: u32,
    /// A piece that is recorded nowhere is dropped when it is older than this: longer than any upload takes from its
    /// first piece to its record, and than clocks may differ.
    #[serde(with = "humantime_serde")]
    pub orphan_grace: Duration,
}

impl Default for ReconcileConfig {
    /// Every node once a day, and a day's grace: far longer than the hour for which an upload may be under way.
    fn default() -> Self {
        Self {
            interval: Duration::from_hours(24),
            retry: Duration::from_mins(10),
            page: 5_000,
            pages_per_step: 4,
            orphan_grace: Duration::from_hours(24),
        }
    }
}

/// The `[safety]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SafetyConfig {
    /// When a monitor starts and none has watched for longer than this, the database may be an older one: nothing is
    /// collected until somebody has looked.
    #[serde(with = "humantime_serde")]
    pub away_max: Duration,
    /// After a time in which nobody watched, pieces from it that the database does not know are kept for so long.
    #[serde(with = "humantime_serde")]
    pub doubt_kept: Duration,
}

impl Default for SafetyConfig {
    fn default() -> Self {
        Self { away_max: Duration::from_hours(1), doubt_kept: Duration::from_hours(72) }
    }
}
