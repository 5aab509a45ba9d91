//! What only real processes show: a network of child processes that is killed, read, repaired and killed again.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod away;
mod many;
mod network;
mod recover;
mod traced;

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::Path,
    time::Duration,
};

use network::{Network, copy_tree, random_bytes};

/// Any `total - needed` nodes may die at once: everything still reads back, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn everything_reads_back_with_twelve_of_twenty_nodes_killed() {
    let mut network = Network::start(20).await;
    let big = random_bytes(1, 200_000_000);
    let small = random_bytes(2, 1_000);
    let big_cid = network.upload("big", &big).await;
    let small_cid = network.upload("small", &small).await;
    // This repository's own files.
    let source = tempfile::tempdir().unwrap();
    let files = copy_tree(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")), source.path());
    assert!(files.len() > 100, "{} files", files.len());
    let tree = network.add_directory(source.path()).await;
    network.until_healthy(&big_cid).await;
    network.until_healthy(&tree).await;

    let killed = any_twelve(&mut (0..20).collect());
    println!("killed: {killed:?}");
    network.kill_nodes(&killed);
    for _ in 0..2 {
        assert_eq!(network.read(&big_cid).await, big);
        assert_eq!(network.read(&small_cid).await, small);
    }
    for file in &files {
        let bytes = std::fs::read(source.path().join(file)).unwrap();
        assert_eq!(network.read(&format!("{tree}/{file}")).await, bytes, "{file}");
    }
    assert_eq!(network.read_range(&big_cid, 12_345_678, 1024).await, big[12_345_678..12_345_678 + 1024]);
}

/// Takes out any twelve, others in each run: it must not matter which.
fn any_twelve(left: &mut Vec<usize>) -> Vec<usize> {
    let seed = RandomState::new().build_hasher().finish();
    let dice = random_bytes(seed, 12).into_iter();
    dice.map(|die| left.remove(usize::from(die) % left.len())).collect()
}

/// What twelve dead nodes held is rebuilt on twelve new ones; then twelve others may die.
#[tokio::test(flavor = "multi_thread")]
async fn repaired_pieces_stand_the_next_twelve_losses() {
    let mut network = Network::start(32).await;
    let bytes = random_bytes(3, 200_000_000);
    let cid = network.upload("file", &bytes).await;
    let source = tempfile::tempdir().unwrap();
    let files = copy_tree(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")), source.path());
    let tree = network.add_directory(source.path()).await;
    network.until_healthy(&cid).await;
    network.until_healthy(&tree).await;

    let mut alive: Vec<usize> = (0..32).collect();
    let first = any_twelve(&mut alive);
    let gone = network.kill_nodes(&first);
    for cid in [&cid, &tree] {
        network.until_moved_off(cid, &gone).await;
    }
    let second = any_twelve(&mut alive);
    println!("killed: {first:?}, then {second:?}");
    network.kill_nodes(&second);
    assert_eq!(network.read(&cid).await, bytes);
    for file in &files {
        let bytes = std::fs::read(source.path().join(file)).unwrap();
        assert_eq!(network.read(&format!("{tree}/{file}")).await, bytes, "{file}");
    }
}

/// Gateway, monitor and database gone: a node serves what it can serve by itself.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_serve_on_without_gateway_monitor_and_database() {
    let mut network = Network::start(16).await;
    let bytes = random_bytes(4, 5_000_000);
    let cid = network.upload("file", &bytes).await;
    let (at_node, read) = network.read_from(&format!("/ipfs/{cid}")).await;
    assert!(read == bytes && at_node != network.gateway_url());
    // Until the monitor has given its first sign of life.
    let said = network.until_status(0).await;
    assert!(said.contains("segments    live") && said.contains("nothing needs anybody"), "{said}");
    network.kill_monitor();
    let said = network.until_status(1).await;
    assert!(said.contains("does not answer"), "{said}");
    network.kill_gateway();
    network.until_status(2).await;
    network.remove_database();
    assert_eq!(network.read_at(&at_node, &format!("/ipfs/{cid}")).await, bytes);
}

/// The database is gone for good: everything that was uploaded a moment ago reads back from a new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_database_comes_back_from_the_nodes() {
    let mut network = Network::start(16).await;
    let big = random_bytes(5, 30_000_000);
    let big_cid = network.upload("big", &big).await;
    let small = random_bytes(6, 700);
    let small_cid = network.upload("small", &small).await;
    let source = tempfile::tempdir().unwrap();
    let files = copy_tree(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol")), source.path());
    let tree = network.add_directory(source.path()).await;
    network.kill_gateway();
    network.kill_monitor();
    network.remove_database();
    let said = network.recover().await;
    assert!(said.contains("pins: 3 restored") && said.contains("16 new"), "{said}");
    network.restart_gateway().await;
    assert_eq!(network.read(&big_cid).await, big);
    assert_eq!(network.read(&small_cid).await, small);
    for file in &files {
        let bytes = std::fs::read(source.path().join(file)).unwrap();
        assert_eq!(network.read(&format!("{tree}/{file}")).await, bytes, "{file}");
    }
    // Once more there is nothing left to do.
    let said = network.recover().await;
    assert!(said.contains("0 restored, 0 unreadable"), "{said}");
}

/// The gateway dies at random instants while files are uploaded: what was acknowledged reads back. What is listed without
/// that (it was recorded, and only the answer was lost) is whole, and the pieces of everything else disappear.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_loses_nothing_that_it_acknowledged() {
    let mut network = Network::start(16).await;
    let mut acknowledged = Vec::new();
    for round in 0..50u64 {
        let uploads = (0..8u64).map(|file| {
            let bytes =
                random_bytes(1000 + round * 8 + file, 20_000 + 100_000 * usize::try_from(file).unwrap());
            let upload = network.try_upload(format!("file-{round}-{file}"), bytes.clone());
            async move { upload.await.map(|cid| (cid, bytes)) }
        });
        let uploads = futures_util::future::join_all(uploads);
        let killed = async {
            // Not a wait for anything: some instant between the first byte and a little after the last answer.
            tokio::time::sleep(Duration::from_micros(1000 + 37_139 * round % 150_000)).await;
            network.kill_gateway();
        };
        let (outcomes, ()) = tokio::join!(uploads, killed);
        acknowledged.extend(outcomes.into_iter().flatten());
        network.restart_gateway().await;
    }
    let listed = network.list().await;
    for (cid, bytes) in &acknowledged {
        assert!(listed.contains(cid), "{cid} was acknowledged and is not listed");
        assert_eq!(&network.read(cid).await, bytes);
    }
    assert!(!acknowledged.is_empty() && acknowledged.len() < 50 * 8, "{} acknowledged", acknowledged.len());
    for cid in &listed {
        // Listed without an acknowledgement: recorded, but the answer was lost. Then it must be whole.
        network.read(cid).await;
    }
    network.until_nodes_hold_only_what_is_listed().await;
}
