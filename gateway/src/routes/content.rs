//! `GET|HEAD /ipfs/{cid}[/path]`: sends the reader to a node, or serves it here.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use content::Cid;
use http_body_util::BodyExt as _;
use protocol::api::TICKET_PARAMETER;
use retrieval::{
    ContentRequest, add_cors, denied, is_cached, is_only_if_cached, not_cached, refusal, respond,
};
use service::http::client_address::{PeerAddr, client_ip};
use tokio::sync::OwnedSemaphorePermit;

use crate::{app::Gateway, config::ReadMode};

/// `OPTIONS /ipfs/...`: CORS preflight.
pub(super) async fn options() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    add_cors(response.headers_mut());
    response
}

/// Content is read and nothing else.
pub(super) async fn not_this_method() -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "content is read with GET or HEAD");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// `GET /ipfs/?uri=ipfs://{cid}/path`: where browsers send people who follow a link of the `ipfs` scheme.
pub(super) async fn by_uri(State(gateway): State<Gateway>, uri: Uri) -> Response {
    let mut query = uri.query().unwrap_or_default().split('&');
    let Some(value) = query.find_map(|pair| pair.strip_prefix("uri=")) else {
        return plain(StatusCode::BAD_REQUEST, &format!("invalid path {:?}: no CID", uri.path()));
    };
    let address = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
    let path = address.split_once("://").filter(|(scheme, _)| scheme.eq_ignore_ascii_case("ipfs"));
    let target: Option<Uri> = path.and_then(|(_, path)| format!("/ipfs/{path}").parse().ok());
    let read = |target: &Uri| ContentRequest::parse(&Method::GET, target, HeaderMap::new()).ok();
    match target.and_then(|target| Some((read(&target)?, target))) {
        Some((wanted, target)) => {
            denied(&gateway.blocks, &wanted).unwrap_or_else(|| moved(&target.to_string()))
        }
        None => plain(StatusCode::BAD_REQUEST, &format!("invalid uri {address:?}: use ipfs://CID/path")),
    }
}

/// 301.
pub(super) fn moved(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return plain(StatusCode::BAD_REQUEST, "the URL cannot stand in a header");
    };
    let mut response = StatusCode::MOVED_PERMANENTLY.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    add_cors(response.headers_mut());
    response
}

pub(super) async fn read(State(gateway): State<Gateway>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let wanted = match ContentRequest::parse(&parts.method, &parts.uri, parts.headers.clone()) {
        Ok(wanted) => wanted,
        Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let mode = match wanted.parameter("route").as_deref() {
        None => gateway.config.reads.mode,
        Some("proxy") => ReadMode::Proxy,
        Some("redirect") => ReadMode::Redirect,
        Some(_) => return plain(StatusCode::BAD_REQUEST, "route must be proxy or redirect"),
    };
    if mode == ReadMode::Redirect
        && !wanted.root.is_identity()
        && let Some(response) = send_on(&gateway, &wanted, &parts).await
    {
        return response;
    }
    serve(&gateway, &wanted).await
}

/// Sends the reader to a node, or says that there is nothing to read; `None` when it is to be served here.
async fn send_on(gateway: &Gateway, wanted: &ContentRequest, parts: &Parts) -> Option<Response> {
    // What is answered here is refused there: only whoever would be sent on in vain is told now.
    if let Some(refusal) = refusal(&gateway.blocks, &gateway.answers, wanted) {
        return Some(refusal);
    }
    let only_if_cached = is_only_if_cached(wanted);
    if only_if_cached && is_cached(&gateway.blocks, &wanted.root).await {
        return None;
    }
    let size = match known_size(gateway, &wanted.root).await {
        Some(Known::Stored(size)) => size,
        // The database is away: a node may have it all the same.
        Some(Known::Unclear) => UNKNOWN_BYTES,
        None if only_if_cached => return Some(not_cached(wanted)),
        None => {
            return Some(plain(StatusCode::NOT_FOUND, &format!("{} is not stored here", wanted.root)));
        }
    };
    let peer = parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip());
    redirect(gateway, wanted, peer, size).await
}

/// What tickets allow of content whose size nobody knows while the database is away.
const UNKNOWN_BYTES: u64 = 64 << 20;

/// What is known of a CID before it is read.
enum Known {
    /// It is stored; its size when it is a pinned root.
    Stored(u64),
    /// Nobody could say.
    Unclear,
}

async fn known_size(gateway: &Gateway, root: &Cid) -> Option<Known> {
    if let Some(size) = gateway.known_roots.get(root) {
        return Some(Known::Stored(size));
    }
    match gateway.locator.find(std::slice::from_ref(root), None).await {
        Err(_) => Some(Known::Unclear),
        Ok((blocks, _)) if blocks.is_empty() => None,
        Ok((blocks, _)) => {
            let (db, wanted) = (gateway.db.clone(), root.clone());
            let size = gateway.database.ask(async move { db.root_size(&wanted).await }).await;
            let Ok(size) = size else { return Some(Known::Unclear) };
            let size = size.unwrap_or(blocks[0].length_bytes);
            gateway.known_roots.insert(root.clone(), size);
            Some(Known::Stored(size))
        }
    }
}

async fn redirect(
    gateway: &Gateway,
    wanted: &ContentRequest,
    peer: Option<std::net::IpAddr>,
    size: u64,
) -> Option<Response> {
    let ip = client_ip(peer?, &wanted.headers, &gateway.config.reads.trusted_proxies);
    let reader = gateway.routing.place_of(ip);
    let node = gateway.routing.choose(&wanted.root, &reader).await?;
    let ticket = gateway.routing.ticket(&wanted.root, node.row.id, size);
    let mut location = format!("{}{}?", node.row.url.trim_end_matches('/'), wanted.encoded_path);
    let query = wanted.query_without(&[]);
    if !query.is_empty() {
        location.push_str(&query);
        location.push('&');
    }
    location.push_str(TICKET_PARAMETER);
    location.push('=');
    location.push_str(&ticket);
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_str(&location).ok()?);
    // The next reader is somewhere else, or this node is gone by then.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(region) = HeaderValue::from_str(reader.region.as_str()) {
        headers.insert("x-pinstripe-region", region);
    }
    add_cors(headers);
    metrics::counter!("pinstripe_redirects_total", "region" => node.row.region.clone()).increment(1);
    Some(response)
}

/// Answers a reader here.
pub(super) async fn serve(gateway: &Gateway, wanted: &ContentRequest) -> Response {
    let Some(slot) = read_slot(gateway) else {
        let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, TOO_MANY_READS);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    let response = respond(&gateway.blocks, &gateway.answers, wanted).await;
    let method = if wanted.head { "HEAD" } else { "GET" };
    metrics::counter!("pinstripe_proxied_reads_total", "method" => method).increment(1);
    hold(slot, response)
}

/// What readers are told who come when too many others do.
pub(super) const TOO_MANY_READS: &str = "too many reads are in progress";

/// A place among the readers that are served here, if there is one.
pub(super) fn read_slot(gateway: &Gateway) -> Option<OwnedSemaphorePermit> {
    gateway.reads.clone().try_acquire_owned().ok()
}

/// Keeps a reader's place for as long as the body is being sent.
pub(super) fn hold(slot: OwnedSemaphorePermit, response: Response) -> Response {
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &slot;
            frame
        }))
    })
}

/// A refusal in plain text.
pub(super) fn plain(status: StatusCode, text: &str) -> Response {
    let mut response = (status, format!("{text}\n")).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    add_cors(response.headers_mut());
    response
}
