//! Audits from end to end: a signed order, a batch of challenges over HTTP, proofs from the node's disk, every one
//! verified. The same calls as a monitor's, without its records and consequences.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use client::{NodeClient, Timeouts, Transport};
use protocol::{
    api::ListedPiece,
    audit::{Batch, Challenge, Outcome, Reply, Verdict, judge},
    ids::NodeId,
    order::Action,
};
use rand::{Rng, RngExt as _};
use service::{clock::Clock, dice::Dice, secrets::read_network_key, signer::Signer};
use tokio::task::JoinSet;

use crate::{
    cpu::Cpu,
    load::drive,
    pattern::Pattern,
    rows::{Bench, ratio, size},
    table::{Row, Runs},
    wire::get,
};

/// Nodes visited at the same time.
const AT_ONCE: usize = 8;
/// Challenges in a visit: what monitors are set to.
const BATCH: usize = 100;
const LIFETIME: Duration = Duration::from_mins(5);
const TIMEOUT: Duration = Duration::from_secs(15);
const LIST_MAX: u32 = 5000;

/// A node and what it holds.
#[derive(Debug)]
struct Holder {
    id: NodeId,
    url: String,
    pieces: Vec<ListedPiece>,
    /// For each piece the bytes of all up to its end: monitors draw by size.
    ends: Vec<u64>,
}

impl Holder {
    fn new(id: NodeId, url: &str, pieces: Vec<ListedPiece>) -> Self {
        let ends = pieces.iter().scan(0, |end, piece| {
            *end += piece.bytes;
            Some(*end)
        });
        let ends = ends.collect();
        Self { id, url: url.to_string(), pieces, ends }
    }

    fn bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// A piece, the more likely the longer it is.
    fn draw(&self, rng: &mut impl Rng) -> &ListedPiece {
        let byte = rng.random_range(0..self.bytes().max(1));
        let at = self.ends.partition_point(|end| *end <= byte);
        &self.pieces[at.min(self.pieces.len() - 1)]
    }
}

#[derive(Clone, Debug)]
struct Auditor {
    signer: Signer,
    nodes: NodeClient,
}

pub(super) async fn audits(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let network = &bench.network;
    // Whatever rows ran before, there are small pieces and large ones.
    network.files.upload(Pattern::new(bench.sizes.cold_bytes)).await?;
    network.files.upload(Pattern::new(1 << 10)).await?;
    let auditor = Auditor::new(bench)?;
    let mut holders = Vec::new();
    for node in &network.file.nodes {
        holders.push(auditor.holder(node.id.parse().context("a node's id")?, &node.url).await?);
    }
    let holders: Arc<[Holder]> = holders.into();
    let mean = mean_drawn(&holders);
    let (mut rates, mut trips, mut cpu, mut audited) = (Runs::default(), Runs::default(), Cpu::default(), 0);
    for _ in 0..bench.sizes.runs {
        let request = get("/empty", "");
        let plan = bench.sizes.plan(AT_ONCE);
        trips.push(drive(plan, bench.server.address, 200, move |_| request.clone()).await?.per_second());
        let (before, started) = (Cpu::now(network), Instant::now());
        let passed = auditor.run(&holders, bench.sizes.load_time).await?;
        rates.push(passed as f64 / started.elapsed().as_secs_f64());
        cpu = cpu.plus(Cpu::now(network).since(before));
        audited += passed;
    }
    Ok(vec![Row {
        name: format!(
            "audits, verified; {BATCH} in a visit, {AT_ONCE} visits at once; mean piece drawn {}",
            size(mean)
        ),
        measured: rates.show("a second"),
        baseline: format!("HTTP round trips without proofs {}", trips.show("a second")),
        ratio: format!("{} of trips", ratio(rates.median(), trips.median())),
        budget: "10,000/s (moonshot 18,000)".into(),
        cpu: cpu.per_request(audited),
    }])
}

/// Mean length of a piece that is drawn by size.
fn mean_drawn(holders: &[Holder]) -> u64 {
    let pieces = || holders.iter().flat_map(|holder| &holder.pieces).map(|piece| u128::from(piece.bytes));
    let mean = pieces().map(|bytes| bytes * bytes).sum::<u128>() / pieces().sum::<u128>().max(1);
    u64::try_from(mean).unwrap_or(u64::MAX)
}

impl Auditor {
    /// Signs with the network's own key, which lies in its directory.
    fn new(bench: &Bench) -> anyhow::Result<Self> {
        let path = bench.network.dir.join("network.key");
        let key = read_network_key(&path)?;
        let signer = Signer::new(key.value, Clock::System, Dice::System);
        Ok(Self { signer, nodes: NodeClient::new(Transport::http(Timeouts::default())?) })
    }

    async fn holder(&self, id: NodeId, url: &str) -> anyhow::Result<Holder> {
        let order = self.signer.order(id, Action::List, 0, LIFETIME);
        let pieces = self.nodes.list(url, &order, None, LIST_MAX).await?;
        ensure!(!pieces.is_empty(), "node {id} holds nothing");
        Ok(Holder::new(id, url, pieces))
    }

    /// Visits nodes in turn for `time`; gives how many challenges passed, and fails when any did not.
    async fn run(&self, holders: &Arc<[Holder]>, time: Duration) -> anyhow::Result<u64> {
        let (started, mut visitors) = (Instant::now(), JoinSet::new());
        for first in 0..AT_ONCE {
            let (auditor, holders) = (self.clone(), holders.clone());
            visitors.spawn(async move {
                let mut passed = 0;
                for visit in 0.. {
                    if started.elapsed() >= time {
                        break;
                    }
                    passed += auditor.visit(&holders[(first + visit * AT_ONCE) % holders.len()]).await?;
                }
                anyhow::Ok(passed)
            });
        }
        let mut passed = 0;
        while let Some(visitor) = visitors.join_next().await {
            passed += visitor.context("a visitor ended")??;
        }
        Ok(passed)
    }

    async fn visit(&self, holder: &Holder) -> anyhow::Result<u64> {
        let batch = {
            let mut rng = rand::rng();
            let challenges = (0..BATCH).map(|_| {
                let piece = holder.draw(&mut rng);
                Challenge { hash: piece.hash, piece_len: piece.bytes }
            });
            Batch { challenges: challenges.collect(), nonce: rng.random() }
        };
        let body = batch.encode()?;
        let answer_max = batch.answers_len_max();
        let action = Action::Audit(*blake3::hash(&body).as_bytes());
        let order = self.signer.order(holder.id, action, answer_max as u64, LIFETIME);
        let answer: Bytes = self.nodes.audit(&holder.url, &order, body.into(), answer_max, TIMEOUT).await?;
        let outcome = judge(&batch, Reply::Body(&answer));
        let Outcome::Answered(verdicts) = &outcome else { anyhow::bail!("node {}: {outcome:?}", holder.id) };
        let passed = verdicts.iter().filter(|verdict| **verdict == Verdict::Passed).count();
        ensure!(passed == BATCH, "node {}: {passed} of {BATCH} challenges passed", holder.id);
        Ok(passed as u64)
    }
}
