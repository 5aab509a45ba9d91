//! Gathering a byte range of a segment from its pieces: data pieces first and in parallel, every slice checked against
//! its piece's hash as it arrives; when one fails or lags, others of the same columns rebuild what is missing.

use std::{
    collections::HashMap,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use client::{CallError, NodeClient, PieceOrder};
use erasure::{Decoder, Layout, Scheme};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use protocol::{ids::SegmentId, proof};
use serde::{Deserialize, Serialize};

use crate::{code::memory, peers::Peers};

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
}

impl Default for GatherConfig {
    fn default() -> Self {
        Self { slice_timeout: Duration::from_secs(10), hedge_after: Duration::from_millis(150) }
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
        /// Pieces that answered or still might have.
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
}

/// Reads ranges of segments.
#[derive(Clone, Debug)]
pub struct Gather {
    nodes: NodeClient,
    peers: Peers,
    config: GatherConfig,
}

/// Verified bytes of one piece from `range.start` on.
struct Slice {
    range: Range<u64>,
    bytes: Vec<u8>,
}

type Fetched = (usize, Range<u64>, Option<Vec<u8>>);

impl Gather {
    /// Reads over `nodes`.
    pub fn new(nodes: NodeClient, peers: Peers, config: GatherConfig) -> Self {
        Self { nodes, peers, config }
    }

    /// What has been seen of the nodes.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The bytes of several ranges of a segment, in order. The ranges must be ascending; what lies between them may be
    /// fetched too. Memory: their hull, or its columns of `needed` pieces when some must be rebuilt.
    pub async fn read(
        &self,
        segment: &Arc<SegmentSource>,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, GatherError> {
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return Ok(Vec::new()) };
        let hull = first.start..last.end;
        if hull.start > hull.end || hull.end > segment.segment_len {
            return Err(GatherError::Range { segment: segment.id, start: hull.start, end: hull.end });
        }
        let layout = segment.scheme.layout(segment.segment_len);
        let mut reading = Reading::new(self, segment, &layout, hull);
        reading.run().await?;
        let slices = reading.rebuilt();
        Ok(ranges.iter().map(|range| assemble(&layout, &slices, range)).collect())
    }

    /// Several whole pieces, verified, keyed by index: for repair. Gives exactly `needed` of them.
    pub async fn read_pieces(&self, segment: &Arc<SegmentSource>) -> Result<Vec<(u8, Vec<u8>)>, GatherError> {
        let layout = segment.scheme.layout(segment.segment_len);
        let mut reading = Reading::new(self, segment, &layout, 0..0);
        reading.columns = 0..layout.piece_len();
        reading.degraded = true;
        reading.run().await?;
        let columns = reading.columns.clone();
        let complete = reading.slices.into_iter().filter(|(_, slice)| slice.range == columns);
        let mut pieces: Vec<(u8, Vec<u8>)> = complete.map(|(index, slice)| (index, slice.bytes)).collect();
        pieces.truncate(usize::from(segment.scheme.needed()));
        Ok(pieces)
    }

    /// Fetches and verifies one slice; a failure is noted against the node.
    async fn fetch(&self, segment: Arc<SegmentSource>, at: usize, range: Range<u64>) -> Fetched {
        let source = &segment.pieces[at];
        let piece_len = segment.scheme.layout(segment.segment_len).piece_len();
        let answer_max = memory(proof::encoded_len(piece_len, &range));
        let started = Instant::now();
        let answer =
            self.nodes.get(&source.order, range.clone(), answer_max, self.config.slice_timeout).await;
        let verified = answer.and_then(|encoded| {
            proof::verify_slice(source.order.hash, piece_len, range.clone(), &encoded[..])
                .map_err(|error| CallError::BadAnswer(error.to_string()))
        });
        match verified {
            Ok(bytes) => {
                self.peers.succeeded(source.order.node, started.elapsed());
                (at, range, Some(bytes))
            }
            Err(error) => {
                let (segment, node, index) = (segment.id, source.order.node, source.index);
                tracing::debug!(%segment, %node, index, %error, "could not read a piece");
                metrics::counter!("gather_failures_total").increment(1);
                self.peers.failed(node);
                (at, range, None)
            }
        }
    }
}

/// One range being gathered.
struct Reading<'a> {
    gather: &'a Gather,
    segment: &'a Arc<SegmentSource>,
    /// The columns that rebuild everything that is wanted.
    columns: Range<u64>,
    /// What is wanted of each data piece.
    wanted: Vec<(u8, Range<u64>)>,
    slices: HashMap<u8, Slice>,
    /// Sources asked for all of `columns` and still under way.
    rebuilding: usize,
    /// Positions of sources not yet asked for `columns`, best last.
    unasked: Vec<usize>,
    degraded: bool,
}

impl<'a> Reading<'a> {
    fn new(gather: &'a Gather, segment: &'a Arc<SegmentSource>, layout: &Layout, hull: Range<u64>) -> Self {
        let columns = layout.columns(hull.clone());
        let wanted: Vec<(u8, Range<u64>)> = (0..segment.scheme.needed())
            .filter_map(|piece| layout.piece_range(piece, hull.clone()).map(|range| (piece, range)))
            .collect();
        let mut unasked: Vec<usize> = (0..segment.pieces.len()).collect();
        let peers = &gather.peers;
        unasked.sort_by_cached_key(|at| {
            let source = &segment.pieces[*at];
            let (pushed_back, latency) = peers.rank(source.order.node);
            // Data pieces first among equals: they need no decoding.
            std::cmp::Reverse((pushed_back, source.index >= segment.scheme.needed(), latency))
        });
        Self {
            gather,
            segment,
            columns,
            wanted,
            slices: HashMap::new(),
            rebuilding: 0,
            unasked,
            degraded: false,
        }
    }

    async fn run(&mut self) -> Result<(), GatherError> {
        let mut running = FuturesUnordered::new();
        for (piece, range) in self.wanted.clone() {
            let source = self.segment.pieces.iter().position(|source| source.index == piece);
            // A node that just failed is not worth waiting for when others can stand in.
            let usable =
                source.filter(|at| !self.gather.peers.is_pushed_back(self.segment.pieces[*at].order.node));
            match usable {
                Some(at) => {
                    if range == self.columns {
                        self.unasked.retain(|other| *other != at);
                        self.rebuilding += 1;
                    }
                    running.push(self.gather.fetch(self.segment.clone(), at, range));
                }
                None => self.degraded = true,
            }
        }
        let usual = self.gather.peers.typical_latency().unwrap_or_default();
        let hedge_after = self.gather.config.hedge_after.max(usual * 3);
        let mut extra = 0;
        while !self.is_complete() {
            if self.degraded {
                for at in self.next_to_ask(extra) {
                    running.push(self.gather.fetch(self.segment.clone(), at, self.columns.clone()));
                }
            }
            let hedge = tokio::time::sleep(hedge_after);
            let fetched = tokio::select! {
                fetched = running.next() => fetched,
                () = hedge => {
                    if self.degraded { extra += 1 }
                    self.degraded = true;
                    metrics::counter!("gather_hedges_total").increment(1);
                    continue;
                }
            };
            match fetched {
                Some((at, range, bytes)) => self.arrived(at, range, bytes),
                None if self.degraded => return Err(self.too_few()),
                None => self.degraded = true,
            }
        }
        Ok(())
    }

    /// Sources to ask for the columns now, so that enough are under way, and `extra` more because those are slow.
    fn next_to_ask(&mut self, extra: usize) -> Vec<usize> {
        let goal = usize::from(self.segment.scheme.needed()) + extra;
        let mut asked = Vec::new();
        while self.complete_pieces() + self.rebuilding < goal {
            let Some(at) = self.unasked.pop() else { break };
            self.rebuilding += 1;
            asked.push(at);
        }
        asked
    }

    fn arrived(&mut self, at: usize, range: Range<u64>, bytes: Option<Vec<u8>>) {
        if range == self.columns {
            self.rebuilding -= 1;
        }
        match bytes {
            None => self.degraded = true,
            Some(bytes) => {
                let index = self.segment.pieces[at].index;
                let longer = self.slices.get(&index).is_none_or(|known| known.bytes.len() < bytes.len());
                if longer {
                    self.slices.insert(index, Slice { range, bytes });
                }
            }
        }
    }

    fn complete_pieces(&self) -> usize {
        self.slices.values().filter(|slice| slice.range == self.columns).count()
    }

    fn has_wanted(&self) -> bool {
        !self.wanted.is_empty() && self.wanted.iter().all(|(piece, _)| self.slices.contains_key(piece))
    }

    fn is_complete(&self) -> bool {
        self.has_wanted() || self.complete_pieces() >= usize::from(self.segment.scheme.needed())
    }

    fn too_few(&self) -> GatherError {
        GatherError::TooFewPieces {
            segment: self.segment.id,
            found: self.complete_pieces(),
            needed: usize::from(self.segment.scheme.needed()),
        }
    }

    /// The slices of all wanted data pieces, the missing ones decoded.
    fn rebuilt(mut self) -> HashMap<u8, Slice> {
        let missing: Vec<u8> = self
            .wanted
            .iter()
            .map(|(piece, _)| *piece)
            .filter(|piece| !self.slices.contains_key(piece))
            .collect();
        if missing.is_empty() {
            return self.slices;
        }
        metrics::counter!("gather_decodes_total").increment(1);
        let needed = usize::from(self.segment.scheme.needed());
        let complete = self.slices.iter().filter(|(_, slice)| slice.range == self.columns);
        let present: Vec<(u8, &[u8])> =
            complete.take(needed).map(|(index, slice)| (*index, slice.bytes.as_slice())).collect();
        let len = memory(self.columns.end - self.columns.start);
        let mut outputs: Vec<Vec<u8>> = missing.iter().map(|_| vec![0; len]).collect();
        let mut wanted: Vec<(u8, &mut [u8])> =
            missing.iter().copied().zip(outputs.iter_mut().map(Vec::as_mut_slice)).collect();
        Decoder::new(self.segment.scheme)
            .rebuild(&present, &mut wanted)
            .expect("run() ends only with `needed` pieces of one length");
        for (piece, bytes) in missing.into_iter().zip(outputs) {
            self.slices.insert(piece, Slice { range: self.columns.clone(), bytes });
        }
        self.slices
    }
}

/// Copies the bytes of a segment range out of the slices of its data pieces.
fn assemble(layout: &Layout, slices: &HashMap<u8, Slice>, range: &Range<u64>) -> Bytes {
    let mut bytes = BytesMut::with_capacity(memory(range.end - range.start));
    for span in layout.spans(range.clone()) {
        let slice = &slices[&span.piece];
        let start = memory(span.piece_offset - slice.range.start);
        bytes.extend_from_slice(&slice.bytes[start..start + memory(span.len)]);
    }
    bytes.freeze()
}
