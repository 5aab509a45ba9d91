//! Rebuilding a network's metadata from what its nodes hold: into an empty database, or into an older one, to which it adds what
//! is missing.
//!
//! The order of it: every node is asked what its pieces are parts of (`inventory`); segments that the database does not know
//! are read whole, checked and recorded, known ones are brought up to date (`segments`, `read`); then pins are made as records
//! say, and roots that no record names get an account of their own (`pins`). Each step is one transaction and is not
//! repeated in vain, so that a recovery may be killed at any moment and run again.
//!
//! It believes no node: pieces are checked as every reader checks them, blocks against their CIDs, and records by the
//! network's signature. A node that says what turns out wrong is asked last (`liars`), and what it invents keeps nothing from
//! coming back and no recovery from being whole (`summary`). In memory it has `segments_at_once` segments twice over with what is known of their blocks (about
//! 150 bytes for each), a page of each list, and what the database keeps for itself.

mod inventory;
mod liars;
mod pins;
mod read;
mod segments;
mod summary;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use client::{NodeClient, Transport};
use protocol::{ids::NodeId, time::UnixMillis};
use service::{clock::Clock, dice::Dice, signer::Signer};
use store::{Db, Event};
use transfer::{Gather, GatherConfig, Peers, Pool};

pub use summary::{Summary, Unreadable};

use self::liars::Liars;

/// Bounds of a recovery.
#[derive(Clone, Debug)]
pub struct Config {
    /// Nodes that are asked for their inventory at the same time.
    pub nodes_at_once: usize,
    /// Addresses that are not asked, though the database knows them.
    pub without: BTreeSet<String>,
    /// Pieces in one page of an inventory.
    pub page: u32,
    /// Pieces that a node may list: one that lists more is left out.
    pub pieces_max: u64,
    /// How long a node may take to list them all.
    pub inventory_max: Duration,
    /// Uploads that were not finished when the database was backed up had begun at most so long before: segments that are
    /// younger may have blocks that it does not know.
    pub upload_max: Duration,
    /// Segments that are read at the same time.
    pub segments_at_once: usize,
    /// How often other pieces of a segment are tried when what was put together is not what it should be.
    pub tries: u32,
    /// How long an order to read is good.
    pub order_lifetime: Duration,
    /// How pieces are gathered.
    pub gather: GatherConfig,
    /// How long segments stay that no pin needs.
    pub orphan_delay: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nodes_at_once: 16,
            without: BTreeSet::new(),
            page: 1_000,
            pieces_max: 50_000_000,
            inventory_max: Duration::from_hours(12),
            upload_max: Duration::from_hours(48),
            segments_at_once: 2,
            tries: 64,
            order_lifetime: Duration::from_mins(10),
            gather: GatherConfig::default(),
            orphan_delay: Duration::from_hours(24),
        }
    }
}

/// What a recovery is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The database, with its schema up to date.
    pub db: Db,
    /// The way to the nodes.
    pub transport: Transport,
    /// Signs orders, and tells records of the network.
    pub signer: Signer,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub dice: Dice,
    /// Bounds.
    pub config: Config,
}

/// A recovery.
#[derive(Debug)]
pub struct Recovery {
    db: Db,
    nodes: NodeClient,
    signer: Signer,
    clock: Clock,
    dice: Dice,
    gather: Gather,
    pool: Pool,
    liars: Arc<Liars>,
    config: Config,
}

/// Where nodes that answered are. One that passes another's proof on makes two addresses of it.
type Urls = HashMap<NodeId, Vec<String>>;

impl Recovery {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { db, transport, signer, clock, dice, config } = parts;
        let nodes = NodeClient::new(transport);
        let gather = Gather::new(nodes.clone(), Peers::new(clock.clone()), config.gather.clone());
        let pool = Pool::new(64 << 20);
        let liars = Arc::default();
        Self { db, nodes, signer, clock, dice, gather, pool, liars, config }
    }

    /// Recovers what the nodes at these addresses hold, and those that the database knows. `tell` is told how far it is.
    pub async fn run(&self, urls: &[String], tell: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        let now = self.clock.now();
        let known_until = self.db.begin_recovery(now).await?;
        let urls = self.take_inventories(urls, &mut summary, tell).await?;
        anyhow::ensure!(summary.nodes > 0, "no node has answered: name some that do");
        self.rebuild_segments(&urls, known_until, &mut summary, tell).await?;
        self.read_known_log(&urls, &mut summary).await?;
        self.restore_pins(&urls, &mut summary, tell).await?;
        self.adopt_roots(&urls, &mut summary, tell).await?;
        self.look_again(&urls, &mut summary).await?;
        if summary.is_whole() {
            self.end_adoptions(&mut summary).await?;
        }
        let due = self.clock.now() + self.config.orphan_delay;
        // What is not found yet must not be taken for rubbish: another run may find it.
        summary.released = summary.is_whole();
        summary.orphans = self.db.end_recovery(summary.released, self.clock.now(), due).await?;
        self.note(&summary).await?;
        Ok(summary)
    }

    async fn note(&self, summary: &Summary) -> anyhow::Result<()> {
        let at = self.clock.now();
        let event =
            Event { at, kind: "recovered".into(), node: None, segment: None, details: summary.line() };
        self.db.record_events(&[(hex::encode(self.dice.bytes::<16>()), event)]).await?;
        Ok(())
    }

    /// What nodes hold, compared with the database, without changing anything in it: `scratch` is a database of its own for
    /// what is found.
    pub async fn look(
        &self,
        scratch: &Db,
        urls: &[String],
        tell: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        let mut all = urls.to_vec();
        all.extend(self.db.nodes().await?.into_iter().map(|node| node.url));
        let elsewhere = Self {
            db: scratch.clone(),
            nodes: self.nodes.clone(),
            signer: self.signer.clone(),
            clock: self.clock.clone(),
            dice: self.dice.clone(),
            gather: self.gather.clone(),
            pool: self.pool.clone(),
            liars: self.liars.clone(),
            config: self.config.clone(),
        };
        elsewhere.take_inventories(&all, &mut summary, tell).await?;
        elsewhere.count_segments(&self.db, &mut summary).await?;
        Ok(summary)
    }

    fn now(&self) -> UnixMillis {
        self.clock.now()
    }
}
