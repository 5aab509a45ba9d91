//! Gateways, monitors and nodes as a world holds them: the real ones, with their jobs, and what they are made of anew from
//! after a restart.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use anyhow::Context as _;
use client::Transport;
use ed25519_dalek::SigningKey;
use gateway::{Gateway, ProbeNodes, WritePinLog};
use monitor::Monitor;
use pinner::{
    Pinner,
    directory::{Directory, WriteDirectory},
    enrol::Enrol,
    heartbeat::Heartbeat,
    identity::{NetworkKey, node_id},
    piece_store::{Behaviour, MemoryPieceStore, PieceStore as _, ReadError, proof::outboard_len},
    redeem::{FlushUsage, Redeem},
    scrub::Scrub,
    usage::Usage,
};
use protocol::{
    ids::{NodeId, PieceHash},
    time::UnixMillis,
};
use retrieval::Denylist;
use service::{
    clock::Clock,
    dice::Dice,
    job::{Job, Progress},
    signer::Signer,
};
use store::{Db, DbOptions};

use crate::{net::Net, pace, trouble::Party};

/// Head of a piece's record on disk, in bytes.
const RECORD_HEAD_BYTES: u64 = 96;
/// Steps until a job must have become idle.
const STEPS_MAX: usize = 2_000;

/// What all parts are made with.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) net: Arc<Net>,
    pub(crate) clock: Clock,
    pub(crate) network_key: SigningKey,
    pub(crate) database: String,
    pub(crate) seed: u64,
}

/// A gateway that runs.
pub(crate) struct GatewayPart {
    /// Its own handle: closed when it is killed, so that nothing is written in its name afterwards.
    pub(crate) db: Db,
    pub(crate) probe: ProbeNodes,
    pub(crate) log: WritePinLog,
    /// When its view of the nodes was last brought up to date.
    pub(crate) viewed: Option<UnixMillis>,
}

/// A monitor that runs, with its jobs.
pub(crate) struct MonitorPart {
    pub(crate) probe: monitor::Probe,
    pub(crate) audit: monitor::Audit,
    pub(crate) recheck: monitor::Recheck,
    pub(crate) sweep: monitor::Sweep,
    pub(crate) walk: monitor::Walk,
    pub(crate) repair: monitor::Repair,
    pub(crate) collect: monitor::Collect,
    pub(crate) deliver: monitor::Deliver,
    pub(crate) reconcile: monitor::Reconcile,
}

/// A node's process.
pub(crate) struct Running {
    pub(crate) enrol: Enrol,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) flush: FlushUsage,
    pub(crate) write_directory: WriteDirectory,
    pub(crate) redeem: Redeem,
    pub(crate) scrub: Scrub,
}

/// A node: its disk outlives its process.
pub(crate) struct NodePart {
    pub(crate) number: usize,
    pub(crate) id: NodeId,
    pub(crate) url: String,
    /// 1, 2 or 3, as in its address.
    pub(crate) region: u8,
    pub(crate) key: SigningKey,
    pub(crate) store: MemoryPieceStore,
    pub(crate) directory: Directory,
    pub(crate) behaviour: Behaviour,
    pub(crate) running: Option<Running>,
    pub(crate) restarts: u32,
    /// Since when it can be trusted no more (lost its disk, lies); as the world knows.
    pub(crate) bad_since: Option<UnixMillis>,
    /// Whether something ever happened to it.
    pub(crate) was_troubled: bool,
    /// It left for ever.
    pub(crate) left: bool,
    /// When it could last not be reached, or was not reachable for everybody.
    pub(crate) troubled_until: UnixMillis,
}

impl Common {
    /// A source of randomness of its own for each part, so that no part's draws depend on another's.
    pub(crate) fn dice(&self, party: Party, life: u32) -> Dice {
        let name = format!("{} {party} {life}", self.seed);
        let hash = blake3::hash(name.as_bytes());
        let mut seed = [0; 8];
        seed.copy_from_slice(&hash.as_bytes()[..8]);
        Dice::seeded(u64::from_le_bytes(seed))
    }

    pub(crate) fn transport(&self, party: Party) -> Transport {
        self.net.transport(party)
    }

    /// A handle on the database.
    pub(crate) async fn open(&self) -> anyhow::Result<Db> {
        let mut options = DbOptions::new(self.database.clone());
        options.durable = false;
        // With one reader, those that ask at the same time are answered in the order in which they asked.
        options.config.connections_max = 1;
        Db::open(&options).await.context("open the database")
    }

    /// Starts a gateway and lets it answer at `url`.
    pub(crate) async fn gateway(
        &self,
        number: usize,
        life: u32,
        url: &str,
        places: &Path,
    ) -> anyhow::Result<GatewayPart> {
        let party = Party::Gateway(number);
        let db = self.open().await?;
        let gateway = Gateway::new(gateway::Parts {
            db: db.clone(),
            transport: self.transport(party),
            network_key: self.network_key.clone(),
            admin_token: None,
            clock: self.clock.clone(),
            dice: self.dice(party, life),
            config: pace::gateway(url, places),
            redis: None,
            metrics: None,
        })?;
        self.net.listen(url, party, gateway::router(&gateway));
        Ok(GatewayPart { probe: gateway.probe_nodes(), log: gateway.write_pin_log(), db, viewed: None })
    }

    /// Starts a monitor.
    pub(crate) fn monitor(&self, db: &Db, number: usize, life: u32, eagerly: bool) -> MonitorPart {
        let party = Party::Monitor(number);
        let signer = Signer::new(self.network_key.clone(), self.clock.clone(), self.dice(party, life + 1000));
        let monitor = Monitor::new(monitor::Parts {
            id: format!("monitor-{number}-{life}"),
            db: db.clone(),
            transport: self.transport(party),
            signer,
            clock: self.clock.clone(),
            dice: self.dice(party, life),
            config: pace::monitor(eagerly),
        });
        MonitorPart {
            probe: monitor.probe(),
            audit: monitor.audit(),
            recheck: monitor.recheck(),
            sweep: monitor.sweep(),
            walk: monitor.walk(),
            repair: monitor.repair(),
            collect: monitor.collect(),
            deliver: monitor.deliver(),
            reconcile: monitor.reconcile(),
        }
    }

    /// A node that has never run.
    pub(crate) fn node(&self, number: usize) -> NodePart {
        let secret = blake3::hash(format!("{} key of node {number}", self.seed).as_bytes());
        let key = SigningKey::from_bytes(secret.as_bytes());
        let region = u8::try_from(number % 3 + 1).unwrap_or(1);
        let config = pace::node("", &[], number);
        let store = MemoryPieceStore::new(config.capacity.0);
        let directory = Directory::in_memory(&config.directory);
        NodePart {
            number,
            id: node_id(&key),
            url: node_url(region, number, 0),
            region,
            key,
            store,
            directory,
            behaviour: Behaviour::Honest,
            running: None,
            restarts: 0,
            bad_since: None,
            was_troubled: false,
            left: false,
            troubled_until: self.clock.now(),
        }
    }

    /// Starts a node's process on its disk.
    pub(crate) fn start_node(
        &self,
        node: &mut NodePart,
        gateways: &[String],
        invite: &str,
    ) -> anyhow::Result<()> {
        let party = Party::Node(node.number);
        let config = pace::node(&node.url, gateways, node.number);
        let network_key = NetworkKey::in_memory();
        if node.restarts > 0 {
            network_key.learn(self.network_key.verifying_key())?;
        }
        let usage = Usage::in_memory(&config.usage)?;
        let pinner = Pinner::new(
            pinner::Parts {
                key: node.key.clone(),
                network_key,
                store: Arc::new(node.store.clone()),
                usage,
                directory: node.directory.clone(),
                denylist: Denylist::default(),
                transport: self.transport(party),
                clock: self.clock.clone(),
                dice: self.dice(party, node.restarts),
                own_url: String::new(),
                invite: (node.restarts == 0).then(|| invite.to_string()),
            },
            config,
        );
        self.net.listen(&node.url, party, pinner.router(None));
        node.restarts += 1;
        node.running = Some(Running {
            enrol: pinner.enrol(),
            heartbeat: pinner.heartbeat(),
            flush: pinner.flush_usage(),
            write_directory: pinner.write_directory(),
            redeem: pinner.redeem(),
            scrub: pinner.scrub(),
        });
        Ok(())
    }
}

impl NodePart {
    pub(crate) fn party(&self) -> Party {
        Party::Node(self.number)
    }

    /// Changes how its store treats callers.
    pub(crate) fn behave(&mut self, behaviour: Behaviour) {
        self.behaviour = behaviour;
        self.store.set_behaviour(behaviour);
    }

    /// Whether the copy of a piece that was stored then is still on its disk, sound or not.
    pub(crate) fn still_has(&self, hash: PieceHash, stored: UnixMillis) -> bool {
        match self.store.read(hash) {
            Ok(piece) => piece.stored_at() == stored,
            Err(error) => !matches!(error, ReadError::NotFound(_)),
        }
    }

    /// What these pieces take on its disk: bytes, outboard and the head of the record of each.
    pub(crate) fn bytes_on_disk(&self, hashes: &BTreeSet<PieceHash>) -> anyhow::Result<u64> {
        let lines = self.store.list(None, usize::MAX)?;
        let held = lines.iter().filter(|line| hashes.contains(&line.hash));
        Ok(held.map(|line| line.piece_len + outboard_len(line.piece_len) + RECORD_HEAD_BYTES).sum())
    }

    /// Whether it has the piece and would give it as it is.
    pub(crate) fn holds(&self, hash: PieceHash) -> bool {
        self.behaviour != Behaviour::Lies && self.store.read(hash).is_ok()
    }
}

/// Each node in a /24 of its own, in the loopback range of its region.
pub(crate) fn node_url(region: u8, number: usize, life: u32) -> String {
    format!("http://127.{region}.{}.{}:4100", number % 250 + 1, life % 250 + 1)
}

/// Steps a job until it has nothing to do.
pub(crate) async fn run<J: Job>(job: &J) -> anyhow::Result<()> {
    for _ in 0..STEPS_MAX {
        let progress = job.step().await.with_context(|| format!("job {}", J::NAME))?;
        if progress == Progress::Idle {
            return Ok(());
        }
    }
    anyhow::bail!("job {} never becomes idle", J::NAME)
}
