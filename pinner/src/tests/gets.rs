//! Giving ranges of pieces with their proofs.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use client::{CallError, PieceOrder};
use http_body_util::BodyExt as _;
use protocol::{
    api::ORDER_HEADER,
    ids::PieceHash,
    order::Action,
    proof::{encoded_len, verify_slice},
};

use super::world::{ORDER_LIFETIME, Piece, Request, TestNode, World, is, refused};
use crate::piece_store::PieceStore as _;

async fn get(world: &World, order: &PieceOrder, start: u64, end: u64) -> Result<Bytes, CallError> {
    world.nodes().get(order, start..end, Duration::from_secs(5)).await?.collect(64 << 20).await
}

/// What the node has counted under its orders.
fn counted(world: &World, node: &TestNode) -> Vec<u64> {
    node.usage.flush(world.clock.now()).unwrap();
    let mut bytes: Vec<u64> =
        node.usage.hour(world.clock.now().hour()).unwrap().iter().map(|entry| entry.bytes).collect();
    bytes.sort_unstable();
    bytes
}

#[tokio::test]
async fn ranges_come_with_proofs_and_are_counted() {
    let world = World::new();
    let node = world.node(1);
    let piece = Piece::random(1, 1_000_000);
    world.put(&node, &piece).await.unwrap();
    let (hash, len) = (piece.meta.hash, piece.len());
    let order = world.get_order(&node, hash, 10 * len);
    let ranges = [0..1, 0..len, 1023..1025, 16_384..32_768, 100_000..700_000, len - 1..len];
    let mut wanted = 0;
    for range in ranges {
        let encoded = get(&world, &order, range.start, range.end).await.unwrap();
        assert_eq!(encoded.len() as u64, encoded_len(len, &range));
        let bytes = verify_slice(hash, len, range.clone(), &encoded[..]).unwrap();
        let at = |offset| usize::try_from(offset).unwrap();
        assert_eq!(bytes, piece.bytes[at(range.start)..at(range.end)]);
        wanted += range.end - range.start;
    }
    assert_eq!(counted(&world, &node), [wanted]);
}

#[tokio::test]
async fn without_a_range_the_whole_piece_is_given() {
    let world = World::new();
    let node = world.node(1);
    let piece = Piece::random(1, 500_000);
    world.put(&node, &piece).await.unwrap();
    let (hash, len) = (piece.meta.hash, piece.len());
    let order = world.get_order(&node, hash, len).order;
    let request = Request::get(format!("/v1/pieces/{hash}")).header(ORDER_HEADER, order);
    let response = node.ask(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-length"], encoded_len(len, &(0..len)).to_string());
    let encoded = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(verify_slice(hash, len, 0..len, &encoded[..]).unwrap(), piece.bytes);
}

#[tokio::test]
async fn an_order_does_not_give_more_than_it_says() {
    let world = World::new();
    let (node, other) = (world.node(1), world.node(2));
    let piece = Piece::random(1, 10_000);
    world.put(&node, &piece).await.unwrap();
    let (hash, len) = (piece.meta.hash, piece.len());

    let order = world.get_order(&node, hash, 5000);
    get(&world, &order, 0, 3000).await.unwrap();
    assert_eq!(refused(get(&world, &order, 0, 3000).await), is(403, "order_refused"), "2000 are left");
    get(&world, &order, 0, 2000).await.unwrap();
    assert_eq!(refused(get(&world, &order, 0, 1).await), is(403, "order_refused"), "nothing is left");
    assert_eq!(counted(&world, &node), [5000]);

    let good = world.get_order(&node, hash, len);
    let with = |order: String| PieceOrder { order, ..good.clone() };
    let cases = [
        ("another node", world.get_order(&other, hash, len).order),
        ("another piece", world.get_order(&node, PieceHash([9; 32]), len).order),
        ("another action", world.order(&node, Action::Put(piece.meta), len)),
    ];
    for (what, order) in cases {
        assert_eq!(refused(get(&world, &with(order), 0, 1).await), is(403, "order_refused"), "{what}");
    }
    get(&world, &good, 0, 1).await.unwrap();
    world.clock.advance(ORDER_LIFETIME);
    assert_eq!(refused(get(&world, &good, 0, 1).await), is(403, "order_refused"), "expired");
}

#[tokio::test]
async fn what_cannot_be_given_costs_nothing() {
    let world = World::new();
    let node = world.node(1);
    let piece = Piece::random(1, 300_000);
    world.put(&node, &piece).await.unwrap();
    let (hash, len) = (piece.meta.hash, piece.len());
    let order = world.get_order(&node, hash, len);
    for (start, end) in [(5, 5), (7, 6), (0, len + 1), (len, len + 1)] {
        assert_eq!(refused(get(&world, &order, start, end).await), is(416, "bad_range"), "{start}..{end}");
    }
    let missing = world.get_order(&node, PieceHash([9; 32]), len);
    assert_eq!(refused(get(&world, &missing, 0, 1).await), is(404, "piece_not_found"));

    node.store.flip_bit(hash, 10);
    assert_eq!(refused(get(&world, &order, 0, 1).await), is(410, "piece_corrupt"));
    assert_eq!(refused(get(&world, &order, 0, len).await), is(410, "piece_corrupt"));
    assert_eq!(node.store.problems(10).unwrap(), [hash]);
    assert_eq!(counted(&world, &node), [] as [u64; 0]);

    world.put(&node, &piece).await.unwrap();
    get(&world, &order, 0, len).await.unwrap();
}

#[tokio::test]
async fn damage_in_the_middle_breaks_the_answer_off() {
    let world = World::new();
    let node = world.node(1);
    let piece = Piece::random(1, 1_000_000);
    world.put(&node, &piece).await.unwrap();
    let (hash, len) = (piece.meta.hash, piece.len());
    node.store.flip_bit(hash, 900_000);
    let order = world.get_order(&node, hash, len);
    let outcome = get(&world, &order, 0, len).await;
    assert!(matches!(outcome, Err(CallError::Send(_))), "{outcome:?}");
    assert_eq!(node.store.problems(10).unwrap(), [hash]);
    let paid: u64 = counted(&world, &node).iter().sum();
    assert!(paid < 900_000 + (16 << 10), "{paid}");
}

#[tokio::test]
async fn a_reader_that_leaves_pays_for_what_it_took_and_frees_its_place() {
    let world = World::new();
    let node = world.node_with(1, |config| config.limits.gets_max = 1);
    let piece = Piece::random(1, 2_000_000);
    world.put(&node, &piece).await.unwrap();
    let (hash, len) = (piece.meta.hash, piece.len());
    let order = world.get_order(&node, hash, 3 * len);
    let request = Request::get(format!("/v1/pieces/{hash}")).header(ORDER_HEADER, &order.order);
    let mut response = node.ask(request.body(Body::empty()).unwrap()).await;
    let taken = response.body_mut().frame().await.unwrap().unwrap();
    assert!(taken.is_data());
    assert_eq!(refused(get(&world, &order, 0, 1).await), is(503, "busy"));
    drop(response);
    // The reading thread notices with its next part.
    while node.pinner.in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    let paid: u64 = counted(&world, &node).iter().sum();
    assert!((1..len / 2).contains(&paid), "{paid} of {len}");
    get(&world, &order, 0, len).await.unwrap();
}

#[tokio::test]
async fn a_busy_answer_says_when_to_come_back() {
    let world = World::new();
    let node = world.node_with(1, |config| config.limits.gets_max = 1);
    let piece = Piece::random(1, 2_000_000);
    world.put(&node, &piece).await.unwrap();
    let hash = piece.meta.hash;
    let order = world.get_order(&node, hash, 2 * piece.len());
    let request = || {
        let request = Request::get(format!("/v1/pieces/{hash}")).header(ORDER_HEADER, &order.order);
        request.body(Body::empty()).unwrap()
    };
    let held = node.ask(request()).await;
    assert_eq!(held.status(), 200);
    let busy = node.ask(request()).await;
    assert_eq!(busy.status(), 503);
    assert_eq!(busy.headers()["retry-after"], "1");
    let status = world.nodes().status(&node.url, Duration::from_secs(1)).await.unwrap();
    assert_eq!((status.id, status.in_flight), (node.id, 1));
}
