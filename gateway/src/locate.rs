//! Where blocks are, from the database: for this gateway's own reads and for the nodes that ask.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use client::PieceOrder;
use content::Cid;
use protocol::{
    api::{BlockPlace, LocateAnswer, PiecePlace, SegmentPlace},
    ids::SegmentId,
    order::{Action, Purpose},
    time::UnixMillis,
};
use retrieval::{Found, LocateError, LocateFuture, Locator};
use service::{clock::Clock, signer::Signer};
use store::{BlockAt, Db, Located, SegmentInfo};
use transfer::{PieceSource, SegmentSource};

pub(crate) use self::shared_places::SharedPlaces;
use crate::nodes::NodeWatch;

mod shared_places;

/// Blocks and segments whose places are remembered for when the database is away.
const REMEMBERED_MAX: u64 = 100_000;
/// For so long a remembered place is used without asking the database.
const FRESH: Duration = Duration::from_secs(5);
/// For so long it is used when the database does not answer.
const STALE: Duration = Duration::from_hours(24);
/// A reader may fetch a piece this many times over under one order: retries, hedges, other files in the segment.
const READS_PER_ORDER: u64 = 8;

/// Finds blocks; cheap to clone.
#[derive(Clone)]
pub(crate) struct StoreLocator {
    db: Db,
    signer: Signer,
    nodes: NodeWatch,
    clock: Clock,
    order_lifetime: Duration,
    shared: SharedPlaces,
    blocks: moka::sync::Cache<Cid, (BlockAt, UnixMillis)>,
    segments: moka::sync::Cache<SegmentId, (Arc<SegmentInfo>, UnixMillis)>,
    /// Since when what is said of a segment is doubted: only what the database said later is believed of others.
    doubted: moka::sync::Cache<SegmentId, UnixMillis>,
}

impl StoreLocator {
    pub(crate) fn new(
        db: Db,
        signer: Signer,
        nodes: NodeWatch,
        clock: Clock,
        order_lifetime: Duration,
        shared: SharedPlaces,
    ) -> Self {
        let blocks = moka::sync::Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(STALE).build();
        let segments =
            moka::sync::Cache::builder().max_capacity(REMEMBERED_MAX / 10).time_to_live(STALE).build();
        let doubted =
            moka::sync::Cache::builder().max_capacity(REMEMBERED_MAX / 10).time_to_live(FRESH * 2).build();
        Self { db, signer, nodes, clock, order_lifetime, shared, blocks, segments, doubted }
    }

    /// Places of blocks and the segments they lie in: fresh from the database, or as remembered when it is away.
    pub(crate) async fn find(
        &self,
        cids: &[Cid],
    ) -> Result<(Vec<BlockAt>, Vec<Arc<SegmentInfo>>), LocateError> {
        let now = self.clock.now();
        if let Some(known) = self.remembered(cids, now, FRESH) {
            return Ok(known);
        }
        if self.find_shared(cids, now).await
            && let Some(known) = self.remembered(cids, now, FRESH)
        {
            return Ok(known);
        }
        match self.db.locate(cids).await {
            Ok(Located { blocks, segments }) => {
                let segments: Vec<Arc<SegmentInfo>> = segments.into_iter().map(Arc::new).collect();
                self.tell(&blocks, &segments, now);
                for block in &blocks {
                    self.blocks.insert(block.cid.clone(), (block.clone(), now));
                }
                for segment in &segments {
                    self.segments.insert(segment.id, (segment.clone(), now));
                }
                Ok((blocks, segments))
            }
            Err(error) => {
                tracing::warn!(%error, "database away, using remembered places");
                self.remembered(cids, now, STALE).ok_or_else(|| LocateError(error.to_string()))
            }
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
        let newer =
            |told: UnixMillis, known: Option<UnixMillis>| told <= now && known.is_none_or(|at| at < told);
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
        true
    }

    /// Tells other gateways where blocks are that were asked for here before: what is read once is of no use to them.
    fn tell(&self, blocks: &[BlockAt], segments: &[Arc<SegmentInfo>], now: UnixMillis) {
        let hot: Vec<&BlockAt> = blocks.iter().filter(|block| self.blocks.contains_key(&block.cid)).collect();
        let theirs: HashSet<SegmentId> = hot.iter().map(|block| block.segment).collect();
        let segments = segments.iter().map(Arc::as_ref).filter(|segment| theirs.contains(&segment.id));
        self.shared.tell(hot.into_iter(), segments, now);
    }

    fn remembered(
        &self,
        cids: &[Cid],
        now: UnixMillis,
        age_max: Duration,
    ) -> Option<(Vec<BlockAt>, Vec<Arc<SegmentInfo>>)> {
        let young = |at: UnixMillis| now.since(at) <= age_max;
        let mut segments: HashMap<SegmentId, Arc<SegmentInfo>> = HashMap::new();
        let mut blocks = Vec::with_capacity(cids.len());
        for cid in cids {
            let (block, _) = self.blocks.get(cid).filter(|(_, at)| young(*at))?;
            let (segment, _) = self.segments.get(&block.segment).filter(|(_, at)| young(*at))?;
            segments.insert(segment.id, segment);
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
    pub(crate) async fn answer(&self, cids: &[Cid]) -> Result<LocateAnswer, LocateError> {
        let (blocks, segments) = self.find(cids).await?;
        let expires = self.clock.now() + self.order_lifetime;
        let positions: HashMap<SegmentId, usize> =
            segments.iter().enumerate().map(|(position, segment)| (segment.id, position)).collect();
        let segments = segments.iter().map(|segment| SegmentPlace {
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
            places: None,
        });
        let blocks = blocks.iter().filter_map(|block| {
            Some(BlockPlace {
                cid: block.cid.to_string(),
                segment: *positions.get(&block.segment)?,
                offset: block.offset_bytes,
                length: block.length_bytes,
            })
        });
        Ok(LocateAnswer { blocks: blocks.collect(), segments: segments.collect() })
    }
}

impl StoreLocator {
    /// Where these blocks can be fetched.
    fn found(&self, blocks: Vec<BlockAt>, segments: &[Arc<SegmentInfo>]) -> Vec<Found> {
        let expires = self.clock.now() + self.order_lifetime;
        let sources: HashMap<SegmentId, Arc<SegmentSource>> = segments
            .iter()
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
    fn locate<'a>(&'a self, cids: &'a [Cid]) -> LocateFuture<'a> {
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
            let Some((block, _)) = self.blocks.get(cid) else { continue };
            self.doubted.insert(block.segment, now);
            if let Some((segment, _)) = self.segments.get(&block.segment) {
                self.segments.insert(block.segment, (segment, stale));
            }
            self.blocks.insert(cid.clone(), (block, stale));
        }
    }

    fn locate<'a>(&'a self, cids: &'a [Cid]) -> LocateFuture<'a> {
        Box::pin(async move {
            let (blocks, segments) = self.find(cids).await?;
            Ok(self.found(blocks, &segments))
        })
    }
}
