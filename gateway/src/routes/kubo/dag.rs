//! `dag/...`: whole DAGs, in and out as CARs.

use axum::{
    extract::{Query, Request, State},
    http::HeaderMap,
    response::Response,
};
use bytes::Bytes;
use content::{Cid, ipld, unixfs::profile::Profile};
use futures_util::stream;
use retrieval::{ReadError, stream_car};
use serde_json::{Value, json};

use super::{
    answer::{RpcError, line, lines},
    args::{Args, target},
    read::{Asked, BYTES, find, find_data, sent},
};
use crate::{
    app::Gateway,
    auth::Scope,
    intake::{DagStat, Imported, Intake},
    routes::files::refuse_early,
    upload::UploadError,
};

/// `dag/export`: everything under a root, as a CAR.
pub(super) async fn export(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let root = find(&gateway, &headers, &Args(args)).await?;
    let car = stream_car(gateway.blocks.clone(), &root, gateway.answers.car_blocks_max);
    sent(&gateway, "application/vnd.ipld.car; version=1", car).await
}

/// `dag/get`: the data that a path leads to, as dag-json, or a whole block as it is.
pub(super) async fn get(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let (block, rest) = find_data(&gateway, &headers, &args).await?;
    let codec = args.get("output-codec").unwrap_or("dag-json");
    let bytes: Bytes = match ipld::dag_json(&block, &rest) {
        _ if rest.is_empty() && codec == block.cid.codec().to_string() => block.bytes,
        Some(text) if codec == "dag-json" => {
            text.map_err(|error| ReadError::BadData(block.cid.clone(), error))?.into()
        }
        _ => {
            let from = block.cid.codec();
            return Err(RpcError::argument(format!("{from} is not shown as {codec} here")));
        }
    };
    let content_type = if codec == "dag-json" { "application/vnd.ipld.dag-json" } else { BYTES };
    sent(&gateway, content_type, stream::iter([Ok(bytes)])).await
}

/// `dag/resolve`: the block that a path leads to, and what of the path lies within it.
pub(super) async fn resolve(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let (block, rest) = find_data(&gateway, &headers, &Args(args)).await?;
    Ok(line(&json!({ "Cid": { "/": block.cid.as_written().to_string() }, "RemPath": rest.join("/") })))
}

/// `resolve`: the same as a path.
pub(super) async fn resolve_path(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let (block, rest) = find_data(&gateway, &headers, &Args(args)).await?;
    let path = rest.iter().fold(format!("/ipfs/{}", block.cid.as_written()), |path, name| path + "/" + name);
    Ok(line(&json!({ "Path": path })))
}

/// `dag/import`: the roots of CARs become pins, those at least of which all blocks came or were here.
pub(super) async fn import(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    request: Request,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let account = gateway.keys.account(request.headers(), Scope::Write).await?;
    refuse_early(&gateway, &account, request.headers()).await?;
    let pin_roots = args.flag("pin-roots")?.unwrap_or(true);
    // The blocks have their names already: a profile decides nothing.
    let mut intake = Intake::begin(&gateway, &account, Profile::UNIXFS_V1_2025).await?;
    let Imported { roots, whole, blocks, bytes } = intake.cars(request, pin_roots).await?;
    let complete = roots.iter().filter_map(|(_, root)| root.as_ref().ok().cloned());
    let mut pins: Vec<_> = complete.map(|root| root.pin(&account, "", None)).collect();
    if pins.is_empty() {
        // Nothing is pinned; what came is kept for a while, so that what lacks may come another time.
        let until = gateway.hold_until();
        pins.extend(whole.map(|whole| whole.pin(&account, "", None).held(until)));
    }
    let outcomes = if pins.is_empty() { Vec::new() } else { intake.finish(pins).await? };
    let mut outcomes = outcomes.into_iter().map(|outcome| outcome.map(drop));
    let mut failures = Vec::new();
    for (name, root) in &roots {
        let outcome = match root {
            Ok(_) => outcomes.next().unwrap_or(Err(UploadError::TryAgain)),
            Err(error) => Err(error.clone()),
        };
        failures.push((name, outcome));
    }
    // A hold is of no root: when it fails nothing is kept.
    if let Some(Err(error)) = outcomes.next() {
        return Err(error.into());
    }
    shown(&args, &failures, (blocks, bytes))
}

/// A line for each root, with why it was not pinned, and an error at the end if that is so of any.
fn shown(
    args: &Args,
    roots: &[(&Cid, Result<(), UploadError>)],
    (blocks, bytes): (u64, u64),
) -> Result<Response, RpcError> {
    let failures = || roots.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
    let failed = failures().count();
    let refused = failures().find(|error| !matches!(error, UploadError::IncompleteDag(_)));
    if let Some(error) = refused.filter(|_| failed == roots.len()) {
        return Err(error.clone().into());
    }
    let silent = args.flag("silent")?.unwrap_or(false);
    let mut shown: Vec<Value> = Vec::new();
    for (cid, outcome) in roots.iter().filter(|_| !silent) {
        let message = outcome.as_ref().err().map_or_else(String::new, ToString::to_string);
        let cid = json!({ "/": cid.as_written().to_string() });
        shown.push(json!({ "Root": { "Cid": cid, "PinErrorMsg": message } }));
    }
    if args.flag("stats")?.unwrap_or(false) {
        shown.push(json!({ "Stats": { "BlockCount": blocks, "BlockBytesCount": bytes } }));
    }
    if failed > 0 {
        let count = roots.len();
        let error = RpcError::failed(format!("unable to pin all roots: {failed} out of {count} failed"));
        shown.push(error.json());
    }
    Ok(lines(&shown))
}

/// `dag/stat`: how much lies under some roots. Blocks are not read but for their links; lengths are those on record.
pub(super) async fn stat(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    args.required()?;
    let mut roots = Vec::new();
    for arg in args.all("arg") {
        roots.push(target(&gateway, arg).await?);
    }
    let mut intake = Intake::hash_only(&gateway, &account, Profile::UNIXFS_V1_2025)?;
    let DagStat { roots, unique_bytes, unique_blocks } = intake.stat(roots).await?;
    let all_bytes: u64 = roots.iter().map(|(_, bytes, _)| bytes).sum();
    let stats: Vec<Value> = roots
        .iter()
        .map(|(cid, bytes, blocks)| {
            json!({ "Cid": cid.as_written().to_string(), "Size": bytes, "NumBlocks": blocks })
        })
        .collect();
    let ratio = ratio(all_bytes, unique_bytes);
    Ok(line(&json!({
        "UniqueBlocks": unique_blocks, "TotalSize": unique_bytes, "SharedSize": all_bytes - unique_bytes,
        "Ratio": ratio, "DagStats": stats,
    })))
}

/// How many times as much the roots have as is stored of them.
#[expect(clippy::cast_precision_loss, reason = "it is shown to people, to a few digits")]
fn ratio(all_bytes: u64, unique_bytes: u64) -> f32 {
    if unique_bytes == 0 { 1.0 } else { all_bytes as f32 / unique_bytes as f32 }
}
