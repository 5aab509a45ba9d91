//! One large file over HTTP, from the first byte sent to the answer that says it is durable.

use std::time::Instant;

use crate::{
    baseline::{disk, ingest},
    cpu::Cpu,
    pattern::Pattern,
    process,
    rows::{Bench, mebibytes, ratio, size},
    table::{Row, Runs, number},
};

pub(super) async fn large(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (network, bytes, runs) = (&bench.network, bench.sizes.upload_bytes, bench.sizes.runs);
    let (mut speeds, mut ceilings, mut disks, mut cpu) =
        (Runs::default(), Runs::default(), Runs::default(), Cpu::default());
    process::reset_peak(network.gateway_pid)?;
    for _ in 0..runs {
        ceilings.push(ingest::ceiling(bytes).await?);
        disks.push(disk::write_and_sync(bench.scratch.path(), bytes).await?);
        let (before, started) = (Cpu::now(network), Instant::now());
        network.files.upload(Pattern::new(bytes)).await?;
        speeds.push(bytes as f64 / 1e9 / started.elapsed().as_secs_f64());
        cpu = cpu.plus(Cpu::now(network).since(before));
    }
    let peak = process::memory(network.gateway_pid, "VmHWM").unwrap_or(0);
    Ok(vec![Row {
        name: format!("upload of {} over HTTP, acknowledged durable", size(bytes)),
        measured: format!("{}; gateway's peak {} MiB", speeds.show("GB/s"), number(mebibytes(peak))),
        baseline: format!(
            "ingest in memory {}; disk write + fdatasync {}",
            ceilings.show("GB/s"),
            disks.show("GB/s")
        ),
        ratio: format!(
            "{} of ingest, {} of disk",
            ratio(speeds.median(), ceilings.median()),
            ratio(speeds.median(), disks.median())
        ),
        budget: "0.25 GB/s (moonshot 0.40)".into(),
        cpu: cpu.per_gigabyte(bytes as f64 * f64::from(runs)),
    }])
}
