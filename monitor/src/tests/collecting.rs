//! What nobody needs goes, and nothing else.

use bytes::Bytes;
use protocol::ids::{PieceHash, SegmentId};
use service::job::{Job as _, Progress};
use store::{Earning, Event, LedgerKind};

use testing::Mode;

use super::world::{HOUR, MINUTE, World, run};
use crate::Monitor;

#[tokio::test]
async fn orphans_are_dropped_after_the_grace_and_not_before() {
    let mut world = World::new(20).await;
    world.config.reconcile.page = 3;
    world.config.reconcile.interval = 23 * HOUR;
    world.config.reconcile.pages_per_step = 2;
    let ids: Vec<SegmentId> = {
        let mut ids = Vec::new();
        for seed in 1..=9 {
            ids.push(world.upload(seed, 0..20).await);
        }
        ids
    };
    let strays: Vec<PieceHash> =
        (0..5_u8).map(|at| world.nodes[2].keep(Bytes::from(vec![at; 100]))).collect();
    let monitor = world.monitor();
    world.clock.advance(23 * HOUR);
    let young = world.nodes[2].keep(Bytes::from_static(b"of an upload in progress"));
    run(&monitor.reconcile()).await;
    assert_eq!(world.db.unpins_waiting().await.unwrap(), 0);

    world.clock.advance(23 * HOUR + 59 * MINUTE);
    let reconcile = monitor.reconcile();
    // 15 pieces in pages of three, two a step: other nodes' turns come in between.
    assert_eq!(reconcile.step().await.unwrap(), Progress::More);
    run(&reconcile).await;
    assert_eq!(world.db.unpins_waiting().await.unwrap(), 5);
    run(&monitor.deliver()).await;
    assert!(
        strays.iter().all(|hash| world.nodes[2].piece(*hash).is_none())
            && world.nodes[2].piece(young).is_some()
    );
    for id in ids {
        assert_eq!(world.held_pieces(id).await, 20);
    }
    assert_eq!(world.events("orphans_found").await.len(), 1);
    // Compared once in a while.
    assert_eq!(reconcile.step().await.unwrap(), Progress::Idle);
}

#[tokio::test]
async fn a_comparison_that_fails_is_done_again_soon() {
    let world = World::new(2).await;
    let stray = world.nodes[1].keep(Bytes::from_static(b"stray"));
    world.clock.advance(25 * HOUR);
    let monitor = world.monitor();
    world.set([1], Mode::Dead);
    run(&monitor.reconcile()).await;
    world.set([1], Mode::Honest);
    run(&monitor.reconcile()).await;
    assert_eq!(world.db.unpins_waiting().await.unwrap(), 0, "its turn is later");
    world.clock.advance(11 * MINUTE);
    run(&monitor.reconcile()).await;
    run(&monitor.deliver()).await;
    assert!(world.nodes[1].piece(stray).is_none());
}

#[tokio::test]
async fn uploads_in_progress_stay_while_their_lease_lasts() {
    let world = World::new(20).await;
    let segment = world.store(1, 40_000, 0..20);
    let (id, now) = (segment.id, world.clock.now());
    world.db.commit(&[segment], &[], &[], now, now + HOUR).await.unwrap();
    let monitor = world.monitor();
    world.clock.advance(59 * MINUTE);
    run(&monitor.collect()).await;
    run(&monitor.deliver()).await;
    assert_eq!(world.held_pieces(id).await, 20);
    world.db.extend_leases(&[id], &[], world.clock.now() + HOUR).await.unwrap();
    world.clock.advance(30 * MINUTE);
    run(&monitor.collect()).await;
    assert_eq!(world.held_pieces(id).await, 20);
    // The gateway died.
    world.clock.advance(HOUR);
    run(&monitor.collect()).await;
    run(&monitor.deliver()).await;
    assert!(world.db.segments_info(&[id]).await.unwrap().is_empty());
    assert!(world.nodes.iter().all(|node| node.pieces_held() == 0));
}

#[tokio::test]
async fn an_upload_in_several_requests_stays_until_its_time_is_over() {
    let world = World::new(20).await;
    let segment = world.store(1, 40_000, 0..20);
    let (id, now) = (segment.id, world.clock.now());
    world.db.commit(&[segment], &[], &[], now, now + MINUTE).await.unwrap();
    let new = store::NewTusUpload {
        id: "upload".into(),
        account: super::world::ACCOUNT.into(),
        kind: store::TusKind::Plain,
        parts: String::new(),
        metadata: String::new(),
        profile: String::new(),
        hash: "sha2-256".into(),
        notes: String::new(),
        whole_pieces: false,
        length_bytes: None,
        due: now + HOUR,
    };
    assert_eq!(world.db.create_tus_upload(&new, 9, now).await.unwrap(), store::TusBegun::Yes);
    world.db.claim_tus_upload("upload", "claim", now, now + MINUTE).await.unwrap();
    let progress = store::TusProgress { segments: vec![id], ..store::TusProgress::default() };
    let due = now + 24 * HOUR;
    let recorded = world.db.record_tus_progress("upload", "claim", &progress, now, now + MINUTE, due).await;
    assert_eq!(recorded.unwrap(), store::TusRecorded::Yes);
    let monitor = world.monitor();
    world.clock.advance(23 * HOUR);
    run(&monitor.collect()).await;
    run(&monitor.deliver()).await;
    assert_eq!(world.held_pieces(id).await, 20);
    world.clock.advance(HOUR);
    run(&monitor.collect()).await;
    run(&monitor.deliver()).await;
    assert!(world.db.tus_upload("upload").await.unwrap().is_none());
    assert_eq!(world.db.long_uploads().await.unwrap(), 0);
    assert!(world.nodes.iter().all(|node| node.pieces_held() == 0));
}

#[tokio::test]
async fn a_pin_that_expires_takes_its_segment_with_it_after_a_delay() {
    let mut world = World::new(20).await;
    world.config.collect.batch = 1;
    let expires = world.clock.now() + HOUR;
    let segment = world.store(1, 40_000, 0..20);
    let short = segment.id;
    world.commit(segment, 1, Some(expires)).await;
    let kept = world.upload(2, 0..20).await;
    let monitor = world.monitor();
    run(&monitor.collect()).await;
    assert_eq!(world.held_pieces(short).await, 20);
    world.clock.advance(HOUR);
    run(&monitor.collect()).await;
    assert!(world.db.pin(super::world::ACCOUNT, &World::root(1)).await.unwrap().is_none());
    assert_eq!(world.held_pieces(short).await, 20, "somebody may upload it again meanwhile");
    world.clock.advance(25 * HOUR);
    run(&monitor.collect()).await;
    run(&monitor.deliver()).await;
    assert!(world.db.segments_info(&[short]).await.unwrap().is_empty());
    assert_eq!(world.held_pieces(kept).await, 20);
    assert!(world.nodes.iter().all(|node| node.pieces_held() == 1));
}

#[tokio::test]
async fn unpins_are_delivered_when_the_node_is_back() {
    let mut world = World::new(5).await;
    world.config.collect.nodes_per_step = 2;
    world.config.collect.unpins_per_call = 2;
    let monitor = world.monitor();
    let deliver = monitor.deliver();
    let hashes: Vec<PieceHash> =
        world.nodes.iter().map(|node| node.keep(Bytes::from_static(b"unpinned"))).collect();
    world.clock.advance(MINUTE);
    for (node, hash) in world.nodes.iter().zip(&hashes) {
        world.db.queue_unpins(node.id(), &[*hash], world.clock.now()).await.unwrap();
    }
    // What a node does not have (any more) is fine.
    let unknown: Vec<PieceHash> = (0..6).map(|at| PieceHash([at; 32])).collect();
    world.db.queue_unpins(world.nodes[0].id(), &unknown, world.clock.now()).await.unwrap();
    world.set([3], Mode::Dead);
    run(&deliver).await;
    run(&deliver).await;
    assert_eq!(world.db.unpins_waiting().await.unwrap(), 1);
    assert!(world.nodes[3].piece(hashes[3]).is_some() && world.nodes[4].piece(hashes[4]).is_none());
    world.set([3], Mode::Honest);
    run(&deliver).await;
    assert_eq!(world.db.unpins_waiting().await.unwrap(), 0);
    assert!(world.nodes[3].piece(hashes[3]).is_none());
}

#[tokio::test]
async fn old_events_are_forgotten() {
    let world = World::new(3).await;
    let monitor = world.monitor();
    world.set([0], Mode::Dead);
    world.pass(&monitor.probe(), MINUTE, MINUTE / 12).await;
    assert_eq!(world.events("node_offline").await.len(), 1);
    world.clock.advance(29 * 24 * HOUR);
    run(&monitor.collect()).await;
    assert_eq!(world.events("node_offline").await.len(), 1);
    world.clock.advance(2 * 24 * HOUR);
    run(&monitor.collect()).await;
    assert_eq!(world.events("node_offline").await.len(), 0);
}

/// A database that was set back knows nothing of what came since: nodes are not told to drop it.
#[tokio::test]
async fn nothing_is_dropped_for_a_database_that_may_be_an_older_one() {
    const DAY: std::time::Duration = std::time::Duration::from_hours(24);
    let mut world = World::new(20).await;
    world.config.safety.away_max = HOUR;
    // A monitor that was there while the database grew old.
    let monitor = world.monitor();
    run(&monitor.collect()).await;
    world.clock.advance(10 * DAY);
    run(&monitor.collect()).await;
    let expires = world.clock.now() + 2 * HOUR;
    let segment = world.store(1, 40_000, 0..20);
    let id = segment.id;
    world.commit(segment, 1, Some(expires)).await;
    // A short pause, in which a node took a piece that is not known here.
    world.clock.advance(MINUTE * 30);
    let hash = world.nodes[0].keep(Bytes::from_static(b"of an upload that the database has forgotten"));
    world.clock.advance(MINUTE * 20);
    let monitor = world.monitor();
    run(&monitor.collect()).await;
    world.clock.advance(25 * HOUR);
    let round = async |monitor: &Monitor| {
        run(&monitor.reconcile()).await;
        run(&monitor.collect()).await;
        run(&monitor.deliver()).await;
    };
    round(&monitor).await;
    // It is kept for some days, and said; nothing else stops for it.
    assert!(world.nodes[0].piece(hash).is_some() && world.db.held().await.unwrap().is_none());
    assert_eq!(world.events("pieces_doubtful").await.len(), 1);

    // After a long pause nothing is dropped at all, however long that takes.
    world.clock.advance(2 * HOUR);
    let monitor = world.monitor();
    for _ in 0..5 {
        round(&monitor).await;
        world.clock.advance(DAY);
    }
    let held = world.db.held().await.unwrap().expect("nobody has watched for long");
    assert!(held.why.contains("no monitor watched"), "{held:?}");
    assert_eq!(world.events("collection_held").await.len(), 1);
    assert!(world.nodes[0].piece(hash).is_some());

    // Somebody has looked: it is rubbish.
    world.db.release_collection(world.clock.now()).await.unwrap();
    for _ in 0..3 {
        round(&monitor).await;
        world.clock.advance(25 * HOUR);
    }
    assert!(world.nodes[0].piece(hash).is_none());
    assert!(world.db.segments_info(&[id]).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_grows_with_time_is_kept_small_and_adds_up() {
    const DAY: std::time::Duration = std::time::Duration::from_hours(24);
    let mut world = World::new(1).await;
    world.config.collect.events_kept = 2 * DAY;
    world.config.collect.settlements_kept = 3 * DAY;
    world.config.collect.ledger_hours_kept = 4 * DAY;
    let node = world.nodes[0].id();
    let begin = world.clock.now().hour();
    let settle = async |hour, now| {
        let one = [Earning { kind: LedgerKind::Egress, quantity: 1 }];
        world
            .db
            .settle_window(node, hour, &one, now, |earning, carry| (earning.quantity, carry))
            .await
            .unwrap()
    };
    for number in 0..10 * 24 {
        assert!(settle(begin + HOUR * number, begin + HOUR * (number + 1)).await);
    }
    let event = Event { at: begin, kind: "old".into(), node: None, segment: None, details: String::new() };
    world.db.record_events(&[("id".into(), event)]).await.unwrap();
    world.clock.advance(10 * DAY);
    let now = world.clock.now();
    run(&world.monitor().collect()).await;

    assert_eq!(world.events("old").await.len(), 0);
    let lines = world.db.ledger(node, 1_000).await.unwrap();
    assert!((4 * 24..=5 * 24 + 7).contains(&lines.len()), "{} lines", lines.len());
    assert_eq!(lines.iter().map(|line| line.micros).sum::<u64>(), 10 * 24);
    assert!(!settle(begin, now).await, "it was settled, though nobody remembers");
    assert!(!settle(now - 3 * DAY - HOUR, now).await, "it is closed");
}
