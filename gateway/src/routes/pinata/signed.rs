//! Signed URLs: whoever has one may upload as it says, until it ends, under the key of whoever asked for it.
//!
//! Nothing is stored. What the URL allows is in it, under a MAC whose key every gateway derives from the network's. With its
//! API key it ends too: a key that was revoked, or may not upload any more, takes all its URLs with it.

use std::time::Duration;

use axum::{
    Json,
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::http::error::ApiError;

use super::{
    files::{EXPECTED, answer, refuse_unsupported},
    no_private_files,
    notes::{bad, check_group, keyvalues},
    parse,
    pin_list::{Asked, get},
    public_only,
    take_in::{Wanted, form, pin_form, type_of},
};
use crate::{
    app::Gateway,
    auth::{AuthError, Scope},
    intake::{Expected, pin_name},
    upload::{UploadError, new_id},
};

/// What the MAC's key is derived for.
const CONTEXT: &str = "pinstripe 2026-11 signed upload urls";
/// Bytes of a grant, at most: it has to fit into a URL.
const GRANT_MAX: usize = 4 << 10;
/// Media types that a URL may name, at most.
const TYPES_MAX: usize = 50;
/// How far clients' clocks may be ahead.
const AHEAD_MAX: Duration = Duration::from_mins(10);
/// Bytes of a form that are no file, as far as a length that is announced is concerned.
const FORM_BYTES: u64 = 1 << 20;

/// Body of [`sign`].
#[derive(Debug, Deserialize)]
struct Asks {
    url: Option<Value>,
    date: Option<i64>,
    expires: Option<i64>,
    network: Option<String>,
    group_id: Option<String>,
    filename: Option<String>,
    keyvalues: Option<Map<String, Value>>,
    max_file_size: Option<u64>,
    allow_mime_types: Option<Vec<String>>,
}

/// What a URL allows.
#[derive(Debug, Serialize, Deserialize)]
struct Grant {
    /// Id of the API key.
    key: String,
    /// Until when, in milliseconds.
    until: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    keyvalues: Map<String, Value>,
    /// Bytes, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Media types, with `*` at their ends for all of a kind; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
}

/// `POST /v3/files/sign`.
pub(super) async fn sign(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let key = gateway.keys.api_key(&headers, Scope::Write).await?;
    let asks: Asks = parse("the body", &body)?;
    // A link to a private file is asked for on the same path.
    if asks.url.is_some() {
        return Err(no_private_files());
    }
    public_only(asks.network.as_deref().unwrap_or("private"))?;
    if let Some(group) = &asks.group_id {
        check_group(&gateway, &key.account, group).await?;
    }
    let given = asks.keyvalues.unwrap_or_default();
    keyvalues(&gateway, &given)?;
    let types = asks.allow_mime_types.unwrap_or_default();
    if types.len() > TYPES_MAX {
        return Err(bad("allow_mime_types", format!("a list of {}", types.len())));
    }
    let grant = Grant {
        key: key.id,
        until: until(&gateway, asks.date, asks.expires)?.0,
        name: asks.filename.map(|name| pin_name(&name)).filter(|name| !name.is_empty()),
        group: asks.group_id,
        keyvalues: given,
        size: asks.max_file_size,
        types: types.into_iter().map(|kind| kind.trim().to_ascii_lowercase()).collect(),
    };
    let grant = serde_json::to_vec(&grant).map_err(|error| ApiError::internal(&error.into()))?;
    if grant.len() > GRANT_MAX {
        return Err(ApiError::bad_request("too_long", "name, keyvalues and types are too long for a URL"));
    }
    let signature = BASE64URL_NOPAD.encode(mac(&gateway, &grant).as_bytes());
    let base = gateway.config.public_url.trim_end_matches('/');
    let id = new_id(&gateway.clock, &gateway.dice);
    let grant = BASE64URL_NOPAD.encode(&grant);
    Ok(Json(json!({ "data": format!("{base}/v3/files/{id}?X-Grant={grant}&X-Signature={signature}") })))
}

/// When a URL ends that was asked for on `date` and is to last `expires`, both in seconds.
fn until(gateway: &Gateway, date: Option<i64>, expires: Option<i64>) -> Result<UnixMillis, ApiError> {
    let now = gateway.clock.now();
    let max = gateway.config.pinata.signed_url_lifetime;
    let expires = expires.ok_or_else(|| bad("expires", "nothing"))?;
    let lasts = u64::try_from(expires).map(Duration::from_secs).unwrap_or_default();
    if lasts.is_zero() || lasts > max {
        let details = format!("expires: must be between 1 and {} seconds", max.as_secs());
        return Err(ApiError::bad_request("bad_expires", details));
    }
    let date = date.map_or(now, |seconds| UnixMillis(seconds.saturating_mul(1_000)));
    if date > now + AHEAD_MAX {
        return Err(ApiError::bad_request("bad_date", "date: that time is still to come"));
    }
    let until = date + lasts;
    if until <= now {
        return Err(ApiError::bad_request("bad_expires", "that time is over already"));
    }
    Ok(until)
}

fn mac(gateway: &Gateway, grant: &[u8]) -> blake3::Hash {
    let key = blake3::derive_key(CONTEXT, &gateway.signer.key().to_bytes());
    blake3::keyed_hash(&key, grant)
}

/// What a URL allows, if it is ours and not over.
fn open(gateway: &Gateway, asked: &[(String, String)]) -> Result<Grant, ApiError> {
    let refused =
        || ApiError::new(StatusCode::FORBIDDEN, "bad_signature", "this is no URL that was signed here");
    let part = |name: &str| BASE64URL_NOPAD.decode(get(asked, name)?.as_bytes()).ok();
    let (grant, signature) = part("X-Grant").zip(part("X-Signature")).ok_or_else(refused)?;
    let signature = blake3::Hash::from_slice(&signature).map_err(|_| refused())?;
    // Hashes are compared in constant time.
    if mac(gateway, &grant) != signature {
        return Err(refused());
    }
    let grant: Grant = serde_json::from_slice(&grant).map_err(|_| refused())?;
    if gateway.clock.now() >= UnixMillis(grant.until) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "expired_url", "this URL is not good any more"));
    }
    Ok(grant)
}

/// `POST` or `PUT` to a signed URL. Names, groups and keyvalues in the form do not count, and no key is looked at: clients
/// send whatever they have.
pub(super) async fn upload(
    State(gateway): State<Gateway>,
    Query(asked): Asked,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let grant = open(&gateway, &asked)?;
    let key = gateway.keys.key_by_id(&grant.key, Scope::Write).await.map_err(|error| match error {
        AuthError::Unavailable | AuthError::TooMany(_) => error.into(),
        gone => ApiError::new(StatusCode::FORBIDDEN, "key_gone", format!("the key behind this URL: {gone}")),
    })?;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let (Some(size), Some(length)) = (grant.size, announced)
        && length > size.saturating_add(FORM_BYTES)
    {
        return Err(UploadError::BodyTooLarge(size).into());
    }
    let expected = Expected { size_max: grant.size, ..EXPECTED };
    let late = form(&gateway, &key.account, request, expected).await?;
    refuse_unsupported(&late.fields)?;
    if let Some(network) = late.fields.get("network") {
        public_only(network)?;
    }
    let kind = type_of(&late);
    if !allows(&grant.types, &kind) {
        let details = format!("this URL does not allow files of the type {kind}");
        return Err(ApiError::bad_request("type_not_allowed", details));
    }
    let wanted = Wanted { name: grant.name, group: grant.group, ..Wanted::default() };
    let wanted = wanted.keyvalues(&gateway, &grant.keyvalues)?;
    Ok(answer(&pin_form(&gateway, &key.account, late, wanted).await?))
}

/// Whether one of the types covers this one. Directories are only covered by their own name.
fn allows(types: &[String], kind: &str) -> bool {
    let covers = |allowed: &String| match allowed.strip_suffix('*') {
        Some(start) => kind != "directory" && kind.starts_with(start),
        None => allowed == kind,
    };
    types.is_empty() || types.iter().any(covers)
}
