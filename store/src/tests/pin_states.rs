//! Pins that are held, pins beside pins, pins that wait, and finding them.

use protocol::time::UnixMicros;

use super::{
    engines::both_engines,
    fixtures::{NOW, account, cid, commit, later, repeated, segment, state, store_file, upload, used},
    whole::assert_whole,
};
use crate::{
    Beside, Claim, Committed, Db, MetaCompare, MetaTest, NameMatch, PinFilter, PinState, SegmentState,
    UploadMetadata, WaitingPin,
};

both_engines!(
    what_is_replaced_is_held_meanwhile,
    waiting_pins_are_made_milliseconds_apart,
    holds_are_charged_apart_and_end,
    a_hold_is_served_by_what_is_there,
    a_pin_takes_the_place_of_a_hold,
    blocks_beside_a_pinned_root_are_charged,
    further_pins_cost_nothing_until_the_last_goes,
    what_waits_is_pinned_when_it_is_stored,
    what_was_withdrawn_is_not_pinned,
    jobs_pass_from_the_dead_to_the_living,
    jobs_fail_for_good_or_for_now,
    only_so_many_pins_of_an_account_wait,
    pins_are_found_by_what_is_said_of_them,
);

fn hold(account: &str, root: u32, size_bytes: u64, segments: &[u32]) -> UploadMetadata {
    let upload = upload(account, root, size_bytes, segments);
    UploadMetadata { claim: Claim::Hold, expires: Some(later(24 * 60)), ..upload }
}

pub(super) fn waiting(id: &str, account: &str, root: u32) -> WaitingPin {
    WaitingPin {
        id: id.to_string(),
        account: account.to_string(),
        cid: cid(root),
        name: format!("File {root}"),
        origins: vec!["/dns4/example.com/tcp/443/https".to_string()],
        meta: [("app".to_string(), "one".to_string())].into(),
        created: NOW.micros(),
        deadline: later(60),
    }
}

async fn holds_are_charged_apart_and_end(db: Db) {
    account(&db, "a", 100).await;
    let held = hold("a", 1, 60, &[1]);
    assert_eq!(commit(&db, &[segment(1)], std::slice::from_ref(&held)).await, [Committed::Created]);
    assert_eq!((used(&db, "a").await, state(&db, 1).await), (60, Some(SegmentState::Live)));
    assert_eq!(db.pin("a", &cid(1)).await.expect("pin"), None, "a hold is in no list");
    assert_eq!(db.unpin_one("a", &held.pin, later(1)).await.expect("unpin"), None);
    let ended = db.expired_pins(later(24 * 60), 9).await.expect("expired");
    assert_eq!(ended, [("a".to_string(), held.pin.clone())]);
    assert!(db.expire_pin("a", &held.pin, later(24 * 60), later(24 * 60)).await.expect("expire"));
    assert_eq!((used(&db, "a").await, state(&db, 1).await), (0, Some(SegmentState::Orphaned)));
    assert_whole(&db).await;
}

/// What was held and then pinned was charged twice until the hold ended.
async fn a_pin_takes_the_place_of_a_hold(db: Db) {
    account(&db, "a", 100).await;
    account(&db, "b", 100).await;
    commit(&db, &[segment(1)], &[hold("a", 1, 60, &[1]), hold("b", 1, 60, &[1])]).await;
    assert_eq!(commit(&db, &[], &[repeated("a", 1, 101, &[1])]).await, [Committed::QuotaExceeded]);
    assert_eq!(used(&db, "a").await, 60, "a pin that is refused takes nothing");
    assert_eq!(commit(&db, &[], &[repeated("a", 1, 70, &[1])]).await, [Committed::Created]);
    assert_eq!((used(&db, "a").await, used(&db, "b").await), (70, 60));
    assert_whole(&db).await;
    // Of two pins in one call the first takes it; what is kept beside a root is no hold.
    let another = UploadMetadata { claim: Claim::Another, ..repeated("b", 1, 50, &[1]) };
    let with = UploadMetadata { beside: Some(Beside::new("x", 20)), ..repeated("b", 1, 50, &[1]) };
    assert_eq!(commit(&db, &[], &[with, another]).await, [Committed::Created; 2]);
    assert_eq!(used(&db, "b").await, 70);
    assert_whole(&db).await;
    let ended = db.expired_pins(later(24 * 60), 9).await.expect("expired");
    assert_eq!(ended, [], "no hold is left");
    assert!(db.unpin("b", &cid(1), later(1)).await.expect("unpin"));
    assert_eq!((used(&db, "a").await, used(&db, "b").await), (70, 0));
    assert_eq!(state(&db, 1).await, Some(SegmentState::Live));
    assert!(db.unpin("a", &cid(1), later(1)).await.expect("unpin"));
    assert_eq!((used(&db, "a").await, state(&db, 1).await), (0, Some(SegmentState::Orphaned)));
    assert_whole(&db).await;
}

async fn a_hold_is_served_by_what_is_there(db: Db) {
    account(&db, "a", 100).await;
    let first = hold("a", 1, 60, &[1]);
    commit(&db, &[segment(1)], std::slice::from_ref(&first)).await;
    let again = UploadMetadata { expires: Some(later(48 * 60)), ..hold("a", 1, 60, &[1]) };
    assert_eq!(commit(&db, &[], &[again]).await, [Committed::AlreadyPinned]);
    assert_eq!(db.expired_pins(later(25 * 60), 9).await.expect("expired"), [], "it was made to last longer");
    store_file(&db, "a", 2, 10, 2).await;
    assert_eq!(commit(&db, &[], &[hold("a", 2, 10, &[2])]).await, [Committed::AlreadyPinned]);
    assert_eq!(used(&db, "a").await, 70);
    assert_whole(&db).await;
}

/// They were kept beside a root that the account had pinned before, and never counted.
async fn blocks_beside_a_pinned_root_are_charged(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 1, 10, 1).await;
    let with = |id: &str, bytes| UploadMetadata {
        beside: Some(Beside::new(id, bytes)),
        ..repeated("a", 1, 10, &[1, 2])
    };
    let already = [Committed::AlreadyPinned];
    assert_eq!(commit(&db, &[segment(2)], &[with("x", 30)]).await, already);
    assert_eq!(used(&db, "a").await, 40);
    assert_eq!(commit(&db, &[], &[with("x", 30), with("y", 20), with("y", 20)]).await, [already[0]; 3]);
    assert_eq!(used(&db, "a").await, 60, "the same blocks are charged once");
    assert_eq!(commit(&db, &[], &[with("z", 41)]).await, [Committed::QuotaExceeded]);
    assert_whole(&db).await;
    // They go with the last pin, whichever way that goes.
    let another = UploadMetadata { claim: Claim::Another, ..with("z", 40) };
    assert_eq!(commit(&db, &[], std::slice::from_ref(&another)).await, [Committed::Created]);
    assert_eq!(used(&db, "a").await, 100);
    assert_eq!(db.unpin_one("a", &another.pin, later(1)).await.expect("unpin"), Some(cid(1)));
    assert_eq!(used(&db, "a").await, 100);
    let last = db.pin("a", &cid(1)).await.expect("pin").expect("one").id;
    assert_eq!(db.unpin_one("a", &last, later(1)).await.expect("unpin"), Some(cid(1)));
    assert_eq!((used(&db, "a").await, state(&db, 2).await), (0, Some(SegmentState::Orphaned)));
    assert_whole(&db).await;
}

async fn further_pins_cost_nothing_until_the_last_goes(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 1, 60, 1).await;
    let another = |bytes| UploadMetadata { claim: Claim::Another, ..repeated("a", 1, bytes, &[1]) };
    let (second, third) = (another(99), another(5));
    let made = commit(&db, &[], &[second.clone(), third.clone()]).await;
    assert_eq!(made, [Committed::Created, Committed::Created]);
    assert_eq!(used(&db, "a").await, 60);
    let first = db.pins("a", None, 9).await.expect("pins").pins.pop().expect("three pins").id;
    for (id, left) in [(first, 60), (third.pin, 60), (second.pin, 0)] {
        assert_whole(&db).await;
        assert_eq!(db.unpin_one("a", &id, later(1)).await.expect("unpin"), Some(cid(1)));
        assert_eq!(used(&db, "a").await, left, "{id}");
        assert_eq!(db.unpin_one("a", &id, later(1)).await.expect("unpin"), None);
    }
    assert_eq!(state(&db, 1).await, Some(SegmentState::Orphaned));
    assert_whole(&db).await;
}

async fn what_waits_is_pinned_when_it_is_stored(db: Db) {
    account(&db, "a", 100).await;
    assert_eq!(db.add_waiting_pin(&waiting("w", "a", 1), 9).await.expect("add"), Some(NOW.micros()));
    assert_whole(&db).await;
    assert_eq!(db.pin("a", &cid(1)).await.expect("pin"), None);
    let find = async |db: &Db| {
        let all = PinFilter { ids: vec!["w".to_string()], ..PinFilter::default() };
        db.find_pins("a", &all, 9).await.expect("find").pins.pop().expect("one pin")
    };
    assert_eq!(find(&db).await.pin.state, PinState::Queued);
    let job = db.claim_pin_jobs(NOW, later(1), 9).await.expect("claim").pop().expect("one job");
    assert_eq!((job.cid.clone(), job.attempts, &job.name), (cid(1), 0, &"File 1".to_string()));
    assert_eq!(find(&db).await.pin.state, PinState::Pinning);
    assert_eq!(used(&db, "a").await, 0);

    let stored = UploadMetadata { pin: job.pin, claim: Claim::Waiting, ..upload("a", 1, 60, &[1]) };
    let twice = [stored.clone(), stored.clone()];
    assert_eq!(commit(&db, &[segment(1)], &twice).await, [Committed::Created, Committed::Withdrawn]);
    let found = find(&db).await;
    assert_eq!(
        (found.pin.state, found.pin.size_bytes, found.pin.created),
        (PinState::Pinned, 60, NOW.micros())
    );
    assert_eq!((found.origins.len(), found.meta.len(), found.info), (1, 1, None));
    assert_eq!((used(&db, "a").await, db.waiting_pins().await.expect("count")), (60, 0));
    assert_whole(&db).await;
    assert!(db.unpin("a", &cid(1), later(1)).await.expect("unpin"));
    assert_whole(&db).await;
}

async fn what_was_withdrawn_is_not_pinned(db: Db) {
    account(&db, "a", 100).await;
    account(&db, "b", 100).await;
    db.add_waiting_pin(&waiting("w", "a", 1), 9).await.expect("add");
    let stored = |account: &str, root| UploadMetadata {
        pin: "w".to_string(),
        claim: Claim::Waiting,
        ..upload(account, root, 60, &[1])
    };
    assert_eq!(commit(&db, &[segment(1)], &[stored("b", 1)]).await, [Committed::Withdrawn], "of another");
    assert_eq!(commit(&db, &[], &[stored("a", 2)]).await, [Committed::Withdrawn], "of another root");
    assert_eq!(db.unpin_one("a", "w", later(1)).await.expect("unpin"), Some(cid(1)));
    assert_eq!(commit(&db, &[], &[stored("a", 1)]).await, [Committed::Withdrawn]);
    assert_eq!((used(&db, "a").await, db.waiting_pins().await.expect("count")), (0, 0));
    assert_whole(&db).await;
}

async fn jobs_pass_from_the_dead_to_the_living(db: Db) {
    account(&db, "a", 100).await;
    for (id, root) in [("v", 1), ("w", 2)] {
        db.add_waiting_pin(&waiting(id, "a", root), 9).await.expect("add");
    }
    let mut first = db.claim_pin_jobs(NOW, later(1), 1).await.expect("claim").pop().expect("a job");
    let other = db.claim_pin_jobs(NOW, later(1), 9).await.expect("claim");
    assert_eq!(other.iter().map(|job| job.pin.as_str()).collect::<Vec<_>>(), ["w"], "each is claimed once");
    assert_eq!(db.claim_pin_jobs(NOW, later(1), 9).await.expect("claim"), []);
    assert!(db.keep_pin_job(&mut first, later(3), Some("half")).await.expect("keep"));
    let taken = db.claim_pin_jobs(later(2), later(4), 9).await.expect("claim");
    assert_eq!(taken.iter().map(|job| (job.pin.as_str(), job.attempts)).collect::<Vec<_>>(), [("w", 1)]);
    let mut late = other[0].clone();
    assert!(!db.keep_pin_job(&mut late, later(9), None).await.expect("keep"), "it was taken over");
    db.fail_pin_job(&late, "too late").await.expect("fail");
    db.put_back_pin_job(&late, later(9), "too late").await.expect("put back");
    assert!(
        db.keep_pin_job(&mut taken[0].clone(), later(9), None).await.expect("keep"),
        "others cannot end it"
    );
    db.unpin_one("a", "v", later(1)).await.expect("unpin");
    assert!(!db.keep_pin_job(&mut first, later(9), None).await.expect("keep"), "the pin is gone");
    assert_whole(&db).await;
}

async fn jobs_fail_for_good_or_for_now(db: Db) {
    account(&db, "a", 100).await;
    db.add_waiting_pin(&waiting("w", "a", 1), 9).await.expect("add");
    let job = db.claim_pin_jobs(NOW, later(1), 9).await.expect("claim").remove(0);
    db.put_back_pin_job(&job, later(5), "nobody has it").await.expect("put back");
    let find = async || db.find_pins("a", &PinFilter::default(), 9).await.expect("find").pins.remove(0);
    assert_eq!(
        (find().await.pin.state, find().await.info.as_deref()),
        (PinState::Queued, Some("nobody has it"))
    );
    assert_eq!(db.claim_pin_jobs(later(4), later(6), 9).await.expect("claim"), []);
    let job = db.claim_pin_jobs(later(5), later(6), 9).await.expect("claim").remove(0);
    db.fail_pin_job(&job, "it is \0 gone").await.expect("fail");
    assert_eq!(
        (find().await.pin.state, find().await.info.as_deref()),
        (PinState::Failed, Some("it is  gone"))
    );
    assert_eq!(db.waiting_pins().await.expect("count"), 0);
    assert_whole(&db).await;
    assert!(db.unpin("a", &cid(1), later(9)).await.expect("unpin"));
    assert_whole(&db).await;
}

async fn only_so_many_pins_of_an_account_wait(db: Db) {
    account(&db, "a", 100).await;
    account(&db, "b", 100).await;
    for (id, account, fits) in [("1", "a", true), ("2", "a", true), ("3", "a", false), ("4", "b", true)] {
        let added = db.add_waiting_pin(&waiting(id, account, 1), 2).await.expect("add");
        assert_eq!(added.is_some(), fits, "{id}");
    }
    let job = db.claim_pin_jobs(NOW, later(1), 1).await.expect("claim").remove(0);
    db.fail_pin_job(&job, "no").await.expect("fail");
    assert!(db.add_waiting_pin(&waiting("5", &job.account, 1), 2).await.expect("add").is_some());
    assert_whole(&db).await;
}

async fn pins_are_found_by_what_is_said_of_them(db: Db) {
    account(&db, "a", 1000).await;
    account(&db, "b", 1000).await;
    let names = ["Straße 1", "STRASSE", "straße 10%", "", "x_y"];
    for (root, name) in (0..).zip(names) {
        let at = later(u64::from(root));
        let file = UploadMetadata { name: name.to_string(), ..upload("a", root, 1, &[root]) };
        db.commit(&[segment(root)], &[], &[file], at, later(60)).await.expect("commit");
    }
    commit(&db, &[], &[repeated("b", 0, 1, &[0]), hold("a", 9, 1, &[0])]).await;
    db.add_waiting_pin(&waiting("0", "a", 0), 9).await.expect("add");
    let find = async |filter: PinFilter| {
        let mut found: Vec<String> = Vec::new();
        let all = db.find_pins("a", &filter, 100).await.expect("find");
        assert_eq!(all.count, all.pins.len() as u64);
        let few = db.find_pins("a", &filter, 1).await.expect("find");
        assert_eq!((few.count, few.pins.len()), (all.count, all.pins.len().min(1)));
        found.extend(all.pins.into_iter().map(|found| found.pin.name));
        found
    };
    let any = PinFilter::default;
    let named = |name: &str, how| PinFilter { name: Some((name.to_string(), how)), ..any() };
    assert_eq!(find(any()).await, ["File 0", "x_y", "", "straße 10%", "STRASSE", "Straße 1"]);
    assert_eq!(find(named("Straße 1", NameMatch::Exact)).await, ["Straße 1"]);
    assert_eq!(find(named("STRAßE 1", NameMatch::ExactAnyCase)).await, ["Straße 1"]);
    assert_eq!(find(named("raße 1", NameMatch::Partial)).await, ["straße 10%", "Straße 1"]);
    assert_eq!(find(named("s", NameMatch::PartialAnyCase)).await, ["straße 10%", "STRASSE", "Straße 1"]);
    assert_eq!(find(named("%", NameMatch::Partial)).await, ["straße 10%"]);
    assert_eq!(find(named("_", NameMatch::Partial)).await, ["x_y"]);
    assert_eq!(find(named("", NameMatch::Partial)).await.len(), 6);
    assert_eq!(find(named("", NameMatch::Exact)).await, [""]);
    let of = |states: &[PinState]| PinFilter { states: states.to_vec(), ..any() };
    assert_eq!(find(of(&[PinState::Pinned])).await.len(), 5);
    assert_eq!(find(of(&[PinState::Queued, PinState::Failed])).await, ["File 0"]);
    assert_eq!(find(of(&[PinState::Queued, PinState::Pinned])).await.len(), 6);
    assert_eq!(
        find(PinFilter { cids: vec![cid(0), cid(1)], ..any() }).await,
        ["File 0", "STRASSE", "Straße 1"]
    );
    let at = |minutes| UnixMicros(later(minutes).0 * 1000);
    let between = PinFilter { after: Some(at(1)), before: Some(at(4)), ..any() };
    assert_eq!(find(between).await, ["", "straße 10%"]);
    let test = |key: &str, value: &str| MetaTest {
        key: key.to_string(),
        value: value.to_string(),
        compare: MetaCompare::Equal,
    };
    let app = |tests: &[MetaTest]| PinFilter { meta: tests.to_vec(), ..any() };
    assert_eq!(find(app(&[test("app", "one")])).await, ["File 0"]);
    assert_eq!(find(app(&[test("app", "one"), test("b", "c")])).await, [""; 0]);
    assert_eq!(find(app(&[test("app", "ONE")])).await, [""; 0]);
}

async fn what_is_replaced_is_held_meanwhile(db: Db) {
    account(&db, "a", 100).await;
    let beside = Some(Beside::new("x", 20));
    let first = UploadMetadata { beside, ..upload("a", 1, 60, &[1]) };
    let second = UploadMetadata { claim: Claim::Another, ..repeated("a", 1, 60, &[1]) };
    commit(&db, &[segment(1)], &[first.clone(), second.clone()]).await;
    assert!(!db.hold_pin("a", &second.pin, later(60)).await.expect("hold"), "another pin keeps the root");
    assert_eq!(db.unpin_one("a", &second.pin, later(1)).await.expect("unpin"), Some(cid(1)));
    assert!(!db.hold_pin("b", &first.pin, later(60)).await.expect("hold"), "of another");
    assert!(db.hold_pin("a", &first.pin, later(60)).await.expect("hold"));
    assert_eq!((db.pin("a", &cid(1)).await.expect("pin"), used(&db, "a").await), (None, 80));
    assert_eq!(state(&db, 1).await, Some(SegmentState::Live));
    assert_whole(&db).await;
    for (account, pin) in db.expired_pins(later(60), 9).await.expect("expired") {
        db.expire_pin(&account, &pin, later(60), later(61)).await.expect("expire");
    }
    assert_eq!((used(&db, "a").await, state(&db, 1).await), (0, Some(SegmentState::Orphaned)));
    assert_whole(&db).await;
}

async fn waiting_pins_are_made_milliseconds_apart(db: Db) {
    account(&db, "a", 100).await;
    let mut made = Vec::new();
    for id in ["1", "2", "3"] {
        made.extend(db.add_waiting_pin(&waiting(id, "a", 1), 9).await.expect("add"));
    }
    let expected = [0, 1000, 2000].map(|micros| UnixMicros(NOW.micros().0 + micros));
    assert_eq!(made, expected);
}
