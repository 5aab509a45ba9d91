//! `/v1/pieces`: taking, giving, listing and deleting.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use protocol::{
    api::{InventoryPage, ListedPiece},
    ids::PieceHash,
    order::{Action, OrderError},
    unpin::PieceUnpin,
};
use serde::{Deserialize, Serialize};
use service::http::error::ApiError;

use super::{bad_query, whole};
use crate::{
    accept::{accept, drain},
    collect::{self, DELETE_MAX},
    load::Kind,
    node::App,
    orders::LeaveError,
    serve::{Means, Span, serve},
};

fn parse(hash: &str) -> Result<PieceHash, ApiError> {
    hash.parse().map_err(|error| ApiError::bad_request("bad_hash", error))
}

/// `PUT /v1/pieces/{hash}` with an order to put exactly this piece. 201 means that it is durable.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Path(hash): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let hash = parse(&hash)?;
    let (parts, body) = request.into_parts();
    let (order, meta) = app.orders.allowing(&parts.headers, |action| match action {
        Action::Put(meta) if meta.hash == hash => Some(*meta),
        _ => None,
    })?;
    let pass = match app.load.enter(Kind::Put) {
        Ok(pass) => pass,
        Err(busy) => {
            drain(body, meta.piece_len()).await;
            return Err(busy.into());
        }
    };
    let (store, limits) = (app.store.as_ref(), &app.config.limits);
    accept(store, limits, (&order, meta), &parts.headers, body).await?;
    drop(pass);
    Ok(StatusCode::CREATED.into_response())
}

/// The range of a piece that is wanted; all of it when nothing is said.
#[derive(Debug, Deserialize)]
pub(super) struct RangeQuery {
    start: Option<u64>,
    end: Option<u64>,
}

/// `GET /v1/pieces/{hash}?start=&end=` with an order to get this piece: the range with its proof.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path(hash): Path<String>,
    query: Result<Query<RangeQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let hash = parse(&hash)?;
    let Query(RangeQuery { start, end }) = query.map_err(bad_query)?;
    let leave = app.orders.to_get(&headers, hash)?;
    let pass = app.load.enter(Kind::Get)?;
    let span = Span { start: start.unwrap_or(0), end };
    let means = Means { pass, pool: app.parts.clone(), idle: app.config.limits.idle };
    let slice = serve(&app.store, &app.usage, &leave, hash, span, means).await?;
    let mut response = Response::new(slice.body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(slice.len));
    Ok(response)
}

/// Where a list goes on, and how long it may be.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    after: Option<PieceHash>,
    limit: Option<usize>,
}

/// Length of a list when nothing is said.
const LIST_DEFAULT: usize = 1000;

/// `GET /v1/pieces?after=&limit=` with an order to list: pieces in the order of their names.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Vec<ListedPiece>>, ApiError> {
    let Query(ListQuery { after, limit }) = query.map_err(bad_query)?;
    app.orders.allowing(&headers, |action| (*action == Action::List).then_some(()))?;
    let _pass = app.load.enter(Kind::Collect)?;
    let limit = limit.unwrap_or(LIST_DEFAULT).min(app.config.limits.list_max);
    Ok(Json(collect::list(&app.store, after, limit).await?))
}

/// `GET /v1/inventory?after=&limit=` with an order to list: what the pieces are parts of, in the order of their names.
pub(super) async fn inventory(
    State(app): State<Arc<App>>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<InventoryPage>, ApiError> {
    let Query(ListQuery { after, limit }) = query.map_err(bad_query)?;
    app.orders.allowing(&headers, |action| (*action == Action::List).then_some(()))?;
    let _pass = app.load.enter(Kind::Collect)?;
    let limit = limit.unwrap_or(LIST_DEFAULT).clamp(1, app.config.limits.list_max);
    let page = collect::inventory(&app.store, after, limit).await?;
    let receipt = if after.is_none() { app.network.receipt() } else { None };
    Ok(Json(InventoryPage { receipt, ..page }))
}

/// Answer to a deletion.
#[derive(Debug, Serialize)]
pub(super) struct Deleted {
    deleted: usize,
}

/// `POST /v1/pieces/delete` with an order for exactly this body: rows of unpins.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Deleted>, ApiError> {
    let (_, digest) = app.orders.allowing(&headers, |action| match action {
        Action::Delete(digest) => Some(*digest),
        _ => None,
    })?;
    let _pass = app.load.enter(Kind::Collect)?;
    let body = whole(body, DELETE_MAX * PieceUnpin::LEN, app.config.limits.idle).await?;
    if *blake3::hash(&body).as_bytes() != digest {
        return Err(LeaveError::from(OrderError::WrongAction).into());
    }
    let deleted = collect::delete(&app.store, &body).await?;
    Ok(Json(Deleted { deleted }))
}
