//! Whole files that were never read before through the process that is asked, with all nodes and with a few left.
//!
//! Nothing of them is in a cache of Pinstripe's. What nodes stored is in the page cache of the system, as it is on any
//! machine with enough memory: this measures the network's work, not the disk's.

use std::{net::SocketAddr, time::Duration};

use crate::{
    cpu::Cpu,
    load::{Plan, drive},
    pattern::Pattern,
    rows::{Bench, first_byte, ratio, size},
    table::{Row, Runs},
    wire::get,
};

/// Nodes that are killed.
const DEAD: usize = 12;
/// After a kill, until the gateway has missed the nodes: some probes.
const NOTICE: Duration = Duration::from_secs(4);

/// A file that waits to be read once.
type File = (String, Pattern);

pub(super) async fn cold(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let files = files(bench, 2 * bench.sizes.runs).await?;
    let (for_gateway, for_nodes) = files.split_at(files.len() / 2);
    let nodes = addresses(bench, 0)?;
    let name = format!("cold read of {}, all nodes up", size(bench.sizes.cold_bytes));
    let budget = "0.6 GB/s (moonshot 1.0)";
    Ok(vec![
        row(bench, format!("{name}, gateway"), budget, for_gateway, &[bench.network.gateway], "?route=proxy")
            .await?,
        row(bench, format!("{name}, nodes"), budget, for_nodes, &nodes, "").await?,
    ])
}

pub(super) async fn dead(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let files = files(bench, 3 * bench.sizes.runs).await?;
    let small = first_byte::upload(bench).await?;
    let mut thirds = files.chunks(bench.sizes.runs as usize);
    let mut next = || thirds.next().unwrap_or_default();
    let (gateway, nodes) = ([bench.network.gateway], addresses(bench, DEAD)?);
    bench.network.kill_nodes(DEAD)?;
    let name = format!(
        "cold read of {}, {DEAD} of {} nodes dead",
        size(bench.sizes.cold_bytes),
        bench.network.file.nodes.len()
    );
    let budget = "0.25 GB/s (moonshot 0.8)";
    let at_once =
        row(bench, format!("{name}, gateway, at once"), "-", next(), &gateway, "?route=proxy").await?;
    tokio::time::sleep(NOTICE).await;
    Ok(vec![
        at_once,
        row(bench, format!("{name}, gateway"), budget, next(), &gateway, "?route=proxy").await?,
        row(bench, format!("{name}, nodes"), budget, next(), &nodes, "").await?,
        first_byte::first_bytes_dead(bench, &small, DEAD).await?,
    ])
}

/// All nodes but the first `skip`.
fn addresses(bench: &Bench, skip: usize) -> anyhow::Result<Vec<SocketAddr>> {
    bench.network.file.nodes.iter().skip(skip).map(crate::network::DevNode::address).collect()
}

async fn files(bench: &Bench, count: u32) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for _ in 0..count {
        let content = Pattern::new(bench.sizes.cold_bytes);
        files.push((bench.network.files.upload(content).await?, content));
    }
    Ok(files)
}

/// Reads each file once, from one place after another.
async fn row(
    bench: &Bench,
    name: String,
    budget: &str,
    files: &[File],
    places: &[SocketAddr],
    query: &str,
) -> anyhow::Result<Row> {
    let (bytes, mut cpu) = (bench.sizes.cold_bytes, Cpu::default());
    let (mut speeds, mut hashed) = (Runs::default(), Runs::default());
    for ((cid, content), place) in files.iter().zip(places.iter().cycle()) {
        let plan = Plan { connections: 1, count_max: 1, time_max: Duration::from_mins(1) };
        let request = get(&format!("/hashed/{bytes}"), "");
        hashed.push(
            drive(plan, bench.server.address, 200, move |_| request.clone()).await?.gigabytes_per_second(),
        );

        let before = Cpu::now(&bench.network);
        let (_, took) = bench.network.files.read(*place, &format!("/ipfs/{cid}{query}"), *content).await?;
        cpu = cpu.plus(Cpu::now(&bench.network).since(before));
        speeds.push(bytes as f64 / 1e9 / took.as_secs_f64());
    }
    Ok(Row {
        name,
        measured: speeds.show("GB/s"),
        baseline: format!("loopback copy + SHA-256 {}", hashed.show("GB/s")),
        ratio: ratio(speeds.median(), hashed.median()),
        budget: budget.into(),
        cpu: cpu.per_gigabyte((bytes * files.len() as u64) as f64),
    })
}
