//! Many uploads at once: they share segments, and what is there already costs nothing.

use std::sync::Arc;

use futures_util::future::join_all;

use super::world::{World, patterned, until};

/// Runs tasks, so many at once.
async fn in_parallel<T: Send + 'static>(
    at_once: usize,
    count: usize,
    task: impl Fn(usize) -> futures_util::future::BoxFuture<'static, T> + Send + Sync + 'static,
) -> Vec<T> {
    let (next, task) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), Arc::new(task));
    let workers = (0..at_once).map(|_| {
        let (next, task) = (next.clone(), task.clone());
        tokio::spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if number >= count {
                    return done;
                }
                done.push((number, task(number).await));
            }
        })
    });
    let mut done: Vec<(usize, T)> = join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

fn kibibyte(number: usize) -> Vec<u8> {
    patterned(u32::try_from(number).unwrap() + 1, 1024)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_small_uploads_are_tens_of_segments() {
    let world = Arc::new(World::new().await);
    let uploader = world.clone();
    let files = in_parallel(64, 1000, move |number| {
        let world = uploader.clone();
        Box::pin(async move { world.upload("", kibibyte(number)).await.file() })
    })
    .await;
    let [pending, live, orphaned, lost] = world.segments().await;
    assert!(live < 100, "{live} segments");
    assert_eq!((pending, orphaned, lost), (0, 0, 0));
    assert_eq!(world.used_bytes().await, 1000 * 1024);
    let reader = world.clone();
    let cids: Vec<String> = files.iter().map(|file| file.cid.clone()).collect();
    in_parallel(64, 1000, move |number| {
        let (world, cid) = (reader.clone(), cids[number].clone());
        Box::pin(async move { world.assert_reads(&cid, &kibibyte(number)).await })
    })
    .await;
    // All is let go of, and all twenty pieces of each segment are recorded.
    world.gateway.packer.until(|in_hand| *in_hand == crate::upload::InHand::default()).await;
    until(async || {
        let ids: Vec<_> = world.db.segments_after(None, 1000).await.unwrap();
        let ids: Vec<_> = ids.into_iter().map(|(id, _)| id).collect();
        let infos = world.db.segments_info(&ids).await.unwrap();
        infos.iter().all(|info| info.pieces.iter().all(|piece| piece.node.is_some()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_cost_nothing_and_say_so() {
    let world = World::new().await;
    let bytes = patterned(1, 3 << 20);
    let first = world.upload("?name=first", bytes.clone()).await.file();
    // The last pieces may arrive after the acknowledgement.
    until(async || world.network.pieces_held() == 20).await;
    let (pieces, used) = (20, world.used_bytes().await);
    let again = world.upload("", bytes.clone()).await.file();
    assert!(again.duplicate && !first.duplicate);
    assert_eq!((&again.cid, &again.name, &again.created), (&first.cid, &first.name, &first.created));
    let renamed = world.upload("?name=second", bytes.clone()).await.file();
    assert_eq!(renamed.name, "second", "a new name is taken over");
    assert_eq!(world.segments().await, [0, 1, 0, 0]);
    assert_eq!((world.network.pieces_held(), world.used_bytes().await), (pieces, used));
    // Parts of what is stored are not stored again either: only the last leaf and the root are new.
    let mut longer = bytes;
    longer.extend_from_slice(b"and some more");
    world.upload("", longer.clone()).await.file();
    let ids = world.db.segments_after(None, 10).await.unwrap();
    assert_eq!(ids.len(), 2);
    let infos = world.db.segments_info(&[ids[0].0, ids[1].0]).await.unwrap();
    assert!(infos.iter().any(|info| info.length_bytes < 1000), "{infos:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_file_from_many_at_once_is_stored_once() {
    let world = Arc::new(World::new().await);
    let uploader = world.clone();
    let files = in_parallel(32, 32, move |_| {
        let world = uploader.clone();
        Box::pin(async move { world.upload("", patterned(9, 2_500_000)).await.file() })
    })
    .await;
    assert_eq!(files.iter().filter(|file| !file.duplicate).count(), 1);
    assert_eq!(world.used_bytes().await, 2_500_000, "counted once");
    let ids = world.db.segments_after(None, 10).await.unwrap();
    let ids: Vec<_> = ids.into_iter().map(|(id, _)| id).collect();
    let infos = world.db.segments_info(&ids).await.unwrap();
    let stored: u64 = infos.iter().map(|info| info.length_bytes).sum();
    assert!(stored < 2_600_000, "{stored} bytes of segments");
    world.assert_reads(&files[0].cid, &patterned(9, 2_500_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_share_what_is_stored_and_each_pays() {
    let world = World::new().await;
    let created =
        world.admin(axum::http::Method::POST, "/v1/admin/accounts", serde_json::json!({ "name": "other" }));
    let other = created.await.json()["id"].as_str().unwrap().to_string();
    let uri = format!("/v1/admin/accounts/{other}/keys");
    let key = world.admin(axum::http::Method::POST, &uri, serde_json::json!({})).await;
    let key = key.json()["key"].as_str().unwrap().to_string();
    let mine = world.upload("", "shared bytes").await.file();
    let request = super::world::request(axum::http::Method::POST, "/v1/files", Some(&key), "shared bytes");
    let theirs = world.send(request).await.file();
    assert!(theirs.cid == mine.cid && !theirs.duplicate, "new to that account");
    assert_eq!(world.segments().await, [0, 1, 0, 0]);
    assert_eq!(world.db.account(&other).await.unwrap().unwrap().used_bytes, 12);
    // It lives as long as one of the two pins.
    assert_eq!(world.delete(&format!("/v1/files/{}", mine.cid)).await.status, 204);
    assert_eq!(world.segments().await, [0, 1, 0, 0]);
    world.assert_reads(&mine.cid, b"shared bytes").await;
}
