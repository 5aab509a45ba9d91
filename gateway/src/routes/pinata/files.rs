//! Version 3: files by their ids.

use axum::{
    Json,
    extract::{Path, Query, Request, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use content::unixfs::profile::CidVersion;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service::http::error::ApiError;
use store::{GroupTest, MetaCompare, MetaTest, NameMatch, PinChange, PinDetails, PinFilter, PinState};

use super::{
    bad, no_private_files, parse,
    pin_list::{Asked, get, page_size},
    public_only,
    resumable::{self, Announced},
    shown,
    take_in::{Pinned, find, form, pin_form, version},
    unknown_file, unsupported,
};
use crate::{
    app::Gateway,
    auth::Scope,
    database::store_failed,
    intake::{Expected, Fields, Said, pin_name},
    notes::{Notes, describe, expires, keyvalues},
    routes::files::{parse_cid, parse_cursor},
    upload::UploadError,
};

/// Version 1 of CIDs is what the newer API gives.
pub(super) const EXPECTED: Expected =
    Expected { guess: CidVersion::V1, default: CidVersion::V1, size_max: None, said };

/// What the fields of a form say about how it is to be imported.
fn said(fields: &Fields) -> Result<Said, UploadError> {
    let asked = fields.get("cid_version").filter(|text| !text.is_empty());
    Ok(Said { version: asked.map(|text| version(text)).transpose()?, wrap: false })
}

/// Refuses what cannot be heeded.
pub(super) fn refuse_unsupported(fields: &Fields) -> Result<(), ApiError> {
    if fields.get("car").is_some_and(|text| text == "true") {
        return Err(unsupported("car: send it to /v1/files?unpack=car; in a form of this kind it"));
    }
    Ok(())
}

/// `POST /v3/files`: a form, or the beginning of an upload in several requests.
pub(super) async fn upload(State(gateway): State<Gateway>, request: Request) -> Result<Response, ApiError> {
    let account = gateway.keys.account(request.headers(), Scope::Write).await?;
    if resumable::is_meant(&request) {
        let announced = Announced::of(&gateway, &request)?;
        refuse_fields(&announced.fields)?;
        let notes = notes(&gateway, &announced.fields)?;
        return resumable::begin(&gateway, &account, announced, notes, None, request).await;
    }
    let late = form(&gateway, &account, request, EXPECTED).await?;
    refuse_fields(&late.fields)?;
    let notes = notes(&gateway, &late.fields)?;
    Ok(answer(&pin_form(&gateway, &account, late, notes).await?).into_response())
}

/// Refuses what cannot be heeded. Without a network a file would be private, as Pinata has it.
fn refuse_fields(fields: &Fields) -> Result<(), ApiError> {
    match fields.get("network") {
        Some(network) => public_only(network)?,
        None => return Err(no_private_files()),
    }
    refuse_unsupported(fields)
}

/// What the fields say of the file.
fn notes(gateway: &Gateway, fields: &Fields) -> Result<Notes, ApiError> {
    let field = |name: &str| fields.get(name).filter(|text| !text.is_empty()).cloned();
    let mut notes = Notes { name: field("name"), group: field("group_id"), ..Notes::default() };
    if let Some(text) = field("keyvalues") {
        let given: Option<Map<String, Value>> = parse("keyvalues", text.as_bytes())?;
        notes = notes.keyvalues(gateway, &given.unwrap_or_default())?;
    }
    if let Some(text) = field("expires_at") {
        let seconds = text.parse().map_err(|_| bad("expires_at", &text))?;
        notes.expires = Some(expires(gateway, seconds)?);
    }
    Ok(notes)
}

/// What is said of an upload.
pub(super) fn answer(Pinned { details, cid, duplicate }: &Pinned) -> Json<Value> {
    let mut file = shown::file(details);
    file["cid"] = cid.as_str().into();
    if *duplicate {
        file["is_duplicate"] = true.into();
    }
    Json(json!({ "data": file }))
}

/// `GET /v3/files/{network}`.
pub(super) async fn list(
    State(gateway): State<Gateway>,
    Path(network): Path<String>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    public_only(&network)?;
    let filter = filter(&asked)?;
    let limit = page_size(get(&asked, "limit"))?;
    // Whatever is in this list has its CID.
    let found = if get(&asked, "cidPending") == Some("true") {
        store::PinsFound::default()
    } else {
        gateway.db.find_pins(&account, &filter, limit).await.map_err(store_failed)?
    };
    let next = next_page(&found.pins, limit);
    let files: Vec<Value> = found.pins.iter().map(shown::file).collect();
    Ok(Json(json!({ "data": { "files": files, "next_page_token": next } })))
}

/// Where the page after this one starts; one that is full may be the last.
pub(super) fn next_page(found: &[PinDetails], limit: u32) -> Option<String> {
    let last = found.last().filter(|_| found.len() == limit as usize)?;
    Some(shown::token(&(last.pin.created, last.pin.id.clone())))
}

fn filter(asked: &[(String, String)]) -> Result<PinFilter, ApiError> {
    let mut filter = PinFilter { states: vec![PinState::Pinned], ..PinFilter::default() };
    filter.name = get(asked, "name").map(|name| (name.to_string(), NameMatch::PartialAnyCase));
    filter.cids = get(asked, "cid").map(parse_cid).transpose()?.into_iter().collect();
    filter.mime_type = get(asked, "mimeType").map(str::to_ascii_lowercase);
    filter.group = get(asked, "group").map(|group| match group {
        "null" => GroupTest::Without,
        group => GroupTest::In(group.to_string()),
    });
    filter.oldest_first = oldest_first(get(asked, "order"))?;
    filter.cursor = get(asked, "pageToken").map(parse_cursor).transpose()?;
    for (name, value) in asked {
        let key = name.strip_prefix("keyvalues[").and_then(|name| name.strip_suffix(']'));
        // As many as a file may have can be asked for, and no query is that long.
        if let Some(key) = key {
            let compare = MetaCompare::Equal;
            filter.meta.push(MetaTest { key: key.to_string(), value: value.clone(), compare });
        }
    }
    if filter.meta.len() > KEYVALUES_MAX {
        return Err(bad("keyvalues", filter.meta.len()));
    }
    Ok(filter)
}

/// Keyvalues in one question, at most.
const KEYVALUES_MAX: usize = 10;

/// In which order; one client spells it `DSC`.
pub(super) fn oldest_first(order: Option<&str>) -> Result<bool, ApiError> {
    match order.map(str::to_ascii_uppercase).as_deref() {
        None | Some("DESC" | "DSC") => Ok(false),
        Some("ASC") => Ok(true),
        Some(other) => Err(bad("order", other)),
    }
}

/// A file of the account.
async fn stored(gateway: &Gateway, account: &str, id: &str) -> Result<PinDetails, ApiError> {
    let found = find(gateway, account, id).await?;
    found.filter(|found| found.pin.state == PinState::Pinned).ok_or_else(|| unknown_file(id))
}

/// `GET /v3/files/{network}/{id}`.
pub(super) async fn show(
    State(gateway): State<Gateway>,
    Path((network, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    public_only(&network)?;
    Ok(Json(json!({ "data": shown::file(&stored(&gateway, &account, &id).await?) })))
}

/// Body of [`update`].
#[derive(Debug, Deserialize)]
struct Update {
    name: Option<String>,
    keyvalues: Option<Map<String, Value>>,
    expires_at: Option<i64>,
}

/// `PUT /v3/files/{network}/{id}`: what is not given stays as it is.
pub(super) async fn update(
    State(gateway): State<Gateway>,
    Path((network, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    public_only(&network)?;
    let update: Update = parse("the body", &body)?;
    stored(&gateway, &account, &id).await?;
    let change = PinChange {
        name: update.name.map(|name| pin_name(&name)),
        meta: keyvalues(&gateway, &update.keyvalues.unwrap_or_default())?,
        expires: update.expires_at.map(|seconds| expires(&gateway, seconds)).transpose()?,
        ..PinChange::default()
    };
    describe(&gateway, &account, &id, &change).await?;
    Ok(Json(json!({ "data": shown::file(&stored(&gateway, &account, &id).await?) })))
}

/// `DELETE /v3/files/{network}/{id}`: 200, since clients read the phrase behind it.
pub(super) async fn remove(
    State(gateway): State<Gateway>,
    Path((network, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Delete).await?;
    public_only(&network)?;
    stored(&gateway, &account, &id).await?;
    unpin(&gateway, &account, &id).await
}

/// Removes one pin.
pub(super) async fn unpin(gateway: &Gateway, account: &str, id: &str) -> Result<Json<Value>, ApiError> {
    let removed = gateway.unpin_one(account, id).await.map_err(store_failed)?;
    if removed { Ok(Json(json!({ "data": null }))) } else { Err(unknown_file(id)) }
}
