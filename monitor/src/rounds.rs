//! The breaker's view: what the latest probe and visit of each node came to, and whether many fail at once.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use protocol::{
    ids::NodeId,
    repair::{BreakerRules, Failing, Hold, Round, Sighting},
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
    /// When this monitor last probed each node, and whether it was reached.
    probed: Mutex<HashMap<NodeId, (UnixMillis, bool)>>,
    /// Nodes that fail audits.
    failing: Mutex<HashMap<NodeId, Suspect>>,
    open: Mutex<Option<Hold>>,
}

/// A node that fails audits.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    failing: Failing,
    /// Whether it did so together with many others, so that it was not blamed.
    with_many: bool,
    /// Whether it has been said that it is believed now to have lost what it lost.
    said: bool,
}

impl Rounds {
    /// Notes what a visit came to, before any consequence is drawn.
    pub(crate) fn observe(&self, node: NodeId, tally: Tally, now: UnixMillis, interval: Duration) {
        self.latest.lock().insert(node, (now, tally));
        if tally.failed == 0 && tally.admitted == 0 {
            return;
        }
        let new = Suspect { failing: Failing::new(now), with_many: false, said: false };
        self.failing.lock().entry(node).or_insert(new).failing.again(now, interval);
    }

    /// Notes that a node was not blamed for its failures because many others failed too. What it fails from now on is in
    /// doubt, until it has not failed for some rounds.
    pub(crate) fn spare(&self, node: NodeId) {
        if let Some(suspect) = self.failing.lock().get_mut(&node) {
            suspect.with_many = true;
        }
    }

    /// Whether a node failed together with many others.
    pub(crate) fn is_in_doubt(&self, node: NodeId) -> bool {
        self.failing.lock().get(&node).is_some_and(|suspect| suspect.with_many)
    }

    /// Whether a node has failed for so long that its failures are a fact.
    pub(crate) fn is_fact(&self, node: NodeId, rules: &BreakerRules) -> bool {
        self.failing.lock().get(&node).is_some_and(|suspect| suspect.failing.is_fact(rules))
    }

    /// In how many rounds a node failed that was spared until now and is not any more; once for each.
    pub(crate) fn newly_believed(&self, node: NodeId, rules: &BreakerRules) -> Option<u32> {
        let mut failing = self.failing.lock();
        let suspect = failing.get_mut(&node)?;
        let newly = suspect.with_many && suspect.failing.is_fact(rules) && !suspect.said;
        suspect.said |= newly;
        newly.then(|| suspect.failing.rounds())
    }

    /// Notes whether a probe reached a node, before anything is made of it.
    pub(crate) fn probed(&self, node: NodeId, reached: bool, now: UnixMillis) {
        self.probed.lock().insert(node, (now, reached));
    }

    /// Why consequences are held back, as of the last look.
    pub(crate) fn open(&self) -> Option<Hold> {
        *self.open.lock()
    }

    /// Forgets what is older than the times given, and nodes that are not there any more.
    fn forget(&self, visits_before: UnixMillis, probes_before: UnixMillis, network: &Network) {
        let known = |node: &NodeId| network.node(*node).is_some();
        self.latest.lock().retain(|node, (at, _)| *at >= visits_before && known(node));
        self.probed.lock().retain(|node, (at, _)| *at >= probes_before && known(node));
        self.failing.lock().retain(|node, _| known(node));
    }

    fn round(&self, network: &Network, now: UnixMillis, rules: &BreakerRules) -> Round {
        let (latest, probed, failing) = (self.latest.lock(), self.probed.lock(), self.failing.lock());
        let mut round = Round::default();
        for node in network.iter() {
            let sighting = Sighting {
                offline_since: node.offline,
                heartbeat: node.heartbeat,
                // Another monitor may have reached it since.
                reached: probed.get(&node.id).map(|(at, reached)| *reached || node.contact > *at),
                visit: latest.get(&node.id).map(|(_, tally)| tally),
                failing: failing.get(&node.id).map(|suspect| &suspect.failing),
            };
            round.add(&sighting, now, rules);
        }
        round
    }
}

impl Inner {
    /// Whether consequences are to be held back now. Notes when that changes.
    pub(crate) async fn hold(&self, network: &Network) -> Option<Hold> {
        let (now, rules) = (self.clock.now(), &self.config.breaker);
        // Two intervals: the round before counts for nodes that this one has not reached yet.
        let window: Duration = self.config.audit.interval * 2;
        let interval = self.config.audit.interval;
        self.rounds.failing.lock().retain(|_, suspect| !suspect.failing.is_over(now, interval));
        self.rounds.forget(now - window, now - rules.window.max(self.config.probe.interval * 2), network);
        let hold = self.rounds.round(network, now, rules).hold(rules);
        let before = std::mem::replace(&mut *self.rounds.open.lock(), hold);
        metrics::gauge!("pinstripe_breaker_open").set(if hold.is_some() { 1.0 } else { 0.0 });
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
