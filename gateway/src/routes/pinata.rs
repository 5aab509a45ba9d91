//! Pinata's API, as far as it is about public files: what its clients of version 1 and 3 call. Files are the pins of all other
//! ways, under the same keys and quota. There are no private files: what asks for them is refused, never made public.

mod by_cid;
mod files;
mod groups;
mod json_text;
mod legacy;
mod pin_list;
mod resumable;
mod shown;
mod signed;
mod take_in;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::map_response,
    routing::{delete, get, post, put},
};
use service::http::error::ApiError;

use super::refusals;
use crate::{app::Gateway, notes::NotesError};

/// All paths.
pub(super) fn routes(gateway: &Gateway) -> Router<Gateway> {
    // The limit of uploads is in the configuration and checked while they stream.
    let uploads = Router::new()
        .route("/pinning/pinFileToIPFS", post(legacy::pin_file))
        .route("/v3/files", post(files::upload))
        .route("/v3/files/{network}", get(files::list).post(signed::upload).put(signed::upload))
        .layer(DefaultBodyLimit::disable());
    let file = get(files::show).put(files::update).delete(files::remove);
    let group = get(groups::show).put(groups::update).delete(groups::remove);
    let member = put(groups::add_file).delete(groups::remove_file);
    let mut json = Router::new()
        .route("/pinning/pinJSONToIPFS", post(legacy::pin_json))
        .route("/pinning/pinByHash", post(by_cid::pin_by_hash))
        .route("/pinning/pinJobs", get(by_cid::pin_jobs))
        .route("/pinning/unpin/{cid}", delete(legacy::unpin))
        .route("/pinning/hashMetadata", put(legacy::hash_metadata))
        .route("/v3/files/sign", post(signed::sign))
        .route("/v3/files/{network}/pin_by_cid", post(by_cid::pin_by_cid).get(by_cid::queue))
        .route("/v3/files/{network}/pin_by_cid/{id}", delete(by_cid::remove))
        .route("/v3/files/{network}/{id}", file)
        .route("/v3/groups/{network}", post(groups::create).get(groups::list))
        .route("/v3/groups/{network}/{id}", group)
        .route("/v3/groups/{network}/{id}/ids/{file}", member);
    // The newer client asks for these below the base that it is given, which ends in `/v3`.
    for base in ["", "/v3"] {
        json = json
            .route(&format!("{base}/data/testAuthentication"), get(pin_list::test))
            .route(&format!("{base}/data/userPinnedDataTotal"), get(pin_list::total))
            .route(&format!("{base}/data/pinList"), get(pin_list::list));
    }
    super::read_whole(gateway, json, gateway.config.pinata.json_bytes_max)
        .merge(uploads)
        .layer(map_response(refusals::json_refusals))
}

/// Refuses all networks but the public one.
fn public_only(network: &str) -> Result<(), ApiError> {
    match network {
        "public" => Ok(()),
        "private" => Err(no_private_files()),
        other => Err(ApiError::not_found("not_found", format!("there is no network {other:?}"))),
    }
}

/// What is uploaded here can be read by everybody who knows its CID.
fn no_private_files() -> ApiError {
    let details = "there are no private files here: upload with network=public, or encrypt first";
    ApiError::new(StatusCode::NOT_IMPLEMENTED, "private_files", details)
}

/// What is not a file of the account, or not there any more.
fn unknown_file(id: &str) -> ApiError {
    NotesError::UnknownFile(id.to_string()).into()
}

fn unknown_group(id: &str) -> ApiError {
    NotesError::UnknownGroup(id.to_string()).into()
}

/// Something that Pinata has and we do not.
fn unsupported(what: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_IMPLEMENTED, "unsupported", format!("{what} is not supported here"))
}

/// A switch or number that older clients send as text.
fn bad(what: &str, value: impl std::fmt::Display) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_parameter", format!("{what}: {value} is not understood"))
}

/// Reads JSON, whatever type the request says it is.
fn parse<T: serde::de::DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(text)
        .map_err(|error| ApiError::bad_request("bad_json", format!("{what}: {error}")))
}
