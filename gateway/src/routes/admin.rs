//! `/v1/admin/...`: accounts, keys and invitations, for whoever holds the admin token.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use serde_json::{Value, json};
use service::http::error::ApiError;
use shared::Notice;
use store::{Account, NewApiKey};

use super::time_text::{parse_rfc3339, rfc3339};
use crate::{
    app::Gateway,
    auth::{self, ALL_SCOPES},
    database::store_failed,
};

/// Accounts, keys or events shown at once.
const PAGE: u32 = 1000;
/// Quota of an account when nothing is said: 1 TiB.
const QUOTA_DEFAULT: u64 = 1 << 40;
/// The largest number that the database holds.
const QUOTA_MAX: u64 = i64::MAX.unsigned_abs();
/// Characters of an account's name, at most.
const NAME_MAX: usize = 255;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    name: String,
    quota_bytes: Option<u64>,
}

/// `POST /v1/admin/accounts`.
pub(super) async fn create_account(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Json(wanted): Json<NewAccount>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    gateway.live.get().admin.check(&headers)?;
    check_name(&wanted.name)?;
    let quota = wanted.quota_bytes.unwrap_or(QUOTA_DEFAULT);
    check_quota(quota)?;
    let id = data_encoding::HEXLOWER.encode(&gateway.dice.bytes::<12>());
    let created = gateway.db.create_account(&id, &wanted.name, quota, gateway.clock.now()).await;
    created.map_err(store_failed)?;
    let account = Account { id, name: wanted.name, quota_bytes: quota, used_bytes: 0 };
    Ok((StatusCode::CREATED, Json(account_json(&account))))
}

/// A name is for people, in lists and on terminals.
fn check_name(name: &str) -> Result<(), ApiError> {
    let chars = name.chars().count();
    if name.trim().is_empty() || chars > NAME_MAX || name.chars().any(char::is_control) {
        let details =
            format!("a name has 1 to {NAME_MAX} characters, not all blank, and no control characters");
        return Err(ApiError::bad_request("bad_name", details));
    }
    Ok(())
}

fn check_quota(bytes: u64) -> Result<(), ApiError> {
    if bytes > QUOTA_MAX {
        return Err(ApiError::bad_request("bad_quota", format!("a quota is at most {QUOTA_MAX} bytes")));
    }
    Ok(())
}

fn account_json(account: &Account) -> Value {
    json!({
        "id": account.id,
        "name": account.name,
        "quota_bytes": account.quota_bytes,
        "used_bytes": account.used_bytes,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct AccountsQuery {
    #[serde(default)]
    after: String,
}

/// `GET /v1/admin/accounts`.
pub(super) async fn accounts(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Query(query): Query<AccountsQuery>,
) -> Result<Json<Value>, ApiError> {
    gateway.live.get().admin.check(&headers)?;
    let accounts = gateway.db.accounts(&query.after, PAGE).await.map_err(store_failed)?;
    Ok(Json(json!({ "accounts": accounts.iter().map(account_json).collect::<Vec<_>>() })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewQuota {
    quota_bytes: u64,
}

/// `PUT /v1/admin/accounts/{id}/quota`.
pub(super) async fn set_quota(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(wanted): Json<NewQuota>,
) -> Result<StatusCode, ApiError> {
    gateway.live.get().admin.check(&headers)?;
    check_quota(wanted.quota_bytes)?;
    let changed = gateway.db.set_quota(&id, wanted.quota_bytes).await.map_err(store_failed)?;
    if changed { Ok(StatusCode::NO_CONTENT) } else { Err(unknown_account(&id)) }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    #[serde(default)]
    name: String,
    /// `read`, `write`, `delete`; all of them when left out.
    scopes: Option<Vec<String>>,
    /// RFC 3339.
    expires: Option<String>,
}

/// `POST /v1/admin/accounts/{id}/keys`: the only time that the key itself is shown.
pub(super) async fn create_key(
    State(gateway): State<Gateway>,
    Path(account): Path<String>,
    headers: HeaderMap,
    Json(wanted): Json<NewKey>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    gateway.live.get().admin.check(&headers)?;
    if gateway.db.account(&account).await.map_err(store_failed)?.is_none() {
        return Err(unknown_account(&account));
    }
    let scopes = wanted.scopes.unwrap_or_else(|| ALL_SCOPES.map(str::to_string).to_vec());
    if let Some(unknown) = scopes.iter().find(|scope| !ALL_SCOPES.contains(&scope.as_str())) {
        let known = ALL_SCOPES.join(", ");
        return Err(ApiError::bad_request("bad_scope", format!("{unknown:?} is none of the scopes {known}")));
    }
    let expires = match wanted.expires.as_deref() {
        None => None,
        Some(text) => Some(parse_rfc3339(text).ok_or_else(|| {
            ApiError::bad_request("bad_expires", format!("{text:?} is not an RFC 3339 time"))
        })?),
    };
    let minted = auth::mint_key(&gateway.dice);
    let key = NewApiKey {
        id: minted.id.clone(),
        account,
        name: wanted.name,
        secret_hash: minted.secret_hash,
        scopes: scopes.join(","),
        expires,
    };
    gateway.db.create_key(&key, gateway.clock.now()).await.map_err(store_failed)?;
    Ok((StatusCode::CREATED, Json(json!({ "id": minted.id, "key": minted.key, "scopes": scopes }))))
}

/// `GET /v1/admin/accounts/{id}/keys`.
pub(super) async fn keys(
    State(gateway): State<Gateway>,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    gateway.live.get().admin.check(&headers)?;
    let keys = gateway.db.account_keys(&account, PAGE).await.map_err(store_failed)?;
    let keys = keys.iter().map(|key| {
        json!({
            "id": key.id,
            "name": key.name,
            "scopes": key.scopes.split(',').collect::<Vec<_>>(),
            "expires": key.expires.map(rfc3339),
            "revoked": key.revoked.map(rfc3339),
        })
    });
    Ok(Json(json!({ "keys": keys.collect::<Vec<_>>() })))
}

/// `DELETE /v1/admin/keys/{id}`: revokes a key.
pub(super) async fn revoke_key(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    gateway.live.get().admin.check(&headers)?;
    let revoked = gateway.db.revoke_key(&id, gateway.clock.now()).await.map_err(store_failed)?;
    gateway.notices.tell(Notice::KeyChanged { id: id.clone() });
    gateway.keys.forget(&id);
    if revoked {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("unknown_key", format!("there is no valid key {id}")))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewInvite {
    /// Who runs the nodes and is paid.
    operator: String,
    /// How many nodes may be enrolled with it.
    #[serde(default = "one")]
    nodes: u32,
    /// For how many hours it is good.
    #[serde(default = "week_hours")]
    hours: u32,
}

fn one() -> u32 {
    1
}

fn week_hours() -> u32 {
    7 * 24
}

/// `POST /v1/admin/invites`: leave to enrol nodes.
pub(super) async fn create_invite(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Json(wanted): Json<NewInvite>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    gateway.live.get().admin.check(&headers)?;
    let invite = format!("inv_{}", data_encoding::HEXLOWER.encode(&gateway.dice.bytes::<24>()));
    let now = gateway.clock.now();
    let expires = now + std::time::Duration::from_hours(u64::from(wanted.hours));
    let stored =
        gateway.db.create_invite(&auth::hash(&invite), &wanted.operator, wanted.nodes, now, expires).await;
    stored.map_err(store_failed)?;
    Ok((StatusCode::CREATED, Json(json!({ "invite": invite, "expires": rfc3339(expires) }))))
}

/// `GET /v1/admin/events`: what was decided lately, newest first.
pub(super) async fn events(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    gateway.live.get().admin.check(&headers)?;
    let events = gateway.db.recent_events(PAGE).await.map_err(store_failed)?;
    let events = events.iter().map(|event| {
        json!({
            "at": rfc3339(event.at),
            "kind": event.kind,
            "node": event.node,
            "segment": event.segment,
            "details": event.details,
        })
    });
    Ok(Json(json!({ "events": events.collect::<Vec<_>>() })))
}

fn unknown_account(id: &str) -> ApiError {
    ApiError::not_found("unknown_account", format!("there is no account {id}"))
}
