//! What a node does by itself: joining, telling how it is, handing in what it served, checking its disk.

use std::{sync::atomic::Ordering, time::Duration};

use axum::body::Body;
use protocol::{ids::NodeId, time::HOUR_MS};
use service::job::{Job as _, Progress};

use super::world::{GATEWAY, Piece, Request, START, TestNode, World, is, refused, text};
use crate::{config::ByteSize, piece_store::PieceStore as _};

async fn serve(world: &World, node: &TestNode, piece: &Piece, bytes: u64) {
    let order = world.get_order(node, piece.meta.hash, piece.len());
    let answer = world.nodes().get(&order, 0..bytes, Duration::from_secs(5)).await.unwrap();
    answer.collect(64 << 20).await.unwrap();
}

/// A member of the network that holds a piece.
async fn member(world: &World) -> (TestNode, Piece) {
    let node = world.node(1);
    node.pinner.enrol().step().await.unwrap();
    let piece = Piece::random(1, 100_000);
    world.put(&node, &piece).await.unwrap();
    (node, piece)
}

fn hours(count: i64) -> Duration {
    Duration::from_millis((count * HOUR_MS).unsigned_abs())
}

#[tokio::test]
async fn a_node_joins_as_soon_as_a_gateway_is_there() {
    let world = World::new();
    let node = world.stranger(1);
    let enrol = node.pinner.enrol();
    let readyz = async || text(node.ask(Request::get("/readyz").body(Body::empty()).unwrap()).await).await.0;
    for _ in 0..5 {
        assert_eq!(enrol.step().await.unwrap(), Progress::Idle);
    }
    assert_eq!(readyz().await, 503);

    let gateway = world.gateway();
    enrol.step().await.unwrap();
    assert!(gateway.members.lock().is_empty(), "the pause after a failure is kept");
    world.clock.advance(Duration::from_secs(2));
    enrol.step().await.unwrap();
    let told = gateway.members.lock()[&node.id].clone();
    assert_eq!((told.url, told.invite.as_deref()), (node.url.clone(), Some("please")));
    assert_eq!(told.capacity_bytes, node.store.stats().capacity_bytes);
    assert_eq!(readyz().await, 200);
    world.put(&node, &Piece::random(1, 1000)).await.unwrap();

    gateway.members.lock().clear();
    enrol.step().await.unwrap();
    assert!(gateway.members.lock().is_empty(), "once is enough");
}

#[tokio::test]
async fn attempts_to_join_become_rarer() {
    let world = World::new();
    let node = world.stranger(1);
    let gateway = world.gateway();
    gateway.is_down.store(true, Ordering::SeqCst);
    let enrol = node.pinner.enrol();
    for _ in 0..600 {
        enrol.step().await.unwrap();
        world.clock.advance(Duration::from_secs(1));
    }
    // Pauses of 1, 2, 4 ... 32 seconds, then of a minute, a quarter more or less.
    let calls = *gateway.calls.lock();
    assert!((10..=20).contains(&calls), "{calls} attempts in ten minutes");
    gateway.is_down.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(76));
    enrol.step().await.unwrap();
    assert!(gateway.members.lock().contains_key(&node.id));
}

#[tokio::test]
async fn another_network_is_refused() {
    let world = World::new();
    let node = world.node(1);
    let gateway = world.gateway();
    let right = gateway.network_key.lock().clone();
    *gateway.network_key.lock() =
        NodeId(ed25519_dalek::SigningKey::from_bytes(&[5; 32]).verifying_key().to_bytes()).to_string();
    let (enrol, heartbeat) = (node.pinner.enrol(), node.pinner.heartbeat());
    enrol.step().await.unwrap();
    heartbeat.step().await.unwrap();
    assert!(gateway.beats.lock().is_empty(), "it does not join");
    world.put(&node, &Piece::random(1, 1000)).await.unwrap();

    for unusable in ["", "zz", &"ff".repeat(32)] {
        *gateway.network_key.lock() = unusable.to_string();
        world.clock.advance(Duration::from_mins(2));
        enrol.step().await.unwrap();
    }
    *gateway.network_key.lock() = right;
    world.clock.advance(Duration::from_mins(2));
    enrol.step().await.unwrap();
    heartbeat.step().await.unwrap();
    assert_eq!(gateway.beats.lock().len(), 1);
}

#[tokio::test]
async fn damage_is_owned_up_to_once_a_gateway_listens() {
    let world = World::new();
    let gateway = world.gateway();
    let (node, piece) = member(&world).await;
    let heartbeat = node.pinner.heartbeat();
    heartbeat.step().await.unwrap();
    let beats = || std::mem::take(&mut *gateway.beats.lock());
    let beat = beats().remove(0).1;
    let stats = node.store.stats();
    assert_eq!((beat.piece_count, beat.used_bytes, beat.free_bytes), (1, stats.used_bytes, stats.free_bytes));
    assert_eq!(beat.problems, []);

    node.store.flip_bit(piece.meta.hash, 99_999);
    world.clock.advance(Duration::from_secs(5));
    node.pinner.scrub().step().await.unwrap();
    gateway.is_down.store(true, Ordering::SeqCst);
    heartbeat.step().await.unwrap();
    world.wires.cut(GATEWAY);
    heartbeat.step().await.unwrap();
    assert_eq!(node.store.problems(10).unwrap(), [piece.meta.hash], "kept while nobody listens");

    let gateway = world.gateway();
    gateway.members.lock().insert(
        node.id,
        protocol::api::EnrolRequest {
            url: node.url.clone(),
            capacity_bytes: 0,
            version: String::new(),
            invite: None,
            receipt: None,
        },
    );
    heartbeat.step().await.unwrap();
    heartbeat.step().await.unwrap();
    let problems: Vec<_> = gateway.beats.lock().iter().map(|(_, beat)| beat.problems.clone()).collect();
    assert_eq!(problems, [vec![piece.meta.hash], vec![]]);
}

#[tokio::test]
async fn many_problems_go_out_in_several_heartbeats() {
    let world = World::new();
    let gateway = world.gateway();
    let node = world.node_with(1, |config| config.heartbeat.problems_max = 2);
    node.pinner.enrol().step().await.unwrap();
    for seed in 0..5 {
        let piece = Piece::random(seed, 500);
        world.put(&node, &piece).await.unwrap();
        node.store.flip_bit(piece.meta.hash, 0);
    }
    node.pinner.scrub().step().await.unwrap();
    let heartbeat = node.pinner.heartbeat();
    let mut beats = 1;
    while heartbeat.step().await.unwrap() == Progress::More {
        beats += 1;
    }
    assert_eq!(beats, 3);
    let told: usize = gateway.beats.lock().iter().map(|(_, beat)| beat.problems.len()).sum();
    assert_eq!(told, 5);
}

#[tokio::test]
async fn a_gateway_that_forgot_the_node_is_joined_again() {
    let world = World::new();
    let gateway = world.gateway();
    let node = world.node(1);
    let (enrol, heartbeat) = (node.pinner.enrol(), node.pinner.heartbeat());
    enrol.step().await.unwrap();
    gateway.members.lock().clear();
    heartbeat.step().await.unwrap();
    enrol.step().await.unwrap();
    assert!(gateway.members.lock().contains_key(&node.id));
    heartbeat.step().await.unwrap();
    assert_eq!(gateway.beats.lock().len(), 1);
}

#[tokio::test]
async fn an_hour_is_handed_in_once_after_its_grace() {
    let world = World::new();
    let gateway = world.gateway();
    let (node, piece) = member(&world).await;
    let redeem = node.pinner.redeem();
    serve(&world, &node, &piece, 1000).await;
    serve(&world, &node, &piece, 70).await;
    redeem.step().await.unwrap();
    world.clock.advance(hours(1));
    serve(&world, &node, &piece, 5).await;
    redeem.step().await.unwrap();
    assert_eq!(gateway.paid.lock().len(), 0, "the first hour ended ten minutes ago");

    world.clock.advance(Duration::from_mins(10));
    for _ in 0..3 {
        redeem.step().await.unwrap();
    }
    let paid = gateway.paid.lock().clone();
    assert_eq!(*gateway.redeem_calls.lock(), 1);
    assert_eq!((paid[0].0, paid[0].1.hour), (node.id, START.hour()));
    let mut bytes: Vec<u64> = paid[0].1.entries.iter().map(|entry| entry.bytes).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, [70, 1000]);

    world.clock.advance(hours(1));
    redeem.step().await.unwrap();
    assert_eq!(gateway.paid.lock()[1].1.entries.len(), 1);
    assert_eq!(node.usage.hours(world.clock.now() + hours(9)).unwrap(), []);
}

#[tokio::test]
async fn a_lost_answer_is_not_paid_twice_and_an_absent_gateway_is_waited_for() {
    let world = World::new();
    let gateway = world.gateway();
    let (node, piece) = member(&world).await;
    let redeem = node.pinner.redeem();
    serve(&world, &node, &piece, 1000).await;
    world.clock.advance(hours(2));
    gateway.is_down.store(true, Ordering::SeqCst);
    redeem.step().await.unwrap();
    assert_eq!(node.usage.hours(world.clock.now()).unwrap().len(), 1);

    gateway.is_down.store(false, Ordering::SeqCst);
    gateway.loses_answer.store(true, Ordering::SeqCst);
    redeem.step().await.unwrap();
    redeem.step().await.unwrap();
    redeem.step().await.unwrap();
    assert_eq!((*gateway.redeem_calls.lock(), gateway.paid.lock().len()), (2, 1));
}

#[tokio::test]
async fn an_hour_that_is_refused_holds_up_no_other_and_is_given_up_in_the_end() {
    let world = World::new();
    let gateway = world.gateway();
    let (node, piece) = member(&world).await;
    serve(&world, &node, &piece, 1000).await;
    world.clock.advance(hours(2));
    serve(&world, &node, &piece, 1000).await;
    world.clock.advance(hours(2));
    gateway.members.lock().clear();
    let redeem = node.pinner.redeem();
    redeem.step().await.unwrap();
    assert_eq!(node.usage.hours(world.clock.now()).unwrap().len(), 2, "both refused, both kept");
    world.clock.advance(hours(24 * 8));
    redeem.step().await.unwrap();
    assert_eq!(node.usage.hours(world.clock.now()).unwrap(), []);
}

#[tokio::test]
async fn scrubbing_keeps_to_its_rate_and_rests_between_rounds() {
    let world = World::new();
    let node = world.node_with(1, |config| {
        config.scrub.rate = ByteSize(10_000);
        config.scrub.round_min = Duration::from_hours(1);
    });
    let pieces: Vec<Piece> = (0..10).map(|seed| Piece::random(seed, 10_000)).collect();
    for piece in &pieces {
        world.put(&node, piece).await.unwrap();
    }
    let scrub = node.pinner.scrub();
    for piece in &pieces {
        node.store.flip_bit(piece.meta.hash, 5);
    }
    let mut found = Vec::new();
    for _ in 0..20 {
        for _ in 0..5 {
            scrub.step().await.unwrap();
        }
        found.push(node.store.problems(100).unwrap().len());
        world.clock.advance(Duration::from_secs(1));
    }
    assert!(found[0] <= 2, "one second's worth at first: {found:?}");
    assert!(found[5] <= 7, "about one a second: {found:?}");
    assert_eq!(found[19], 10, "{found:?}");

    let late = Piece::random(99, 10_000);
    world.put(&node, &late).await.unwrap();
    node.store.flip_bit(late.meta.hash, 5);
    world.clock.advance(Duration::from_mins(30));
    scrub.step().await.unwrap();
    assert_eq!(node.store.problems(100).unwrap().len(), 10, "the round is over");
    world.clock.advance(Duration::from_mins(30));
    scrub.step().await.unwrap();
    assert_eq!(node.store.problems(100).unwrap().len(), 11);
}

#[tokio::test]
async fn scrubbing_steps_aside_for_requests_but_not_for_ever() {
    let world = World::new();
    let node = world.node_with(1, |config| config.scrub.yields_max = 3);
    let (big, bad) = (Piece::random(1, 2_000_000), Piece::random(2, 500));
    for piece in [&big, &bad] {
        world.put(&node, piece).await.unwrap();
    }
    node.store.flip_bit(bad.meta.hash, 0);
    let order = world.get_order(&node, big.meta.hash, big.len());
    let request = Request::get(format!("/v1/pieces/{}", big.meta.hash))
        .header(protocol::api::ORDER_HEADER, order.order)
        .body(Body::empty());
    let held = node.ask(request.unwrap()).await;
    let scrub = node.pinner.scrub();
    for turn in 0..4 {
        assert_eq!(node.store.problems(1).unwrap().len(), 0, "turn {turn}");
        scrub.step().await.unwrap();
    }
    assert_eq!(node.store.problems(1).unwrap().len(), 1);
    drop(held);
}

#[tokio::test]
async fn the_other_jobs_run() {
    let world = World::new();
    let (node, _) = (world.node(1), world.gateway());
    assert_eq!(node.pinner.compact().step().await.unwrap(), Progress::Idle);
    assert_eq!(node.pinner.checkpoint().step().await.unwrap(), Progress::Idle);
    assert_eq!(node.pinner.flush_usage().step().await.unwrap(), Progress::Idle);
    let client = world.nodes();
    let status = client.status(&node.url, Duration::from_secs(1)).await.unwrap();
    assert_eq!((status.in_flight, status.free_bytes), (0, node.store.stats().free_bytes));
    assert_eq!(refused(client.identity(&node.url, "").await), is(400, "bad_query"));
    assert_eq!(refused(client.identity(&node.url, &"n".repeat(200)).await), is(400, "bad_query"));
}
