//! What follows from visits: the breaker is asked first, then what passed is paid, what failed is lost, and reputations
//! change.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    audit::{Fault, Outcome, Verdict},
    ids::{NodeId, PieceHash, SegmentId},
    pay::{self, Rates},
    reputation::{Standing, Tally},
};
use store::{Earning, HeldPiece, LedgerKind, Passed, PieceSlot};

use crate::{
    events::{Kind, Note},
    monitor::Inner,
    network::Network,
};

/// What one visit came to.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) node: NodeId,
    /// The nonce of the batch, for the log; a piece that was read whole has none.
    nonce: Option<[u8; 32]>,
    tally: Tally,
    passed: Vec<HeldPiece>,
    failed: Vec<(HeldPiece, Fault)>,
}

impl Judged {
    /// A batch of challenges, one per piece.
    pub(crate) fn visit(node: NodeId, nonce: [u8; 32], outcome: &Outcome, pieces: Vec<HeldPiece>) -> Self {
        let mut judged = Self {
            node,
            nonce: Some(nonce),
            tally: Tally::of(outcome),
            passed: Vec::new(),
            failed: Vec::new(),
        };
        if let Outcome::Answered(verdicts) = outcome {
            for (piece, verdict) in pieces.into_iter().zip(verdicts) {
                judged.add(piece, *verdict);
            }
        }
        judged
    }

    /// One piece that was asked for as a whole.
    pub(crate) fn whole(node: NodeId, piece: HeldPiece, verdict: Verdict) -> Self {
        let tally = Tally::of(&Outcome::Answered(vec![verdict]));
        let mut judged = Self { node, nonce: None, tally, passed: Vec::new(), failed: Vec::new() };
        judged.add(piece, verdict);
        judged
    }

    fn add(&mut self, piece: HeldPiece, verdict: Verdict) {
        metrics::counter!("pinstripe_audit_verdicts_total", "verdict" => verdict_name(verdict)).increment(1);
        match verdict {
            Verdict::Passed => self.passed.push(piece),
            Verdict::Failed(fault) => self.failed.push((piece, fault)),
            Verdict::Unknown => {}
        }
    }

    /// Drops failures that are not to be held against the node.
    fn retain_failed(&mut self, keep: impl Fn(&HeldPiece) -> bool) {
        self.failed.retain(|(piece, _)| keep(piece));
        let count = |admitted: bool| {
            let same = self.failed.iter().filter(|(_, fault)| (*fault == Fault::Admitted) == admitted);
            u32::try_from(same.count()).unwrap_or(u32::MAX)
        };
        (self.tally.failed, self.tally.admitted) = (count(false), count(true));
    }

    /// Takes away everything that would speak against the node.
    fn forgive(&mut self) {
        self.failed.clear();
        self.tally = Tally { failed: 0, admitted: 0, unknown: 0, offline: 0, ..self.tally };
    }
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed(fault) => fault_name(fault),
        Verdict::Unknown => "unknown",
    }
}

fn fault_name(fault: Fault) -> &'static str {
    match fault {
        Fault::WrongBytes => "wrong_bytes",
        Fault::NotFound => "not_found",
        Fault::Admitted => "admitted",
        Fault::TimedOut => "timed_out",
    }
}

/// Turns byte-seconds of storage into money; the rest is carried by the ledger.
fn storage_pay(rates: Rates) -> impl Fn(Earning, u64) -> (u64, u64) + Send + Sync {
    move |earning, carry| {
        debug_assert_eq!(earning.kind, LedgerKind::Storage);
        match rates.accrue(pay::Kind::Storage, earning.quantity.into(), carry) {
            Ok(accrued) => (accrued.amount.0, accrued.carry),
            Err(error) => {
                // Only rates above any sense come here: nothing is paid rather than something wrong.
                tracing::error!(quantity = earning.quantity, %error, "pay could not be reckoned");
                (0, carry)
            }
        }
    }
}

impl Inner {
    /// Draws the consequences of visits that were made together. Gives the standings of the nodes.
    pub(crate) async fn draw_consequences(
        &self,
        mut visits: Vec<Judged>,
        network: &Network,
    ) -> anyhow::Result<Vec<(NodeId, Standing)>> {
        self.excuse_unrecorded(&mut visits).await?;
        for visit in &visits {
            self.rounds.observe(visit.node, visit.tally, self.clock.now(), self.config.audit.interval);
        }
        if self.hold(network).await.is_some() {
            for visit in &mut visits {
                if !visit.failed.is_empty() {
                    self.rounds.spare(visit.node);
                }
                visit.forgive();
            }
        } else {
            self.hold_removals(&mut visits).await;
            self.keep_rebuildable(&mut visits, network).await?;
        }
        let mut standings = Vec::with_capacity(visits.len());
        for visit in &visits {
            self.pay(visit).await?;
            self.lose(visit).await?;
            let in_doubt = self.rounds.is_in_doubt(visit.node);
            if let Some(standing) = self.record_tally(visit.node, &visit.tally, in_doubt).await? {
                standings.push((visit.node, standing));
            }
        }
        let hurt: BTreeSet<SegmentId> =
            visits.iter().flat_map(|visit| &visit.failed).map(|(piece, _)| piece.slot.segment).collect();
        if !hurt.is_empty() {
            self.assess(&hurt.into_iter().collect::<Vec<_>>(), network).await?;
        }
        Ok(standings)
    }

    /// A piece that was taken off a node's record while it was being asked for was rightly gone.
    async fn excuse_unrecorded(&self, visits: &mut [Judged]) -> anyhow::Result<()> {
        for visit in visits.iter_mut().filter(|visit| !visit.failed.is_empty()) {
            let hashes: Vec<PieceHash> = visit.failed.iter().map(|(piece, _)| piece.hash).collect();
            let recorded = self.db.known_pieces(visit.node, &hashes).await?;
            visit.retain_failed(|piece| recorded.contains(&piece.hash));
        }
        Ok(())
    }

    /// Many pieces of one segment that fail at once are kept: its record is more likely to be wrong than all of the nodes.
    /// Nodes whose failures are a fact do not fail at once.
    async fn hold_removals(&self, visits: &mut [Judged]) {
        let rules = &self.config.breaker;
        let is_fresh = |visit: &Judged| !self.rounds.is_fact(visit.node, rules);
        let mut failures: BTreeMap<SegmentId, u32> = BTreeMap::new();
        for (piece, _) in visits.iter().filter(|visit| is_fresh(visit)).flat_map(|visit| &visit.failed) {
            *failures.entry(piece.slot.segment).or_default() += 1;
        }
        let held: BTreeMap<SegmentId, _> = failures
            .into_iter()
            .filter_map(|(segment, count)| Some((segment, rules.hold_removal(count)?)))
            .collect();
        if held.is_empty() {
            return;
        }
        for visit in visits.iter_mut().filter(|visit| is_fresh(visit)) {
            let count = visit.failed.len();
            visit.retain_failed(|piece| !held.contains_key(&piece.slot.segment));
            if visit.failed.len() < count {
                self.rounds.spare(visit.node);
            }
        }
        let note = |(segment, hold)| Note::segment(Kind::RemovalHeld, segment, format!("{hold}: none is"));
        self.note(held.into_iter().map(note).collect()).await;
    }

    /// Nodes that failed together with many others are believed in the end to have lost what they lost; but never so much
    /// of a segment at a time that it could not be rebuilt from what is left, in case that it was our fault all the same.
    async fn keep_rebuildable(&self, visits: &mut [Judged], network: &Network) -> anyhow::Result<()> {
        let rules = &self.config.breaker;
        let in_doubt: Vec<bool> = visits.iter().map(|visit| self.rounds.is_in_doubt(visit.node)).collect();
        let mut hurt: BTreeSet<SegmentId> = BTreeSet::new();
        for (visit, _) in
            visits.iter().zip(&in_doubt).filter(|(visit, doubt)| **doubt && !visit.failed.is_empty())
        {
            hurt.extend(visit.failed.iter().map(|(piece, _)| piece.slot.segment));
            if let Some(rounds) = self.rounds.newly_believed(visit.node, rules) {
                let details = format!(
                    "failed audits in {rounds} rounds, together with many: what it lost is repaired now; it may be \
                     suspended for that, and is not disqualified"
                );
                self.note(vec![Note::node(Kind::FailuresBelieved, visit.node, details)]).await;
            }
        }
        let now = self.clock.now();
        let mut left: BTreeMap<SegmentId, u8> = BTreeMap::new();
        for info in self.db.segments_info(&hurt.into_iter().collect::<Vec<_>>()).await? {
            let health = network.health(&info, now, &self.config).health;
            let least = info.scheme.needed().saturating_add(rules.urgent_margin);
            left.insert(info.id, health.existing.len().saturating_sub(least));
        }
        for (visit, _) in visits.iter_mut().zip(in_doubt).filter(|(_, doubt)| *doubt) {
            let mut lost = BTreeSet::new();
            for (piece, _) in &visit.failed {
                if let Some(left @ 1..) = left.get_mut(&piece.slot.segment) {
                    *left -= 1;
                    lost.insert(piece.hash);
                }
            }
            visit.retain_failed(|piece| lost.contains(&piece.hash));
        }
        Ok(())
    }

    async fn pay(&self, visit: &Judged) -> anyhow::Result<()> {
        if visit.passed.is_empty() {
            return Ok(());
        }
        let passed: Vec<Passed> =
            visit.passed.iter().map(|piece| (piece.slot, piece.verified, piece.piece_bytes)).collect();
        let pay = storage_pay(**self.rates.load());
        let byte_seconds = self.db.record_passed(visit.node, &passed, self.clock.now(), pay).await?;
        metrics::counter!("pinstripe_paid_byte_seconds_total").increment(byte_seconds);
        Ok(())
    }

    async fn lose(&self, visit: &Judged) -> anyhow::Result<()> {
        if visit.failed.is_empty() {
            return Ok(());
        }
        let lost: Vec<(PieceSlot, PieceHash)> =
            visit.failed.iter().map(|(piece, _)| (piece.slot, piece.hash)).collect();
        let count = self.db.lose_pieces(visit.node, &lost, self.clock.now()).await?;
        metrics::counter!("pinstripe_pieces_lost_total").increment(count);
        let nonce = visit.nonce.map_or_else(|| "none (read whole)".to_string(), hex::encode);
        let note = |(piece, fault): &(HeldPiece, Fault)| {
            let details = format!(
                "piece {} (index {}) failed its audit: {}; nonce {nonce}",
                piece.hash,
                piece.slot.index,
                fault_name(*fault)
            );
            Note::segment(Kind::PieceLost, piece.slot.segment, details).at_node(visit.node)
        };
        self.note(visit.failed.iter().map(note).collect()).await;
        Ok(())
    }
}
