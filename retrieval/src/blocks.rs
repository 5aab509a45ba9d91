//! Blocks by CID: from memory, from disk, or fetched from pieces; each fetched once however many wait for it.

use std::{collections::HashMap, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use content::{Block, Cid};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use protocol::ids::SegmentId;
use serde::{Deserialize, Serialize};
use service::clock::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use transfer::Gather;

use crate::{
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
    /// Bytes that may be in flight between nodes and readers, over all reads together.
    pub in_flight_bytes: u32,
    /// Bytes fetched at once for one reader, at most.
    pub window_bytes: u64,
    /// How long a place is believed.
    #[serde(with = "humantime_serde")]
    pub place_ttl: Duration,
}

impl Default for BlocksConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            disk_dir: PathBuf::new(),
            disk_bytes: 4 << 30,
            places_max: 50_000,
            in_flight_bytes: 64 << 20,
            window_bytes: 4 << 20,
            place_ttl: Duration::from_mins(5),
        }
    }
}

/// Access to blocks; cheap to clone.
#[derive(Clone)]
pub struct Blocks {
    shared: Arc<Inner>,
}

struct Inner {
    locator: Box<dyn Locator>,
    gather: Gather,
    memory: moka::sync::Cache<Cid, Bytes>,
    disk: Option<DiskCache>,
    places: moka::sync::Cache<Cid, Found>,
    fetches: Mutex<HashMap<Cid, Fetch>>,
    budget: Arc<Semaphore>,
    clock: Clock,
    config: BlocksConfig,
}

/// Blocks that were fetched together, and the room they take in the budget until the last reader lets go of them.
#[derive(Debug)]
struct Group {
    blocks: HashMap<Cid, Bytes>,
    _room: OwnedSemaphorePermit,
}

type Fetch = Shared<BoxFuture<'static, Result<Arc<Group>, ReadError>>>;

/// A block, keeping its room in the budget while a reader works with it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The block.
    pub block: Block,
    _group: Option<Arc<Group>>,
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Blocks {
    /// Reads blocks found by `locator` over `gather`.
    pub fn new(locator: Box<dyn Locator>, gather: Gather, clock: Clock, config: BlocksConfig) -> Self {
        let memory = moka::sync::Cache::builder()
            .weigher(|_: &Cid, bytes: &Bytes| u32::try_from(bytes.len() + ENTRY_BYTES).unwrap_or(u32::MAX))
            .max_capacity(config.memory_bytes)
            .build();
        let places = moka::sync::Cache::builder()
            .max_capacity(config.places_max)
            .time_to_live(config.place_ttl)
            .build();
        let budget = Arc::new(Semaphore::new(config.in_flight_bytes as usize));
        let (disk, fetches) = (open_disk(&config), Mutex::default());
        Self {
            shared: Arc::new(Inner { locator, gather, memory, disk, places, fetches, budget, clock, config }),
        }
    }

    /// What reads are limited by.
    pub fn config(&self) -> &BlocksConfig {
        &self.shared.config
    }

    /// A block that is at hand without asking anybody.
    pub fn at_hand(&self, cid: &Cid) -> Option<Block> {
        if let Some(block) = Block::from_identity(cid.clone()) {
            return Some(block);
        }
        let bytes = self.shared.memory.get(cid)?;
        Some(Block { cid: cid.clone(), bytes })
    }

    /// One block.
    pub async fn get(&self, cid: &Cid) -> Result<Held, ReadError> {
        if let Some(block) = self.at_hand(cid) {
            metrics::counter!("block_reads_total", "from" => "memory").increment(1);
            return Ok(Held { block, _group: None });
        }
        if let Some(block) = self.kept_on_disk(cid).await {
            return Ok(Held { block, _group: None });
        }
        let group = self.fetch(cid).await?;
        held(cid, group)
    }

    /// Starts fetching several blocks that will be read soon, as far as the budget has room right now.
    /// The returned handles keep what was fetched; [`Blocks::get`] finds it.
    pub async fn prefetch(&self, cids: &[Cid]) -> Result<Vec<Held>, ReadError> {
        let mut held_blocks = Vec::with_capacity(cids.len());
        let mut missing = Vec::new();
        for cid in cids {
            let at_hand = match self.at_hand(cid) {
                Some(block) => Some(block),
                None => self.kept_on_disk(cid).await,
            };
            match at_hand {
                Some(block) => held_blocks.push(Held { block, _group: None }),
                None => missing.push(cid.clone()),
            }
        }
        let fetches = self.fetch_together(&missing).await?;
        for fetch in fetches {
            let group = fetch.await?;
            for (cid, bytes) in &group.blocks {
                let block = Block { cid: cid.clone(), bytes: bytes.clone() };
                held_blocks.push(Held { block, _group: Some(group.clone()) });
            }
        }
        Ok(held_blocks)
    }

    /// A block kept on disk; it is in memory afterwards.
    async fn kept_on_disk(&self, cid: &Cid) -> Option<Block> {
        let bytes = self.shared.disk.as_ref()?.get(cid).await?;
        metrics::counter!("block_reads_total", "from" => "disk").increment(1);
        self.shared.memory.insert(cid.clone(), bytes.clone());
        Some(Block { cid: cid.clone(), bytes })
    }

    async fn fetch(&self, cid: &Cid) -> Result<Arc<Group>, ReadError> {
        let running = self.shared.fetches.lock().get(cid).cloned();
        if let Some(fetch) = running {
            return fetch.await;
        }
        let places = self.places(std::slice::from_ref(cid)).await?;
        let Some(place) = places.into_iter().next() else { return Err(ReadError::NotFound(cid.clone())) };
        self.start(vec![place]).await
    }

    /// Fetches for all of `cids` that nobody fetches yet, joined where they lie together.
    async fn fetch_together(&self, cids: &[Cid]) -> Result<Vec<Fetch>, ReadError> {
        let mut fetches = Vec::new();
        let mut unknown = Vec::new();
        for cid in cids {
            let running = self.shared.fetches.lock().get(cid).cloned();
            match running {
                Some(fetch) => fetches.push(fetch),
                None => unknown.push(cid.clone()),
            }
        }
        let mut places = self.places(&unknown).await?;
        if places.len() < unknown.len() {
            let missing = unknown.iter().find(|cid| !places.iter().any(|place| place.cid == **cid));
            return Err(ReadError::NotFound(missing.unwrap_or(&unknown[0]).clone()));
        }
        places.sort_by_key(|place| (place.segment.id, place.offset));
        let mut run: Vec<Found> = Vec::new();
        for place in places {
            let joins = run.last().is_none_or(|last| {
                last.segment.id == place.segment.id
                    && place.offset + place.len - run[0].offset <= self.shared.config.window_bytes
                    && place.offset - (last.offset + last.len) <= GAP_MAX
            });
            if !joins {
                fetches.push(self.start(std::mem::take(&mut run)));
            }
            run.push(place);
        }
        if !run.is_empty() {
            fetches.push(self.start(run));
        }
        Ok(fetches)
    }

    /// Places of blocks, remembered ones first.
    async fn places(&self, cids: &[Cid]) -> Result<Vec<Found>, ReadError> {
        let now = self.shared.clock.now();
        let mut places = Vec::with_capacity(cids.len());
        let mut unknown = Vec::new();
        for cid in cids {
            match self.shared.places.get(cid).filter(|place| place.expires > now) {
                Some(place) => places.push(place),
                None => unknown.push(cid.clone()),
            }
        }
        if !unknown.is_empty() {
            let found = self.shared.locator.locate(&unknown).await;
            let found = found.map_err(|error| ReadError::Unavailable(error.to_string()))?;
            for place in found {
                self.shared.places.insert(place.cid.clone(), place.clone());
                places.push(place);
            }
        }
        Ok(places)
    }

    /// Starts one fetch of blocks that lie together in a segment and lets others join it. It runs on even when the
    /// reader that asked for it leaves.
    fn start(&self, places: Vec<Found>) -> Fetch {
        let cids: Vec<Cid> = places.iter().map(|place| place.cid.clone()).collect();
        let this = self.clone();
        // Held until the fetch is entered below, so that it cannot be taken out before.
        let mut fetches = self.shared.fetches.lock();
        let task = tokio::spawn(async move {
            let outcome = this.gather_group(&places).await;
            let mut fetches = this.shared.fetches.lock();
            for place in &places {
                fetches.remove(&place.cid);
            }
            outcome
        });
        let fetch = task
            .map(|joined| {
                joined.unwrap_or_else(|error| Err(ReadError::Unavailable(format!("fetch ended: {error}"))))
            })
            .boxed()
            .shared();
        for cid in cids {
            fetches.insert(cid, fetch.clone());
        }
        fetch
    }

    async fn gather_group(&self, places: &[Found]) -> Result<Arc<Group>, ReadError> {
        let bytes: u64 = places.iter().map(|place| place.len).sum();
        let room = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.shared.config.in_flight_bytes);
        let room = self.shared.budget.clone().acquire_many_owned(room).await;
        let room = room.map_err(|_| ReadError::Unavailable("shutting down".into()))?;
        let blocks = if let Ok(blocks) = self.read_places(places).await {
            blocks
        } else {
            // Pieces move: what was remembered about them may be stale, so ask once more before giving up.
            self.read_afresh(places).await?
        };
        for (cid, bytes) in &blocks {
            self.shared.memory.insert(cid.clone(), bytes.clone());
            if let Some(disk) = &self.shared.disk {
                disk.offer(Block { cid: cid.clone(), bytes: bytes.clone() });
            }
        }
        Ok(Arc::new(Group { blocks, _room: room }))
    }

    /// Forgets where blocks were, asks again and reads them there.
    async fn read_afresh(&self, places: &[Found]) -> Result<HashMap<Cid, Bytes>, ReadError> {
        let cids: Vec<Cid> = places.iter().map(|place| place.cid.clone()).collect();
        for cid in &cids {
            self.shared.places.invalidate(cid);
        }
        let mut fresh = self.places(&cids).await?;
        if fresh.len() < cids.len() {
            return Err(ReadError::NotFound(cids[0].clone()));
        }
        fresh.sort_by_key(|place| (place.segment.id, place.offset));
        let mut blocks = HashMap::new();
        for run in fresh.chunk_by(|a, b| a.segment.id == b.segment.id) {
            blocks.extend(self.read_places(run).await?);
        }
        Ok(blocks)
    }

    /// Gathers and verifies blocks of one segment.
    async fn read_places(&self, places: &[Found]) -> Result<HashMap<Cid, Bytes>, ReadError> {
        let Some(first) = places.first() else { return Ok(HashMap::new()) };
        let ranges: Vec<Range<u64>> =
            places.iter().map(|place| place.offset..place.offset.saturating_add(place.len)).collect();
        let pieces = self.shared.gather.read(&first.segment, &ranges).await;
        let pieces = pieces.map_err(|error| ReadError::Unavailable(error.to_string()))?;
        let named: Vec<(Cid, Bytes)> = places.iter().map(|place| place.cid.clone()).zip(pieces).collect();
        let bytes: usize = named.iter().map(|(_, bytes)| bytes.len()).sum();
        metrics::counter!("block_reads_total", "from" => "pieces").increment(named.len() as u64);
        metrics::counter!("gathered_bytes_total").increment(bytes as u64);
        let segment = first.segment.id;
        if bytes < INLINE_HASH_BYTES {
            return verify(segment, named);
        }
        // A mebibyte takes most of a millisecond to hash: long enough to hold up everybody else on this thread.
        let verified = tokio::task::spawn_blocking(move || verify(segment, named)).await;
        verified.unwrap_or_else(|error| Err(ReadError::Unavailable(format!("verification ended: {error}"))))
    }
}

/// The disk tier, if one is configured. Without it reads are slower and nothing else, so a disk that cannot be used is no
/// reason not to start.
fn open_disk(config: &BlocksConfig) -> Option<DiskCache> {
    if config.disk_dir.as_os_str().is_empty() {
        return None;
    }
    let limits = DiskCacheConfig { bytes_max: config.disk_bytes, ..DiskCacheConfig::default() };
    match DiskCache::open(&config.disk_dir, &limits) {
        Ok(disk) => Some(disk),
        Err(error) => {
            tracing::error!(dir = %config.disk_dir.display(), %error, "running without a disk cache");
            None
        }
    }
}

/// What a cache entry costs besides its bytes.
const ENTRY_BYTES: usize = 200;
/// Bytes between two blocks that are fetched together nevertheless: a CAR frame's head, or a small block in between.
const GAP_MAX: u64 = 4096;
/// Up to this many bytes are hashed on the async thread.
const INLINE_HASH_BYTES: usize = 64 << 10;

fn held(cid: &Cid, group: Arc<Group>) -> Result<Held, ReadError> {
    match group.blocks.get(cid) {
        Some(bytes) => {
            let block = Block { cid: cid.clone(), bytes: bytes.clone() };
            Ok(Held { block, _group: Some(group) })
        }
        None => Err(ReadError::NotFound(cid.clone())),
    }
}

/// Checks every block against its CID. A mismatch here means wrong metadata, for the pieces were verified before.
fn verify(segment: SegmentId, named: Vec<(Cid, Bytes)>) -> Result<HashMap<Cid, Bytes>, ReadError> {
    named
        .into_iter()
        .map(|(cid, bytes)| match Block::verified(cid.clone(), bytes) {
            Ok(block) => Ok((cid, block.bytes)),
            Err(error) => {
                tracing::error!(%segment, %cid, %error, "block does not match its cid");
                metrics::counter!("block_mismatches_total").increment(1);
                Err(ReadError::Unavailable(format!("block {cid} does not verify")))
            }
        })
        .collect()
}
