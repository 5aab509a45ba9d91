//! The gateway's HTTP surface: parse, one call, answer.

mod admin;
mod content;
mod files;
mod health;
mod kubo;
mod nodes;
mod openapi;
mod origins;
mod pages;
mod pinata;
mod psa;
mod refusals;
mod time_text;
mod tus;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::{from_fn, from_fn_with_state, map_response},
    routing::{delete, get, post, put},
};
use service::http::{base_routes, error::ApiError};

pub(crate) use self::refusals::store_failed;
use crate::app::Gateway;

/// JSON bodies of the API, at most. Uploads have a limit of their own.
const JSON_BODY_MAX: usize = 4 << 20;
/// Body of a redeem request, at most: 50,000 entries of some 300 bytes.
const REDEEM_BODY_MAX: usize = 24 << 20;

/// All routes over one gateway.
pub fn router(gateway: &Gateway) -> Router {
    // The limit of uploads is in the configuration and checked while they stream.
    let uploads = Router::new()
        .route("/v1/files", post(files::upload).get(files::list))
        .layer(DefaultBodyLimit::disable());
    let api = Router::new()
        .route("/v1/files/{cid}", get(files::show).delete(files::remove))
        .route("/v1/files/{cid}/health", get(health::show))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/enrol", post(nodes::enrol))
        .route("/v1/nodes/heartbeat", post(nodes::heartbeat))
        .route("/v1/nodes/locate", post(nodes::locate))
        .route("/v1/nodes/{id}/earnings", get(nodes::earnings))
        .route("/v1/admin/accounts", post(admin::create_account).get(admin::accounts))
        .route("/v1/admin/accounts/{id}/quota", put(admin::set_quota))
        .route("/v1/admin/accounts/{id}/keys", post(admin::create_key).get(admin::keys))
        .route("/v1/admin/keys/{id}", delete(admin::revoke_key))
        .route("/v1/admin/invites", post(admin::create_invite))
        .route("/v1/admin/events", get(admin::events))
        .layer(DefaultBodyLimit::max(JSON_BODY_MAX));
    let redeem = Router::new()
        .route("/v1/nodes/redeem", post(nodes::redeem))
        .layer(DefaultBodyLimit::max(REDEEM_BODY_MAX));
    let api = api.merge(uploads).merge(redeem).layer(map_response(refusals::json_refusals));
    let read = get(content::read).options(content::options).fallback(content::not_this_method);
    let by_uri = get(content::by_uri).options(content::options).fallback(content::not_this_method);
    let content =
        Router::new().route("/ipfs", by_uri.clone()).route("/ipfs/", by_uri).route("/ipfs/{*path}", read);
    let isolate = from_fn_with_state(gateway.clone(), origins::isolate);
    api.route("/readyz", get(ready))
        .merge(kubo::routes())
        .merge(pinata::routes(gateway))
        .merge(psa::routes())
        .merge(tus::routes())
        .merge(openapi::routes())
        .merge(base_routes(gateway.metrics.clone()))
        .fallback(async || ApiError::not_found("not_found", "no such path"))
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not take that method",
            )
        })
        .layer(from_fn(pages::allow))
        // Behind the layer, which content does without: it is read often.
        .merge(content)
        .with_state(gateway.clone())
        // Around everything: on the host of a CID every path is content.
        .layer(isolate)
}

/// `GET /readyz`: whether uploads and reads can work: the nodes have been looked at once, and the database answers.
async fn ready(
    axum::extract::State(gateway): axum::extract::State<Gateway>,
) -> Result<&'static str, ApiError> {
    match gateway.db.ping().await {
        Ok(()) if !gateway.nodes.were_looked_at() => {
            Err(ApiError::unavailable("starting", "the nodes have not been looked at yet", 1))
        }
        Ok(()) => Ok("ready\n"),
        Err(_) => Err(ApiError::unavailable("store_unavailable", "the metadata store does not answer", 5)),
    }
}
