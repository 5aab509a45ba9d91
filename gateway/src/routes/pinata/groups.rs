//! Version 3: groups, and the files in them. A file is in one group at most.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use service::http::error::ApiError;
use store::{GroupFilter, PinChange, PinGroup};

use super::{
    parse,
    pin_list::{Asked, get, page_size},
    public_only, shown,
    take_in::find,
    unknown_file, unknown_group,
};
use crate::{
    app::Gateway,
    auth::Scope,
    database::store_failed,
    intake::pin_name,
    notes::describe,
    routes::{files::parse_cursor, time_text::rfc3339_micros},
    upload::new_id,
};

/// Body of [`create`] and [`update`].
#[derive(Debug, Deserialize)]
struct Said {
    name: Option<String>,
    is_public: Option<bool>,
}

impl Said {
    /// The name as it is stored, if one was given.
    fn name(&self) -> Result<Option<String>, ApiError> {
        let name = self.name.as_deref().map(|name| pin_name(name.trim()));
        if name.as_ref().is_some_and(String::is_empty) {
            return Err(ApiError::bad_request("bad_name", "a group needs a name"));
        }
        Ok(name)
    }
}

/// Clients of different age read the time under different names.
fn group(group: &PinGroup) -> Value {
    let created = rfc3339_micros(group.created);
    json!({
        "id": group.id, "name": group.name, "is_public": group.is_public, "user_id": group.account,
        "created_at": created, "createdAt": created
    })
}

/// `POST /v3/groups/{network}`.
pub(super) async fn create(
    State(gateway): State<Gateway>,
    Path(network): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    public_only(&network)?;
    let said: Said = parse("the body", &body)?;
    let name = said.name()?.ok_or_else(|| ApiError::bad_request("bad_name", "a group needs a name"))?;
    let is_public = said.is_public.unwrap_or(false);
    let id = new_id(&gateway.clock, &gateway.dice);
    let new = PinGroup { id, account, name, is_public, created: gateway.clock.now().micros() };
    let max = gateway.config.pinata.groups_max;
    if !gateway.db.create_group(&new, max).await.map_err(store_failed)? {
        return Err(ApiError::bad_request("too_many_groups", format!("an account may have {max} groups")));
    }
    Ok(Json(json!({ "data": group(&new) })))
}

/// `GET /v3/groups/{network}`: the newest first.
pub(super) async fn list(
    State(gateway): State<Gateway>,
    Path(network): Path<String>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    public_only(&network)?;
    let limit = page_size(get(&asked, "limit"))?;
    let filter = GroupFilter {
        name: get(&asked, "name").map(str::to_string),
        is_public: get(&asked, "isPublic").map(|text| text == "true"),
        cursor: get(&asked, "pageToken").map(parse_cursor).transpose()?,
    };
    let found = gateway.db.groups(&account, &filter, limit).await.map_err(store_failed)?;
    let last = found.last().filter(|_| found.len() == limit as usize);
    let next = last.map(|last| shown::token(&(last.created, last.id.clone())));
    let groups: Vec<Value> = found.iter().map(group).collect();
    Ok(Json(json!({ "data": { "groups": groups, "next_page_token": next } })))
}

async fn known(gateway: &Gateway, account: &str, id: &str) -> Result<PinGroup, ApiError> {
    gateway.db.group(account, id).await.map_err(store_failed)?.ok_or_else(|| unknown_group(id))
}

/// `GET /v3/groups/{network}/{id}`.
pub(super) async fn show(
    State(gateway): State<Gateway>,
    Path((network, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    public_only(&network)?;
    Ok(Json(json!({ "data": group(&known(&gateway, &account, &id).await?) })))
}

/// `PUT /v3/groups/{network}/{id}`.
pub(super) async fn update(
    State(gateway): State<Gateway>,
    Path((network, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    public_only(&network)?;
    let said: Said = parse("the body", &body)?;
    let name = said.name()?;
    let changed = gateway.db.change_group(&account, &id, name.as_deref(), said.is_public).await;
    if !changed.map_err(store_failed)? {
        return Err(unknown_group(&id));
    }
    Ok(Json(json!({ "data": group(&known(&gateway, &account, &id).await?) })))
}

/// `DELETE /v3/groups/{network}/{id}`: its files stay.
pub(super) async fn remove(
    State(gateway): State<Gateway>,
    Path((network, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Delete).await?;
    public_only(&network)?;
    if !gateway.db.remove_group(&account, &id).await.map_err(store_failed)? {
        return Err(unknown_group(&id));
    }
    Ok(Json(json!({ "data": null })))
}

/// `PUT /v3/groups/{network}/{id}/ids/{file}`.
pub(super) async fn add_file(
    State(gateway): State<Gateway>,
    Path((network, id, file)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    public_only(&network)?;
    let change = PinChange { group: Some(Some(id)), ..PinChange::default() };
    describe(&gateway, &account, &file, &change).await?;
    Ok(Json(json!({ "data": null })))
}

/// `DELETE /v3/groups/{network}/{id}/ids/{file}`.
pub(super) async fn remove_file(
    State(gateway): State<Gateway>,
    Path((network, id, file)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    public_only(&network)?;
    let found = find(&gateway, &account, &file).await?;
    if found.is_none_or(|found| found.group.as_ref() != Some(&id)) {
        return Err(unknown_file(&file));
    }
    let change = PinChange { group: Some(None), ..PinChange::default() };
    describe(&gateway, &account, &file, &change).await?;
    Ok(Json(json!({ "data": null })))
}
