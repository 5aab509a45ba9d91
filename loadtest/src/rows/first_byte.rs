//! How long a reader waits for the first byte of what nobody has read before.

use std::{net::SocketAddr, time::Instant};

use anyhow::ensure;

use crate::{
    load::{Latencies, Plan, drive},
    pattern::Pattern,
    rows::{Bench, size},
    table::{Row, number},
    wire::{Connection, get},
};

const FILE: u64 = 1 << 20;
const RANGE: u64 = 1 << 10;

pub(super) async fn first_bytes(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (network, count) = (&bench.network, bench.sizes.first_bytes);
    let nodes = &network.file.nodes;
    // Each place reads files of its own: what one has read another may have in its cache.
    let mut files = Vec::new();
    for _ in 0..2 * count {
        let content = Pattern::new(FILE);
        files.push((network.files.upload(content).await?, content));
    }
    let large = Pattern::new(bench.sizes.upload_bytes);
    let large_cid = network.files.upload(large).await?;
    let mut rows = Vec::new();

    let (for_gateway, for_nodes) = files.split_at(files.len() / 2);
    let trip = round_trip(bench).await?;
    let mut latencies = Latencies::new();
    for (cid, content) in for_gateway {
        let path = format!("/ipfs/{cid}?route=proxy");
        latencies.add(network.files.read(network.gateway, &path, *content).await?.0);
    }
    rows.push(row(format!("first byte of a cold {} file, gateway", size(FILE)), &latencies, trip));

    let trip = round_trip(bench).await?;
    let mut latencies = Latencies::new();
    for ((cid, content), node) in for_nodes.iter().zip(nodes.iter().cycle()) {
        latencies.add(network.files.read(node.address()?, &format!("/ipfs/{cid}"), *content).await?.0);
    }
    rows.push(row(format!("first byte of a cold {} file, nodes", size(FILE)), &latencies, trip));

    let trip = round_trip(bench).await?;
    let mut latencies = Latencies::new();
    let (cid, content) = &for_gateway[for_gateway.len() - 1];
    let path = format!("/ipfs/{cid}?route=proxy");
    for _ in for_gateway {
        latencies.add(network.files.read(network.gateway, &path, *content).await?.0);
    }
    rows.push(Row {
        budget: "-".into(),
        ..row(format!("first byte of a hot {} file, gateway", size(FILE)), &latencies, trip)
    });

    // Every range lies in a leaf of its own, and those of the nodes in other leaves than those of the gateway.
    let leaves = large.len() >> 20;
    let step = (leaves / u64::from(2 * count)).max(1);
    let places = |from: u64| (0..u64::from(count)).map(move |at| ((2 * at + from) * step % leaves) << 20);
    let trip = round_trip(bench).await?;
    let path = format!("/ipfs/{large_cid}?route=proxy");
    let mut latencies = Latencies::new();
    for at in places(0) {
        latencies.add(range(network.gateway, &path, large, at).await?);
    }
    let name = format!("{} range in a cold {} file", size(RANGE), size(large.len()));
    rows.push(row(format!("{name}, gateway"), &latencies, trip));

    let trip = round_trip(bench).await?;
    let (path, node) = (format!("/ipfs/{large_cid}"), nodes[0].address()?);
    let mut latencies = Latencies::new();
    for at in places(1) {
        latencies.add(range(node, &path, large, at).await?);
    }
    rows.push(row(format!("{name}, a node"), &latencies, trip));
    Ok(rows)
}

/// Files to be read once, for [`first_bytes_dead`].
pub(super) async fn upload(bench: &Bench) -> anyhow::Result<Vec<(String, Pattern)>> {
    let mut files = Vec::new();
    for _ in 0..bench.sizes.first_bytes {
        let content = Pattern::new(FILE);
        files.push((bench.network.files.upload(content).await?, content));
    }
    Ok(files)
}

/// The same with nodes dead: cold files from the gateway.
pub(super) async fn first_bytes_dead(
    bench: &Bench,
    files: &[(String, Pattern)],
    dead: usize,
) -> anyhow::Result<Row> {
    let network = &bench.network;
    let trip = round_trip(bench).await?;
    let mut latencies = Latencies::new();
    for (cid, content) in files {
        let path = format!("/ipfs/{cid}?route=proxy");
        latencies.add(network.files.read(network.gateway, &path, *content).await?.0);
    }
    let name = format!("first byte of a cold {} file, {dead} nodes dead, gateway", size(FILE));
    Ok(Row { budget: "-".into(), ..row(name, &latencies, trip) })
}

/// p50 of a request that finds nothing to do, in milliseconds.
async fn round_trip(bench: &Bench) -> anyhow::Result<f64> {
    let plan = Plan { connections: 1, count_max: 500, time_max: bench.sizes.load_time };
    let request = get("/empty", "");
    Ok(drive(plan, bench.server.address, 200, move |_| request.clone()).await?.latencies.quantile(0.5))
}

async fn range(
    from: SocketAddr,
    path: &str,
    content: Pattern,
    at: u64,
) -> anyhow::Result<std::time::Duration> {
    let mut connection = Connection::open(from).await?;
    let started = Instant::now();
    connection.send(&get(path, &format!("range: bytes={at}-{}\r\n", at + RANGE - 1))).await?;
    let (head, body) = connection.whole().await?;
    let took = started.elapsed();
    ensure!(head.status == 206 && body.len() as u64 == RANGE, "{path} from {at}: {head:?}");
    ensure!(content.matches(at, &body), "{path} from {at}: not the bytes that were uploaded");
    Ok(took)
}

fn row(name: String, latencies: &Latencies, trip: f64) -> Row {
    let p50 = latencies.quantile(0.5);
    Row {
        name,
        measured: format!("p50 {} ms, p99 {} ms", number(p50), number(latencies.quantile(0.99))),
        baseline: format!("one HTTP round trip, p50 {} ms", number(trip)),
        ratio: format!("p50 is {} round trips", number(p50 / trip)),
        budget: "p50 15 ms (moonshot 4 ms)".into(),
        cpu: String::new(),
    }
}
