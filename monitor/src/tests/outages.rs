//! Nodes that go, and come back or do not.

use std::time::Duration;

use protocol::reputation::Standing;
use service::job::{Job as _, Progress};

use testing::Mode;

use super::world::{HOUR, MINUTE, World, run};
use crate::Monitor;

const SECOND: Duration = Duration::from_secs(1);

/// One round of everything that follows from nodes going and coming.
async fn follow_up(monitor: &Monitor) {
    run(&monitor.sweep()).await;
    run(&monitor.repair()).await;
    run(&monitor.deliver()).await;
}

#[tokio::test]
async fn a_dead_node_is_noticed_swept_and_replaced_and_its_surplus_is_dropped_when_it_returns() {
    let mut world = World::new(22).await;
    world.config.repairs.eagerly = true;
    let id = world.upload(1, 0..20).await;
    let (_, hash) = world.piece_of(id, 4).await.unwrap();
    let monitor = world.monitor();
    let probe = monitor.probe();
    run(&probe).await;

    world.set([4], Mode::Dead);
    world.pass(&probe, 13 * SECOND, SECOND).await;
    let row = world.db.node(world.nodes[4].id()).await.unwrap().unwrap();
    assert!(row.offline.is_some());
    world.pass(&probe, MINUTE, 5 * SECOND).await;
    assert_eq!(world.events("node_offline").await.len(), 1);

    // Within the grace its pieces count.
    world.pass(&probe, HOUR * 3, 10 * MINUTE).await;
    follow_up(&monitor).await;
    assert_eq!((world.puts(), world.db.repairs_waiting().await.unwrap()), (0, 0));

    world.pass(&probe, HOUR, 10 * MINUTE).await;
    follow_up(&monitor).await;
    assert_eq!((world.puts(), world.piece_of(id, 4).await), (1, None));
    assert_eq!(world.held_pieces(id).await, 20);
    // Swept once, not again and again.
    world.pass(&probe, HOUR, HOUR).await;
    follow_up(&monitor).await;
    assert_eq!(world.puts(), 1);
    assert!(world.nodes[4].piece(hash).is_some());

    world.set([4], Mode::Honest);
    world.pass(&probe, 10 * SECOND, 10 * SECOND).await;
    follow_up(&monitor).await;
    assert!(world.nodes[4].piece(hash).is_none(), "its copy is surplus");
    assert_eq!(world.events("node_returned").await.len(), 1);
    assert_eq!(world.db.sweep_cursor(world.nodes[4].id()).await.unwrap(), None);
    assert_eq!(world.events("breaker_open").await.len(), 0);
}

#[tokio::test]
async fn a_node_that_returns_in_time_keeps_its_pieces() {
    let mut world = World::new(21).await;
    world.config.repair.offline_grace = 10 * MINUTE;
    world.config.repairs.eagerly = true;
    let id = world.upload(1, 0..20).await;
    let monitor = world.monitor();
    let probe = monitor.probe();
    world.set([4], Mode::Dead);
    world.pass(&probe, 20 * MINUTE, 10 * SECOND).await;
    run(&monitor.sweep()).await;
    assert_eq!(world.db.repairs_waiting().await.unwrap(), 1);
    // Back before the repair was begun: looked at again, it is not due.
    world.set([4], Mode::Honest);
    world.pass(&probe, 10 * SECOND, 10 * SECOND).await;
    run(&monitor.repair()).await;
    assert_eq!((world.puts(), world.db.repairs_waiting().await.unwrap()), (0, 0));
    assert!(world.piece_of(id, 4).await.is_some());
}

#[tokio::test]
async fn another_node_at_the_address_is_not_the_node() {
    let world = World::new(3).await;
    let probe = world.monitor().probe();
    world.enrol(1, world.nodes[1].id(), world.nodes[2].url().to_string()).await;
    world.pass(&probe, MINUTE, SECOND).await;
    let events = world.events("node_offline").await;
    assert!(
        events.len() == 1 && events[0].contains(&format!("answers at {}", world.nodes[2].url())),
        "{events:?}"
    );
}

#[tokio::test]
async fn when_most_nodes_go_at_once_nobody_is_blamed_but_what_is_urgent_is_repaired() {
    let mut world = World::new(30).await;
    world.config.repair.offline_grace = 10 * MINUTE;
    world.config.probe.score_every = MINUTE;
    let urgent = world.upload(1, 0..20).await;
    // Of these holders six go: at 14, due but not urgent.
    let degraded = world.upload(2, (6..26).rev()).await;
    let monitor = world.monitor();
    let (probe, audit) = (monitor.probe(), monitor.audit());
    run(&probe).await;
    world.set(0..12, Mode::Dead);
    world.pass(&probe, 20 * MINUTE, 10 * SECOND).await;
    run(&audit).await;
    follow_up(&monitor).await;
    assert_eq!(world.held_pieces(urgent).await, 20);
    assert_eq!(world.puts(), 10, "eight stayed; ten of the others are spare, the nodes of the dead are not");
    assert_eq!(world.events("breaker_open").await.len(), 1);
    let repaired = world.events("segment_repaired").await;
    assert!(repaired.len() == 1 && repaired[0].starts_with("8 -> 18 of 20"), "{repaired:?}");
    assert_eq!(
        world.db.repairs_waiting().await.unwrap(),
        1,
        "18 is above the threshold; the other one waits"
    );
    for node in 0..12 {
        let reputation = world.reputation(node).await;
        assert_eq!(reputation.standing, Standing::Vetting);
        let later = world.clock.now() + HOUR * 24;
        assert!(reputation.online.score(later, &world.config.reputation).is_none_or(|score| score >= 0.9));
    }

    // An outage that lasts is a fact.
    world.pass(&probe, HOUR, 10 * MINUTE).await;
    follow_up(&monitor).await;
    assert_eq!(world.events("breaker_closed").await.len(), 1);
    let info = world.segment(degraded).await;
    let dead: Vec<_> = world.nodes[..12].iter().map(|node| node.id()).collect();
    let left = info.pieces.iter().filter(|piece| dead.contains(&piece.node.unwrap())).count();
    assert_eq!(left, 2, "six of its holders are dead, four nodes were spare");
}

#[tokio::test]
async fn a_monitor_that_is_cut_off_from_nodes_that_gateways_hear_of_marks_nobody_offline() {
    let mut world = World::new(24).await;
    world.config.probe.score_every = MINUTE;
    let id = world.upload(1, 0..20).await;
    let monitor = world.monitor();
    let (probe, audit) = (monitor.probe(), monitor.audit());
    run(&probe).await;
    let offline = async || world.db.nodes().await.unwrap().iter().filter(|row| row.offline.is_some()).count();
    // One node is really gone; of all others gateways hear.
    world.set(0..23, Mode::Dead);
    for _ in 0..5 * 60 {
        for node in 1..24 {
            world.beat(node).await;
        }
        world.pass(&probe, MINUTE, 20 * SECOND).await;
        assert_eq!(offline().await, 0);
    }
    run(&audit).await;
    follow_up(&monitor).await;
    assert_eq!((world.puts(), world.db.repairs_waiting().await.unwrap()), (0, 0));
    let opened = world.events("breaker_open").await;
    assert!(opened.len() == 1 && opened[0].contains("nodes that gateways hear of cannot be"), "{opened:?}");
    let later = world.clock.now() + HOUR * 24;
    let score = world.reputation(4).await.online.score(later, &world.config.reputation);
    assert!(score.is_none_or(|score| score >= 0.99), "{score:?}");

    // Our line is good again.
    world.set(1..23, Mode::Honest);
    world.pass(&probe, MINUTE, 10 * SECOND).await;
    assert_eq!(world.events("breaker_closed").await.len(), 1);
    assert_eq!(
        (offline().await, world.events("node_offline").await.len()),
        (1, 1),
        "now it is this one's own"
    );
    assert_eq!(world.held_pieces(id).await, 20);

    // And so it is when one has only got out of our reach.
    world.set([5], Mode::Dead);
    for _ in 0..3 {
        world.beat(5).await;
        world.pass(&probe, MINUTE, 10 * SECOND).await;
    }
    assert_eq!(offline().await, 2);
}

#[tokio::test]
async fn what_is_lost_is_found_when_nodes_return() {
    let mut world = World::new(20).await;
    world.config.repair.offline_grace = 10 * MINUTE;
    world.config.reputation.online_windows_min = 1;
    let id = world.upload(1, 0..20).await;
    let monitor = world.monitor();
    let probe = monitor.probe();
    run(&probe).await;
    world.set(0..13, Mode::Dead);
    world.pass(&probe, 30 * MINUTE, 10 * SECOND).await;
    run(&monitor.sweep()).await;
    run(&monitor.walk()).await;
    assert!(!world.segment(id).await.lost, "while the breaker holds, nothing is given up");
    world.pass(&probe, HOUR, 10 * MINUTE).await;
    world.clock.advance(HOUR);
    run(&monitor.walk()).await;
    assert!(world.segment(id).await.lost);
    assert_eq!(world.events("segment_lost").await.len(), 1);

    // They are suspended for having been away so long; but they can be read.
    world.clock.advance(HOUR * 12);
    run(&probe).await;
    world.clock.advance(10 * MINUTE);
    world.set(0..2, Mode::Honest);
    world.pass(&probe, 10 * SECOND, 10 * SECOND).await;
    assert!(world.reputation(1).await.standing.is_suspended());
    run(&monitor.sweep()).await;
    assert!(!world.segment(id).await.lost);
    assert_eq!(world.events("segment_found").await.len(), 1);
    assert_eq!(world.held_pieces(id).await, 20);
}

#[tokio::test]
async fn being_away_lowers_the_online_score_and_nothing_else() {
    let mut world = World::new(10).await;
    world.config.reputation.online_windows_min = 1;
    let probe = world.monitor().probe();
    run(&probe).await;
    world.set([1], Mode::Dead);
    world.pass(&probe, HOUR * 24, 10 * MINUTE).await;
    let (away, there) = (world.reputation(1).await, world.reputation(2).await);
    let rules = &world.config.reputation;
    let score = |reputation: &protocol::reputation::Reputation| {
        reputation.online.score(world.clock.now(), rules).unwrap()
    };
    assert!(score(&away) < 0.2 && score(&there) > 0.99);
    assert!(away.standing.is_suspended() && away.audit == there.audit && away.unknown == there.unknown);
}

#[tokio::test]
async fn a_sweep_goes_on_page_by_page_by_whichever_monitor() {
    let mut world = World::new(21).await;
    world.config.repair.offline_grace = MINUTE;
    world.config.repairs.eagerly = true;
    world.config.sweep.page = 2;
    world.config.sweep.pages_per_step = 1;
    for seed in 1..=5 {
        world.upload(seed, 0..20).await;
    }
    let monitor = world.monitor();
    world.set([0], Mode::Dead);
    world.pass(&monitor.probe(), 5 * MINUTE, 10 * SECOND).await;
    assert_eq!(monitor.sweep().step().await.unwrap(), Progress::More);
    assert_eq!(world.db.repairs_waiting().await.unwrap(), 2);
    // The first one dies here; another one goes on.
    run(&world.monitor().sweep()).await;
    assert_eq!(world.db.repairs_waiting().await.unwrap(), 5);
    assert_eq!(world.db.sweep_cursor(world.nodes[0].id()).await.unwrap().as_deref(), Some("gone"));
}
