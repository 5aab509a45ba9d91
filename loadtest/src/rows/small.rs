//! Files of 1 KiB, one after another and from many connections at once.

use std::time::Duration;

use crate::{
    baseline::{disk, sqlite},
    cpu::Cpu,
    load::{Latencies, drive},
    pattern::Pattern,
    rows::{Bench, ratio},
    table::{Row, Runs, number},
};

const MANY: usize = 64;
const BASELINE_TIME: Duration = Duration::from_millis(500);
/// The configured time that a finished upload waits for others.
const LINGER_MS: f64 = 5.0;

/// Runs of one kind of load.
struct Uploads {
    rates: Runs,
    medians: Runs,
    worst: Runs,
    requests: u64,
    segments: f64,
    cpu: Cpu,
}

pub(super) async fn small(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (mut rows, mut appends, mut append_rates) = (Runs::default(), Runs::default(), Runs::default());
    let mut baselines = async || {
        rows.push(sqlite::inserts(bench.scratch.path(), BASELINE_TIME).await?);
        let latencies: Latencies = disk::append_and_sync(bench.scratch.path(), BASELINE_TIME).await?;
        append_rates.push(latencies.rate(BASELINE_TIME));
        appends.push(latencies.quantile(0.5));
        anyhow::Ok(())
    };
    baselines().await?;
    let one = uploads(bench, 1).await?;
    baselines().await?;
    let many = uploads(bench, MANY).await?;
    baselines().await?;
    let shown = |uploads: &Uploads| {
        format!(
            "{}; p50 {} ms, p99 {} ms; {} files a segment",
            uploads.rates.show("a second"),
            number(uploads.medians.median()),
            number(uploads.worst.median()),
            number(uploads.requests as f64 / uploads.segments.max(1.0)),
        )
    };
    let behind_linger = one.medians.median() - LINGER_MS;
    Ok(vec![
        Row {
            name: "1 KiB uploads, one connection".into(),
            measured: shown(&one),
            baseline: format!("append 4 KiB + fdatasync p50 {}", appends.show("ms")),
            ratio: format!(
                "p50 is linger + {} ms = {} synced appends",
                number(behind_linger),
                number(behind_linger / appends.median())
            ),
            budget: "p50 linger (5 ms) + 10 ms (moonshot + 3 ms)".into(),
            cpu: one.cpu.per_request(one.requests),
        },
        Row {
            name: format!("1 KiB uploads, {MANY} connections"),
            measured: shown(&many),
            baseline: format!(
                "SQLite single inserts {}; append 4 KiB + fdatasync {}",
                rows.show("a second"),
                append_rates.show("a second")
            ),
            ratio: format!(
                "{} of SQLite, {} of appends",
                ratio(many.rates.median(), rows.median()),
                ratio(many.rates.median(), append_rates.median())
            ),
            budget: "3,000/s (moonshot 8,000)".into(),
            cpu: many.cpu.per_request(many.requests),
        },
    ])
}

async fn uploads(bench: &Bench, connections: usize) -> anyhow::Result<Uploads> {
    let remote = bench.network.files.clone();
    let sealed =
        async || bench.network.metric(bench.network.gateway, "pinstripe_segments_sealed_total", "").await;
    let mut uploads = Uploads {
        rates: Runs::default(),
        medians: Runs::default(),
        worst: Runs::default(),
        requests: 0,
        segments: 0.0,
        cpu: Cpu::default(),
    };
    for _ in 0..bench.sizes.runs {
        let (before, sealed_before) = (Cpu::now(&bench.network), sealed().await?);
        let remote = remote.clone();
        let request = move |_| remote.upload_request(Pattern::new(1 << 10));
        let rate = drive(bench.sizes.plan(connections), bench.network.gateway, 201, request).await?;
        uploads.cpu = uploads.cpu.plus(Cpu::now(&bench.network).since(before));
        uploads.segments += sealed().await? - sealed_before;
        uploads.requests += rate.requests;
        uploads.rates.push(rate.per_second());
        uploads.medians.push(rate.latencies.quantile(0.5));
        uploads.worst.push(rate.latencies.quantile(0.99));
    }
    Ok(uploads)
}
