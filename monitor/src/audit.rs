//! Audits: every node is visited every few minutes with one batch of challenges about random pieces, weighted by size.
//!
//! All nodes that are due are visited together, at multiples of the interval, so that what they came to is one round, and
//! a fault of ours shows as a fault of many nodes before any of them is blamed. What follows is in `verdicts`.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use client::{CallError, SendError};
use futures_util::{StreamExt as _, stream};
use protocol::{
    audit::{Batch, Challenge, Outcome, Reply, judge},
    ids::NodeId,
    order::Action,
    reputation::Standing,
    time::UnixMillis,
};
use service::job::{Job, Progress};
use store::{HeldPiece, Visit};

use crate::{monitor::Inner, network::Node, verdicts::Judged};

mod sample;

/// How long the order of a batch holds beyond the time that the answer is waited for.
const ORDER_SLACK: Duration = Duration::from_mins(1);

/// The job that audits nodes.
#[derive(Debug)]
pub struct Audit {
    inner: Arc<Inner>,
}

impl Job for Audit {
    const NAME: &'static str = "audit";

    async fn step(&self) -> anyhow::Result<Progress> {
        if self.inner.is_held().await? {
            return Ok(Progress::Idle);
        }
        let inner = &self.inner;
        let limit = inner.config.visits.nodes_per_step;
        let now = inner.clock.now();
        let next = next_round(now, inner.config.audit.interval);
        let claimed = inner.db.claim_visits(Visit::Audit, now, next, limit).await?;
        if claimed.is_empty() {
            return Ok(Progress::Idle);
        }
        let count = claimed.len();
        let network = inner.network().await?;
        let nodes: Vec<Node> = claimed.iter().filter_map(|id| network.node(*id)).cloned().collect();
        // A disqualified node is out for good: it is neither blamed further nor paid.
        let nodes = nodes.into_iter().filter(|node| node.standing != Standing::Disqualified);
        let at_once = inner.config.visits.at_once;
        let visits = stream::iter(nodes).map(|node| self.visit(node)).buffer_unordered(at_once);
        let visited: Vec<anyhow::Result<Option<Judged>>> = visits.collect().await;
        let mut judged = Vec::with_capacity(visited.len());
        for outcome in visited {
            match outcome {
                Ok(visit) => judged.extend(visit),
                // One node whose records cannot be read keeps nobody else from being audited.
                Err(error) => tracing::error!(error = format!("{error:#}"), "audit could not be carried out"),
            }
        }
        let standings = inner.draw_consequences(judged, &network).await?;
        for node in standings.iter().filter(|(_, standing)| standing.is_suspended()).map(|(node, _)| *node) {
            let soon = now + inner.config.audit.interval_suspended;
            inner.db.schedule_visit(node, Visit::Audit, soon.min(next)).await?;
        }
        Ok(if count < limit as usize { Progress::Idle } else { Progress::More })
    }
}

/// The next multiple of the interval: rounds of all monitors and nodes fall together.
fn next_round(now: UnixMillis, interval: Duration) -> UnixMillis {
    let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
    UnixMillis(now.0 - now.0.rem_euclid(interval_ms)) + interval
}

impl Audit {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Visits one node; `None` when it holds nothing.
    async fn visit(&self, node: Node) -> anyhow::Result<Option<Judged>> {
        let pieces = sample::draw(&self.inner, node.id).await?;
        if pieces.is_empty() {
            // It can show nothing, good or bad: without this it would stay suspended for ever.
            if node.standing.is_suspended() && node.offline.is_none() {
                self.inner.begin_again(node.id).await?;
            }
            return Ok(None);
        }
        let challenges =
            pieces.iter().map(|piece| Challenge { hash: piece.hash, piece_len: piece.piece_bytes }).collect();
        let batch = Batch { nonce: self.inner.dice.bytes(), challenges };
        let (nonce, answer) = (batch.nonce, self.challenge(&node, &batch).await?);
        let outcome = tokio::task::spawn_blocking(move || judge_answer(&batch, &answer)).await?;
        metrics::counter!("pinstripe_audit_visits_total", "outcome" => outcome_name(&outcome)).increment(1);
        if outcome == Outcome::Contained {
            self.contain(node.id, &pieces);
        }
        Ok(Some(Judged::visit(node.id, nonce, &outcome, pieces)))
    }

    async fn challenge(&self, node: &Node, batch: &Batch) -> anyhow::Result<Result<Bytes, CallError>> {
        let timeout = self.inner.config.visits.timeout;
        let body = batch.encode().with_context(|| format!("encode a batch for node {}", node.id))?;
        let action = Action::Audit(*blake3::hash(&body).as_bytes());
        let answer_max = batch.answers_len_max();
        let order = self.inner.signer.order(node.id, action, answer_max as u64, timeout + ORDER_SLACK);
        Ok(self.inner.nodes.audit(&node.url, &order, body.into(), answer_max, timeout).await)
    }

    /// Some of the pieces on which a node stalled are checked whole by the job `recheck`: all of them would be a
    /// download of a whole batch of pieces.
    fn contain(&self, node: NodeId, pieces: &[HeldPiece]) {
        let (now, count) = (self.inner.clock.now(), self.inner.config.visits.contained_per_visit);
        for piece in pieces.iter().take(count) {
            self.inner.contained.add(node, *piece, now);
        }
    }
}

fn judge_answer(batch: &Batch, answer: &Result<Bytes, CallError>) -> Outcome {
    let reply = match answer {
        Ok(body) => Reply::Body(body),
        Err(CallError::Send(SendError::Connect(_))) => Reply::Unreachable,
        Err(CallError::Send(SendError::Timeout)) => Reply::TimedOut,
        Err(CallError::Send(SendError::Broken(_)) | CallError::BadAnswer(_)) => Reply::Broken,
        Err(CallError::Refused { status, .. }) => Reply::Status(status.as_u16()),
    };
    judge(batch, reply)
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Offline => "offline",
        Outcome::Contained => "contained",
        Outcome::Unknown => "unknown",
        Outcome::Answered(_) => "answered",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_fall_together() {
        let interval = Duration::from_secs(10);
        for (now, next) in [(0, 10_000), (1, 10_000), (9_999, 10_000), (10_000, 20_000), (-1, 0)] {
            assert_eq!(next_round(UnixMillis(now), interval), UnixMillis(next), "{now}");
        }
    }
}
