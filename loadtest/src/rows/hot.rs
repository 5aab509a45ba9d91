//! Reads of what is in memory already, over connections that are kept.

use std::net::SocketAddr;

use crate::{
    cpu::Cpu,
    load::drive,
    pattern::Pattern,
    rows::{Bench, ratio, size},
    table::{Row, Runs},
    wire::get,
};

const CONNECTIONS: usize = 16;
const SMALL: u64 = 1 << 10;
const LARGE: u64 = 1 << 20;

pub(super) async fn hot(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let network = &bench.network;
    let node = network.file.nodes[0].address()?;
    let mut rows = Vec::new();
    for bytes in [SMALL, LARGE] {
        let content = Pattern::new(bytes);
        let cid = network.files.upload(content).await?;
        for (place, address, path) in [
            ("a node", node, format!("/ipfs/{cid}")),
            ("the gateway", network.gateway, format!("/ipfs/{cid}?route=proxy")),
        ] {
            network.files.read(address, &path, content).await?;
            rows.push(row(bench, bytes, place, address, &path).await?);
        }
    }
    Ok(rows)
}

async fn row(bench: &Bench, bytes: u64, place: &str, address: SocketAddr, path: &str) -> anyhow::Result<Row> {
    let plan = bench.sizes.plan(CONNECTIONS);
    let baseline_path = if bytes == SMALL { "/small" } else { "/large" };
    let (mut speeds, mut plain, mut cpu, mut requests) =
        (Runs::default(), Runs::default(), Cpu::default(), 0);
    let (mut plain_cpu, mut plain_requests) = (0.0, 0);
    for _ in 0..bench.sizes.runs {
        let before = bench.server.cpu_seconds();
        let request = get(baseline_path, "");
        let rate = drive(plan, bench.server.address, 200, move |_| request.clone()).await?;
        plain_cpu += bench.server.cpu_seconds() - before;
        plain_requests += rate.requests;
        plain.push(if bytes == SMALL { rate.per_second() } else { rate.gigabytes_per_second() });

        let before = Cpu::now(&bench.network);
        let request = get(path, "");
        let rate = drive(plan, address, 200, move |_| request.clone()).await?;
        cpu = cpu.plus(Cpu::now(&bench.network).since(before));
        requests += rate.requests;
        speeds.push(if bytes == SMALL { rate.per_second() } else { rate.gigabytes_per_second() });
    }
    let unit = if bytes == SMALL { "a second" } else { "GB/s" };
    let (shown_cpu, plain_shown) = if bytes == SMALL {
        (cpu.per_request(requests), format!("{:.1} µs each", plain_cpu * 1e6 / plain_requests as f64))
    } else {
        let plain_gigabytes = (plain_requests * bytes) as f64 / 1e9;
        (cpu.per_gigabyte((requests * bytes) as f64), format!("{:.3} s/GB", plain_cpu / plain_gigabytes))
    };
    Ok(Row {
        name: format!("hot read of {} from {place}, {CONNECTIONS} connections", size(bytes)),
        measured: speeds.show(unit),
        baseline: format!("plain axum {}, server {plain_shown}", plain.show(unit)),
        ratio: ratio(speeds.median(), plain.median()),
        budget: if bytes == SMALL { "45,000/s (moonshot 70,000)" } else { "2.3 GB/s" }.into(),
        cpu: shown_cpu,
    })
}
