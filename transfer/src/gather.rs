//! Gathering a byte range of a segment from its pieces: data pieces first and in parallel, every slice checked against
//! its piece's hash as it arrives; when one fails or lags, others of the same columns rebuild what is missing.
//!
//! Where a segment lies and how long it is may come from somebody else. Wrong numbers give errors or wrong bytes (which
//! the caller finds out by the hashes of the blocks), never a panic.

mod reading;
mod slices;

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use client::{CallError, NodeClient, PieceOrder, SendError};
use erasure::Scheme;
use protocol::{
    ids::SegmentId,
    proof::{ProofError, SliceDecoder},
};
use serde::{Deserialize, Serialize};

use self::reading::Reading;
use crate::{
    code::memory,
    peers::Peers,
    pool::{Pool, PooledBytes},
};

/// The `[gather]` section of whatever reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatherConfig {
    /// How long one slice may take.
    #[serde(with = "humantime_serde")]
    pub slice_timeout: Duration,
    /// Shortest time after which further pieces are asked for beside slow ones; three times the usual latency counts
    /// when that is longer.
    #[serde(with = "humantime_serde")]
    pub hedge_after: Duration,
    /// Bytes of buffers that are kept for reuse while nothing is read, at most.
    pub idle_bytes: usize,
}

impl Default for GatherConfig {
    fn default() -> Self {
        Self {
            slice_timeout: Duration::from_secs(10),
            hedge_after: Duration::from_millis(150),
            idle_bytes: 8 << 20,
        }
    }
}

/// A segment and where its pieces can be fetched.
#[derive(Clone, Debug)]
pub struct SegmentSource {
    /// Its name.
    pub id: SegmentId,
    /// Its coding.
    pub scheme: Scheme,
    /// Its length.
    pub segment_len: u64,
    /// The pieces that can be asked for.
    pub pieces: Vec<PieceSource>,
}

/// A piece on a node, with leave to read it.
#[derive(Clone, Debug)]
pub struct PieceSource {
    /// Which piece.
    pub index: u8,
    /// Where it is and the order for it.
    pub order: PieceOrder,
}

/// Why a range could not be gathered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatherError {
    /// Too few pieces can be had right now.
    #[error("segment {segment}: only {found} of {needed} pieces reachable")]
    TooFewPieces {
        /// The segment.
        segment: SegmentId,
        /// Pieces that answered.
        found: usize,
        /// Pieces that rebuild it.
        needed: usize,
    },
    /// The request does not fit the segment: wrong metadata.
    #[error("segment {segment}: range {start}..{end} is not inside")]
    Range {
        /// The segment.
        segment: SegmentId,
        /// Start of the range.
        start: u64,
        /// End of the range.
        end: u64,
    },
    /// The bytes arrived and could not be put together: the process is ending.
    #[error("segment {segment}: could not be rebuilt: {cause}")]
    Rebuild {
        /// The segment.
        segment: SegmentId,
        /// What went wrong.
        cause: String,
    },
}

/// Reads ranges of segments.
#[derive(Clone, Debug)]
pub struct Gather {
    nodes: NodeClient,
    peers: Peers,
    config: GatherConfig,
    pool: Pool,
}

impl Gather {
    /// Reads over `nodes`.
    pub fn new(nodes: NodeClient, peers: Peers, config: GatherConfig) -> Self {
        let pool = Pool::new(config.idle_bytes);
        Self { nodes, peers, config, pool }
    }

    /// What has been seen of the nodes.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The bytes of several ranges of a segment, in order. What lies between the ranges may be fetched too, so they
    /// should lie close together. Memory: their hull twice over, or its columns of `needed` pieces and the hull when
    /// some must be rebuilt.
    pub async fn read(
        &self,
        segment: &Arc<SegmentSource>,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, GatherError> {
        let wrong = ranges.iter().find(|range| range.start > range.end || range.end > segment.segment_len);
        if let Some(Range { start, end }) = wrong.cloned() {
            return Err(GatherError::Range { segment: segment.id, start, end });
        }
        let filled = ranges.iter().filter(|range| !range.is_empty()).cloned();
        let hull = filled.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
        let Some(hull) = hull else { return Ok(vec![Bytes::new(); ranges.len()]) };
        let slices = Reading::of_range(self, segment, hull).run().await?.rebuild(&self.pool).await?;
        let layout = segment.scheme.layout(segment.segment_len);
        Ok(ranges.iter().map(|range| slices.assemble(&layout, range.clone(), &self.pool)).collect())
    }

    /// Several whole pieces, verified, keyed by index: for repair. Gives exactly `needed` of them.
    pub async fn read_pieces(
        &self,
        segment: &Arc<SegmentSource>,
    ) -> Result<Vec<(u8, PooledBytes)>, GatherError> {
        Ok(Reading::of_pieces(self, segment).run().await?.into_complete())
    }

    /// Fetches and verifies one slice; a failure is noted against the node.
    async fn fetch(&self, segment: Arc<SegmentSource>, at: usize, range: Range<u64>) -> Fetched {
        let source = &segment.pieces[at];
        let started = self.peers.now();
        let timeout = self.config.slice_timeout;
        let fetched = self.fetch_verified(&segment, at, range.clone());
        // The transport has this limit as well, but not when it is a network in memory.
        let fetched = tokio::time::timeout(timeout, fetched).await;
        match fetched.unwrap_or(Err(CallError::Send(SendError::Timeout))) {
            Ok(bytes) => {
                self.peers.succeeded(source.order.node, self.peers.now().saturating_sub(started));
                Fetched { at, range, bytes: Some(bytes) }
            }
            Err(error) => {
                let (segment, node, index) = (segment.id, source.order.node, source.index);
                tracing::debug!(%segment, %node, index, %error, "could not read a piece");
                metrics::counter!("pinstripe_gather_failures_total").increment(1);
                self.peers.failed(node);
                Fetched { at, range, bytes: None }
            }
        }
    }

    /// Each part is checked as it arrives: what is wrong is noticed within 16 KiB, and nothing is held twice.
    async fn fetch_verified(
        &self,
        segment: &SegmentSource,
        at: usize,
        range: Range<u64>,
    ) -> Result<PooledBytes, CallError> {
        let order = &segment.pieces[at].order;
        let piece_len = segment.scheme.layout(segment.segment_len).piece_len();
        let wrong = |error: ProofError| CallError::BadAnswer(error.to_string());
        let buffer = self.pool.take_dirty(memory(range.end.saturating_sub(range.start)));
        let mut slice = SliceDecoder::new(order.hash, piece_len, range.clone(), buffer).map_err(wrong)?;
        let mut answer = self.nodes.get(order, range, self.config.slice_timeout).await?;
        while let Some(bytes) = answer.next().await? {
            slice.push(&bytes).map_err(wrong)?;
        }
        slice.finish().map_err(wrong)
    }
}

/// What came of asking one source.
struct Fetched {
    /// Position of the source in the segment's list.
    at: usize,
    range: Range<u64>,
    /// Verified bytes of the range; `None` when it failed.
    bytes: Option<PooledBytes>,
}
