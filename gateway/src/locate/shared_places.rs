//! Places of blocks that are asked for often, for all gateways: each asks the database for them once in a few seconds without it,
//! one of them does with it.

use std::{collections::HashMap, time::Duration};

use content::Cid;
use erasure::Scheme;
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use shared::{Link, Memo};
use store::{BlockAt, SegmentInfo, SegmentPiece};

/// Where a block lies, and when that was so.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct BlockPlace {
    at: i64,
    segment: SegmentId,
    offset: u64,
    length: u64,
}

/// What is known of a segment, and when that was so.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SegmentPlace {
    at: i64,
    scheme: String,
    length: u64,
    lost: bool,
    pieces: Vec<(u8, PieceHash, Option<NodeId>)>,
}

/// Places that gateways tell each other; cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedPlaces {
    blocks: Memo<BlockPlace>,
    segments: Memo<SegmentPlace>,
}

/// Places as others told them, each with the time at which the database said so.
pub(super) type Told = (Vec<(BlockAt, UnixMillis)>, Vec<(SegmentInfo, UnixMillis)>);

impl SharedPlaces {
    pub(crate) fn new(link: Option<&Link>, ttl: Duration) -> Self {
        Self {
            blocks: Memo::new(link.cloned(), "blocks", ttl),
            segments: Memo::new(link.cloned(), "segments", ttl),
        }
    }

    /// Places of all these blocks; `None` when one is not known.
    pub(super) async fn find(&self, cids: &[Cid]) -> Option<Told> {
        if !self.blocks.is_shared() || cids.is_empty() {
            return None;
        }
        let names: Vec<String> = cids.iter().map(ToString::to_string).collect();
        let places: Option<Vec<BlockPlace>> = self.blocks.get(&names).await.into_iter().collect();
        let places = places?;
        let ids: HashMap<String, SegmentId> =
            places.iter().map(|place| (place.segment.to_string(), place.segment)).collect();
        let (names, ids): (Vec<String>, Vec<SegmentId>) = ids.into_iter().unzip();
        let told = self.segments.get(&names).await.into_iter();
        let segments: Option<Vec<_>> = ids.into_iter().zip(told).map(|(id, told)| told?.read(id)).collect();
        let blocks = cids.iter().zip(places).map(|(cid, place)| {
            let (offset_bytes, length_bytes) = (place.offset, place.length);
            let block = BlockAt { cid: cid.clone(), segment: place.segment, offset_bytes, length_bytes };
            (block, UnixMillis(place.at))
        });
        Some((blocks.collect(), segments?))
    }

    /// Tells the others.
    pub(super) fn tell<'a>(
        &self,
        blocks: impl Iterator<Item = &'a BlockAt>,
        segments: impl Iterator<Item = &'a SegmentInfo>,
        now: UnixMillis,
    ) {
        if !self.blocks.is_shared() {
            return;
        }
        let block = |block: &BlockAt| {
            let (offset, length) = (block.offset_bytes, block.length_bytes);
            (block.cid.to_string(), BlockPlace { at: now.0, segment: block.segment, offset, length })
        };
        let segment = |segment: &SegmentInfo| (segment.id.to_string(), SegmentPlace::of(segment, now));
        // The segments first: a block without its segment helps nobody.
        self.segments.put(segments.map(segment).collect());
        self.blocks.put(blocks.map(block).collect());
    }
}

impl SegmentPlace {
    fn of(segment: &SegmentInfo, now: UnixMillis) -> Self {
        Self {
            at: now.0,
            scheme: segment.scheme.to_string(),
            length: segment.length_bytes,
            lost: segment.lost,
            pieces: segment.pieces.iter().map(|piece| (piece.index, piece.hash, piece.node)).collect(),
        }
    }

    fn read(self, id: SegmentId) -> Option<(SegmentInfo, UnixMillis)> {
        let scheme: Scheme = self.scheme.parse().ok()?;
        let piece = |(index, hash, node)| SegmentPiece { index, hash, node };
        let pieces = self.pieces.into_iter().map(piece).collect();
        let info = SegmentInfo { id, scheme, length_bytes: self.length, lost: self.lost, pieces };
        Some((info, UnixMillis(self.at)))
    }
}
