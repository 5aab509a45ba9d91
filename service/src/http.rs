//! The HTTP side that all processes share: server, limits, error body, plain endpoints.

pub mod client_address;
pub mod client_limit;
mod config;
mod connection;
mod connections;
pub mod error;
mod in_progress;
mod observe;
mod patient;
pub mod server;
pub mod tls;
mod unread;
pub mod whole_body;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use self::error::ApiError;
pub use self::observe::{observed, seen_as};

/// `/healthz` (the process answers), and `/readyz` as `ready` says; it is 503 from the moment that `draining` is cancelled.
pub fn health_routes<S: Clone + Send + Sync + 'static>(
    ready: MethodRouter<S>,
    draining: CancellationToken,
) -> Router<S> {
    let ready = ready.layer(from_fn_with_state(draining, not_while_draining));
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", ready)
}

async fn not_while_draining(
    State(draining): State<CancellationToken>,
    request: Request,
    next: Next,
) -> Response {
    if draining.is_cancelled() {
        return ApiError::unavailable("stopping", "this process is about to end", 1).into_response();
    }
    next.run(request).await
}

/// `/metrics`, Prometheus' text.
pub fn metrics_routes<S: Clone + Send + Sync + 'static>(metrics: Option<PrometheusHandle>) -> Router<S> {
    let render = async move || metrics.map_or_else(String::new, |metrics| metrics.render());
    Router::new().route("/metrics", get(render))
}
