//! Hosts of their own for CIDs, `{cid}.ipfs.{gateway}`: what a page stores or registers there is its own, and nothing of
//! the API is there. Everything on such a host is content; `/ipfs/{cid}` on the gateway's host leads to it.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use content::{Cid, cid::CidError};
use retrieval::{ContentRequest, denied, host_name, too_many_requests};
use service::http::{client_address::PeerAddr, client_limit::customer_of, seen_as};

use super::content::{moved, not_this_method, options, plain, serve};
use crate::app::Gateway;

/// What requests to hosts of their own are in metrics and traces. Their paths are content, whatever else they look like.
const OF_CIDS: &str = "{cid}.ipfs/{*path}";
const OF_NAMES: &str = "{name}.ipns/{*path}";

/// Longest label of a domain name.
const LABEL_MAX: usize = 63;

/// What a host is to this gateway.
#[derive(Debug, PartialEq, Eq)]
enum Host<'h> {
    /// That of a CID below a gateway's, which has its port.
    Cid { label: &'h str, gateway: &'h str },
    /// That of an IPNS name, of which this gateway has none.
    Name,
    /// A gateway's below which CIDs have hosts.
    Gateway(&'h str),
    /// Any other.
    Other,
}

/// Answers what comes to the host of a CID, and sends content paths there; everything else goes on.
pub(super) async fn isolate(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let host = effective_host(&gateway, &request);
    let host = classify(host.as_deref().unwrap_or_default(), &gateway.config.reads.subdomain_hosts);
    match host {
        Host::Cid { .. } => seen_as(request.extensions(), OF_CIDS),
        Host::Name => seen_as(request.extensions(), OF_NAMES),
        Host::Gateway(_) | Host::Other => {}
    }
    let limit = gateway.live.get().client_limit.clone();
    if let Some(limit) = limit
        && let Some(customer) = counts_for(&gateway, &host, &request)
        && let Err(too_many) = limit.take(customer).await
    {
        return too_many_requests(too_many, wanted(&host, &request).as_ref());
    }
    match host {
        Host::Other => next.run(request).await,
        Host::Name => plain(StatusCode::BAD_REQUEST, "ipns names are not supported"),
        Host::Gateway(here) => {
            let rest = request.uri().path().strip_prefix("/ipfs/");
            let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
            if !is_read || rest.is_none_or(str::is_empty) {
                return next.run(request).await;
            }
            let (parts, _) = request.into_parts();
            to_its_host(&gateway, &parts, here)
        }
        Host::Cid { label, gateway: here } => {
            let (parts, _) = request.into_parts();
            at_its_host(&gateway, parts, label, here).await
        }
    }
}

/// Which client a request for content counts for; none for other requests. A preflight costs nothing: a page never learns why
/// one is refused.
fn counts_for(gateway: &Gateway, host: &Host<'_>, request: &Request) -> Option<IpAddr> {
    let path = request.uri().path();
    let is_content =
        matches!(host, Host::Cid { .. } | Host::Name) || path == "/ipfs" || path.starts_with("/ipfs/");
    if !is_content || request.method() == Method::OPTIONS {
        return None;
    }
    customer_of(request.extensions(), request.headers(), &gateway.config.reads.trusted_proxies)
}

/// The content that a request asks for, for an answer that says why it gets none.
fn wanted(host: &Host<'_>, request: &Request) -> Option<ContentRequest> {
    let (method, uri) = (request.method(), request.uri());
    match host {
        Host::Cid { label, gateway } => {
            let cid = cid_of(label).ok()?;
            ContentRequest::at_origin(method, uri, HeaderMap::new(), cid, (*gateway).to_string()).ok()
        }
        _ => ContentRequest::parse(method, uri, HeaderMap::new()).ok(),
    }
}

/// The host that was asked for, with its port: what a trusted proxy says, else what the client says.
fn effective_host(gateway: &Gateway, request: &Request) -> Option<String> {
    let forwarded = is_trusted(gateway, request.extensions().get())
        .then(|| text(request.headers(), "x-forwarded-host"))
        .flatten();
    let host = forwarded.or_else(|| text(request.headers(), header::HOST.as_str()));
    host.or_else(|| request.uri().authority().map(ToString::to_string))
}

fn is_trusted(gateway: &Gateway, peer: Option<&PeerAddr>) -> bool {
    let peer = peer.map(|peer| peer.0.ip().to_canonical());
    peer.is_some_and(|peer| gateway.config.reads.trusted_proxies.iter().any(|net| net.contains(&peer)))
}

/// A header's first value, of a list the first entry.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.split(',').next()?.trim();
    (!value.is_empty()).then(|| value.to_string())
}

fn classify<'h>(host: &'h str, gateways: &[String]) -> Host<'h> {
    let name = host_name(host);
    for gateway in gateways {
        let Some(at) = name.len().checked_sub(gateway.len()) else { continue };
        if !name.is_char_boundary(at) || !name[at..].eq_ignore_ascii_case(gateway) {
            continue;
        }
        let here = &host[at..];
        if at == 0 {
            return Host::Gateway(here);
        }
        let mut labels = name[..at].trim_end_matches('.').rsplitn(2, '.');
        let namespace = labels.next().unwrap_or_default();
        match labels.next() {
            Some(label) if namespace.eq_ignore_ascii_case("ipfs") && name[..at].ends_with('.') => {
                return Host::Cid { label, gateway: here };
            }
            Some(_) if namespace.eq_ignore_ascii_case("ipns") => return Host::Name,
            _ => {}
        }
    }
    Host::Other
}

/// 301 from `/ipfs/{cid}/path` to the CID's host, unless it is denied. Of the rest nothing but the CID is looked at: that is
/// for the host to judge.
fn to_its_host(gateway: &Gateway, parts: &Parts, here: &str) -> Response {
    let wanted = match ContentRequest::parse(&parts.method, &parts.uri, HeaderMap::new()) {
        Ok(wanted) => wanted,
        Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if let Some(refusal) = denied(&gateway.blocks, &wanted) {
        return refusal;
    }
    match wanted.root.dns_label() {
        Some(label) => {
            let query = wanted.query.as_deref().map_or_else(String::new, |query| format!("?{query}"));
            let scheme = scheme(gateway, parts, here);
            moved(&format!("{scheme}://{label}.ipfs.{here}{}{query}", wanted.normal_path()))
        }
        None => too_long(),
    }
}

fn too_long() -> Response {
    plain(StatusCode::BAD_REQUEST, "CID incompatible with DNS label length limit of 63")
}

/// `https` where a trusted proxy says so, or where this gateway's public URL does.
fn scheme(gateway: &Gateway, parts: &Parts, here: &str) -> String {
    let forwarded = is_trusted(gateway, parts.extensions.get())
        .then(|| text(&parts.headers, "x-forwarded-proto"))
        .flatten()
        .filter(|scheme| matches!(scheme.as_str(), "http" | "https"));
    let public = gateway.config.public_url.split_once("://");
    let own = public.filter(|(_, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        host_name(authority).eq_ignore_ascii_case(host_name(here))
    });
    forwarded.unwrap_or_else(|| own.map_or("http", |(scheme, _)| scheme).to_string())
}

/// The CID that a label of a host is. Browsers write hosts in lower case; a name in base58 only survives where nobody
/// touched it.
fn cid_of(label: &str) -> Result<Cid, CidError> {
    label.parse().or_else(|_| label.to_ascii_lowercase().parse())
}

/// Content at the root of the CID's host.
async fn at_its_host(gateway: &Gateway, parts: Parts, label: &str, here: &str) -> Response {
    if label.len() > LABEL_MAX {
        return too_long();
    }
    let cid = match cid_of(label) {
        Ok(cid) => cid,
        Err(error) => {
            return plain(StatusCode::BAD_REQUEST, &format!("invalid path \"/ipfs/{label}\": {error}"));
        }
    };
    let Some(usual) = cid.dns_label() else { return too_long() };
    match parts.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return options().await,
        _ => return not_this_method().await,
    }
    let scheme = scheme(gateway, &parts, here);
    let wanted = ContentRequest::at_origin(&parts.method, &parts.uri, parts.headers, cid, here.to_string());
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if usual.eq_ignore_ascii_case(label) {
        return serve(gateway, &wanted).await;
    }
    // One CID has one origin, however it is written.
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    denied(&gateway.blocks, &wanted)
        .unwrap_or_else(|| moved(&format!("{scheme}://{usual}.ipfs.{here}{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let gateways = ["example.com".to_string(), "localhost".into()];
        let check = |host| classify(host, &gateways);
        assert_eq!(check("example.com"), Host::Gateway("example.com"));
        assert_eq!(check("Example.com:8080"), Host::Gateway("Example.com:8080"));
        assert_eq!(check("bafy.ipfs.localhost:80"), Host::Cid { label: "bafy", gateway: "localhost:80" });
        assert_eq!(check("bafy.IPFS.example.com"), Host::Cid { label: "bafy", gateway: "example.com" });
        assert_eq!(check("x.ipns.localhost"), Host::Name);
        for other in [
            "",
            "127.0.0.1:8080",
            "notexample.com",
            "ipfs.example.com",
            "a.example.com",
            "bafy.ipfs.other",
            "[::1]:80",
        ] {
            assert_eq!(check(other), Host::Other, "{other}");
        }
    }
}
