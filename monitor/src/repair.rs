//! Repairs: claims the most urgent segment, reads any `needed` of its pieces, rebuilds those that are missing, stores them
//! on other nodes and records each one that is stored.
//!
//! A piece's record changes only from what this repair read to a node that has answered that the piece is durable, so a
//! repair never leaves fewer healthy pieces than it found, whenever it dies. What is stored and not recorded is dropped.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use protocol::{
    ids::SegmentId,
    repair::{NoPlan, RepairPlan},
    time::UnixMillis,
};
use service::job::{Job, Progress};
use store::{RepairJob, SegmentInfo, SegmentState};
use transfer::{SegmentSource, Spread, Stored};

use crate::{
    events::{Kind, Note},
    monitor::Inner,
    network::{Assessed, Due, Network},
};

mod place;
mod rebuild;

/// The job that repairs.
#[derive(Debug)]
pub struct Repair {
    inner: Arc<Inner>,
}

/// What a repair came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// Nothing is missing (any more), or nobody needs the segment.
    NotDue,
    /// All that was missing has been rebuilt.
    Repaired,
    /// To be tried again after the pause.
    Postponed(&'static str, Duration),
}

impl Job for Repair {
    const NAME: &'static str = "repair";

    async fn step(&self) -> anyhow::Result<Progress> {
        let (inner, config) = (&self.inner, &self.inner.config.repairs);
        let now = inner.clock.now();
        let claimed = inner.db.claim_repairs(&inner.id, now, now + config.lease, config.at_once).await?;
        if claimed.is_empty() {
            return Ok(Progress::Idle);
        }
        let network = inner.network().await?;
        let repairs = stream::iter(claimed).map(|job| self.run(job, &network));
        let outcomes: Vec<anyhow::Result<()>> =
            repairs.buffer_unordered(config.at_once as usize).collect().await;
        outcomes.into_iter().collect::<anyhow::Result<()>>()?;
        Ok(Progress::More)
    }
}

impl Repair {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Carries one claimed repair out and gives it back or takes it off the queue.
    async fn run(&self, job: RepairJob, network: &Network) -> anyhow::Result<()> {
        let started = self.inner.clock.now();
        let (label, again) = match self.repair(&job, network).await {
            Ok(Done::NotDue) => ("not_due", None),
            Ok(Done::Repaired) => ("repaired", None),
            Ok(Done::Postponed(why, pause)) => (why, Some(pause)),
            Err(error) => {
                let details = format!("attempt {}: {error:#}", job.attempts + 1);
                self.inner.note(vec![Note::segment(Kind::RepairFailed, job.segment, details)]).await;
                ("failed", Some(self.backoff(job.attempts)))
            }
        };
        metrics::counter!("pinstripe_repairs_total", "outcome" => label).increment(1);
        let now = self.inner.clock.now();
        metrics::histogram!("pinstripe_repair_duration_seconds").record(now.since(started).as_secs_f64());
        match again {
            Some(pause) => self.inner.db.postpone_repair(job.segment, now + pause).await?,
            None => self.inner.db.finish_repair(job.segment).await?,
        }
        Ok(())
    }

    /// Twice as long each time, up to the configured most.
    fn backoff(&self, attempts: u32) -> Duration {
        let config = &self.inner.config.repairs;
        config.backoff_min.saturating_mul(1 << attempts.min(16)).min(config.backoff_max)
    }

    async fn repair(&self, job: &RepairJob, network: &Network) -> anyhow::Result<Done> {
        let started = self.inner.clock.now();
        let Some(info) = self.needed_segment(job.segment).await? else { return Ok(Done::NotDue) };
        let before = network.health(&info, started, &self.inner.config);
        let held = self.inner.hold(network).await;
        self.inner.mark(&info, before.health.status(), held.is_some()).await?;
        if !self.inner.config.breaker.may_repair(held, &before.health) {
            return Ok(Done::Postponed("held", self.inner.config.repairs.backoff_min));
        }
        let homes = network.homes(&info);
        let plan = match before.health.plan(homes.len()) {
            Ok(plan) => plan,
            Err(NoPlan::NotDue { .. }) => return Ok(Done::NotDue),
            Err(NoPlan::NoHome) => return Ok(self.wait(job, &before, &info).await),
            Err(NoPlan::Unreadable { .. }) => {
                return Ok(Done::Postponed("unreadable", self.backoff(job.attempts)));
            }
        };
        let stored = self.rebuild_and_store(&info, &plan, network, homes).await?;
        let recorded = self.record(&info, &stored).await?;
        self.finish(job, &info, &before, network, recorded, started).await
    }

    /// The segment, if somebody needs it.
    async fn needed_segment(&self, id: SegmentId) -> anyhow::Result<Option<SegmentInfo>> {
        let states = self.inner.db.segment_states(&[id]).await?;
        if !matches!(states.get(&id), Some(SegmentState::Live | SegmentState::Lost)) {
            return Ok(None);
        }
        Ok(self.inner.db.segments_info(&[id]).await?.pop())
    }

    /// No node can take a piece: said once, tried again later.
    async fn wait(&self, job: &RepairJob, before: &Assessed, info: &SegmentInfo) -> Done {
        if before.due == Due::Eager {
            return Done::NotDue;
        }
        if job.attempts == 0 {
            let details = format!(
                "{} of {} pieces are healthy, and no further node can take one",
                before.health.healthy.len(),
                info.scheme.total()
            );
            self.inner.note(vec![Note::segment(Kind::RepairWaitingForNodes, info.id, details)]).await;
        }
        Done::Postponed("waiting_for_nodes", self.backoff(job.attempts))
    }

    /// Reads, rebuilds and spreads; gives what is durable.
    async fn rebuild_and_store(
        &self,
        info: &SegmentInfo,
        plan: &RepairPlan,
        network: &Network,
        homes: Vec<protocol::placement::Candidate>,
    ) -> anyhow::Result<Vec<Stored>> {
        let inner = &self.inner;
        let source = Arc::new(place::sources(inner, info, plan, network));
        let read = inner.gather.read_pieces(&source).await;
        self.suspect(&source).await?;
        let read = read?;
        let rebuilt = rebuild::rebuild_blocking(info, plan.rebuild, read).await?;
        if !rebuilt.wrong.is_empty() {
            let details = format!(
                "pieces {:?} were rebuilt from checked ones and do not have their recorded hashes: the record is wrong",
                rebuilt.wrong
            );
            inner.note(vec![Note::segment(Kind::RepairHashMismatch, info.id, details)]).await;
        }
        anyhow::ensure!(!rebuilt.pieces.is_empty(), "no rebuilt piece has its recorded hash");
        let since = inner.clock.now() - inner.config.repairs.losers_wait;
        let losers = inner.db.losers_of(info.id, since).await?;
        let homes = place::Homes::split(homes, &losers);
        let targets = place::targets(inner, info, plan, network, &homes, rebuilt.pieces.len());
        let spread = Spread {
            segment: info.id,
            scheme: info.scheme,
            segment_len: info.length_bytes,
            pieces: rebuilt.pieces,
            targets,
            // Every piece counts: as many as can be are waited for, and none is demanded.
            ack: 0,
        };
        let (mut stored, rest) = inner.spreader.spread(spread).await?;
        stored.extend(rest.finish().await);
        Ok(stored)
    }

    /// Sources that could not be read, or were not right, are checked whole by the job `recheck`. A repair itself blames
    /// nobody.
    async fn suspect(&self, source: &SegmentSource) -> anyhow::Result<()> {
        let inner = &self.inner;
        let peers = inner.gather.peers();
        for piece in source.pieces.iter().filter(|piece| peers.is_pushed_back(piece.order.node)) {
            let held = inner.db.held_pieces(piece.order.node, piece.order.hash, 1).await?;
            for held in held.into_iter().filter(|held| held.hash == piece.order.hash) {
                inner.contained.add(piece.order.node, held, inner.clock.now());
            }
        }
        Ok(())
    }

    /// Records what is stored, unless the record changed meanwhile. Gives how many were recorded.
    pub(crate) async fn record(&self, info: &SegmentInfo, stored: &[Stored]) -> anyhow::Result<usize> {
        let (db, now) = (&self.inner.db, self.inner.clock.now());
        let mut recorded = 0;
        for stored in stored {
            let Some(piece) = info.pieces.iter().find(|piece| piece.index == stored.index) else { continue };
            let slot = store::PieceSlot { segment: info.id, index: piece.index };
            if db.move_piece(slot, piece.hash, piece.node, stored.node, now).await? {
                recorded += 1;
            } else {
                // Somebody else was faster, or the segment is gone. (What is recorded there is never dropped.)
                db.queue_unpins(stored.node, &[piece.hash], now).await?;
            }
        }
        Ok(recorded)
    }

    /// Looks at the segment anew, says what was done, and decides whether something is left to do.
    async fn finish(
        &self,
        job: &RepairJob,
        info: &SegmentInfo,
        before: &Assessed,
        network: &Network,
        recorded: usize,
        started: UnixMillis,
    ) -> anyhow::Result<Done> {
        anyhow::ensure!(recorded > 0, "no rebuilt piece could be stored");
        let Some(info_after) = self.needed_segment(info.id).await? else { return Ok(Done::NotDue) };
        let now = self.inner.clock.now();
        let after = network.health(&info_after, now, &self.inner.config);
        self.inner.mark(&info_after, after.health.status(), true).await?;
        let piece_len = info.scheme.layout(info.length_bytes).piece_len();
        let bytes = piece_len.saturating_mul(recorded as u64);
        metrics::counter!("pinstripe_repair_pieces_total").increment(recorded as u64);
        metrics::counter!("pinstripe_repair_bytes_total").increment(bytes);
        let (from, to) = (before.health.healthy.len(), after.health.healthy.len());
        let details = format!(
            "{from} -> {to} of {} pieces healthy: {recorded} rebuilt, {bytes} bytes, {} ms",
            info.scheme.total(),
            now.since(started).as_millis()
        );
        self.inner.note(vec![Note::segment(Kind::SegmentRepaired, info.id, details)]).await;
        Ok(match after.due {
            Due::No => Done::Repaired,
            Due::Eager | Due::Yes => Done::Postponed("repaired_in_part", self.backoff(job.attempts)),
        })
    }
}
