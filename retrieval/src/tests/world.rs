//! Blocks in coded segments on nodes in memory, and a locator that knows where, or says something else when told to.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use content::{Block, Cid, car};
use erasure::{Codec, Scheme};
use parking_lot::Mutex;
use protocol::{ids::SegmentId, time::UnixMillis};
use service::{clock::Clock, watched_files::Reload};
use tempfile::TempDir;
use testing::FakeNetwork;
use transfer::{Gather, GatherConfig, Peers, PieceSource, Pool, SegmentSource, code_segment};

use crate::{Blocks, BlocksConfig, Denylist, DenylistConfig, Found, LocateError, LocateFuture, Locator};

const DENYLIST: &str = "list.deny";

pub(super) struct World {
    pub(super) network: FakeNetwork,
    pub(super) locator: FakeLocator,
    pub(super) clock: Clock,
    pub(super) gather: GatherConfig,
    pub(super) config: BlocksConfig,
    pub(super) denylist: Denylist,
    deny_dir: TempDir,
}

/// Knows every block of a [`World`]; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct FakeLocator(Arc<State>);

#[derive(Default)]
struct State {
    places: Mutex<HashMap<Cid, Found>>,
    /// What is said until somebody asks to forget it.
    stale: Mutex<HashMap<Cid, Found>>,
    away: AtomicBool,
    asked: AtomicUsize,
}

impl FakeLocator {
    /// How often somebody asked.
    pub(super) fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Whether questions get no answer.
    pub(super) fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    /// Where a block is.
    pub(super) fn place(&self, cid: &Cid) -> Found {
        self.0.places.lock()[cid].clone()
    }

    /// Says from now on that a block is somewhere else.
    pub(super) fn say(&self, place: Found) {
        self.0.places.lock().insert(place.cid.clone(), place);
    }

    /// Says that a block is somewhere else until asked to forget it.
    pub(super) fn say_stale(&self, place: Found) {
        self.0.stale.lock().insert(place.cid.clone(), place);
    }
}

impl Locator for FakeLocator {
    fn locate<'a>(&'a self, cids: &'a [Cid], _: Option<&'a Cid>) -> LocateFuture<'a> {
        Box::pin(async move {
            self.0.asked.fetch_add(1, Ordering::SeqCst);
            // Answers come over a network or from a database: others get a turn meanwhile.
            tokio::task::yield_now().await;
            if self.0.away.load(Ordering::SeqCst) {
                return Err(LocateError("away".into()));
            }
            let (stale, places) = (self.0.stale.lock(), self.0.places.lock());
            Ok(cids.iter().filter_map(|cid| stale.get(cid).or_else(|| places.get(cid)).cloned()).collect())
        })
    }

    fn forget(&self, cids: &[Cid]) {
        let mut stale = self.0.stale.lock();
        for cid in cids {
            stale.remove(cid);
        }
    }
}

impl World {
    pub(super) fn new() -> Self {
        let clock = Clock::sim(UnixMillis(1_700_000_000_000));
        let deny_dir = tempfile::tempdir().unwrap();
        let list = deny_dir.path().join(DENYLIST);
        std::fs::write(&list, "").unwrap();
        let denylist = DenylistConfig { files: vec![list], ..DenylistConfig::default() };
        Self {
            network: FakeNetwork::new(20, clock.clone()),
            locator: FakeLocator::default(),
            clock,
            // So long that nobody is thought slow because the machine is.
            gather: GatherConfig { hedge_after: Duration::from_mins(1), ..GatherConfig::default() },
            config: BlocksConfig::default(),
            denylist: Denylist::open(&denylist).unwrap(),
            deny_dir,
        }
    }

    /// Stores blocks together in one segment.
    pub(super) fn store(&self, blocks: &[Block]) {
        let scheme = Scheme::new(Codec::Gf8, 8, 20).unwrap();
        let pool = Pool::new(0);
        let mut segment = pool.take(0);
        let mut offsets = Vec::new();
        for block in blocks {
            segment.vec().extend(car::frame_prefix(&block.cid, block.bytes.len()));
            offsets.push(segment.vec().len() as u64);
            segment.vec().extend_from_slice(&block.bytes);
        }
        let segment_len = segment.vec().len() as u64;
        let pieces = code_segment(scheme, segment, &pool).unwrap();
        // Of all that is in it: segments of like bytes may begin alike.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&segment_len.to_le_bytes());
        for piece in &pieces {
            hasher.update(&piece.hash.0);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        let sources = pieces.iter().map(|piece| {
            let node = usize::from(piece.index);
            self.network.nodes()[node].keep(piece.slices.concat().into());
            PieceSource { index: piece.index, order: self.network.get_order(node, piece.hash) }
        });
        let segment =
            Arc::new(SegmentSource { id: SegmentId(id), scheme, segment_len, pieces: sources.collect() });
        let expires = self.clock.now() + Duration::from_mins(30);
        for (block, offset) in blocks.iter().zip(offsets) {
            let (cid, len) = (block.cid.clone(), block.bytes.len() as u64);
            self.locator.say(Found { cid, segment: segment.clone(), offset, len, expires });
        }
    }

    /// Stores a raw block of its own segment.
    pub(super) fn store_raw(&self, bytes: impl Into<Bytes>) -> Block {
        let block = raw(bytes);
        self.store(std::slice::from_ref(&block));
        block
    }

    pub(super) fn blocks(&self) -> Blocks {
        let locator = Box::new(self.locator.clone());
        Blocks::new(locator, self.gather(), self.denylist.clone(), self.clock.clone(), self.config.clone())
    }

    pub(super) fn gather(&self) -> Gather {
        Gather::new(self.network.client(), Peers::default(), self.gather.clone())
    }

    /// Denies what these rules say, and nothing else any more.
    pub(super) fn deny(&self, rules: &str) {
        // Another file each time, however soon after the last one.
        let aside = self.deny_dir.path().join("aside");
        std::fs::write(&aside, rules).unwrap();
        std::fs::rename(&aside, self.deny_dir.path().join(DENYLIST)).unwrap();
        assert_eq!(self.denylist.reload_if_changed().unwrap(), Reload::Loaded);
    }

    /// How often pieces were asked for.
    pub(super) fn pieces_asked(&self) -> usize {
        self.network.nodes().iter().map(|node| node.asked().len()).sum()
    }
}

pub(super) fn raw(bytes: impl Into<Bytes>) -> Block {
    Block::of(content::Codec::Raw, content::HashFn::Sha2_256, bytes.into())
}

/// Bytes that differ from place to place and from seed to seed.
pub(super) fn patterned(seed: u32, len: usize) -> Vec<u8> {
    let words = (seed..).map(|word| word.wrapping_mul(0x9e37_79b1));
    words.flat_map(u32::to_le_bytes).take(len).collect()
}

/// Lets everything that can go on go on.
pub(super) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
