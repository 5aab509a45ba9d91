//! PostgreSQL is gone, and the gateway that is left remembers nothing.

use std::time::{Duration, Instant};

use testing::{PostgresDatabase, TcpProxy};

use super::{
    many::upload,
    network::{Network, random_bytes},
};

const PATIENCE: Duration = Duration::from_mins(2);
/// A node that keeps nothing of what it has read: neither blocks nor places. What it was told it keeps.
const NO_CACHES: [(&str, &str); 3] = [
    ("PINSTRIPE__CACHE__MEMORY_BYTES", "0"),
    ("PINSTRIPE__CACHE__PLACES_MAX", "0"),
    ("PINSTRIPE__CACHE__DISK_DIR", ""),
];

/// Status, whether there is `Retry-After`, and the body, wherever the gateway sends the reader.
async fn read(network: &Network, path: &str) -> (u16, bool, Vec<u8>) {
    let url = format!("{}/ipfs/{path}", network.gateway_url());
    let response = network.http().get(url).send().await.unwrap();
    let (status, retry) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
    (status, retry, response.bytes().await.unwrap().to_vec())
}

/// The node that a path is read from, once it has written down where this many blocks are. From then on it keeps nothing but
/// that, and readers are sent there all the same.
async fn until_one_knows(network: &mut Network, cid: &str, blocks: usize) -> String {
    let path = format!("/ipfs/{cid}");
    let (node, _) = network.read_from(&path).await;
    assert_ne!(node, network.gateway_url());
    let begin = Instant::now();
    while network.metric(&node, "pinstripe_directory_blocks").await.is_none_or(|kept| kept < blocks) {
        assert!(begin.elapsed() < PATIENCE, "the node does not keep what it is told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    network.start_node_again(&node, &NO_CACHES).await;
    while network.read_from(&path).await.0 != node {
        assert!(begin.elapsed() < PATIENCE, "readers are not sent there any more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node
}

/// Uploads until it is taken.
async fn until_uploaded(network: &Network, bytes: &[u8]) -> String {
    let begin = Instant::now();
    loop {
        match upload(network, "gateway", "again", bytes).await {
            Ok(cid) => return cid,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_remembers_nothing_serves_without_the_database_what_only_nodes_know() {
    let Some(database) = PostgresDatabase::create() else { return };
    let mut url = url::Url::parse(&database.url()).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let way = TcpProxy::to(server).await.unwrap();
    url.set_port(Some(way.address().port())).unwrap();
    let mut network = Network::start_with(20, &["--database", url.as_str()]).await;
    let bytes = random_bytes(90, 5_000_000);
    let cid = upload(&network, "gateway", "file", &bytes).await.unwrap();
    // Its root and five leaves.
    let node = until_one_knows(&mut network, &cid, 6).await;
    for cut in [true, false] {
        let never_read = random_bytes(95 + u64::from(cut), 50_000);
        let unknown = upload(&network, "gateway", "never read", &never_read).await.unwrap();
        network.kill_gateway();
        network.restart_gateway().await;
        if cut {
            way.cut();
        } else {
            way.stand_still();
        }
        let (from, read_there) = network.read_from(&format!("/ipfs/{cid}")).await;
        assert!(from == node && read_there == bytes, "from {from} (cut: {cut})");
        let (status, _, read_here) = read(&network, &format!("{cid}?route=proxy")).await;
        assert!(status == 200 && read_here == bytes, "{status} (cut: {cut})");
        let known = "pinstripe_located_without_database_total{from=\"nodes\"}";
        let known = network.metric(&network.gateway_url(), known).await;
        assert!(known.is_some_and(|times| times > 0), "nodes knew it (cut: {cut})");
        let range = network.read_range(&cid, 1_234_567, 1_000).await;
        assert_eq!(range, bytes[1_234_567..1_235_567]);
        for route in ["proxy", "redirect"] {
            let (status, retry, said) = read(&network, &format!("{unknown}?route={route}")).await;
            let said = String::from_utf8_lossy(&said);
            assert!(status == 503 && retry, "{status} {said} by {route} (cut: {cut})");
            assert!(said.contains("metadata store"), "{said}");
        }
        let refused = upload(&network, "gateway", "late", &random_bytes(92, 10_000)).await.unwrap_err();
        assert!(refused.starts_with("503") && refused.contains(" true "), "{refused}");
        assert!(refused.contains("store_unavailable"), "{refused}");
        way.open();
        let again = random_bytes(93 + u64::from(cut), 100_000);
        let late = until_uploaded(&network, &again).await;
        for (cid, bytes) in [(&late, &again), (&cid, &bytes)] {
            let (status, _, read) = read(&network, cid).await;
            assert!(status == 200 && read == *bytes, "{status} (cut: {cut})");
        }
        assert_eq!(read(&network, &unknown).await.0, 200);
    }
    drop(network);
    drop(database);
}
