//! Uploads whose blocks are recorded before they are finished.

use content::Cid;

use super::{
    engines::both_engines,
    fixtures::{NOW, account, cid, later, repeated, segment, segment_id, state, store_file, used},
};
use crate::{
    BlockAt,
    Committed::{self, Created, QuotaExceeded, SegmentGone},
    Db, NewSegment, SegmentState, UploadMetadata, UploadPart,
};

both_engines!(
    nobody_else_sees_a_block_before_its_upload_is_finished,
    a_long_upload_that_is_given_up_goes_and_cannot_be_finished,
    a_long_upload_is_not_begun_again_by_a_later_part,
    a_refused_long_upload_shows_nothing,
    uploads_that_bring_one_block_at_once_do_not_take_it_from_each_other,
    a_lease_is_never_shortened,
);

/// Blocks of that name and of the next ones, in one segment.
fn part(upload: &str, is_first: bool, in_segment: u32, roots: std::ops::Range<u32>) -> UploadPart {
    let block = |root| BlockAt {
        cid: cid(root),
        segment: segment_id(in_segment),
        offset_bytes: u64::from(root) * 100,
        length_bytes: 10,
    };
    UploadPart { upload: upload.into(), is_first, blocks: roots.map(block).collect() }
}

fn finish(upload: &str, account: &str, root: u32, segments: &[u32]) -> UploadMetadata {
    UploadMetadata { recorded: Some(upload.into()), ..repeated(account, root, 10, segments) }
}

async fn commit(
    db: &Db,
    segments: &[NewSegment],
    parts: &[UploadPart],
    uploads: &[UploadMetadata],
) -> Vec<Committed> {
    let outcomes = db.commit(segments, parts, uploads, NOW, later(60)).await.expect("commit");
    outcomes.into_iter().map(|outcome| outcome.committed).collect()
}

/// How many of the blocks readers find.
async fn seen(db: &Db, roots: std::ops::Range<u32>) -> usize {
    let cids: Vec<Cid> = roots.map(cid).collect();
    db.find_blocks(&cids, true).await.expect("blocks").len()
}

/// For whom a block is stored.
async fn owners(db: &Db, root: u32) -> Vec<Option<String>> {
    let found = db.find_stored(&[cid(root)]).await.expect("blocks");
    found.into_iter().map(|found| found.upload).collect()
}

/// Clears until there is nothing left; gives the number of steps.
async fn clear(db: &Db, seconds: u64) -> usize {
    let mut steps = 0;
    while db.clear_long_upload(later(seconds), 3).await.expect("clear") {
        steps += 1;
    }
    steps
}

async fn nobody_else_sees_a_block_before_its_upload_is_finished(db: Db) {
    account(&db, "a", 100).await;
    // Another file's segment, which readers may use.
    store_file(&db, "a", 99, 10, 9).await;
    commit(&db, &[segment(1)], &[part("long", true, 1, 0..5), part("long", false, 9, 5..7)], &[]).await;
    assert_eq!(seen(&db, 0..7).await, 0);
    assert_eq!(
        (owners(&db, 0).await, owners(&db, 6).await),
        (vec![Some("long".into())], vec![Some("long".into())])
    );
    assert_eq!(clear(&db, 59).await, 0, "it is in progress");
    assert_eq!(commit(&db, &[], &[], &[finish("long", "a", 4, &[1, 9])]).await, [Created]);
    assert_eq!(seen(&db, 0..7).await, 7);
    assert_eq!(owners(&db, 0).await, [None]);
    assert_eq!(state(&db, 1).await, Some(SegmentState::Live));
    // Seven blocks by threes, the upload itself, and one look more would find nothing.
    assert_eq!(clear(&db, 0).await, 4);
    assert_eq!((seen(&db, 0..7).await, db.long_uploads().await.expect("count")), (7, 0));
}

async fn a_long_upload_that_is_given_up_goes_and_cannot_be_finished(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 99, 10, 9).await;
    commit(&db, &[segment(1)], &[part("long", true, 1, 0..5), part("long", false, 9, 5..7)], &[]).await;
    assert!(db.clear_long_upload(later(60), 3).await.expect("clear"));
    // Its gateway comes back when some of its blocks are gone already.
    db.extend_leases(&[], &["long".into()], later(999)).await.expect("extend");
    assert_eq!(commit(&db, &[], &[], &[finish("long", "a", 4, &[1, 9])]).await, [SegmentGone]);
    assert_eq!(clear(&db, 60).await, 3);
    assert_eq!((seen(&db, 0..7).await, db.long_uploads().await.expect("count")), (0, 0));
    assert!(owners(&db, 6).await.is_empty());
    assert_eq!(commit(&db, &[], &[], &[finish("long", "a", 4, &[1, 9])]).await, [SegmentGone]);
}

async fn a_long_upload_is_not_begun_again_by_a_later_part(db: Db) {
    account(&db, "a", 100).await;
    commit(&db, &[segment(1)], &[part("long", true, 1, 0..2)], &[]).await;
    clear(&db, 60).await;
    commit(&db, &[segment(2)], &[part("long", false, 2, 2..4)], &[]).await;
    assert_eq!(commit(&db, &[], &[], &[finish("long", "a", 3, &[1, 2])]).await, [SegmentGone]);
    assert_eq!(seen(&db, 0..4).await, 0);
    assert!(db.collect_segment(segment_id(2), later(60)).await.expect("collect"));
    assert!(owners(&db, 3).await.is_empty());
}

async fn a_refused_long_upload_shows_nothing(db: Db) {
    account(&db, "a", 9).await;
    commit(&db, &[segment(1)], &[part("long", true, 1, 0..3)], &[]).await;
    assert_eq!(commit(&db, &[], &[], &[finish("long", "a", 2, &[1])]).await, [QuotaExceeded]);
    assert_eq!((seen(&db, 0..3).await, used(&db, "a").await), (0, 0));
    assert_eq!(state(&db, 1).await, Some(SegmentState::Pending));
    clear(&db, 60).await;
    assert!(owners(&db, 2).await.is_empty());
}

async fn uploads_that_bring_one_block_at_once_do_not_take_it_from_each_other(db: Db) {
    account(&db, "a", 100).await;
    let both = [part("one", true, 1, 0..3), part("other", true, 1, 2..5)];
    commit(&db, &[segment(1)], &both, &[]).await;
    assert_eq!(commit(&db, &[], &[], &[finish("other", "a", 4, &[1])]).await, [Created]);
    assert_eq!(clear(&db, 60).await, 4, "one given up, the other finished: two steps each");
    assert_eq!((seen(&db, 0..2).await, seen(&db, 2..5).await), (0, 3));
    // A short upload beside a long one, in the same segment.
    let short =
        UploadMetadata { blocks: part("", true, 2, 6..8).blocks.into(), ..repeated("a", 7, 10, &[2]) };
    commit(&db, &[segment(2)], &[part("third", true, 2, 5..8)], &[short.clone(), short]).await;
    clear(&db, 60).await;
    assert_eq!((seen(&db, 5..6).await, seen(&db, 6..8).await), (0, 2));
}

async fn a_lease_is_never_shortened(db: Db) {
    account(&db, "a", 100).await;
    commit(&db, &[segment(1)], &[part("long", true, 1, 0..3)], &[]).await;
    db.extend_leases(&[segment_id(1)], &["long".into()], later(600)).await.expect("extend");
    db.extend_leases(&[segment_id(1)], &["long".into()], later(300)).await.expect("extend");
    assert_eq!(clear(&db, 599).await, 0);
    assert!(db.collectable_segments(later(599), 9).await.expect("due").is_empty());
    assert_eq!(commit(&db, &[], &[], &[finish("long", "a", 2, &[1])]).await, [Created]);
}
