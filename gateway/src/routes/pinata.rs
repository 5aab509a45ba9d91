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
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn, map_response},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post, put},
};
use service::http::error::ApiError;

use super::refusals;
use crate::{app::Gateway, notes::NotesError};

/// Request headers that pages of others may send.
const HEADERS: &str = "authorization, content-type, source, pinata_api_key, pinata_secret_api_key, tus-resumable, \
     upload-length, upload-metadata, upload-offset";
/// Headers of answers that they may see.
const EXPOSED: &str = "location, retry-after, upload-cid, upload-offset";

/// All paths.
pub(super) fn routes(gateway: &Gateway) -> Router<Gateway> {
    // The limit of uploads is in the configuration and checked while they stream.
    let uploads = Router::new()
        .route("/pinning/pinFileToIPFS", post(legacy::pin_file).options(preflight))
        .route("/v3/files", post(files::upload).options(preflight))
        .route(
            "/v3/files/{network}",
            get(files::list).post(signed::upload).put(signed::upload).options(preflight),
        )
        .layer(DefaultBodyLimit::disable());
    let file = get(files::show).put(files::update).delete(files::remove);
    let group = get(groups::show).put(groups::update).delete(groups::remove);
    let member = put(groups::add_file).delete(groups::remove_file);
    let mut json = Router::new()
        .route("/pinning/pinJSONToIPFS", post(legacy::pin_json).options(preflight))
        .route("/pinning/pinByHash", post(by_cid::pin_by_hash).options(preflight))
        .route("/pinning/pinJobs", get(by_cid::pin_jobs).options(preflight))
        .route("/pinning/unpin/{cid}", delete(legacy::unpin).options(preflight))
        .route("/pinning/hashMetadata", put(legacy::hash_metadata).options(preflight))
        .route("/v3/files/sign", post(signed::sign).options(preflight))
        .route(
            "/v3/files/{network}/pin_by_cid",
            post(by_cid::pin_by_cid).get(by_cid::queue).options(preflight),
        )
        .route("/v3/files/{network}/pin_by_cid/{id}", delete(by_cid::remove).options(preflight))
        .route("/v3/files/{network}/{id}", file.options(preflight))
        .route("/v3/groups/{network}", post(groups::create).get(groups::list).options(preflight))
        .route("/v3/groups/{network}/{id}", group.options(preflight))
        .route("/v3/groups/{network}/{id}/ids/{file}", member.options(preflight));
    // The newer client asks for these below the base that it is given, which ends in `/v3`.
    for base in ["", "/v3"] {
        json = json
            .route(&format!("{base}/data/testAuthentication"), get(pin_list::test).options(preflight))
            .route(&format!("{base}/data/userPinnedDataTotal"), get(pin_list::total).options(preflight))
            .route(&format!("{base}/data/pinList"), get(pin_list::list).options(preflight));
    }
    json.layer(DefaultBodyLimit::max(gateway.config.pinata.json_bytes_max))
        .merge(uploads)
        .layer(map_response(refusals::json_refusals))
        .layer(from_fn(allow_pages))
}

/// Pages of others may use this: what they may do is in their keys and URLs, never in cookies.
async fn allow_pages(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    response
}

/// What a browser asks before a page may.
async fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, "7200"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
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
