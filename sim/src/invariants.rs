//! What must hold, in one table, and the checks of it. The words are those of the design; a check that fails names its row.

use std::collections::{BTreeMap, BTreeSet};

use pinner::piece_store::{Behaviour, PieceStore as _};
use protocol::{
    api::{Earnings, FileHealth},
    ids::PieceHash,
    pay::Kind,
    reputation::{Reputation, Standing, SuspendReason},
};

use crate::{
    clients::{Got, Route},
    pace,
    truth::{PieceAt, SegmentView},
    world::{ACCOUNT, World},
};

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Its name.
    pub name: &'static str,
    /// What is promised.
    pub words: &'static str,
}

/// A promise that was not kept.
#[derive(Debug, thiserror::Error)]
#[error("{} ({:?}): {details}", invariant.name, invariant.words)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static Invariant,
    /// What was found.
    pub details: String,
}

macro_rules! table {
    ($($id:ident, $name:literal: $words:literal;)*) => {
        $(#[doc = $words] pub static $id: Invariant = Invariant { name: $name, words: $words };)*
        /// All rows.
        pub static ALL: &[&Invariant] = &[$(&$id),*];
    };
}

table! {
    NO_WRONG_BYTE, "no wrong byte":
        "no byte leaves a gateway or a node before it is checked against a hash that the reader's CID implies";
    READS_BACK, "reads back":
        "any total - needed nodes down: every read still succeeds; an acknowledged upload survives the death of any process";
    LISTED, "listed":
        "an acknowledged upload is listed, a deleted one is not";
    HONEST_FAILURE, "honest failure":
        "more down: an honest 502, 503 or 504, or a reset if bytes have left, never a short body that looks whole";
    DISTINCT_NODES, "distinct nodes":
        "a segment's pieces sit on distinct nodes";
    NO_ORPHANS, "no orphans":
        "what nobody needs is collected: nodes hold what is on record and nothing else";
    FULL_COUNT, "full count":
        "repair brings every segment back to its total while enough nodes are there";
    NOT_BLAMED, "not blamed":
        "being offline never costs what a wrong answer costs; one of our own faults disqualifies nobody";
    FOUND_OUT, "found out":
        "what a node lost or lies about is found in bounded time and taken from its record";
    LEDGER_ADDS_UP, "ledger adds up":
        "integer micro-units in a ledger that adds up: entries, sums and what nodes are shown agree";
    PAID_ONCE, "paid once":
        "a pin earns from when it was stored to its last passed audit, once; a lost pin earns nothing more";
    EGRESS_SERVED, "egress was served":
        "egress is paid on signed orders and tickets, once, for what was asked for under them";
    USAGE_EXACT, "usage exact":
        "exact used-space counters on nodes, and of accounts";
}

/// The error of a row.
pub fn violated(invariant: &'static Invariant, details: impl Into<String>) -> anyhow::Error {
    Violation { invariant, details: details.into() }.into()
}

fn require(
    holds: bool,
    invariant: &'static Invariant,
    details: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    if holds { Ok(()) } else { Err(violated(invariant, details())) }
}

/// Share of what a node had that it must have been paid for, if nothing ever happened to it: the rest is what was not
/// audited any more before it was deleted or moved.
const PAID_SHARE_MIN: f64 = 0.75;

impl World {
    /// What must hold at every moment.
    pub async fn check_always(&mut self) -> anyhow::Result<Vec<SegmentView>> {
        let survey = self.remember().await?;
        for segment in &survey {
            let nodes: BTreeSet<usize> = segment.pieces.iter().map(|piece| piece.node).collect();
            require(nodes.len() == segment.pieces.len(), &DISTINCT_NODES, || {
                format!("segment {} has two pieces on one node", segment.id)
            })?;
        }
        if let Some((node, hash)) = self.overdue().await? {
            let since = self.truth.missing_since[&(node, hash)];
            let details = format!(
                "node {node} is on record with piece {hash}, which it has not had for {:?}",
                self.now().since(since)
            );
            return Err(violated(&FOUND_OUT, details));
        }
        self.check_standings().await?;
        Ok(survey)
    }

    /// Nobody honest is disqualified, nor suspended for failures that were none.
    async fn check_standings(&self) -> anyhow::Result<()> {
        for row in self.db.nodes().await? {
            let Some(number) = self.number_of(row.id) else { continue };
            if self.nodes[number].bad_since.is_some() {
                continue;
            }
            let reputation: Reputation = serde_json::from_str(&row.reputation)?;
            let blamed = match reputation.standing {
                Standing::Disqualified => true,
                Standing::Suspended { reason, .. } => {
                    reason == SuspendReason::Failures || !self.nodes[number].was_troubled
                }
                Standing::Vetting | Standing::Good => false,
            };
            require(!blamed, &NOT_BLAMED, || {
                format!("node {number} did nothing wrong and is {:?}", reputation.standing)
            })?;
        }
        Ok(())
    }

    /// Reads one file, which must succeed.
    pub async fn must_read(
        &mut self,
        file: usize,
        route: Route,
        region: u8,
        range: Option<(usize, usize)>,
    ) -> anyhow::Result<()> {
        match self.read(file, route, region, range).await? {
            Got::Bytes(_) => Ok(()),
            Got::Failure(why) => {
                let name = &self.files.all[file].name;
                let lines = self.survey().await?.into_iter().map(|segment| segment.to_string());
                let details =
                    format!("{name} by {route:?}: {why}\n  {}", lines.collect::<Vec<_>>().join("\n  "));
                Err(violated(&READS_BACK, details))
            }
        }
    }

    /// Every file of the account, through a gateway and through some node.
    pub async fn check_all_files(&mut self) -> anyhow::Result<()> {
        let gateways = self.good_gateways();
        let nodes: Vec<usize> = self.good_nodes();
        for (turn, file) in self.files.live(self.now()).into_iter().enumerate() {
            let region = u8::try_from(turn % 3 + 1).unwrap_or(1);
            self.must_read(file, Route::Proxy(gateways[turn % gateways.len()]), region, None).await?;
            self.must_read(file, Route::Node(nodes[turn % nodes.len()]), region, None).await?;
        }
        Ok(())
    }

    /// Listings of all gateways say what is there and nothing else.
    pub async fn check_listing(&mut self) -> anyhow::Result<()> {
        let (expected, ended) = (self.files.cids(self.now()), self.files.expired_cids(self.now()));
        for gateway in self.good_gateways() {
            let listed: BTreeSet<String> = self.list(gateway).await?.into_iter().collect();
            let more =
                listed.iter().filter(|cid| !expected.contains_key(*cid) && !ended.contains_key(*cid)).count();
            let less = expected.keys().filter(|cid| !listed.contains(*cid)).count();
            require(more == 0 && less == 0, &LISTED, || {
                format!("gateway {gateway} lists {more} files that are not there and misses {less}")
            })?;
        }
        let account = self.db.account(ACCOUNT).await?.map_or(0, |account| account.used_bytes);
        let bytes: u64 = expected.values().sum();
        let at_most = bytes + ended.values().sum::<u64>();
        require((bytes..=at_most).contains(&account), &USAGE_EXACT, || {
            format!("the account has {bytes} to {at_most} bytes and {account} are counted")
        })
    }

    /// At the end, after a quiet time: segments are whole again.
    pub async fn check_full_count(&mut self, survey: &[SegmentView]) -> anyhow::Result<()> {
        let standings: BTreeMap<_, _> =
            self.db.nodes().await?.into_iter().map(|row| (row.id, row.standing)).collect();
        for segment in survey.iter().filter(|segment| segment.is_needed()) {
            let is_good = |piece: &&PieceAt| {
                let standing = standings.get(&self.nodes[piece.node].id).map(String::as_str);
                piece.sound && piece.reachable && matches!(standing, Some("vetting" | "good"))
            };
            let good = segment.pieces.iter().filter(is_good).count();
            require(good == segment.total, &FULL_COUNT, || {
                let line = |piece: &PieceAt| {
                    let node = &self.nodes[piece.node];
                    let (bad, standing) = (node.bad_since.is_some(), &standings[&node.id]);
                    format!("\n  {piece:?}, standing {standing}, bad {bad}")
                };
                let lines: String = segment.pieces.iter().map(line).collect();
                format!("segment {} has {good} of {} pieces{lines}", segment.id, segment.total)
            })?;
        }
        Ok(())
    }

    /// What a gateway says of each file's health: at the end all are whole.
    pub async fn check_health(&mut self) -> anyhow::Result<()> {
        let gateway = self.good_gateways()[0];
        self.refresh_view(gateway).await?;
        for cid in self.files.cids(self.now()).into_keys() {
            let health: FileHealth = self.ask(gateway, &format!("/v1/files/{cid}/health")).await?;
            require(health.status == "healthy", &FULL_COUNT, || {
                format!("{cid} is said to be {}", health.status)
            })?;
        }
        Ok(())
    }

    /// At the end: nodes hold what is on record and nothing else, and have counted it right.
    pub async fn check_no_orphans(&mut self, survey: &[SegmentView]) -> anyhow::Result<()> {
        let live: BTreeSet<usize> = self.files.live(self.now()).into_iter().collect();
        require(!live.is_empty() || survey.is_empty(), &NO_ORPHANS, || {
            format!("nobody has a file and there are {} segments", survey.len())
        })?;
        for segment in survey {
            require(segment.is_needed(), &NO_ORPHANS, || {
                format!("segment {} is still there: {:?}", segment.id, segment.state)
            })?;
        }
        let mut recorded: BTreeMap<usize, BTreeSet<PieceHash>> = BTreeMap::new();
        for piece in survey.iter().flat_map(|segment| &segment.pieces) {
            recorded.entry(piece.node).or_default().insert(piece.hash);
        }
        let rows: BTreeMap<_, _> = self.db.nodes().await?.into_iter().map(|row| (row.id, row)).collect();
        for node in self
            .nodes
            .iter()
            .filter(|node| self.is_reachable(node.number) && node.behaviour == Behaviour::Honest)
        {
            let held: BTreeSet<PieceHash> =
                node.store.list(None, usize::MAX)?.into_iter().map(|line| line.hash).collect();
            let known = recorded.remove(&node.number).unwrap_or_default();
            let more = held.difference(&known).count();
            require(more == 0, &NO_ORPHANS, || {
                format!("node {} holds {more} pieces that are not on record", node.number)
            })?;
            let less = known.difference(&held).count();
            require(less == 0, &FOUND_OUT, || {
                format!("node {} lacks {less} pieces that are on record", node.number)
            })?;
            let (stats, row) = (node.store.stats(), &rows[&node.id]);
            let bytes = node.bytes_on_disk(&held)?;
            require(stats.used_bytes == bytes && stats.reserved_bytes == 0, &USAGE_EXACT, || {
                format!("node {} holds {bytes} bytes and counts {stats:?}", node.number)
            })?;
            require(row.used_bytes == bytes && row.piece_count == held.len() as u64, &USAGE_EXACT, || {
                format!(
                    "node {} holds {bytes} bytes in {} pieces, and {} in {} are on record",
                    node.number,
                    held.len(),
                    row.used_bytes,
                    row.piece_count
                )
            })?;
        }
        Ok(())
    }

    /// The ledger: sums agree, nothing is paid twice, nothing for what was not there, and what is due is paid.
    pub async fn check_ledger(&mut self) -> anyhow::Result<()> {
        let gateway = self.good_gateways()[0];
        for node in &self.nodes {
            let (number, id) = (node.number, node.id);
            let lines = self.db.ledger(id, u32::MAX).await?;
            let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
            for line in &lines {
                let sum = sums.entry(line.kind.as_str()).or_default();
                *sum = (sum.0 + line.quantity, sum.1 + line.micros);
            }
            let earned: BTreeMap<String, u64> = self.db.earned(id).await?.into_iter().collect();
            let added: BTreeMap<String, u64> =
                sums.iter().map(|(kind, sum)| ((*kind).to_string(), sum.1)).collect();
            require(earned == added, &LEDGER_ADDS_UP, || {
                format!("node {number}: {added:?} in entries, {earned:?} in sums")
            })?;
            let shown: Earnings = self.ask(gateway, &format!("/v1/nodes/{id}/earnings")).await?;
            require(shown.total_micros == added.values().sum::<u64>(), &LEDGER_ADDS_UP, || {
                format!("node {number} is shown {} and has {added:?}", shown.total_micros)
            })?;
            for (kind, (quantity, micros)) in &sums {
                let rate = match *kind {
                    "storage" => Kind::Storage,
                    "egress" => Kind::Egress,
                    "repair_egress" => Kind::RepairEgress,
                    _ => Kind::AuditEgress,
                };
                let due = pace::RATES.amount(rate, (*quantity).into())?.0;
                require(due == *micros, &LEDGER_ADDS_UP, || {
                    format!("node {number}: {quantity} {kind} come to {due}, not {micros}")
                })?;
            }
            self.check_storage_pay(number, sums.get("storage").map_or(0, |sum| sum.0))?;
            let egress: u64 = sums.iter().filter(|(kind, _)| **kind != "storage").map(|(_, sum)| sum.0).sum();
            let served = self.net.served_by(number);
            require(egress <= served, &EGRESS_SERVED, || {
                format!("node {number} is paid for {egress} bytes and can have served {served}")
            })?;
        }
        Ok(())
    }

    fn check_storage_pay(&self, number: usize, paid_byte_s: u64) -> anyhow::Result<()> {
        let had_byte_s = self.truth.byte_ms.get(&number).copied().unwrap_or(0) / 1000;
        require(u128::from(paid_byte_s) <= had_byte_s, &PAID_ONCE, || {
            format!("node {number} is paid {paid_byte_s} byte-seconds and had {had_byte_s}")
        })?;
        let node = &self.nodes[number];
        let spotless = !node.was_troubled && node.bad_since.is_none();
        let least = had_byte_s as f64 * PAID_SHARE_MIN;
        require(!spotless || paid_byte_s as f64 >= least, &PAID_ONCE, || {
            format!(
                "node {number} had {had_byte_s} byte-seconds and is paid {paid_byte_s}, though nothing ever happened to it"
            )
        })
    }
}
