//! Blocks by CID: from memory, from disk, or fetched from pieces; each fetched once however many wait for it. What is denied
//! is given to nobody, wherever it is.

mod budget;
mod fetch;
mod loans;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use content::{Block, Cid};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, join_all},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use service::{clock::Clock, traces::here};
use transfer::Gather;

pub(crate) use self::loans::COPY_BYTES;
use self::{
    budget::{Batch, Budget},
    loans::Loans,
};
use crate::{
    denylist::Denylist,
    disk_cache::{DiskCache, DiskCacheConfig},
    error::ReadError,
    locate::{Found, Locator},
};

/// The `[cache]` section of gateways and nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlocksConfig {
    /// Bytes of blocks kept in memory.
    pub memory_bytes: u64,
    /// Where blocks are kept on disk; empty for nowhere.
    pub disk_dir: PathBuf,
    /// Bytes of blocks kept on disk.
    pub disk_bytes: u64,
    /// Places of blocks kept in memory.
    pub places_max: u64,
    /// Bytes of blocks that may be on their way between nodes and readers, over all reads together. While they are put
    /// together they take up to three times as much.
    pub in_flight_bytes: u32,
    /// Bytes of blocks that connections may hold at once as they are, while clients take them. Beyond that they are given
    /// copies of 32 KiB at a time.
    pub sending_bytes: u32,
    /// Bytes fetched at once for one reader, at most.
    pub window_bytes: u64,
    /// How long a place is believed.
    #[serde(with = "humantime_serde")]
    pub place_ttl: Duration,
    /// How long a reader may keep what was fetched ahead for it while others wait for room.
    #[serde(with = "humantime_serde")]
    pub hold_max: Duration,
}

impl Default for BlocksConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 32 << 20,
            disk_dir: PathBuf::new(),
            disk_bytes: 4 << 30,
            places_max: 50_000,
            in_flight_bytes: 24 << 20,
            sending_bytes: 16 << 20,
            window_bytes: 4 << 20,
            place_ttl: Duration::from_mins(5),
            hold_max: Duration::from_secs(5),
        }
    }
}

/// Access to blocks; cheap to clone.
#[derive(Clone)]
pub struct Blocks {
    shared: Arc<Inner>,
    /// What is read below.
    root: Option<Cid>,
}

struct Inner {
    locator: Box<dyn Locator>,
    gather: Gather,
    denylist: Denylist,
    memory: moka::sync::Cache<Cid, Bytes>,
    disk: Option<DiskCache>,
    places: moka::sync::Cache<Cid, Found>,
    fetches: Mutex<HashMap<Cid, Fetch>>,
    budget: Budget,
    loans: Loans,
    clock: Clock,
    config: BlocksConfig,
}

/// A fetch in progress, or one that has ended and is still held by somebody.
#[derive(Clone)]
pub(crate) struct Fetch {
    batch: Shared<BoxFuture<'static, Option<Arc<Batch>>>>,
    denylist: Denylist,
}

/// Takes fetches off the list when they end, in whatever way.
struct Entered {
    inner: Arc<Inner>,
    cids: Vec<Cid>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut fetches = self.inner.fetches.lock();
        for cid in &self.cids {
            fetches.remove(cid);
        }
    }
}

/// What a cache entry costs besides its bytes.
const ENTRY_BYTES: usize = 200;

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// Whether a block may be given out.
fn permit(denylist: &Denylist, cid: &Cid) -> Result<(), ReadError> {
    denylist.denied(cid).map_or(Ok(()), |denial| Err(ReadError::Denied(cid.clone(), denial)))
}

impl Fetch {
    /// What came of one block; `None` when it has to be fetched again because others needed the room. Holds the room
    /// for as long as this fetch is kept.
    pub(crate) async fn block(&self, cid: &Cid) -> Option<Result<Block, ReadError>> {
        let Some(batch) = self.batch.clone().await else {
            return Some(Err(ReadError::Unavailable("fetch ended".into())));
        };
        // Once more, and last: a reader may take long to come for what was fetched ahead for it.
        if let Err(error) = permit(&self.denylist, cid) {
            return Some(Err(error));
        }
        let bytes = batch.get(cid)?;
        Some(bytes.map(|bytes| Block { cid: cid.clone(), bytes }))
    }
}

impl Blocks {
    /// Reads blocks found by `locator` over `gather` unless `denylist` says no, without a cache on disk.
    pub fn new(
        locator: Box<dyn Locator>,
        gather: Gather,
        denylist: Denylist,
        clock: Clock,
        config: BlocksConfig,
    ) -> Self {
        Self::with_disk(locator, gather, denylist, clock, config, None)
    }

    /// The same with a cache on disk, if the configuration names a place for it. Blocks while that is opened. A disk that
    /// cannot be used is no reason not to start: reads are slower without it, and nothing else.
    pub fn open(
        locator: Box<dyn Locator>,
        gather: Gather,
        denylist: Denylist,
        clock: Clock,
        config: BlocksConfig,
    ) -> Self {
        let disk = (!config.disk_dir.as_os_str().is_empty()).then(|| {
            let limits = DiskCacheConfig { bytes_max: config.disk_bytes, ..DiskCacheConfig::default() };
            DiskCache::open(&config.disk_dir, &limits)
        });
        let disk = disk.and_then(|opened| {
            let dir = config.disk_dir.display();
            opened
                .inspect_err(|error| tracing::error!(path = %dir, %error, "running without a disk cache"))
                .ok()
        });
        Self::with_disk(locator, gather, denylist, clock, config, disk)
    }

    fn with_disk(
        locator: Box<dyn Locator>,
        gather: Gather,
        denylist: Denylist,
        clock: Clock,
        config: BlocksConfig,
        disk: Option<DiskCache>,
    ) -> Self {
        let memory = moka::sync::Cache::builder()
            .weigher(|_: &Cid, bytes: &Bytes| u32::try_from(bytes.len() + ENTRY_BYTES).unwrap_or(u32::MAX))
            .max_capacity(config.memory_bytes)
            .build();
        let places = moka::sync::Cache::builder()
            .max_capacity(config.places_max)
            .time_to_live(config.place_ttl)
            .build();
        let budget = Budget::new(config.in_flight_bytes, config.hold_max);
        let loans = Loans::new(config.sending_bytes);
        let fetches = Mutex::default();
        let inner =
            Inner { locator, gather, denylist, memory, disk, places, fetches, budget, loans, clock, config };
        Self { shared: Arc::new(inner), root: None }
    }

    /// The same for somebody who reads what lies below this root ([`Locator::locate`]).
    #[must_use]
    pub fn under(&self, root: &Cid) -> Self {
        Self { shared: self.shared.clone(), root: Some(root.clone()) }
    }

    /// What reads are limited by.
    pub fn config(&self) -> &BlocksConfig {
        &self.shared.config
    }

    /// The cache on disk, if there is one.
    pub fn disk(&self) -> Option<&DiskCache> {
        self.shared.disk.as_ref()
    }

    /// What is denied.
    pub fn denylist(&self) -> &Denylist {
        &self.shared.denylist
    }

    /// Whether a path (decoded components) below a CID may be read, as far as rules about paths go; without components,
    /// whether the block may.
    pub(crate) fn permit<S: AsRef<str>>(
        &self,
        cid: &Cid,
        path: impl IntoIterator<Item = S>,
    ) -> Result<(), ReadError> {
        let denial = self.shared.denylist.denied_path(cid, path);
        denial.map_or(Ok(()), |denial| Err(ReadError::Denied(cid.clone(), denial)))
    }

    /// A block that is at hand without asking anybody. A denied one never is.
    pub fn at_hand(&self, cid: &Cid) -> Option<Block> {
        permit(self.denylist(), cid).ok()?;
        self.kept(cid)
    }

    fn kept(&self, cid: &Cid) -> Option<Block> {
        if let Some(block) = Block::from_identity(cid.clone()) {
            return Some(block);
        }
        let bytes = self.shared.memory.get(cid)?;
        metrics::counter!("pinstripe_block_reads_total", "from" => "memory").increment(1);
        Some(Block { cid: cid.clone(), bytes })
    }

    /// One block.
    pub async fn get(&self, cid: &Cid) -> Result<Block, ReadError> {
        permit(self.denylist(), cid)?;
        if let Some(block) = self.kept(cid) {
            return Ok(block);
        }
        if cid.hash_fn().is_none() {
            return Err(ReadError::UnsupportedHash(cid.clone()));
        }
        loop {
            // Once more only when the room was taken back between the end of the fetch and this reader's turn.
            for fetch in self.fetch(std::slice::from_ref(cid), &[]).into_values() {
                if let Some(outcome) = fetch.block(cid).await {
                    return outcome;
                }
            }
        }
    }

    /// Several blocks in order, fetched together.
    pub(crate) async fn get_all(&self, cids: &[Cid]) -> Result<Vec<Block>, ReadError> {
        let missing: Vec<Cid> = cids.iter().filter(|cid| !self.is_at_hand(cid)).cloned().collect();
        let fetches = self.fetch(&missing, &[]);
        let blocks = cids.iter().map(async |cid| {
            if let Some(fetch) = fetches.get(cid)
                && let Some(outcome) = fetch.block(cid).await
            {
                return outcome;
            }
            self.get(cid).await
        });
        join_all(blocks).await.into_iter().collect()
    }

    /// Whether a block is in memory, denied or not: it need not be fetched.
    pub(crate) fn is_at_hand(&self, cid: &Cid) -> bool {
        cid.is_identity() || self.shared.memory.contains_key(cid)
    }

    /// Sees to it that all of `cids` are being fetched, and gives the fetch of each. Those that nobody fetches yet are
    /// fetched together; `soon` names some that will be wanted afterwards. A fetch runs on even when whoever asked for it
    /// leaves. What is denied is not fetched: its fetch has ended.
    pub(crate) fn fetch(&self, cids: &[Cid], soon: &[Cid]) -> HashMap<Cid, Fetch> {
        let mut found: HashMap<Cid, Fetch> = HashMap::with_capacity(cids.len());
        for cid in cids {
            if let Err(error) = permit(self.denylist(), cid) {
                found.insert(cid.clone(), self.ended(Batch::outcome(cid.clone(), Err(error))));
            }
        }
        // Held until new fetches are entered, so that two readers never start the same.
        let mut fetches = self.shared.fetches.lock();
        let mut seen: HashSet<&Cid> = HashSet::with_capacity(cids.len());
        let mut new: Vec<Cid> = Vec::new();
        for cid in cids.iter().filter(|cid| seen.insert(*cid)) {
            if found.contains_key(cid) {
                continue;
            }
            if let Some(fetch) = fetches.get(cid) {
                found.insert(cid.clone(), fetch.clone());
            } else if let Some(bytes) = self.shared.memory.get(cid) {
                // It came in since the caller looked.
                found.insert(cid.clone(), self.ended(Batch::outcome(cid.clone(), Ok(bytes))));
            } else {
                new.push(cid.clone());
            }
        }
        if !new.is_empty() {
            let fetch = self.start(new.clone(), soon.to_vec());
            for cid in new {
                fetches.insert(cid.clone(), fetch.clone());
                found.insert(cid, fetch.clone());
            }
        }
        found
    }

    /// A part of a block of `block_len` bytes for a connection to hold; `None` when it must be copied, for too much is in
    /// their hands.
    pub(crate) fn lend(&self, bytes: Bytes, block_len: usize) -> Option<Bytes> {
        self.shared.loans.lend(bytes, block_len)
    }

    fn ended(&self, batch: Arc<Batch>) -> Fetch {
        let batch = std::future::ready(Some(batch)).boxed().shared();
        Fetch { batch, denylist: self.denylist().clone() }
    }

    /// Starts one fetch, which takes itself off the list when it ends.
    fn start(&self, cids: Vec<Cid>, soon: Vec<Cid>) -> Fetch {
        let (inner, root) = (self.shared.clone(), self.root.clone());
        let task = tokio::spawn(here().carry(async move {
            // Made in here: a task that is refused because everything ends is dropped while the list is locked.
            let entered = Entered { inner, cids };
            fetch::fetch(&entered.inner, &entered.cids, &soon, root.as_ref()).await
        }));
        Fetch { batch: task.map(Result::ok).boxed().shared(), denylist: self.denylist().clone() }
    }

    /// Bytes that connections may still be given.
    #[cfg(test)]
    pub(crate) fn lendable_bytes(&self) -> usize {
        self.shared.loans.free_bytes()
    }

    /// Bytes of the budget that nobody has.
    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        self.shared.budget.free_bytes()
    }
}
