//! Collecting: pins and uploads in several requests whose time is over end, what long uploads leave behind is cleared away, segments that nobody needs are
//! removed, what grows with time is forgotten or added up. What nodes hold of them is queued, and told to them by `deliver`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use protocol::time::UnixMillis;
use service::job::{Job, Progress};

use crate::monitor::Inner;

/// Blocks of one long upload that are cleared in one transaction.
const CLEARED_BLOCKS: u32 = 1_000;

/// Rows of each kind that are forgotten or added up in one transaction.
const FORGOTTEN_ROWS: u32 = 1_000;

/// Monitors that are gone are remembered for so long.
const MONITORS_KEPT: Duration = Duration::from_hours(24);

/// The job that collects.
#[derive(Debug)]
pub struct Collect {
    inner: Arc<Inner>,
    /// When everything was last counted.
    measured: Mutex<Option<UnixMillis>>,
}

impl Job for Collect {
    const NAME: &'static str = "collect";

    async fn step(&self) -> anyhow::Result<Progress> {
        // Not even pins and leases that have run out: they may have been renewed since the database was backed up.
        let mut full = false;
        if !self.inner.is_held().await? {
            full = self.end_pins().await?
                | self.end_tus_uploads().await?
                | self.clear_long_uploads().await?
                | self.remove_segments().await?;
        }
        full |= self.forget().await?;
        if !full && self.is_to_be_measured() {
            self.inner.measure().await?;
        }
        Ok(if full { Progress::More } else { Progress::Idle })
    }
}

impl Collect {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, measured: Mutex::new(None) }
    }

    /// Whether it is time to count again: that reads whole indexes, which grow with the network.
    fn is_to_be_measured(&self) -> bool {
        let now = self.inner.clock.now();
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = measured.is_none_or(|last| now.since(last) >= self.inner.config.collect.measure_every);
        if is_time {
            *measured = Some(now);
        }
        is_time
    }

    /// Ends pins; `true` when there may be more.
    async fn end_pins(&self) -> anyhow::Result<bool> {
        let (inner, config) = (&self.inner, &self.inner.config.collect);
        let now = inner.clock.now();
        let expired = inner.db.expired_pins(now, config.batch).await?;
        for (account, pin) in &expired {
            if inner.db.expire_pin(account, pin, now, now + config.orphan_delay).await? {
                metrics::counter!("pinstripe_pins_expired_total").increment(1);
                tracing::info!(%account, %pin, "pin expired");
            }
        }
        Ok(expired.len() >= config.batch as usize)
    }

    /// Ends uploads in several requests that did not go on in time; `true` when there may be more.
    async fn end_tus_uploads(&self) -> anyhow::Result<bool> {
        let inner = &self.inner;
        Ok(inner.db.clear_tus_uploads(inner.clock.now(), inner.config.collect.batch).await?)
    }

    /// Clears away what is left of finished and given up long uploads; `true` when there may be more.
    async fn clear_long_uploads(&self) -> anyhow::Result<bool> {
        let inner = &self.inner;
        Ok(inner.db.clear_long_upload(inner.clock.now(), CLEARED_BLOCKS).await?)
    }

    /// Removes segments; `true` when there may be more.
    async fn remove_segments(&self) -> anyhow::Result<bool> {
        let (inner, config) = (&self.inner, &self.inner.config.collect);
        let now = inner.clock.now();
        let dead = inner.db.collectable_segments(now, config.batch).await?;
        for segment in &dead {
            if inner.db.collect_segment(*segment, now).await? {
                metrics::counter!("pinstripe_segments_collected_total").increment(1);
                tracing::info!(%segment, "segment collected");
            }
        }
        Ok(dead.len() >= config.batch as usize)
    }
}

impl Collect {
    /// Forgets what is old, and adds up old lines of the ledger; `true` when there may be more.
    async fn forget(&self) -> anyhow::Result<bool> {
        let (db, config) = (&self.inner.db, &self.inner.config.collect);
        let now = self.inner.clock.now();
        let counts = [
            ("events", db.trim_events(now - config.events_kept, FORGOTTEN_ROWS).await?),
            ("monitors", db.trim_monitors(now - MONITORS_KEPT, FORGOTTEN_ROWS).await?),
            ("settlements", db.trim_settlements(now - config.settlements_kept, FORGOTTEN_ROWS).await?),
            ("hours of the ledger", db.roll_up_ledger(now - config.ledger_hours_kept, FORGOTTEN_ROWS).await?),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            tracing::debug!(table = what, rows = count, "cleared away what is old");
        }
        Ok(counts.iter().any(|(_, count)| *count >= u64::from(FORGOTTEN_ROWS)))
    }
}

impl Inner {
    /// Sets the gauges that show how much there is of everything.
    async fn measure(&self) -> anyhow::Result<()> {
        let counts = self.db.segment_counts().await?;
        for (state, count) in ["pending", "live", "orphaned", "lost"].into_iter().zip(counts) {
            metrics::gauge!("pinstripe_segments", "state" => state).set(count as f64);
        }
        metrics::gauge!("pinstripe_repairs_waiting").set(self.db.repairs_waiting().await? as f64);
        metrics::gauge!("pinstripe_unpins_waiting").set(self.db.unpins_waiting().await? as f64);
        metrics::gauge!("pinstripe_contained_pieces").set(self.contained.count() as f64);
        Ok(())
    }
}
