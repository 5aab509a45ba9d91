//! Pins of the account, by their roots.

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    answer::{RpcError, line, lines},
    args::{Args, content_path},
};
use crate::{app::Gateway, auth::Scope};

/// Pins read from the database at once.
const PAGE: u32 = 1_000;
/// Pins in one answer, at most: a longer list is for the other APIs, which have pages.
const LISTED_MAX: usize = 100_000;

type Asked = Query<Vec<(String, String)>>;

/// `pin/ls`: all pins are recursive here.
pub(super) async fn list(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    let kinds = match args.get("type").unwrap_or("all") {
        "all" | "recursive" => true,
        "direct" | "indirect" => false,
        other => return Err(RpcError::argument(format!("invalid type {other:?}"))),
    };
    let (names, stream) = (args.flag("names")?.unwrap_or(false), args.flag("stream")?.unwrap_or(false));
    let wanted = args.get("name").unwrap_or_default();
    let mut shown: Vec<(String, String)> = Vec::new();
    let asked: Vec<&str> = args.all("arg").collect();
    for arg in &asked {
        let (cid, _) = content_path(arg)?;
        let pin = gateway.db.pin(&account, &cid).await?.filter(|_| kinds);
        let pin = pin.ok_or_else(|| RpcError::not_found(format!("path {arg:?} is not pinned")))?;
        shown.push((arg.to_string(), pin.name));
    }
    let mut cursor = None;
    while asked.is_empty() && kinds {
        let page = gateway.db.pins(&account, cursor.as_ref(), PAGE).await?;
        let fits = page.pins.into_iter().filter(|pin| pin.name.contains(wanted));
        shown.extend(fits.map(|pin| (pin.cid.to_string(), pin.name)));
        if shown.len() > LISTED_MAX {
            return Err(RpcError::argument(format!(
                "there are more than {LISTED_MAX} pins: list them by pages"
            )));
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let named = |name: String| if names { name } else { String::new() };
    if stream {
        let pins = shown
            .into_iter()
            .map(|(cid, name)| json!({ "Cid": cid, "Type": "recursive", "Name": named(name) }));
        return Ok(lines(&pins.collect::<Vec<_>>()));
    }
    let keys =
        shown.into_iter().map(|(cid, name)| (cid, json!({ "Type": "recursive", "Name": named(name) })));
    Ok(line(&json!({ "Keys": Value::Object(keys.collect::<Map<_, _>>()) })))
}

/// `pin/rm`.
pub(super) async fn remove(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let account = gateway.keys.account(&headers, Scope::Delete).await?;
    args.required()?;
    let mut removed = Vec::new();
    for arg in args.all("arg") {
        let (cid, _) = content_path(arg)?;
        let due = gateway.clock.now() + gateway.config.uploads.orphan_delay;
        if !gateway.db.unpin(&account, &cid, due).await? {
            return Err(RpcError::not_found(format!("{arg}: not pinned or pinned indirectly")));
        }
        gateway.known_roots.invalidate(&cid);
        removed.push(cid.as_written().to_string());
    }
    Ok(line(&json!({ "Pins": removed })))
}
