//! Comparing what nodes hold with what is recorded: pieces that are recorded nowhere (left by uploads and repairs that
//! died) are queued to be dropped, once they are old enough.
//!
//! Both sides are exact lists, so that an empty one means just that. How far a comparison has come is this monitor's own;
//! one that was begun and not finished is begun anew after a while, by any monitor.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use protocol::{
    api::ListedPiece,
    ids::{NodeId, PieceHash},
    order::Action,
    time::UnixMillis,
};
use service::job::{Job, Progress};
use store::Visit;

use crate::{
    events::{Kind, Note},
    monitor::Inner,
};

const ORDER_LIFETIME: Duration = Duration::from_mins(5);
/// Nodes whose comparison this monitor has begun, at most; the others are left to other monitors, or for later.
const NODES_AT_ONCE: u32 = 4;

/// The job that compares.
#[derive(Debug)]
pub struct Reconcile {
    inner: Arc<Inner>,
    begun: Mutex<VecDeque<Comparison>>,
}

/// How far the comparison with one node has come.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    node: NodeId,
    after: Option<PieceHash>,
    orphans: usize,
}

impl Job for Reconcile {
    const NAME: &'static str = "reconcile";

    async fn step(&self) -> anyhow::Result<Progress> {
        if self.inner.is_held().await? {
            // What was begun is begun anew afterwards.
            self.begun.lock().clear();
            return Ok(Progress::Idle);
        }
        let Some(mut comparison) = self.next().await? else { return Ok(Progress::Idle) };
        for _ in 0..self.inner.config.reconcile.pages_per_step {
            let page = match self.list(&comparison).await {
                Ok(page) => page,
                Err(error) => {
                    // Not finished: it is begun anew when the claim has run out.
                    tracing::warn!(node = %comparison.node, error = format!("{error:#}"), "could not list pieces");
                    return Ok(Progress::More);
                }
            };
            let Some(last) = page.last() else {
                // Only an empty page is the end: nodes may list fewer at a time than they are asked for.
                self.finish(&comparison).await?;
                return Ok(Progress::More);
            };
            comparison.after = Some(last.hash);
            comparison.orphans += self.drop_orphans(comparison.node, &page).await?;
        }
        self.begun.lock().push_back(comparison);
        Ok(Progress::More)
    }
}

impl Reconcile {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, begun: Mutex::default() }
    }

    /// A comparison to go on with, or a new one.
    async fn next(&self) -> anyhow::Result<Option<Comparison>> {
        if let Some(comparison) = self.begun.lock().pop_front() {
            return Ok(Some(comparison));
        }
        let now = self.inner.clock.now();
        let claim_ends = now + self.inner.config.reconcile.retry;
        let claimed = self.inner.db.claim_visits(Visit::Reconcile, now, claim_ends, NODES_AT_ONCE).await?;
        let mut begun = self.begun.lock();
        begun.extend(claimed.into_iter().map(|node| Comparison { node, after: None, orphans: 0 }));
        Ok(begun.pop_front())
    }

    /// The next page of a node's list, which must lie behind the last one and be in order.
    async fn list(&self, comparison: &Comparison) -> anyhow::Result<Vec<ListedPiece>> {
        let (inner, id) = (&self.inner, comparison.node);
        let Some(node) = inner.db.node(id).await? else { return Ok(Vec::new()) };
        let order = inner.signer.order(id, Action::List, 0, ORDER_LIFETIME);
        let limit = inner.config.reconcile.page;
        let page = inner.nodes.list(&node.url, &order, comparison.after, limit).await?;
        let mut before = comparison.after;
        for piece in &page {
            anyhow::ensure!(
                before.is_none_or(|before| before < piece.hash),
                "list of node {id} is not in order"
            );
            before = Some(piece.hash);
        }
        anyhow::ensure!(page.len() <= limit as usize, "node {id} lists more than it was asked for");
        Ok(page)
    }

    /// Queues those pieces of a page that are recorded nowhere. Young ones may be of an upload in progress.
    async fn drop_orphans(&self, node: NodeId, page: &[ListedPiece]) -> anyhow::Result<usize> {
        let (inner, now) = (&self.inner, self.inner.clock.now());
        let grace = inner.config.reconcile.orphan_grace;
        let old: Vec<&ListedPiece> = page.iter().filter(|piece| now.since(piece.stored) >= grace).collect();
        let hashes: Vec<PieceHash> = old.iter().map(|piece| piece.hash).collect();
        let known = inner.db.known_pieces(node, &hashes).await?;
        let unknown: Vec<&ListedPiece> =
            old.into_iter().filter(|piece| !known.contains(&piece.hash)).collect();
        let watch = inner.watch().await?;
        if watch.held.is_some() {
            return Ok(0);
        }
        // What came when nobody watched may be missing here because this database is an older one. It is kept long enough for
        // somebody to look, and no longer: it may as well be left of uploads that failed, and a node can say what it likes.
        let kept = inner.config.safety.doubt_kept;
        let unwatched = |piece: &&ListedPiece| {
            let in_gap = |(from, to): (UnixMillis, UnixMillis)| from < piece.stored && piece.stored < to;
            watch.gap.is_some_and(|gap| in_gap(gap) && now.since(gap.1) < kept)
        };
        let (doubtful, orphans): (Vec<&ListedPiece>, Vec<&ListedPiece>) =
            unknown.into_iter().partition(unwatched);
        if !doubtful.is_empty() {
            inner.doubt(node, doubtful.len()).await;
        }
        let orphans: Vec<PieceHash> = orphans.into_iter().map(|piece| piece.hash).collect();
        inner.db.queue_unpins(node, &orphans, now).await?;
        Ok(orphans.len())
    }

    async fn finish(&self, comparison: &Comparison) -> anyhow::Result<()> {
        let (inner, node) = (&self.inner, comparison.node);
        let next = inner.clock.now() + inner.config.reconcile.interval;
        inner.db.schedule_visit(node, Visit::Reconcile, next).await?;
        if comparison.orphans > 0 {
            metrics::counter!("pinstripe_orphans_total").increment(comparison.orphans as u64);
            let details = format!("{} pieces that are recorded nowhere may be dropped", comparison.orphans);
            inner.note(vec![Note::node(Kind::OrphansFound, node, details)]).await;
        }
        Ok(())
    }
}
