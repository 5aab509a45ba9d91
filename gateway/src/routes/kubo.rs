//! The RPC API of Kubo, as far as it is about content and pins, for the tools that speak it: POST only, arguments in the
//! query, answers in lines of JSON. Content and pins are those of all other ways.

mod add;
mod answer;
mod args;
mod dag;
mod get;
mod ls;
mod pins;
mod put;
mod read;
mod verify;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State},
    response::Response,
    routing::{MethodRouter, post},
};
use content::{Cid, Codec, cid::CidError};
use serde_json::json;

use self::answer::{RpcError, line};
use crate::app::Gateway;

/// All commands that there are.
pub(super) fn routes() -> Router<Gateway> {
    let uploads = [
        ("add", post(add::add)),
        ("block/put", post(put::block_put)),
        ("dag/import", post(dag::import)),
        ("dag/put", post(put::dag_put)),
    ];
    let others = [
        ("block/get", post(read::block_get)),
        ("block/stat", post(read::block_stat)),
        ("cat", post(read::cat)),
        ("dag/export", post(dag::export)),
        ("dag/get", post(dag::get)),
        ("dag/resolve", post(dag::resolve)),
        ("dag/stat", post(dag::stat)),
        ("get", post(get::get)),
        ("id", post(id)),
        ("ls", post(ls::ls)),
        ("pin/add", post(pins::add)),
        ("pin/ls", post(pins::list)),
        ("pin/rm", post(pins::remove)),
        ("pin/update", post(pins::update)),
        ("pin/verify", post(verify::verify)),
        ("resolve", post(dag::resolve_path)),
        ("version", post(version)),
        ("{*command}", post(unknown)),
    ];
    let add = |router: Router<Gateway>, (name, method): (&str, MethodRouter<Gateway>)| {
        router.route(&format!("/api/v0/{name}"), method)
    };
    // The limit of uploads is in the configuration and checked while they stream.
    let uploads = uploads.into_iter().fold(Router::new(), add).layer(DefaultBodyLimit::disable());
    others.into_iter().fold(uploads, add)
}

/// What Kubo has beyond content and pins.
const ELSEWHERE: &[(&str, &str)] = &[
    ("files", "there is no file system that changes here: add makes directories"),
    ("key", "there are no names that change here"),
    ("name", "there are no names that change here"),
    ("swarm", "there is no libp2p here"),
    ("bitswap", "there is no libp2p here"),
    ("bootstrap", "there is no libp2p here"),
    ("dht", "there is no libp2p here"),
    ("pubsub", "there is no libp2p here"),
    ("routing", "there is no libp2p here"),
    ("config", "the operator configures this service"),
    ("repo", "there is no repository of one machine here"),
    ("pin/remote", "this is a pinning service itself: see /psa/pins"),
];

/// A command that there is none of.
async fn unknown(Path(command): Path<String>) -> RpcError {
    let belongs = |family: &str| {
        command.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let why =
        ELSEWHERE.iter().find(|(family, _)| belongs(family)).map_or("it is not known here", |(_, why)| why);
    RpcError::no_command(format!("{command}: {why}"))
}

async fn version() -> Response {
    line(&json!({
        "Version": env!("CARGO_PKG_VERSION"), "Commit": "", "Repo": "", "System": "pinstripe", "Golang": ""
    }))
}

/// Who answers. There is no libp2p here, and so no address; the name is that of the network's key.
async fn id(State(gateway): State<Gateway>) -> Result<Response, RpcError> {
    let message = key_message(&gateway);
    let name = peer_name(&gateway).map_err(RpcError::failed)?;
    let agent = concat!("pinstripe/", env!("CARGO_PKG_VERSION"));
    let public_key = data_encoding::BASE64.encode(&message);
    Ok(line(&json!({
        "ID": name, "PublicKey": public_key, "Addresses": [], "AgentVersion": agent, "Protocols": []
    })))
}

/// The network's key as libp2p writes ed25519 keys: type 1, and 32 bytes (specs/peer-ids).
fn key_message(gateway: &Gateway) -> Vec<u8> {
    [&[0x08, 0x01, 0x12, 0x20], &gateway.signer.public_key().as_bytes()[..]].concat()
}

/// The network's key as a libp2p peer id.
pub(super) fn peer_name(gateway: &Gateway) -> Result<String, CidError> {
    Ok(Cid::identity(Codec::Raw, &key_message(gateway))?.multihash_base58())
}
