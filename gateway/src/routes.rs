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
pub(crate) mod status;
mod time_text;
mod tus;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::{from_fn, from_fn_with_state, map_response},
    routing::{delete, get, post, put},
};
use service::{
    http::{error::ApiError, health_routes, metrics_routes, whole_body},
    secrets::is_loopback,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::status::StatusMemory;
use crate::{app::Gateway, database::DATABASE_AWAY};

/// JSON bodies of the API, at most. Uploads have a limit of their own.
const JSON_BODY_MAX: usize = 4 << 20;
/// Body of a redeem request, at most: 50,000 entries of some 300 bytes.
const REDEEM_BODY_MAX: usize = 24 << 20;

/// What each listener of a gateway answers.
pub(crate) struct Surface {
    pub(crate) public: Router,
    /// Health and metrics, if they have a listener of their own.
    pub(crate) internal: Option<Router>,
    /// The admin API, if it has a listener of its own.
    pub(crate) admin: Option<Router>,
}

/// All routes of a gateway on one address.
pub fn router(gateway: &Gateway) -> Router {
    let own = admin_routes(gateway).merge(internal_routes(gateway, CancellationToken::new()));
    public_routes(gateway, own)
}

/// The routes of a gateway, each on the listener on which its configuration wants it. `draining` is cancelled when the
/// process is about to end.
pub(crate) fn surface(gateway: &Gateway, draining: CancellationToken) -> Surface {
    let config = &gateway.config;
    let mut public = Router::new();
    if config.internal_listen.is_none() {
        public = public.merge(if is_loopback(config.listen) {
            internal_routes(gateway, draining.clone())
        } else {
            health_routes(get(ready), draining.clone())
        });
    }
    if config.admin_listen.is_none() {
        public = public.merge(admin_routes(gateway));
    }
    let alone = |routes: Router<Gateway>| refusing(routes).with_state(gateway.clone());
    Surface {
        public: public_routes(gateway, public),
        internal: config.internal_listen.map(|_| alone(internal_routes(gateway, draining))),
        admin: config.admin_listen.map(|_| alone(admin_routes(gateway))),
    }
}

/// Health and metrics.
fn internal_routes(gateway: &Gateway, draining: CancellationToken) -> Router<Gateway> {
    health_routes(get(ready), draining).merge(metrics_routes(gateway.metrics.clone()))
}

/// `/v1/admin`.
fn admin_routes(gateway: &Gateway) -> Router<Gateway> {
    let routes = Router::new()
        .route("/v1/admin/accounts", post(admin::create_account).get(admin::accounts))
        .route("/v1/admin/accounts/{id}/quota", put(admin::set_quota))
        .route("/v1/admin/accounts/{id}/keys", post(admin::create_key).get(admin::keys))
        .route("/v1/admin/keys/{id}", delete(admin::revoke_key))
        .route("/v1/admin/invites", post(admin::create_invite))
        .route("/v1/admin/events", get(admin::events))
        .route("/v1/admin/status", get(status::show));
    read_whole(gateway, routes, JSON_BODY_MAX).layer(map_response(refusals::json_refusals))
}

/// Everything that is for everybody, and `also`.
fn public_routes(gateway: &Gateway, also: Router<Gateway>) -> Router {
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
        .route("/v1/nodes/{id}/earnings", get(nodes::earnings));
    let api = read_whole(gateway, api, JSON_BODY_MAX);
    let redeem = Router::new().route("/v1/nodes/redeem", post(nodes::redeem));
    let redeem = read_whole(gateway, redeem, REDEEM_BODY_MAX);
    let api = api.merge(uploads).merge(redeem).layer(map_response(refusals::json_refusals));
    let read = get(content::read).options(content::options).fallback(content::not_this_method);
    let by_uri = get(content::by_uri).options(content::options).fallback(content::not_this_method);
    let content =
        Router::new().route("/ipfs", by_uri.clone()).route("/ipfs/", by_uri).route("/ipfs/{*path}", read);
    let isolate = from_fn_with_state(gateway.clone(), origins::isolate);
    let routes = api
        .merge(kubo::routes())
        .merge(pinata::routes(gateway))
        .merge(psa::routes(gateway))
        .merge(tus::routes())
        .merge(openapi::routes())
        .merge(also);
    refusing(routes)
        .layer(from_fn(pages::allow))
        // Behind the layer, which content does without: it is read often.
        .merge(content)
        .with_state(gateway.clone())
        // Around everything: on the host of a CID every path is content.
        .layer(isolate)
}

/// Routes whose bodies are read whole: of at most so many bytes, and within a time.
fn read_whole(gateway: &Gateway, routes: Router<Gateway>, bytes_max: usize) -> Router<Gateway> {
    routes
        .layer(DefaultBodyLimit::max(bytes_max))
        .layer(from_fn_with_state(gateway.config.http.body_timeout, whole_body::in_time))
}

/// The same, with words for paths and methods that there are not.
fn refusing(routes: Router<Gateway>) -> Router<Gateway> {
    routes.fallback(async || ApiError::not_found("not_found", "no such path")).method_not_allowed_fallback(
        async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not take that method",
            )
        },
    )
}

/// `GET /readyz`: whether uploads and reads can work: the nodes have been looked at once, and the database answers.
async fn ready(
    axum::extract::State(gateway): axum::extract::State<Gateway>,
) -> Result<&'static str, ApiError> {
    readiness(&gateway, gateway.db.ping().await.is_ok()).map(|()| "ready\n")
}

/// Whether the gateway is ready, if the database answers or does not.
fn readiness(gateway: &Gateway, database_answers: bool) -> Result<(), ApiError> {
    if !database_answers {
        return Err(ApiError::unavailable("store_unavailable", DATABASE_AWAY, 5));
    }
    if !gateway.nodes.were_looked_at() {
        return Err(ApiError::unavailable("starting", "the nodes have not been looked at yet", 1));
    }
    Ok(())
}
