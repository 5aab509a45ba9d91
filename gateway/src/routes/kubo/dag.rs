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
    args::Args,
    read::{Asked, BYTES, find, find_data, sent},
};
use crate::{
    app::Gateway,
    auth::Scope,
    intake::{Imported, Intake, Root},
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
    if args.flag("pin-roots")? == Some(false) {
        return Err(RpcError::argument("pin-roots=false is not supported: what is not pinned is not kept"));
    }
    // The blocks have their names already: a profile decides nothing.
    let mut intake = Intake::begin(&gateway, &account, Profile::UNIXFS_V1_2025).await?;
    let Imported { roots, blocks, bytes } = intake.cars(request).await?;
    let (names, roots): (Vec<Cid>, Vec<Result<Root, UploadError>>) = roots.into_iter().unzip();
    let complete = roots.iter().filter_map(|root| root.as_ref().ok().cloned());
    let pins: Vec<_> = complete.map(|root| root.pin(&account, "", None)).collect();
    let outcomes = if pins.is_empty() { Vec::new() } else { intake.finish(pins).await? };
    let mut outcomes = outcomes.into_iter();
    let mut failures = Vec::new();
    for root in roots {
        let outcome = match root {
            Ok(_) => outcomes.next().unwrap_or(Err(UploadError::TryAgain)).map(drop),
            Err(error) => Err(error),
        };
        failures.push(outcome.err());
    }
    shown(&args, &names, &failures, (blocks, bytes))
}

/// A line for each root, with why it was not pinned; an error when that is so of all of them.
fn shown(
    args: &Args,
    names: &[Cid],
    failures: &[Option<UploadError>],
    (blocks, bytes): (u64, u64),
) -> Result<Response, RpcError> {
    let failed = failures.iter().flatten().count();
    if failed == names.len()
        && let Some(error) = failures.iter().flatten().next()
    {
        return Err(error.clone().into());
    }
    let silent = args.flag("silent")?.unwrap_or(false);
    let mut shown: Vec<Value> = Vec::new();
    for (cid, failure) in names.iter().zip(failures).filter(|_| !silent) {
        let message = failure.as_ref().map_or_else(String::new, ToString::to_string);
        let cid = json!({ "/": cid.as_written().to_string() });
        shown.push(json!({ "Root": { "Cid": cid, "PinErrorMsg": message } }));
    }
    if args.flag("stats")?.unwrap_or(false) {
        shown.push(json!({ "Stats": { "BlockCount": blocks, "BlockBytesCount": bytes } }));
    }
    if failed > 0 {
        let count = names.len();
        let error = RpcError::failed(format!("unable to pin all roots: {failed} out of {count} failed"));
        shown.push(error.json());
    }
    Ok(lines(&shown))
}
