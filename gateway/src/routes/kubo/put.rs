//! Blocks that are made elsewhere and stored as they are: `block/put`, `dag/put`.

use axum::{
    extract::{Query, Request, State},
    response::Response,
};
use bytes::Bytes;
use content::{Block, Cid, Codec, HashFn, unixfs::profile::Profile};
use serde_json::json;

use super::{
    answer::{RpcError, lines},
    args::Args,
    read::Asked,
};
use crate::{
    app::Gateway,
    auth::Scope,
    intake::{Intake, Put},
};

/// How blocks are named.
#[derive(Clone, Copy, Debug)]
struct Naming {
    codec: Codec,
    hash_fn: HashFn,
    is_v0: bool,
}

impl Naming {
    fn name(self, bytes: Bytes) -> Block {
        let block = Block::of(self.codec, self.hash_fn, bytes);
        // The bare multihash is how version 0 is written.
        let old = self.is_v0.then(|| block.cid.multihash_base58().parse().ok()).flatten();
        Block { cid: old.unwrap_or(block.cid), bytes: block.bytes }
    }
}

/// `block/put`: each part of the form is a block. What is not pinned is held for a while.
pub(super) async fn block_put(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    request: Request,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let hash_fn = hash_fn(args.get("mhtype"))?;
    let length = args.get("mhlen").unwrap_or("-1");
    if length != "-1" && length != Cid::of(Codec::Raw, hash_fn, &[]).digest().len().to_string() {
        return Err(RpcError::argument(format!("mhlen={length}: digests are not cut short here")));
    }
    let format = args.get("format").or(args.get("f")).filter(|format| !format.is_empty());
    let (codec, is_v0) = match format {
        // What `format` meant before there was `cid-codec`.
        Some("v0") => (Codec::DagPb, true),
        Some("protobuf") => (Codec::DagPb, false),
        Some("cbor") => (Codec::DagCbor, false),
        named => (codec(named.or(args.get("cid-codec")).unwrap_or("raw"))?, false),
    };
    if is_v0 && hash_fn != HashFn::Sha2_256 {
        return Err(RpcError::argument("format=v0 goes with sha2-256 only"));
    }
    let blocks = put(&gateway, &args, request, Naming { codec, hash_fn, is_v0 }).await?;
    let shown = blocks.iter().map(|(cid, size)| json!({ "Key": cid.as_written().to_string(), "Size": size }));
    Ok(lines(&shown.collect::<Vec<_>>()))
}

/// `dag/put`: the same for data that is encoded as it is to be stored; it is not translated.
pub(super) async fn dag_put(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    request: Request,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let sent = args.get("input-codec").unwrap_or("dag-json");
    let stored = args.get("store-codec").unwrap_or("dag-cbor");
    if sent != stored {
        let message =
            format!("{sent} is not translated to {stored} here: input-codec and store-codec must be one");
        return Err(RpcError::argument(message));
    }
    let naming = Naming { codec: codec(stored)?, hash_fn: hash_fn(args.get("hash"))?, is_v0: false };
    let blocks = put(&gateway, &args, request, naming).await?;
    let shown = blocks.iter().map(|(cid, _)| json!({ "Cid": { "/": cid.as_written().to_string() } }));
    Ok(lines(&shown.collect::<Vec<_>>()))
}

async fn put(
    gateway: &Gateway,
    args: &Args,
    request: Request,
    naming: Naming,
) -> Result<Vec<(Cid, usize)>, RpcError> {
    let account = gateway.keys.account(request.headers(), Scope::Write).await?;
    let pin = args.flag("pin")?.unwrap_or(false);
    // The blocks are named one by one: the profile decides nothing.
    let mut intake = Intake::begin(gateway, &account, Profile::UNIXFS_V1_2025).await?;
    let Put { blocks, roots } = intake.blocks(request, |bytes| naming.name(bytes), pin).await?;
    let until = gateway.hold_until();
    let pins = roots.into_iter().map(|root| root.pin(&account, "", None));
    let pins: Vec<_> = pins.map(|claim| if pin { claim } else { claim.held(until) }).collect();
    if !pins.is_empty() {
        for outcome in intake.finish(pins).await? {
            outcome?;
        }
    }
    Ok(blocks)
}

fn hash_fn(name: Option<&str>) -> Result<HashFn, RpcError> {
    let Some(name) = name else { return Ok(HashFn::Sha2_256) };
    name.parse().map_err(|_| RpcError::argument(format!("unrecognized hash function: {name:?}")))
}

fn codec(name: &str) -> Result<Codec, RpcError> {
    let known = [Codec::Raw, Codec::DagPb, Codec::DagCbor, Codec::DagJson, Codec::Cbor, Codec::Json];
    let found = known.into_iter().find(|codec| codec.to_string() == name);
    found.ok_or_else(|| RpcError::argument(format!("unknown codec {name:?}")))
}
