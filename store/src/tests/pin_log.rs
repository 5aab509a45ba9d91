//! The log of pins: what gets into it, in which order, and when older parts go.

use std::time::Duration;

use content::Cid;
use protocol::{record::GoneRecord, time::UnixMillis};

use super::{
    engines::both_engines,
    fixtures::{NOW, account, commit, commit_at, later, repeated, segment, segment_id, store_file, upload},
};
use crate::{Claim, Committed, Db, LogPart, LogRules, PinChange, SegmentState};

fn rules() -> LogRules {
    LogRules {
        batch: 3,
        wait_max: Duration::from_secs(60),
        pause_min: Duration::from_secs(10),
        sweep_every: Duration::from_secs(1_000_000),
    }
}

async fn claim(db: &Db, now: UnixMillis) -> Option<LogPart> {
    db.claim_pin_log(&rules(), now, now + Duration::from_secs(30)).await.expect("claim")
}

fn record() -> Cid {
    super::fixtures::cid(9_999)
}

async fn done(db: &Db, part: &LogPart, number: u32, now: UnixMillis) -> bool {
    db.commit_pin_log(part, &segment(number), &record(), now, now).await.expect("commit part")
}

/// Writes all that waits; gives the pins and the gone ones of each part.
async fn written(db: &Db, from: u64) -> Vec<(Vec<String>, Vec<String>)> {
    let mut parts = Vec::new();
    for turn in 0..20 {
        let now = later(from + u64::from(turn) * 100);
        let Some(part) = claim(db, now).await else { break };
        let pins = part.record.pins.iter().filter_map(|pin| pin.id.clone()).collect();
        let gone = part.record.gone.iter().map(|GoneRecord { id, .. }| id.clone()).collect();
        assert!(done(db, &part, 5_000 + u32::try_from(from).unwrap() + turn, now).await);
        parts.push((pins, gone));
    }
    parts
}

async fn everything_that_happens_to_pins_gets_into_the_log(db: Db) {
    account(&db, "a", 1_000).await;
    assert_eq!(claim(&db, later(1)).await, None, "there is no pin");
    store_file(&db, "a", 1, 10, 1).await;
    let (first, mut hold) = (upload("a", 2, 20, &[2]), upload("a", 3, 30, &[2]));
    hold.claim = Claim::Hold;
    hold.expires = Some(later(500));
    commit(&db, &[segment(2)], &[first.clone(), hold.clone()]).await;
    // What was refused is said to be gone, for notes may name it.
    let refused = upload("a", 4, 5_000, &[2]);
    assert_eq!(commit(&db, &[], std::slice::from_ref(&refused)).await, [Committed::QuotaExceeded]);
    let parts = written(&db, 100).await;
    let pins: Vec<&String> = parts.iter().flat_map(|(pins, _)| pins).collect();
    assert!(pins.contains(&&first.pin) && pins.contains(&&hold.pin), "{parts:?}");
    assert!(parts.iter().any(|(_, gone)| gone.contains(&refused.pin)), "{parts:?}");
    assert_eq!(db.pin_changes().await.expect("count"), 0);

    // A new end, an end, and an upload of what is pinned already.
    let change = PinChange { expires: Some(later(9_000)), ..PinChange::default() };
    db.describe_pin("a", &first.pin, &change, 9).await.expect("describe");
    let again = repeated("a", 2, 20, &[2]);
    assert_eq!(commit(&db, &[], std::slice::from_ref(&again)).await, [Committed::AlreadyPinned]);
    db.unpin("a", &super::fixtures::cid(3), later(9)).await.expect("unpin");
    let parts = written(&db, 5_000).await;
    let (pins, gone): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let (pins, gone) = (pins.concat(), gone.concat());
    assert!(pins.contains(&first.pin) && !pins.contains(&again.pin), "{pins:?}");
    assert!(gone.contains(&hold.pin) && gone.contains(&again.pin), "{gone:?}");
}

async fn one_at_a_time_writes_the_log_and_nothing_is_lost_by_those_that_die(db: Db) {
    account(&db, "a", 1_000).await;
    store_file(&db, "a", 1, 10, 1).await;
    let dead = claim(&db, later(100)).await.expect("a part");
    assert_eq!(claim(&db, later(110)).await, None, "somebody writes");
    let next = claim(&db, later(140)).await.expect("the same changes");
    assert!(next.place.seq > dead.place.seq && next.record.pins == dead.record.pins);
    assert!(!done(&db, &dead, 7, later(141)).await, "it has been taken over");
    assert!(done(&db, &next, 8, later(142)).await);
    assert!(!done(&db, &next, 9, later(143)).await, "once");
    assert_eq!(claim(&db, later(300)).await, None);
    let log = db.pin_log_segments(None, 9).await.expect("segments");
    assert_eq!(log, [segment_id(8)]);
    // Given up, what was in it is tried again.
    db.unpin("a", &super::fixtures::cid(1), later(301)).await.expect("unpin");
    let part = claim(&db, later(400)).await.expect("a part");
    db.give_up_pin_log(&part).await.expect("give up");
    assert_eq!(claim(&db, later(400)).await.expect("again").record.gone, part.record.gone);
}

async fn what_changes_while_a_part_is_written_is_in_the_next_one(db: Db) {
    account(&db, "a", 1_000).await;
    store_file(&db, "a", 1, 10, 1).await;
    let part = claim(&db, later(100)).await.expect("a part");
    db.unpin("a", &super::fixtures::cid(1), later(100)).await.expect("unpin");
    assert!(done(&db, &part, 7, later(101)).await);
    let next = claim(&db, later(300)).await.expect("the removal");
    assert_eq!((next.record.pins.len(), next.record.gone.len()), (0, 1));
    assert!(next.place.seq > part.place.seq);
}

async fn a_full_part_waits_for_nothing(db: Db) {
    account(&db, "a", 1_000).await;
    store_file(&db, "a", 1, 10, 1).await;
    assert_eq!(written(&db, 100).await.len(), 1);
    for number in 2..9 {
        store_file(&db, "a", number, 1, number).await;
    }
    let mut sizes = Vec::new();
    while let Some(part) = claim(&db, later(111)).await {
        sizes.push(part.record.pins.len());
        assert!(done(&db, &part, 7_000 + u32::try_from(sizes.len()).unwrap(), later(111)).await);
    }
    assert_eq!(sizes, [3, 3], "what does not fill a part waits for more");
    assert_eq!(claim(&db, later(111 + 60)).await.expect("the rest").record.pins.len(), 1);
}

async fn older_parts_go_once_all_pins_are_written_anew(db: Db) {
    account(&db, "a", 1_000).await;
    for number in 0..8 {
        store_file(&db, "a", number, 1, number).await;
    }
    written(&db, 100).await;
    let before = db.pin_log_segments(None, 99).await.expect("segments").len();
    assert!(before >= 3, "{before}");
    // Half of them are gone by the time of the next sweep.
    for number in 0..4 {
        db.unpin("a", &super::fixtures::cid(number), later(5_000)).await.expect("unpin");
    }
    let parts = written(&db, 2_000_000).await;
    let pins: Vec<&String> = parts.iter().flat_map(|(pins, _)| pins).collect();
    assert_eq!(pins.len(), 4, "each pin once: {parts:?}");
    let left = db.pin_log_segments(None, 99).await.expect("segments").len();
    assert_eq!(left, parts.len(), "only the new parts are left");
    let states = db.segments_after(None, 999).await.expect("segments");
    let orphans = states.iter().filter(|(_, state)| *state == SegmentState::Orphaned).count();
    assert_eq!(orphans, before + 4, "old parts, and the segments of what was removed");
}

async fn a_log_segment_is_kept_and_found_again_as_others_are(db: Db) {
    account(&db, "a", 1_000).await;
    store_file(&db, "a", 1, 10, 1).await;
    let part = claim(&db, later(100)).await.expect("a part");
    assert!(done(&db, &part, 7, later(101)).await);
    assert!(
        db.set_lost(segment_id(7), true).await.expect("lose")
            && db.set_lost(segment_id(7), false).await.expect("find")
    );
    let collectable = db.collectable_segments(later(1_000_000), 99).await.expect("collectable");
    assert!(!collectable.contains(&segment_id(7)));
    assert_eq!(commit_at(&db, &[], &[repeated("a", 1, 10, &[1])], NOW).await, [Committed::AlreadyPinned]);
}

both_engines!(
    everything_that_happens_to_pins_gets_into_the_log,
    one_at_a_time_writes_the_log_and_nothing_is_lost_by_those_that_die,
    what_changes_while_a_part_is_written_is_in_the_next_one,
    a_full_part_waits_for_nothing,
    older_parts_go_once_all_pins_are_written_anew,
    a_log_segment_is_kept_and_found_again_as_others_are,
);
