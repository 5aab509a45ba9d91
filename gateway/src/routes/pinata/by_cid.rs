//! Pins by CID, whose bytes are fetched from elsewhere, and those that still wait or failed.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use bytes::Bytes;
use content::Cid;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service::http::error::ApiError;
use store::{PinChange, PinDetails, PinFilter, PinState};

use super::{
    bad,
    files::{next_page, oldest_first, unpin},
    legacy::{Metadata, Options},
    parse,
    pin_list::{Asked, get, number, page_size},
    public_only, shown,
    take_in::find,
    unknown_file,
};
use crate::{
    app::Gateway,
    auth::Scope,
    database::store_failed,
    intake::pin_name,
    notes::{Notes, check_group, describe, keyvalues},
    pinning,
    routes::files::{parse_cid, parse_cursor},
};

/// Has a CID fetched.
async fn wait_for(
    gateway: &Gateway,
    account: &str,
    cid: Cid,
    notes: Notes,
    origins: Vec<String>,
) -> Result<PinDetails, ApiError> {
    if let Some(group) = &notes.group {
        check_group(gateway, account, group).await?;
    }
    let asked = pinning::Wanted {
        cid,
        name: pin_name(notes.name.as_deref().unwrap_or_default()),
        origins,
        meta: notes.keyvalues.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
    };
    let waiting = pinning::request(gateway, account, asked).await?;
    if let Some(group) = notes.group {
        let change = PinChange { group: Some(Some(group)), ..PinChange::default() };
        describe(gateway, account, &waiting.id, &change).await?;
    }
    find(gateway, account, &waiting.id).await?.ok_or_else(|| unknown_file(&waiting.id))
}

/// Body of [`pin_by_hash`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByHash {
    hash_to_pin: String,
    #[serde(default)]
    pinata_metadata: Option<Metadata>,
    #[serde(default)]
    pinata_options: Option<Options>,
}

/// `POST /pinning/pinByHash`.
pub(super) async fn pin_by_hash(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    let asked: ByHash = parse("the body", &body)?;
    let cid = parse_cid(&asked.hash_to_pin)?;
    let (metadata, options) =
        (asked.pinata_metadata.unwrap_or_default(), asked.pinata_options.unwrap_or_default());
    let notes = Notes { name: metadata.name, group: options.group_id, ..Notes::default() };
    let notes = notes.keyvalues(&gateway, &metadata.keyvalues.unwrap_or_default())?;
    let hosts = options.host_nodes.unwrap_or_default();
    let job = shown::job(&wait_for(&gateway, &account, cid, notes, hosts).await?);
    Ok(Json(json!({
        "id": job["id"], "ipfsHash": job["cid"], "status": job["status"], "name": job["name"]
    })))
}

/// Body of [`pin_by_cid`].
#[derive(Debug, Deserialize)]
struct ByCid {
    cid: String,
    name: Option<String>,
    keyvalues: Option<Map<String, Value>>,
    group_id: Option<String>,
    host_nodes: Option<Vec<String>>,
}

/// `POST /v3/files/{network}/pin_by_cid`.
pub(super) async fn pin_by_cid(
    State(gateway): State<Gateway>,
    Path(network): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    public_only(&network)?;
    let asked: ByCid = parse("the body", &body)?;
    let cid = parse_cid(&asked.cid)?;
    let notes = Notes {
        name: asked.name,
        group: asked.group_id.filter(|group| !group.is_empty()),
        keyvalues: keyvalues(&gateway, &asked.keyvalues.unwrap_or_default())?,
        expires: None,
    };
    let hosts = asked.host_nodes.unwrap_or_default();
    let found = wait_for(&gateway, &account, cid, notes, hosts).await?;
    Ok(Json(json!({ "data": shown::job(&found) })))
}

/// Those that wait or failed.
fn jobs(status: Option<&str>, cid: Option<&str>, order: Option<&str>) -> Result<PinFilter, ApiError> {
    let mut filter = PinFilter { oldest_first: oldest_first(order)?, ..PinFilter::default() };
    filter.cids = cid.map(parse_cid).transpose()?.into_iter().collect();
    filter.states = match status {
        None => shown::JOB_STATES.map(|(_, state)| state).to_vec(),
        // Nothing here is ever in a state that is not ours.
        Some("backfilled" | "over_free_limit" | "over_max_size" | "invalid_object" | "bad_host_node") => {
            filter.ids = vec![String::new()];
            Vec::new()
        }
        Some(status) => {
            let known = shown::JOB_STATES.iter().find(|(name, _)| *name == status);
            vec![known.ok_or_else(|| bad("status", status))?.1]
        }
    };
    Ok(filter)
}

/// `GET /v3/files/{network}/pin_by_cid`.
pub(super) async fn queue(
    State(gateway): State<Gateway>,
    Path(network): Path<String>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    public_only(&network)?;
    let mut filter = jobs(get(&asked, "status"), get(&asked, "cid"), get(&asked, "sort"))?;
    filter.cursor = get(&asked, "pageToken").map(parse_cursor).transpose()?;
    let limit = page_size(get(&asked, "limit"))?;
    let found = gateway.db.find_pins(&account, &filter, limit).await.map_err(store_failed)?;
    let jobs: Vec<Value> = found.pins.iter().map(shown::job).collect();
    Ok(Json(json!({ "data": { "jobs": jobs, "next_page_token": next_page(&found.pins, limit) } })))
}

/// `GET /pinning/pinJobs`.
pub(super) async fn pin_jobs(
    State(gateway): State<Gateway>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    let mut filter = jobs(get(&asked, "status"), get(&asked, "ipfs_pin_hash"), get(&asked, "sort"))?;
    filter.offset = number(&asked, "offset")?.unwrap_or(0);
    let limit = page_size(get(&asked, "limit"))?;
    let found = gateway.db.find_pins(&account, &filter, limit).await.map_err(store_failed)?;
    let rows: Vec<Value> = found.pins.iter().map(shown::job).collect();
    Ok(Json(json!({ "count": found.count, "rows": rows })))
}

/// `DELETE /v3/files/{network}/pin_by_cid/{id}`.
pub(super) async fn remove(
    State(gateway): State<Gateway>,
    Path((network, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Delete).await?;
    public_only(&network)?;
    let found = find(&gateway, &account, &id).await?;
    if found.is_none_or(|found| found.pin.state == PinState::Pinned) {
        return Err(unknown_file(&id));
    }
    unpin(&gateway, &account, &id).await
}
