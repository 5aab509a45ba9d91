//! Two monitors at once on one database: nothing is done twice, nothing is paid twice.

use std::time::Duration;

use protocol::pay::{Kind, byte_seconds};
use service::job::Job as _;

use testing::Mode;

use super::world::{HOUR, MINUTE, World, run, scheme};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_monitors_pay_once() {
    let mut world = World::new(20).await;
    // Small steps, so that both get their share of the nodes.
    world.config.visits.nodes_per_step = 3;
    world.config.audit.batch = 2;
    for seed in 1..=3 {
        world.upload(seed, 0..20).await;
    }
    let (one, two) = (world.monitor(), world.monitor());
    let (one, two) = (one.audit(), two.audit());
    let start = world.clock.now();
    let piece_len = scheme().layout(40_000).piece_len();
    for _ in 0..30 {
        world.clock.advance(Duration::from_millis(301_501));
        tokio::join!(run(&one), run(&two));
    }
    for node in 0..20 {
        let pieces =
            world.db.held_pieces(world.nodes[node].id(), protocol::ids::PieceHash([0; 32]), 9).await.unwrap();
        let quantity: u128 = pieces.iter().map(|piece| byte_seconds(piece_len, start, piece.verified)).sum();
        assert!(quantity > 0 && pieces.len() == 3);
        assert_eq!(world.earned(node).await, world.config.rates.amount(Kind::Storage, quantity).unwrap().0);
        // One visit of two challenges each round, not two.
        assert_eq!(world.reputation(node).await.passed_total, 60);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_monitors_repair_once() {
    let mut world = World::new(30).await;
    world.config.repairs.at_once = 1;
    let mut ids = Vec::new();
    for seed in 1..=8 {
        ids.push(world.upload(seed, 0..12).await);
    }
    let (one, two) = (world.monitor(), world.monitor());
    let (walks, repairs) = ((one.walk(), two.walk()), (one.repair(), two.repair()));
    tokio::join!(run(&walks.0), run(&walks.1));
    assert_eq!(world.db.repairs_waiting().await.unwrap(), 8);
    tokio::join!(run(&repairs.0), run(&repairs.1));
    for id in ids {
        assert_eq!(world.held_pieces(id).await, 20);
    }
    assert_eq!(world.puts(), 8 * 8);
    assert_eq!(world.events("segment_repaired").await.len(), 8);
    assert_eq!(world.db.unpins_waiting().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_monitors_notice_a_dead_node_once() {
    let mut world = World::new(22).await;
    world.config.repairs.eagerly = true;
    let id = world.upload(1, 0..20).await;
    let (one, two) = (world.monitor(), world.monitor());
    let probes = (one.probe(), two.probe());
    world.set([4], Mode::Dead);
    for _ in 0..30 {
        world.clock.advance(Duration::from_secs(10));
        tokio::join!(run(&probes.0), run(&probes.1));
    }
    assert_eq!(world.events("node_offline").await.len(), 1);
    world.clock.advance(4 * HOUR + MINUTE);
    let sweeps = (one.sweep(), two.sweep());
    tokio::join!(run(&sweeps.0), run(&sweeps.1));
    let repairs = (one.repair(), two.repair());
    tokio::join!(run(&repairs.0), run(&repairs.1));
    assert_eq!((world.puts(), world.held_pieces(id).await), (1, 20));
}

#[tokio::test]
async fn a_repair_whose_record_changed_meanwhile_leaves_only_an_orphan() {
    // Both monitors read the segment before either has recorded anything: the lease was too short.
    let world = World::new(40).await;
    let id = world.upload(1, 0..12).await;
    let (one, two) = (world.monitor(), world.monitor());
    world.db.queue_repair(id, 1.0, world.clock.now()).await.unwrap();
    // As of before: what the slower one believes.
    let info = world.segment(id).await;
    one.repair().step().await.unwrap();
    assert_eq!((world.held_pieces(id).await, world.puts()), (20, 8));
    let stored: Vec<transfer::Stored> = world
        .nodes
        .iter()
        .skip(20)
        .take(8)
        .zip(12..)
        .map(|(node, index)| transfer::Stored { index, node: node.id() })
        .collect();
    assert_eq!(two.repair().record(&info, &stored).await.unwrap(), 0);
    assert_eq!(world.held_pieces(id).await, 20);
    assert!(world.db.unpins_waiting().await.unwrap() > 0);
    run(&two.deliver()).await;
    assert_eq!(world.held_pieces(id).await, 20, "what is recorded is never dropped");
}

#[tokio::test]
async fn a_probe_that_another_monitor_made_in_between_ends_a_row_of_misses() {
    let world = World::new(3).await;
    let (one, two) = (world.monitor().probe(), world.monitor().probe());
    let interval = world.config.probe.interval;
    let is_offline = async || world.db.node(world.nodes[1].id()).await.unwrap().unwrap().offline.is_some();
    run(&one).await;
    // Two misses of one monitor, with two hours in between in which the other one finds the node there.
    for _ in 0..2 {
        world.set([1], Mode::Dead);
        world.clock.advance(interval);
        run(&one).await;
        assert!(!is_offline().await);
        world.set([1], Mode::Honest);
        for _ in 0..6 {
            world.clock.advance(20 * MINUTE);
            run(&two).await;
        }
    }
    // Two in a row are enough.
    world.set([1], Mode::Dead);
    for _ in 0..2 {
        world.clock.advance(interval);
        run(&one).await;
    }
    assert!(is_offline().await);
}
