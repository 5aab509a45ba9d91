//! Traces of a network of real processes, as a collector gets them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testing::{Collector, SeenSpan};

use super::network::{Network, random_bytes};

/// Spans by their ids.
type ById<'s> = BTreeMap<&'s str, &'s SeenSpan>;

/// The spans above one, nearest first.
fn above<'s>(spans: &ById<'s>, span: &SeenSpan) -> Vec<&'s SeenSpan> {
    let mut found = Vec::new();
    let mut parent = span.parent.as_str();
    while let Some(span) = spans.get(parent) {
        found.push(*span);
        parent = &span.parent;
    }
    found
}

/// Traces in which a node answered `route` to what began as `root`, through spans called `through`; and how often.
fn answered<'s>(
    spans: &'s [SeenSpan],
    root: &str,
    through: &[&str],
    route: &str,
) -> BTreeMap<&'s str, usize> {
    let by_id: ById<'_> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    let mut traces = BTreeMap::new();
    for span in spans.iter().filter(|span| span.process == "pinstripe-pinner" && span.is_server) {
        let above = above(&by_id, span);
        let Some((first, between)) = above.split_last() else { continue };
        let names: Vec<&str> = between.iter().rev().map(|span| span.name.as_str()).collect();
        let is_one = above.iter().all(|above| above.trace == span.trace);
        if is_one && first.parent.is_empty() && first.name == root && names == through && span.name == route {
            *traces.entry(span.trace.as_str()).or_default() += 1;
        }
    }
    traces
}

fn of_upload(spans: &[SeenSpan]) -> BTreeMap<&str, usize> {
    let through = ["store segment", "PUT /v1/pieces"];
    answered(spans, "POST /v1/files", &through, "PUT /v1/pieces/{hash}")
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_audits_are_each_one_trace_and_nobody_needs_the_collector() {
    let collector = Collector::start().await.unwrap();
    let endpoint = collector.endpoint();
    let environment = [
        ("PINSTRIPE__TRACES__ENDPOINT", endpoint.as_str()),
        ("PINSTRIPE__TRACES__SAMPLED", "1"),
        ("PINSTRIPE__TRACES__PARENTS_RATE", "10000"),
        ("PINSTRIPE__LOG__FORMAT", "json"),
    ];
    let network = Network::start_in(20, &[], &environment).await;
    let cid = network.upload("secret-name", &random_bytes(1, 100_000)).await;

    // All but two pieces are durable before the upload is acknowledged.
    let spans = collector.until(|spans| of_upload(spans).values().any(|nodes| *nodes >= 18)).await;
    let traces = of_upload(&spans);
    assert_eq!(traces.len(), 1, "one upload, one trace: {traces:?}");
    let spans = collector
        .until(|spans| !answered(spans, "audit", &["POST /v1/audit"], "POST /v1/audit").is_empty())
        .await;
    for span in &spans {
        let said = format!("{span:?}");
        for secret in [&cid, network.key(), "secret-name", "?"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
    // From a line of the log to its trace.
    let known: BTreeSet<&str> = spans.iter().map(|span| span.trace.as_str()).collect();
    let log = network.log("gateway");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let enrolled: Vec<Value> = lines.filter(|line| line["message"] == "node enrolled").collect();
    assert_eq!(enrolled.len(), 20);
    for line in enrolled {
        assert!(known.contains(line["trace_id"].as_str().unwrap()), "{line}");
    }

    drop(collector);
    network.until_metric("gateway", "pinstripe_trace_spans_total{outcome=\"failed\"}", 1).await;
    let bytes = random_bytes(2, 3_000_000);
    let cid = network.upload("later", &bytes).await;
    assert_eq!(network.read(&cid).await, bytes);
    let complaints = network.log("gateway").matches("the collector does not take traces").count();
    assert_eq!(complaints, 1, "said once");
}
