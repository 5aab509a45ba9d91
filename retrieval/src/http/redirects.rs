//! `_redirects`: where to go instead of paths that are not there, as the maker of a site wants it (IPIP-0002). Only on
//! hosts that belong to one CID alone.

mod rule;

use axum::{
    body::Body,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::Response,
};
use content::{
    Block,
    unixfs::walk::{Kind, kind},
};
use futures_util::StreamExt as _;

pub(super) use self::rule::RedirectsError;
use self::rule::{Rule, parse};
use super::{Ask, failure::Failure, headers::set, request::ContentRequest, unixfs};
use crate::{
    error::ReadError,
    file_stream::stream_file,
    resolve::{lookup, resolve},
};

/// Longest file of rules in bytes.
const FILE_MAX: u64 = 64 << 10;
/// The file's name.
const FILE_NAME: &str = "_redirects";

/// What the site's rules say of a path that is not there; `None` when they say nothing.
pub(super) async fn answer(ask: &Ask<'_>) -> Result<Option<Response>, Failure> {
    let Some(text) = file(ask).await? else { return Ok(None) };
    let rules = parse(&text)?;
    let path = format!("/{}", ask.request.path.join("/"));
    let Some((rule, target)) = rules.iter().find_map(|rule| Some((rule, rule.apply(&path)?))) else {
        return Ok(None);
    };
    if rule.is_redirect() {
        permit(ask, &target)?;
        return Ok(Some(moved(ask.request, rule, &target)));
    }
    page(ask, rule, &target).await.map(Some)
}

/// The text of the file, if the root is a directory that has one.
async fn file(ask: &Ask<'_>) -> Result<Option<String>, Failure> {
    let root = ask.blocks.get(&ask.request.root).await?;
    if !matches!(kind(&root), Ok(Kind::Directory | Kind::HamtShard)) {
        return Ok(None);
    }
    let cid = match lookup(ask.blocks, &root, FILE_NAME, &mut Vec::new()).await {
        Ok(cid) => cid,
        Err(ReadError::NoLink { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    ask.blocks.permit(&root.cid, [FILE_NAME])?;
    let block = ask.blocks.get(&cid).await?;
    let size = file_size(&block).ok_or(RedirectsError::NoFile)?;
    if size > FILE_MAX {
        return Err(RedirectsError::TooLarge.into());
    }
    let mut bytes = Vec::new();
    let mut stream = Box::pin(stream_file(ask.blocks.clone(), block, 0..size));
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part?);
    }
    Ok(Some(String::from_utf8(bytes).map_err(|_| RedirectsError::NoText)?))
}

fn file_size(block: &Block) -> Option<u64> {
    match kind(block) {
        Ok(Kind::Raw { size_bytes } | Kind::File { size_bytes }) => Some(size_bytes),
        _ => None,
    }
}

/// Whether readers may be sent to a place on this host. Whatever lies elsewhere is for others to say.
fn permit(ask: &Ask<'_>, target: &str) -> Result<(), Failure> {
    let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
    if uri.authority().is_some() || target.starts_with("//") {
        return Ok(());
    }
    let (root, host) = (ask.request.root.clone(), String::new());
    if let Ok(there) = ContentRequest::at_origin(&Method::GET, &uri, HeaderMap::new(), root, host) {
        ask.blocks.permit(&there.root, &there.path)?;
    }
    Ok(())
}

/// Another status with another place; the request's query goes along and wins over that of the rule.
fn moved(request: &ContentRequest, rule: &Rule, target: &str) -> Response {
    let (place, fragment) =
        target.split_once('#').map_or((target, ""), |(place, fragment)| (place, fragment));
    let (path, theirs) = place.split_once('?').unwrap_or((place, ""));
    let ours = request.query_without(&[]);
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_string();
    let asked: Vec<String> = ours.split('&').map(name).collect();
    let kept = theirs.split('&').filter(|pair| !pair.is_empty() && !asked.contains(&name(pair)));
    let query: Vec<&str> = kept.chain(Some(ours.as_str()).filter(|ours| !ours.is_empty())).collect();
    let mut location = path.to_string();
    if !query.is_empty() {
        location = format!("{location}?{}", query.join("&"));
    }
    if !fragment.is_empty() {
        location = format!("{location}#{fragment}");
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = rule.status();
    set(response.headers_mut(), header::LOCATION, &location);
    response
}

/// A file of the same site under this URL: with 200, or as the page of an error.
async fn page(ask: &Ask<'_>, rule: &Rule, target: &str) -> Result<Response, Failure> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_string).collect();
    let resolved = resolve(ask.blocks, &ask.request.root, &path).await?;
    let size = file_size(&resolved.block).ok_or_else(|| ReadError::NotFound(resolved.block.cid.clone()))?;
    let name = path.last().map_or("", String::as_str);
    let mut response = unixfs::file(ask, &resolved.block, size, &resolved.block.cid, name).await?;
    if rule.status() != StatusCode::OK && response.status() == StatusCode::OK {
        *response.status_mut() = rule.status();
    }
    super::headers::set_roots(&mut response, &resolved.way.roots);
    Ok(response)
}
