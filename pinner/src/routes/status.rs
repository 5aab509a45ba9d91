//! What anyone may ask: is the node there, how busy is it, does it hold its key.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use protocol::{
    api::{Identity, NodeStatus},
    node_proof::prove,
};
use serde::Deserialize;
use service::http::error::ApiError;

use super::bad_query;
use crate::{disk::blocking, node::App};

/// `GET /v1/status`.
pub(super) async fn status(State(app): State<Arc<App>>) -> Result<Json<NodeStatus>, ApiError> {
    let store = app.store.clone();
    let free_bytes = blocking(move || store.stats().free_bytes).await?;
    Ok(Json(NodeStatus { id: app.id, in_flight: app.load.in_flight(), free_bytes }))
}

/// What the asker drew, so that an old proof does not do.
#[derive(Debug, Deserialize)]
pub(super) struct IdentityQuery {
    nonce: String,
}

/// Longest nonce that is signed.
const NONCE_LEN_MAX: usize = 128;

/// `GET /v1/identity?nonce=`.
pub(super) async fn identity(
    State(app): State<Arc<App>>,
    query: Result<Query<IdentityQuery>, QueryRejection>,
) -> Result<Json<Identity>, ApiError> {
    let Query(IdentityQuery { nonce }) = query.map_err(bad_query)?;
    if nonce.is_empty() || nonce.len() > NONCE_LEN_MAX {
        return Err(ApiError::bad_request(
            "bad_query",
            format!("nonce must have 1 to {NONCE_LEN_MAX} bytes"),
        ));
    }
    let proof = prove(&app.key, "GET", "/v1/identity", app.clock.now(), nonce.as_bytes());
    Ok(Json(Identity { id: app.id, proof }))
}

/// `GET /readyz`: whether orders can be acted on.
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, ApiError> {
    match app.network.get() {
        Some(_) => Ok("ready\n"),
        None => Err(ApiError::unavailable("not_enrolled", "not admitted to a network yet", 1)),
    }
}
