//! `POST /v1/audit`: a batch of challenges, answered with proofs.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use protocol::{
    audit::Batch,
    order::{Action, OrderError},
};
use service::http::error::ApiError;

use super::whole;
use crate::{challenge, load::Kind, node::App, orders::LeaveError};

/// Needs an order for exactly this body.
pub(super) async fn audit(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (order, digest) = app.orders.allowing(&headers, |action| match action {
        Action::Audit(digest) => Some(*digest),
        _ => None,
    })?;
    let _pass = app.load.enter(Kind::Audit)?;
    let body = whole(body, Batch::body_len_max(), app.config.limits.idle).await?;
    if *blake3::hash(&body).as_bytes() != digest {
        return Err(LeaveError::from(OrderError::WrongAction).into());
    }
    let answers = challenge::answer(&app.store, &body, order.bytes_max).await?;
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(([content_type], answers).into_response())
}
