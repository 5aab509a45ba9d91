//! Traces of what happens in one process, as a collector gets them. There is one tracer and one log in a process, so this is one
//! test.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, Response, StatusCode},
    routing::{post, put},
};
use client::{Network, SendError, Transport};
use service::{
    http::observed,
    job::{self, Job, Progress},
    telemetry::{LogConfig, start_logs},
    traces::{self, TracesConfig, here},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{Collector, SeenSpan};

/// Two services that reach each other by the names of their hosts.
struct Hosts(HashMap<&'static str, Router>);

impl Network for Hosts {
    fn send(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, SendError>> + Send + '_>> {
        let router = self.0[request.uri().host().unwrap()].clone();
        Box::pin(async move { Ok(router.oneshot(request).await.unwrap()) })
    }
}

/// Stores a piece, in a task of its own as uploads do.
async fn upload(State(nodes): State<Transport>) -> StatusCode {
    let stored = here().carry(async move {
        let piece = Request::put("http://node/v1/pieces/4bf92f3577b34da6").body(Body::empty()).unwrap();
        nodes.send(piece, None).await.unwrap().status()
    });
    tokio::spawn(stored).await.unwrap()
}

/// Steps that find nothing to do; of the second kind, ones that say so.
struct Silent(CancellationToken);
struct Telling(CancellationToken);

impl Job for Silent {
    const NAME: &'static str = "silent";

    async fn step(&self) -> anyhow::Result<Progress> {
        self.0.cancel();
        Ok(Progress::Idle)
    }
}

impl Job for Telling {
    const NAME: &'static str = "telling";

    async fn step(&self) -> anyhow::Result<Progress> {
        tracing::info!("there is less to do than there was");
        self.0.cancel();
        Ok(Progress::Idle)
    }
}

fn named<'s>(spans: &'s [SeenSpan], name: &str) -> Vec<&'s SeenSpan> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test]
async fn a_request_is_one_trace_across_services_and_steps_are_kept_that_say_something() {
    let collector = Collector::start().await.unwrap();
    start_logs(&LogConfig::default()).unwrap();
    let config = TracesConfig {
        endpoint: collector.endpoint(),
        sampled: 1.0,
        every: Duration::from_millis(1),
        ..TracesConfig::default()
    };
    let traces = traces::start(&config, "test").unwrap();

    let node = Router::new().route("/v1/pieces/{hash}", put(async || StatusCode::CREATED));
    let nodes = Hosts([("node", observed(node, "public"))].into());
    let gateway =
        Router::new().route("/v1/files", post(upload)).with_state(Transport::InProcess(Arc::new(nodes)));
    let gateway = Hosts([("gateway", observed(gateway, "public"))].into());
    let request = Request::post("http://gateway/v1/files?key=secret").body(Body::empty()).unwrap();
    // Its span ends with the body.
    assert_eq!(gateway.send(request).await.unwrap().status(), StatusCode::CREATED);

    for _ in 0..3 {
        let stop = CancellationToken::new();
        job::run(Silent(stop.clone()), Duration::from_secs(3600), stop).await;
    }
    let stop = CancellationToken::new();
    job::run(Telling(stop.clone()), Duration::from_secs(3600), stop).await;
    traces.shut_down().await;

    // What ended last came last.
    let spans = collector.until(|spans| !named(spans, "telling").is_empty()).await;
    let one = |name| match named(&spans, name)[..] {
        [span] => span,
        _ => panic!("one {name}: {spans:#?}"),
    };
    let request = one("POST /v1/files");
    let call = one("PUT /v1/pieces");
    let answer = one("PUT /v1/pieces/{hash}");
    assert!(request.is_server && !call.is_server && answer.is_server);
    assert_eq!([&request.parent, &call.parent, &answer.parent], [&String::new(), &request.id, &call.id]);
    assert!([call, answer].iter().all(|span| span.trace == request.trace));
    assert_eq!(answer.attributes["http.route"], "/v1/pieces/{hash}");
    let telling = one("telling");
    assert!(telling.parent.is_empty() && telling.trace != request.trace);
    assert_eq!(named(&spans, "silent").len(), 0, "idle ticks leave no traces");
    for hidden in ["secret", "4bf92f3577b34da6"] {
        assert!(!format!("{spans:?}").contains(hidden), "{spans:#?}");
    }
}
