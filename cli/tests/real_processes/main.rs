//! What only real processes show: a network of child processes that is killed, read, repaired and killed again.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod network;

use std::time::Duration;

use network::{Network, random_bytes};

/// Any `total - needed` nodes may die at once: everything still reads back, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn everything_reads_back_with_twelve_of_twenty_nodes_killed() {
    let mut network = Network::start(20).await;
    let big = random_bytes(1, 40_000_000);
    let small = random_bytes(2, 1_000);
    let big_cid = network.upload("big", &big).await;
    let small_cid = network.upload("small", &small).await;
    let tree = network.add_directory(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).await;
    network.until_healthy(&big_cid).await;

    network.kill_nodes(3..15);
    for _ in 0..2 {
        assert_eq!(network.read(&big_cid).await, big);
        assert_eq!(network.read(&small_cid).await, small);
    }
    let main = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/src/main.rs")).unwrap();
    assert_eq!(network.read(&format!("{tree}/main.rs")).await, main);
    assert_eq!(network.read_range(&big_cid, 12_345_678, 1024).await, big[12_345_678..12_345_678 + 1024]);
}

/// What twelve dead nodes held is rebuilt on twelve new ones; then twelve others may die.
#[tokio::test(flavor = "multi_thread")]
async fn repaired_pieces_stand_the_next_twelve_losses() {
    let mut network = Network::start(32).await;
    let bytes = random_bytes(3, 10_000_000);
    let cid = network.upload("file", &bytes).await;
    network.until_healthy(&cid).await;

    let holders = network.holders(&cid).await;
    let first: Vec<String> = holders.iter().take(12).cloned().collect();
    network.kill_by_id(&first);
    network.until_moved_off(&cid, &first).await;

    let second: Vec<String> =
        network.holders(&cid).await.into_iter().filter(|node| !first.contains(node)).take(12).collect();
    assert_eq!(second.len(), 12);
    network.kill_by_id(&second);
    assert_eq!(network.read(&cid).await, bytes);
}

/// The gateway dies at random instants while files are uploaded: what was acknowledged reads back, what was not is not
/// listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_loses_nothing_that_it_acknowledged() {
    let mut network = Network::start(16).await;
    let mut acknowledged = Vec::new();
    for round in 0..6u64 {
        let uploads = (0..8u64).map(|file| {
            let bytes =
                random_bytes(1000 + round * 8 + file, 20_000 + 300_000 * usize::try_from(file).unwrap());
            let upload = network.try_upload(format!("file-{round}-{file}"), bytes.clone());
            async move { upload.await.map(|cid| (cid, bytes)) }
        });
        let uploads = futures_util::future::join_all(uploads);
        let killed = async {
            tokio::time::sleep(Duration::from_millis(40 + 67 * round)).await;
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
    for cid in &listed {
        // Listed without an acknowledgement: recorded, but the answer was lost. Then it must be whole.
        network.read(cid).await;
    }
}
