//! Probes: is each node there, and is it the one that it should be? A node that misses several in a row is offline, unless
//! this monitor is the one that is cut off: then all nodes stay what they were.
//!
//! How often nodes were there is added up here and written to their reputation every few minutes; what was not written
//! yet when a monitor dies is lost, which costs a node nothing.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use protocol::{ids::NodeId, repair::Hold, reputation::Tally, time::UnixMillis};
use service::job::{Job, Progress};
use store::{NodeRow, Visit};

use crate::{
    events::{Kind, Note},
    monitor::Inner,
};

/// The job that probes nodes.
#[derive(Debug)]
pub struct Probe {
    inner: Arc<Inner>,
    /// By node; as many as there are nodes.
    seen: Mutex<BTreeMap<NodeId, Seen>>,
}

/// What this monitor has seen of a node and not written down yet.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Probes missed in a row, and when the last of them was.
    misses: u32,
    missed: UnixMillis,
    online: u32,
    offline: u32,
    since: UnixMillis,
}

/// A node that has missed too many probes in a row.
#[derive(Debug)]
struct Gone {
    node: NodeId,
    misses: u32,
    why: String,
}

impl Job for Probe {
    const NAME: &'static str = "probe";

    async fn step(&self) -> anyhow::Result<Progress> {
        let config = &self.inner.config.probe;
        let now = self.inner.clock.now();
        let limit = config.nodes_per_step;
        let claimed = self.inner.db.claim_visits(Visit::Probe, now, now + config.interval, limit).await?;
        let count = claimed.len();
        let probes = stream::iter(claimed).map(|node| self.probe(node)).buffer_unordered(config.at_once);
        let outcomes: Vec<anyhow::Result<Option<Gone>>> = probes.collect().await;
        let gone = outcomes.into_iter().filter_map(Result::transpose).collect::<anyhow::Result<Vec<_>>>()?;
        self.mark_offline(gone).await?;
        self.write_scores(now).await?;
        Ok(if count < limit as usize { Progress::Idle } else { Progress::More })
    }
}

impl Probe {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, seen: Mutex::default() }
    }

    async fn probe(&self, id: NodeId) -> anyhow::Result<Option<Gone>> {
        let Some(row) = self.inner.db.node(id).await? else { return Ok(None) };
        let missed = self.ask(&row).await.err();
        let outcome = if missed.is_some() { "missed" } else { "reached" };
        metrics::counter!("pinstripe_probes_total", "outcome" => outcome).increment(1);
        let now = self.inner.clock.now();
        let misses = self.count(&row, missed.is_none(), now);
        self.inner.rounds.probed(id, missed.is_none(), now);
        let Some(why) = missed else {
            self.reached(&row, now).await?;
            return Ok(None);
        };
        let config = &self.inner.config.probe;
        if row.offline.is_none() && misses < config.misses_max {
            let again = now + config.retry.min(config.interval);
            self.inner.db.schedule_visit(id, Visit::Probe, again).await?;
            return Ok(None);
        }
        Ok(row.offline.is_none().then_some(Gone { node: id, misses, why }))
    }

    /// Asks a node for its status; the error says why it counts as not there.
    async fn ask(&self, row: &NodeRow) -> Result<(), String> {
        match self.inner.nodes.status(&row.url, self.inner.config.probe.timeout).await {
            Ok(status) if status.id == row.id => Ok(()),
            Ok(status) => Err(format!("node {} answers at {}", status.id, row.url)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Adds a probe up; gives how many were missed in a row. One that another monitor made in between, and that worked, ends
    /// the row.
    fn count(&self, row: &NodeRow, reached: bool, now: UnixMillis) -> u32 {
        let mut seen = self.seen.lock();
        let new = Seen { misses: 0, missed: now, online: 0, offline: 0, since: now };
        let seen = seen.entry(row.id).or_insert(new);
        if reached || row.contact > seen.missed {
            seen.misses = 0;
        }
        if reached {
            seen.online = seen.online.saturating_add(1);
        } else {
            (seen.misses, seen.missed) = (seen.misses.saturating_add(1), now);
            seen.offline = seen.offline.saturating_add(1);
        }
        seen.misses
    }

    async fn reached(&self, row: &NodeRow, now: UnixMillis) -> anyhow::Result<()> {
        self.inner.db.record_contact(row.id, true, now).await?;
        if let Some(since) = row.offline {
            let details = format!("was offline for {} s", now.since(since).as_secs());
            self.inner.note(vec![Note::node(Kind::NodeReturned, row.id, details)]).await;
        }
        Ok(())
    }

    /// Records that nodes are gone, once all of this step were asked: a cut of our own line shows as many at once.
    async fn mark_offline(&self, gone: Vec<Gone>) -> anyhow::Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let network = self.inner.network().await?;
        if matches!(self.inner.hold(&network).await, Some(Hold::CutOff { .. })) {
            return Ok(());
        }
        let now = self.inner.clock.now();
        let mut notes = Vec::with_capacity(gone.len());
        for Gone { node, misses, why } in gone {
            self.inner.db.record_contact(node, false, now).await?;
            let details = format!("missed {misses} probes in a row: {why}");
            notes.push(Note::node(Kind::NodeOffline, node, details));
        }
        self.inner.note(notes).await;
        Ok(())
    }

    /// Writes the sums that are old enough to the nodes' reputations. While the breaker holds, absences count for nothing.
    async fn write_scores(&self, now: UnixMillis) -> anyhow::Result<()> {
        let every = self.inner.config.probe.score_every;
        let mut ripe = Vec::new();
        for (id, seen) in self.seen.lock().iter_mut().filter(|(_, seen)| now.since(seen.since) >= every) {
            ripe.push((*id, Tally { online: seen.online, offline: seen.offline, ..Tally::default() }));
            *seen = Seen { online: 0, offline: 0, since: now, ..*seen };
        }
        if ripe.is_empty() {
            return Ok(());
        }
        let network = self.inner.network().await?;
        self.seen.lock().retain(|id, _| network.node(*id).is_some());
        let held = self.inner.hold(&network).await.is_some();
        for (id, mut tally) in ripe {
            if held {
                tally.offline = 0;
            }
            self.inner.record_tally(id, &tally, false).await?;
        }
        Ok(())
    }
}
