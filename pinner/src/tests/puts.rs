//! Taking pieces, deleting and listing them: what is done, and every refusal.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use protocol::{
    api::ORDER_HEADER,
    ids::PieceHash,
    order::{Action, CLOCK_SKEW_MAX, Purpose},
    unpin::PieceUnpin,
};

use tower::ServiceExt as _;

use super::world::{HttpRequest, ORDER_LIFETIME, Piece, Request, TestNode, World, is, refusal, refused};
use crate::{config::ByteSize, piece_store::PieceStore as _};

fn put_request(piece: &Piece, order: Option<&str>, body: Body) -> HttpRequest {
    let mut builder = Request::put(format!("/v1/pieces/{}", piece.meta.hash));
    if let Some(order) = order {
        builder = builder.header(ORDER_HEADER, order);
    }
    builder.body(body).unwrap()
}

async fn put_with(node: &TestNode, piece: &Piece, order: &str) -> (u16, String) {
    refusal(node.ask(put_request(piece, Some(order), Body::from(piece.bytes.clone()))).await).await
}

#[tokio::test]
async fn a_piece_is_taken_once_however_often_it_is_sent() {
    let world = World::new();
    let node = world.node(1);
    let piece = Piece::random(1, 40_000);
    let order = world.put_order(&node, piece.meta);
    for _ in 0..2 {
        let request = put_request(&piece, Some(&order.order), Body::new(piece.body()));
        assert_eq!(node.ask(request).await.status(), 201);
    }
    let stats = node.store.stats();
    assert_eq!((stats.pieces, stats.reserved_bytes), (1, 0));
}

#[tokio::test]
async fn nothing_is_taken_without_a_valid_order() {
    let world = World::new();
    let (node, other) = (world.node(1), world.node(2));
    let (piece, another) = (Piece::random(1, 1000), Piece::random(2, 1000));
    let put = Action::Put(piece.meta);

    let request = put_request(&piece, None, Body::from(piece.bytes.clone()));
    assert_eq!(refusal(node.ask(request).await).await, is(401, "order_missing"));

    let good = world.order(&node, put, piece.len());
    let forged = World {
        signer: service::signer::Signer::new(
            ed25519_dalek::SigningKey::from_bytes(&[43; 32]),
            world.clock.clone(),
            service::dice::Dice::seeded(1),
        ),
        ..World::new()
    };
    let now = world.clock.now();
    let early = now + CLOCK_SKEW_MAX + Duration::from_secs(1);
    let from_the_future = world.signer.order_until(node.id, put, piece.len(), early, early + ORDER_LIFETIME);
    let refused_orders = [
        ("another node", world.order(&other, put, piece.len())),
        ("another piece", world.order(&node, Action::Put(another.meta), piece.len())),
        ("another action", world.order(&node, Action::Get(piece.meta.hash, Purpose::Read), piece.len())),
        ("too few bytes", world.order(&node, put, piece.len() - 1)),
        ("another signer", forged.order(&node, put, piece.len())),
        ("the future", from_the_future),
        ("nonsense", "nonsense".to_string()),
        ("too long", "A".repeat(2000)),
    ];
    for (what, order) in refused_orders {
        assert_eq!(put_with(&node, &piece, &order).await, is(403, "order_refused"), "{what}");
    }
    assert_eq!(node.store.stats().pieces, 0);

    // The order is known to be genuine by then, and expires all the same.
    let request = put_request(&piece, Some(&good), Body::from(piece.bytes.clone()));
    assert_eq!(node.ask(request).await.status(), 201);
    world.clock.advance(ORDER_LIFETIME);
    assert_eq!(put_with(&node, &piece, &good).await, is(403, "order_refused"), "expired");
}

#[tokio::test]
async fn a_node_without_a_network_takes_nothing() {
    let world = World::new();
    let node = world.stranger(1);
    let piece = Piece::random(1, 1000);
    assert_eq!(refused(world.put(&node, &piece).await), is(503, "not_enrolled"));
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_leave_nothing() {
    let world = World::new();
    let node = world.node(1);
    let piece = Piece::random(1, 100_000);
    let order = world.put_order(&node, piece.meta).order;
    let mut flipped = piece.bytes.to_vec();
    flipped[77] ^= 1;
    let longer = [&piece.bytes[..], &[0]].concat();
    let chunked = |bytes: Vec<u8>| {
        Body::from_stream(futures_util::stream::iter([Ok::<_, axum::Error>(Bytes::from(bytes))]))
    };
    let cases = [
        ("flipped", Body::from(flipped), is(409, "wrong_hash")),
        ("short", Body::from(piece.bytes.slice(1..)), is(422, "wrong_length")),
        ("long", Body::from(longer.clone()), is(422, "wrong_length")),
        ("short without a length", chunked(piece.bytes[1..].to_vec()), is(422, "wrong_length")),
        ("long without a length", chunked(longer), is(422, "wrong_length")),
        ("empty", Body::empty(), is(422, "wrong_length")),
    ];
    for (what, body, expected) in cases {
        assert_eq!(
            refusal(node.ask(put_request(&piece, Some(&order), body)).await).await,
            expected,
            "{what}"
        );
    }
    let mut announced = put_request(&piece, Some(&order), Body::from(piece.bytes.clone()));
    announced.headers_mut().insert("content-length", 7.into());
    assert_eq!(refusal(node.ask(announced).await).await, is(422, "wrong_length"));
    let broken =
        futures_util::stream::iter([Ok(piece.bytes.slice(..10)), Err(std::io::Error::other("gone"))]);
    let request = put_request(&piece, Some(&order), Body::from_stream(broken));
    assert_eq!(refusal(node.ask(request).await).await, is(400, "broken_off"));
    let stats = node.store.stats();
    assert_eq!((stats.pieces, stats.used_bytes, stats.reserved_bytes), (0, 0, 0));
    world.put(&node, &piece).await.unwrap();
}

#[tokio::test]
async fn a_full_node_says_so() {
    let world = World::new();
    let node = world.node_with(1, |config| config.capacity = ByteSize(150_000));
    world.put(&node, &Piece::random(1, 100_000)).await.unwrap();
    assert_eq!(refused(world.put(&node, &Piece::random(2, 100_000)).await), is(507, "no_space"));
}

/// A body that has begun and goes on only when its sender says so.
fn stalled(piece: &Piece) -> (tokio::sync::mpsc::UnboundedSender<Result<Bytes, std::io::Error>>, Body) {
    let (sender, body) = tokio::sync::mpsc::unbounded_channel();
    sender.send(Ok(piece.bytes.slice(..1000))).unwrap();
    let parts = futures_util::stream::unfold(body, |mut body| async { Some((body.recv().await?, body)) });
    (sender, Body::from_stream(parts))
}

#[tokio::test]
async fn a_sender_that_stops_is_cut_off() {
    let world = World::new();
    let node = world.node_with(1, |config| config.limits.idle = Duration::from_millis(20));
    let piece = Piece::random(1, 100_000);
    let order = world.put_order(&node, piece.meta).order;
    let (_sender, body) = stalled(&piece);
    let answer = node.ask(put_request(&piece, Some(&order), body)).await;
    assert_eq!(refusal(answer).await, is(408, "too_slow"));
    assert_eq!(node.store.stats().reserved_bytes, 0);
}

#[tokio::test]
async fn puts_beyond_the_limit_are_sent_away() {
    let world = World::new();
    let node = world.node_with(1, |config| config.limits.puts_max = 1);
    let (piece, another) = (Piece::random(1, 100_000), Piece::random(2, 1000));
    let order = world.put_order(&node, piece.meta).order;
    let (sender, body) = stalled(&piece);
    let putting = node.pinner.router(None).oneshot(put_request(&piece, Some(&order), body));
    let putting = tokio::spawn(putting);
    while node.store.stats().reserved_bytes == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(refused(world.put(&node, &another).await), is(503, "busy"));
    sender.send(Ok(piece.bytes.slice(1000..))).unwrap();
    drop(sender);
    assert_eq!(putting.await.unwrap().unwrap().status(), 201);
    world.put(&node, &another).await.unwrap();
}

#[tokio::test]
async fn pieces_are_deleted_by_exactly_the_batch_that_was_ordered() {
    let world = World::new();
    let node = world.node(1);
    let pieces = [1, 2, 3].map(|seed| Piece::random(seed, 1000));
    for piece in &pieces {
        world.put(&node, piece).await.unwrap();
    }
    let names = |hashes: &[PieceHash]| {
        let stored_before = world.clock.now() + Duration::from_secs(1);
        let unpin = |&hash: &PieceHash| PieceUnpin { hash, stored_before };
        Bytes::from(PieceUnpin::encode_batch(&hashes.iter().map(unpin).collect::<Vec<_>>()))
    };
    let batch = names(&[pieces[0].meta.hash, pieces[1].meta.hash, PieceHash([7; 32])]);
    let digest = |body: &Bytes| Action::Delete(*blake3::hash(body).as_bytes());
    let order = world.order(&node, digest(&batch), 0);

    let client = world.nodes();
    let other = names(&[pieces[2].meta.hash]);
    assert_eq!(refused(client.delete(&node.url, &order, other.clone()).await), is(403, "order_refused"));
    for bad in [other.slice(1..), Bytes::new(), Bytes::from(vec![0; 10_001 * PieceUnpin::LEN])] {
        let order = world.order(&node, digest(&bad), 0);
        let (status, _) = refused(client.delete(&node.url, &order, bad).await);
        assert!(status == 400 || status == 413, "{status}");
    }
    assert_eq!(node.store.stats().pieces, 3);
    client.delete(&node.url, &order, batch.clone()).await.unwrap();
    client.delete(&node.url, &order, batch).await.unwrap();
    let left: Vec<PieceHash> =
        node.store.list(None, 10).unwrap().into_iter().map(|piece| piece.hash).collect();
    assert_eq!(left, [pieces[2].meta.hash]);
}

#[tokio::test]
async fn a_late_order_to_delete_spares_what_was_ordered_here_again() {
    let world = World::new();
    let node = world.node(1);
    let piece = Piece::random(1, 1000);
    world.put(&node, &piece).await.unwrap();
    world.clock.advance(Duration::from_secs(10));
    let unpin = PieceUnpin { hash: piece.meta.hash, stored_before: world.clock.now() };
    let batch = Bytes::from(PieceUnpin::encode_batch(&[unpin]));
    let order = world.order(&node, Action::Delete(*blake3::hash(&batch).as_bytes()), 0);
    world.clock.advance(Duration::from_secs(10));
    world.put(&node, &piece).await.unwrap();
    world.nodes().delete(&node.url, &order, batch).await.unwrap();
    assert_eq!(node.store.stats().pieces, 1);
}

#[tokio::test]
async fn lists_are_given_page_by_page() {
    let world = World::new();
    let node = world.node_with(1, |config| config.limits.list_max = 4);
    let mut hashes = Vec::new();
    for seed in 0..10 {
        let piece = Piece::random(seed, 300);
        world.put(&node, &piece).await.unwrap();
        hashes.push(piece.meta.hash);
    }
    hashes.sort();
    let (client, order) = (world.nodes(), world.order(&node, Action::List, 0));
    let mut listed = Vec::new();
    loop {
        // More than the node gives at once.
        let page = client.list(&node.url, &order, listed.last().copied(), 1000).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 4);
        assert!(page.iter().all(|piece| piece.bytes > 0 && piece.stored == world.clock.now()));
        listed.extend(page.into_iter().map(|piece| piece.hash));
    }
    assert_eq!(listed, hashes);
    let wrong = world.order(&node, Action::Get(hashes[0], Purpose::Read), 10);
    assert_eq!(refused(client.list(&node.url, &wrong, None, 1).await), is(403, "order_refused"));
}
