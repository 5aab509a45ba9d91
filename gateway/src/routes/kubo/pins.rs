//! Pins of the account, by their roots.

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use content::{Cid, unixfs::profile::Profile};
use serde_json::{Map, Value, json};
use store::PinCursor;

use super::{
    answer::{RpcError, line, lines, lines_as_they_come},
    args::{Args, target},
    read::Asked,
};
use crate::{
    app::Gateway,
    auth::{Scope, permits},
    intake::Intake,
    upload::UploadError,
};

/// Pins read from the database at once.
pub(super) const PAGE: u32 = 1_000;
/// Pins in one piece of JSON, at most: a longer list comes in lines.
const LISTED_MAX: usize = 100_000;

/// Which pins are listed.
struct Wanted {
    account: String,
    /// Those of which the name has this in it.
    name: String,
    /// Whether names are shown.
    names: bool,
}

impl Wanted {
    /// A pin as it is shown.
    fn shown(&self, cid: &Cid, name: String) -> (String, Value) {
        let name = if self.names { name } else { String::new() };
        (cid.as_written().to_string(), json!({ "Type": "recursive", "Name": name }))
    }

    /// The pins on the next page, and where the one after it begins.
    async fn page(&self, gateway: &Gateway, cursor: Option<&PinCursor>) -> Result<Page, RpcError> {
        let page = gateway.db.pins(&self.account, cursor, PAGE).await?;
        let fits = page.pins.into_iter().filter(|pin| pin.name.contains(&self.name));
        Ok((fits.map(|pin| self.shown(&pin.cid, pin.name)).collect(), page.next))
    }
}

type Page = (Vec<(String, Value)>, Option<PinCursor>);

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
    let stream = args.flag("stream")?.unwrap_or(false);
    let name = args.get("name").unwrap_or_default().to_string();
    let names = args.flag("names")?.unwrap_or(!name.is_empty());
    let wanted = Wanted { account, name, names };
    let mut shown: Vec<(String, Value)> = Vec::new();
    let asked: Vec<&str> = args.all("arg").collect();
    for arg in &asked {
        let cid = target(&gateway, arg).await?;
        let pin = gateway.db.pin(&wanted.account, &cid).await?.filter(|_| kinds);
        let pin = pin.ok_or_else(|| RpcError::not_found(format!("path {arg:?} is not pinned")))?;
        shown.push(wanted.shown(&cid, pin.name));
    }
    if !asked.is_empty() || !kinds {
        let in_lines = |shown: Vec<_>| lines(&shown.into_iter().map(as_line).collect::<Vec<_>>());
        return Ok(if stream { in_lines(shown) } else { as_one(shown) });
    }
    if stream {
        return in_lines(gateway, wanted).await;
    }
    let mut cursor = None;
    loop {
        let (page, next) = wanted.page(&gateway, cursor.as_ref()).await?;
        shown.extend(page);
        if shown.len() > LISTED_MAX {
            return Err(RpcError::argument(format!(
                "there are more than {LISTED_MAX} pins: ask for stream=true"
            )));
        }
        if next.is_none() {
            return Ok(as_one(shown));
        }
        cursor = next;
    }
}

/// All pins, while they are read.
async fn in_lines(gateway: Gateway, wanted: Wanted) -> Result<Response, RpcError> {
    lines_as_they_come(async move |lines| {
        let mut cursor = None;
        loop {
            let (page, next) = wanted.page(&gateway, cursor.as_ref()).await?;
            for pin in page {
                lines.send(as_line(pin)).await;
            }
            cursor = next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    })
    .await
}

fn as_line((cid, pin): (String, Value)) -> Value {
    json!({ "Cid": cid, "Type": pin["Type"], "Name": pin["Name"] })
}

fn as_one(pins: Vec<(String, Value)>) -> Response {
    line(&json!({ "Keys": Value::Object(pins.into_iter().collect::<Map<_, _>>()) }))
}

/// `pin/add`: pins what is stored here already, pinned by others or held. Nothing is looked for elsewhere.
pub(super) async fn add(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    if args.flag("recursive")?.or(args.flag("r")?) == Some(false) {
        return Err(RpcError::argument("recursive=false is not supported: all pins are recursive here"));
    }
    args.required()?;
    let name = args.get("name").unwrap_or_default();
    let (mut pinned, mut blocks, mut bytes) = (Vec::new(), 0, 0);
    for arg in args.all("arg") {
        let cid = target(&gateway, arg).await.map_err(RpcError::not_stored)?;
        let added = pin_stored(&gateway, &account, cid.clone(), name).await?;
        (blocks, bytes) = (blocks + added.0, bytes + added.1);
        pinned.push(cid.as_written().to_string());
    }
    let mut shown = Vec::new();
    if args.flag("progress")?.unwrap_or(false) {
        shown.push(json!({ "Progress": blocks, "Bytes": bytes }));
    }
    shown.push(json!({ "Pins": pinned }));
    Ok(lines(&shown))
}

/// `pin/update`: pins another root, and then takes the pin of the old one away.
pub(super) async fn update(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let key = gateway.keys.api_key(&headers, Scope::Write).await?;
    let unpin = args.flag("unpin")?.unwrap_or(true);
    if unpin {
        permits(&key, Scope::Delete)?;
    }
    let account = key.account;
    let mut named = args.all("arg");
    let (Some(from), Some(to)) = (named.next(), named.next()) else {
        return Err(RpcError::argument("two arguments are required: the old root and the new one"));
    };
    let (from, to) =
        (target(&gateway, from).await?, target(&gateway, to).await.map_err(RpcError::not_stored)?);
    let old = gateway.db.pin(&account, &from).await?;
    let old = old.ok_or_else(|| RpcError::not_found(format!("{from}: not pinned or pinned indirectly")))?;
    pin_stored(&gateway, &account, to.clone(), &old.name).await?;
    if unpin && from != to {
        gateway.unpin(&account, &from).await?;
    }
    Ok(line(&json!({ "Pins": [from.as_written().to_string(), to.as_written().to_string()] })))
}

/// Pins a root of which everything is stored here; says how many blocks and bytes that is.
async fn pin_stored(gateway: &Gateway, account: &str, cid: Cid, name: &str) -> Result<(u64, u64), RpcError> {
    // There is nothing to cut: the profile decides nothing.
    let mut intake = Intake::begin(gateway, account, Profile::UNIXFS_V1_2025).await?;
    let (root, blocks) = match intake.stored(cid).await {
        Err(error @ UploadError::IncompleteDag(_)) => return Err(RpcError::not_stored(error.into())),
        found => found?,
    };
    let bytes = root.target.dag_size_bytes;
    for outcome in intake.finish(vec![root.pin(account, name, None)]).await? {
        outcome?;
    }
    Ok((blocks, bytes))
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
        let cid = target(&gateway, arg).await?;
        if !gateway.unpin(&account, &cid).await? {
            return Err(RpcError::not_found(format!("{arg}: not pinned or pinned indirectly")));
        }
        removed.push(cid.as_written().to_string());
    }
    Ok(line(&json!({ "Pins": removed })))
}
