//! Faults: what goes wrong, whether it may go wrong now, and doing it.
//!
//! A fault is drawn at random and carried out only within what the design promises to survive: after it every segment
//! that somebody needs can still be read, with something to spare, by everybody who is not cut off.

use std::time::Duration;

use pinner::piece_store::{Behaviour, PieceStore as _};
use protocol::time::UnixMillis;
use rand::seq::IndexedRandom as _;

use crate::{
    trouble::{Party, Side, Trouble},
    truth::SegmentView,
    world::World,
};

/// Pieces beyond `needed` that stay retrievable whatever is done on purpose.
const SPARE_PIECES: usize = 2;
/// Nodes that may be in trouble at once.
const TROUBLED_MAX: usize = 5;
/// Nodes that may turn bad (lie, forget, lose their disk) or leave in one run.
const BAD_MAX: usize = 5;

/// An honest node does not stall for longer.
const STALL_MAX: Duration = Duration::from_hours(8);

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A disk is replaced by an empty one.
    LoseDisk,
    /// Some pieces are damaged where they lie.
    Damage,
    /// A node gives altered bytes from now on.
    Lie,
    /// A node says that it stores what it throws away.
    Forget,
    /// A node stalls.
    Stall,
    /// A node answers audits and reads with errors.
    Fail,
    /// A node's line loses calls.
    Lossy,
    /// Some nodes are cut off, from everybody or from some, both ways or one way.
    Partition,
    /// Nodes crash and come back.
    Crash,
    /// A node leaves for ever.
    Leave,
    /// A gateway is killed and comes back.
    Gateway,
    /// Monitors are killed and others started.
    Monitors,
    /// A monitor, or a gateway, cannot reach most nodes: our own fault.
    OwnFault,
}

/// All kinds, the frequent ones more than once.
pub const KINDS: [Fault; 20] = [
    Fault::LoseDisk,
    Fault::Damage,
    Fault::Damage,
    Fault::Damage,
    Fault::Lie,
    Fault::Forget,
    Fault::Stall,
    Fault::Stall,
    Fault::Fail,
    Fault::Lossy,
    Fault::Lossy,
    Fault::Partition,
    Fault::Partition,
    Fault::Crash,
    Fault::Crash,
    Fault::Crash,
    Fault::Leave,
    Fault::Gateway,
    Fault::Monitors,
    Fault::OwnFault,
];

/// What ends a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heal {
    /// Troubles on the lines of these nodes are over.
    Lines(Vec<u64>, Vec<usize>),
    /// Nodes start again.
    Nodes(Vec<usize>),
    /// A gateway starts again.
    Gateway(usize),
    /// A new node joins in place of one that is gone.
    Join,
}

/// What is to be done later.
pub type Later = (UnixMillis, Heal);

impl World {
    /// Honest nodes that everybody can reach.
    pub fn good_nodes(&self) -> Vec<usize> {
        let good =
            |node: &&crate::parts::NodePart| node.bad_since.is_none() && self.is_reachable(node.number);
        self.nodes.iter().filter(good).map(|node| node.number).collect()
    }

    /// Draws some of these.
    fn some(&mut self, of: &[usize], count: usize) -> Vec<usize> {
        let mut drawn: Vec<usize> = of.sample(&mut self.rng, count.min(of.len())).copied().collect();
        drawn.sort_unstable();
        drawn
    }

    /// Minutes, hours, a day, or days.
    fn some_time(&mut self) -> Duration {
        match self.draw(8) {
            0 | 1 => Duration::from_mins(5 + self.draw(50) as u64),
            2..=4 => Duration::from_hours(1 + self.draw(6) as u64),
            5 | 6 => Duration::from_hours(8 + self.draw(20) as u64),
            _ => Duration::from_hours(30 + self.draw(90) as u64),
        }
    }

    /// How many nodes may still get into trouble: without them every segment stays readable.
    fn allowance(&self, survey: &[SegmentView]) -> usize {
        let spare = survey.iter().filter(|segment| segment.is_needed());
        let spare =
            spare.map(|segment| segment.retrievable().saturating_sub(segment.needed + SPARE_PIECES)).min();
        let in_trouble = |node: &&crate::parts::NodePart| !node.left && !self.is_reachable(node.number);
        let troubled = self.nodes.iter().filter(in_trouble).count();
        spare.unwrap_or(usize::MAX).min(TROUBLED_MAX.saturating_sub(troubled))
    }

    fn bad_nodes(&self) -> usize {
        self.nodes.iter().filter(|node| node.bad_since.is_some() || node.left).count()
    }

    /// Lets one fault of a kind happen, unless more would be lost than can be survived. Gives what ends it.
    pub async fn strike(&mut self, fault: Fault) -> anyhow::Result<Vec<Later>> {
        let survey = self.remember().await?;
        let (good, allowance) = (self.good_nodes(), self.allowance(&survey));
        let for_ever = matches!(fault, Fault::LoseDisk | Fault::Lie | Fault::Forget | Fault::Leave);
        let harmless = matches!(fault, Fault::Gateway | Fault::Monitors | Fault::OwnFault);
        if !harmless && (allowance == 0 || good.is_empty() || (for_ever && self.bad_nodes() >= BAD_MAX)) {
            self.say(format!("{fault:?}: not now"));
            return Ok(Vec::new());
        }
        let later = match fault {
            Fault::LoseDisk | Fault::Lie | Fault::Forget => self.turn_bad(fault, &good),
            Fault::Damage => self.damage(&survey),
            Fault::Stall | Fault::Fail | Fault::Lossy => self.break_line(fault, &good),
            Fault::Partition => self.partition(&good, allowance),
            Fault::Crash => self.crash(&good, allowance),
            Fault::Leave => self.leave(&good),
            Fault::Gateway => self.stop_gateway().await,
            Fault::Monitors => {
                let count = 1 + self.draw(3);
                let eagerly = self.eagerly;
                self.say(format!("monitors are killed and {count} started"));
                self.start_monitors(count, eagerly);
                Vec::new()
            }
            Fault::OwnFault => self.cut_ourselves_off(),
        };
        self.forget_views();
        // From here on something else is true: what is paid for is reckoned anew.
        self.remember().await?;
        Ok(later)
    }

    fn turn_bad(&mut self, fault: Fault, good: &[usize]) -> Vec<Later> {
        let number = self.some(good, 1)[0];
        let now = self.now();
        self.say(format!("node {number}: {fault:?}"));
        let node = &mut self.nodes[number];
        (node.bad_since, node.was_troubled) = (Some(now), true);
        match fault {
            Fault::LoseDisk => node.store.lose_everything(),
            Fault::Lie => node.behave(Behaviour::Lies),
            _ => node.behave(Behaviour::Forgets),
        }
        vec![(now + Duration::from_hours(20), Heal::Join)]
    }

    /// Flips bits in pieces of segments that can spare one.
    fn damage(&mut self, survey: &[SegmentView]) -> Vec<Later> {
        let mut pieces = Vec::new();
        for segment in survey.iter().filter(|segment| segment.is_needed()) {
            if segment.retrievable() > segment.needed + SPARE_PIECES {
                let sound = segment.pieces.iter().filter(|piece| piece.sound && piece.reachable);
                pieces.extend(sound.copied().collect::<Vec<_>>().choose(&mut self.rng).copied());
            }
        }
        let count = 1 + self.draw(4);
        let chosen: Vec<_> = pieces.sample(&mut self.rng, count.min(pieces.len())).copied().collect();
        for piece in chosen {
            let offset = self.draw(1 << 20);
            let node = &self.nodes[piece.node];
            let Ok(stored) = node.store.read(piece.hash).map(|piece| piece.stored_at()) else { continue };
            node.store.flip_bit(piece.hash, offset);
            self.nodes[piece.node].was_troubled = true;
            self.truth.damaged.insert((piece.node, piece.hash), stored);
            self.say(format!("node {}: piece {} is damaged", piece.node, &piece.hash.to_string()[..12]));
        }
        Vec::new()
    }

    fn break_line(&mut self, fault: Fault, good: &[usize]) -> Vec<Later> {
        let number = self.some(good, 1)[0];
        let party = if fault == Fault::Lossy { self.some_party(number) } else { Party::Node(number) };
        let percent = 5 + u32::try_from(self.draw(40)).unwrap_or(0);
        let trouble = match fault {
            Fault::Stall => Trouble::Stalls(party),
            Fault::Fail => Trouble::Fails(party),
            _ => Trouble::Loses { party, percent },
        };
        // A node that stalls for days is blamed, and rightly.
        let longest = if fault == Fault::Stall { STALL_MAX } else { Duration::MAX };
        let until = self.now() + self.some_time().min(longest);
        let name = self.trouble(trouble);
        if party != Party::Node(number) {
            return vec![(until, Heal::Lines(vec![name], Vec::new()))];
        }
        self.nodes[number].was_troubled = true;
        vec![(until, Heal::Lines(vec![name], vec![number]))]
    }

    /// This node, or in some cases a gateway (if another one is left) or a monitor.
    fn some_party(&mut self, node: usize) -> Party {
        let (gateways, monitors) = (self.good_gateways(), self.monitors.len());
        match self.draw(6) {
            0 if gateways.len() > 1 => Party::Gateway(gateways[self.draw(gateways.len())]),
            1 => Party::Monitor(self.draw(monitors)),
            _ => Party::Node(node),
        }
    }

    fn partition(&mut self, good: &[usize], allowance: usize) -> Vec<Later> {
        let count = 1 + self.draw(allowance.min(4));
        let island = self.some(good, count);
        let sides = match self.draw(5) {
            0 => vec![Side::Gateways],
            1 => vec![Side::Monitors],
            2 => vec![Side::Nodes],
            3 => vec![Side::Gateways, Side::Monitors],
            _ => vec![Side::Gateways, Side::Monitors, Side::Nodes, Side::Only(Party::Client)],
        };
        let ways = self.draw(4);
        let until = self.now() + self.some_time();
        let mut names = Vec::new();
        for number in &island {
            self.nodes[*number].was_troubled = true;
            let node = Side::Only(Party::Node(*number));
            for side in &sides {
                if ways != 1 {
                    names.push(self.trouble(Trouble::Cut { from: *side, to: node }));
                }
                if ways != 2 {
                    names.push(self.trouble(Trouble::Cut { from: node, to: *side }));
                }
            }
        }
        vec![(until, Heal::Lines(names, island))]
    }

    fn crash(&mut self, good: &[usize], allowance: usize) -> Vec<Later> {
        let count = 1 + self.draw(allowance.min(4));
        let crashed = self.some(good, count);
        let until = self.now() + self.some_time();
        for number in &crashed {
            self.kill_node(*number);
            if self.draw(5) == 0 {
                self.move_node(*number);
            }
        }
        self.say(format!("nodes {crashed:?} crash"));
        vec![(until, Heal::Nodes(crashed))]
    }

    fn leave(&mut self, good: &[usize]) -> Vec<Later> {
        let number = self.some(good, 1)[0];
        self.say(format!("node {number} leaves for ever"));
        self.kill_node(number);
        self.nodes[number].left = true;
        vec![(self.now() + Duration::from_hours(30), Heal::Join)]
    }

    /// One gateway stays, so that nodes can ask where blocks are.
    async fn stop_gateway(&mut self) -> Vec<Later> {
        let good = self.good_gateways();
        if good.len() < 2 {
            return Vec::new();
        }
        let number = self.some(&good, 1)[0];
        let until = self.now() + self.some_time().min(Duration::from_hours(10));
        self.say(format!("gateway {number} is killed"));
        self.kill_gateway(number).await;
        vec![(until, Heal::Gateway(number))]
    }

    fn cut_ourselves_off(&mut self) -> Vec<Later> {
        let until = self.now() + self.some_time().min(Duration::from_hours(20));
        let name = self.trouble(Trouble::Cut { from: Side::Monitors, to: Side::Nodes });
        vec![(until, Heal::Lines(vec![name], Vec::new()))]
    }

    /// Ends a fault.
    pub async fn heal(&mut self, heal: Heal) -> anyhow::Result<()> {
        match heal {
            Heal::Lines(names, nodes) => {
                for name in names {
                    self.net.end(name);
                }
                self.say(format!("lines of nodes {nodes:?} are good again"));
                self.mark_healed(&nodes);
            }
            Heal::Nodes(nodes) => {
                self.say(format!("nodes {nodes:?} come back"));
                for number in &nodes {
                    self.start_node(*number)?;
                    self.enrol(*number).await?;
                }
                self.mark_healed(&nodes);
            }
            Heal::Gateway(number) => {
                self.start_gateway(number).await?;
                self.say(format!("gateway {number} comes back"));
            }
            Heal::Join => {
                let number = self.join_node().await?;
                self.say(format!("node {number} joins"));
            }
        }
        self.forget_views();
        Ok(())
    }

    fn mark_healed(&mut self, nodes: &[usize]) {
        let now = self.now();
        for number in nodes {
            self.nodes[*number].troubled_until = now;
        }
    }
}
