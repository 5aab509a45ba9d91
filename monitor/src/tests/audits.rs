//! Audits and what follows from them.

use std::time::Duration;

use protocol::{
    pay::{Kind, byte_seconds},
    reputation::{Standing, SuspendReason},
};

use testing::Mode;

use super::world::{HOUR, MINUTE, World, run, scheme};

#[tokio::test]
async fn passed_audits_pay_exactly_what_was_held() {
    let world = World::new(20).await;
    let id = world.upload(1, 0..20).await;
    let monitor = world.monitor();
    let (audit, start) = (monitor.audit(), world.clock.now());
    // Odd steps: what is left of seconds and of micro-units is carried.
    for step in [433_777, 300_001, 299_999, 7_200_500, 301_123] {
        world.clock.advance(Duration::from_millis(step));
        run(&audit).await;
        run(&audit).await;
    }
    let piece_len = scheme().layout(40_000).piece_len();
    let quantity = byte_seconds(piece_len, start, world.clock.now());
    let due = world.config.rates.amount(Kind::Storage, quantity).unwrap().0;
    assert!(due > 1000, "{due}");
    for node in 0..20 {
        assert_eq!(world.earned(node).await, due, "node {node}");
        assert_eq!(world.reputation(node).await.passed_total, 5);
    }
    assert_eq!(world.held_pieces(id).await, 20);
    assert_eq!(world.db.recent_events(9).await.unwrap(), []);
}

#[tokio::test]
async fn a_lie_loses_the_piece_and_its_pay() {
    let mut world = World::new(24).await;
    world.config.repairs.eagerly = true;
    let id = world.upload(1, 0..20).await;
    let (index, hash) = world.piece_of(id, 3).await.unwrap();
    let monitor = world.monitor();
    world.clock.advance(HOUR);
    run(&monitor.audit()).await;
    let earned = world.earned(3).await;
    assert!(earned > 0 && earned == world.earned(4).await);

    world.set([3], Mode::Corrupt);
    world.clock.advance(HOUR);
    run(&monitor.audit()).await;
    assert_eq!(world.piece_of(id, 3).await, None);
    assert!(world.reputation(3).await.audit.score() < 1.0 && world.reputation(4).await.audit.score() >= 1.0);
    let events = world.events("piece_lost").await;
    assert_eq!(events.len(), 1);
    for part in [hash.to_string(), format!("index {index}"), "wrong_bytes".into(), "nonce ".into()] {
        assert!(events[0].contains(&part), "{} lacks {part}", events[0]);
    }

    // Rebuilt on a spare node; the old copy is dropped; the liar is paid no further.
    run(&monitor.repair()).await;
    assert_eq!(world.held_pieces(id).await, 20);
    assert_eq!((world.puts(), world.piece_of(id, 3).await), (1, None));
    run(&monitor.deliver()).await;
    assert!(world.nodes[3].piece(hash).is_none());
    world.clock.advance(HOUR);
    run(&monitor.audit()).await;
    assert_eq!(world.earned(3).await, earned);
    assert!(world.earned(4).await > earned * 2);
    assert_eq!(world.events("segment_repaired").await.len(), 1);
    assert_eq!(world.db.repairs_waiting().await.unwrap(), 0);
}

#[tokio::test]
async fn a_piece_that_is_not_recorded_any_more_is_not_missed() {
    // The record goes while the node is asked: the node has dropped it rightly.
    let world = World::new(20).await;
    let id = world.upload(1, 0..20).await;
    let (index, hash) = world.piece_of(id, 0).await.unwrap();
    let pieces = world.db.held_pieces(world.nodes[0].id(), hash, 1).await.unwrap();
    let slot = store::PieceSlot { segment: id, index };
    world.db.lose_pieces(world.nodes[0].id(), &[(slot, hash)], world.clock.now()).await.unwrap();
    let monitor = world.monitor();
    let inner = monitor.inner();
    let network = inner.network().await.unwrap();
    let verdict = protocol::audit::Verdict::Failed(protocol::audit::Fault::NotFound);
    let judged = crate::verdicts::Judged::whole(world.nodes[0].id(), pieces[0], verdict);
    inner.draw_consequences(vec![judged], &network).await.unwrap();
    assert!(world.reputation(0).await.audit.score() >= 1.0);
    assert_eq!(world.events("piece_lost").await.len(), 0);
}

#[tokio::test]
async fn a_node_that_stalls_fails_after_three_whole_checks_hours_apart() {
    let world = World::new(20).await;
    let id = world.upload(1, 0..20).await;
    let monitor = world.monitor();
    let (audit, recheck) = (monitor.audit(), monitor.recheck());
    world.set([5, 6], Mode::TimingOut);
    world.clock.advance(5 * MINUTE);
    run(&audit).await;
    run(&recheck).await;
    // One of them had a bad moment.
    world.set([6], Mode::Honest);
    for hours in [0, 5, 1, 5] {
        world.clock.advance(HOUR * hours);
        run(&recheck).await;
        assert!(world.piece_of(id, 5).await.is_some() && world.piece_of(id, 6).await.is_some());
    }
    assert_eq!(world.reputation(6).await.passed_total, 1);
    world.clock.advance(HOUR);
    run(&recheck).await;
    assert_eq!(world.piece_of(id, 5).await, None);
    assert!(world.events("piece_lost").await[0].contains("timed_out"));
    assert!(world.reputation(5).await.audit.score() < 1.0);
    // The other one's check was due after six hours, and passed: whole pieces earn like challenged ones.
    assert!(world.piece_of(id, 6).await.is_some() && world.earned(6).await > 0);
    assert_eq!(monitor.inner().contained.count(), 0);
}

#[tokio::test]
async fn results_that_say_nothing_suspend_and_cost_no_piece() {
    let world = World::new(20).await;
    let id = world.upload(1, 0..20).await;
    let audit = world.monitor().audit();
    world.set([2], Mode::Failing);
    world.pass(&audit, HOUR * 4, 5 * MINUTE).await;
    let reputation = world.reputation(2).await;
    assert!(matches!(reputation.standing, Standing::Suspended { reason: SuspendReason::Unknown, .. }));
    assert!(reputation.audit.score() >= 1.0);
    assert!(world.piece_of(id, 2).await.is_some());
    assert_eq!(world.events("node_standing").await.len(), 1);

    // Suspended nodes are audited more often, and come back.
    world.set([2], Mode::Honest);
    let passed = (world.reputation(2).await.passed_total, world.reputation(3).await.passed_total);
    world.pass(&audit, 20 * MINUTE, MINUTE).await;
    let since = (world.reputation(2).await.passed_total, world.reputation(3).await.passed_total);
    assert!(since.0 - passed.0 > since.1 - passed.1, "{passed:?} {since:?}");
    world.pass(&audit, HOUR * 2, MINUTE).await;
    assert_eq!(world.reputation(2).await.standing, Standing::Vetting);
}

#[tokio::test]
async fn a_fault_that_hits_many_nodes_at_once_blames_nobody() {
    let world = World::new(20).await;
    let id = world.upload(1, 0..20).await;
    let monitor = world.monitor();
    let audit = monitor.audit();
    world.pass(&audit, 5 * MINUTE, 5 * MINUTE).await;
    world.set(0..3, Mode::Corrupt);
    world.set(3..6, Mode::Forgetful);
    world.pass(&audit, HOUR, 5 * MINUTE).await;
    assert_eq!(world.held_pieces(id).await, 20);
    for node in 0..6 {
        let reputation = world.reputation(node).await;
        assert!(reputation.audit.score() >= 1.0 && reputation.standing == Standing::Vetting, "node {node}");
    }
    assert_eq!(world.events("piece_lost").await.len(), 0);
    let opened = world.events("breaker_open").await;
    assert!(opened.len() == 1 && opened[0].contains("6 of 20 nodes failed"), "{opened:?}");
    // Gateways tell it to people who cannot ask the monitor.
    let breaker = async || {
        monitor.inner().is_held().await.unwrap();
        let said = world.db.monitors(9).await.unwrap();
        assert!(said.len() == 1 && said[0].seen == world.clock.now(), "{said:?}");
        said[0].breaker.clone()
    };
    assert!(breaker().await.is_some_and(|why| why.contains("6 of 20 nodes failed")));
    // Those that passed were paid all along.
    let piece_len = scheme().layout(40_000).piece_len();
    let hour = byte_seconds(piece_len, world.clock.now() - HOUR, world.clock.now());
    assert!(world.earned(10).await >= world.config.rates.amount(Kind::Storage, hour).unwrap().0);

    world.set(0..5, Mode::Honest);
    world.pass(&audit, 5 * MINUTE, 5 * MINUTE).await;
    assert_eq!(world.events("breaker_closed").await.len(), 1);
    assert_eq!(breaker().await, None);
    assert_eq!(world.piece_of(id, 5).await, None, "one that fails alone is blamed");
    assert!(world.reputation(5).await.audit.score() < 1.0);
    assert_eq!(world.events("piece_lost").await.len(), 1);
}

#[tokio::test]
async fn many_pieces_of_one_segment_are_not_dropped_at_once() {
    // 7 of 40 nodes are too few for the breaker; but they hold seven pieces of one segment.
    let world = World::new(40).await;
    let id = world.upload(1, 0..20).await;
    let other = world.upload(2, 20..40).await;
    let audit = world.monitor().audit();
    world.set(0..7, Mode::Forgetful);
    world.set([30], Mode::Forgetful);
    world.pass(&audit, 5 * MINUTE, 5 * MINUTE).await;
    assert_eq!(world.events("breaker_open").await.len(), 0);
    assert_eq!(world.events("removal_held").await.len(), 1);
    assert_eq!(world.segment(id).await.pieces.iter().filter(|piece| piece.node.is_some()).count(), 20);
    assert!(world.reputation(0).await.audit.score() >= 1.0);
    assert_eq!(world.piece_of(other, 30).await, None);
    assert!(world.reputation(30).await.audit.score() < 1.0);
}

#[tokio::test]
async fn many_nodes_that_fail_for_good_are_believed_in_the_end_and_repaired_and_not_disqualified() {
    // Eight of 30 are too many for the breaker; of 50 they are not, but they hold eight pieces of one segment.
    for nodes in [30, 50] {
        let world = World::new(nodes).await;
        let id = world.upload(1, 0..20).await;
        let monitor = world.monitor();
        let audit = monitor.audit();
        world.pass(&audit, HOUR, 5 * MINUTE).await;
        (0..8).for_each(|node| world.nodes[node].lose_all());
        world.pass(&audit, HOUR * 12, 5 * MINUTE).await;
        run(&monitor.repair()).await;
        let recorded =
            async || world.segment(id).await.pieces.iter().filter(|piece| piece.node.is_some()).count();
        assert_eq!((recorded().await, world.events("failures_believed").await.len()), (20, 0));
        assert!(world.reputation(0).await.audit.score() >= 1.0);

        world.pass(&audit, 10 * MINUTE, 5 * MINUTE).await;
        assert_eq!(world.events("failures_believed").await.len(), 8);
        assert_eq!(world.events("breaker_open").await.len(), world.events("breaker_closed").await.len());
        assert_eq!(recorded().await, 12);
        run(&monitor.repair()).await;
        assert_eq!(world.held_pieces(id).await, 20);
        for node in 0..8 {
            let reputation = world.reputation(node).await;
            assert!(reputation.audit.score() < 1.0 && reputation.standing == Standing::Vetting);
            assert_eq!(world.piece_of(id, node).await, None);
        }
    }
}

#[tokio::test]
async fn believed_failures_that_were_our_own_fault_destroy_nothing_and_throw_nobody_out() {
    let mut world = World::new(26).await;
    world.config.reputation.disqualify_grace = HOUR;
    let mut ids = Vec::new();
    for seed in 1..=60 {
        ids.push(world.upload(seed, 0..20).await);
    }
    let monitor = world.monitor();
    let audit = monitor.audit();
    // As far as we can tell they have lost everything, for a day.
    world.set(0..14, Mode::Forgetful);
    for _ in 0..24 {
        world.pass(&audit, HOUR, 5 * MINUTE).await;
        run(&monitor.sweep()).await;
        run(&monitor.repair()).await;
        run(&monitor.deliver()).await;
    }
    assert_eq!(world.events("failures_believed").await.len(), 14);
    for id in &ids {
        let info = world.segment(*id).await;
        assert!(info.pieces.iter().filter(|piece| piece.node.is_some()).count() >= 10);
    }
    // The fault is found and mended.
    world.set(0..14, Mode::Honest);
    for _ in 0..24 {
        world.pass(&audit, HOUR, 5 * MINUTE).await;
        run(&monitor.sweep()).await;
        run(&monitor.repair()).await;
    }
    for id in &ids {
        assert!(world.held_pieces(*id).await >= 15, "above the threshold, and all of them are really there");
    }
    for node in 0..14 {
        let standing = world.reputation(node).await.standing;
        assert_ne!(standing, Standing::Disqualified, "node {node}");
    }
}

#[tokio::test]
async fn a_suspended_node_that_lost_its_disk_comes_back_as_a_new_one() {
    let mut world = World::new(26).await;
    world.config.repairs.eagerly = true;
    world.config.reputation.vetted_age = HOUR;
    world.config.reputation.vetted_audits = 10;
    world.config.reputation.disqualify_grace = 6 * HOUR;
    for seed in 1..=30 {
        world.upload(seed, 0..20).await;
    }
    let monitor = world.monitor();
    let audit = monitor.audit();
    world.pass(&audit, 2 * HOUR, 10 * MINUTE).await;
    assert_eq!(world.reputation(3).await.standing, Standing::Good);

    world.nodes[3].lose_all();
    world.pass(&audit, HOUR, 5 * MINUTE).await;
    let suspended = world.reputation(3).await;
    assert!(matches!(suspended.standing, Standing::Suspended { reason: SuspendReason::Failures, .. }));
    let holds = async || world.db.holdings(world.nodes[3].id()).await.unwrap().0;
    assert_eq!(holds().await, 0);
    run(&monitor.repair()).await;
    assert_eq!(holds().await, 0, "a suspended node gets nothing");

    world.pass(&audit, 5 * HOUR, HOUR).await;
    assert!(world.reputation(3).await.standing.is_suspended(), "not before the grace is over");
    world.pass(&audit, 2 * HOUR, HOUR).await;
    let again = world.reputation(3).await;
    assert_eq!((again.standing, again.passed_total), (Standing::Vetting, 0));
    let told = world.events("node_standing").await;
    assert!(told.last().unwrap().starts_with("suspended for lost pieces -> vetting"), "{told:?}");

    // It gets pieces, few at first, proves them, and is in good standing in the end.
    for seed in 31..=60 {
        world.upload(seed, 5..20).await;
    }
    run(&monitor.walk()).await;
    run(&monitor.repair()).await;
    let (its, other) = (holds().await, world.db.holdings(world.nodes[25].id()).await.unwrap().0);
    assert!(its > 0 && its < other, "{its} {other}");
    world.pass(&audit, 4 * HOUR, 10 * MINUTE).await;
    assert_eq!(world.reputation(3).await.standing, Standing::Good);
}
