//! Contained pieces: those on which a node stalled, or that a repair could not read, are asked for as a whole, at once and
//! then hours apart, until they pass or have stalled too often.
//!
//! The list is this monitor's own and in memory. A restart forgets it, which is in the node's favour; one that keeps
//! stalling is contained again at the next visit.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use client::{CallError, PieceOrder, SendError};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use protocol::{
    audit::{Containment, Fault, WholeCheck},
    ids::NodeId,
    order::{Action, Purpose},
    proof,
    time::UnixMillis,
};
use service::job::{Job, Progress};
use store::HeldPiece;

use crate::{
    monitor::Inner,
    network::{Network, Node},
    verdicts::Judged,
};

/// The reasons with which nodes say that their copy has gone bad, and that they have none. Any other refusal, such as a
/// proxy's 404, says nothing about the piece.
const CORRUPT: &str = "piece_corrupt";
const NOT_FOUND: &str = "piece_not_found";

/// Pieces that await their check, by node.
#[derive(Debug)]
pub(crate) struct Contained {
    per_node_max: usize,
    nodes: Mutex<BTreeMap<NodeId, VecDeque<Entry>>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    piece: HeldPiece,
    containment: Containment,
}

impl Contained {
    pub(crate) fn new(per_node_max: usize) -> Self {
        Self { per_node_max, nodes: Mutex::default() }
    }

    /// Adds a piece, unless it is there already or the node's list is full.
    pub(crate) fn add(&self, node: NodeId, piece: HeldPiece, now: UnixMillis) {
        self.put(node, Entry { piece, containment: Containment::new(piece.hash, now) });
    }

    fn put(&self, node: NodeId, entry: Entry) {
        let mut nodes = self.nodes.lock();
        let entries = nodes.entry(node).or_default();
        let known = entries.iter().any(|other| other.piece.slot == entry.piece.slot);
        if !known && entries.len() < self.per_node_max {
            entries.push_back(entry);
        }
    }

    /// Takes up to `limit` pieces whose check is due.
    fn take_due(&self, now: UnixMillis, limit: usize) -> Vec<(NodeId, Entry)> {
        let mut nodes = self.nodes.lock();
        let mut due = Vec::new();
        for (node, entries) in nodes.iter_mut() {
            entries.retain(|entry| {
                let take = due.len() < limit && entry.containment.next <= now;
                if take {
                    due.push((*node, *entry));
                }
                !take
            });
        }
        nodes.retain(|_, entries| !entries.is_empty());
        due
    }

    /// How many pieces await their check.
    pub(crate) fn count(&self) -> usize {
        self.nodes.lock().values().map(VecDeque::len).sum()
    }
}

/// The job that checks contained pieces.
#[derive(Debug)]
pub struct Recheck {
    inner: Arc<Inner>,
}

impl Job for Recheck {
    const NAME: &'static str = "recheck";

    async fn step(&self) -> anyhow::Result<Progress> {
        if self.inner.is_held().await? {
            return Ok(Progress::Idle);
        }
        let at_once = self.inner.config.visits.whole_at_once;
        let due = self.inner.contained.take_due(self.inner.clock.now(), at_once);
        if due.is_empty() {
            return Ok(Progress::Idle);
        }
        let more = due.len() == at_once;
        let network = self.inner.network().await?;
        let checks = stream::iter(due).map(|(node, entry)| self.check(node, entry, &network));
        let judged: Vec<anyhow::Result<Option<Judged>>> = checks.buffer_unordered(at_once).collect().await;
        let judged = judged.into_iter().filter_map(Result::transpose).collect::<anyhow::Result<Vec<_>>>()?;
        self.inner.draw_consequences(judged, &network).await?;
        Ok(if more { Progress::More } else { Progress::Idle })
    }
}

impl Recheck {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Checks one piece; a verdict ends its containment.
    async fn check(&self, id: NodeId, entry: Entry, network: &Network) -> anyhow::Result<Option<Judged>> {
        let Some(node) = network.node(id) else { return Ok(None) };
        let recorded = self.inner.db.known_pieces(id, &[entry.piece.hash]).await?;
        if recorded.is_empty() {
            return Ok(None);
        }
        let check = self.read(node, &entry.piece).await?;
        let (now, rules) = (self.inner.clock.now(), &self.inner.config.audit);
        tracing::info!(node = %id, piece = %entry.piece.hash, ?check, "contained piece checked");
        match entry.containment.checked(check, now, rules) {
            Ok(verdict) => Ok(Some(Judged::whole(id, entry.piece, verdict))),
            Err(containment) => {
                self.inner.contained.put(id, Entry { containment, ..entry });
                Ok(None)
            }
        }
    }

    /// Asks for a whole piece and checks every byte of it.
    async fn read(&self, node: &Node, piece: &HeldPiece) -> anyhow::Result<WholeCheck> {
        let timeout = self.inner.config.visits.whole_timeout;
        let range = 0..piece.piece_bytes;
        let answer_max = proof::encoded_len(piece.piece_bytes, &range);
        let order = self.inner.signer.order(
            node.id,
            Action::Get(piece.hash, Purpose::Audit),
            answer_max,
            timeout * 2,
        );
        let order = PieceOrder { node: node.id, url: node.url.clone(), hash: piece.hash, order };
        let answer_max = usize::try_from(answer_max)?;
        let answer = self.inner.nodes.get(&order, range.clone(), timeout);
        let answer = async { answer.await?.collect(answer_max).await }.await;
        Ok(match answer {
            Ok(encoded) => {
                let (hash, len) = (piece.hash, piece.piece_bytes);
                let verify = move || proof::verify_slice(hash, len, range, &encoded[..]).is_ok();
                let right = tokio::task::spawn_blocking(verify).await?;
                if right { WholeCheck::Right } else { WholeCheck::Wrong(Fault::WrongBytes) }
            }
            Err(CallError::Send(SendError::Timeout)) => WholeCheck::TimedOut,
            Err(CallError::Refused { reason, .. }) if reason == CORRUPT => WholeCheck::Wrong(Fault::Admitted),
            Err(CallError::Refused { reason, .. }) if reason == NOT_FOUND => {
                WholeCheck::Wrong(Fault::NotFound)
            }
            Err(_) => WholeCheck::Unknown,
        })
    }
}
