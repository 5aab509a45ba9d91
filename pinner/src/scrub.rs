//! Care of the disk in the background: checking pieces, giving space back, writing the index down.
//!
//! Checking and giving back read at a bounded rate, on average, and step aside while requests are in progress; but not for
//! ever, or damage on a busy node would never be found. What checking finds goes out with the next heartbeat.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use protocol::time::UnixMillis;
use service::{
    clock::Clock,
    job::{Job, Progress},
};

use crate::{
    config::ScrubConfig,
    disk::blocking,
    load::Load,
    piece_store::{PieceStore, ScrubProgress},
};

/// An average rate: what was read beyond the allowance is waited for.
#[derive(Debug)]
struct Pace {
    rate_bytes: u64,
    /// What may be read; below zero after a piece that was longer than the rest of the allowance.
    allowance: i128,
    updated: UnixMillis,
    yields: u32,
}

/// Seconds of rate that an idle pace saves up.
const SAVED_SECS: u64 = 2;

impl Pace {
    fn new(rate_bytes: u64, now: UnixMillis) -> Self {
        Self { rate_bytes, allowance: i128::from(rate_bytes), updated: now, yields: 0 }
    }

    /// How much may be read now; `None`: nothing yet.
    fn budget(&mut self, now: UnixMillis, is_busy: bool, yields_max: u32) -> Option<u64> {
        let earned = now.since(self.updated).as_millis().cast_signed() * i128::from(self.rate_bytes) / 1000;
        self.updated = now;
        self.allowance =
            (self.allowance + earned).min(i128::from(self.rate_bytes.saturating_mul(SAVED_SECS)));
        let budget = u64::try_from(self.allowance).ok().filter(|budget| *budget > 0)?;
        if is_busy && self.yields < yields_max {
            self.yields += 1;
            return None;
        }
        self.yields = 0;
        Some(budget)
    }

    fn spend(&mut self, bytes: u64) {
        self.allowance -= i128::from(bytes);
    }
}

/// The parts that all jobs on the disk need.
#[derive(Clone)]
pub(crate) struct Care {
    pub(crate) store: Arc<dyn PieceStore>,
    pub(crate) load: Load,
    pub(crate) clock: Clock,
    pub(crate) config: ScrubConfig,
}

impl fmt::Debug for Care {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Care").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The job that checks pieces against their hashes, round after round.
#[derive(Debug)]
pub struct Scrub {
    care: Care,
    state: Mutex<ScrubState>,
}

#[derive(Debug)]
struct ScrubState {
    pace: Pace,
    round_began: Option<UnixMillis>,
    /// No round begins before this.
    next_round: UnixMillis,
    round: ScrubProgress,
}

impl Scrub {
    pub(crate) fn new(care: Care) -> Self {
        let now = care.clock.now();
        let pace = Pace::new(care.config.rate.0, now);
        let round = ScrubProgress::default();
        let state = ScrubState { pace, round_began: None, next_round: now, round };
        Self { care, state: Mutex::new(state) }
    }

    fn budget(&self, now: UnixMillis) -> Option<u64> {
        let mut state = self.state.lock();
        if state.round_began.is_none() {
            if now < state.next_round {
                return None;
            }
            state.round_began = Some(now);
        }
        let (is_busy, yields_max) = (self.care.load.in_flight() > 0, self.care.config.yields_max);
        state.pace.budget(now, is_busy, yields_max)
    }

    fn note(&self, done: ScrubProgress) {
        metrics::counter!("pinstripe_scrubbed_bytes_total").increment(done.bytes);
        metrics::counter!("pinstripe_scrub_corrupt_total").increment(done.corrupt);
        if done.corrupt > 0 {
            tracing::warn!(pieces = done.corrupt, "damage found while checking pieces");
        }
        let mut state = self.state.lock();
        state.pace.spend(done.bytes);
        state.round.pieces += done.pieces;
        state.round.bytes += done.bytes;
        state.round.corrupt += done.corrupt;
        if done.wrapped {
            let ScrubProgress { pieces, bytes, corrupt, .. } = std::mem::take(&mut state.round);
            tracing::info!(pieces, bytes, corrupt, "all pieces checked");
            let began = state.round_began.take().unwrap_or_default();
            state.next_round = began + self.care.config.round_min;
        }
    }
}

impl Job for Scrub {
    const NAME: &'static str = "scrub";

    async fn step(&self) -> anyhow::Result<Progress> {
        if let Some(budget) = self.budget(self.care.clock.now()) {
            let store = self.care.store.clone();
            self.note(blocking(move || store.scrub_step(budget)).await??);
        }
        Ok(Progress::Idle)
    }
}

/// The job that gives the space of deleted pieces back.
#[derive(Debug)]
pub struct Compact {
    care: Care,
    pace: Mutex<Pace>,
}

/// Puts wait while a step runs, so it is short: about 10 ms of a fast disk, 100 ms of a slow one.
const COMPACT_STEP_BYTES: u64 = 8 << 20;

impl Compact {
    pub(crate) fn new(care: Care) -> Self {
        let pace = Mutex::new(Pace::new(care.config.compact_rate.0, care.clock.now()));
        Self { care, pace }
    }
}

impl Job for Compact {
    const NAME: &'static str = "compact";

    async fn step(&self) -> anyhow::Result<Progress> {
        let (is_busy, yields_max) = (self.care.load.in_flight() > 0, self.care.config.yields_max);
        let budget = self.pace.lock().budget(self.care.clock.now(), is_busy, yields_max);
        let Some(budget) = budget else { return Ok(Progress::Idle) };
        let store = self.care.store.clone();
        let done = blocking(move || store.compact_step(budget.min(COMPACT_STEP_BYTES))).await??;
        self.pace.lock().spend(done.read_bytes);
        metrics::counter!("pinstripe_compacted_bytes_total").increment(done.freed_bytes);
        // With an allowance of several steps the next one follows at once.
        Ok(if done.more && !is_busy { Progress::More } else { Progress::Idle })
    }
}

/// The job that writes the index of the store down, so that the next start is short.
#[derive(Debug)]
pub struct Checkpoint {
    care: Care,
}

impl Checkpoint {
    pub(crate) fn new(care: Care) -> Self {
        Self { care }
    }
}

impl Job for Checkpoint {
    const NAME: &'static str = "checkpoint";

    async fn step(&self) -> anyhow::Result<Progress> {
        let store = self.care.store.clone();
        blocking(move || store.checkpoint()).await??;
        Ok(Progress::Idle)
    }
}

#[cfg(test)]
mod tests;
