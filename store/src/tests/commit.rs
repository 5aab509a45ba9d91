//! What one transaction makes of several uploads.

use protocol::time::UnixMicros;

use super::{
    engines::both_engines,
    fixtures::{
        NOW, account, cid, commit, commit_at, later, repeated, segment, segment_id, state, store_file,
        upload, used,
    },
};
use crate::{
    BlockAt,
    Committed::{AlreadyPinned, Created, QuotaExceeded, SegmentGone},
    Db, SegmentState, UploadMetadata,
};

both_engines!(
    one_commit_judges_each_upload_by_itself,
    a_refused_upload_leaves_nothing_behind,
    an_upload_of_many_segments_becomes_live_as_a_whole,
    pinning_again_updates_name_and_end_and_costs_nothing,
    pinning_again_never_shortens_a_pins_life,
    an_orphaned_segment_is_revived,
    a_collected_or_lost_segment_refuses_uploads,
    a_lost_segment_is_let_go_when_its_root_is_stored_anew,
    a_lost_segment_stays_while_another_root_needs_it,
    a_lost_segment_that_nobody_needs_is_not_revived,
    a_failing_commit_changes_nothing,
    more_blocks_than_one_statement_holds,
    names_may_hold_anything,
    quota_arithmetic_does_not_overflow,
);

async fn one_commit_judges_each_upload_by_itself(db: Db) {
    account(&db, "a", 100).await;
    account(&db, "b", 1000).await;
    let outcomes = commit(
        &db,
        &[segment(1), segment(2)],
        &[
            upload("a", 1, 60, &[1]),
            upload("a", 2, 60, &[1]),
            upload("a", 1, 60, &[2]),
            upload("b", 1, 60, &[1]),
            upload("b", 3, 60, &[9]),
            upload("a", 4, 40, &[1, 2]),
            upload("a", 5, 1, &[1]),
            upload("nobody", 6, 1, &[1]),
            upload("a", 7, 0, &[1]),
        ],
    )
    .await;
    assert_eq!(
        outcomes,
        [
            Created,
            QuotaExceeded,
            AlreadyPinned,
            Created,
            SegmentGone,
            Created,
            QuotaExceeded,
            QuotaExceeded,
            Created
        ]
    );
    assert_eq!((used(&db, "a").await, used(&db, "b").await), (100, 60));
    for (account, root, there) in [
        ("a", 1, true),
        ("a", 2, false),
        ("b", 1, true),
        ("b", 3, false),
        ("a", 4, true),
        ("nobody", 6, false),
    ] {
        assert_eq!(db.pin(account, &cid(root)).await.expect("pin").is_some(), there, "{account} {root}");
    }
    assert_eq!(db.root_size(&cid(1)).await.expect("root"), Some(60));
    // The block lies in both segments, and both are needed for it.
    assert_eq!(db.root_segments(&cid(1)).await.expect("links"), [segment_id(1), segment_id(2)]);
    assert_eq!(db.root_segments(&cid(4)).await.expect("links"), [segment_id(1), segment_id(2)]);
    let pin = db.pin("a", &cid(4)).await.expect("pin").expect("pinned");
    assert_eq!((pin.size_bytes, pin.dag_size_bytes, pin.created), (40, 50, UnixMicros(NOW.micros().0 + 2)));
}

async fn a_refused_upload_leaves_nothing_behind(db: Db) {
    account(&db, "a", 100).await;
    let outcomes = commit(
        &db,
        &[segment(1), segment(2)],
        &[upload("a", 1, 101, &[1]), upload("a", 2, 10, &[2, 9]), upload("a", 3, 10, &[2])],
    )
    .await;
    assert_eq!(outcomes, [QuotaExceeded, SegmentGone, Created]);
    for root in [1, 2] {
        assert_eq!(db.root_size(&cid(root)).await.expect("root"), None);
        assert!(db.root_segments(&cid(root)).await.expect("links").is_empty());
        assert!(db.find_blocks(&[cid(root)], true).await.expect("blocks").is_empty());
    }
    assert_eq!(used(&db, "a").await, 10);
    // Nobody needs the first segment, so it must not be kept for ever.
    assert_eq!(state(&db, 1).await, Some(SegmentState::Pending));
    assert_eq!(state(&db, 2).await, Some(SegmentState::Live));
    assert_eq!(db.collectable_segments(later(3600), 10).await.expect("due"), [segment_id(1)]);
}

async fn an_upload_of_many_segments_becomes_live_as_a_whole(db: Db) {
    account(&db, "a", 100).await;
    assert!(commit(&db, &[segment(1)], &[]).await.is_empty());
    assert!(commit(&db, &[segment(2)], &[]).await.is_empty());
    assert_eq!(state(&db, 1).await, Some(SegmentState::Pending));
    assert_eq!(commit(&db, &[segment(3)], &[upload("a", 1, 10, &[2, 1, 3])]).await, [Created]);
    for number in 1..=3 {
        assert_eq!(state(&db, number).await, Some(SegmentState::Live));
    }
}

async fn pinning_again_updates_name_and_end_and_costs_nothing(db: Db) {
    account(&db, "a", 100).await;
    let named =
        |name: &str, expires| UploadMetadata { name: name.to_string(), expires, ..upload("a", 1, 60, &[1]) };
    let pin = async || db.pin("a", &cid(1)).await.expect("pin").expect("pinned");
    assert_eq!(commit(&db, &[segment(1)], &[named("first", Some(later(5)))]).await, [Created]);
    assert_eq!((pin().await.name.as_str(), pin().await.expires), ("first", Some(later(5))));

    assert_eq!(commit_at(&db, &[], &[named("", None)], later(9)).await, [AlreadyPinned]);
    assert_eq!(
        (pin().await.name.as_str(), pin().await.expires, pin().await.created),
        ("first", None, NOW.micros())
    );

    // Within one call the later upload's name wins.
    let both = [named("second", None), named("third", Some(later(7)))];
    assert_eq!(commit(&db, &[], &both).await, [AlreadyPinned, AlreadyPinned]);
    assert_eq!(pin().await.name.as_str(), "third");
    assert_eq!(used(&db, "a").await, 60);
}

async fn pinning_again_never_shortens_a_pins_life(db: Db) {
    account(&db, "a", 100).await;
    let ending = |expires| UploadMetadata { expires, ..upload("a", 1, 60, &[1]) };
    let ends = async || db.pin("a", &cid(1)).await.expect("pin").expect("pinned").expires;
    assert_eq!(commit(&db, &[segment(1)], &[ending(Some(later(50)))]).await, [Created]);
    for (asked, end) in [(40, 50), (60, 60), (60, 60), (1, 60)] {
        assert_eq!(commit(&db, &[], &[ending(Some(later(asked)))]).await, [AlreadyPinned]);
        assert_eq!(ends().await, Some(later(end)));
    }
    // Nor do two uploads of one call, in either order.
    let both = [ending(None), ending(Some(later(70)))];
    assert_eq!(commit(&db, &[], &both).await, [AlreadyPinned, AlreadyPinned]);
    assert_eq!(ends().await, None);
    assert_eq!(commit(&db, &[], &[ending(Some(later(999)))]).await, [AlreadyPinned]);
    assert_eq!(ends().await, None, "for ever is the latest end");
    assert!(db.expired_pins(later(9_999), 9).await.expect("expired").is_empty());
}

async fn an_orphaned_segment_is_revived(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 1, 10, 1).await;
    assert!(db.unpin("a", &cid(1), later(5)).await.expect("unpin"));
    assert_eq!(state(&db, 1).await, Some(SegmentState::Orphaned));
    // An upload that had found its block before the pin went.
    assert_eq!(commit(&db, &[], &[repeated("a", 1, 10, &[1])]).await, [Created]);
    assert_eq!(state(&db, 1).await, Some(SegmentState::Live));
    assert!(!db.collect_segment(segment_id(1), later(9999)).await.expect("collect"));
    assert_eq!(db.find_blocks(&[cid(1)], false).await.expect("blocks").len(), 1);
}

async fn a_collected_or_lost_segment_refuses_uploads(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 1, 10, 1).await;
    store_file(&db, "a", 2, 10, 2).await;
    db.unpin("a", &cid(1), later(5)).await.expect("unpin");
    assert!(db.collect_segment(segment_id(1), later(5)).await.expect("collect"));
    assert!(db.set_lost(segment_id(2), true).await.expect("lose"));
    let outcomes =
        commit(&db, &[segment(3)], &[repeated("a", 3, 10, &[3, 1]), repeated("a", 4, 10, &[3, 2])]).await;
    assert_eq!(outcomes, [SegmentGone, SegmentGone]);
    assert_eq!(state(&db, 3).await, Some(SegmentState::Pending));
    assert_eq!(used(&db, "a").await, 10);
}

async fn a_lost_segment_is_let_go_when_its_root_is_stored_anew(db: Db) {
    account(&db, "a", 100).await;
    account(&db, "b", 100).await;
    store_file(&db, "a", 1, 10, 1).await;
    db.set_lost(segment_id(1), true).await.expect("lose");
    // Another account's upload heals the root for both.
    assert_eq!(commit(&db, &[segment(2)], &[upload("b", 1, 10, &[2])]).await, [Created]);
    assert_eq!(db.root_segments(&cid(1)).await.expect("links"), [segment_id(2)]);
    assert_eq!(db.collectable_segments(later(3600), 9).await.expect("due"), [segment_id(1)]);
    let blocks = db.find_blocks(&[cid(1)], false).await.expect("blocks");
    assert_eq!(blocks[0].segment, segment_id(2));
}

async fn a_lost_segment_stays_while_another_root_needs_it(db: Db) {
    account(&db, "a", 100).await;
    let both = [upload("a", 1, 10, &[1]), upload("a", 2, 10, &[1])];
    assert_eq!(commit(&db, &[segment(1)], &both).await, [Created, Created]);
    db.set_lost(segment_id(1), true).await.expect("lose");
    assert_eq!(commit(&db, &[segment(2)], &[upload("a", 1, 10, &[2])]).await, [AlreadyPinned]);
    assert_eq!(db.root_segments(&cid(1)).await.expect("links"), [segment_id(2)]);
    assert_eq!(db.root_segments(&cid(2)).await.expect("links"), [segment_id(1)]);
    assert_eq!(state(&db, 1).await, Some(SegmentState::Lost));
    assert!(!db.collect_segment(segment_id(1), later(9999)).await.expect("collect"), "it may be found again");
}

async fn a_lost_segment_that_nobody_needs_is_not_revived(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 1, 10, 1).await;
    db.set_lost(segment_id(1), true).await.expect("lose");
    db.unpin("a", &cid(1), later(5)).await.expect("unpin");
    // An upload had found the block while it could be read.
    let late = [repeated("a", 2, 10, &[1])];
    assert_eq!(commit(&db, &[], &late).await, [SegmentGone]);
    assert!(db.collectable_segments(later(4), 9).await.expect("due").is_empty());
    assert_eq!(db.collectable_segments(later(5), 9).await.expect("due"), [segment_id(1)]);

    // Once its pieces are back it may be relied on again, and is collected if it is not.
    assert!(db.set_lost(segment_id(1), false).await.expect("find"));
    assert_eq!(state(&db, 1).await, Some(SegmentState::Orphaned));
    assert_eq!(commit(&db, &[], &late).await, [Created]);
    assert_eq!(state(&db, 1).await, Some(SegmentState::Live));
    assert!(!db.collect_segment(segment_id(1), later(5)).await.expect("collect"));
}

async fn a_failing_commit_changes_nothing(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 1, 10, 1).await;
    // A segment's name is drawn once; the second one fails in the middle of the transaction.
    let twice = db.commit(&[segment(2), segment(1)], &[], &[upload("a", 2, 10, &[2])], NOW, later(1)).await;
    twice.expect_err("the segment exists");
    assert_eq!(used(&db, "a").await, 10);
    assert_eq!(state(&db, 2).await, None);
    assert_eq!(db.pin("a", &cid(2)).await.expect("pin"), None);
    store_file(&db, "a", 2, 10, 2).await;
}

async fn more_blocks_than_one_statement_holds(db: Db) {
    const BLOCKS: u32 = 2_345;
    account(&db, "a", 1 << 40).await;
    let mut large = upload("a", 0, 1, &[1]);
    large.blocks = (0..BLOCKS)
        .map(|number| BlockAt {
            cid: cid(number),
            segment: segment_id(1),
            offset_bytes: u64::from(number),
            length_bytes: 1,
        })
        .collect();
    assert_eq!(commit(&db, &[segment(1)], &[large.clone(), large]).await, [Created, AlreadyPinned]);
    let cids: Vec<_> = (0..BLOCKS + 10).map(cid).collect();
    let found = db.find_blocks(&cids, false).await.expect("blocks");
    assert_eq!(found.len(), BLOCKS as usize);
    assert!(found.iter().all(|block| block.cid == cid(u32::try_from(block.offset_bytes).expect("small"))));

    let many: Vec<UploadMetadata> = (0..1_100).map(|root| upload("a", 10_000 + root, 1, &[2])).collect();
    let outcomes = commit(&db, &[segment(2)], &many).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Created));
    assert_eq!(used(&db, "a").await, 1_101);
}

async fn names_may_hold_anything(db: Db) {
    account(&db, "a", 100).await;
    let name = "a\0b'); DROP TABLE pins; -- \u{1f980}";
    let odd = UploadMetadata { name: name.to_string(), ..upload("a", 1, 10, &[1]) };
    assert_eq!(commit(&db, &[segment(1)], &[odd.clone(), odd]).await, [Created, AlreadyPinned]);
    let pin = db.pin("a", &cid(1)).await.expect("pin").expect("pinned");
    assert_eq!(pin.name, name.replace('\0', ""), "PostgreSQL has no NUL in text");
}

async fn quota_arithmetic_does_not_overflow(db: Db) {
    account(&db, "a", u64::MAX).await;
    let large = i64::MAX.cast_unsigned() - 5;
    let outcomes = commit(
        &db,
        &[segment(1)],
        &[upload("a", 1, large, &[1]), upload("a", 2, u64::MAX, &[1]), upload("a", 3, 5, &[1])],
    )
    .await;
    assert_eq!(outcomes, [Created, QuotaExceeded, Created]);
    assert_eq!(used(&db, "a").await, i64::MAX.cast_unsigned());
    // A quota below what is used admits nothing and breaks nothing.
    db.set_quota("a", 1).await.expect("set");
    assert_eq!(commit(&db, &[], &[repeated("a", 4, 1, &[1])]).await, [QuotaExceeded]);
}
