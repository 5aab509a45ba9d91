//! Uploads that cannot be: each a clear error, and nothing half-stored.

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use testing::Mode;

use super::world::{World, patterned, request, until};

/// Nothing is listed, nothing can be read, nothing is counted.
async fn assert_nothing_stored(world: &World, bytes: &[u8]) {
    let files = world.get("/v1/files").await.json();
    assert_eq!(files["files"], serde_json::json!([]));
    assert_eq!(world.used_bytes().await, 0);
    assert_eq!(world.segments().await[1], 0, "no segment is live");
    let cid = content::unixfs::file::import_bytes(
        content::unixfs::profile::Profile::UNIXFS_V1_2025,
        &Bytes::copy_from_slice(bytes),
    )
    .root;
    assert_eq!(world.read(&cid.to_string()).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_nodes() {
    let world = World::with(15, |_| {}).await;
    assert_eq!(world.upload("", "x").await.error(), (503, "too_few_nodes".into()));
    assert_nothing_stored(&world, b"x").await;

    let world = World::new().await;
    world.network.set(0..5, Mode::Dead);
    world.probe().await;
    assert_eq!(world.upload("", "x").await.error(), (503, "too_few_nodes".into()));
    world.network.set([0], Mode::Honest);
    world.probe().await;
    let file = world.upload("", "x").await.file();
    let info = world.db.root_segments(&file.cid.parse().unwrap()).await.unwrap();
    let info = world.db.segments_info(&info).await.unwrap().remove(0);
    assert_eq!(info.scheme.total(), 16, "as many pieces as there are nodes");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_die_unseen() {
    let world = World::new().await;
    world.network.set(0..3, Mode::Dead);
    assert_eq!(world.upload("", "x").await.error(), (503, "not_stored".into()));
    assert_nothing_stored(&world, b"x").await;
    world.network.set([0], Mode::Honest);
    world.upload("", "x").await.file();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_space() {
    let world = World::new().await;
    world.network.set(0..3, Mode::Full);
    assert_eq!(world.upload("", "x").await.error(), (507, "no_space".into()));
    assert_nothing_stored(&world, b"x").await;
    // A failure beside them: it is not only for lack of space. (Three of these four are enough to give up.)
    world.network.set(2..4, Mode::Failing);
    assert_eq!(world.upload("", "x").await.error(), (503, "not_stored".into()));
    world.network.set(1..4, Mode::Honest);
    world.upload("", "x").await.file();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_say_they_are_full_are_not_asked() {
    let world = World::new().await;
    for node in &world.network.nodes()[..5] {
        let beat = store::Heartbeat {
            version: "test".into(),
            capacity_bytes: 1 << 40,
            used_bytes: 1 << 40,
            free_bytes: 1000,
            piece_count: 1,
        };
        world.db.heartbeat(node.id(), &beat, world.gateway.clock.now()).await.unwrap();
    }
    world.gateway.nodes.refresh().await.unwrap();
    assert_eq!(world.upload("", patterned(1, 100_000)).await.error(), (507, "no_space".into()));
    world.upload("", "small enough for a thousand bytes").await.file();
    // The last pieces may arrive after the acknowledgement.
    until(async || world.network.pieces_held() == 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit() {
    let world = World::with(20, |config| config.uploads.size_max = 2_000_000).await;
    let refused = (413, "body_too_large".to_string());
    // Announced: refused before a byte is read.
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let mut request = world.request(Method::POST, "/v1/files", never);
    request.headers_mut().insert(header::CONTENT_LENGTH, "2000001".parse().unwrap());
    assert_eq!(world.send(request).await.error(), refused);
    // Not announced: found out on the way.
    let parts = (0..30).map(|part| Ok::<_, std::io::Error>(Bytes::from(patterned(part, 100_000))));
    assert_eq!(world.upload("", Body::from_stream(stream::iter(parts))).await.error(), refused);
    let file = patterned(1, 1_200_000);
    assert_eq!(
        world.upload_form("", &[("a", &file), ("b", &file)]).await.error(),
        refused,
        "all files count"
    );
    assert_nothing_stored(&world, &file).await;
    world.upload("", patterned(2, 2_000_000)).await.file();
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_make_no_sense() {
    let world = World::with(20, |config| config.uploads.files_max = 3).await;
    let refuse = async |files: &[(&str, &[u8])]| world.upload_form("", files).await.error().1;
    assert_eq!(refuse(&[("a", b"1"), ("a", b"2")]).await, "bad_path");
    assert_eq!(refuse(&[("../a", b"1"), ("b", b"2")]).await, "bad_path");
    assert_eq!(refuse(&[("a/../b", b"1")]).await, "bad_path");
    assert_eq!(refuse(&[("../a", b"1")]).await, "bad_path");
    let path = world.upload_form("", &[("a/../b", b"1")]).await.json()["error"]["details"].to_string();
    assert!(path.contains("a/../b"), "the path as it was sent: {path}");
    assert_eq!(refuse(&[("/etc/passwd", b"1")]).await, "bad_path");
    assert_eq!(refuse(&[("a//b", b"1")]).await, "bad_path");
    assert_eq!(refuse(&[("a", b"1"), ("a/b", b"2")]).await, "bad_path");
    assert_eq!(refuse(&[("", b"1"), ("", b"2")]).await, "bad_path");
    assert_eq!(refuse(&[]).await, "bad_form");
    assert_eq!(refuse(&[("a", b"1"), ("b", b"2"), ("c", b"3"), ("d", b"4")]).await, "too_many_files");
    let other = world.form("", &[("files", Some("a"), b"1")]);
    assert_eq!(world.send(other).await.error(), (400, "bad_form".into()));
    let mut no_boundary = world.request(Method::POST, "/v1/files", "x");
    no_boundary.headers_mut().insert(header::CONTENT_TYPE, "multipart/form-data".parse().unwrap());
    assert_eq!(world.send(no_boundary).await.error(), (400, "bad_form".into()));
    assert_nothing_stored(&world, b"1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_at_once() {
    let world = World::with(20, |config| config.uploads.uploads_max = 1).await;
    let (first, sender) = slow_upload(&world).await;
    assert_eq!(world.upload("", "x").await.error(), (503, "busy".into()));
    drop(sender);
    assert_eq!(first.await.unwrap(), StatusCode::CREATED);
    world.upload("", "x").await.file();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_keeps_no_other_from_uploading() {
    let world = World::with(20, |config| {
        config.uploads.uploads_max = 2;
        config.uploads.account_uploads_max = 1;
    })
    .await;
    let (first, sender) = slow_upload(&world).await;
    assert_eq!(world.upload("", "x").await.error(), (503, "busy".into()));
    let account = world.admin(Method::POST, "/v1/admin/accounts", json!({ "name": "other" })).await.json();
    let keys = format!("/v1/admin/accounts/{}/keys", account["id"].as_str().unwrap());
    let key = world.admin(Method::POST, &keys, json!({})).await.json();
    let upload = request(Method::POST, "/v1/files", key["key"].as_str(), "x");
    assert_eq!(world.send(upload).await.status, StatusCode::CREATED);
    drop(sender);
    assert_eq!(first.await.unwrap(), StatusCode::CREATED);
}

type Part = Result<Bytes, std::io::Error>;

/// An upload that goes on until the sender is dropped.
async fn slow_upload(
    world: &World,
) -> (tokio::task::JoinHandle<StatusCode>, tokio::sync::mpsc::Sender<Part>) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Part>(1);
    let body = Body::from_stream(tokio_stream_of(receiver));
    let (router, request) = (world.router.clone(), world.request(Method::POST, "/v1/files", body));
    let upload =
        tokio::spawn(async move { tower::ServiceExt::oneshot(router, request).await.unwrap().status() });
    sender.send(Ok(Bytes::from_static(b"slow"))).await.unwrap();
    // It is inside once its first bytes are taken.
    until(async || sender.capacity() == 1).await;
    (upload, sender)
}

fn tokio_stream_of<T>(mut receiver: tokio::sync::mpsc::Receiver<T>) -> impl futures_util::Stream<Item = T> {
    stream::poll_fn(move |cx| receiver.poll_recv(cx))
}
