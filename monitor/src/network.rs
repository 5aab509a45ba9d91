//! The nodes as the rules see them: read from the database once per step, so that one step decides on one picture.

use std::{
    collections::{BTreeMap, HashSet},
    net::{IpAddr, Ipv4Addr},
};

use protocol::{
    ids::NodeId,
    placement::{Candidate, Holder, Net, Operator},
    region::Region,
    repair::{PieceView, SegmentHealth, classify},
    reputation::{Reputation, Standing},
    time::UnixMillis,
};
use store::{NodeRow, SegmentInfo};

use crate::{Config, monitor::Inner, reputation};

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) url: String,
    pub(crate) offline: Option<UnixMillis>,
    /// When a monitor last reached it, and when it last told a gateway that it is there.
    pub(crate) contact: UnixMillis,
    pub(crate) heartbeat: UnixMillis,
    pub(crate) standing: Standing,
    /// Weight in the draw for new pieces.
    weight: f64,
    free_bytes: u64,
    net: Net,
    operator: Operator,
    region: Region,
}

/// All nodes, in order, so that a simulation with the same seed takes the same course.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    nodes: BTreeMap<NodeId, Node>,
}

impl Node {
    fn new(row: NodeRow, config: &Config) -> Self {
        let reputation: Reputation = reputation::of(&row, &config.reputation);
        // An address that cannot be read shares its net with all such: the careful guess.
        let address: IpAddr = row.address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Self {
            id: row.id,
            url: row.url,
            offline: row.offline,
            contact: row.contact,
            heartbeat: row.heartbeat,
            standing: reputation.standing,
            weight: reputation.placement_weight(&config.reputation),
            free_bytes: row.free_bytes,
            net: Net::of(address),
            operator: Operator::of(&row.operator),
            region: row.region.parse().unwrap_or_else(|_| unknown_region()),
        }
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            node: self.id,
            net: self.net,
            operator: self.operator,
            region: self.region,
            free_bytes: self.free_bytes,
            score: if self.offline.is_some() { 0.0 } else { self.weight },
        }
    }

    fn holder(&self) -> Holder {
        Holder { node: self.id, net: self.net, operator: self.operator, region: self.region }
    }
}

fn unknown_region() -> Region {
    "unknown".parse().expect("a lower-case word of seven letters is a region name")
}

impl Network {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// How many nodes can be counted on: what a repair's urgency is reckoned with.
    fn trusted(&self) -> u32 {
        let trusted = self.nodes.values().filter(|node| node.standing.is_trusted()).count();
        u32::try_from(trusted).unwrap_or(u32::MAX)
    }

    /// Nodes that could take a piece of the segment: online, trusted, with space, and not recorded to hold one of its
    /// pieces, be it one that does not count any more.
    pub(crate) fn homes(&self, info: &SegmentInfo) -> Vec<Candidate> {
        let piece_len = info.scheme.layout(info.length_bytes).piece_len();
        let taken: HashSet<NodeId> = info.pieces.iter().filter_map(|piece| piece.node).collect();
        self.nodes
            .values()
            .filter(|node| !taken.contains(&node.id))
            .map(Node::candidate)
            .filter(|candidate| candidate.score > 0.0 && candidate.free_bytes >= piece_len)
            .collect()
    }

    /// The holders of these pieces, for placement.
    pub(crate) fn holders(&self, nodes: impl Iterator<Item = NodeId>) -> Vec<Holder> {
        nodes.filter_map(|id| self.nodes.get(&id)).map(Node::holder).collect()
    }

    /// The pieces of a segment as the rules see them.
    pub(crate) fn pieces(&self, info: &SegmentInfo) -> Vec<PieceView> {
        let view = |piece: &store::SegmentPiece| {
            let node = piece.node.and_then(|id| self.nodes.get(&id));
            PieceView {
                index: piece.index,
                pinned: node.is_some(),
                standing: node.map_or(Standing::Disqualified, |node| node.standing),
                offline_since: node.and_then(|node| node.offline),
            }
        };
        info.pieces.iter().map(view).collect()
    }

    /// The health of a segment under the usual rules, and whether it is to be repaired (which eager repair decides
    /// differently).
    pub(crate) fn health(&self, info: &SegmentInfo, now: UnixMillis, config: &Config) -> Assessed {
        let redundancy = config.redundancy.of(info.scheme.needed(), info.scheme.total());
        let pieces = self.pieces(info);
        let health = classify(&pieces, redundancy, now, &config.repair);
        let days = health.expected_days_to_loss(self.trusted(), &config.repair);
        if config.repairs.eagerly && !health.needs_repair() {
            let eager =
                protocol::redundancy::Redundancy { repair: redundancy.total.saturating_sub(1), ..redundancy };
            let eager = SegmentHealth { redundancy: eager, ..health };
            // Without a home it would wait in the queue for nothing that the usual rules ask for.
            if eager.needs_repair() && !self.homes(info).is_empty() {
                return Assessed { health: eager, due: Due::Eager, days };
            }
        }
        let due = if health.needs_repair() { Due::Yes } else { Due::No };
        Assessed { health, due, days }
    }
}

/// Whether a repair is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    No,
    /// Above the threshold, but a node is spare.
    Eager,
    Yes,
}

/// A segment that was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assessed {
    pub(crate) health: SegmentHealth,
    pub(crate) due: Due,
    /// Expected days until it is lost.
    pub(crate) days: f64,
}

impl Inner {
    /// Reads all nodes.
    pub(crate) async fn network(&self) -> anyhow::Result<Network> {
        let rows = self.db.nodes().await?;
        let nodes = rows.into_iter().map(|row| (row.id, Node::new(row, &self.config))).collect();
        Ok(Network { nodes })
    }
}
