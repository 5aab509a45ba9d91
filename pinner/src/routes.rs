//! The HTTP surface: which path goes where, and what all handlers share.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::rejection::QueryRejection,
    http::StatusCode,
    routing::{get, post, put},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use metrics_exporter_prometheus::PrometheusHandle;
use service::{
    http::{error::ApiError, health_routes, metrics_routes},
    secrets::is_loopback,
};
use tokio_util::sync::CancellationToken;

use crate::node::App;

mod audit;
mod content;
mod pieces;
mod places;
mod status;

/// All routes of a node on one address.
pub(crate) fn router(app: Arc<App>, metrics: Option<PrometheusHandle>) -> Router {
    public_routes(app, internal_routes(metrics, CancellationToken::new()))
}

/// What is for everybody, and what is on a listener of its own if the configuration names one. `draining` is cancelled
/// when the process is about to end.
pub(crate) fn surface(
    app: Arc<App>,
    metrics: PrometheusHandle,
    draining: CancellationToken,
) -> (Router, Option<Router>) {
    let (listen, is_apart) = (app.config.listen, app.config.internal_listen.is_some());
    let also = if is_apart {
        Router::new()
    } else if is_loopback(listen) {
        internal_routes(Some(metrics.clone()), draining.clone())
    } else {
        health_routes(get(status::readyz), draining.clone())
    };
    let internal =
        is_apart.then(|| refusing(internal_routes(Some(metrics), draining)).with_state(app.clone()));
    (public_routes(app, also), internal)
}

/// Health and metrics.
fn internal_routes(metrics: Option<PrometheusHandle>, draining: CancellationToken) -> Router<Arc<App>> {
    health_routes(get(status::readyz), draining).merge(metrics_routes(metrics))
}

/// Everything that is for everybody, and `also`.
fn public_routes(app: Arc<App>, also: Router<Arc<App>>) -> Router {
    let routes = Router::new()
        .route("/v1/pieces/{hash}", put(pieces::put).get(pieces::get))
        .route("/v1/pieces/delete", post(pieces::delete))
        .route("/v1/pieces", get(pieces::list))
        .route("/v1/inventory", get(pieces::inventory))
        .route("/v1/audit", post(audit::audit))
        .route("/v1/places", post(places::places))
        .route("/v1/status", get(status::status))
        .route("/v1/identity", get(status::identity))
        .route(
            "/ipfs/{*path}",
            get(content::content).options(content::preflight).fallback(content::not_this_method),
        )
        .merge(also);
    refusing(routes).with_state(app)
}

/// The same, with words for paths and methods that there are not.
fn refusing(routes: Router<Arc<App>>) -> Router<Arc<App>> {
    routes
        .fallback(async || ApiError::not_found("no_such_path", "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method")
        })
}

/// A body that is read whole.
async fn whole(body: Body, bytes_max: usize, within: Duration) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(within, Limited::new(body, bytes_max).collect());
    match read.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let details = format!("body is longer than {bytes_max} bytes");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", details))
        }
        Ok(Err(error)) => Err(ApiError::bad_request("broken_off", error)),
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "body arrived too slowly")),
    }
}

fn bad_query(rejection: QueryRejection) -> ApiError {
    ApiError::bad_request("bad_query", rejection.body_text())
}
