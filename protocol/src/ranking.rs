//! Which node a read is sent to: an order of the nodes, best first, for one key and one reader.
//!
//! Nodes are sorted by, in this order: whether they can be trusted to answer ([`Readiness`]); how far their
//! region is from the reader's, own region first; whether they are over their share of their region's load
//! (bounded load, Mirrokni, Thorup and Zadimoghaddam, 2018); and a weighted rendezvous hash of key and node
//! (Thaler and Ravishankar, 1998), so that each key has its own favourite in each region, the region's caches
//! hold different things, and a node that comes or goes moves only its own keys.
//!
//! The same inputs give the same order in every gateway: nothing is drawn at random.

use std::cmp::Ordering;

use crate::{
    ids::NodeId,
    region::{Place, Region},
    time::UnixMillis,
};

mod health;
mod rules;

pub use health::Health;
pub use rules::RankingRules;

/// What is known of a node when a read is to be routed.
#[derive(Clone, Debug)]
pub struct RouteNode {
    /// Its name.
    pub node: NodeId,
    /// Where it is.
    pub region: Region,
    /// Whether the network counts it as online at all.
    pub online: bool,
    /// Requests sent to it that are not finished.
    pub in_flight: u32,
    /// How much it can do compared with others; 1 is usual, 0 takes it out.
    pub capacity: f64,
    /// What came of earlier requests.
    pub health: Health,
}

/// How likely a node is to answer, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Readiness {
    /// Nothing speaks against it, or it is its turn to be tried again.
    Ready,
    /// It is as busy as it may be, fails often, or has just been down: only when nobody is ready.
    Strained,
    /// Offline, or failing and not yet to be tried again: only when there is nobody else.
    Down,
}

/// One place of the order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Index into the nodes that were ranked.
    pub index: usize,
    /// How likely it is to answer.
    pub readiness: Readiness,
    /// Distance of its region from the reader in kilometres; 0 in the reader's own region, infinite if
    /// unknown.
    pub distance_km: f64,
    /// Whether it has more than its share of its region's load.
    pub over_share: bool,
    score: f64,
}

/// Orders `nodes` for `reader` and `key` (the bytes of a CID), best first.
pub fn rank(
    key: &[u8],
    reader: &Place,
    nodes: &[RouteNode],
    now: UnixMillis,
    rules: &RankingRules,
) -> Vec<Ranked> {
    let mut out = Vec::with_capacity(nodes.len());
    rank_into(key, reader, nodes, now, rules, &mut out);
    out
}

/// [`rank`] into a list that is used again: it is cleared first, and nothing is allocated once it is long
/// enough.
pub fn rank_into(
    key: &[u8],
    reader: &Place,
    nodes: &[RouteNode],
    now: UnixMillis,
    rules: &RankingRules,
    out: &mut Vec<Ranked>,
) {
    out.clear();
    let key = key_seed(key);
    let regions = Regions::new(reader, nodes);
    for (index, node) in nodes.iter().enumerate() {
        let region = regions.of(node.region);
        let mixed = mix(key ^ node_seed(&node.node));
        let success = node.health.success(now, rules);
        let readiness = node.readiness(success, mixed, now, rules);
        let weight = node.health.weight(success, now, rules) * node.capacity.max(0.0);
        out.push(Ranked {
            index,
            readiness,
            distance_km: region.distance_km,
            over_share: node.in_flight >= rules.load_free && !region.has_room(node, rules),
            score: rendezvous(mixed, weight),
        });
    }
    out.sort_unstable_by(Ranked::before);
}

impl Ranked {
    fn before(&self, other: &Self) -> Ordering {
        self.readiness
            .cmp(&other.readiness)
            .then(self.distance_km.total_cmp(&other.distance_km))
            .then(self.over_share.cmp(&other.over_share))
            .then(other.score.total_cmp(&self.score))
            .then(self.index.cmp(&other.index))
    }
}

impl RouteNode {
    fn readiness(&self, success: f64, mixed: u64, now: UnixMillis, rules: &RankingRules) -> Readiness {
        if !self.online || self.capacity.is_nan() || self.capacity <= 0.0 {
            return Readiness::Down;
        }
        let full = self.in_flight >= rules.in_flight_max;
        let least = if full { Readiness::Strained } else { Readiness::Ready };
        self.health.readiness(success, mixed, now, rules).max(least)
    }
}

/// The load of one region, and how far it is.
#[derive(Clone, Copy)]
struct RegionLoad {
    region: Region,
    distance_km: f64,
    in_flight: f64,
    capacity: f64,
}

impl RegionLoad {
    /// Whether one more request leaves the node at or under its share of the region's load, with some slack.
    fn has_room(&self, node: &RouteNode, rules: &RankingRules) -> bool {
        let share = node.capacity / self.capacity.max(f64::MIN_POSITIVE);
        let bound = ((1.0 + rules.load_slack) * (self.in_flight + 1.0) * share).ceil();
        f64::from(node.in_flight) + 1.0 <= bound
    }
}

/// How many regions are told apart; all further ones share the last place.
const REGIONS_MAX: usize = 32;

/// The regions of the nodes at hand; on the stack, because a gateway ranks tens of thousands of times a
/// second.
struct Regions {
    list: [RegionLoad; REGIONS_MAX],
    len: usize,
}

impl Regions {
    fn new(reader: &Place, nodes: &[RouteNode]) -> Self {
        let own = RegionLoad { region: reader.region, distance_km: 0.0, in_flight: 0.0, capacity: 0.0 };
        let mut regions = Self { list: [own; REGIONS_MAX], len: 1 };
        let from = reader.point();
        for node in nodes {
            let mut at = regions.position(node.region);
            if at == regions.len {
                let km = from.zip(node.region.centroid()).map(|(from, to)| from.distance_km(to));
                // Nothing is as near as the reader's own region, even from just behind its border.
                let distance_km = km.map_or(f64::INFINITY, |km| km.max(1.0));
                at = at.min(REGIONS_MAX - 1);
                regions.list[at] = RegionLoad { region: node.region, distance_km, ..own };
                regions.len = at + 1;
            }
            // A node that is not there carries nothing, and its capacity is not there to be shared.
            if node.online {
                regions.list[at].in_flight += f64::from(node.in_flight);
                regions.list[at].capacity += node.capacity.max(0.0);
            }
        }
        regions
    }

    /// Index of the region, or how many there are.
    fn position(&self, region: Region) -> usize {
        self.list[..self.len].iter().position(|load| load.region == region).unwrap_or(self.len)
    }

    fn of(&self, region: Region) -> &RegionLoad {
        &self.list[self.position(region).min(self.len - 1)]
    }
}

/// Mixes 64 bits so that each bit of the result depends on all of them; a bijection. (The finalizer of
/// `SplitMix64`: Steele, Lea and Flood, 2014, with the constants of Stafford's variant 13.)
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn key_seed(key: &[u8]) -> u64 {
    key.chunks(8).fold(key.len() as u64, |seed, part| {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        mix(seed ^ u64::from_le_bytes(word))
    })
}

fn node_seed(node: &NodeId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&node.0[..8]);
    u64::from_le_bytes(first)
}

/// Score of weighted rendezvous hashing: the node with the highest one wins a share of the keys that is its
/// share of the weights (Schindelhauer and Schomaker, 2005, logarithmic method).
fn rendezvous(mixed: u64, weight: f64) -> f64 {
    // 53 bits, in the middle between two steps: never 0 and never 1.
    let uniform = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    weight / -uniform.ln()
}

#[cfg(test)]
mod tests;
