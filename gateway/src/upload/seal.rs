//! Sealing: a full or ripe segment is coded, spread over nodes, and handed on to be recorded.

use std::time::Duration;

use protocol::{ids::SegmentId, placement, redundancy::RedundancyRules};
use service::{dice::Dice, signer::Signer};
use store::{NewPiece, NewSegment};
use tokio::time::Instant;
use transfer::{CodedPiece, Pool, PooledBytes, Rest, Spread, Spreader, Target, code_segment};

use super::{
    UploadError,
    room::{Room, Taken},
};
use crate::nodes::NodeWatch;

/// Nodes named beyond those that get a piece, for when one of them fails.
const SPARES: usize = 8;

/// Codes and spreads segments.
#[derive(Clone)]
pub(crate) struct Sealer {
    pub(crate) nodes: NodeWatch,
    pub(crate) spreader: Spreader,
    /// Signs the records of segments.
    pub(crate) signer: Signer,
    pub(crate) rules: RedundancyRules,
    pub(crate) codec: erasure::Codec,
    pub(crate) dice: Dice,
    /// Buffers of segments and of their recovery pieces.
    pub(crate) pool: Pool,
    /// Memory for coded segments.
    pub(crate) room: Room,
}

/// A segment that is durable.
pub(super) struct Sealed {
    pub(super) segment: NewSegment,
    /// Pieces still under way.
    pub(super) rest: Rest,
    /// The memory that they take.
    pub(super) room: Taken,
    /// How long it took until enough of them were durable.
    pub(super) took: Duration,
}

impl Sealed {
    /// Notes the pieces that have become durable meanwhile.
    pub(super) fn note_ready(&mut self) {
        while let Some(stored) = self.rest.ready() {
            self.segment.pieces[usize::from(stored.index)].node = Some(stored.node);
        }
    }
}

impl Sealer {
    /// Bytes of memory that a segment of `len` bytes takes with all its pieces. (Data pieces are parts of the segment.)
    pub(super) fn coded_bytes(&self, len: usize) -> usize {
        len.saturating_mul(self.rules.total_max.into()) / usize::from(self.rules.needed.max(1))
    }

    /// Codes a whole segment and stores its pieces, until enough of them are durable.
    pub(super) async fn seal(
        &self,
        id: SegmentId,
        segment: PooledBytes,
        room: Taken,
    ) -> Result<Sealed, UploadError> {
        let started = Instant::now();
        let segment_len = segment.as_ref().len() as u64;
        let (scheme, ack, targets) = self.choose(segment_len)?;
        let pool = self.pool.clone();
        let coded = tokio::task::spawn_blocking(move || code_segment(scheme, segment, &pool)).await;
        let pieces: Vec<CodedPiece> = match coded {
            Ok(Ok(pieces)) => pieces,
            Ok(Err(error)) => return Err(UploadError::NotStored(error.to_string())),
            Err(error) => return Err(UploadError::NotStored(error.to_string())),
        };
        let mut recorded: Vec<NewPiece> =
            pieces.iter().map(|piece| NewPiece { hash: piece.hash, node: None }).collect();
        let spread = Spread { segment: id, scheme, segment_len, pieces, targets, ack };
        let (stored, rest) = self.spreader.spread(spread).await.map_err(|error| {
            tracing::error!(segment = %id, %error, "segment could not be stored");
            if error.no_space > 0 && error.failed == 0 {
                UploadError::NoSpace
            } else {
                UploadError::NotStored(error.to_string())
            }
        })?;
        for piece in stored {
            recorded[usize::from(piece.index)].node = Some(piece.node);
        }
        metrics::counter!("pinstripe_segments_sealed_total").increment(1);
        metrics::histogram!("pinstripe_segment_bytes").record(segment_len as f64);
        let segment = NewSegment { id, scheme, length_bytes: segment_len, pieces: recorded };
        Ok(Sealed { segment, rest, room, took: started.elapsed() })
    }

    /// How the segment is coded and which nodes get its pieces, spares last.
    fn choose(&self, segment_len: u64) -> Result<(erasure::Scheme, usize, Vec<Target>), UploadError> {
        let candidates = self.nodes.candidates();
        let usable = candidates.iter().filter(|node| node.score > 0.0).count();
        let too_few = || UploadError::TooFewNodes { usable, needed: usize::from(self.rules.total_min) };
        let planned = self.rules.total_for(usable).ok_or_else(too_few)?;
        let invalid = |error: erasure::SchemeError| UploadError::NotStored(error.to_string());
        let scheme = erasure::Scheme::new(self.codec, planned.needed, planned.total).map_err(invalid)?;
        let piece_len = scheme.layout(segment_len).piece_len();
        let with_space =
            candidates.iter().filter(|node| node.score > 0.0 && node.free_bytes >= piece_len).count();
        let redundancy = self.rules.total_for(with_space).ok_or(UploadError::NoSpace)?;
        let scheme =
            erasure::Scheme::new(self.codec, redundancy.needed, redundancy.total).map_err(invalid)?;
        let request = placement::Request {
            wanted: usize::from(redundancy.total),
            spares: SPARES,
            piece_len,
            holders: &[],
        };
        let chosen = placement::choose(&candidates, &request, &mut self.dice.rng());
        let targets = chosen.into_iter().filter_map(|index| {
            let node = candidates[index].node;
            Some(Target { node, url: self.nodes.url(node)? })
        });
        Ok((scheme, usize::from(redundancy.ack), targets.collect()))
    }
}
