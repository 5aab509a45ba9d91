//! The parts of a monitor, and the jobs made of them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use client::{NodeClient, Transport};
use protocol::pay::Rates;
use service::{clock::Clock, dice::Dice, signer::Signer};
use store::Db;
use transfer::{Gather, Peers, Spreader};

use crate::{
    Audit, Collect, Config, Deliver, Probe, Recheck, Reconcile, Repair, Sweep, Walk, recheck::Contained,
    rounds::Rounds, safety::Beats,
};

/// What a monitor is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Its name among the monitors; random is fine.
    pub id: String,
    /// The database.
    pub db: Db,
    /// The way to the nodes.
    pub transport: Transport,
    /// Signs orders.
    pub signer: Signer,
    /// The only source of time.
    pub clock: Clock,
    /// The only source of randomness.
    pub dice: Dice,
    /// All numbers.
    pub config: Config,
}

/// A monitor. It does nothing by itself: its jobs do, one step at a time.
#[derive(Clone, Debug)]
pub struct Monitor {
    inner: Arc<Inner>,
}

/// What the jobs share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: String,
    pub(crate) db: Db,
    pub(crate) nodes: NodeClient,
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) config: Config,
    /// It can change while the monitor runs.
    pub(crate) rates: ArcSwap<Rates>,
    pub(crate) gather: Gather,
    pub(crate) spreader: Spreader,
    pub(crate) rounds: Rounds,
    pub(crate) contained: Contained,
    pub(crate) beats: Beats,
}

impl Monitor {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { id, db, transport, signer, clock, dice, config } = parts;
        let nodes = NodeClient::new(transport);
        let peers = Peers::new(clock.clone());
        let gather = Gather::new(nodes.clone(), peers.clone(), config.gather.clone());
        let spreader = Spreader::new(nodes.clone(), signer.clone(), peers, config.spread.clone());
        let inner = Inner {
            id,
            db,
            nodes,
            signer,
            clock,
            dice,
            gather,
            spreader,
            rounds: Rounds::default(),
            contained: Contained::new(config.visits.contained_per_node),
            rates: ArcSwap::from_pointee(config.rates),
            beats: Beats::default(),
            config,
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Notices nodes that went or came back.
    pub fn probe(&self) -> Probe {
        Probe::new(self.inner.clone())
    }

    /// Challenges nodes and draws the consequences.
    pub fn audit(&self) -> Audit {
        Audit::new(self.inner.clone())
    }

    /// Checks contained pieces whole.
    pub fn recheck(&self) -> Recheck {
        Recheck::new(self.inner.clone())
    }

    /// Queues segments with pieces on nodes that went.
    pub fn sweep(&self) -> Sweep {
        Sweep::new(self.inner.clone())
    }

    /// Looks at every segment now and then.
    pub fn walk(&self) -> Walk {
        Walk::new(self.inner.clone())
    }

    /// Rebuilds pieces.
    pub fn repair(&self) -> Repair {
        Repair::new(self.inner.clone())
    }

    /// Ends pins, removes dead segments, trims events.
    pub fn collect(&self) -> Collect {
        Collect::new(self.inner.clone())
    }

    /// Tells nodes what they may drop.
    pub fn deliver(&self) -> Deliver {
        Deliver::new(self.inner.clone())
    }

    /// Finds pieces on nodes that are recorded nowhere.
    pub fn reconcile(&self) -> Reconcile {
        Reconcile::new(self.inner.clone())
    }
}
