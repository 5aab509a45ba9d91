//! Who holds which piece, and what nodes may drop.

use std::collections::HashSet;

use protocol::{
    ids::{NodeId, PieceHash},
    unpin::PieceUnpin,
};

use super::{
    engines::both_engines,
    fixtures::{
        NOW, account, commit, later, node_id, piece_hash, queued, segment, segment_id, slot, store_file,
    },
};
use crate::{Db, NewPiece};

both_engines!(
    held_pieces_come_in_order_of_hash,
    a_piece_moves_by_compare_and_swap,
    a_piece_may_return_to_a_former_holder,
    lost_pieces_are_taken_away_once,
    who_lost_a_piece_of_a_segment_is_remembered,
    a_piece_that_is_held_for_another_segment_is_not_dropped,
    unpins_are_queued_and_finished,
);

async fn holder(db: &Db, segment: u32, index: u8) -> Option<NodeId> {
    let infos = db.segments_info(&[segment_id(segment)]).await.expect("infos");
    infos[0].pieces[usize::from(index)].node
}

async fn held_pieces_come_in_order_of_hash(db: Db) {
    let segments: Vec<_> = (0..20).map(segment).collect();
    commit(&db, &segments, &[]).await;
    let mut expected: Vec<_> = (0..20).map(|number| piece_hash(number, 2)).collect();
    expected.sort();

    let first = db.held_pieces(node_id(2), PieceHash([0; 32]), 15).await.expect("held");
    assert_eq!(first.iter().map(|piece| piece.hash).collect::<Vec<_>>(), expected[..15]);
    let rest = db.held_pieces(node_id(2), expected[15], 15).await.expect("held");
    assert_eq!(rest.iter().map(|piece| piece.hash).collect::<Vec<_>>(), expected[15..], "from that hash on");
    assert!(db.held_pieces(node_id(9), PieceHash([0; 32]), 15).await.expect("held").is_empty());

    let piece = first[0];
    assert_eq!(piece.slot.index, 2);
    assert_eq!((piece.segment_bytes, piece.piece_bytes), (2 << 20, 1 << 20));
    assert_eq!((piece.stored, piece.verified, piece.scheme.total()), (NOW, NOW, 4));
    assert_eq!(db.holdings(node_id(2)).await.expect("holdings"), (20, 20 << 20));
    assert_eq!(db.holdings(node_id(9)).await.expect("holdings"), (0, 0));

    let asked = [expected[3], PieceHash([7; 32]), expected[4]];
    let known = db.known_pieces(node_id(2), &asked).await.expect("known");
    assert_eq!(known, HashSet::from([expected[3], expected[4]]));
    assert!(db.known_pieces(node_id(3), &asked).await.expect("known").is_empty());
    assert!(db.known_pieces(node_id(3), &[]).await.expect("known").is_empty());
}

async fn a_piece_moves_by_compare_and_swap(db: Db) {
    let mut one = segment(1);
    one.pieces[3] = NewPiece { hash: piece_hash(1, 3), node: None };
    commit(&db, &[one], &[]).await;
    let moved = async |index, from: Option<u8>, to| {
        let hash = piece_hash(1, index);
        db.move_piece(slot(1, index), hash, from.map(node_id), node_id(to), later(5)).await.expect("move")
    };
    assert!(!moved(3, Some(8), 9).await, "it is on no node");
    assert!(moved(3, None, 9).await);
    assert!(!moved(3, None, 8).await, "it is on a node now");
    assert_eq!(holder(&db, 1, 3).await, Some(node_id(9)));
    assert_eq!(db.unpins_waiting().await.expect("unpins"), 0, "nobody had it before");

    assert!(!moved(0, Some(5), 8).await, "it is elsewhere");
    assert!(moved(0, Some(0), 8).await);
    assert_eq!(holder(&db, 1, 0).await, Some(node_id(8)));
    assert_eq!(queued(&db, 0).await, [piece_hash(1, 0)]);
    let held = db.held_pieces(node_id(8), PieceHash([0; 32]), 9).await.expect("held");
    assert_eq!((held[0].stored, held[0].verified), (later(5), later(5)), "the new node earns from now on");

    assert!(!moved(1, Some(1), 8).await, "it holds a piece of this segment");
    assert!(!moved(1, Some(1), 9).await);
    assert_eq!(holder(&db, 1, 1).await, Some(node_id(1)));
    assert!(moved(0, Some(8), 8).await, "stored anew where it is");
    assert!(queued(&db, 8).await.is_empty());
    assert_eq!(db.unpins_waiting().await.expect("unpins"), 1, "and never told to drop it");
    assert!(!moved(7, None, 8).await, "no such piece");
    let gone = db.move_piece(slot(9, 0), piece_hash(9, 0), None, node_id(8), NOW).await.expect("move");
    assert!(!gone, "no such segment");
}

async fn a_piece_may_return_to_a_former_holder(db: Db) {
    commit(&db, &[segment(1)], &[]).await;
    let hash = piece_hash(1, 0);
    let moved = async |from: Option<u8>, to| {
        db.move_piece(slot(1, 0), hash, from.map(node_id), node_id(to), later(1)).await.expect("move")
    };
    assert!(moved(Some(0), 7).await);
    assert!(moved(Some(7), 0).await);
    assert!(queued(&db, 0).await.is_empty(), "it holds the piece again");
    assert_eq!(queued(&db, 7).await, [hash]);

    db.lose_pieces(node_id(0), &[(slot(1, 0), hash)], later(2)).await.expect("lose");
    assert_eq!(queued(&db, 0).await, [hash]);
    assert!(moved(None, 0).await);
    assert!(queued(&db, 0).await.is_empty());
    assert_eq!(db.unpins_waiting().await.expect("unpins"), 1);
}

async fn lost_pieces_are_taken_away_once(db: Db) {
    commit(&db, &[segment(1), segment(2), segment(3)], &[]).await;
    let pieces = [
        (slot(1, 1), piece_hash(1, 1)),
        (slot(2, 1), piece_hash(2, 1)),
        (slot(3, 0), piece_hash(3, 0)),
        (slot(9, 1), piece_hash(9, 1)),
    ];
    assert_eq!(db.lose_pieces(node_id(1), &[], later(1)).await.expect("lose"), 0);
    assert_eq!(db.lose_pieces(node_id(1), &pieces, later(1)).await.expect("lose"), 2);
    assert_eq!(db.lose_pieces(node_id(1), &pieces, later(1)).await.expect("lose"), 0);
    assert_eq!((holder(&db, 1, 1).await, holder(&db, 2, 1).await), (None, None));
    assert_eq!(holder(&db, 3, 0).await, Some(node_id(0)), "another node's piece stays");
    assert_eq!(queued(&db, 1).await.len(), 4, "whatever it has of them it may drop");
    assert_eq!(db.holdings(node_id(1)).await.expect("holdings").0, 1);
}

async fn who_lost_a_piece_of_a_segment_is_remembered(db: Db) {
    commit(&db, &[segment(1), segment(2)], &[]).await;
    let losers =
        async |number, seconds| db.losers_of(segment_id(number), later(seconds)).await.expect("losers");
    assert!(losers(1, 0).await.is_empty());
    for (node, seconds) in [(1, 10), (3, 20)] {
        let lost = [(slot(1, node), piece_hash(1, node))];
        assert_eq!(db.lose_pieces(node_id(node), &lost, later(seconds)).await.expect("lose"), 1);
        // What it does not have any more it cannot lose once more.
        assert_eq!(db.lose_pieces(node_id(node), &lost, later(99)).await.expect("lose"), 0);
    }
    assert_eq!(losers(1, 0).await, HashSet::from([node_id(1), node_id(3)]));
    assert_eq!(losers(1, 10).await, HashSet::from([node_id(3)]), "only later ones");
    assert!(losers(2, 0).await.is_empty());
    // A new holder does not make it forgotten.
    let moved = db.move_piece(slot(1, 1), piece_hash(1, 1), None, node_id(9), later(30)).await;
    assert!(moved.expect("move"));
    assert_eq!(losers(1, 0).await, HashSet::from([node_id(1), node_id(3)]));
}

async fn a_piece_that_is_held_for_another_segment_is_not_dropped(db: Db) {
    account(&db, "a", 100).await;
    // Two segments with the same bytes in piece 0, on the same node.
    let mut twin = segment(2);
    twin.pieces[0].hash = piece_hash(1, 0);
    commit(&db, &[twin], &[]).await;
    store_file(&db, "a", 1, 1, 1).await;
    assert!(db.collect_segment(segment_id(2), later(9999)).await.expect("collect"));
    assert_eq!(db.unpins_waiting().await.expect("unpins"), 4);
    assert!(queued(&db, 0).await.is_empty(), "segment 1 needs those bytes");
    db.lose_pieces(node_id(0), &[(slot(1, 0), piece_hash(1, 0))], NOW).await.expect("lose");
    assert_eq!(queued(&db, 0).await, [piece_hash(1, 0)]);
}

async fn unpins_are_queued_and_finished(db: Db) {
    let hashes: Vec<_> = (0..1_500).map(|number| piece_hash(number, 0)).collect();
    db.queue_unpins(node_id(1), &[], NOW).await.expect("nothing to queue");
    db.queue_unpins(node_id(1), &hashes, NOW).await.expect("queue");
    db.queue_unpins(node_id(1), &hashes[..2], later(1)).await.expect("queue");
    db.queue_unpins(node_id(2), &hashes[..1], NOW).await.expect("queue");
    assert_eq!(db.unpins_waiting().await.expect("unpins"), 1_501);
    let mut sorted = hashes.clone();
    sorted.sort();
    let first = db.queued_unpins(node_id(1), 3).await.expect("unpins");
    assert_eq!(first.iter().map(|unpin| unpin.hash).collect::<Vec<_>>(), sorted[..3]);
    assert_eq!(db.queued_unpins(node_id(2), 3).await.expect("unpins")[0].stored_before, NOW);
    db.finish_unpins(node_id(1), &[]).await.expect("nothing to finish");
    let unpin = |hash: &PieceHash| PieceUnpin { hash: *hash, stored_before: NOW };
    let told: Vec<_> = hashes.iter().map(unpin).collect();
    db.finish_unpins(node_id(1), &told).await.expect("finish");
    let mut again = hashes[..2].to_vec();
    again.sort();
    assert_eq!(queued(&db, 1).await, again, "what was queued again meanwhile stays");
    let left = db.queued_unpins(node_id(1), 9).await.expect("unpins");
    assert_eq!(left[0].stored_before, later(1));
    db.finish_unpins(node_id(1), &left).await.expect("finish");
    assert!(queued(&db, 1).await.is_empty());
    assert_eq!(queued(&db, 2).await, hashes[..1]);
}
