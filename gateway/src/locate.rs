//! Where blocks are: for this gateway's own reads and for the nodes that ask. The database says so, and while it is away what
//! is remembered of its words does, here or at the nodes (`directory`). Only the database can say that nobody stores a block.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use client::PieceOrder;
use content::Cid;
use futures_util::future::{Either, select};
use protocol::{
    api::{BlockPlace, LocateAnswer, PiecePlace, SegmentPlace},
    ids::SegmentId,
    order::{Action, Purpose},
    places::{PieceAt, Places},
    time::UnixMillis,
};
use retrieval::{Found, LocateError, LocateFuture, Locator};
use service::{clock::Clock, signer::Signer, traces::here};
use store::{BlockAt, Db, Located, SegmentInfo, SegmentPiece};
use transfer::{PieceSource, SegmentSource};

use self::directory::Unsure;
pub(crate) use self::{
    directory::{Directory, DirectoryParts},
    shared_places::SharedPlaces,
};
use crate::{
    database::{DATABASE_AWAY, DatabaseWatch, NoAnswer},
    nodes::NodeWatch,
};

mod directory;
mod shared_places;

/// Blocks and segments whose places are remembered for when the database is away.
const REMEMBERED_MAX: u64 = 100_000;
/// For so long a remembered place is used without asking the database.
const FRESH: Duration = Duration::from_secs(5);
/// For so long it is used when the database does not answer.
const STALE: Duration = Duration::from_hours(24);
/// For so long nodes are asked alone when the database is slow.
const HEAD_START: Duration = Duration::from_millis(300);
/// Questions to nodes that are remembered, so that none is asked twice in a short time.
const QUESTIONS_REMEMBERED_MAX: u64 = 10_000;
/// A reader may fetch a piece this many times over under one order: retries, hedges, other files in the segment.
const READS_PER_ORDER: u64 = 8;

/// Finds blocks; cheap to clone.
#[derive(Clone)]
pub(crate) struct StoreLocator {
    db: Db,
    database: DatabaseWatch,
    directory: Directory,
    signer: Signer,
    nodes: NodeWatch,
    clock: Clock,
    order_lifetime: Duration,
    shared: SharedPlaces,
    blocks: moka::sync::Cache<Cid, (BlockAt, UnixMillis)>,
    segments: moka::sync::Cache<SegmentId, (Arc<SegmentInfo>, UnixMillis)>,
    /// Since when what is said of a segment is doubted: only what the database said later is believed of others.
    doubted: moka::sync::Cache<SegmentId, UnixMillis>,
    /// When nodes were asked about these blocks, by the hash of their names. Who asks the same meanwhile waits for it.
    questions: moka::future::Cache<[u8; 32], UnixMillis>,
}

/// What a [`StoreLocator`] is made of.
pub(crate) struct LocatorParts {
    pub(crate) db: Db,
    pub(crate) database: DatabaseWatch,
    pub(crate) directory: Directory,
    pub(crate) signer: Signer,
    pub(crate) nodes: NodeWatch,
    pub(crate) clock: Clock,
    pub(crate) order_lifetime: Duration,
    pub(crate) shared: SharedPlaces,
}

/// Places of blocks, and the segments that they lie in with the time at which the database said all of it.
pub(crate) type Known = (Vec<BlockAt>, Vec<(Arc<SegmentInfo>, UnixMillis)>);

impl StoreLocator {
    pub(crate) fn new(parts: LocatorParts) -> Self {
        let LocatorParts { db, database, directory, signer, nodes, clock, order_lifetime, shared } = parts;
        let blocks = moka::sync::Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(STALE).build();
        let segments =
            moka::sync::Cache::builder().max_capacity(REMEMBERED_MAX / 10).time_to_live(STALE).build();
        let doubted =
            moka::sync::Cache::builder().max_capacity(REMEMBERED_MAX / 10).time_to_live(FRESH * 2).build();
        let questions = moka::future::Cache::new(QUESTIONS_REMEMBERED_MAX);
        Self {
            db,
            database,
            directory,
            signer,
            nodes,
            clock,
            order_lifetime,
            shared,
            blocks,
            segments,
            doubted,
            questions,
        }
    }

    /// Places of blocks and the segments they lie in: fresh from the database, or as is known without it. Blocks that are
    /// missing are not stored; an error says that nobody knows. Without a `root` the first of them stands for it.
    pub(crate) async fn find(&self, cids: &[Cid], root: Option<&Cid>) -> Result<Known, LocateError> {
        let now = self.clock.now();
        if let Some(known) = self.remembered(cids, now, FRESH) {
            return Ok(known);
        }
        if self.find_shared(cids, now).await
            && let Some(known) = self.remembered(cids, now, FRESH)
        {
            return Ok(known);
        }
        let question = |db: Db, cids: Vec<Cid>| async move { db.locate(&cids).await };
        let none = match self.database.ask(question(self.db.clone(), cids.to_vec())).await {
            Ok(located) => return Ok(self.learnt(located, cids, now)),
            Err(none) => none,
        };
        if let NoAnswer::Failed(error) = &none {
            tracing::warn!(%error, "the database does not say where blocks are");
        }
        // One that is slow and not away is waited for while others are asked, and whoever knows first is heard; it can still say
        // better than what could not be read a moment ago.
        let known = match none {
            NoAnswer::Late(late) => {
                let (this, asked) = (self.clone(), cids.to_vec());
                // Its answer is remembered, also when it comes too late for this reader.
                let learn =
                    tokio::spawn(async move { Some(this.learnt(late.await.ok()?.ok()?, &asked, now)) });
                let others = self.known_without_database(cids, root, now, true);
                first_known(others, async { learn.await.ok()? }).await
            }
            NoAnswer::Slow => {
                let ask = async {
                    let located = self.database.wait_for(question(self.db.clone(), cids.to_vec())).await;
                    Some(self.learnt(located.ok()?, cids, now))
                };
                let mut others = pin!(self.known_without_database(cids, root, now, true));
                // It is spared what nodes say soon: a question that is given up costs it a connection.
                match tokio::time::timeout(HEAD_START, &mut others).await {
                    Ok(Some(known)) => Some(known),
                    Ok(None) => ask.await,
                    Err(_) => first_known(others, ask).await,
                }
            }
            NoAnswer::Away | NoAnswer::Failed(_) => self.known_without_database(cids, root, now, false).await,
        };
        known.ok_or_else(|| LocateError(format!("{DATABASE_AWAY}, and nobody else who was asked knows")))
    }

    /// Remembers what the database said of these blocks at this time, and tells others.
    fn learnt(&self, located: Located, cids: &[Cid], now: UnixMillis) -> Known {
        let Located { blocks, segments } = located;
        if blocks.len() < cids.len() {
            // What is stored no more is not remembered for when the database is away.
            let there: HashSet<&Cid> = blocks.iter().map(|block| &block.cid).collect();
            cids.iter().filter(|cid| !there.contains(cid)).for_each(|cid| self.blocks.invalidate(cid));
        }
        let segments: Vec<Arc<SegmentInfo>> = segments.into_iter().map(Arc::new).collect();
        self.tell(&blocks, &segments, now);
        for block in &blocks {
            self.blocks.insert(block.cid.clone(), (block.clone(), now));
        }
        for segment in &segments {
            self.segments.insert(segment.id, (segment.clone(), now));
        }
        (blocks, segments.into_iter().map(|segment| (segment, now)).collect())
    }

    /// What is remembered of these blocks, here or by nodes, for when the database is away.
    async fn known_without_database(
        &self,
        cids: &[Cid],
        root: Option<&Cid>,
        now: UnixMillis,
        only_sure: bool,
    ) -> Option<Known> {
        let unsure: Vec<Cid> = cids.iter().filter(|cid| !self.is_sure(cid, now)).cloned().collect();
        let from = if unsure.is_empty() { "memory" } else { "nodes" };
        if !unsure.is_empty() {
            self.ask_nodes(unsure, root, now).await;
        }
        let is_enough = !only_sure || cids.iter().all(|cid| self.is_sure(cid, now));
        let known = self.remembered(cids, now, STALE).filter(|_| is_enough);
        let from = if known.is_some() { from } else { "nowhere" };
        metrics::counter!("pinstripe_located_without_database_total", "from" => from).increment(1);
        known
    }

    /// When what is remembered of a block's place was said.
    fn known_since(&self, cid: &Cid) -> Option<UnixMillis> {
        let (block, at) = self.blocks.get(cid)?;
        let (_, segment_at) = self.segments.get(&block.segment)?;
        Some(at.min(segment_at))
    }

    /// Whether the place of a block is remembered and nobody failed to read it there a moment ago.
    fn is_sure(&self, cid: &Cid, now: UnixMillis) -> bool {
        let Some((block, at)) = self.blocks.get(cid) else { return false };
        let Some((_, segment_at)) = self.segments.get(&block.segment) else { return false };
        let is_doubted = self.doubted.get(&block.segment).is_some_and(|since| segment_at <= since);
        now.since(at.min(segment_at)) <= STALE && !is_doubted
    }

    /// Asks nodes about blocks and remembers what they know. The same is asked once in a while, however many want to know.
    async fn ask_nodes(&self, mut cids: Vec<Cid>, root: Option<&Cid>, now: UnixMillis) {
        let Some(root) = root.or(cids.first()).cloned() else { return };
        cids.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        cids.dedup();
        let mut name = blake3::Hasher::new();
        for cid in [&root].into_iter().chain(&cids) {
            name.update(cid.as_bytes());
        }
        let unsure =
            cids.iter().map(|cid| Unsure { cid: cid.clone(), known: self.known_since(cid) }).collect();
        let (this, name) = (self.clone(), *name.finalize().as_bytes());
        // A task of its own: those who wait for the same are not let down by a reader who has heard enough.
        let asked = tokio::spawn(here().carry(async move {
            let ask = async {
                for places in this.directory.look_up(unsure, &root).await {
                    // One whose clock is ahead has nothing to say that is newer than what the database does.
                    let at = if places.time > now { now - FRESH * 2 } else { places.time };
                    let (blocks, segment) = read(places);
                    this.remember(blocks.into_iter().map(|block| (block, at)).collect(), vec![(segment, at)]);
                }
                this.clock.now()
            };
            let entry = this.questions.entry(name);
            entry.or_insert_with_if(ask, |asked| now.since(*asked) > FRESH).await;
        }));
        if asked.await.is_err() {
            tracing::error!("nodes could not be asked where blocks are");
        }
    }

    /// Remembers what other gateways say of these blocks, unless something newer is known here. Whether they said anything.
    pub(crate) async fn find_shared(&self, cids: &[Cid], now: UnixMillis) -> bool {
        let Some((blocks, segments)) = self.shared.find(cids).await else { return false };
        let is_doubted = |(segment, at): &(SegmentInfo, UnixMillis)| {
            self.doubted.get(&segment.id).is_some_and(|since| *at <= since)
        };
        if segments.iter().any(is_doubted) {
            return false;
        }
        // A clock that is ahead of ours must not keep anything fresh for ever.
        self.remember(
            blocks.into_iter().filter(|(_, at)| *at <= now).collect(),
            segments.into_iter().filter(|(_, at)| *at <= now).collect(),
        );
        true
    }

    /// Remembers what was said at these times, unless something newer is known.
    fn remember(&self, blocks: Vec<(BlockAt, UnixMillis)>, segments: Vec<(SegmentInfo, UnixMillis)>) {
        let newer = |told: UnixMillis, known: Option<UnixMillis>| known.is_none_or(|at| at < told);
        for (block, at) in blocks {
            if newer(at, self.blocks.get(&block.cid).map(|(_, at)| at)) {
                self.blocks.insert(block.cid.clone(), (block, at));
            }
        }
        for (segment, at) in segments {
            if newer(at, self.segments.get(&segment.id).map(|(_, at)| at)) {
                self.segments.insert(segment.id, (Arc::new(segment), at));
            }
        }
    }

    /// Tells other gateways where blocks are that were asked for here before: what is read once is of no use to them.
    fn tell(&self, blocks: &[BlockAt], segments: &[Arc<SegmentInfo>], now: UnixMillis) {
        let hot: Vec<&BlockAt> = blocks.iter().filter(|block| self.blocks.contains_key(&block.cid)).collect();
        let theirs: HashSet<SegmentId> = hot.iter().map(|block| block.segment).collect();
        let segments = segments.iter().map(Arc::as_ref).filter(|segment| theirs.contains(&segment.id));
        self.shared.tell(hot.into_iter(), segments, now);
    }

    fn remembered(&self, cids: &[Cid], now: UnixMillis, age_max: Duration) -> Option<Known> {
        let young = |at: UnixMillis| now.since(at) <= age_max;
        let mut segments: HashMap<SegmentId, (Arc<SegmentInfo>, UnixMillis)> = HashMap::new();
        let mut blocks = Vec::with_capacity(cids.len());
        for cid in cids {
            let (block, at) = self.blocks.get(cid).filter(|(_, at)| young(*at))?;
            let (segment, segment_at) = self.segments.get(&block.segment).filter(|(_, at)| young(*at))?;
            let (_, oldest) = segments.entry(segment.id).or_insert((segment, segment_at));
            *oldest = (*oldest).min(at);
            blocks.push(block);
        }
        Some((blocks, segments.into_values().collect()))
    }

    /// Pieces that can be fetched, with orders for them. Nodes that do not answer are left out while others suffice.
    fn sources(&self, segment: &SegmentInfo, expires: UnixMillis) -> Vec<PieceSource> {
        let now = self.clock.now();
        let piece_len = segment.scheme.layout(segment.length_bytes).piece_len();
        let held: Vec<_> = segment
            .pieces
            .iter()
            .filter_map(|piece| {
                let node = piece.node?;
                let url = self.nodes.url(node)?;
                Some((piece, node, url, self.nodes.is_reachable(node)))
            })
            .collect();
        let reachable = held.iter().filter(|(.., reachable)| *reachable).count();
        let enough = reachable >= usize::from(segment.scheme.needed()) + 2;
        held.into_iter()
            .filter(|(.., reachable)| *reachable || !enough)
            .map(|(piece, node, url, _)| {
                let bytes_max = piece_len.saturating_mul(READS_PER_ORDER);
                let order = self.signer.order_until(
                    node,
                    Action::Get(piece.hash, Purpose::Read),
                    bytes_max,
                    now,
                    expires,
                );
                PieceSource { index: piece.index, order: PieceOrder { node, url, hash: piece.hash, order } }
            })
            .collect()
    }

    /// The answer to a node that asks.
    pub(crate) async fn answer(&self, cids: &[Cid], root: Option<&Cid>) -> Result<LocateAnswer, LocateError> {
        let (blocks, segments) = self.find(cids, root).await?;
        let expires = self.clock.now() + self.order_lifetime;
        let positions: HashMap<SegmentId, usize> =
            segments.iter().enumerate().map(|(position, (segment, _))| (segment.id, position)).collect();
        let segments = segments.iter().map(|(segment, at)| SegmentPlace {
            id: segment.id,
            scheme: segment.scheme.to_string(),
            length: segment.length_bytes,
            expires,
            pieces: self
                .sources(segment, expires)
                .into_iter()
                .map(|source| PiecePlace {
                    index: source.index,
                    hash: source.order.hash,
                    node: source.order.node,
                    url: source.order.url,
                    order: source.order.order,
                })
                .collect(),
            places: statement(segment, &blocks, *at).map(|places| places.sign(self.signer.key())),
        });
        let segments: Vec<SegmentPlace> = segments.collect();
        let blocks = blocks.iter().filter_map(|block| {
            Some(BlockPlace {
                cid: block.cid.to_string(),
                segment: *positions.get(&block.segment)?,
                offset: block.offset_bytes,
                length: block.length_bytes,
            })
        });
        Ok(LocateAnswer { blocks: blocks.collect(), segments })
    }
}

/// What is known first; nothing when neither knows.
async fn first_known<T>(
    one: impl Future<Output = Option<T>>,
    other: impl Future<Output = Option<T>>,
) -> Option<T> {
    match select(pin!(one), pin!(other)).await {
        Either::Left((Some(known), _)) | Either::Right((Some(known), _)) => Some(known),
        Either::Left((None, other)) => other.await,
        Either::Right((None, one)) => one.await,
    }
}

/// What is said of a segment and those of the blocks that lie in it.
fn statement(segment: &SegmentInfo, blocks: &[BlockAt], at: UnixMillis) -> Option<Places> {
    let held = |piece: &SegmentPiece| {
        let SegmentPiece { index, hash, node } = *piece;
        Some(PieceAt { index, hash, node: node? })
    };
    let pieces = segment.pieces.iter().filter_map(held);
    let inside = blocks.iter().filter(|block| block.segment == segment.id);
    let inside = inside.map(|block| (block.cid.clone(), block.offset_bytes, block.length_bytes));
    Places::new(at, segment.id, segment.scheme, segment.length_bytes, pieces, inside)
}

/// What a statement says.
fn read(places: Places) -> (Vec<BlockAt>, SegmentInfo) {
    let Places { segment, scheme, length, pieces, blocks, .. } = places;
    let block = |block: protocol::places::BlockIn| BlockAt {
        cid: block.cid,
        segment,
        offset_bytes: block.offset.into(),
        length_bytes: block.length.into(),
    };
    let piece = |PieceAt { index, hash, node }| SegmentPiece { index, hash, node: Some(node) };
    let pieces = pieces.into_iter().map(piece).collect();
    let info = SegmentInfo { id: segment, scheme, length_bytes: length, lost: false, pieces };
    (blocks.into_iter().map(block).collect(), info)
}

impl StoreLocator {
    /// Where these blocks can be fetched.
    fn found<'a>(
        &self,
        blocks: Vec<BlockAt>,
        segments: impl IntoIterator<Item = &'a Arc<SegmentInfo>>,
    ) -> Vec<Found> {
        let expires = self.clock.now() + self.order_lifetime;
        let sources: HashMap<SegmentId, Arc<SegmentSource>> = segments
            .into_iter()
            .map(|segment| {
                let source = SegmentSource {
                    id: segment.id,
                    scheme: segment.scheme,
                    segment_len: segment.length_bytes,
                    pieces: self.sources(segment, expires),
                };
                (segment.id, Arc::new(source))
            })
            .collect();
        let found = blocks.into_iter().filter_map(|block| {
            let segment = sources.get(&block.segment)?.clone();
            let (offset, len) = (block.offset_bytes, block.length_bytes);
            Some(Found { cid: block.cid, segment, offset, len, expires })
        });
        found.collect()
    }
}

/// Finds blocks of uploads that are not finished as well: for putting such together, never for readers.
pub(crate) struct UnfinishedLocator(pub(crate) StoreLocator);

impl Locator for UnfinishedLocator {
    fn locate<'a>(&'a self, cids: &'a [Cid], _root: Option<&'a Cid>) -> LocateFuture<'a> {
        Box::pin(async move {
            let located = self.0.db.locate_unfinished(cids).await;
            let Located { blocks, segments } = located.map_err(|error| LocateError(error.to_string()))?;
            let segments: Vec<_> = segments.into_iter().map(Arc::new).collect();
            Ok(self.0.found(blocks, &segments))
        })
    }
}

impl Locator for StoreLocator {
    /// What is remembered of these blocks is used only when the database does not answer.
    fn forget(&self, cids: &[Cid]) {
        let now = self.clock.now();
        let stale = now - FRESH * 2;
        for cid in cids {
            let Some((block, at)) = self.blocks.get(cid) else { continue };
            self.doubted.insert(block.segment, now);
            // Nothing gets younger by being doubted.
            if let Some((segment, at)) = self.segments.get(&block.segment) {
                self.segments.insert(block.segment, (segment, at.min(stale)));
            }
            self.blocks.insert(cid.clone(), (block, at.min(stale)));
        }
    }

    fn locate<'a>(&'a self, cids: &'a [Cid], root: Option<&'a Cid>) -> LocateFuture<'a> {
        Box::pin(async move {
            let (blocks, segments) = self.find(cids, root).await?;
            Ok(self.found(blocks, segments.iter().map(|(segment, _)| segment)))
        })
    }
}
