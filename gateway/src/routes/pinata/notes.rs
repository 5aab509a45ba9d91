//! What clients say of their files: names, keyvalues, types. Checked here, stored elsewhere.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use protocol::time::UnixMillis;
use serde_json::{Map, Value};
use service::http::error::ApiError;
use store::{Described, PinChange};

use crate::app::Gateway;

/// Characters of a key, at most.
const KEY_MAX: usize = 255;
/// Characters of a value, at most.
const VALUE_MAX: usize = 1_024;
/// Length of a media type, at most (RFC 6838).
const MIME_TYPE_MAX: usize = 127;
/// What nobody can tell anything about.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Entries of metadata; `None` takes one away.
pub(super) type Keyvalues = BTreeMap<String, Option<String>>;

/// Reads keyvalues. They are kept as text: numbers and booleans as they are written in JSON.
pub(super) fn keyvalues(gateway: &Gateway, given: &Map<String, Value>) -> Result<Keyvalues, ApiError> {
    let max = gateway.config.pinata.keyvalues_max;
    let refuse = |details: String| Err(ApiError::bad_request("bad_keyvalues", details));
    // Those that are taken away too: nobody has more of them.
    if given.len() > max {
        return Err(too_many(max));
    }
    let mut entries = Keyvalues::new();
    for (key, value) in given {
        if key.is_empty() || key.chars().count() > KEY_MAX {
            return refuse(format!("a key must have 1 to {KEY_MAX} characters"));
        }
        let value = match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Array(_) | Value::Object(_) => {
                return refuse(format!("the value of {key:?} must be a text, a number or a boolean"));
            }
        };
        if value.as_ref().is_some_and(|value| value.chars().count() > VALUE_MAX) {
            return refuse(format!("the value of {key:?} must have {VALUE_MAX} characters at most"));
        }
        entries.insert(key.clone(), value);
    }
    Ok(entries)
}

fn too_many(max: usize) -> ApiError {
    ApiError::bad_request("too_many_keyvalues", format!("a file may have {max} keyvalues at most"))
}

/// A time in seconds that is still to come.
pub(super) fn expires(gateway: &Gateway, seconds: i64) -> Result<UnixMillis, ApiError> {
    let expires = UnixMillis(seconds.saturating_mul(1_000));
    if expires <= gateway.clock.now() {
        return Err(ApiError::bad_request("bad_expires", "expires_at: that time is over already"));
    }
    Ok(expires)
}

/// The media type of a file: as its part of the form has it, else by its name.
pub(super) fn mime_type(part: Option<&str>, name: &str) -> String {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_type = |text: &String| {
        let fits = |c: char| c.is_ascii_graphic() && c != '"' && c != '<' && c != '>';
        text.len() <= MIME_TYPE_MAX && text.contains('/') && text.chars().all(fits)
    };
    let said = part.map(essence).filter(is_type).filter(|said| said != UNKNOWN_TYPE);
    said.unwrap_or_else(|| mime_guess::from_path(name).first_or_octet_stream().essence_str().to_string())
}

/// Refuses a group that the account does not have.
pub(super) async fn check_group(gateway: &Gateway, account: &str, group: &str) -> Result<(), ApiError> {
    let found = gateway.db.group(account, group).await.map_err(super::refusals::store_failed)?;
    found.map(drop).ok_or_else(|| unknown_group(group))
}

pub(super) fn unknown_group(group: &str) -> ApiError {
    ApiError::not_found("unknown_group", format!("this account has no group {group}"))
}

pub(super) fn unknown_file(id: &str) -> ApiError {
    ApiError::not_found("unknown_file", format!("this account has no file {id}"))
}

/// Says something of a pin.
pub(super) async fn describe(
    gateway: &Gateway,
    account: &str,
    id: &str,
    change: &PinChange,
) -> Result<(), ApiError> {
    if *change == PinChange::default() {
        return Ok(());
    }
    let max = gateway.config.pinata.keyvalues_max;
    let described = gateway.db.describe_pin(account, id, change, max).await;
    match described.map_err(super::refusals::store_failed)? {
        Described::Done => Ok(()),
        Described::NoPin => Err(unknown_file(id)),
        Described::NoGroup => {
            let group = change.group.as_ref().and_then(Option::as_deref).unwrap_or_default();
            Err(unknown_group(group))
        }
        Described::TooMany => Err(too_many(max)),
    }
}

/// A switch or number that older clients send as text.
pub(super) fn bad(what: &str, value: impl std::fmt::Display) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_parameter", format!("{what}: {value} is not understood"))
}
