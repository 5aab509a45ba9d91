//! From CIDs to blocks to pieces.

use std::collections::HashMap;

use super::{
    engines::both_engines,
    fixtures::{
        account, cid, commit, later, node_id, piece_hash, segment, segment_id, slot, store_file, upload,
    },
};
use crate::{Db, NewPiece};

both_engines!(
    blocks_are_found_where_they_lie,
    a_lost_segment_serves_only_when_asked_for,
    a_block_in_two_segments_is_found_in_the_same_one_by_all,
    segments_come_with_all_their_pieces,
);

async fn blocks_are_found_where_they_lie(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 1, 10, 1).await;
    store_file(&db, "a", 2, 20, 2).await;
    assert!(db.find_blocks(&[], false).await.expect("blocks").is_empty());
    let found = db.find_blocks(&[cid(2), cid(9), cid(1)], false).await.expect("blocks");
    let found: HashMap<_, _> = found.into_iter().map(|block| (block.cid.clone(), block)).collect();
    assert_eq!(found.len(), 2);
    let block = &found[&cid(2)];
    assert_eq!((block.segment, block.offset_bytes, block.length_bytes), (segment_id(2), 100, 20));

    let located = db.locate(&[cid(1), cid(2), cid(9)]).await.expect("locate");
    assert_eq!(located.blocks.len(), 2);
    let mut segments: Vec<_> = located.segments.iter().map(|segment| segment.id).collect();
    segments.sort();
    assert_eq!(segments, [segment_id(1), segment_id(2)]);

    // What no root needs is not built upon, though the bytes are still there.
    db.unpin("a", &cid(1), later(9)).await.expect("unpin");
    assert!(db.find_blocks(&[cid(1)], true).await.expect("blocks").is_empty());
}

async fn a_lost_segment_serves_only_when_asked_for(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 1, 10, 1).await;
    assert!(db.set_lost(segment_id(1), true).await.expect("lose"));
    assert!(!db.set_lost(segment_id(1), true).await.expect("lose"), "lost already");
    assert!(db.find_blocks(&[cid(1)], false).await.expect("blocks").is_empty(), "not for deduplication");
    assert_eq!(db.find_blocks(&[cid(1)], true).await.expect("blocks").len(), 1);
    assert!(db.locate(&[cid(1)]).await.expect("locate").segments[0].lost);

    assert!(db.set_lost(segment_id(1), false).await.expect("find"));
    assert!(!db.locate(&[cid(1)]).await.expect("locate").segments[0].lost);
    assert!(!db.set_lost(segment_id(1), false).await.expect("find"), "live already");
}

async fn a_block_in_two_segments_is_found_in_the_same_one_by_all(db: Db) {
    account(&db, "a", 100).await;
    account(&db, "b", 100).await;
    commit(&db, &[segment(2)], &[upload("a", 1, 10, &[2])]).await;
    commit(&db, &[segment(1)], &[upload("b", 1, 10, &[1])]).await;
    let place = async |lost_too| db.find_blocks(&[cid(1)], lost_too).await.expect("blocks")[0].segment;
    assert_eq!(place(false).await, segment_id(1));
    db.set_lost(segment_id(1), true).await.expect("lose");
    assert_eq!((place(false).await, place(true).await), (segment_id(2), segment_id(2)));
    db.set_lost(segment_id(2), true).await.expect("lose");
    assert_eq!(place(true).await, segment_id(1));
    assert!(db.find_blocks(&[cid(1)], false).await.expect("blocks").is_empty());
}

async fn segments_come_with_all_their_pieces(db: Db) {
    account(&db, "a", 100).await;
    let mut one = segment(1);
    one.pieces[3] = NewPiece { hash: piece_hash(1, 3), node: None };
    commit(&db, &[one, segment(2)], &[upload("a", 1, 10, &[1])]).await;
    db.lose_pieces(node_id(1), &[(slot(1, 1), piece_hash(1, 1))], later(1)).await.expect("lose");

    let infos = db.segments_info(&[segment_id(1), segment_id(2), segment_id(9)]).await.expect("infos");
    assert_eq!(infos.len(), 2);
    let info = infos.iter().find(|info| info.id == segment_id(1)).expect("there");
    assert_eq!((info.scheme.needed(), info.scheme.total(), info.length_bytes), (2, 4, 2 << 20));
    let holders: Vec<_> = info.pieces.iter().map(|piece| (piece.index, piece.hash, piece.node)).collect();
    let expected = [(0, Some(node_id(0))), (1, None), (2, Some(node_id(2))), (3, None)]
        .map(|(index, node)| (index, piece_hash(1, index), node));
    assert_eq!(holders, expected);
}
