//! Uploads in several requests: what is recorded, who may record it, and how they end.

use protocol::time::UnixMillis;

use super::{
    engines::both_engines,
    fixtures::{NOW, account, cid, later, repeated, segment, segment_id, state, store_file},
};
use crate::{
    BlockAt, ClaimedTus,
    Committed::{Created, SegmentGone},
    Db, Described, NewTusUpload, PinChange, SegmentState, TusBegun, TusClaim, TusKind, TusPiece, TusProgress,
    TusRecorded, UploadMetadata, UploadPart,
};

both_engines!(
    progress_is_what_the_next_request_finds,
    one_request_at_a_time_writes,
    whoever_lost_the_claim_records_nothing,
    one_of_many_claims_wins,
    what_an_upload_relies_on_stays_while_it_lasts,
    progress_upon_what_is_gone_is_refused,
    finishing_is_one_with_the_pin,
    what_was_noted_down_is_said_once,
    a_partial_upload_is_finished_with_its_last_byte,
    an_upload_that_is_over_goes_with_all_it_stored,
    an_upload_that_is_removed_goes_and_a_finished_file_stays,
    an_account_has_so_many_at_once,
    uploads_that_are_not_finished_share_the_quota,
    blocks_of_uploads_in_progress_are_found_for_them_alone,
);

fn new(id: &str, kind: TusKind) -> NewTusUpload {
    NewTusUpload {
        id: id.into(),
        account: "a".into(),
        kind,
        parts: String::new(),
        metadata: "filename YQ==".into(),
        profile: "some".into(),
        hash: "sha2-256".into(),
        notes: "to be said".into(),
        whole_pieces: true,
        length_bytes: Some(300),
        due: later(100),
    }
}

async fn begin(db: &Db, id: &str) {
    account(db, "a", 1_000).await;
    assert_eq!(db.create_tus_upload(&new(id, TusKind::Plain), 9, NOW).await.expect("create"), TusBegun::Yes);
}

async fn claim(db: &Db, id: &str, name: &str, at: UnixMillis) -> TusClaim {
    db.claim_tus_upload(id, name, at, UnixMillis(at.0 + 10_000)).await.expect("claim")
}

#[track_caller]
fn claimed(claim: TusClaim) -> ClaimedTus {
    match claim {
        TusClaim::Claimed(claimed) => *claimed,
        other => panic!("not claimed: {other:?}"),
    }
}

fn progress(offset_bytes: u64, segments: &[u32]) -> TusProgress {
    TusProgress {
        offset_bytes,
        length_bytes: Some(300),
        builder: vec![1, 0, 255],
        tail: vec![7; usize::try_from(offset_bytes % 100).expect("small")],
        segments: segments.iter().map(|number| segment_id(*number)).collect(),
        ..TusProgress::default()
    }
}

async fn record(db: &Db, id: &str, name: &str, progress: &TusProgress) -> TusRecorded {
    db.record_tus_progress(id, name, progress, NOW, later(5), later(200)).await.expect("record")
}

fn part(upload: &str, in_segment: u32, roots: std::ops::Range<u32>) -> UploadPart {
    let block = |root| BlockAt {
        cid: cid(root),
        segment: segment_id(in_segment),
        offset_bytes: u64::from(root) * 100,
        length_bytes: 10,
    };
    UploadPart { upload: upload.into(), is_first: false, blocks: roots.map(block).collect() }
}

async fn finish(db: &Db, id: &str, root: u32, segments: &[u32]) -> crate::Committed {
    let upload = UploadMetadata { recorded: Some(id.into()), ..repeated("a", root, 10, segments) };
    let outcomes = db.commit(&[], &[], &[upload], later(3), later(60)).await.expect("commit");
    outcomes[0].committed
}

async fn clear(db: &Db, seconds: u64) {
    while db.clear_tus_uploads(later(seconds), 1).await.expect("clear") {}
    while db.clear_long_upload(later(seconds), 2).await.expect("clear") {}
}

async fn progress_is_what_the_next_request_finds(db: Db) {
    begin(&db, "t").await;
    let first = claimed(claim(&db, "t", "one", NOW).await);
    assert_eq!((first.builder.len(), first.tail.len(), first.upload.offset_bytes), (0, 0, 0));
    assert_eq!(first.upload.metadata, "filename YQ==");
    assert_eq!((first.upload.profile.as_str(), first.upload.notes.as_str()), ("some", "to be said"));
    assert!(first.upload.whole_pieces);
    assert_eq!(first.piece, None);
    assert_eq!(record(&db, "t", "one", &progress(150, &[])).await, TusRecorded::Yes);
    let piece = Some(TusPiece { offset_bytes: 150, hash: "abc".into() });
    let whole = TusProgress { piece: piece.clone(), ..progress(242, &[]) };
    assert_eq!(record(&db, "t", "one", &whole).await, TusRecorded::Yes);
    db.release_tus_upload("t", "one").await.expect("release");
    let second = claimed(claim(&db, "t", "two", NOW).await);
    assert_eq!((second.builder, second.tail, second.piece), (vec![1, 0, 255], vec![7; 42], piece));
    assert_eq!((second.upload.offset_bytes, second.upload.due), (242, later(200)));
    assert_eq!(db.tus_upload("t").await.expect("read"), Some(second.upload));
    assert_eq!(record(&db, "t", "two", &progress(250, &[])).await, TusRecorded::Yes);
    db.release_tus_upload("t", "two").await.expect("release");
    assert_eq!(claimed(claim(&db, "t", "three", NOW).await).piece, None, "that one was not taken whole");
    assert_eq!(db.tus_upload("u").await.expect("read"), None);
    assert_eq!(claim(&db, "u", "one", NOW).await, TusClaim::Unknown);
}

async fn one_request_at_a_time_writes(db: Db) {
    begin(&db, "t").await;
    claimed(claim(&db, "t", "one", NOW).await);
    assert_eq!(db.hold_tus_upload("t", "one", later(10)).await.expect("hold"), Some(UnixMillis(0)));
    assert_eq!(claim(&db, "t", "two", later(9)).await, TusClaim::Held);
    assert_eq!(db.hold_tus_upload("t", "one", later(20)).await.expect("hold"), Some(later(9)), "wanted");
    assert_eq!(claim(&db, "t", "two", later(19)).await, TusClaim::Held);
    assert_eq!(db.hold_tus_upload("t", "two", later(20)).await.expect("hold"), None);
    db.release_tus_upload("t", "two").await.expect("not its own");
    assert_eq!(claim(&db, "t", "two", later(19)).await, TusClaim::Held);
    db.release_tus_upload("t", "one").await.expect("release");
    assert_eq!(db.hold_tus_upload("t", "one", later(30)).await.expect("hold"), None, "given up is given up");
    claimed(claim(&db, "t", "two", later(19)).await);
}

async fn whoever_lost_the_claim_records_nothing(db: Db) {
    begin(&db, "t").await;
    claimed(claim(&db, "t", "one", NOW).await);
    claimed(claim(&db, "t", "two", later(10)).await);
    assert_eq!(record(&db, "t", "one", &progress(150, &[])).await, TusRecorded::ClaimLost);
    assert_eq!(db.hold_tus_upload("t", "one", later(30)).await.expect("hold"), None);
    assert_eq!(db.tus_upload("t").await.expect("read").expect("there").offset_bytes, 0);
    assert_eq!(record(&db, "t", "two", &progress(7, &[])).await, TusRecorded::Yes);
    db.release_tus_upload("t", "two").await.expect("release");
    assert_eq!(record(&db, "t", "two", &progress(9, &[])).await, TusRecorded::ClaimLost);
    assert_eq!(record(&db, "u", "two", &progress(9, &[])).await, TusRecorded::ClaimLost, "no such upload");
}

async fn one_of_many_claims_wins(db: Db) {
    begin(&db, "t").await;
    for round in 0..5 {
        let tries = (0..16).map(|number| {
            let db = db.clone();
            tokio::spawn(
                async move { claim(&db, "t", &format!("{round}.{number}"), later(round * 10)).await },
            )
        });
        let mut won = 0;
        for claim in tries.collect::<Vec<_>>() {
            won += u32::from(matches!(claim.await.expect("claim"), TusClaim::Claimed(_)));
        }
        assert_eq!(won, 1, "round {round}");
    }
}

async fn what_an_upload_relies_on_stays_while_it_lasts(db: Db) {
    begin(&db, "t").await;
    store_file(&db, "a", 99, 10, 9).await;
    db.commit(&[segment(1), segment(2)], &[part("t", 1, 0..3)], &[], NOW, later(1)).await.expect("commit");
    claimed(claim(&db, "t", "one", NOW).await);
    assert_eq!(record(&db, "t", "one", &progress(100, &[1, 9, 1])).await, TusRecorded::Yes);
    assert_eq!(record(&db, "t", "one", &progress(200, &[9])).await, TusRecorded::Yes);
    assert_eq!(db.long_upload_segments("t").await.expect("segments"), [segment_id(1), segment_id(9)]);
    // The file whose blocks it found stored goes, and its own segment's lease is long over.
    db.unpin("a", &cid(99), NOW).await.expect("unpin");
    assert_eq!(db.collectable_segments(later(199), 9).await.expect("due"), [segment_id(2)]);
    assert!(!db.collect_segment(segment_id(1), later(199)).await.expect("collect"));
    assert!(!db.collect_segment(segment_id(9), later(199)).await.expect("collect"));
    clear(&db, 199).await;
    assert_eq!(finish(&db, "t", 2, &[1, 9]).await, Created);
    for number in [1, 9] {
        assert_eq!(state(&db, number).await, Some(SegmentState::Live));
    }
}

async fn progress_upon_what_is_gone_is_refused(db: Db) {
    begin(&db, "t").await;
    db.commit(&[segment(1), segment(2)], &[part("t", 1, 0..3)], &[], NOW, later(1)).await.expect("commit");
    claimed(claim(&db, "t", "one", NOW).await);
    assert_eq!(record(&db, "t", "one", &progress(100, &[1, 8])).await, TusRecorded::SegmentGone);
    assert!(db.collect_segment(segment_id(2), later(4)).await.expect("collect"));
    assert_eq!(record(&db, "t", "one", &progress(100, &[1, 2])).await, TusRecorded::SegmentGone);
    assert_eq!(db.tus_upload("t").await.expect("read").expect("there").offset_bytes, 0);
    assert!(db.long_upload_segments("t").await.expect("segments").is_empty());
}

async fn finishing_is_one_with_the_pin(db: Db) {
    begin(&db, "t").await;
    db.commit(&[segment(1)], &[part("t", 1, 0..3)], &[], NOW, later(60)).await.expect("commit");
    claimed(claim(&db, "t", "one", NOW).await);
    let all = TusProgress { root: Some((cid(2), 12)), ..progress(300, &[1]) };
    assert_eq!(record(&db, "t", "one", &all).await, TusRecorded::Yes);
    let complete = db.tus_upload("t").await.expect("read").expect("there");
    assert_eq!((complete.root, complete.finished), (Some((cid(2), 12)), None), "not pinned yet");
    assert_eq!(db.find_blocks(&[cid(2)], false).await.expect("blocks").len(), 0);
    assert_eq!(finish(&db, "t", 2, &[1]).await, Created);
    assert_eq!(db.tus_upload("t").await.expect("read").expect("there").finished, Some(later(3)));
    assert_eq!(db.find_blocks(&[cid(2)], false).await.expect("blocks").len(), 1);
    assert_eq!(record(&db, "t", "one", &progress(10, &[])).await, TusRecorded::ClaimLost, "it is done");
    // What only an upload in progress needs goes; the file and its end remain.
    clear(&db, 9).await;
    assert!(db.long_upload_segments("t").await.expect("segments").is_empty());
    assert_eq!(db.long_uploads().await.expect("count"), 0);
    assert!(db.tus_upload("t").await.expect("read").is_some());
}

async fn what_was_noted_down_is_said_once(db: Db) {
    begin(&db, "t").await;
    db.commit(&[segment(1)], &[part("t", 1, 0..3)], &[], NOW, later(60)).await.expect("commit");
    claimed(claim(&db, "t", "one", NOW).await);
    let root = cid(2);
    let all = TusProgress { root: Some((root.clone(), 12)), ..progress(300, &[1]) };
    assert_eq!(record(&db, "t", "one", &all).await, TusRecorded::Yes);
    assert_eq!(finish(&db, "t", 2, &[1]).await, Created);
    assert_eq!(
        db.tus_upload("t").await.expect("read").expect("there").notes,
        "to be said",
        "a pin says nothing"
    );
    let pin = db.pin("a", &root).await.expect("read").expect("pinned").id;
    let say = async |name: &str, group: Option<&str>| {
        let group = group.map(|group| Some(group.to_string()));
        let change = PinChange { name: Some(name.into()), group, ..PinChange::default() };
        db.describe_tus_pin("t", "a", &pin, &change, 9).await.expect("describe")
    };
    assert_eq!(say("lost", Some("none")).await, Described::NoGroup);
    assert_eq!(db.tus_upload("t").await.expect("read").expect("there").notes, "to be said");
    let several = (0..8).map(|number| {
        let (db, pin) = (db.clone(), pin.clone());
        let change = PinChange { name: Some(format!("{number}")), ..PinChange::default() };
        tokio::spawn(async move { db.describe_tus_pin("t", "a", &pin, &change, 9).await.expect("describe") })
    });
    for said in several.collect::<Vec<_>>() {
        assert_eq!(said.await.expect("said"), Described::Done);
    }
    let name = db.pin("a", &root).await.expect("read").expect("pinned").name;
    assert_eq!(name.len(), 1, "one of them: {name}");
    assert_eq!(db.tus_upload("t").await.expect("read").expect("there").notes, "");
    assert_eq!(say("late", None).await, Described::Done);
    assert_eq!(db.pin("a", &root).await.expect("read").expect("pinned").name, name);
}

async fn a_partial_upload_is_finished_with_its_last_byte(db: Db) {
    account(&db, "a", 1_000).await;
    assert_eq!(
        db.create_tus_upload(&new("p", TusKind::Partial), 9, NOW).await.expect("create"),
        TusBegun::Yes
    );
    claimed(claim(&db, "p", "one", NOW).await);
    assert_eq!(record(&db, "p", "one", &progress(299, &[])).await, TusRecorded::Yes);
    assert_eq!(db.tus_upload("p").await.expect("read").expect("there").finished, None);
    let all = TusProgress { root: Some((cid(2), 12)), ..progress(300, &[]) };
    assert_eq!(record(&db, "p", "one", &all).await, TusRecorded::Yes);
    assert_eq!(db.tus_upload("p").await.expect("read").expect("there").finished, Some(NOW));
    assert!(db.extend_tus_uploads(&["p".into()], later(900)).await.expect("extend"));
    clear(&db, 899).await;
    assert_eq!(db.tus_upload("p").await.expect("read").expect("there").due, later(900));
    assert_eq!(db.long_uploads().await.expect("count"), 1);
    assert!(!db.extend_tus_uploads(&["p".into(), "q".into()], later(900)).await.expect("extend"));
}

async fn an_upload_that_is_over_goes_with_all_it_stored(db: Db) {
    begin(&db, "t").await;
    db.commit(&[segment(1)], &[part("t", 1, 0..5)], &[], NOW, later(1)).await.expect("commit");
    claimed(claim(&db, "t", "one", NOW).await);
    assert_eq!(record(&db, "t", "one", &progress(100, &[1])).await, TusRecorded::Yes);
    db.hold_tus_upload("t", "one", later(201)).await.expect("hold");
    clear(&db, 199).await;
    assert!(db.tus_upload("t").await.expect("read").is_some());
    assert!(!db.clear_tus_uploads(later(200), 9).await.expect("clear"));
    assert!(db.tus_upload("t").await.expect("read").is_some(), "somebody writes to it");
    assert_eq!(claim(&db, "t", "two", later(201)).await, TusClaim::Unknown, "but nobody begins to");
    clear(&db, 201).await;
    assert!(db.tus_upload("t").await.expect("read").is_none());
    assert_eq!(db.long_uploads().await.expect("count"), 0);
    assert!(db.find_stored(&[cid(3)]).await.expect("blocks").is_empty());
    assert_eq!(db.collectable_segments(later(201), 9).await.expect("due"), [segment_id(1)]);
    assert_eq!(finish(&db, "t", 2, &[1]).await, SegmentGone);
}

async fn an_upload_that_is_removed_goes_and_a_finished_file_stays(db: Db) {
    begin(&db, "t").await;
    db.commit(&[segment(1)], &[part("t", 1, 0..5)], &[], NOW, later(60)).await.expect("commit");
    claimed(claim(&db, "t", "one", NOW).await);
    assert!(db.remove_tus_upload("t").await.expect("remove"));
    assert!(!db.remove_tus_upload("t").await.expect("remove"));
    assert_eq!(record(&db, "t", "one", &progress(100, &[])).await, TusRecorded::ClaimLost);
    assert_eq!(finish(&db, "t", 2, &[1]).await, SegmentGone);
    clear(&db, 0).await;
    assert!(db.find_stored(&[cid(3)]).await.expect("blocks").is_empty());

    assert_eq!(db.create_tus_upload(&new("u", TusKind::Plain), 9, NOW).await.expect("create"), TusBegun::Yes);
    db.commit(&[segment(2)], &[part("u", 2, 0..5)], &[], NOW, later(60)).await.expect("commit");
    assert_eq!(finish(&db, "u", 2, &[2]).await, Created);
    assert!(db.remove_tus_upload("u").await.expect("remove"));
    clear(&db, 0).await;
    assert_eq!(db.find_blocks(&[cid(2), cid(3)], false).await.expect("blocks").len(), 2);
}

async fn an_account_has_so_many_at_once(db: Db) {
    begin(&db, "t").await;
    let create = async |id: &str, account: &str, at| {
        let new = NewTusUpload { account: account.into(), ..new(id, TusKind::Plain) };
        db.create_tus_upload(&new, 2, at).await.expect("create")
    };
    assert_eq!(create("u", "a", NOW).await, TusBegun::Yes);
    assert_eq!(create("v", "a", NOW).await, TusBegun::TooMany);
    assert!(db.tus_upload("v").await.expect("read").is_none());
    account(&db, "b", 1_000).await;
    assert_eq!(create("w", "b", NOW).await, TusBegun::Yes, "others have their own");
    store_file(&db, "a", 99, 10, 9).await;
    assert_eq!(finish(&db, "t", 2, &[9]).await, Created);
    assert_eq!(create("x", "a", NOW).await, TusBegun::Yes, "a finished one does not count");
    assert_eq!(create("y", "a", later(99)).await, TusBegun::TooMany);
    assert_eq!(create("z", "a", later(100)).await, TusBegun::Yes, "nor does one that is over");
}

/// Each alone had room, and together they could take any number of bytes for a day.
async fn uploads_that_are_not_finished_share_the_quota(db: Db) {
    begin(&db, "t").await;
    let create = async |id: &str, kind, length_bytes| {
        db.create_tus_upload(&NewTusUpload { length_bytes, ..new(id, kind) }, 9, NOW).await.expect("create")
    };
    assert_eq!(create("u", TusKind::Partial, Some(600)).await, TusBegun::Yes);
    assert_eq!(create("v", TusKind::Plain, Some(101)).await, TusBegun::QuotaExceeded);
    assert_eq!(
        create("w", TusKind::Final, Some(600)).await,
        TusBegun::Yes,
        "its bytes are those of its parts"
    );
    store_file(&db, "a", 99, 50, 9).await;
    assert_eq!(create("x", TusKind::Plain, Some(51)).await, TusBegun::QuotaExceeded);
    assert_eq!(create("y", TusKind::Plain, Some(50)).await, TusBegun::Yes);
    assert_eq!(create("z", TusKind::Plain, None).await, TusBegun::Yes, "its length is told later");
}

async fn blocks_of_uploads_in_progress_are_found_for_them_alone(db: Db) {
    begin(&db, "t").await;
    store_file(&db, "a", 99, 10, 9).await;
    // The block of the file is in a segment of the upload too.
    let parts = [part("t", 1, 0..2), part("t", 1, 99..100)];
    db.commit(&[segment(1)], &parts, &[], NOW, later(60)).await.expect("commit");
    let located = db.locate_unfinished(&[cid(0), cid(1), cid(50), cid(99)]).await.expect("locate");
    let mut places: Vec<_> = located.blocks.iter().map(|at| (at.cid.clone(), at.segment)).collect();
    places.sort();
    let mut expected = vec![(cid(0), segment_id(1)), (cid(1), segment_id(1)), (cid(99), segment_id(9))];
    expected.sort();
    assert_eq!(places, expected);
    assert_eq!(located.segments.len(), 2);
    assert_eq!(db.locate(&[cid(0)]).await.expect("locate").blocks.len(), 0);
}
