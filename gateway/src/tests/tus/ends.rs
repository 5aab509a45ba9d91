//! Uploads that end: deleted, too late, or long finished.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};

use super::{Client, MIB, cid_of};
use crate::tests::world::{World, patterned, until};

/// Everything that the monitor would clear away at this time or before.
async fn collect(world: &World, later: Duration) {
    let now = world.gateway.clock.now() + later;
    while world.db.clear_tus_uploads(now, 10).await.unwrap() {}
    while world.db.clear_long_upload(now, 10).await.unwrap() {}
    for segment in world.db.collectable_segments(now, 100).await.unwrap() {
        assert!(world.db.collect_segment(segment, now).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_upload_leaves_nothing() {
    let world = World::new().await;
    let client = Client::new(&world);
    let bytes = patterned(1, 3 * MIB);
    let uri = client.begin_of(bytes.len()).await;
    client.write(&uri, 0, &bytes[..=2 * MIB]).await;
    assert_eq!(client.send(Method::DELETE, &uri, &[], Body::empty()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        client.send(Method::GET, &uri, &[], Body::empty()).await.error(),
        (404, "unknown_upload".into())
    );
    assert_eq!(client.patch(&uri, 2 * MIB + 1, "x").await.error(), (404, "unknown_upload".into()));
    collect(&world, world.gateway.config.uploads.lease).await;
    assert_eq!(world.segments().await, [0, 0, 0, 0]);
    // A finished one is forgotten, its file is not.
    let uri = client.upload(&[], &bytes).await;
    assert_eq!(client.send(Method::DELETE, &uri, &[], Body::empty()).await.status, StatusCode::NO_CONTENT);
    collect(&world, Duration::from_hours(48)).await;
    world.assert_reads(&cid_of(&bytes), &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_does_not_go_on_is_over() {
    let world = World::with(20, |config| config.tus.expiry = Duration::from_millis(1_500)).await;
    let client = Client::new(&world);
    let bytes = patterned(2, 2 * MIB);
    let uri = client.begin_of(bytes.len()).await;
    client.write(&uri, 0, &bytes[..MIB]).await;
    until(async || client.head(&uri).await.status != StatusCode::OK).await;
    assert_eq!(
        client.send(Method::GET, &uri, &[], Body::empty()).await.error(),
        (410, "upload_expired".into())
    );
    assert_eq!(client.patch(&uri, MIB, "x").await.error(), (410, "upload_expired".into()));
    collect(&world, world.gateway.config.uploads.lease).await;
    assert_eq!(client.head(&uri).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.segments().await, [0, 0, 0, 0]);
    assert_eq!(world.db.long_uploads().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_progress_outlives_leases() {
    let world = World::with(20, |config| config.uploads.lease = Duration::from_millis(10)).await;
    let client = Client::new(&world);
    let bytes = patterned(3, 3 * MIB);
    let uri = client.begin_of(bytes.len()).await;
    client.write(&uri, 0, &bytes[..=2 * MIB]).await;
    let due = world.gateway.config.tus.expiry / 2;
    collect(&world, due).await;
    assert_eq!(client.offset(&uri).await, 2 * MIB + 1);
    client.write(&uri, 2 * MIB + 1, &bytes[2 * MIB + 1..]).await;
    world.assert_reads(&cid_of(&bytes), &bytes).await;
    collect(&world, due).await;
    assert_eq!(client.cid(&uri).await, cid_of(&bytes), "its end is remembered for a while");
}
