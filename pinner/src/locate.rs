//! Where blocks are, as a gateway says: its answer turned into what reading works with.
//!
//! A gateway is believed about places, because every byte that comes from there is checked; but nothing it says may make
//! this node panic or allocate without bound.

use std::{collections::HashSet, sync::Arc};

use client::PieceOrder;
use content::Cid;
use protocol::{
    api::{BlockPlace, LOCATE_MAX, LocateAnswer, LocateRequest, SegmentPlace},
    ids::NodeId,
    piece::SEGMENT_MAX,
};
use retrieval::{Found, LocateError, LocateFuture, Locator};
use transfer::{PieceSource, SegmentSource};

use crate::{directory::Directory, gateways::Gateways};

/// Asks gateways where blocks are.
#[derive(Debug)]
pub(crate) struct GatewayLocator {
    gateways: Gateways,
    node: NodeId,
    /// Where this node's own pieces are fetched; empty for its public URL.
    own_url: String,
    /// Keeps what the network signed of it.
    directory: Directory,
}

impl GatewayLocator {
    pub(crate) fn new(gateways: Gateways, node: NodeId, own_url: String, directory: Directory) -> Self {
        Self { gateways, node, own_url, directory }
    }

    async fn ask(&self, cids: &[Cid], root: Option<&Cid>) -> Result<Vec<Found>, LocateError> {
        let request =
            LocateRequest { cids: cids.iter().map(Cid::to_string).collect(), root: root.map(Cid::to_string) };
        let answer = self
            .gateways
            .ask(|gateway, key| {
                let request = request.clone();
                async move { gateway.locate(&key, &request).await }
            })
            .await
            .map_err(|error| LocateError(error.to_string()))?;
        for places in answer.segments.iter().filter_map(|segment| segment.places.as_ref()) {
            self.directory.offer(places);
        }
        Ok(self.places(cids, &answer))
    }

    /// What is usable of an answer.
    fn places(&self, cids: &[Cid], answer: &LocateAnswer) -> Vec<Found> {
        let mut asked: HashSet<&Cid> = cids.iter().collect();
        let segments: Vec<Option<Arc<SegmentSource>>> =
            answer.segments.iter().map(|place| self.segment(place).map(Arc::new)).collect();
        let mut found = Vec::with_capacity(answer.blocks.len().min(cids.len()));
        for block in &answer.blocks {
            let place = answer.segments.get(block.segment);
            let source = segments.get(block.segment).and_then(Option::as_ref);
            let Some((place, source)) = place.zip(source) else {
                tracing::warn!(cid = block.cid, "gateway told an unusable place");
                continue;
            };
            found.extend(locate_block(block, place, source, &mut asked));
        }
        found
    }

    fn segment(&self, place: &SegmentPlace) -> Option<SegmentSource> {
        let scheme: erasure::Scheme = place.scheme.parse().ok()?;
        if !(1..=SEGMENT_MAX).contains(&place.length) {
            return None;
        }
        let mut seen = HashSet::new();
        let usable =
            place.pieces.iter().filter(|piece| piece.index < scheme.total() && seen.insert(piece.index));
        let pieces = usable.map(|piece| {
            // What this node holds itself is not fetched around its proxy or router, which may not lead back here.
            let is_own = piece.node == self.node && !self.own_url.is_empty();
            let url = if is_own { self.own_url.clone() } else { piece.url.clone() };
            let order = PieceOrder { node: piece.node, url, hash: piece.hash, order: piece.order.clone() };
            PieceSource { index: piece.index, order }
        });
        Some(SegmentSource { id: place.id, scheme, segment_len: place.length, pieces: pieces.collect() })
    }
}

fn locate_block(
    block: &BlockPlace,
    place: &SegmentPlace,
    source: &Arc<SegmentSource>,
    asked: &mut HashSet<&Cid>,
) -> Option<Found> {
    let cid: Cid = block.cid.parse().ok()?;
    let inside = block.offset.checked_add(block.length).is_some_and(|end| end <= place.length);
    // Each block is taken once, however often it is told.
    let fits = inside && block.length <= content::BLOCK_MAX as u64 && asked.remove(&cid);
    if !fits {
        tracing::warn!(%cid, segment = %place.id, "gateway told an unusable place");
        return None;
    }
    let (offset, len, expires) = (block.offset, block.length, place.expires);
    Some(Found { cid, segment: source.clone(), offset, len, expires })
}

impl Locator for GatewayLocator {
    fn locate<'a>(&'a self, cids: &'a [Cid], root: Option<&'a Cid>) -> LocateFuture<'a> {
        Box::pin(async move {
            let mut found = Vec::new();
            for cids in cids.chunks(LOCATE_MAX) {
                found.extend(self.ask(cids, root).await?);
            }
            Ok(found)
        })
    }
}
