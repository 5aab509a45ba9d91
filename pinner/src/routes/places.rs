//! `POST /v1/places`: what this node was told of where blocks are, for gateways whose database is away.

use std::{collections::HashSet, sync::Arc};

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use content::Cid;
use protocol::{
    api::{LOCATE_MAX, PlacesAnswer, PlacesRequest},
    order::{Action, OrderError},
};
use service::http::error::ApiError;

use super::whole;
use crate::{disk::blocking, load::Kind, node::App, orders::LeaveError};

/// A CID in JSON, generously: most have 59 letters, and the longest that is ever stored some 130.
const CID_JSON_MAX: usize = 256;

/// Needs an order for exactly this body: nobody but gateways learns what this node knows, or makes it look.
pub(super) async fn places(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PlacesAnswer>, ApiError> {
    let (_, digest) = app.orders.allowing(&headers, |action| match action {
        Action::Places(digest) => Some(*digest),
        _ => None,
    })?;
    let _pass = app.load.enter(Kind::Places)?;
    let body = whole(body, LOCATE_MAX * CID_JSON_MAX, app.config.limits.idle).await?;
    if *blake3::hash(&body).as_bytes() != digest {
        return Err(LeaveError::from(OrderError::WrongAction).into());
    }
    let request: PlacesRequest =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request("bad_body", error))?;
    if request.cids.len() > LOCATE_MAX {
        return Err(ApiError::bad_request("bad_body", format!("at most {LOCATE_MAX} cids at once")));
    }
    let cids: Result<HashSet<Cid>, _> = request.cids.iter().map(|cid| cid.parse()).collect();
    let cids: Vec<Cid> =
        cids.map_err(|error| ApiError::bad_request("bad_body", error))?.into_iter().collect();
    let (directory, now) = (app.directory.clone(), app.clock.now());
    let places = blocking(move || directory.find(&cids, now)).await?;
    let outcome = if places.is_empty() { "nothing" } else { "found" };
    metrics::counter!("pinstripe_directory_answers_total", "outcome" => outcome).increment(1);
    Ok(Json(PlacesAnswer { places }))
}
