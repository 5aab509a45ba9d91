//! Leases, and the collection of segments that nobody needs.

use super::{
    engines::both_engines,
    fixtures::{
        NOW, account, cid, commit, later, node_id, piece_hash, queued, segment, segment_id, state,
        store_file, upload,
    },
};
use crate::{Committed::SegmentGone, Db, NewPiece, SegmentState, Tallies};

both_engines!(
    a_pending_segment_is_collected_when_its_lease_ends,
    collecting_removes_all_that_hangs_on_a_segment,
    segments_are_counted_and_walked,
);

async fn a_pending_segment_is_collected_when_its_lease_ends(db: Db) {
    account(&db, "a", 100).await;
    db.commit(&[segment(1), segment(2)], &[], &[], NOW, later(10)).await.expect("commit");
    db.extend_leases(&[], &[], later(99)).await.expect("nothing to extend");
    db.extend_leases(&[segment_id(2), segment_id(9)], &[], later(20)).await.expect("extend");
    assert!(db.collectable_segments(later(9), 9).await.expect("due").is_empty());
    assert!(!db.collect_segment(segment_id(1), later(9)).await.expect("collect"), "not due");
    assert_eq!(db.collectable_segments(later(10), 9).await.expect("due"), [segment_id(1)]);
    assert!(!db.collect_segment(segment_id(2), later(10)).await.expect("collect"), "its lease was extended");
    assert!(db.collect_segment(segment_id(1), later(10)).await.expect("collect"));
    assert!(!db.collect_segment(segment_id(1), later(10)).await.expect("collect"), "gone already");
    // The upload that came too late is told so; the other one is in time.
    let outcomes = commit(&db, &[], &[upload("a", 1, 1, &[1]), upload("a", 2, 1, &[2])]).await;
    assert_eq!(outcomes[0], SegmentGone);
    assert_eq!(db.collectable_segments(later(9999), 9).await.expect("due"), []);
    // A lease moves nothing but pending segments.
    db.unpin("a", &cid(2), later(30)).await.expect("unpin");
    db.extend_leases(&[segment_id(2)], &[], later(9999)).await.expect("extend");
    assert_eq!(db.collectable_segments(later(30), 9).await.expect("due"), [segment_id(2)]);
}

async fn collecting_removes_all_that_hangs_on_a_segment(db: Db) {
    account(&db, "a", 100).await;
    let mut one = segment(1);
    one.pieces[3] = NewPiece { hash: piece_hash(1, 3), node: None };
    commit(&db, &[one], &[upload("a", 1, 1, &[1])]).await;
    store_file(&db, "a", 2, 1, 2).await;
    db.queue_repair(segment_id(1), 1.0, NOW).await.expect("queue");
    assert!(!db.collect_segment(segment_id(1), later(9999)).await.expect("collect"), "it is live");
    db.unpin("a", &cid(1), later(5)).await.expect("unpin");
    assert!(db.collect_segment(segment_id(1), later(5)).await.expect("collect"));

    assert_eq!(state(&db, 1).await, None);
    assert!(db.segments_info(&[segment_id(1)]).await.expect("infos").is_empty());
    assert_eq!(db.repairs_waiting().await.expect("repairs"), 0);
    assert_eq!(db.unpins_waiting().await.expect("unpins"), 3, "one for each node that holds a piece");
    for index in 0..3 {
        assert_eq!(queued(&db, index).await, [piece_hash(1, index)]);
        assert_eq!(db.holdings(node_id(index)).await.expect("holdings"), (1, 1 << 20));
    }
    assert_eq!(state(&db, 2).await, Some(SegmentState::Live));
    assert_eq!(db.find_blocks(&[cid(2)], false).await.expect("blocks").len(), 1);
}

async fn segments_are_counted_and_walked(db: Db) {
    account(&db, "a", 100).await;
    for number in 1..=4 {
        store_file(&db, "a", number, 1, number).await;
    }
    commit(&db, &[segment(5)], &[]).await;
    db.unpin("a", &cid(4), later(1)).await.expect("unpin");
    db.set_lost(segment_id(3), true).await.expect("lose");
    assert_eq!(db.segment_counts().await.expect("counts"), [1, 2, 1, 1]);
    let tallies = Tallies { pending: 1, live: 2, orphaned: 1, lost: 1, repairs: 0, unpins: 0 };
    assert_eq!(db.tallies(100).await.expect("tallies"), tallies);
    db.queue_repair(segment_id(1), 1.0, NOW).await.expect("queue");
    let bounded = Tallies { live: 1, repairs: 1, ..tallies };
    assert_eq!(db.tallies(1).await.expect("tallies"), bounded, "no further than one of each");

    let asked = [segment_id(5), segment_id(9), segment_id(3)];
    let states = db.segment_states(&asked).await.expect("states");
    assert_eq!(states.len(), 2);
    assert_eq!((states[&asked[0]], states[&asked[2]]), (SegmentState::Pending, SegmentState::Lost));

    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let part = db.segments_after(after, 2).await.expect("walk");
        let Some((last, _)) = part.last() else { break };
        after = Some(*last);
        walked.extend(part);
    }
    let expected = [
        SegmentState::Live,
        SegmentState::Live,
        SegmentState::Lost,
        SegmentState::Orphaned,
        SegmentState::Pending,
    ];
    let expected: Vec<_> = (1..).map(segment_id).zip(expected).collect();
    assert_eq!(walked, expected);
}
