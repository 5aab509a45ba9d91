//! Uploads put together of others.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};

use super::{Client, MIB, cid_of, location, path};
use crate::tests::world::{World, patterned};

const PARTIAL: (&str, &str) = ("upload-concat", "partial");

async fn join(client: &Client, parts: &[&str]) -> crate::tests::world::Answer {
    let concat = format!("final;{}", parts.join(" "));
    client.post(&[("upload-concat", &concat), ("upload-metadata", "filename YQ==")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_any_length_are_the_file_at_once() {
    let world = World::with(20, |config| config.uploads.segment_bytes = 2 * MIB).await;
    let other = Client { router: crate::router(&world.another_gateway().await), key: world.key.clone() };
    let client = Client::new(&world);
    let bytes = patterned(1, 7 * MIB + 3);
    let cuts = [0, 2_500_000, 2_500_000, 2 * 2_500_000 + 1, bytes.len()];
    let mut parts = Vec::new();
    for cut in cuts.windows(2) {
        parts.push(client.upload(&[PARTIAL], &bytes[cut[0]..cut[1]]).await);
    }
    let head = client.head(&parts[0]).await;
    assert_eq!(
        (head.headers["upload-concat"].as_bytes(), head.headers.get("upload-cid")),
        (&b"partial"[..], None)
    );
    assert_eq!(world.get("/v1/files").await.json()["files"], serde_json::json!([]), "parts are no files");
    let part = cid_of(&bytes[..2_500_000]);
    assert_eq!(world.read(&part).await.status, StatusCode::NOT_FOUND, "and nobody reads them");

    // As URLs and as paths, at another gateway.
    let (first, rest) = parts.split_first().unwrap();
    let named: Vec<&str> = [first.as_str()].into_iter().chain(rest.iter().map(|part| path(part))).collect();
    let answer = join(&other, &named).await;
    let uri = location(&answer);
    assert_eq!(answer.headers["upload-cid"], cid_of(&bytes).as_str());
    world.assert_reads(&cid_of(&bytes), &bytes).await;
    let head = client.head(&uri).await;
    assert_eq!(head.headers["upload-concat"], format!("final;{}", named.join(" ")).as_str());
    assert_eq!(head.headers["upload-length"], bytes.len().to_string().as_str());
    assert_eq!(world.used_bytes().await, bytes.len() as u64);
    assert_eq!(client.patch(&uri, bytes.len(), "x").await.error(), (403, "final_upload".into()));
    // Parts may be used again, and twice.
    let twice = join(&client, &[&parts[0], &parts[0]]).await;
    let bytes_twice = [&bytes[..2_500_000], &bytes[..2_500_000]].concat();
    assert_eq!(twice.headers["upload-cid"], cid_of(&bytes_twice).as_str());
    // When they go the files stay.
    for part in &parts {
        assert_eq!(
            client.send(Method::DELETE, part, &[], Body::empty()).await.status,
            StatusCode::NO_CONTENT
        );
    }
    let later = world.gateway.clock.now() + Duration::from_hours(48);
    while world.db.clear_tus_uploads(later, 9).await.unwrap() {}
    while world.db.clear_long_upload(later, 9).await.unwrap() {}
    for segment in world.db.collectable_segments(later, 99).await.unwrap() {
        world.db.collect_segment(segment, later).await.unwrap();
    }
    // Where nothing is cached.
    let mut fresh = world;
    fresh.router = crate::router(&fresh.another_gateway().await);
    fresh.assert_reads(&cid_of(&bytes), &bytes).await;
    fresh.assert_reads(&cid_of(&bytes_twice), &bytes_twice).await;
    assert_eq!(fresh.segments().await[0], 0, "nothing is left of the parts");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_cannot_be_put_together() {
    let world = World::with(20, |config| {
        config.tus.parts_max = 2;
        config.uploads.size_max = 5;
    })
    .await;
    let client = Client::new(&world);
    let bad = (400, "bad_parts".to_string());
    let plain = client.upload(&[], b"abc").await;
    let part = client.upload(&[PARTIAL], b"abc").await;
    let open = client.begin(&[PARTIAL, ("upload-length", "3")]).await;
    assert_eq!(join(&client, &[]).await.error(), bad);
    assert_eq!(join(&client, &[&plain]).await.error(), bad);
    assert_eq!(join(&client, &[&part, &open]).await.error(), bad);
    assert_eq!(join(&client, &[&part, &part, &part]).await.error(), bad);
    assert_eq!(join(&client, &["/tus/none"]).await.error(), (404, "unknown_upload".into()));
    assert_eq!(join(&client, &[&part, &part]).await.error(), (413, "body_too_large".into()));
    assert_eq!(join(&client, &[&part]).await.headers["upload-cid"], cid_of(b"abc").as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_cannot_be_read_are_put_together_later() {
    let world = World::new().await;
    let client = Client::new(&world);
    let bytes = patterned(2, MIB + 5);
    let part = client.upload(&[PARTIAL], &bytes).await;
    world.network.set(0..14, testing::Mode::Dead);
    let failed = join(&client, &[&part]).await;
    assert_eq!((failed.status, failed.error().1), (StatusCode::SERVICE_UNAVAILABLE, "try_again".into()));
    world.network.set(0..14, testing::Mode::Honest);
    let answer = join(&client, &[&part]).await;
    assert_eq!(answer.headers["upload-cid"], cid_of(&bytes).as_str());
    world.assert_reads(&cid_of(&bytes), &bytes).await;
}
