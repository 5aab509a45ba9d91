//! Sections of the configuration with bounds, budgets and intervals.

use std::time::Duration;

use ipnet::IpNet;
use protocol::{api::REDEEM_MAX, places::BLOCKS_MAX};
use serde::{Deserialize, Serialize};
use service::{
    clock::Clock,
    http::client_limit::{ClientLimit, ClientRates},
    token_bucket::RateError,
};

use super::{ByteSize, require, require_span};

/// The `[limits]` section: how much is done at once. Beyond that, callers are told to come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Pieces being taken.
    pub puts_max: usize,
    /// Slices being given. Each holds a thread while its reader is slower than the disk.
    pub gets_max: usize,
    /// Batches of challenges being answered.
    pub audits_max: usize,
    /// Deletions and lists in progress.
    pub collects_max: usize,
    /// Readers of content being served.
    pub content_max: usize,
    /// Questions of gateways about places being answered.
    pub places_max: usize,
    /// Orders remembered as genuine, so that their signatures are not checked again.
    pub orders_cached_max: u64,
    /// Pieces in one answer to a list.
    pub list_max: usize,
    /// Bytes of buffers for slices that are kept for reuse while none is given.
    pub idle_bytes: usize,
    /// How long the sender of a piece, or the reader of a slice, may do nothing.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// How many bytes a second the sender of a piece must manage on average, after a first `idle`.
    pub put_rate_min: ByteSize,
    /// Requests for content that one client may have each second in the long run: an address, or a /64 of IPv6. 0 is no
    /// limit. Many people may share one address.
    pub client_rate: f64,
    /// Such requests at once, after a pause.
    pub client_burst: u32,
    /// Clients that are remembered, at most; some 80 bytes each.
    pub clients_max: usize,
    /// Networks of proxies in front whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            puts_max: 128,
            gets_max: 128,
            audits_max: 4,
            collects_max: 4,
            content_max: 512,
            places_max: 32,
            orders_cached_max: 8192,
            list_max: 10_000,
            idle_bytes: 2 << 20,
            idle: Duration::from_secs(15),
            put_rate_min: ByteSize(64 << 10),
            client_rate: 0.0,
            client_burst: 500,
            clients_max: 100_000,
            trusted_proxies: Vec::new(),
        }
    }
}

/// The runtime has 512 threads for blocking work; some must stay free for puts, audits and the care of the disk.
const GETS_MAX: usize = 384;
/// A line of a list is about 120 bytes, and an answer is read up to 4 MiB.
const LIST_MAX: usize = 20_000;

impl LimitsConfig {
    /// The limit of clients, if there is one.
    pub(crate) fn clients(&self, clock: &Clock) -> Result<Option<ClientLimit>, RateError> {
        self.client_rates().limit(&self.trusted_proxies, clock)
    }

    fn client_rates(&self) -> ClientRates {
        let (per_second, burst) = (self.client_rate, self.client_burst);
        ClientRates { per_second, burst, clients_max: self.clients_max }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let at_least_one = [
            ("puts_max", self.puts_max),
            ("audits_max", self.audits_max),
            ("collects_max", self.collects_max),
            ("content_max", self.content_max),
            ("places_max", self.places_max),
        ];
        for (name, value) in at_least_one {
            require(&mut problems, value > 0, &format!("limits.{name}: must be at least 1"));
        }
        let gets = (1..=GETS_MAX).contains(&self.gets_max);
        require(&mut problems, gets, &format!("limits.gets_max: must be in 1..={GETS_MAX}"));
        let list = (1..=LIST_MAX).contains(&self.list_max);
        require(&mut problems, list, &format!("limits.list_max: must be in 1..={LIST_MAX}"));
        require(&mut problems, self.put_rate_min.0 > 0, "limits.put_rate_min: must not be zero");
        require_span(&mut problems, "limits.idle", self.idle);
        problems.extend(self.client_rates().problems());
        problems
    }
}

/// The `[heartbeat]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeartbeatConfig {
    /// How often a gateway hears of this node.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// Damaged pieces owned up to in one heartbeat.
    pub problems_max: usize,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self { every: Duration::from_secs(5), problems_max: 1000 }
    }
}

impl HeartbeatConfig {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        require_span(&mut problems, "heartbeat.every", self.every);
        require(&mut problems, self.problems_max > 0, "heartbeat.problems_max: must be at least 1");
        problems
    }
}

/// The `[usage]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UsageConfig {
    /// How often counts are written down: what a crash loses at most.
    #[serde(with = "humantime_serde")]
    pub flush_every: Duration,
    /// How often it is looked whether an hour can be handed in.
    #[serde(with = "humantime_serde")]
    pub redeem_every: Duration,
    /// How long after its end an hour is handed in. Longer than orders and tickets are valid, or their last bytes are lost.
    #[serde(with = "humantime_serde")]
    pub redeem_grace: Duration,
    /// How long an hour that no gateway takes is kept.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// Orders and tickets counted at once; what is served under further ones is not paid.
    pub counted_max: usize,
    /// Orders and tickets handed in for one hour, the largest ones.
    pub redeemed_max: usize,
}

impl Default for UsageConfig {
    fn default() -> Self {
        Self {
            flush_every: Duration::from_secs(5),
            redeem_every: Duration::from_secs(30),
            redeem_grace: Duration::from_mins(15),
            keep: Duration::from_hours(24 * 7),
            counted_max: 100_000,
            redeemed_max: REDEEM_MAX,
        }
    }
}

impl UsageConfig {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        require_span(&mut problems, "usage.flush_every", self.flush_every);
        require_span(&mut problems, "usage.redeem_every", self.redeem_every);
        let kept = self.keep > self.redeem_grace + Duration::from_hours(1);
        require(&mut problems, kept, "usage.keep: must be more than an hour longer than redeem_grace");
        require(&mut problems, self.counted_max > 0, "usage.counted_max: must be at least 1");
        let redeemed = (1..=REDEEM_MAX).contains(&self.redeemed_max);
        require(&mut problems, redeemed, &format!("usage.redeemed_max: must be in 1..={REDEEM_MAX}"));
        problems
    }
}

/// The `[scrub]` section: what the care of the disk may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrubConfig {
    /// Bytes a second that checking pieces may read, on average. At 8 MiB/s a terabyte takes a day and a half.
    pub rate: ByteSize,
    /// A new round over all pieces begins no sooner than this after the last one began.
    #[serde(with = "humantime_serde")]
    pub round_min: Duration,
    /// Bytes a second that giving space back may read, on average.
    pub compact_rate: ByteSize,
    /// How often checking and compacting get a turn.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// How often the index of the store is written down.
    #[serde(with = "humantime_serde")]
    pub checkpoint_every: Duration,
    /// With requests in progress a turn is left out, but never more than this many in a row.
    pub yields_max: u32,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self {
            rate: ByteSize(8 << 20),
            round_min: Duration::from_hours(24),
            compact_rate: ByteSize(16 << 20),
            every: Duration::from_secs(1),
            checkpoint_every: Duration::from_secs(5),
            yields_max: 10,
        }
    }
}

impl ScrubConfig {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        require(&mut problems, self.rate.0 > 0, "scrub.rate: must not be zero");
        require(&mut problems, self.compact_rate.0 > 0, "scrub.compact_rate: must not be zero");
        require_span(&mut problems, "scrub.every", self.every);
        require_span(&mut problems, "scrub.checkpoint_every", self.checkpoint_every);
        problems
    }
}

/// The `[directory]` section: what gateways told of places, kept for those whose database is away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectoryConfig {
    /// Bytes on disk, at most; 0: nothing is kept.
    pub bytes_max: ByteSize,
    /// Blocks that are found in it, at most; some 30 bytes of memory each.
    pub blocks_max: usize,
    /// How long what was told is kept. Gateways believe nothing that is older than a day.
    #[serde(with = "humantime_serde")]
    pub age_max: Duration,
    /// How often what was told is written down.
    #[serde(with = "humantime_serde")]
    pub write_every: Duration,
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            bytes_max: ByteSize(32 << 20),
            blocks_max: 100_000,
            age_max: Duration::from_hours(24),
            write_every: Duration::from_secs(1),
        }
    }
}

/// Two files of up to 4 GiB, with offsets of 32 bits.
const DIRECTORY_BYTES_MAX: u64 = 8 << 30;
/// Two statements of the greatest length.
const DIRECTORY_BYTES_MIN: u64 = 1 << 20;

impl DirectoryConfig {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let bytes =
            self.bytes_max.0 == 0 || (DIRECTORY_BYTES_MIN..=DIRECTORY_BYTES_MAX).contains(&self.bytes_max.0);
        require(&mut problems, bytes, "directory.bytes_max: must be 0 or between 1 MiB and 8 GiB");
        let blocks = self.blocks_max >= 2 * BLOCKS_MAX;
        require(&mut problems, blocks, &format!("directory.blocks_max: must be at least {}", 2 * BLOCKS_MAX));
        require_span(&mut problems, "directory.age_max", self.age_max);
        require_span(&mut problems, "directory.write_every", self.write_every);
        problems
    }
}
