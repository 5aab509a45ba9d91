//! A collector of traces: takes OTLP over HTTP, as real ones do, and keeps what came.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::span::SpanKind,
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::watch, task::AbortHandle};

/// Long enough on the slowest machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A span as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSpan {
    /// `service.name` of the process.
    pub process: String,
    /// Its name.
    pub name: String,
    /// Its trace, in hex.
    pub trace: String,
    /// Its id, in hex.
    pub id: String,
    /// Its parent's id, in hex; empty without one.
    pub parent: String,
    /// It answered a request.
    pub is_server: bool,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// Traces that it is linked with, in hex.
    pub links: Vec<String>,
}

/// A collector that listens until it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    seen: watch::Receiver<Vec<SeenSpan>>,
    task: AbortHandle,
}

impl Collector {
    /// Starts one on a free port.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (sender, seen) = watch::channel(Vec::new());
        let router = Router::new()
            .route("/v1/traces", post(take))
            .layer(DefaultBodyLimit::max(64 << 20))
            .with_state(Arc::new(sender));
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) }).abort_handle();
        Ok(Self { address, seen, task })
    }

    /// Where it takes traces.
    pub fn endpoint(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    /// Waits until what came is enough, and gives it; panics when it never is.
    pub async fn until(&self, is_enough: impl Fn(&[SeenSpan]) -> bool) -> Vec<SeenSpan> {
        let mut seen = self.seen.clone();
        let Ok(spans) = tokio::time::timeout(PATIENCE, seen.wait_for(|spans| is_enough(spans))).await else {
            panic!("spans that were waited for did not come: {:#?}", self.seen.borrow())
        };
        spans.expect("it runs as long as this is there").clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(seen): State<Arc<watch::Sender<Vec<SeenSpan>>>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut spans = Vec::new();
    for of_process in request.resource_spans {
        let about = of_process.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
        let process = about.get("service.name").cloned().unwrap_or_default();
        spans.extend(of_process.scope_spans.into_iter().flat_map(|scope| scope.spans).map(|span| SeenSpan {
            process: process.clone(),
            is_server: span.kind() == SpanKind::Server,
            name: span.name,
            trace: hex::encode(span.trace_id),
            id: hex::encode(span.span_id),
            parent: hex::encode(span.parent_span_id),
            attributes: texts(span.attributes),
            links: span.links.into_iter().map(|link| hex::encode(link.trace_id)).collect(),
        }));
    }
    seen.send_modify(|seen| seen.extend(spans));
    StatusCode::OK
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
