//! `/v1/files`: uploads, and an account's files.

use axum::{
    Json,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
};
use content::{
    Cid, HashFn,
    unixfs::profile::{Parameters, Profile},
};
use protocol::{
    api::{FileInfo, FileList},
    time::{UnixMicros, UnixMillis},
};
use serde::Deserialize;
use service::http::error::ApiError;
use store::{Committed, Outcome, Pin, PinCursor, PinState};

use super::time_text::{parse_rfc3339, rfc3339};
use crate::{
    app::Gateway,
    auth::Scope,
    database::store_failed,
    intake::{Intake, Packed, Shape},
    upload::{PinRequest, UploadError},
};

/// Files on one page, at most.
const PAGE_MAX: u32 = 1000;
/// Files on one page when nothing is asked for.
const PAGE_DEFAULT: u32 = 100;

/// Parameters of an upload.
#[derive(Debug, Deserialize)]
pub(super) struct UploadQuery {
    name: Option<String>,
    hash: Option<String>,
    expires: Option<String>,
    unpack: Option<String>,
    wrap: Option<bool>,
    hidden: Option<bool>,
}

/// `POST /v1/files`: takes a file or a directory in and answers when it is durable.
pub(super) async fn upload(
    State(gateway): State<Gateway>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<(StatusCode, Json<FileInfo>), ApiError> {
    let account = gateway.keys.account(request.headers(), Scope::Write).await?;
    let (profile, expires) = options(&query, gateway.clock.now())?;
    let shape = shape(&query)?;
    refuse_early(&gateway, &account, request.headers()).await?;
    let mut intake = Intake::begin(&gateway, &account, profile).await?;
    let uploaded = intake.request(request, &shape).await?;
    let name = query.name.unwrap_or(uploaded.name);
    let pins: Vec<PinRequest> =
        uploaded.roots.into_iter().map(|root| root.pin(&account, &name, expires)).collect();
    let outcomes = intake.finish(pins.clone()).await?;
    let mut files = Vec::new();
    for (pin, outcome) in pins.into_iter().zip(outcomes) {
        files.push(pinned(&gateway, pin, outcome?).await?);
    }
    let left_out = Some(uploaded.left_out).filter(|left_out| *left_out > 0);
    let mut files = files.into_iter();
    let first = files.next().ok_or_else(|| ApiError::from(UploadError::TryAgain))?;
    let also = files.collect();
    Ok((StatusCode::CREATED, Json(FileInfo { left_out, also, ..first })))
}

/// What is said of a pin that an upload has become.
async fn pinned(gateway: &Gateway, pin: PinRequest, outcome: Outcome) -> Result<FileInfo, ApiError> {
    let duplicate = outcome.committed == Committed::AlreadyPinned;
    let pin = if duplicate { pinned_before(gateway, &pin).await? } else { new_pin(pin, outcome) };
    Ok(FileInfo { duplicate, ..file_info(gateway, pin) })
}

/// A pin that was just made.
fn new_pin(pin: PinRequest, Outcome { pin: id, created, .. }: Outcome) -> Pin {
    let PinRequest { account, name, root: cid, size_bytes, dag_size_bytes, expires, .. } = pin;
    let state = PinState::Pinned;
    Pin { id, account, cid, name, state, size_bytes, dag_size_bytes, created, expires }
}

/// The pin that the account had already. When it was removed a moment ago the upload came too late for it.
async fn pinned_before(gateway: &Gateway, pin: &PinRequest) -> Result<Pin, ApiError> {
    let found = gateway.db.pin(&pin.account, &pin.root).await.map_err(store_failed)?;
    found.ok_or_else(|| UploadError::TryAgain.into())
}

fn options(query: &UploadQuery, now: UnixMillis) -> Result<(Profile, Option<UnixMillis>), UploadError> {
    let mut profile = Profile::UNIXFS_V1_2025;
    if let Some(hash) = &query.hash {
        let hash_fn: HashFn = hash
            .parse()
            .map_err(|_| UploadError::BadParameter(format!("hash: {hash:?} is not a known hash function")))?;
        profile = Profile::new(Parameters { hash_fn, ..profile.parameters() })
            .map_err(|error| UploadError::BadParameter(format!("hash: {error}")))?;
    }
    let expires = match &query.expires {
        None => None,
        Some(text) => Some(parse_rfc3339(text).ok_or_else(|| {
            UploadError::BadParameter(format!("expires: {text:?} is not an RFC 3339 time"))
        })?),
    };
    if expires.is_some_and(|expires| expires <= now) {
        return Err(UploadError::BadParameter("expires: that time is over already".into()));
    }
    Ok((profile, expires))
}

fn shape(query: &UploadQuery) -> Result<Shape, UploadError> {
    let unpack = match query.unpack.as_deref() {
        None => None,
        Some("tar") => Some(Packed::Tar),
        Some("zip") => Some(Packed::Zip),
        Some("car") => Some(Packed::Car),
        Some(other) => {
            return Err(UploadError::BadParameter(format!("unpack: {other:?} is not tar, zip or car")));
        }
    };
    Ok(Shape { unpack, wrap: query.wrap.unwrap_or(false), hidden: query.hidden })
}

/// What can be refused before any byte of the body is read.
pub(super) async fn refuse_early(
    gateway: &Gateway,
    account: &str,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let Some(length) = announced else { return Ok(()) };
    Ok(gateway.refuse_about(account, length).await?)
}

/// Length of a pin's id in a cursor, at most.
const CURSOR_ID_MAX: usize = 256;

/// Parameters of a list.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /v1/files`: the account's files, newest first.
pub(super) async fn list(
    State(gateway): State<Gateway>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Result<Json<FileList>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::bad_request("bad_limit", format!("limit must be between 1 and {PAGE_MAX}")));
    }
    let cursor = query.cursor.as_deref().map(parse_cursor).transpose()?;
    let page = gateway.db.pins(&account, cursor.as_ref(), limit).await.map_err(store_failed)?;
    let cursor = page.next.map(|(created, id)| format!("{}.{id}", created.0));
    let files = page.pins.into_iter().map(|pin| file_info(&gateway, pin)).collect();
    Ok(Json(FileList { files, cursor }))
}

pub(super) fn parse_cursor(text: &str) -> Result<PinCursor, ApiError> {
    let parsed = text.split_once('.').and_then(|(created, id)| {
        let is_id = !id.is_empty() && id.len() <= CURSOR_ID_MAX && id.is_ascii();
        is_id.then_some((UnixMicros(created.parse().ok()?), id.to_string()))
    });
    parsed.ok_or_else(|| ApiError::bad_request("bad_cursor", "cursor is not one that a list gave"))
}

/// `GET /v1/files/{cid}`.
pub(super) async fn show(
    State(gateway): State<Gateway>,
    Path(cid): Path<String>,
    headers: HeaderMap,
) -> Result<Json<FileInfo>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    let cid = parse_cid(&cid)?;
    let pin = gateway.db.pin(&account, &cid).await.map_err(store_failed)?;
    let pin = pin.ok_or_else(|| unknown_file(&cid))?;
    Ok(Json(file_info(&gateway, pin)))
}

/// `DELETE /v1/files/{cid}`: unpins it.
pub(super) async fn remove(
    State(gateway): State<Gateway>,
    Path(cid): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Delete).await?;
    let cid = parse_cid(&cid)?;
    let removed = gateway.unpin(&account, &cid).await.map_err(store_failed)?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(unknown_file(&cid)) }
}

/// A CID in a path.
pub(super) fn parse_cid(text: &str) -> Result<Cid, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request("bad_cid", format!("{text:?} is not a CID: {error}")))
}

fn unknown_file(cid: &Cid) -> ApiError {
    ApiError::not_found("unknown_file", format!("this account has no file {cid}"))
}

fn file_info(gateway: &Gateway, pin: Pin) -> FileInfo {
    FileInfo {
        url: format!("{}/ipfs/{}", gateway.config.public_url.trim_end_matches('/'), pin.cid),
        cid: pin.cid.to_string(),
        name: pin.name,
        size_bytes: pin.size_bytes,
        dag_size_bytes: pin.dag_size_bytes,
        created: rfc3339(pin.created.millis()),
        expires: pin.expires.map(rfc3339),
        duplicate: false,
        left_out: None,
        also: Vec::new(),
    }
}
