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
use service::http::{base_routes, error::ApiError};

use crate::node::App;

mod audit;
mod content;
mod pieces;
mod status;

/// All routes of a node.
pub(crate) fn router(app: Arc<App>, metrics: Option<PrometheusHandle>) -> Router {
    Router::new()
        .route("/v1/pieces/{hash}", put(pieces::put).get(pieces::get))
        .route("/v1/pieces/delete", post(pieces::delete))
        .route("/v1/pieces", get(pieces::list))
        .route("/v1/inventory", get(pieces::inventory))
        .route("/v1/audit", post(audit::audit))
        .route("/v1/status", get(status::status))
        .route("/v1/identity", get(status::identity))
        .route("/readyz", get(status::readyz))
        .route(
            "/ipfs/{*path}",
            get(content::content).options(content::preflight).fallback(content::not_this_method),
        )
        .merge(base_routes(metrics))
        .fallback(async || ApiError::not_found("no_such_path", "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method")
        })
        .with_state(app)
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
