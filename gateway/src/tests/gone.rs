//! Clients that go away, and a database that does.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use bytes::Bytes;
use futures_util::stream;
use protocol::ids::SegmentId;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::world::{World, form_body, patterned, until};
use crate::upload::InHand;

type Part = Result<Bytes, std::io::Error>;

/// A body that is sent part by part.
fn body_of(mut parts: mpsc::Receiver<Part>) -> Body {
    Body::from_stream(stream::poll_fn(move |cx| parts.poll_recv(cx)))
}

/// An upload that has sent so many bytes and then hangs; whoever aborts it is the client that goes away.
async fn begin(world: &World, bytes: &[u8]) -> (tokio::task::JoinHandle<()>, mpsc::Sender<Part>) {
    let (sender, receiver) = mpsc::channel(1);
    let request = world.request(Method::POST, "/v1/files", body_of(receiver));
    let router = world.router.clone();
    let task = tokio::spawn(async move { drop(router.oneshot(request).await) });
    for part in bytes.chunks(100_000) {
        sender.send(Ok(Bytes::copy_from_slice(part))).await.unwrap();
    }
    (task, sender)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing_but_pieces_to_collect() {
    let world = World::with(20, |config| config.uploads.segment_bytes = 2 << 20).await;
    let bytes = patterned(1, 5_000_000);
    let (task, sender) = begin(&world, &bytes).await;
    // One segment is full and recorded before the client goes.
    until(async || world.segments().await[0] >= 1).await;
    task.abort();
    drop((task.await, sender));
    let left = world.gateway.packer.until(|in_hand| in_hand.uploads == 0).await;
    assert!(left.segments <= 1, "at most the open segment is left: {left:?}");
    assert_eq!(world.get("/v1/files").await.json()["files"], serde_json::json!([]));
    assert_eq!(world.used_bytes().await, 0);
    let [pending, live, ..] = world.segments().await;
    assert!(pending >= 1 && live == 0);
    let leaf = content::Cid::of(content::Codec::Raw, content::HashFn::Sha2_256, &bytes[..1 << 20]);
    assert_eq!(world.read(&leaf.to_string()).await.status, StatusCode::NOT_FOUND, "not even a part");
    // Once the lease is over its pieces are collected.
    let later = world.gateway.clock.now() + Duration::from_hours(1);
    let due = world.db.collectable_segments(later, 10).await.unwrap();
    assert_eq!(due.len() as u64, pending);
    for id in due {
        assert!(world.db.collect_segment(id, later).await.unwrap());
    }
    let queued = world.db.unpins_waiting().await.unwrap();
    let pieces = world.network.pieces_held() as u64;
    assert!(queued >= 18 && queued <= pieces, "{queued} of {pieces}");
    // The same file from somebody who stays is stored whole.
    let file = world.upload("", bytes.clone()).await.file();
    world.assert_reads(&file.cid, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away_at_any_moment_leave_nothing_in_hand() {
    let world = World::with(20, |config| config.uploads.segment_bytes = 1 << 20).await;
    let bytes = patterned(2, 3_000_000);
    for polls in 0..60 {
        let request = world.request(Method::POST, "/v1/files", bytes.clone());
        let mut upload = Box::pin(world.router.clone().oneshot(request));
        for _ in 0..polls {
            if futures_util::poll!(upload.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    // A last one pushes out what is left in the open segment.
    world.upload("", patterned(3, 2_000_000)).await.file();
    world.gateway.packer.until(|in_hand| *in_hand == InHand::default()).await;
    let total = world.gateway.config.uploads.ingest_bytes;
    until(async || world.gateway.ingest.room.available_permits() == total).await;
    until(async || world.gateway.uploads.taken() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_an_error() {
    let world = World::new().await;
    let broken = || Err(std::io::Error::other("connection reset"));
    let parts: Vec<Part> = vec![Ok(Bytes::from(patterned(3, 1_500_000))), broken()];
    let answer = world.upload("", Body::from_stream(stream::iter(parts))).await;
    assert_eq!(answer.error(), (400, "body_incomplete".into()));
    // A form that ends in the middle of a file, or of its head.
    let whole = form_body(&[("file", Some("a"), &patterned(4, 300_000)), ("file", Some("b"), b"b")]);
    for cut in [whole.len() - 4, whole.len() - 60, 200_000, 50] {
        let mut request = world.form("", &[]);
        *request.body_mut() = Body::from(whole[..cut].to_vec());
        request.headers_mut().remove(header::CONTENT_LENGTH);
        assert_eq!(world.send(request).await.error(), (400, "body_incomplete".into()), "cut at {cut}");
    }
    assert_eq!(world.get("/v1/files").await.json()["files"], serde_json::json!([]));
    assert_eq!(world.used_bytes().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_nothing_is_not_waited_for() {
    let world = World::with(20, |config| config.uploads.idle_timeout = Duration::from_millis(50)).await;
    let parts = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"some"))]);
    let never = futures_util::StreamExt::chain(parts, stream::pending());
    let answer = world.upload("", Body::from_stream(never)).await;
    assert_eq!(answer.error(), (400, "body_incomplete".into()));
    world.gateway.packer.until(|in_hand| in_hand.uploads == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_in_the_middle_keep_no_room_from_others() {
    // Room for four leaves, and for each a client that has sent half of one.
    let world = World::with(20, |config| {
        config.uploads.ingest_bytes = 4 << 20;
        config.uploads.idle_timeout = Duration::from_secs(60);
    })
    .await;
    let mut stopped = Vec::new();
    for seed in 0..4 {
        stopped.push(begin(&world, &patterned(seed, 1_500_000)).await);
    }
    until(async || world.gateway.ingest.room.available_permits() < 4 << 20).await;
    let bytes = patterned(9, 3_000_000);
    let upload = tokio::time::timeout(Duration::from_secs(20), world.upload("", bytes.clone())).await;
    world.assert_reads(&upload.unwrap().file().cid, &bytes).await;
    for (task, _) in stopped {
        assert!(!task.is_finished(), "it may still go on");
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_trickles_is_not_waited_for() {
    let world = World::with(20, |config| {
        config.uploads.idle_timeout = Duration::from_secs(1);
        config.uploads.rate_min = 10_000;
    })
    .await;
    // A byte now and then, sooner than the time for which nothing may come is over.
    let ticks = tokio::time::interval(Duration::from_millis(50));
    let trickle = stream::unfold(ticks, async |mut ticks| {
        ticks.tick().await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ticks))
    });
    let answer = world.upload("", Body::from_stream(trickle)).await;
    assert_eq!(answer.error(), (400, "body_incomplete".into()));
    until(async || world.gateway.uploads.taken() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_nothing_is_promised() {
    let world = World::new().await;
    let file = world.upload("", "known").await.file();
    world.assert_reads(&file.cid, b"known").await;
    let other = world.upload("", patterned(5, 2_000_000)).await.file();
    // An upload is under way when the database goes.
    let (sender, receiver) = mpsc::channel(1);
    let request = world.request(Method::POST, "/v1/files", body_of(receiver));
    let router = world.router.clone();
    let upload = tokio::spawn(async move {
        let response = router.oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    });
    sender.send(Ok(Bytes::from(patterned(6, 1_500_000)))).await.unwrap();
    world.gateway.packer.until(|in_hand| in_hand.uploads == 1).await;
    world.db.close().await;
    drop(sender);
    assert_eq!(upload.await.unwrap()["error"]["reason"], "store_unavailable");
    world.gateway.packer.until(|in_hand| *in_hand == InHand::default()).await;

    let unavailable = (503, "store_unavailable".to_string());
    let fresh = super::world::request(Method::POST, "/v1/files", Some("pk_00.00"), "x");
    assert_eq!(world.send(fresh).await.error(), unavailable, "a key that is not remembered");
    for uri in ["/readyz", &format!("/v1/nodes/{}/earnings", world.network.nodes()[0].id())] {
        assert_eq!(world.get(uri).await.error(), unavailable, "{uri}");
    }
    assert_eq!(
        world.admin(Method::GET, "/v1/admin/accounts", serde_json::json!(null)).await.error(),
        unavailable
    );
    // What was found a moment ago can still be read, and nobody calls anything else missing.
    world.assert_reads(&file.cid, b"known").await;
    let unknown = world.read(&other.cid).await;
    assert_eq!(unknown.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(unknown.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(world.get("/v1/nodes").await.status, StatusCode::OK);
    assert_eq!(world.get("/healthz").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_segment_is_not_built_upon() {
    let world = World::new().await;
    let bytes = patterned(7, 1_200_000);
    let file = world.upload("", bytes.clone()).await.file();
    let ids: Vec<SegmentId> = world.db.root_segments(&file.cid.parse().unwrap()).await.unwrap();
    assert!(world.db.set_lost(ids[0], true).await.unwrap());
    for node in world.network.nodes() {
        node.lose_all();
    }
    let again = world.upload("", bytes.clone()).await.file();
    assert!(again.duplicate, "the pin stood all the time");
    assert_eq!(world.segments().await, [0, 1, 0, 1], "stored anew");
    let later = service::clock::Clock::System.now() + Duration::from_hours(24 * 365);
    assert_eq!(
        world.db.collectable_segments(later, 9).await.unwrap(),
        [ids[0]],
        "the lost segment is let go of"
    );
    // The reader's memory of it is gone with the gateway.
    let info = world.db.locate(&[file.cid.parse().unwrap()]).await.unwrap();
    assert_ne!(info.blocks[0].segment, ids[0]);
}
