//! Nodes that were found to have said something wrong of a piece: others are asked before them.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use protocol::ids::{NodeId, PieceHash};
use store::FoundPiece;

/// How often each node was wrong.
#[derive(Debug, Default)]
pub(crate) struct Liars {
    wrong: Mutex<HashMap<NodeId, u32>>,
}

impl Liars {
    /// Compares what was said of a segment that has been read with the hashes that its pieces have.
    pub(crate) fn compare(&self, said: &[FoundPiece], hashes: &[PieceHash]) {
        let is_wrong = |piece: &&FoundPiece| hashes.get(usize::from(piece.index)) != Some(&piece.hash);
        let mut wrong = self.wrong.lock();
        for piece in said.iter().filter(is_wrong) {
            *wrong.entry(piece.node).or_default() += 1;
        }
    }

    /// Those last that were wrong most often; otherwise as it was.
    pub(crate) fn last(&self, pieces: &mut [FoundPiece]) {
        let wrong = self.wrong.lock();
        pieces.sort_by_key(|piece| wrong.get(&piece.node).copied().unwrap_or(0));
    }
}

/// Pieces of which each node gives one and each index is there once, the first of each: no node has two pieces of a segment, so
/// that one that lists many says little by it.
pub(crate) fn one_each(pieces: &[FoundPiece]) -> Vec<FoundPiece> {
    let (mut nodes, mut indices) = (HashSet::new(), HashSet::new());
    let mut chosen = Vec::with_capacity(pieces.len().min(usize::from(u8::MAX)));
    for piece in pieces {
        if !nodes.contains(&piece.node) && !indices.contains(&piece.index) {
            nodes.insert(piece.node);
            indices.insert(piece.index);
            chosen.push(*piece);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use protocol::{ids::SegmentId, time::UnixMillis};

    use super::*;

    fn piece(node: u8, index: u8, hash: u8) -> FoundPiece {
        FoundPiece {
            node: NodeId([node; 32]),
            hash: PieceHash([hash; 32]),
            segment: SegmentId([0; 16]),
            index,
            scheme: "gf8/2/4".parse().expect("a scheme"),
            segment_bytes: 9,
            stored: UnixMillis(0),
        }
    }

    #[test]
    fn a_node_counts_once_whatever_it_lists() {
        let honest = [piece(1, 0, 10), piece(2, 1, 11), piece(3, 2, 12)];
        let lies: Vec<FoundPiece> = (0..4).map(|index| piece(9, index, 90 + index)).collect();
        assert_eq!(one_each(&lies), [lies[0]]);
        let all = [honest.as_slice(), &lies].concat();
        assert_eq!(one_each(&all), [honest[0], honest[1], honest[2], lies[3]]);
    }

    #[test]
    fn whoever_was_wrong_comes_last() {
        let liars = Liars::default();
        let mut said = vec![piece(9, 0, 90), piece(1, 0, 10), piece(2, 1, 11)];
        liars.compare(&said, &[PieceHash([10; 32]), PieceHash([11; 32])]);
        liars.last(&mut said);
        assert_eq!(said, [piece(1, 0, 10), piece(2, 1, 11), piece(9, 0, 90)]);
    }
}
