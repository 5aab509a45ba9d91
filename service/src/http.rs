//! The HTTP side that all processes share: server, limits, error body, plain endpoints.

pub mod client_address;
pub mod client_limit;
pub mod error;
mod patient;
pub mod server;
mod unread;

use axum::{Router, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;

/// `/healthz` (the process answers) and `/metrics`.
pub fn base_routes<S: Clone + Send + Sync + 'static>(metrics: Option<PrometheusHandle>) -> Router<S> {
    Router::new().route("/healthz", get(async || "ok\n")).route(
        "/metrics",
        get(move || {
            let metrics = metrics.clone();
            async move { metrics.map_or_else(String::new, |metrics| metrics.render()) }
        }),
    )
}
