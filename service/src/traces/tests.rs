use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::{
    Context,
    trace::{Span as _, TraceContextExt as _, Tracer as _},
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::net::TcpListener;

use super::*;

/// A collector that counts spans, and answers with `status`.
async fn collector(status: StatusCode) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let count = Arc::<AtomicUsize>::default();
    let counted = count.clone();
    let take = async move |body: Bytes| {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let scopes = request.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
        counted.fetch_add(scopes.map(|scope| scope.spans.len()).sum(), Ordering::SeqCst);
        status
    };
    let router = Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (endpoint, count)
}

fn open(config: &TracesConfig) -> (SdkTracer, Arc<Steps>, Export) {
    let steps = Arc::<Steps>::default();
    let (outbox, export) = Outbox::open(config, &Resource::builder_empty().build(), steps.clone()).unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(outbox).build();
    (provider.tracer("test"), steps, export)
}

fn config(endpoint: String) -> TracesConfig {
    TracesConfig { endpoint, ..TracesConfig::default() }
}

#[tokio::test]
async fn all_that_was_seen_is_sent_at_the_end() {
    let (endpoint, count) = collector(StatusCode::OK).await;
    let (tracer, _, export) = open(&TracesConfig { every: Duration::from_hours(1), ..config(endpoint) });
    for _ in 0..1_300 {
        tracer.start("span").end();
    }
    export.finish().await;
    assert_eq!(count.load(Ordering::SeqCst), 1_300);
}

#[tokio::test]
async fn steps_that_did_nothing_are_not_kept() {
    let (endpoint, count) = collector(StatusCode::OK).await;
    let (tracer, steps, export) = open(&config(endpoint));
    for (is_idle, calls, lines) in [(true, 0, 0), (true, 2, 0), (false, 0, 0), (true, 0, 3), (true, 0, 0)] {
        let step = Context::new().with_span(tracer.start("step"));
        let id = step.span().span_context().span_id();
        steps.begin(id);
        for _ in 0..calls {
            tracer.start_with_context("call", &step).end();
        }
        for _ in 0..lines {
            steps.busy(id);
        }
        if is_idle {
            steps.idle(id);
        }
        step.span().end();
    }
    export.finish().await;
    assert_eq!(
        count.load(Ordering::SeqCst),
        5,
        "one with two calls, one that did something, one that logged"
    );
    assert_eq!(format!("{steps:?}"), format!("{:?}", Steps::default()), "nothing of them is left");
}

/// What a collector does to us: it is not there, it refuses, or takes connections and never says anything.
#[tokio::test]
async fn a_collector_that_is_away_or_stalls_holds_up_nobody() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let gone = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let (refusing, _) = collector(StatusCode::FORBIDDEN).await;
    for endpoint in [format!("http://{}/", silent.local_addr().unwrap()), format!("http://{gone}/"), refusing]
    {
        let config = TracesConfig {
            timeout: Duration::from_millis(50),
            every: Duration::from_millis(1),
            batch_max: 8,
            queue_max: 16,
            ..config(endpoint)
        };
        let recorder = PrometheusBuilder::new().build_recorder();
        let _counting = metrics::set_default_local_recorder(&recorder);
        let (tracer, _, export) = open(&config);
        // More than fit: ending a span never waits, whatever becomes of it.
        for _ in 0..10_000 {
            tracer.start("span").end();
        }
        // This would not come back if the end waited for the collector.
        export.finish().await;
        tracer.start("too late").end();
        let counts = recorder.handle().render();
        let dropped = "pinstripe_trace_spans_total{outcome=\"dropped\"} 9985\n";
        assert!(counts.contains(dropped), "all but the 16 for which there was room: {counts}");
        assert!(!counts.contains("sent"), "{counts}");
    }
}
