//! The breaker's view: what the latest visit of each node came to, and whether many fail at once.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use protocol::{
    ids::NodeId,
    repair::{Hold, Round},
    reputation::Tally,
    time::UnixMillis,
};

use crate::{
    events::{Kind, Note},
    monitor::Inner,
    network::Network,
};

/// The latest visits of this monitor; as many as there are nodes. A monitor that has just started knows of none.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    latest: Mutex<HashMap<NodeId, (UnixMillis, Tally)>>,
    open: Mutex<Option<Hold>>,
}

impl Rounds {
    /// Notes what a visit came to, before any consequence is drawn.
    pub(crate) fn observe(&self, node: NodeId, tally: Tally, now: UnixMillis) {
        self.latest.lock().insert(node, (now, tally));
    }

    /// Why consequences are held back, as of the last look.
    pub(crate) fn open(&self) -> Option<Hold> {
        *self.open.lock()
    }

    fn forget(&self, before: UnixMillis, network: &Network) {
        self.latest.lock().retain(|node, (at, _)| *at >= before && network.node(*node).is_some());
    }
}

impl Inner {
    /// Whether consequences are to be held back now. Notes when that changes.
    pub(crate) async fn hold(&self, network: &Network) -> Option<Hold> {
        let (now, rules) = (self.clock.now(), &self.config.breaker);
        // Two intervals: the round before counts for nodes that this one has not reached yet.
        let window: Duration = self.config.audit.interval * 2;
        self.rounds.forget(now - window, network);
        let round = {
            let latest = self.rounds.latest.lock();
            let mut round = Round::default();
            for node in network.iter() {
                let visit = latest.get(&node.id).map(|(_, tally)| tally);
                round.add(node.offline, visit, now, rules);
            }
            round
        };
        let hold = round.hold(rules);
        let before = std::mem::replace(&mut *self.rounds.open.lock(), hold);
        metrics::gauge!("breaker_open").set(if hold.is_some() { 1.0 } else { 0.0 });
        match (before, hold) {
            (None, Some(hold)) => {
                let details = format!("{hold}: nobody is blamed, only urgent repairs go on");
                self.note(vec![Note::new(Kind::BreakerOpen, details)]).await;
            }
            (Some(_), None) => self.note(vec![Note::new(Kind::BreakerClosed, "back to normal")]).await,
            _ => {}
        }
        hold
    }
}
