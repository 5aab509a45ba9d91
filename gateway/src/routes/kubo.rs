//! The RPC API of Kubo, as far as it is about content and pins, for the tools that speak it: POST only, arguments in the
//! query, answers in lines of JSON. Content and pins are those of all other ways.

mod add;
mod answer;
mod args;
mod pins;
mod read;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    response::Response,
    routing::post,
};
use content::{Cid, Codec, cid::CidError};
use serde_json::json;

use self::answer::{RpcError, line};
use crate::app::Gateway;

/// All commands that there are.
pub(super) fn routes() -> Router<Gateway> {
    let command = |name: &str| format!("/api/v0/{name}");
    Router::new()
        // The limit of uploads is in the configuration and checked while they stream.
        .route(&command("add"), post(add::add))
        .layer(DefaultBodyLimit::disable())
        .route(&command("block/get"), post(read::block_get))
        .route(&command("block/stat"), post(read::block_stat))
        .route(&command("cat"), post(read::cat))
        .route(&command("ls"), post(read::ls))
        .route(&command("pin/ls"), post(pins::list))
        .route(&command("pin/rm"), post(pins::remove))
        .route(&command("version"), post(version))
        .route(&command("id"), post(id))
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
