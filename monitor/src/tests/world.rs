//! A network to test in: nodes, a database, a clock, and monitors on them.

use std::{sync::Arc, time::Duration};

use content::{Cid, Codec as BlockCodec, HashFn};
use erasure::{Codec, Scheme};
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    pay::Rates,
    reputation::Reputation,
    time::UnixMillis,
};
use service::{
    clock::Clock,
    dice::Dice,
    job::{Job, Progress},
};
use store::{BlockAt, Claim, Db, DbOptions, NewNode, NewPiece, NewSegment, SegmentInfo, UploadMetadata};
use tempfile::TempDir;
use testing::{FakeNetwork, FakeNode, Mode};
use transfer::{CodedPiece, Pool};

use crate::{Config, Monitor, Parts, ProbeConfig, RepairsConfig, SafetyConfig};

pub(super) const ACCOUNT: &str = "account";
pub(super) const MINUTE: Duration = Duration::from_mins(1);
pub(super) const HOUR: Duration = Duration::from_hours(1);

/// Nodes that may join later.
const FURTHER_NODES: u8 = 4;

pub(super) struct World {
    _dir: TempDir,
    pub(super) db: Db,
    pub(super) clock: Clock,
    dice: Dice,
    network: FakeNetwork,
    /// Those that have joined.
    pub(super) nodes: Vec<Arc<FakeNode>>,
    pub(super) config: Config,
}

pub(super) fn scheme() -> Scheme {
    Scheme::new(Codec::Gf8, 8, 20).unwrap()
}

/// What the tests have in common; each sets what it is about.
fn config() -> Config {
    Config {
        probe: ProbeConfig {
            interval: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            misses_max: 2,
            ..ProbeConfig::default()
        },
        repairs: RepairsConfig { spares: 1, ..RepairsConfig::default() },
        // Hours pass between monitors of a test.
        safety: SafetyConfig { away_max: Duration::from_hours(10_000), ..SafetyConfig::default() },
        // So high that small pieces and short times come to sums worth checking.
        rates: Rates { storage_per_tb_month: 1_000_000_000_000_000, ..Rates::default() },
        ..Config::default()
    }
}

impl World {
    pub(super) async fn new(nodes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = DbOptions::new(format!("sqlite://{}", dir.path().join("test.db").display()));
        options.durable = false;
        let db = Db::open(&options).await.unwrap();
        db.migrate().await.unwrap();
        // The start of a window of the online score, so that short absences fall into the one that is still open.
        let clock = Clock::sim(UnixMillis(1_700_006_400_000));
        let now = clock.now();
        db.create_account(ACCOUNT, "test", 1 << 40, now).await.unwrap();
        db.create_invite("invite", "operator", 1000, now, now + Duration::from_hours(10_000)).await.unwrap();
        db.beat(None, now, HOUR).await.unwrap();
        let mut world = Self {
            _dir: dir,
            db,
            dice: Dice::seeded(7),
            network: FakeNetwork::new(u8::try_from(nodes).unwrap() + FURTHER_NODES, clock.clone()),
            clock,
            nodes: Vec::new(),
            config: config(),
        };
        for _ in 0..nodes {
            world.add_node().await;
        }
        world
    }

    /// Enrols one more node.
    pub(super) async fn add_node(&mut self) {
        let node = self.network.nodes()[self.nodes.len()].clone();
        // It joined a while ago: no gateway has heard of it lately, unless a test says so.
        self.enrol(self.nodes.len(), node.id(), node.url().to_string()).await;
        self.nodes.push(node);
    }

    /// Lets a node join, or move to another address.
    pub(super) async fn enrol(&self, number: usize, id: NodeId, url: String) {
        let now = self.clock.now();
        let reputation = Reputation::new(now, &self.config.reputation);
        let new = NewNode {
            id,
            url,
            address: format!("10.0.{number}.1"),
            region: "eu".into(),
            country: None,
            latitude: None,
            longitude: None,
            version: "test".into(),
            capacity_bytes: 1 << 30,
            reputation: serde_json::to_string(&reputation).unwrap(),
            standing: reputation.standing.name().into(),
        };
        self.db.enrol(&new, Some("invite"), now - HOUR).await.unwrap().unwrap();
    }

    /// A monitor; each call makes another one on the same database.
    pub(super) fn monitor(&self) -> Monitor {
        Monitor::new(Parts {
            id: hex::encode(self.dice.bytes::<4>()),
            db: self.db.clone(),
            transport: self.network.transport(),
            signer: self.network.signer(),
            clock: self.clock.clone(),
            dice: self.dice.clone(),
            config: self.config.clone(),
        })
    }

    /// Codes a segment whose bytes follow from `seed`.
    pub(super) fn code(seed: u8, len: usize) -> Vec<CodedPiece> {
        let pool = Pool::new(8 << 20);
        let mut segment = pool.take(len);
        segment.vec().extend((0..=250_u8).cycle().take(len).map(|byte| byte ^ seed));
        transfer::code_segment(scheme(), segment, &pool).unwrap()
    }

    /// Stores a segment with its pieces on the given nodes, in order, and pins it.
    pub(super) async fn upload(&self, seed: u8, holders: impl IntoIterator<Item = usize>) -> SegmentId {
        let segment = self.store(seed, 40_000, holders);
        let id = segment.id;
        self.commit(segment, seed, None).await;
        id
    }

    /// Puts pieces on nodes without recording them.
    pub(super) fn store(&self, seed: u8, len: usize, holders: impl IntoIterator<Item = usize>) -> NewSegment {
        let pieces = Self::code(seed, len);
        let mut holders = holders.into_iter();
        let pieces = pieces
            .iter()
            .map(|piece| {
                let node = holders.next().map(|at| &self.nodes[at]);
                if let Some(node) = node {
                    assert_eq!(node.keep(piece.slices.concat().into()), piece.hash);
                }
                NewPiece { hash: piece.hash, node: node.map(|node| node.id()) }
            })
            .collect();
        NewSegment { id: SegmentId([seed; 16]), scheme: scheme(), length_bytes: len as u64, pieces }
    }

    /// Records a segment and a pin that needs it.
    pub(super) async fn commit(&self, segment: NewSegment, seed: u8, expires: Option<UnixMillis>) {
        let root = Self::root(seed);
        let upload = UploadMetadata {
            pin: format!("pin-{seed}"),
            account: ACCOUNT.into(),
            name: String::new(),
            root: root.clone(),
            size_bytes: segment.length_bytes,
            dag_size_bytes: segment.length_bytes,
            expires,
            claim: Claim::Pin,
            beside: None,
            blocks: [BlockAt { cid: root, segment: segment.id, offset_bytes: 0, length_bytes: 1 }].into(),
            recorded: None,
            segments: vec![segment.id],
        };
        let now = self.clock.now();
        let outcomes = self.db.commit(&[segment], &[], &[upload], now, now + HOUR).await.unwrap();
        assert_eq!(outcomes[0].committed, store::Committed::Created);
    }

    pub(super) fn root(seed: u8) -> Cid {
        Cid::of(BlockCodec::Raw, HashFn::Sha2_256, &[seed])
    }

    pub(super) fn set(&self, nodes: impl IntoIterator<Item = usize>, mode: Mode) {
        nodes.into_iter().for_each(|node| self.nodes[node].set(mode));
    }

    pub(super) async fn segment(&self, id: SegmentId) -> SegmentInfo {
        self.db.segments_info(&[id]).await.unwrap().pop().unwrap()
    }

    /// Checks that every recorded holder of a segment is another node and really holds the piece; gives their number.
    pub(super) async fn held_pieces(&self, id: SegmentId) -> usize {
        let info = self.segment(id).await;
        let mut holders: Vec<NodeId> = Vec::new();
        for piece in &info.pieces {
            let Some(id) = piece.node else { continue };
            assert!(!holders.contains(&id), "two pieces on one node");
            holders.push(id);
            let node = self.network.node(id).unwrap();
            assert!(node.piece(piece.hash).is_some(), "piece {} is not on its node", piece.index);
        }
        holders.len()
    }

    /// Index, hash and holder of the piece of a segment that a node is recorded to hold.
    pub(super) async fn piece_of(&self, id: SegmentId, node: usize) -> Option<(u8, PieceHash)> {
        let node = self.nodes[node].id();
        let info = self.segment(id).await;
        info.pieces.iter().find(|piece| piece.node == Some(node)).map(|piece| (piece.index, piece.hash))
    }

    pub(super) async fn reputation(&self, node: usize) -> Reputation {
        let row = self.db.node(self.nodes[node].id()).await.unwrap().unwrap();
        let reputation: Reputation = serde_json::from_str(&row.reputation).unwrap();
        assert_eq!(row.standing, reputation.standing.name());
        reputation
    }

    /// What a node has earned by storage, in micro-units.
    pub(super) async fn earned(&self, node: usize) -> u64 {
        self.db.earned(self.nodes[node].id()).await.unwrap().iter().map(|(_, micros)| micros).sum()
    }

    /// Details of the events of a kind, oldest first.
    pub(super) async fn events(&self, kind: &str) -> Vec<String> {
        let mut events = self.db.recent_events(10_000).await.unwrap();
        events.reverse();
        events.into_iter().filter(|event| event.kind == kind).map(|event| event.details).collect()
    }

    /// A gateway hears of a node.
    pub(super) async fn beat(&self, node: usize) {
        let beat = store::Heartbeat {
            version: "test".into(),
            capacity_bytes: 1 << 30,
            used_bytes: 0,
            free_bytes: 1 << 30,
            piece_count: 0,
        };
        assert!(self.db.heartbeat(self.nodes[node].id(), &beat, self.clock.now()).await.unwrap());
    }

    pub(super) fn puts(&self) -> usize {
        self.nodes.iter().map(|node| node.puts()).sum()
    }

    /// Lets time pass while a monitor probes.
    pub(super) async fn pass(&self, monitor: &impl Job, time: Duration, step: Duration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            self.clock.advance(step);
            run(monitor).await;
        }
    }
}

/// Steps a job until it has nothing to do.
pub(super) async fn run(job: &impl Job) {
    for _ in 0..200 {
        if job.step().await.unwrap() == Progress::Idle {
            return;
        }
    }
    panic!("the job never becomes idle");
}
