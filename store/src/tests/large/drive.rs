//! Every function of the store, run on rows of the large tables. Asks for about ten rows at a time; other ones each round.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use content::Cid;
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    time::{UnixMicros, UnixMillis},
};

use super::plans::Plans;
use crate::{
    BlockAt, Claim, Db, Earning, Event, GroupFilter, GroupTest, Heartbeat, LedgerKind, LogRules, MetaCompare,
    MetaTest, MonitorSign, NameMatch, NewApiKey, NewTusUpload, PieceSlot, PinChange, PinFilter, PinGroup,
    PinState, TusKind, TusProgress, UploadMetadata, UploadPart, Visit, WaitingPin,
    tests::fixtures::{NOW, cid, later, new_node, segment},
};

/// Runs a function whose statements are noted down under its name.
macro_rules! run {
    ($d:ident.$function:ident($($argument:expr),* $(,)?)) => {{
        $d.plans.begin(stringify!($function));
        let outcome = $d.db.$function($($argument),*).await;
        $d.plans.begin("");
        outcome.unwrap_or_else(|error| panic!("{}: {error}", stringify!($function)))
    }};
}

/// What a round needs.
struct Drive<'a> {
    db: &'a Db,
    plans: &'a Plans,
    round: u32,
}

impl Drive<'_> {
    /// A name as the rows have it.
    async fn name<T: FromStr>(&self, function: &str, number: u32) -> T {
        let Db::Postgres { pool, .. } = self.db else { panic!("a case for PostgreSQL") };
        let sql = sqlx::AssertSqlSafe(format!("SELECT {function}($1)"));
        let (name,): (String,) =
            sqlx::query_as(sql).bind(i64::from(number)).fetch_one(pool).await.expect("a name");
        name.parse().unwrap_or_else(|_| panic!("{name} is no name"))
    }

    /// The number of something that no other round and no other call takes.
    fn number(&self, call: u32) -> u32 {
        1_000 * call + 10 + 100 * self.round
    }

    /// A block, every fifth of which is a root.
    async fn cid(&self, number: u32) -> Cid {
        self.name("cid_of", number).await
    }

    /// One of 125,000.
    async fn segment(&self, number: u32) -> SegmentId {
        self.name("segment_of", number).await
    }

    async fn node(&self, number: u32) -> NodeId {
        self.name("node_of", number % 500).await
    }

    /// A pin that is neither waiting nor held, its account and its root.
    async fn pin(&self, number: u32) -> (String, String, Cid) {
        let number = number + 7;
        (format!("pin-{number}"), self.name("account_of", number).await, self.cid(number * 5).await)
    }

    fn fresh(&self, what: &str) -> String {
        format!("{what}-of-round-{}", self.round)
    }
}

/// One round.
pub(super) async fn everything(db: &Db, plans: &Plans, round: u32) {
    plans.begin("");
    let d = Drive { db, plans, round };
    accounts(&d).await;
    nodes(&d).await;
    reading(&d).await;
    searching(&d).await;
    pins(&d).await;
    groups(&d).await;
    waiting(&d).await;
    commits(&d).await;
    tus(&d).await;
    pieces(&d).await;
    segments(&d).await;
    queues(&d).await;
    money(&d).await;
    log(&d).await;
    watching(&d).await;
}

async fn log(d: &Drive<'_>) {
    let rules = LogRules {
        batch: 20,
        wait_max: Duration::from_secs(60),
        pause_min: Duration::ZERO,
        sweep_every: Duration::from_secs(1),
    };
    let now = later(100 + 100 * u64::from(d.round));
    let until = now + Duration::from_secs(30);
    let part = run!(d.claim_pin_log(&rules, now, until)).expect("all pins are to be written down");
    run!(d.give_up_pin_log(&part));
    let part = run!(d.claim_pin_log(&rules, now, until)).expect("it was given up");
    let number = 900_000 + d.round;
    assert!(run!(d.commit_pin_log(&part, &segment(number), &cid(number), now, now)));
    run!(d.pin_log_segments(None, 10));
}

async fn watching(d: &Drive<'_>) {
    let now = later(100 * u64::from(d.round));
    run!(d.beat(None, now, Duration::from_secs(1)));
    run!(d.hold_collection(now, "why"));
    run!(d.held());
    run!(d.last_watch());
    let sign = MonitorSign { id: d.fresh("monitor"), seen: now, breaker: None };
    run!(d.sign_monitor(&sign));
    run!(d.monitors(10));
    run!(d.monitor_seen());
    run!(d.trim_monitors(now, 10));
    run!(d.tallies(100_000));
    let number = 100 + u8::try_from(d.round).expect("few rounds");
    assert!(run!(d.readmit(&new_node(number), "operator", NOW, NOW)));
}

async fn accounts(d: &Drive<'_>) {
    let (id, key) = (d.fresh("account"), d.fresh("key"));
    run!(d.create_account(&id, "name", 1_000, NOW));
    run!(d.set_quota(&id, 2_000));
    run!(d.account("account-7"));
    run!(d.accounts("account-5", 10));
    let new = NewApiKey {
        id: key.clone(),
        account: id,
        name: String::new(),
        secret_hash: String::new(),
        scopes: String::new(),
        expires: None,
    };
    run!(d.create_key(&new, NOW));
    run!(d.api_key("key-77"));
    run!(d.account_keys("account-7", 10));
    run!(d.revoke_key(&key, NOW));
    run!(d.create_invite(&d.fresh("invite"), "operator", 1, NOW, later(60)));
}

async fn nodes(d: &Drive<'_>) {
    let number = u8::try_from(d.round).expect("few rounds");
    let invite = d.fresh("invite");
    run!(d.may_enrol(new_node(number).id, Some(&invite), NOW));
    run!(d.enrol(&new_node(number), Some(&invite), NOW)).expect("admitted");
    let node = d.node(d.number(1)).await;
    let beat =
        Heartbeat { version: "2".into(), capacity_bytes: 9, used_bytes: 1, free_bytes: 8, piece_count: 1 };
    run!(d.heartbeat(node, &beat, NOW));
    run!(d.nodes());
    run!(d.node(node));
    run!(d.record_contact(node, d.round.is_multiple_of(2), NOW));
    run!(d.set_reputation(node, 0, "vetted", "{}"));
    run!(d.sweep_cursor(node));
    run!(d.sweep_cursors());
    run!(d.set_sweep_cursor(node, Some("a")));
    run!(d.schedule_visit(node, Visit::Audit, NOW));
    for visit in [Visit::Probe, Visit::Audit, Visit::Reconcile] {
        run!(d.claim_visits(visit, later(60), later(120), 10));
    }
}

async fn reading(d: &Drive<'_>) {
    let mut cids = Vec::new();
    let mut segments = Vec::new();
    for number in 0..3 {
        cids.push(d.cid(d.number(100 * (number + 1))).await);
        segments.push(d.segment(d.number(10 * (number + 1))).await);
    }
    assert!(!run!(d.locate(&cids)).segments.is_empty(), "there are such blocks");
    run!(d.find_stored(&cids));
    run!(d.locate_unfinished(&cids));
    assert_eq!(run!(d.segments_info(&segments)).len(), 3);
    assert_eq!(run!(d.segment_states(&segments)).len(), 3);
    let root = d.cid(d.number(5)).await;
    run!(d.root_segments(&root));
    assert!(run!(d.root_size(&root)).is_some());
}

async fn searching(d: &Drive<'_>) {
    let some = |filter: PinFilter| filter;
    let (pin, account, cid) = d.pin(d.number(2)).await;
    let text = |key: &str, value: &str| MetaTest {
        key: key.into(),
        value: value.into(),
        compare: MetaCompare::Equal,
    };
    let filters = [
        PinFilter::default(),
        some(PinFilter { ids: vec![pin], ..PinFilter::default() }),
        some(PinFilter { cids: vec![cid], ..PinFilter::default() }),
        some(PinFilter { name: Some(("file 7".into(), NameMatch::PartialAnyCase)), ..PinFilter::default() }),
        some(PinFilter { states: vec![PinState::Queued, PinState::Pinning], ..PinFilter::default() }),
        some(PinFilter { before: Some(NOW.micros()), ..PinFilter::default() }),
        some(PinFilter { meta: vec![text("k", "7")], ..PinFilter::default() }),
        some(PinFilter { group: Some(GroupTest::In("group-7".into())), ..PinFilter::default() }),
        some(PinFilter { oldest_first: true, offset: 3, ..PinFilter::default() }),
    ];
    for filter in &filters {
        run!(d.find_pins(&account, filter, 10));
    }
    // Of the account with most pins: those that wait, and a page in the middle.
    let waits = PinFilter { states: vec![PinState::Queued, PinState::Pinning], ..PinFilter::default() };
    run!(d.find_pins("account-0", &waits, 1_000));
    let cursor = (UnixMicros(NOW.micros().0 + i64::from(d.number(200))), "pin".to_string());
    assert_eq!(run!(d.pins("account-0", Some(&cursor), 10)).pins.len(), 10);
    run!(d.groups("account-0", &GroupFilter::default(), 10));
}

async fn pins(d: &Drive<'_>) {
    let (id, account, cid) = d.pin(d.number(3)).await;
    assert!(run!(d.pin(&account, &cid)).is_some());
    run!(d.held_bytes(&account, &cid));
    let change = PinChange {
        name: Some("other".into()),
        meta: BTreeMap::from([("k".into(), Some("1".into()))]),
        expires: Some(later(60)),
        ..PinChange::default()
    };
    run!(d.describe_pin(&account, &id, &change, 9));
    let upload = format!("upload-{}", d.number(1));
    run!(d.describe_tus_pin(&upload, &account, &id, &change, 9));
    assert!(run!(d.hold_pin(&account, &id, later(60))));
    let (id, account, _) = d.pin(d.number(4)).await;
    assert!(run!(d.unpin_one(&account, &id, later(60))).is_some());
    let (_, account, cid) = d.pin(d.number(5)).await;
    assert!(run!(d.unpin(&account, &cid, later(60))));
    let expired = run!(d.expired_pins(later(60), 10));
    let (account, id) = expired.last().expect("some are over");
    assert!(run!(d.expire_pin(account, id, later(60), later(120))));
}

async fn groups(d: &Drive<'_>) {
    let group = PinGroup {
        id: d.fresh("group"),
        account: "account-0".into(),
        name: "name".into(),
        is_public: false,
        created: NOW.micros(),
    };
    assert!(run!(d.create_group(&group, 1_000_000)));
    run!(d.group("account-0", &group.id));
    run!(d.change_group("account-0", &group.id, Some("other"), None));
    run!(d.remove_group("account-0", &format!("group-{}", 5 * (d.round + 1))));
}

async fn waiting(d: &Drive<'_>) {
    let pin = WaitingPin {
        id: d.fresh("waiting"),
        account: "account-0".into(),
        cid: d.cid(d.number(6)).await,
        name: "name".into(),
        origins: vec!["/dns4/example/tcp/443".into()],
        meta: BTreeMap::from([("k".into(), "1".into())]),
        created: NOW.micros(),
        deadline: later(60),
    };
    run!(d.add_waiting_pin(&pin, 1_000_000));
    let now = UnixMillis(NOW.0 + 10_000_000);
    let mut jobs = run!(d.claim_pin_jobs(now, now + std::time::Duration::from_mins(1), 10));
    let mut job = jobs.pop().expect("some wait");
    assert!(run!(d.keep_pin_job(&mut job, now + std::time::Duration::from_mins(2), Some("half"))));
    run!(d.put_back_pin_job(&job, now, "later"));
    run!(d.fail_pin_job(&jobs[0], "never"));
}

async fn commits(d: &Drive<'_>) {
    let base = 10_000_000 + 10 * d.round;
    let new = [segment(base), segment(base + 1)];
    let block = |number: u32, of: &crate::NewSegment, cid: Cid| BlockAt {
        cid,
        segment: of.id,
        offset_bytes: u64::from(number),
        length_bytes: 9,
    };
    let (first, second) = (d.cid(base * 5).await, d.cid(base * 5 + 1).await);
    let (_, account, old) = d.pin(d.number(7)).await;
    let old_segments = d.db.root_segments(&old).await.expect("segments");
    let upload = |root: &Cid, claim, segments: Vec<SegmentId>, blocks: Vec<BlockAt>| UploadMetadata {
        pin: format!("{}-{root}-{claim:?}", d.fresh("pin")),
        account: account.clone(),
        name: "name".into(),
        root: root.clone(),
        size_bytes: 9,
        dag_size_bytes: 9,
        expires: None,
        claim,
        beside: None,
        blocks: Arc::from(blocks),
        recorded: None,
        segments,
    };
    let uploads = [
        upload(&first, Claim::Pin, vec![new[0].id], vec![block(0, &new[0], first.clone())]),
        upload(&old, Claim::Another, old_segments.clone(), Vec::new()),
        upload(&old, Claim::Pin, old_segments, Vec::new()),
    ];
    let part =
        UploadPart { upload: d.fresh("long"), is_first: true, blocks: vec![block(1, &new[1], second)] };
    run!(d.commit(&new, std::slice::from_ref(&part), &uploads, NOW, later(60)));
    run!(d.extend_leases(&[new[1].id], std::slice::from_ref(&part.upload), later(120)));
    run!(d.long_upload_segments("upload-77"));
    for _ in 0..3 {
        run!(d.clear_long_upload(later(10), 10));
    }
}

async fn tus(d: &Drive<'_>) {
    let id = d.fresh("tus");
    let new = NewTusUpload {
        id: id.clone(),
        account: "account-7".into(),
        kind: TusKind::Plain,
        parts: String::new(),
        metadata: String::new(),
        profile: "some".into(),
        hash: "sha2-256".into(),
        notes: "notes".into(),
        whole_pieces: false,
        length_bytes: Some(9),
        due: later(6_000),
    };
    run!(d.create_tus_upload(&new, 1_000_000, NOW));
    run!(d.tus_upload(&id));
    run!(d.claim_tus_upload(&id, "me", NOW, later(6)));
    run!(d.hold_tus_upload(&id, "me", later(12)));
    let progress = TusProgress {
        offset_bytes: 5,
        length_bytes: Some(9),
        segments: vec![d.segment(d.number(8)).await],
        ..TusProgress::default()
    };
    run!(d.record_tus_progress(&id, "me", &progress, NOW, later(60), later(60)));
    run!(d.release_tus_upload(&id, "me"));
    run!(d.extend_tus_uploads(std::slice::from_ref(&id), later(90)));
    run!(d.remove_tus_upload(&id));
    run!(d.clear_tus_uploads(later(10), 10));
}

async fn pieces(d: &Drive<'_>) {
    let node = d.node(d.number(2)).await;
    let from = PieceHash::of(&d.round.to_be_bytes());
    let held = run!(d.held_pieces(node, from, 10));
    assert_eq!(held.len(), 10, "the node has pieces");
    let hashes: Vec<PieceHash> = held.iter().map(|piece| piece.hash).collect();
    assert_eq!(run!(d.known_pieces(node, &hashes)).len(), 10);
    let PieceSlot { segment, index } = held[0].slot;
    let other = d.node(d.number(2) + 1).await;
    run!(d.move_piece(PieceSlot { segment, index }, held[0].hash, Some(node), other, later(60)));
    let lost: Vec<_> = held[1..3].iter().map(|piece| (piece.slot, piece.hash)).collect();
    assert_eq!(run!(d.lose_pieces(node, &lost, NOW)), 2);
    run!(d.losers_of(held[1].slot.segment, UnixMillis(0)));
    let passed: Vec<_> = held[3..].iter().map(|piece| (piece.slot, piece.verified, 9)).collect();
    assert!(run!(d.record_passed(node, &passed, later(60), |_, carry| (1, carry))) > 0);

    let waiting = run!(d.queued_unpins(node, 10));
    run!(d.finish_unpins(node, &waiting));
    run!(d.queue_unpins(node, &[from], NOW));
}

async fn segments(d: &Drive<'_>) {
    let live = d.segment(100 * d.number(1) / 10 + 50).await;
    assert_eq!(run!(d.segments_after(Some(live), 10)).len(), 10);
    run!(d.set_lost(live, true));
    run!(d.set_lost(live, false));
    let due = run!(d.collectable_segments(later(3_600), 10));
    let gone = due.iter().rev().take(2);
    for segment in gone {
        assert!(run!(d.collect_segment(*segment, later(3_600))));
    }
}

async fn queues(d: &Drive<'_>) {
    let segment = d.segment(d.number(9)).await;
    run!(d.queue_repair(segment, 0.5, NOW));
    let claimed = run!(d.claim_repairs("me", NOW, later(60), 10));
    assert_eq!(claimed.len(), 10);
    run!(d.postpone_repair(claimed[0].segment, later(600)));
    run!(d.finish_repair(claimed[1].segment));
}

async fn money(d: &Drive<'_>) {
    let node = d.node(d.number(4)).await;
    // The rows are of 500 hours from here on.
    let hour = UnixMillis(1_699_920_000_000);
    let one = [Earning { kind: LedgerKind::Egress, quantity: 9 }];
    run!(d.settle_window(
        node,
        NOW.hour() + std::time::Duration::from_hours(24 * 365),
        &one,
        NOW,
        |_, carry| (9, carry)
    ));
    run!(d.ledger(node, 10));
    run!(d.earned(node));
    let old = hour + std::time::Duration::from_hours(24 * 10);
    assert_eq!(run!(d.roll_up_ledger(old, 50)), 50);
    assert_eq!(run!(d.trim_settlements(old, 10)), 10);
    let event =
        Event { at: NOW, kind: "kind".into(), node: Some(node), segment: None, details: String::new() };
    run!(d.record_events(&[(d.fresh("event"), event)]));
    run!(d.recent_events(10));
    assert_eq!(run!(d.trim_events(later(3_600), 10)), 10);
}
