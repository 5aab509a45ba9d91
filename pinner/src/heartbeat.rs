//! The sign of life: what the node has and what it lost, told to a gateway every few seconds.
//!
//! Damaged pieces go out with it, so that they are rebuilt before an audit finds them; they are told until a gateway has
//! taken note.

use std::{fmt, sync::Arc};

use client::CallError;
use parking_lot::Mutex;
use protocol::{
    api::{HeartbeatAnswer, HeartbeatRequest},
    ids::PieceHash,
};
use service::{
    clock::Clock,
    job::{Job, Progress},
};

use crate::{
    disk::blocking,
    enrol::Admission,
    gateways::{Gateways, is_unable},
    piece_store::{PieceStore, StoreError},
};

/// Orders are refused when clocks are ten minutes apart; long before that the operator is told.
const CLOCK_DIFFERENCE_MAX_MS: u64 = 30_000;

/// The job that tells; a step is one heartbeat.
pub struct Heartbeat {
    gateways: Gateways,
    admission: Admission,
    store: Arc<dyn PieceStore>,
    clock: Clock,
    problems_max: usize,
    said: Mutex<Said>,
}

/// What has been logged, so that it is not logged with every beat.
#[derive(Debug, Default)]
struct Said {
    standing: Option<String>,
    clock_is_off: bool,
    is_cut_off: bool,
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").field("said", &self.said).finish_non_exhaustive()
    }
}

impl Heartbeat {
    pub(crate) fn new(
        gateways: Gateways,
        admission: Admission,
        store: Arc<dyn PieceStore>,
        clock: Clock,
        problems_max: usize,
    ) -> Self {
        Self { gateways, admission, store, clock, problems_max, said: Mutex::default() }
    }

    async fn beat(&self) -> anyhow::Result<HeartbeatRequest> {
        let (store, max) = (self.store.clone(), self.problems_max);
        let (stats, problems) = blocking(move || (store.stats(), store.problems(max))).await?;
        metrics::gauge!("pinstripe_store_pieces").set(stats.pieces as f64);
        metrics::gauge!("pinstripe_store_corrupt_pieces").set(stats.corrupt_pieces as f64);
        metrics::gauge!("pinstripe_store_used_bytes").set(stats.used_bytes as f64);
        metrics::gauge!("pinstripe_store_dead_bytes").set(stats.dead_bytes as f64);
        metrics::gauge!("pinstripe_store_free_bytes").set(stats.free_bytes as f64);
        Ok(HeartbeatRequest {
            version: env!("CARGO_PKG_VERSION").to_string(),
            capacity_bytes: stats.capacity_bytes,
            used_bytes: stats.used_bytes,
            free_bytes: stats.free_bytes,
            piece_count: stats.pieces,
            problems: problems?,
        })
    }

    fn note(&self, answer: &HeartbeatAnswer) {
        let mut said = self.said.lock();
        if std::mem::take(&mut said.is_cut_off) {
            tracing::info!("a gateway answers again");
        }
        if said.standing.as_deref() != Some(&answer.standing) {
            tracing::info!(standing = answer.standing, "standing in the network");
            said.standing = Some(answer.standing.clone());
        }
        let difference_ms = self.clock.now().0.abs_diff(answer.now.0);
        let is_off = difference_ms > CLOCK_DIFFERENCE_MAX_MS;
        if is_off && !said.clock_is_off {
            tracing::warn!(difference_ms, "this machine's clock differs from the gateway's: set it right");
        }
        said.clock_is_off = is_off;
        metrics::gauge!("pinstripe_clock_difference_seconds").set(difference_ms as f64 / 1000.0);
    }

    fn note_failure(&self, error: &CallError) {
        metrics::counter!("pinstripe_heartbeat_failures_total").increment(1);
        if !is_unable(error) {
            // Refused: this node is unknown there, or its address or clock is not accepted. Enrolling finds out which.
            tracing::warn!(%error, "heartbeat refused, enrolling again");
            self.admission.set(false);
        } else if !std::mem::replace(&mut self.said.lock().is_cut_off, true) {
            tracing::warn!(%error, "no gateway takes a heartbeat");
        }
    }
}

impl Job for Heartbeat {
    const NAME: &'static str = "heartbeat";

    async fn step(&self) -> anyhow::Result<Progress> {
        if !self.admission.is_admitted() {
            return Ok(Progress::Idle);
        }
        let beat = self.beat().await?;
        let told = self
            .gateways
            .ask(|gateway, key| {
                let beat = beat.clone();
                async move { gateway.heartbeat(&key, &beat).await }
            })
            .await;
        match told {
            Ok(answer) => self.note(&answer),
            Err(error) => {
                self.note_failure(&error);
                return Ok(Progress::Idle);
            }
        }
        let more = beat.problems.len() >= self.problems_max;
        if !beat.problems.is_empty() {
            tracing::warn!(pieces = beat.problems.len(), "damaged pieces reported");
            forget(self.store.clone(), beat.problems).await?;
        }
        Ok(if more { Progress::More } else { Progress::Idle })
    }
}

/// Notes that a gateway knows of these pieces. After a failure in between they are told once more, which does no harm.
async fn forget(store: Arc<dyn PieceStore>, problems: Vec<PieceHash>) -> anyhow::Result<()> {
    let forgotten = blocking(move || -> Result<(), StoreError> {
        problems.into_iter().try_for_each(|hash| store.forget_problem(hash))
    });
    Ok(forgotten.await??)
}
