//! Repairs that meet obstacles.

use protocol::ids::{PieceHash, SegmentId};

use testing::Mode;

use super::world::{HOUR, MINUTE, World, run};

/// A network in which a segment has only its first `left` pieces, long enough ago that no breaker holds.
async fn damaged(nodes: usize, left: usize) -> (World, protocol::ids::SegmentId) {
    let world = World::new(nodes).await;
    let id = world.upload(1, 0..left).await;
    (world, id)
}

#[tokio::test]
async fn a_corrupt_source_is_left_for_another() {
    let (world, id) = damaged(30, 14).await;
    let monitor = world.monitor();
    world.set([0], Mode::Corrupt);
    world.set([7], Mode::Forgetful);
    world.set([2, 5, 8], Mode::Failing);
    run(&monitor.walk()).await;
    run(&monitor.repair()).await;
    assert_eq!((world.held_pieces(id).await, world.puts()), (20, 6));
    let repaired = world.events("segment_repaired").await;
    assert!(repaired.len() == 1 && repaired[0].starts_with("14 -> 20 of 20"), "{repaired:?}");
    assert_eq!(world.events("piece_lost").await.len(), 0, "a repair blames nobody");
    assert_eq!(world.db.repairs_waiting().await.unwrap(), 0);

    // What it could not read is checked whole: wrong and missing copies are lost, an error says nothing.
    run(&monitor.recheck()).await;
    assert_eq!((world.piece_of(id, 0).await, world.piece_of(id, 7).await), (None, None));
    assert_eq!(world.held_pieces(id).await, 18);
    assert_eq!(world.events("piece_lost").await.len(), 2);
}

#[tokio::test]
async fn a_segment_above_its_threshold_is_left_alone() {
    let (world, id) = damaged(30, 15).await;
    let monitor = world.monitor();
    run(&monitor.walk()).await;
    run(&monitor.repair()).await;
    assert_eq!((world.held_pieces(id).await, world.puts()), (15, 0));
}

#[tokio::test]
async fn a_rebuilt_piece_without_its_recorded_hash_is_never_stored() {
    let world = World::new(30).await;
    let mut segment = world.store(1, 40_000, 0..12);
    segment.pieces[15].hash = PieceHash([7; 32]);
    let id = segment.id;
    world.commit(segment, 1, None).await;
    let monitor = world.monitor();
    run(&monitor.walk()).await;
    run(&monitor.repair()).await;
    assert_eq!((world.held_pieces(id).await, world.puts()), (19, 7), "the others are what they should be");
    let alerts = world.events("repair_hash_mismatch").await;
    assert!(alerts.len() == 1 && alerts[0].contains("[15]"), "{alerts:?}");

    // When nothing else is missing, the repair is given up.
    let mut world = World::new(30).await;
    world.config.repairs.eagerly = true;
    let mut segment = world.store(1, 40_000, 0..19);
    segment.pieces[19].hash = PieceHash([7; 32]);
    world.commit(segment, 1, None).await;
    let monitor = world.monitor();
    run(&monitor.walk()).await;
    run(&monitor.repair()).await;
    assert_eq!((world.puts(), world.db.repairs_waiting().await.unwrap()), (0, 1));
    assert_eq!(world.events("repair_hash_mismatch").await.len(), 1);
    assert_eq!(world.events("repair_failed").await.len(), 1);
}

#[tokio::test]
async fn fewer_spare_nodes_than_missing_pieces_repair_what_they_can() {
    let (mut world, id) = damaged(15, 13).await;
    let monitor = world.monitor();
    run(&monitor.walk()).await;
    run(&monitor.repair()).await;
    assert_eq!(world.held_pieces(id).await, 15);
    // 15 is above the threshold of 14: done.
    assert_eq!(world.db.repairs_waiting().await.unwrap(), 0);

    let slots: Vec<_> = world
        .segment(id)
        .await
        .pieces
        .iter()
        .filter(|piece| piece.node == Some(world.nodes[0].id()))
        .map(|piece| (store::PieceSlot { segment: id, index: piece.index }, piece.hash))
        .collect();
    world.db.lose_pieces(world.nodes[0].id(), &slots, world.clock.now()).await.unwrap();
    world.set([0], Mode::Dead);
    world.pass(&monitor.probe(), MINUTE, MINUTE / 6).await;
    world.clock.advance(world.config.sweep.walk_every);
    run(&monitor.walk()).await;
    for _ in 0..5 {
        run(&monitor.repair()).await;
        world.clock.advance(world.config.repairs.backoff_max);
    }
    assert_eq!(world.events("repair_waiting_for_nodes").await.len(), 1, "said once");
    assert_eq!(world.db.repairs_waiting().await.unwrap(), 1);
    world.add_node().await;
    run(&monitor.repair()).await;
    assert_eq!(world.held_pieces(id).await, 15);
    assert_eq!(world.db.repairs_waiting().await.unwrap(), 0);
}

#[tokio::test]
async fn a_repair_that_cannot_store_anything_changes_nothing() {
    let (world, id) = damaged(30, 10).await;
    let monitor = world.monitor();
    world.set(10..30, Mode::Full);
    run(&monitor.walk()).await;
    run(&monitor.repair()).await;
    assert_eq!((world.held_pieces(id).await, world.puts()), (10, 0));
    assert_eq!(world.events("repair_failed").await.len(), 1);
    // Before the pause is over it is not tried again.
    world.set(10..30, Mode::Honest);
    run(&monitor.repair()).await;
    assert_eq!(world.puts(), 0);
    world.clock.advance(2 * MINUTE);
    run(&monitor.repair()).await;
    assert_eq!((world.held_pieces(id).await, world.puts()), (20, 10));
}

#[tokio::test]
async fn a_segment_that_nobody_needs_is_not_repaired() {
    let (world, id) = damaged(30, 10).await;
    let monitor = world.monitor();
    run(&monitor.walk()).await;
    assert_eq!(world.db.repairs_waiting().await.unwrap(), 1);
    let due = world.clock.now() + MINUTE;
    assert!(world.db.unpin(super::world::ACCOUNT, &World::root(1), due).await.unwrap());
    run(&monitor.repair()).await;
    assert_eq!((world.puts(), world.db.repairs_waiting().await.unwrap()), (0, 0));
    assert_eq!(world.held_pieces(id).await, 10);
}

/// A network of `nodes` in which node 3 has lost its piece of each of many segments, was found out, and is honest again.
async fn lost_by_node_3(nodes: usize) -> (World, Vec<SegmentId>) {
    let mut world = World::new(nodes).await;
    world.config.repairs.eagerly = true;
    let mut ids = Vec::new();
    for seed in 1..=20 {
        ids.push(world.upload(seed, 0..20).await);
    }
    world.set([3], Mode::Forgetful);
    world.clock.advance(HOUR);
    run(&world.monitor().audit()).await;
    world.set([3], Mode::Honest);
    world.nodes[3].lose_all();
    for id in &ids {
        assert_eq!(world.piece_of(*id, 3).await, None);
    }
    // However badly it has done, it is not suspended here: only the segments that it lost pieces of are kept from it.
    let mut reputation = world.reputation(3).await;
    reputation.audit = world.reputation(4).await.audit;
    reputation.standing = protocol::reputation::Standing::Vetting;
    let row = world.db.node(world.nodes[3].id()).await.unwrap().unwrap();
    let text = serde_json::to_string(&reputation).unwrap();
    assert!(world.db.set_reputation(row.id, row.revision, "vetting", &text).await.unwrap());
    (world, ids)
}

#[tokio::test]
async fn a_lost_piece_is_not_given_straight_back_to_the_node_that_lost_it() {
    let (world, ids) = lost_by_node_3(22).await;
    run(&world.monitor().repair()).await;
    assert_eq!(world.puts(), ids.len());
    for id in &ids {
        assert_eq!((world.held_pieces(*id).await, world.piece_of(*id, 3).await), (20, None));
    }
}

#[tokio::test]
async fn a_lost_piece_goes_back_when_no_other_node_is_left_or_long_after() {
    let (world, ids) = lost_by_node_3(20).await;
    run(&world.monitor().repair()).await;
    for id in &ids {
        assert_eq!(world.held_pieces(*id).await, 20);
        assert!(world.piece_of(*id, 3).await.is_some());
    }

    let (world, ids) = lost_by_node_3(22).await;
    world.clock.advance(world.config.repairs.losers_wait);
    run(&world.monitor().repair()).await;
    let mut back = 0;
    for id in &ids {
        back += usize::from(world.piece_of(*id, 3).await.is_some());
    }
    assert!(back > 0, "one in three of {} goes there", ids.len());
}
