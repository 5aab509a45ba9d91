//! The attempts of one spreading: which node is asked to take which piece, since when, and what came of it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use client::{CallError, PieceOrder, SendError};
use erasure::Scheme;
use protocol::{ids::SegmentId, order::Action};
use service::traces::here;
use tokio::{
    task::{AbortHandle, JoinError, JoinSet},
    time::Instant,
};

use super::{Spread, SpreadError, Spreader, Stored, Target};
use crate::code::CodedPiece;

/// What came of one attempt.
struct Outcome {
    attempt: u64,
    /// Position of the piece in `pieces`.
    piece: usize,
    target: Target,
    took: Result<Duration, CallError>,
}

/// An attempt in progress.
#[derive(Debug)]
struct Try {
    attempt: u64,
    started: Instant,
    handle: AbortHandle,
}

/// One spreading in progress. Dropping it stops all attempts.
#[derive(Debug)]
pub(super) struct Attempts {
    spreader: Spreader,
    segment: SegmentId,
    scheme: Scheme,
    segment_len: u64,
    pieces: Arc<Vec<CodedPiece>>,
    spares: VecDeque<Target>,
    running: JoinSet<Outcome>,
    next_attempt: u64,
    /// For each piece that is not durable and not given up: its attempts.
    under_way: BTreeMap<usize, Vec<Try>>,
    durable: Vec<Stored>,
    /// Times that pieces took, for judging which are slow.
    took: Vec<Duration>,
    no_space: usize,
    failed: usize,
}

impl Attempts {
    pub(super) fn start(spreader: Spreader, spread: Spread) -> Self {
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
            next_attempt: 0,
            under_way: BTreeMap::new(),
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

    /// Pieces that are durable, in the order in which they became so.
    pub(super) fn durable(&self) -> &[Stored] {
        &self.durable
    }

    /// Whether nothing is under way any more.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether so many pieces are durable or may still become so.
    pub(super) fn can_reach(&self, ack: usize) -> bool {
        self.durable.len() + self.under_way.len() >= ack
    }

    pub(super) fn error(&self, wanted: usize) -> SpreadError {
        let (no_space, failed) = (self.no_space, self.failed);
        SpreadError { durable: self.durable.len(), wanted, no_space, failed }
    }

    /// Starts one attempt to store a piece on a node.
    fn send(&mut self, piece: usize, target: Target) {
        let (spreader, pieces) = (self.spreader.clone(), self.pieces.clone());
        let (segment, scheme, segment_len) = (self.segment, self.scheme, self.segment_len);
        let (attempt, started, begun) = (self.next_attempt, Instant::now(), spreader.peers.now());
        self.next_attempt += 1;
        let handle = self.running.spawn(here().carry(async move {
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
            // The transport has this limit as well, but not when it is a network in memory.
            let outcome = tokio::time::timeout(timeout, spreader.nodes.put(&order, body, timeout)).await;
            let outcome = outcome.unwrap_or(Err(CallError::Send(SendError::Timeout)));
            let took = outcome.map(|()| spreader.peers.now().saturating_sub(begun));
            Outcome { attempt, piece, target, took }
        }));
        self.under_way.entry(piece).or_default().push(Try { attempt, started, handle });
    }

    /// Waits for the next thing to happen; `false` when nothing is under way any more. May be dropped at any time.
    pub(super) async fn step(&mut self) -> bool {
        let slow = self.slow_at();
        let finished = tokio::select! {
            finished = self.running.join_next() => finished,
            () = tokio::time::sleep_until(slow.unwrap_or_else(Instant::now)), if slow.is_some() => {
                self.help_slow_ones();
                return true;
            }
        };
        match finished {
            None => false,
            Some(finished) => {
                self.finished(finished);
                true
            }
        }
    }

    /// Notes what has happened already.
    pub(super) fn note_finished(&mut self) {
        while let Some(finished) = self.running.try_join_next() {
            self.finished(finished);
        }
    }

    fn finished(&mut self, finished: Result<Outcome, JoinError>) {
        // The loser of two attempts at one piece, stopped by us.
        let Ok(Outcome { attempt, piece, target, took }) = finished else { return };
        match took {
            Ok(took) => {
                self.spreader.peers.succeeded(target.node, took);
                self.took.push(took);
                // A second copy of a piece that is durable elsewhere is garbage; the node's reconciliation drops it.
                let Some(others) = self.under_way.remove(&piece) else { return };
                for other in others {
                    other.handle.abort();
                }
                self.durable.push(Stored { index: self.pieces[piece].index, node: target.node });
            }
            Err(error) => {
                tracing::warn!(segment = %self.segment, node = %target.node, %error, "node did not take a piece");
                metrics::counter!("pinstripe_spread_failures_total").increment(1);
                if is_no_space(&error) {
                    self.no_space += 1;
                } else {
                    self.failed += 1;
                    self.spreader.peers.failed(target.node);
                }
                self.replace(piece, attempt);
            }
        }
    }

    /// Sends a piece to a spare when its last attempt has failed; without a spare it is given up.
    fn replace(&mut self, piece: usize, attempt: u64) {
        let Some(tries) = self.under_way.get_mut(&piece) else { return };
        // By name and not by what has ended: another attempt may have ended well, and nobody has looked yet.
        tries.retain(|other| other.attempt != attempt);
        if !tries.is_empty() {
            return;
        }
        self.under_way.remove(&piece);
        if let Some(spare) = self.spares.pop_front() {
            self.send(piece, spare);
        }
    }

    /// When the oldest lone attempt becomes slow; `None` when there is no spare or too little to compare with.
    fn slow_at(&self) -> Option<Instant> {
        if self.spares.is_empty() || self.took.len() * 2 < self.pieces.len() {
            return None;
        }
        let allowed = self.allowed();
        let alone = self.under_way.values().filter(|tries| tries.len() == 1);
        alone.map(|tries| tries[0].started + allowed).min()
    }

    fn allowed(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let middle = took.get(took.len() / 2).copied().unwrap_or_default();
        self.spreader.config.slow_after.max(middle * 2)
    }

    fn help_slow_ones(&mut self) {
        let (now, allowed) = (Instant::now(), self.allowed());
        let is_slow = |tries: &Vec<Try>| tries.len() == 1 && tries[0].started + allowed <= now;
        let slow = self.under_way.iter().filter(|(_, tries)| is_slow(tries)).map(|(piece, _)| *piece);
        for piece in slow.collect::<Vec<usize>>() {
            let Some(spare) = self.spares.pop_front() else { return };
            metrics::counter!("pinstripe_spread_slow_total").increment(1);
            self.send(piece, spare);
        }
    }
}

fn is_no_space(error: &CallError) -> bool {
    matches!(error, CallError::Refused { reason, .. } if reason == "no_space")
}
