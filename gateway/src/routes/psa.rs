//! `/psa/pins`: the IPFS Pinning Services API 1.0.0, <https://ipfs.github.io/pinning-services-api-spec/>. Requests for pins are
//! those of `pinning`; uploads by other ways are listed here too.

mod query;
mod status;

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
    middleware::map_response,
    routing::get,
};
use serde_json::{Value, json};
use service::http::error::ApiError;
use store::{PinDetails, PinFilter};

use super::refusals::json_refusals;
use crate::{
    app::Gateway,
    auth::{Scope, permits},
    database::store_failed,
    pinning::{Wanted, request},
};
use query::{Listed, PinBody};
use status::{delegates, status, waiting};

/// A request for a pin, at most.
const BODY_MAX: usize = 64 << 10;

/// The routes.
pub(super) fn routes(gateway: &Gateway) -> Router<Gateway> {
    let routes = Router::new()
        .route("/psa/pins", get(list).post(add))
        .route("/psa/pins/{id}", get(show).post(replace).delete(remove));
    super::read_whole(gateway, routes, BODY_MAX).layer(map_response(json_refusals))
}

/// `GET /psa/pins`.
async fn list(
    State(gateway): State<Gateway>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    let Listed { filter, limit } = query::listed(&query)?;
    let found = gateway.db.find_pins(&account, &filter, limit).await.map_err(store_failed)?;
    let delegates = delegates(&gateway);
    let results: Vec<Value> = found.pins.iter().map(|found| status(found, &delegates)).collect();
    Ok(Json(json!({ "count": found.count, "results": results })))
}

/// `POST /psa/pins`.
async fn add(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Result<Json<PinBody>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    let pin = request(&gateway, &account, wanted(body)?).await?;
    Ok((StatusCode::ACCEPTED, Json(waiting(&pin, &delegates(&gateway)))))
}

/// `GET /psa/pins/{id}`.
async fn show(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    let found = find(&gateway, &account, &id).await?;
    Ok(Json(status(&found, &delegates(&gateway))))
}

/// `POST /psa/pins/{id}`: another pin instead of this one. What this one keeps is kept for a while longer, so that the other
/// finds what both have.
async fn replace(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Json<PinBody>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let key = gateway.keys.api_key(&headers, Scope::Write).await?;
    permits(&key, Scope::Delete)?;
    let account = key.account;
    let wanted = wanted(body)?;
    let old = find(&gateway, &account, &id).await?;
    let pin = request(&gateway, &account, wanted).await?;
    let until = gateway.hold_until();
    if !gateway.db.hold_pin(&account, &old.pin.id, until).await.map_err(store_failed)? {
        gateway.unpin_one(&account, &id).await.map_err(store_failed)?;
    }
    Ok((StatusCode::ACCEPTED, Json(waiting(&pin, &delegates(&gateway)))))
}

/// `DELETE /psa/pins/{id}`.
async fn remove(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Delete).await?;
    if gateway.unpin_one(&account, &id).await.map_err(store_failed)? {
        Ok(StatusCode::ACCEPTED)
    } else {
        Err(unknown(&id))
    }
}

fn wanted(body: Result<Json<PinBody>, JsonRejection>) -> Result<Wanted, ApiError> {
    let Json(body) = body.map_err(|error| {
        let (status, reason) = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            _ => (StatusCode::BAD_REQUEST, "bad_pin"),
        };
        ApiError::new(status, reason, error.body_text())
    })?;
    body.wanted()
}

async fn find(gateway: &Gateway, account: &str, id: &str) -> Result<PinDetails, ApiError> {
    let filter = PinFilter { ids: vec![id.to_string()], ..PinFilter::default() };
    let found = gateway.db.find_pins(account, &filter, 1).await.map_err(store_failed)?;
    found.pins.into_iter().next().ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found("unknown_pin", format!("this account has no pin {id:?}"))
}
