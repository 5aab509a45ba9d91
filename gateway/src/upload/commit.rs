//! Recording finished work: durable segments and finished uploads, everything that waits in one transaction.

use std::time::Duration;

use protocol::ids::SegmentId;
use service::clock::Clock;
use store::{Committed, Db, Outcome, PieceSlot, UploadMetadata, UploadPart};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{UploadError, room::Room, seal::Sealed};

/// Jobs recorded in one transaction, at most.
const BATCH_MAX: usize = 256;

/// What became of each pin of an upload.
pub(crate) type Outcomes = Vec<Result<Outcome, UploadError>>;

/// Where the outcomes of an upload are awaited.
pub(super) type Reply = oneshot::Sender<Result<Outcomes, UploadError>>;

/// Where somebody waits for the blocks of a long upload; told the segments that they lie in.
pub(super) type SettleReply = oneshot::Sender<Result<Vec<SegmentId>, UploadError>>;

/// Work for one transaction.
#[derive(Default)]
pub(super) struct CommitJob {
    pub(super) segment: Option<Sealed>,
    pub(super) parts: Vec<UploadPart>,
    /// Blocks of long uploads that are recorded with this job.
    pub(super) settled: Vec<(Vec<SegmentId>, SettleReply)>,
    /// Each with the metadata of every pin that it becomes.
    pub(super) uploads: Vec<(Vec<UploadMetadata>, Reply)>,
}

/// What became of segments.
pub(super) struct Recorded {
    pub(super) segments: Vec<SegmentId>,
    pub(super) recorded: bool,
}

/// Records jobs in the order in which they come.
pub(super) struct Committer {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) room: Room,
    /// How long segments of unfinished uploads are kept without a sign of life.
    pub(super) lease: Duration,
    pub(super) jobs: mpsc::Receiver<CommitJob>,
    pub(super) recorded: mpsc::UnboundedSender<Recorded>,
}

impl Committer {
    /// Runs until the packer is gone.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.jobs.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.commit(std::mem::take(&mut batch)).await;
        }
    }

    async fn commit(&self, jobs: Vec<CommitJob>) {
        let (mut segments, mut late) = (Vec::new(), Vec::new());
        let (mut parts, mut uploads, mut replies) = (Vec::new(), Vec::new(), Vec::new());
        let mut settled = Vec::new();
        for job in jobs {
            if let Some(mut sealed) = job.segment {
                sealed.note_ready();
                segments.push(sealed.segment.clone());
                // What is stored whole gives its room back here.
                late.extend(Some(sealed).filter(|sealed| !sealed.rest.is_done()));
            }
            parts.extend(job.parts);
            settled.extend(job.settled);
            for (pins, reply) in job.uploads {
                replies.push((pins.len(), reply));
                uploads.extend(pins);
            }
        }
        let now = self.clock.now();
        let outcome = self.db.commit(&segments, &parts, &uploads, now, now + self.lease).await;
        let recorded = outcome.is_ok();
        match outcome {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter().map(|outcome| match outcome.committed {
                    Committed::Created | Committed::AlreadyPinned => Ok(outcome),
                    Committed::QuotaExceeded => Err(UploadError::QuotaExceeded),
                    Committed::SegmentGone => Err(UploadError::TryAgain),
                    Committed::Withdrawn => Err(UploadError::Withdrawn),
                });
                for (pins, reply) in replies {
                    // A client that has gone away has its upload nevertheless.
                    let _ = reply.send(Ok(outcomes.by_ref().take(pins).collect()));
                }
                for (segments, reply) in settled {
                    let _ = reply.send(Ok(segments));
                }
                for sealed in late {
                    tokio::spawn(finish(self.db.clone(), self.clock.clone(), self.room.clone(), sealed));
                }
            }
            Err(error) => {
                tracing::error!(%error, uploads = replies.len(), "uploads could not be recorded");
                for (_, reply) in replies {
                    let _ = reply.send(Err(UploadError::StoreUnavailable));
                }
                for (_, reply) in settled {
                    let _ = reply.send(Err(UploadError::StoreUnavailable));
                }
            }
        }
        let segments = segments.iter().map(|segment| segment.id).collect();
        let _ = self.recorded.send(Recorded { segments, recorded });
    }
}

/// Shortest time that late pieces are given while others wait for their room.
const PATIENCE_MIN: Duration = Duration::from_millis(200);

/// Records the pieces that become durable after the acknowledgement. When somebody waits for the room that they take,
/// they get as long again as the others took, and a repair rebuilds those that do not make it.
async fn finish(db: Db, clock: Clock, room: Room, sealed: Sealed) {
    let Sealed { segment, mut rest, room: taken, took } = sealed;
    let patient_until = Instant::now() + took.max(PATIENCE_MIN);
    loop {
        let stored = tokio::select! {
            biased;
            stored = rest.next() => stored,
            () = async { tokio::time::sleep_until(patient_until).await; room.until_waited_for().await } => {
                tracing::warn!(segment = %segment.id, "late pieces are given up: others wait for their room");
                metrics::counter!("pinstripe_late_pieces_given_up_total").increment(1);
                None
            }
        };
        let Some(stored) = stored else { break };
        let slot = PieceSlot { segment: segment.id, index: stored.index };
        let hash = segment.pieces[usize::from(stored.index)].hash;
        if let Err(error) = db.move_piece(slot, hash, None, stored.node, clock.now()).await {
            // The monitor finds the piece missing and rebuilds it.
            tracing::warn!(segment = %segment.id, index = stored.index, %error, "late piece could not be recorded");
        }
    }
    // The pieces first, then the room that they took.
    drop(rest);
    drop(taken);
}
