//! PostgreSQL is set back to an older backup, made while files were uploaded, and the nodes give back what it lacks.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use store::{Db, DbOptions, SegmentState};
use testing::PostgresDatabase;
use tokio::sync::oneshot;

use super::network::{Network, random_bytes};

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_of_postgresql_gets_back_what_was_uploaded_since() {
    let Some(database) = PostgresDatabase::create() else { return };
    let mut network = Network::start_with(20, &["--database", &database.url()]).await;
    let old = random_bytes(300, 3_000_000);
    let old_cid = network.upload("old", &old).await;

    // Of this one the first two segments are stored, and nobody has acknowledged it, when the backup is made.
    let large = random_bytes(301, 50_000_000);
    let (rest, waits) = oneshot::channel::<()>();
    let (first, last) =
        (Bytes::from(large[..40_000_000].to_vec()), Bytes::from(large[40_000_000..].to_vec()));
    let body = in_two_parts(first, last, waits);
    let url = format!("{}/v1/files?name=large", network.gateway_url());
    let upload = network.http().post(url).bearer_auth(network.key()).body(body).send();
    let backup = tempfile::tempdir().unwrap();
    let file = backup.path().join("pinstripe.dump");
    let between = async {
        until_segments_wait(&database, 2).await;
        let beside = random_bytes(302, 90_000);
        let cid = network.upload("beside", &beside).await;
        tokio::task::block_in_place(|| database.dump(&file));
        rest.send(()).unwrap();
        (cid, beside)
    };
    let (response, (beside_cid, beside)) = tokio::join!(upload, between);
    let response = response.unwrap();
    assert_eq!(response.status(), 201);
    let info: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let large_cid = info["cid"].as_str().unwrap().to_string();
    let late = random_bytes(303, 200_000);
    let late_cid = network.upload("late", &late).await;

    network.kill_gateway();
    network.kill_monitor();
    database.restore(&file);
    let said = network.recover().await;
    assert!(said.contains("pins: 2 restored") && said.contains("0 unreadable"), "{said}");
    network.restart_gateway().await;
    network.start_again("monitor").await;
    for (cid, bytes) in [(&old_cid, &old), (&large_cid, &large), (&beside_cid, &beside), (&late_cid, &late)] {
        network.until_healthy(cid).await;
        assert_eq!(&network.read(cid).await, bytes);
    }
    let mut listed = network.list().await;
    listed.sort();
    let mut all = vec![old_cid, large_cid, beside_cid, late_cid];
    all.sort();
    assert_eq!(listed, all);
    drop(network);
    drop(database);
}

/// Waits until so many segments are recorded that wait for their upload.
async fn until_segments_wait(database: &PostgresDatabase, wanted: usize) {
    let db = Db::open(&DbOptions::new(database.url())).await.unwrap();
    loop {
        let segments = db.segments_after(None, 1_000).await.unwrap();
        if segments.iter().filter(|(_, state)| *state == SegmentState::Pending).count() >= wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    db.close().await;
}

/// A body whose last part comes when it is let.
fn in_two_parts(first: Bytes, last: Bytes, waits: oneshot::Receiver<()>) -> reqwest::Body {
    let first = stream::once(async { Ok::<_, std::io::Error>(first) });
    let last = stream::once(async {
        let waited = tokio::time::timeout(Duration::from_mins(5), waits).await;
        waited.map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
        Ok(last)
    });
    reqwest::Body::wrap_stream(first.chain(last))
}
