//! `add`: files and directories become pins, under the parameters that Kubo has for it.

use axum::{
    extract::{Query, Request, State},
    response::Response,
};
use content::{
    HashFn,
    unixfs::profile::{CidVersion, Layout, Leaves, Parameters, Profile},
};
use serde_json::json;
use store::Claim;

use super::{
    answer::{RpcError, lines},
    args::Args,
};
use crate::{
    app::Gateway,
    auth::Scope,
    intake::{Added, Intake},
    upload::{PinRequest, pin_name},
};

/// How many bytes `inline` means when it does not say.
const INLINE_DEFAULT: usize = 32;

/// `add`. The answer comes when everything is durable; `progress` is not reported meanwhile. `only-hash` takes the same
/// way and is given up at the end: some pieces may be stored until they are collected.
pub(super) async fn add(
    State(gateway): State<Gateway>,
    Query(args): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let account = gateway.keys.account(request.headers(), Scope::Write).await?;
    let profile = profile(&args)?;
    refuse_unsupported(&args)?;
    let wrap = args.flag("wrap-with-directory")?.or(args.flag("w")?).unwrap_or(false);
    let mut intake = Intake::begin(&gateway, &account, profile).await?;
    let Added { entries, roots } = intake.several(request, wrap).await?;
    let name = args.get("pin-name").unwrap_or_default();
    let pins: Vec<PinRequest> = roots
        .into_iter()
        .map(|root| PinRequest {
            waiting: None,
            claim: Claim::Pin,
            beside: None,
            account: account.clone(),
            name: pin_name(name),
            root: root.target.cid,
            size_bytes: root.size_bytes,
            dag_size_bytes: root.target.dag_size_bytes,
            expires: None,
        })
        .collect();
    if !args.flag("only-hash")?.unwrap_or(false) {
        let roots: Vec<_> = pins.iter().map(|pin| pin.root.clone()).collect();
        for outcome in intake.finish(pins).await? {
            outcome?;
        }
        for root in &roots {
            gateway.known_roots.invalidate(root);
        }
    }
    let shown = entries.into_iter().map(|(name, target)| {
        let (hash, size) = (target.cid.as_written().to_string(), target.dag_size_bytes.to_string());
        json!({ "Name": name, "Hash": hash, "Size": size })
    });
    Ok(lines(&shown.collect::<Vec<_>>()))
}

/// The import profile that the arguments ask for. What they do not say is as Kubo has it.
fn profile(args: &Args) -> Result<Profile, RpcError> {
    let hash = args.get("hash");
    let hash_fn: HashFn = match hash {
        None => HashFn::Sha2_256,
        Some(name) => {
            name.parse().map_err(|_| RpcError::argument(format!("unrecognized hash function: {name:?}")))?
        }
    };
    let version = match args.number("cid-version")? {
        Some(0) => CidVersion::V0,
        Some(1) => CidVersion::V1,
        Some(other) => return Err(RpcError::argument(format!("unknown CID version {other}"))),
        // Only version 1 has names for other hash functions.
        None if hash_fn != HashFn::Sha2_256 => CidVersion::V1,
        None => CidVersion::V0,
    };
    let base = match version {
        CidVersion::V0 => Profile::UNIXFS_V0_2015,
        CidVersion::V1 => Profile::KUBO_V1,
    }
    .parameters();
    let leaves = match args.flag("raw-leaves")? {
        None => base.leaves,
        Some(true) => Leaves::Raw,
        Some(false) => Leaves::DagPb,
    };
    let layout = if args.flag("trickle")?.or(args.flag("t")?).unwrap_or(false) {
        Layout::Trickle
    } else {
        Layout::Balanced
    };
    let inline_max = if args.flag("inline")?.unwrap_or(false) {
        Some(size(args, "inline-limit")?.unwrap_or(INLINE_DEFAULT))
    } else {
        None
    };
    let chunk_bytes = match args.get("chunker").or(args.get("s")) {
        None => base.chunk_bytes,
        Some(text) => chunk_bytes(text)?,
    };
    let links_max = size(args, "max-file-links")?.unwrap_or(base.links_max);
    let parameters = Parameters {
        hash_fn,
        cid_version: version,
        leaves,
        layout,
        inline_max,
        chunk_bytes,
        links_max,
        ..base
    };
    Profile::new(parameters).map_err(RpcError::argument)
}

fn size(args: &Args, name: &str) -> Result<Option<usize>, RpcError> {
    Ok(args.number(name)?.map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
}

/// `size-N`, or `default`.
fn chunk_bytes(text: &str) -> Result<usize, RpcError> {
    if text == "default" {
        return Ok(Profile::KUBO_V1.parameters().chunk_bytes);
    }
    let number = text.strip_prefix("size-").and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        RpcError::argument(format!("chunker {text:?} is not size-N, the only kind there is here"))
    })
}

/// Arguments that would change the outcome and cannot be heeded are refused, not passed over.
fn refuse_unsupported(args: &Args) -> Result<(), RpcError> {
    for name in ["nocopy", "fscache", "preserve-mode", "preserve-mtime"] {
        if args.flag(name)?.unwrap_or(false) {
            return Err(RpcError::argument(format!("{name} is not supported")));
        }
    }
    for name in ["to-files", "mode", "mtime", "max-directory-links", "max-hamt-fanout"] {
        if args.get(name).is_some_and(|value| !value.is_empty()) {
            return Err(RpcError::argument(format!("{name} is not supported")));
        }
    }
    if args.flag("pin")? == Some(false) {
        return Err(RpcError::argument("pin=false is not supported: what is not pinned is not kept"));
    }
    Ok(())
}
