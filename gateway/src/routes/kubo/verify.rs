//! `pin/verify`: whether what is pinned can be read.

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use content::Cid;
use serde_json::{Value, json};

use super::{
    answer::{LineSender, RpcError, lines_as_they_come},
    args::Args,
    pins::PAGE,
    read::Asked,
};
use crate::{app::Gateway, auth::Scope, routes::health::health_of};

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
    lines_as_they_come(async move |lines| verify_all(&gateway, &account, (verbose, quiet), &lines).await)
        .await
}

async fn verify_all(
    gateway: &Gateway,
    account: &str,
    (verbose, quiet): (bool, bool),
    lines: &LineSender,
) -> Result<(), RpcError> {
    let mut cursor = None;
    loop {
        let page = gateway.db.pins(account, cursor.as_ref(), PAGE).await?;
        for pin in page.pins {
            let Some(why) = why_unreadable(gateway, &pin.cid).await? else {
                if verbose {
                    let line = json!({ "Cid": pin.cid.as_written().to_string(), "Ok": true });
                    lines.send(line).await;
                }
                continue;
            };
            let cid = pin.cid.as_written().to_string();
            let bad: Vec<Value> = why.into_iter().map(|why| json!({ "Cid": cid, "Err": why })).collect();
            let bad = if quiet { Vec::new() } else { bad };
            lines.send(json!({ "Cid": cid, "Ok": false, "BadNodes": bad })).await;
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
