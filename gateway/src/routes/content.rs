//! `GET|HEAD /ipfs/{cid}[/path]`: sends the reader to a node, or serves it here.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use content::Cid;
use http_body_util::BodyExt as _;
use protocol::api::TICKET_PARAMETER;
use retrieval::{ContentRequest, add_cors, respond};
use service::http::client_address::{PeerAddr, client_ip};

use crate::{app::Gateway, config::ReadMode};

/// `OPTIONS /ipfs/...`: CORS preflight.
pub(super) async fn options() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    add_cors(response.headers_mut());
    response
}

/// Parameters that are ours and not part of what is asked for.
const OWN_PARAMETERS: [&str; 2] = ["route", TICKET_PARAMETER];

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
    if mode == ReadMode::Redirect && !wanted.root.is_identity() {
        let size = match known_size(&gateway, &wanted.root).await {
            Some(Known::Stored(size)) => Some(size),
            // The database is away: a node may have it all the same.
            Some(Known::Unclear) => Some(0),
            None => None,
        };
        let Some(size) = size else {
            return plain(StatusCode::NOT_FOUND, &format!("{} is not stored here", wanted.root));
        };
        let peer = parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip());
        if let Some(response) = redirect(&gateway, &wanted, peer, size).await {
            return response;
        }
    }
    serve(&gateway, &wanted, &parts.method).await
}

/// What is known of a CID before it is read.
enum Known {
    /// It is stored; its size when it is a pinned root.
    Stored(u64),
    /// Nobody could say.
    Unclear,
}

async fn known_size(gateway: &Gateway, root: &Cid) -> Option<Known> {
    if let Some(known) = gateway.known_roots.get(root) {
        return known.map(Known::Stored);
    }
    match gateway.locator.find(std::slice::from_ref(root)).await {
        Err(_) => Some(Known::Unclear),
        Ok((blocks, _)) if blocks.is_empty() => None,
        Ok((blocks, _)) => {
            let size = match gateway.db.root_size(root).await {
                Ok(Some(size)) => size,
                _ => blocks[0].length_bytes,
            };
            gateway.known_roots.insert(root.clone(), Some(size));
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
    for pair in wanted.query.as_deref().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        if !OWN_PARAMETERS.iter().any(|own| pair.split('=').next() == Some(own)) {
            location.push_str(pair);
            location.push('&');
        }
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
    metrics::counter!("redirects_total", "region" => node.row.region.clone()).increment(1);
    Some(response)
}

async fn serve(gateway: &Gateway, wanted: &ContentRequest, method: &Method) -> Response {
    let Ok(slot) = gateway.reads.clone().try_acquire_owned() else {
        let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "too many reads are in progress");
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    let response = respond(&gateway.blocks, wanted).await;
    metrics::counter!("proxied_reads_total", "method" => method.to_string()).increment(1);
    // The slot is taken for as long as the body is being sent.
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &slot;
            frame
        }))
    })
}

fn plain(status: StatusCode, text: &str) -> Response {
    let mut response = (status, format!("{text}\n")).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    add_cors(response.headers_mut());
    response
}
