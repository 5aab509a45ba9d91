//! Which nodes get the pieces of a segment.
//!
//! Nodes are drawn at random, weighted by their score, under rules that keep one fault from taking many
//! pieces: pieces of one segment go to distinct nodes always, and to distinct nets, operators and spread-out
//! regions as far as the nodes there are allow it. When they do not, the rules give way in this order: the
//! cap per region, then one piece per operator, then one piece per net; and each gives way evenly (two
//! operators get ten pieces each, not nineteen and one). A node that already holds a piece of the segment is
//! never chosen.
//!
//! The draw is a race of exponential clocks (Efraimidis and Spirakis, 2006): candidate `i` arrives at `-ln(u)
//! / score`, and going through the arrivals in order is drawing without replacement with those weights, also
//! when some arrivals are turned away.

use std::{cmp::Reverse, collections::BinaryHeap, net::IpAddr};

use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

use crate::{ids::NodeId, region::Region};

/// The network that an address is in: one site, as a rule. IPv4 /24 or IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Net {
    /// The first three bytes of an IPv4 address.
    V4([u8; 3]),
    /// The first eight bytes of an IPv6 address.
    V6([u8; 8]),
}

impl Net {
    /// The net of an address. An IPv4 address written as IPv6 counts as IPv4.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let mut first = [0; 8];
                first.copy_from_slice(&v6.octets()[..8]);
                Self::V6(first)
            }
        }
    }
}

/// Who runs a node: the first 64 bits of the BLAKE3 hash of the operator's name or account.
///
/// Two operators that share a number by chance are only kept apart from each other's pieces, which does no
/// harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Operator(pub u64);

impl Operator {
    /// The number of this name or account id.
    pub fn of(name: &str) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..8]);
        Self(u64::from_le_bytes(first))
    }
}

/// A node that already holds a piece of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub node: NodeId,
    /// The net of its address.
    pub net: Net,
    /// Who runs it.
    pub operator: Operator,
    /// Where it is.
    pub region: Region,
}

/// A node that might take a piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub node: NodeId,
    /// The net of its address.
    pub net: Net,
    /// Who runs it.
    pub operator: Operator,
    /// Where it is.
    pub region: Region,
    /// How many bytes it can still take.
    pub free_bytes: u64,
    /// Its weight in the draw, 0..=1; at 0 (or not a number) it is never drawn.
    pub score: f64,
}

impl Candidate {
    /// Whether it may be drawn at all. (A score that is not a number is not above zero either.)
    fn can_take(&self, piece_len: u64) -> bool {
        self.score > 0.0 && self.free_bytes >= piece_len
    }
}

/// What to choose nodes for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// How many nodes are wanted.
    pub wanted: usize,
    /// How many more to name behind them, for when a wanted one fails.
    pub spares: usize,
    /// Length of a piece in bytes: the space a node must have.
    pub piece_len: u64,
    /// The nodes that hold pieces of the segment and keep them.
    pub holders: &'a [Holder],
}

/// A candidate in the race. `in_net`, `in_operator` and `in_region` count the pieces already there.
#[derive(Clone, Copy)]
struct Racer {
    arrival: u64,
    index: usize,
    in_net: u16,
    in_operator: u16,
    in_region: u16,
    /// Whether the node has a piece already. (The list may name it twice.)
    has_one: bool,
}

/// How badly a choice breaks the rules; smaller is better, and the first field counts most.
type Offence = (u16, u16, u16);

/// Draws distinct nodes for the pieces of a segment; returns indices into `candidates`.
///
/// The first `wanted` are for the pieces, the others are spares, all in the order in which they were drawn:
/// earlier ones keep the rules better. There are fewer of them when fewer nodes can take a piece; whether
/// that is enough is up to the caller.
///
/// It takes one pass over the candidates and a heap of their arrivals. Only if the rules have to give way, or
/// turn very many away, each further choice is another pass.
pub fn choose(candidates: &[Candidate], request: &Request<'_>, rng: &mut (impl Rng + ?Sized)) -> Vec<usize> {
    let mut race = race(candidates, request, rng);
    let goal = request.wanted.saturating_add(request.spares).min(race.len());
    let mut draw = Draw::new(candidates, request);
    let mut turned_away = Vec::new();
    while draw.chosen.len() < goal
        && turned_away.len() <= TURNED_AWAY_PER_CHOICE * goal
        && let Some(Reverse((arrival, index))) = race.pop()
    {
        let racer = draw.enter(arrival, index);
        if !racer.has_one && draw.offence(&racer) == (0, 0, 0) {
            draw.take(index);
        } else {
            turned_away.push((arrival, index));
        }
    }
    if draw.chosen.len() < goal {
        turned_away.extend(race.into_iter().map(|Reverse(racer)| racer));
        let rest = turned_away.into_iter().map(|(arrival, index)| draw.enter(arrival, index)).collect();
        draw.give_way(rest, goal);
    }
    draw.chosen
}

/// With more arrivals turned away than this, passes over the rest are cheaper than taking them from the heap
/// one by one.
const TURNED_AWAY_PER_CHOICE: usize = 16;

/// Arrival times of all that may be drawn at all. The bits of positive floats order like the floats.
fn race(
    candidates: &[Candidate],
    request: &Request<'_>,
    rng: &mut (impl Rng + ?Sized),
) -> BinaryHeap<Reverse<(u64, usize)>> {
    let mut holders: Vec<NodeId> = request.holders.iter().map(|holder| holder.node).collect();
    holders.sort_unstable();
    let mut arrivals = Vec::with_capacity(candidates.len());
    for (index, candidate) in candidates.iter().enumerate() {
        if !candidate.can_take(request.piece_len) || holders.binary_search(&candidate.node).is_ok() {
            continue;
        }
        // 1 - [0, 1) is never 0, so the logarithm is finite.
        let uniform: f64 = 1.0 - rng.random::<f64>();
        let arrival = (-uniform.ln() / candidate.score).max(0.0);
        arrivals.push(Reverse((arrival.to_bits(), index)));
    }
    BinaryHeap::from(arrivals)
}

struct Draw<'a> {
    candidates: &'a [Candidate],
    /// Where there is a piece: the holders and those chosen.
    placed: Vec<Holder>,
    wanted: usize,
    /// Pieces per region while those wanted are drawn, and while the spares are.
    region_caps: [u16; 2],
    chosen: Vec<usize>,
}

impl<'a> Draw<'a> {
    fn new(candidates: &'a [Candidate], request: &Request<'_>) -> Self {
        let placed = request.holders.to_vec();
        let mut regions: Vec<Region> = Vec::new();
        let able = candidates.iter().filter(|candidate| candidate.can_take(request.piece_len));
        for region in able.map(|candidate| candidate.region).chain(placed.iter().map(|holder| holder.region))
        {
            if !regions.contains(&region) {
                regions.push(region);
            }
        }
        let cap = |total: usize| u16::try_from(total.div_ceil(regions.len().max(1))).unwrap_or(u16::MAX);
        let total = request.wanted.saturating_add(placed.len());
        let region_caps = [cap(total), cap(total.saturating_add(request.spares))];
        Self { candidates, placed, wanted: request.wanted, region_caps, chosen: Vec::new() }
    }

    fn enter(&self, arrival: u64, index: usize) -> Racer {
        let candidate = &self.candidates[index];
        let mut racer = Racer { arrival, index, in_net: 0, in_operator: 0, in_region: 0, has_one: false };
        for placed in &self.placed {
            racer.count(candidate, placed);
        }
        racer
    }

    fn offence(&self, racer: &Racer) -> Offence {
        let cap = self.region_caps[usize::from(self.chosen.len() >= self.wanted)];
        let over = racer.in_region.saturating_add(1).saturating_sub(cap);
        (racer.in_net, racer.in_operator, over)
    }

    fn take(&mut self, index: usize) -> Holder {
        let Candidate { node, net, operator, region, .. } = self.candidates[index];
        let holder = Holder { node, net, operator, region };
        self.placed.push(holder);
        self.chosen.push(index);
        holder
    }

    /// Goes on with those that broke a rule: always the one that breaks them least, the earliest of several.
    fn give_way(&mut self, mut rest: Vec<Racer>, goal: usize) {
        while self.chosen.len() < goal {
            let free = (0..rest.len()).filter(|&at| !rest[at].has_one);
            let best = free.min_by_key(|&at| (self.offence(&rest[at]), rest[at].arrival));
            let Some(best) = best else { return };
            let taken = self.take(rest.swap_remove(best).index);
            for racer in &mut rest {
                racer.count(&self.candidates[racer.index], &taken);
            }
        }
    }
}

impl Racer {
    fn count(&mut self, candidate: &Candidate, placed: &Holder) {
        self.in_net = self.in_net.saturating_add(u16::from(candidate.net == placed.net));
        self.in_operator = self.in_operator.saturating_add(u16::from(candidate.operator == placed.operator));
        self.in_region = self.in_region.saturating_add(u16::from(candidate.region == placed.region));
        self.has_one |= candidate.node == placed.node;
    }
}

#[cfg(test)]
mod tests;
