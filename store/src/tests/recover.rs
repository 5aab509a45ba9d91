//! What a recovery adds to an older database, and what a later run adds to an earlier one.

use content::Cid;
use protocol::time::UnixMicros;

use super::{
    engines::both_engines,
    fixtures::{NOW, account, cid, commit, later, segment, segment_id, state, store_file, upload, used},
};
use crate::{BlockAt, Db, FoundKind, FoundPin, FoundSegment, SegmentState, UploadPart};

both_engines!(
    what_was_uploaded_while_the_backup_was_made_is_read_by_all_once_a_pin_says_that_it_is_there,
    what_a_later_run_finds_is_kept_for_the_pins_of_an_earlier_one,
    segments_from_about_the_time_of_the_backup_are_looked_into,
);

fn block(root: u32, in_segment: u32) -> BlockAt {
    let offset_bytes = u64::from(root) * 100;
    BlockAt { cid: cid(root), segment: segment_id(in_segment), offset_bytes, length_bytes: 10 }
}

/// A segment with these blocks, the first of which links the others.
fn found(number: u32, blocks: &[u32], children: &[u32]) -> FoundSegment {
    let links: Vec<(Cid, Cid)> = children.iter().map(|child| (cid(blocks[0]), cid(*child))).collect();
    let blocks = blocks.iter().map(|root| block(*root, number)).collect();
    FoundSegment { segment: segment(number), blocks, links, record: None }
}

fn pin(root: u32) -> FoundPin {
    FoundPin {
        id: format!("found-{root}"),
        account: "a".into(),
        root: cid(root).to_string(),
        is_v0: false,
        created: UnixMicros(NOW.0 * 1_000),
        expires: None,
        held: false,
        sizes: None,
        is_gone: false,
        is_note: false,
    }
}

async fn seen(db: &Db, roots: &[u32]) -> usize {
    let cids: Vec<Cid> = roots.iter().map(|root| cid(*root)).collect();
    db.find_blocks(&cids, false).await.expect("blocks").len()
}

async fn what_was_uploaded_while_the_backup_was_made_is_read_by_all_once_a_pin_says_that_it_is_there(db: Db) {
    account(&db, "a", 1_000).await;
    let part = UploadPart { upload: "long".into(), is_first: true, blocks: vec![block(10, 1), block(11, 1)] };
    db.commit(&[segment(1)], &[part], &[], NOW, later(60)).await.expect("commit");
    db.begin_recovery(later(9)).await.expect("begin");
    let added = db.complete_segment(&found(1, &[10, 11, 12], &[11, 12])).await.expect("complete");
    assert_eq!((added, seen(&db, &[10, 11, 12]).await), (1, 0), "nobody said that it was finished");
    assert_eq!(db.found_kind(segment_id(1)).await.expect("kind"), Some(FoundKind::Whole));
    assert_eq!(db.measure_under(&pin(10).root).await.expect("measure"), (0, 30));

    assert!(db.restore_pin(&pin(10), (30, 30), later(9)).await.expect("pin"));
    assert_eq!((seen(&db, &[10, 11, 12]).await, used(&db, "a").await), (3, 30));
    assert_eq!(state(&db, 1).await, Some(SegmentState::Live));
    assert_eq!(db.end_recovery(true, later(9), later(99)).await.expect("end"), 0);
    // The upload that the backup has not seen the end of is given up.
    while db.clear_long_upload(later(1_000), 9).await.expect("clear") {}
    assert_eq!((seen(&db, &[10, 11, 12]).await, db.long_uploads().await.expect("count")), (3, 0));
}

async fn what_a_later_run_finds_is_kept_for_the_pins_of_an_earlier_one(db: Db) {
    account(&db, "a", 1_000).await;
    db.begin_recovery(NOW).await.expect("begin");
    assert!(db.restore_segment(&found(3, &[20], &[21]), NOW, later(60)).await.expect("restore"));
    assert_eq!(db.measure_under(&pin(20).root).await.expect("measure"), (1, 10));
    assert!(db.restore_pin(&pin(20), (20, 20), NOW).await.expect("pin"));
    db.note_incomplete(&pin(20).root, true).await.expect("note");
    assert_eq!(db.end_recovery(false, later(9), later(60)).await.expect("end"), 0);

    // The pin stands by now, and what it needs is found.
    db.begin_recovery(later(9)).await.expect("begin");
    assert!(db.restore_segment(&found(4, &[21], &[]), NOW, later(60)).await.expect("restore"));
    assert_eq!(db.incomplete_roots("", 9).await.expect("roots"), [pin(20).root]);
    assert!(db.relink_root(&pin(20).root).await.expect("link"));
    assert!(!db.relink_root(&cid(99).to_string()).await.expect("link"), "nobody pins it");
    db.note_incomplete(&pin(20).root, false).await.expect("note");
    assert_eq!(db.incomplete_roots("", 9).await.expect("roots"), [] as [String; 0]);
    assert_eq!(db.end_recovery(true, later(9), later(60)).await.expect("end"), 0, "nothing is left over");
    assert_eq!(state(&db, 4).await, Some(SegmentState::Live));
    let roots = db.root_segments(&cid(20)).await.expect("segments");
    assert_eq!(roots, [segment_id(3), segment_id(4)]);
}

async fn segments_from_about_the_time_of_the_backup_are_looked_into(db: Db) {
    account(&db, "a", 1_000).await;
    store_file(&db, "a", 1, 10, 1).await;
    commit(&db, &[segment(2)], &[]).await;
    commit(&db, &[segment(3)], &[upload("a", 3, 9, &[3])]).await;
    let more = async |number, since| db.may_have_more(segment_id(number), since).await.expect("look");
    assert!(more(1, NOW).await && more(2, NOW).await && more(3, NOW).await);
    assert!(!more(1, later(1)).await && !more(3, later(1)).await);
    assert!(more(2, later(1)).await, "it waits for its upload however old it is");
    // Until when the database was watched is when it was backed up, whatever happens to it afterwards.
    assert_eq!(db.begin_recovery(later(5)).await.expect("begin").0, 0, "nobody ever did");
    db.end_recovery(true, later(9), later(60)).await.expect("end");
    let hour = std::time::Duration::from_secs(3600);
    db.release_collection(later(6)).await.expect("release");
    db.beat(None, later(10), hour).await.expect("beat");
    db.beat(None, later(50_000), hour).await.expect("a monitor that starts on the old database");
    assert_eq!(db.begin_recovery(later(60_000)).await.expect("begin"), later(10));
    db.beat(Some(later(50_000)), later(60_010), hour).await.expect("beat");
    assert_eq!(db.begin_recovery(later(60_020)).await.expect("again"), later(10));
}
