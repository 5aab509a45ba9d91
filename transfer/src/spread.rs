//! Spreading pieces over nodes: all at once, spares for those that fail or lag, done when enough are durable.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use client::{CallError, NodeClient, PieceOrder};
use erasure::Scheme;
use protocol::{
    ids::{NodeId, SegmentId},
    order::Action,
};
use serde::{Deserialize, Serialize};
use service::signer::Signer;
use tokio::task::{AbortHandle, JoinSet};

use crate::{code::CodedPiece, peers::Peers};

/// The `[spread]` section of gateways and monitors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpreadConfig {
    /// How long one piece may take to become durable.
    #[serde(with = "humantime_serde")]
    pub piece_timeout: Duration,
    /// A piece that takes longer than this, and than twice the time of the middle one, is sent to a spare as well.
    #[serde(with = "humantime_serde")]
    pub slow_after: Duration,
    /// How long pieces may go on in the background once enough are durable.
    #[serde(with = "humantime_serde")]
    pub rest_timeout: Duration,
}

impl Default for SpreadConfig {
    fn default() -> Self {
        Self {
            piece_timeout: Duration::from_secs(30),
            slow_after: Duration::from_secs(2),
            rest_timeout: Duration::from_secs(30),
        }
    }
}

/// A node that shall take a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub node: NodeId,
    /// Where it is.
    pub url: String,
}

/// A piece that is durable on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which piece.
    pub index: u8,
    /// Where.
    pub node: NodeId,
}

/// What to spread.
#[derive(Debug)]
pub struct Spread {
    /// The segment.
    pub segment: SegmentId,
    /// Its coding.
    pub scheme: Scheme,
    /// Its length.
    pub segment_len: u64,
    /// The pieces to store.
    pub pieces: Vec<CodedPiece>,
    /// Nodes: one for each piece in order, then spares. Fewer than pieces is allowed.
    pub targets: Vec<Target>,
    /// How many pieces must be durable.
    pub ack: usize,
}

/// Too few pieces became durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("only {durable} of {wanted} pieces could be stored ({no_space} nodes had no space, {failed} failed)")]
pub struct SpreadError {
    /// Pieces that are durable. They are garbage now and get collected.
    pub durable: usize,
    /// How many were needed.
    pub wanted: usize,
    /// Nodes that refused for lack of space.
    pub no_space: usize,
    /// Nodes that failed in other ways.
    pub failed: usize,
}

/// Sends pieces to nodes.
#[derive(Clone, Debug)]
pub struct Spreader {
    nodes: NodeClient,
    signer: Signer,
    peers: Peers,
    config: SpreadConfig,
}

/// Pieces still under way after enough are durable.
#[derive(Debug)]
pub struct Rest {
    attempts: Attempts,
    timeout: Duration,
}

type Attempt = (usize, Target, Result<Duration, CallError>);

/// One spreading in progress.
#[derive(Debug)]
struct Attempts {
    spreader: Spreader,
    segment: SegmentId,
    scheme: Scheme,
    segment_len: u64,
    pieces: Arc<Vec<CodedPiece>>,
    spares: VecDeque<Target>,
    running: JoinSet<Attempt>,
    /// For each piece: attempts in progress with their start.
    under_way: HashMap<usize, Vec<(Instant, AbortHandle)>>,
    durable: Vec<Stored>,
    /// Times that pieces took, for judging which are slow.
    took: Vec<Duration>,
    no_space: usize,
    failed: usize,
}

impl Spreader {
    /// Sends over `nodes`, with orders of `signer`.
    pub fn new(nodes: NodeClient, signer: Signer, peers: Peers, config: SpreadConfig) -> Self {
        Self { nodes, signer, peers, config }
    }

    /// Stores pieces until `ack` are durable; the others go on in the returned [`Rest`]. When that many cannot be
    /// reached any more, it gives up at once.
    pub async fn spread(&self, spread: Spread) -> Result<(Vec<Stored>, Rest), SpreadError> {
        let ack = spread.ack;
        let mut attempts = Attempts::start(self.clone(), spread);
        while attempts.durable.len() < ack {
            if attempts.durable.len() + attempts.under_way.len() < ack || !attempts.step().await {
                return Err(SpreadError {
                    durable: attempts.durable.len(),
                    wanted: ack,
                    no_space: attempts.no_space,
                    failed: attempts.failed,
                });
            }
        }
        let stored = attempts.durable.clone();
        Ok((stored, Rest { attempts, timeout: self.config.rest_timeout }))
    }
}

impl Rest {
    /// Whether all pieces are durable or given up.
    pub fn is_done(&self) -> bool {
        self.attempts.under_way.is_empty()
    }

    /// Goes on until every piece is durable, given up, or out of time; gives what became durable after the acknowledgement.
    pub async fn finish(mut self) -> Vec<Stored> {
        let known = self.attempts.durable.len();
        let all = async { while self.attempts.step().await {} };
        // Out of time: what is still under way is dropped, and a repair will rebuild it.
        let _ = tokio::time::timeout(self.timeout, all).await;
        self.attempts.durable.split_off(known)
    }
}

impl Attempts {
    fn start(spreader: Spreader, spread: Spread) -> Self {
        let mut targets: VecDeque<Target> = spread.targets.into();
        let pieces = Arc::new(spread.pieces);
        let spares = targets.split_off(targets.len().min(pieces.len()));
        let mut attempts = Self {
            spreader,
            segment: spread.segment,
            scheme: spread.scheme,
            segment_len: spread.segment_len,
            pieces,
            spares,
            running: JoinSet::new(),
            under_way: HashMap::new(),
            durable: Vec::new(),
            took: Vec::new(),
            no_space: 0,
            failed: 0,
        };
        for (piece, target) in targets.into_iter().enumerate() {
            attempts.send(piece, target);
        }
        attempts
    }

    /// Starts one attempt to store a piece on a node.
    fn send(&mut self, piece: usize, target: Target) {
        let (spreader, pieces) = (self.spreader.clone(), self.pieces.clone());
        let (segment, scheme, segment_len) = (self.segment, self.scheme, self.segment_len);
        let started = Instant::now();
        let handle = self.running.spawn(async move {
            let coded = &pieces[piece];
            let body = coded.body();
            let action = Action::Put(coded.meta(segment, scheme, segment_len));
            let timeout = spreader.config.piece_timeout;
            let order = PieceOrder {
                node: target.node,
                url: target.url.clone(),
                hash: coded.hash,
                order: spreader.signer.order(target.node, action, body.len(), timeout * 2),
            };
            let outcome = spreader.nodes.put(&order, body, timeout).await;
            (piece, target, outcome.map(|()| started.elapsed()))
        });
        self.under_way.entry(piece).or_default().push((started, handle));
    }

    /// Waits for the next thing to happen; `false` when nothing is under way any more.
    async fn step(&mut self) -> bool {
        let slow = self.slow_at();
        let finished = tokio::select! {
            finished = self.running.join_next() => finished,
            () = tokio::time::sleep_until(slow.unwrap_or_else(far_future).into()), if slow.is_some() => {
                self.help_slow_ones();
                return true;
            }
        };
        match finished {
            None => false,
            // The loser of two attempts at one piece, stopped by us.
            Some(Err(_)) => true,
            Some(Ok((piece, target, outcome))) => {
                self.finished(piece, target, outcome);
                true
            }
        }
    }

    fn finished(&mut self, piece: usize, target: Target, outcome: Result<Duration, CallError>) {
        match outcome {
            Ok(took) => {
                self.spreader.peers.succeeded(target.node, took);
                self.took.push(took);
                // A second copy of a piece that is durable elsewhere is garbage; the node's reconciliation drops it.
                if let Some(others) = self.under_way.remove(&piece) {
                    for (_, other) in &others {
                        other.abort();
                    }
                    self.durable.push(Stored { index: self.pieces[piece].index, node: target.node });
                }
            }
            Err(error) => {
                tracing::warn!(segment = %self.segment, node = %target.node, %error, "node did not take a piece");
                metrics::counter!("spread_failures_total").increment(1);
                if is_no_space(&error) {
                    self.no_space += 1;
                } else {
                    self.failed += 1;
                    self.spreader.peers.failed(target.node);
                }
                if let Some(tries) = self.under_way.get_mut(&piece) {
                    tries.retain(|(_, handle)| !handle.is_finished());
                    if !tries.is_empty() {
                        return;
                    }
                    self.under_way.remove(&piece);
                    if let Some(spare) = self.spares.pop_front() {
                        self.send(piece, spare);
                    }
                }
            }
        }
    }

    /// When the oldest lone attempt becomes slow; `None` when there is no spare or nothing to compare with.
    fn slow_at(&self) -> Option<Instant> {
        if self.spares.is_empty() || self.took.len() * 2 < self.pieces.len() {
            return None;
        }
        let allowed = self.allowed();
        let alone = self.under_way.values().filter(|tries| tries.len() == 1);
        alone.map(|tries| tries[0].0 + allowed).min()
    }

    fn allowed(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let middle = took.get(took.len() / 2).copied().unwrap_or_default();
        self.spreader.config.slow_after.max(middle * 2)
    }

    fn help_slow_ones(&mut self) {
        let (now, allowed) = (Instant::now(), self.allowed());
        let slow: Vec<usize> = self
            .under_way
            .iter()
            .filter(|(_, tries)| tries.len() == 1 && tries[0].0 + allowed <= now)
            .map(|(piece, _)| *piece)
            .collect();
        for piece in slow {
            let Some(spare) = self.spares.pop_front() else { return };
            metrics::counter!("spread_slow_total").increment(1);
            self.send(piece, spare);
        }
    }
}

fn is_no_space(error: &CallError) -> bool {
    matches!(error, CallError::Refused { reason, .. } if reason == "no_space")
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_hours(1)
}
