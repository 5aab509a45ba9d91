//! The same on a Redis Cluster of three servers, each with a third of the names.

use super::*;
use crate::{Notice, Notices};

const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// Three servers that know each other.
async fn cluster(dir: &std::path::Path) -> Option<Vec<RedisServer>> {
    let mut servers = Vec::new();
    for (first, last) in SLOTS {
        let nodes = dir.join(format!("nodes-{first}.conf"));
        let nodes = nodes.to_str().unwrap();
        let settings =
            ["--cluster-enabled", "yes", "--cluster-config-file", nodes, "--cluster-node-timeout", "5000"];
        let server = RedisServer::start(&settings)?;
        assert!(server.command(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).contains("OK"));
        servers.push(server);
    }
    for server in &servers[1..] {
        let meet = format!("CLUSTER MEET 127.0.0.1 {}", servers[0].address().port());
        assert!(server.command(&meet).contains("OK"));
    }
    let knows_all = |server: &RedisServer| {
        let info = server.command("CLUSTER INFO");
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
    };
    until(async || servers.iter().all(knows_all)).await;
    Some(servers)
}

#[tokio::test]
async fn everything_works_on_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = cluster(dir.path()).await else { return };
    // Any of them leads to all.
    let config = RedisConfig { cluster: true, ..config() };
    let addresses = format!("{},{}", servers[1].url(), servers[2].url());
    let one = Link::new(&addresses, config.clone(), &SECRET).unwrap();
    let other = Link::new(&servers[0].url(), config, &SECRET).unwrap();
    until(async || one.is_up() && other.is_up()).await;

    let many: Vec<String> = (0..300).map(|index| index.to_string()).collect();
    memo(Some(&one)).put(many.iter().map(|name| (name.clone(), name.clone())).collect());
    let wanted: Vec<Option<String>> = many.iter().cloned().map(Some).collect();
    until(async || memo(Some(&other)).get(&many).await == wanted).await;
    assert!(servers.iter().all(|server| !server.command("DBSIZE").contains(":0")), "all servers have some");

    let (first, second) = (limit(Some(&one), 4), limit(Some(&other), 4));
    for key in ["a", "b", "c", "d", "e", "f"] {
        for _ in 0..2 {
            assert!(first.take(key.into()).await.is_ok() && second.take(key.into()).await.is_ok());
        }
        assert!(first.take(key.into()).await.is_err() && second.take(key.into()).await.is_err());
    }

    let stop = tokio_util::sync::CancellationToken::new();
    let (one, other) = (Notices::new(Some(one)), Notices::new(Some(other)));
    let mut listener = other.listen();
    let hearing = tokio::spawn(other.hear(stop.clone()));
    assert_eq!(listener.next().await, Some(Notice::Missed));
    one.tell(Notice::NodesChanged);
    assert_eq!(listener.next().await, Some(Notice::NodesChanged));
    stop.cancel();
    hearing.await.unwrap();
}
