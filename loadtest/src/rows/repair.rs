//! Rebuilding: some of 26 nodes are killed, and the monitor brings every segment back to 20 healthy pieces.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::{
    baseline::disk,
    cpu::Cpu,
    network::Network,
    pattern::Pattern,
    process,
    rows::{Bench, mebibytes, ratio, size},
    table::{Row, number},
};

const NODES: usize = 26;
/// As many as are spare for a segment of 20 pieces, and fewer than the share at which the monitor suspects itself.
const KILLED: usize = 6;
const REPAIR_MAX: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(100);

pub(super) async fn repair(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let network = Network::start(&bench.pinstripe, &bench.parent, NODES).await?;
    let measured = measure(bench, &network).await;
    network.end().await;
    measured
}

async fn measure(bench: &Bench, network: &Network) -> anyhow::Result<Vec<Row>> {
    let bytes = bench.sizes.upload_bytes;
    let cid = network.files.upload(Pattern::new(bytes)).await?;
    let path = format!("/v1/files/{cid}/health");
    let status =
        async || anyhow::Ok(network.json(&path).await?["status"].as_str().unwrap_or("?").to_string());
    wait(async || Ok(status().await? == "healthy"), "healthy before the kill").await?;

    process::reset_peak(network.monitor_pid)?;
    let (killed, cpu) = (Instant::now(), Cpu::now(network));
    network.kill_nodes(KILLED)?;
    wait(async || Ok(status().await? == "degraded"), "degraded").await?;
    let metric = async |name| network.metric(network.monitor, name, "").await;
    wait(async || Ok(metric("pinstripe_repair_bytes_total").await? > 0.0), "repairs").await?;
    let first_done = killed.elapsed().as_secs_f64();
    let first_took = metric("pinstripe_repair_duration_seconds_sum").await?
        / metric("pinstripe_repair_duration_seconds_count").await?.max(1.0);
    wait(async || Ok(status().await? == "healthy"), "healthy again").await?;
    let healthy = killed.elapsed().as_secs_f64();
    let cpu = Cpu::now(network).since(cpu);
    let rebuilt = metric("pinstripe_repair_bytes_total").await?;
    let peak = process::memory(network.monitor_pid, "VmHWM").unwrap_or(0);

    let began = first_done - first_took;
    let speed = rebuilt / 1e9 / (healthy - began);
    let disk = disk::write_and_sync(bench.scratch.path(), bytes).await?;
    Ok(vec![Row {
        name: format!("repair after {KILLED} of {NODES} nodes were killed, {} stored", size(bytes)),
        measured: format!(
            "{} GB/s of rebuilt pieces; healthy {} s after the kill, of which {} s were waited; monitor's peak {} MiB",
            number(speed),
            number(healthy),
            number(began),
            number(mebibytes(peak))
        ),
        baseline: format!("disk write + fdatasync {} GB/s", number(disk)),
        ratio: ratio(speed, disk),
        budget: "0.08 GB/s (moonshot 0.19)".into(),
        cpu: cpu.per_gigabyte(rebuilt),
    }])
}

/// Until something is so.
async fn wait(mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>, what: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    while !is_so().await? {
        ensure!(started.elapsed() < REPAIR_MAX, "waited too long: {what}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
