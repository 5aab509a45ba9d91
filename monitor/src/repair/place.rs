//! Where a repair reads from and where it stores.

use std::collections::HashSet;

use client::PieceOrder;
use protocol::{
    ids::NodeId,
    order::{Action, Purpose},
    placement::{self, Candidate},
    proof,
    repair::RepairPlan,
};
use store::SegmentInfo;
use transfer::{PieceSource, SegmentSource, Target};

use crate::{monitor::Inner, network::Network};

/// The pieces that can be read, with leave to read them whole.
pub(super) fn sources(
    inner: &Inner,
    info: &SegmentInfo,
    plan: &RepairPlan,
    network: &Network,
) -> SegmentSource {
    let piece_len = info.scheme.layout(info.length_bytes).piece_len();
    let bytes_max = proof::encoded_len(piece_len, &(0..piece_len));
    let lifetime = inner.config.repairs.order_lifetime;
    let source = |index: &u8| {
        let piece = info.pieces.iter().find(|piece| piece.index == *index)?;
        let node = network.node(piece.node?)?;
        let order = PieceOrder {
            node: node.id,
            url: node.url.clone(),
            hash: piece.hash,
            order: inner.signer.order(node.id, Action::Get(piece.hash, Purpose::Repair), bytes_max, lifetime),
        };
        Some(PieceSource { index: *index, order })
    };
    SegmentSource {
        id: info.id,
        scheme: info.scheme,
        segment_len: info.length_bytes,
        pieces: plan.sources.iter().filter_map(source).collect(),
    }
}

/// Nodes that could take a piece of a segment.
pub(super) struct Homes {
    /// Those that never lost a piece of it, as far as is remembered.
    clean: Vec<Candidate>,
    /// Those that did: the same node would likely lose it again, so they come last.
    losers: Vec<Candidate>,
}

impl Homes {
    /// Tells them apart.
    pub(super) fn split(homes: Vec<Candidate>, losers: &HashSet<NodeId>) -> Self {
        let (losers, clean) = homes.into_iter().partition(|home| losers.contains(&home.node));
        Self { clean, losers }
    }
}

/// Nodes for the rebuilt pieces, and spares behind them, drawn with regard to the pieces that stay. Who lost a piece of
/// this segment gets one only when all others are taken: a piece in doubtful hands is still better than none.
pub(super) fn targets(
    inner: &Inner,
    info: &SegmentInfo,
    plan: &RepairPlan,
    network: &Network,
    homes: &Homes,
    wanted: usize,
) -> Vec<Target> {
    let kept = info
        .pieces
        .iter()
        .filter(|piece| plan.keep.contains(piece.index) && !plan.rebuild.contains(piece.index));
    let mut holders: Vec<NodeId> = kept.filter_map(|piece| piece.node).collect();
    let mut chosen = draw(inner, info, network, &homes.clean, &holders, wanted);
    if chosen.len() < wanted {
        holders.extend(&chosen);
        let left = wanted - chosen.len();
        chosen.extend(draw(inner, info, network, &homes.losers, &holders, left));
    }
    let target = |id| network.node(id).map(|node| Target { node: node.id, url: node.url.clone() });
    chosen.into_iter().filter_map(target).collect()
}

fn draw(
    inner: &Inner,
    info: &SegmentInfo,
    network: &Network,
    among: &[Candidate],
    holders: &[NodeId],
    wanted: usize,
) -> Vec<NodeId> {
    let holders = network.holders(holders.iter().copied());
    let request = placement::Request {
        wanted,
        spares: inner.config.repairs.spares,
        piece_len: info.scheme.layout(info.length_bytes).piece_len(),
        holders: &holders,
    };
    let chosen = placement::choose(among, &request, &mut inner.dice.rng());
    chosen.into_iter().map(|at| among[at].node).collect()
}
