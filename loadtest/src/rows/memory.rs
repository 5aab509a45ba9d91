//! How much memory processes take: when they have done nothing yet, and the gateway with many uploads and reads at once.

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::{
    pattern::Pattern,
    process,
    rows::{Bench, mebibytes},
    table::{Row, Runs, number},
};

const FILE: u64 = 8 << 20;
/// Files that are read; each is read by several readers.
const FILES: usize = 32;

/// Memory of some processes in MiB.
fn of(pids: &[u32], field: &str) -> Runs {
    pids.iter().filter_map(|pid| process::memory(*pid, field)).map(mebibytes).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "rows are alike")]
pub(super) fn idle(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let network = &bench.network;
    Ok(vec![Row {
        name: "memory of an idle node, just started".into(),
        measured: of(&network.node_pids(), "VmRSS").show("MiB"),
        baseline: format!(
            "gateway {}, monitor {}, the baseline server {} MiB",
            number(of(&[network.gateway_pid], "VmRSS").median()),
            number(of(&[network.monitor_pid], "VmRSS").median()),
            number(bench.server.memory("VmRSS").map_or(0.0, mebibytes)),
        ),
        budget: "48 MiB (moonshot 24)".into(),
        ..Row::default()
    }])
}

pub(super) async fn loaded(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let (uploads, reads) = (bench.sizes.memory_uploads, bench.sizes.memory_reads);
    let network = &bench.network;
    let mut files = Vec::new();
    for _ in 0..FILES {
        let content = Pattern::new(FILE);
        files.push((network.files.upload(content).await?, content));
    }
    let mut pids = network.node_pids();
    pids.push(network.gateway_pid);
    pids.iter().try_for_each(|pid| process::reset_peak(*pid))?;
    let before = of(&[network.gateway_pid], "VmRSS").median();

    let remote = network.files.clone();
    let mut tasks = JoinSet::new();
    for _ in 0..uploads {
        let remote = remote.clone();
        tasks.spawn(async move { remote.upload(Pattern::new(FILE)).await.map(drop) });
    }
    for (cid, content) in files.into_iter().cycle().take(reads) {
        let remote = remote.clone();
        tasks.spawn(async move {
            remote.read(remote.gateway, &format!("/ipfs/{cid}?route=proxy"), content).await.map(drop)
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.context("a task ended")??;
    }
    let network = &bench.network;
    let peak = of(&[network.gateway_pid], "VmHWM");
    Ok(vec![
        Row {
            name: format!("gateway's peak memory, {uploads} uploads and {reads} reads of 8 MiB at once"),
            measured: peak.show("MiB"),
            baseline: format!("{} MiB before", number(before)),
            budget: "256 MiB (moonshot 160)".into(),
            ..Row::default()
        },
        Row {
            name: "nodes' peak memory meanwhile".into(),
            measured: of(&network.node_pids(), "VmHWM").show("MiB"),
            ..Row::default()
        },
        Row {
            name: "monitor's peak memory since its start".into(),
            measured: of(&[network.monitor_pid], "VmHWM").show("MiB"),
            ..Row::default()
        },
    ])
}
