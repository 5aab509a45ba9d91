//! Many requests over a bounded number of connections, for a bounded time: how many a second, and how long each took.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::wire::Connection;

/// Longest time that is told apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// Requests over all connections, at most.
    pub(crate) count_max: u64,
    /// No request is begun later than this.
    pub(crate) time_max: Duration,
}

/// Times of requests.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        // Three digits take 200 KB and are more than any two runs agree on.
        Self(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("bounds are in order"))
    }

    pub(crate) fn add(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX_US).max(1));
    }

    /// How many a second there were, over `time`.
    pub(crate) fn rate(&self, time: Duration) -> f64 {
        self.0.len() as f64 / time.as_secs_f64()
    }

    /// In milliseconds.
    pub(crate) fn quantile(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// What a run of requests came to.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) body_bytes: u64,
    pub(crate) latencies: Latencies,
}

impl Rate {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Bytes of bodies received, in 10^9 a second.
    pub(crate) fn gigabytes_per_second(&self) -> f64 {
        self.body_bytes as f64 / self.seconds / 1e9
    }
}

/// Sends what `request` gives for the numbers 0, 1, 2, ... and demands the status `expected` of every answer: a server
/// that refuses quickly must not look fast.
pub(crate) async fn drive(
    plan: Plan,
    address: SocketAddr,
    expected: u16,
    request: impl Fn(u64) -> Bytes + Send + Sync + 'static,
) -> anyhow::Result<Rate> {
    let (request, next) = (Arc::new(request), Arc::new(AtomicU64::new(0)));
    // Connecting is no part of what is measured.
    let mut connections = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        connections.push(Connection::open(address).await?);
    }
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for mut connection in connections {
        let (request, next) = (request.clone(), next.clone());
        workers.spawn(async move {
            let (mut latencies, mut body_bytes, mut requests) = (Latencies::new(), 0, 0_u64);
            while started.elapsed() < plan.time_max {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.count_max {
                    break;
                }
                let bytes = request(number);
                let asked = Instant::now();
                let head = connection.ask(&bytes).await?;
                latencies.add(asked.elapsed());
                ensure!(head.status == expected, "{address} answered {}, not {expected}", head.status);
                body_bytes += head.length;
                requests += 1;
            }
            anyhow::Ok((latencies, body_bytes, requests))
        });
    }
    let mut rate = Rate { requests: 0, seconds: 0.0, body_bytes: 0, latencies: Latencies::new() };
    while let Some(worker) = workers.join_next().await {
        let (latencies, body_bytes, requests) = worker.context("a worker ended")??;
        rate.latencies.0.add(latencies.0).context("histograms of one kind")?;
        rate.body_bytes += body_bytes;
        rate.requests += requests;
    }
    rate.seconds = started.elapsed().as_secs_f64();
    ensure!(rate.requests > 0, "no request was made");
    Ok(rate)
}
