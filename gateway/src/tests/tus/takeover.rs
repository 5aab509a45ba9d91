//! Two requests for one upload, clients that vanish, and gateways that die.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;

use super::{Client, MIB, cid_of, open_body};
use crate::{
    Config,
    tests::world::{World, patterned, until},
};

fn quick(config: &mut Config) {
    config.tus.claim = Duration::from_millis(600);
    config.tus.progress_bytes = 1 << 20;
    config.uploads.segment_bytes = MIB;
}

/// Sends one part after the other until told to stop: slower than this test, but never still.
async fn keep_sending(
    sender: &tokio::sync::mpsc::Sender<Result<Bytes, std::io::Error>>,
    bytes: &[u8],
    stop: impl Future<Output = ()>,
) -> usize {
    let mut sent = 0;
    let mut beat = tokio::time::interval(Duration::from_millis(2));
    tokio::pin!(stop);
    for part in bytes.chunks(1_000) {
        tokio::select! {
            biased;
            () = &mut stop => break,
            sending = sender.send(Ok(Bytes::copy_from_slice(part))) => sending.unwrap(),
        }
        sent += part.len();
        beat.tick().await;
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_waits_and_is_sent_away_while_the_first_one_writes() {
    let world = World::with(20, quick).await;
    let client = Client::new(&world);
    let bytes = patterned(1, 4 * MIB);
    let uri = client.begin_of(bytes.len()).await;
    let (sender, body) = open_body();
    let first = {
        let (client, uri) = (Client::new(&world), uri.clone());
        tokio::spawn(async move { client.patch(&uri, 0, body).await })
    };
    sender.send(Ok(Bytes::copy_from_slice(&bytes[..1]))).await.unwrap();
    until(async || sender.capacity() == 1).await;
    let second = async {
        assert_eq!(client.patch(&uri, 0, "x").await.error(), (423, "upload_locked".into()));
        let delete = client.send(axum::http::Method::DELETE, &uri, &[], "").await;
        assert_eq!(delete.error(), (423, "upload_locked".into()));
    };
    let sent = 1 + keep_sending(&sender, &bytes[1..], second).await;
    drop(sender);
    assert_eq!(first.await.unwrap().status, StatusCode::NO_CONTENT);
    assert_eq!(client.offset(&uri).await, sent);
    client.write(&uri, sent, &bytes[sent..]).await;
    assert_eq!(client.cid(&uri).await, cid_of(&bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanished_is_not_waited_for() {
    let world = World::with(20, quick).await;
    let client = Client::new(&world);
    let bytes = patterned(2, 3 * MIB);
    let uri = client.begin_of(bytes.len()).await;
    // Its connection is never closed.
    let (sender, body) = open_body();
    let first = {
        let (client, uri) = (Client::new(&world), uri.clone());
        tokio::spawn(async move { client.patch(&uri, 0, body).await })
    };
    sender.send(Ok(Bytes::copy_from_slice(&bytes[..MIB + 9]))).await.unwrap();
    until(async || sender.capacity() == 1).await;
    // Where the upload is shows when the first request ends.
    let mut offset = 0;
    until(async || {
        let answer = client.patch(&uri, offset, bytes[offset..].to_vec()).await;
        offset = client.offset(&uri).await;
        answer.status == StatusCode::NO_CONTENT
    })
    .await;
    assert_eq!(client.cid(&uri).await, cid_of(&bytes));
    assert_eq!(first.await.unwrap().error(), (400, "body_incomplete".into()));
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_has_what_it_sent() {
    let world = World::with(20, quick).await;
    let client = Client::new(&world);
    let bytes = patterned(3, 3 * MIB);
    let uri = client.begin_of(bytes.len()).await;
    let (sender, body) = open_body();
    let request = {
        let (client, uri) = (Client::new(&world), uri.clone());
        tokio::spawn(async move { client.patch(&uri, 0, body).await })
    };
    sender.send(Ok(Bytes::copy_from_slice(&bytes[..700_000]))).await.unwrap();
    until(async || sender.capacity() == 1).await;
    // As the server does when a connection breaks: nobody waits for the answer, and the body ends.
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    drop(sender);
    until(async || client.offset(&uri).await == 700_000).await;
    client.write(&uri, 700_000, &bytes[700_000..]).await;
    assert_eq!(client.cid(&uri).await, cid_of(&bytes));
}

#[test]
fn an_upload_outlives_its_gateway() {
    let outside = tokio::runtime::Runtime::new().unwrap();
    let world = outside.block_on(World::with(20, quick));
    let client = Client::new(&world);
    let bytes = patterned(4, 9 * MIB + 5);
    let uri = outside.block_on(client.begin_of(bytes.len()));

    // A gateway whose every task ends at once, like a process that is killed.
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let router = crate::router(&doomed.block_on(world.another_gateway()));
    let victim = Client { router, key: world.key.clone() };
    let (sender, body) = open_body();
    let (there, sent) = (uri.clone(), bytes.clone());
    doomed.spawn(async move { victim.patch(&there, 0, body).await });
    outside.block_on(async {
        for part in sent[..5 * MIB + 9].chunks(64 << 10) {
            sender.send(Ok(Bytes::copy_from_slice(part))).await.unwrap();
        }
        until(async || client.offset(&uri).await > 0).await;
    });
    doomed.shutdown_background();

    outside.block_on(async {
        let offset = client.offset(&uri).await;
        assert!((MIB..=5 * MIB).contains(&offset) && offset.is_multiple_of(MIB), "{offset}");
        client.write(&uri, offset, &bytes[offset..]).await;
        assert_eq!(client.cid(&uri).await, cid_of(&bytes));
        world.assert_reads(&cid_of(&bytes), &bytes).await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_a_dead_gateway_left_is_over_in_one_request() {
    let world = World::with(20, quick).await;
    let client = Client::new(&world);
    let uri = client.begin_of(3).await;
    let id = uri.rsplit('/').next().unwrap();
    let now = world.gateway.clock.now();
    let claim =
        world.db.claim_tus_upload(id, "dead", now, now + world.gateway.config.tus.claim).await.unwrap();
    assert!(matches!(claim, store::TusClaim::Claimed(_)));
    client.write(&uri, 0, b"abc").await;
    assert_eq!(client.cid(&uri).await, cid_of(b"abc"));
}
