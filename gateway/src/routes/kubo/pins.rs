//! Pins of the account, by their roots.

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use content::{Cid, unixfs::profile::Profile};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{
    answer::lines_as_they_come,
    answer::{RpcError, line, lines},
    args::{Args, target},
};
use crate::{app::Gateway, auth::Scope, intake::Intake, routes::health::health_of, upload::UploadError};

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
    let stream = args.flag("stream")?.unwrap_or(false);
    let wanted = args.get("name").unwrap_or_default();
    let names = args.flag("names")?.unwrap_or(!wanted.is_empty());
    let mut shown: Vec<(String, String)> = Vec::new();
    let asked: Vec<&str> = args.all("arg").collect();
    for arg in &asked {
        let cid = target(&gateway, arg).await?;
        let pin = gateway.db.pin(&account, &cid).await?.filter(|_| kinds);
        let pin = pin.ok_or_else(|| RpcError::not_found(format!("path {arg:?} is not pinned")))?;
        shown.push((cid.as_written().to_string(), pin.name));
    }
    let mut cursor = None;
    while asked.is_empty() && kinds {
        let page = gateway.db.pins(&account, cursor.as_ref(), PAGE).await?;
        let fits = page.pins.into_iter().filter(|pin| pin.name.contains(wanted));
        shown.extend(fits.map(|pin| (pin.cid.as_written().to_string(), pin.name)));
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
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    let unpin = args.flag("unpin")?.unwrap_or(true);
    if unpin {
        gateway.keys.account(&headers, Scope::Delete).await?;
    }
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
        remove_pin(&gateway, &account, &from).await?;
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

/// Removes a pin; false when there is none.
async fn remove_pin(gateway: &Gateway, account: &str, cid: &Cid) -> Result<bool, RpcError> {
    let due = gateway.clock.now() + gateway.config.uploads.orphan_delay;
    let removed = gateway.db.unpin(account, cid, due).await?;
    gateway.known_roots.invalidate(cid);
    Ok(removed)
}

/// `pin/verify`: which pins have lost so much that some of it cannot be read; with `verbose` the others too. Nothing is
/// read: it goes by what is known of the nodes that hold its pieces.
pub(super) async fn verify(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    let (verbose, quiet) = (args.flag("verbose")?.unwrap_or(false), args.flag("quiet")?.unwrap_or(false));
    if verbose && quiet {
        return Err(RpcError::argument("the --verbose and --quiet options can not be used at the same time"));
    }
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    let task = tokio::spawn(async move {
        let verified = verify_all(&gateway, &account, (verbose, quiet), &sender).await;
        if let Err(error) = verified {
            // Nobody waits for it any more.
            let _ = sender.send(Err(error)).await;
        }
    });
    lines_as_they_come(receiver, AbortOnDropHandle::new(task)).await
}

/// Lines that wait to be sent, at most.
const LINES_WAITING_MAX: usize = 64;

async fn verify_all(
    gateway: &Gateway,
    account: &str,
    (verbose, quiet): (bool, bool),
    lines: &mpsc::Sender<Result<Value, RpcError>>,
) -> Result<(), RpcError> {
    let mut cursor = None;
    loop {
        let page = gateway.db.pins(account, cursor.as_ref(), PAGE).await?;
        for pin in page.pins {
            let Some(why) = why_unreadable(gateway, &pin.cid).await? else {
                if verbose {
                    let line = json!({ "Cid": pin.cid.as_written().to_string(), "Ok": true });
                    let _ = lines.send(Ok(line)).await;
                }
                continue;
            };
            let cid = pin.cid.as_written().to_string();
            let bad: Vec<Value> = why.into_iter().map(|why| json!({ "Cid": cid, "Err": why })).collect();
            let bad = if quiet { Vec::new() } else { bad };
            let _ = lines.send(Ok(json!({ "Cid": cid, "Ok": false, "BadNodes": bad }))).await;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// What of a pin has too few pieces left.
async fn why_unreadable(gateway: &Gateway, root: &Cid) -> Result<Option<Vec<String>>, RpcError> {
    let health = health_of(gateway, root).await?;
    if health.status != "lost" {
        return Ok(None);
    }
    let lost = health.segments.iter().filter(|segment| segment.healthy < segment.needed);
    let mut why: Vec<String> = lost
        .map(|segment| {
            let (id, healthy, needed) = (segment.id, segment.healthy, segment.needed);
            format!("segment {id} has {healthy} of the {needed} pieces that it needs")
        })
        .collect();
    if why.is_empty() {
        why.push("a segment is recorded nowhere".into());
    }
    Ok(Some(why))
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
        if !remove_pin(&gateway, &account, &cid).await? {
            return Err(RpcError::not_found(format!("{arg}: not pinned or pinned indirectly")));
        }
        removed.push(cid.as_written().to_string());
    }
    Ok(line(&json!({ "Pins": removed })))
}
