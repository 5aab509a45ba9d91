//! Where a repair reads from and where it stores.

use client::PieceOrder;
use protocol::{
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

/// Nodes for the rebuilt pieces, and spares behind them, drawn with regard to the pieces that stay.
pub(super) fn targets(
    inner: &Inner,
    info: &SegmentInfo,
    plan: &RepairPlan,
    network: &Network,
    homes: &[Candidate],
    wanted: usize,
) -> Vec<Target> {
    let kept = info
        .pieces
        .iter()
        .filter(|piece| plan.keep.contains(piece.index) && !plan.rebuild.contains(piece.index));
    let holders = network.holders(kept.filter_map(|piece| piece.node));
    let request = placement::Request {
        wanted,
        spares: inner.config.repairs.spares,
        piece_len: info.scheme.layout(info.length_bytes).piece_len(),
        holders: &holders,
    };
    placement::choose(homes, &request, &mut inner.dice.rng())
        .into_iter()
        .filter_map(|at| network.node(homes[at].node))
        .map(|node| Target { node: node.id, url: node.url.clone() })
        .collect()
}
