//! What is refused before its bytes are sent, and what can only be refused at the end.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::{Client, cid_of, location};
use crate::tests::world::{ACCOUNT, World, patterned};

async fn set_quota(world: &World, bytes: u64) {
    let uri = format!("/v1/admin/accounts/{ACCOUNT}/quota");
    let answer = world.admin(Method::PUT, &uri, json!({ "quota_bytes": bytes })).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_over_the_limits_are_refused_at_once() {
    let world = World::with(20, |config| config.uploads.size_max = 5_000).await;
    let client = Client::new(&world);
    set_quota(&world, 6_000).await;
    let long = client.post(&[("upload-length", "5001")]).await;
    assert_eq!(long.error(), (413, "body_too_large".into()));
    client.upload(&[], &patterned(1, 3_000)).await;
    let over = client.post(&[("upload-length", "3001")]).await;
    assert_eq!(over.error(), (403, "quota_exceeded".into()));
    client.begin_of(3_000).await;
    // The same when the length is said later.
    let uri = client.begin(&[("upload-defer-length", "1")]).await;
    client.write(&uri, 0, b"abc").await;
    let over = client.patch_with(&uri, 3, &[("upload-length", "3001")], "d").await;
    assert_eq!(over.error(), (403, "quota_exceeded".into()));
    let long = client.patch_with(&uri, 3, &[("upload-length", "5001")], "d").await;
    assert_eq!(long.error(), (413, "body_too_large".into()));
    let long = client.patch(&uri, 3, patterned(1, 4_998)).await;
    assert_eq!(long.error(), (413, "body_too_large".into()));
    assert_eq!(client.offset(&uri).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_quota_refuses_at_the_end_is_pinned_when_there_is_room() {
    let world = World::new().await;
    let client = Client::new(&world);
    let bytes = patterned(2, 1_500_000);
    let uri = client.begin_of(bytes.len()).await;
    set_quota(&world, 1_000_000).await;
    assert_eq!(client.patch(&uri, 0, bytes.clone()).await.error(), (403, "quota_exceeded".into()));
    assert_eq!(client.head(&uri).await.status, StatusCode::FORBIDDEN, "a client would take it for done");
    assert_eq!(world.read(&cid_of(&bytes)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.used_bytes().await, 0);
    set_quota(&world, 2_000_000).await;
    assert_eq!(client.cid(&uri).await, cid_of(&bytes));
    world.assert_reads(&cid_of(&bytes), &bytes).await;
    assert_eq!(world.used_bytes().await, 1_500_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_only_so_many_uploads() {
    let world = World::with(20, |config| config.tus.account_max = 2).await;
    let client = Client::new(&world);
    let first = client.begin_of(3).await;
    client.begin_of(3).await;
    let answer = client.post(&[("upload-length", "3")]).await;
    assert_eq!(answer.error(), (403, "too_many_uploads".into()));
    client.write(&first, 0, b"abc").await;
    client.begin_of(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_file_is_not_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.deny");
    std::fs::write(&list, format!("/ipfs/{}\n", cid_of(b"denied"))).unwrap();
    let world = World::with(20, |config| config.denylist.files = vec![list]).await;
    let client = Client::new(&world);
    let uri = client.begin_of(6).await;
    assert_eq!(client.patch(&uri, 0, "denied").await.error(), (403, "denied".into()));
    assert_eq!(client.head(&uri).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.get("/v1/files").await.json()["files"], json!([]));
    client.upload(&[], b"fine").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_fail_cost_nothing_but_time() {
    let world = World::new().await;
    let client = Client::new(&world);
    let bytes = patterned(3, 3 * super::MIB);
    let uri = location(&client.post(&[("upload-length", &bytes.len().to_string())]).await);
    let offset = client.write(&uri, 0, &bytes[..=super::MIB]).await;
    world.network.set(0..3, testing::Mode::Dead);
    let failed = client.patch(&uri, offset, bytes[offset..].to_vec()).await;
    assert_eq!(failed.error(), (503, "not_stored".into()));
    assert_eq!(client.offset(&uri).await, offset);
    world.network.set(0..3, testing::Mode::Honest);
    client.write(&uri, offset, &bytes[offset..]).await;
    assert_eq!(client.cid(&uri).await, cid_of(&bytes));
    world.assert_reads(&cid_of(&bytes), &bytes).await;
}
