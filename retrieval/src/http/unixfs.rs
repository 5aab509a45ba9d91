//! Files, directories and symbolic links as a browser wants them.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use content::{
    Block, Cid, Codec,
    unixfs::walk::{Kind, kind},
};
use futures_util::StreamExt as _;

use super::{
    Ask,
    answer::{not_modified, ranged, wanted},
    body::{block_body, stream_body},
    content_type, data,
    failure::Failure,
    headers::{Caching, set, set_disposition},
    listing, preview,
    request::Mount,
    rules::ActiveContent,
};
use crate::{
    error::ReadError,
    file_stream::stream_file,
    resolve::{Resolved, lookup},
};

/// The file that stands for its directory.
const INDEX: &str = "index.html";
/// Kinds of content that can run scripts when a browser shows them.
const ACTIVE: [&str; 5] =
    ["text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml"];

/// What a path names, as a browser wants it. `html`: whether a page is wanted where there is no file.
pub(super) async fn answer(ask: &Ask<'_>, resolved: &Resolved, html: bool) -> Result<Response, Failure> {
    let block = &resolved.block;
    match block.cid.codec() {
        Codec::Raw | Codec::DagPb => {}
        Codec::DagCbor | Codec::DagJson if html => return preview::answer(ask, block),
        _ => return data::native(ask, block),
    }
    match kind(block).map_err(ReadError::from)? {
        Kind::Raw { size_bytes } | Kind::File { size_bytes } => {
            file(ask, block, size_bytes, &block.cid, &ask.request.file_name()).await
        }
        Kind::Directory | Kind::HamtShard => directory(ask, resolved).await,
        Kind::Symlink(target) => symlink(ask, &block.cid, target),
    }
}

/// Whether this is a file or a directory, which `json` and `cbor` leave as they are.
pub(super) fn is_unixfs(block: &Block) -> bool {
    matches!(block.cid.codec(), Codec::Raw | Codec::DagPb)
}

async fn directory(ask: &Ask<'_>, resolved: &Resolved) -> Result<Response, Failure> {
    let (request, block) = (ask.request, &resolved.block);
    if !request.trailing_slash {
        return Ok(to_slash(ask));
    }
    match lookup(ask.blocks, block, INDEX, &mut Vec::new()).await {
        Ok(cid) => {
            resolved.way.permit(ask.blocks, INDEX)?;
            let index = ask.blocks.get(&cid).await?;
            if let Ok(Kind::Raw { size_bytes } | Kind::File { size_bytes }) = kind(&index) {
                // Under the directory's CID: the page is what this path stands for.
                return file(ask, &index, size_bytes, &block.cid, INDEX).await;
            }
        }
        Err(ReadError::NoLink { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    listing::answer(ask, block).await
}

/// 301 to the same with a slash at its end, so that relative links lead below the directory. Built anew from its parts:
/// a path such as `//example.com` would be another host.
fn to_slash(ask: &Ask<'_>) -> Response {
    let request = ask.request;
    let query = request.query.as_deref().map_or_else(String::new, |query| format!("?{query}"));
    let location = format!("{}{}/{query}", request.base(), request.normal_path().trim_end_matches('/'));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    set(response.headers_mut(), header::LOCATION, &location);
    response
}

fn symlink(ask: &Ask<'_>, cid: &Cid, target: &str) -> Result<Response, Failure> {
    let caching = Caching::immutable(format!("\"{}\"", cid.as_written()));
    if caching.is_known(&ask.request.headers) {
        return Ok(not_modified(&caching));
    }
    let size = target.len() as u64;
    let range = wanted(ask.request, &caching, size)?;
    let bytes = super::body::part(&Bytes::copy_from_slice(target.as_bytes()), &range.0);
    let body = if ask.request.head { Body::empty() } else { Body::from(bytes) };
    Ok(ranged(body, &caching, range, size, "inode/symlink"))
}

/// A file of `size` bytes. `identity` is what its `ETag` names: itself, or the directory that it stands for.
pub(super) async fn file(
    ask: &Ask<'_>,
    file: &Block,
    size: u64,
    identity: &Cid,
    name: &str,
) -> Result<Response, Failure> {
    let request = ask.request;
    let caching = Caching::immutable(format!("\"{}\"", identity.as_written()));
    if caching.is_known(&request.headers) {
        return Ok(not_modified(&caching));
    }
    let range = wanted(request, &caching, size)?;
    let content_type = match content_type::by_name(name) {
        Some(by_name) => by_name,
        None => sniff(ask, file, size).await,
    };
    let policy = policy(ask, &content_type)?;
    let body = if request.head { Body::empty() } else { file_body(ask, file, range.0.clone()).await? };
    let mut response = ranged(body, &caching, range, size, &content_type);
    let headers = response.headers_mut();
    if request.is_download() || request.asked_name().is_some() {
        let default = if name.is_empty() { request.root_name() } else { name.to_string() };
        set_disposition(headers, request, "inline", &default);
    }
    if let Some(policy) = policy {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    Ok(response)
}

/// What a file is by its first block. When that cannot be had, other parts of the file can be sent all the same.
async fn sniff(ask: &Ask<'_>, file: &Block, size: u64) -> String {
    if file.cid.codec() == Codec::Raw {
        return content_type::by_bytes(&file.bytes, true);
    }
    let mut bytes = Box::pin(stream_file(ask.blocks.clone(), file.clone(), 0..content_type::SNIFF_LEN));
    match bytes.next().await {
        Some(Ok(start)) => content_type::by_bytes(&start, start.len() as u64 == size),
        None => content_type::by_bytes(&[], true),
        Some(Err(_)) => content_type::UNKNOWN.into(),
    }
}

/// The first bytes are read before the head is sent, so that content that cannot be read is answered with a status and
/// not with a broken connection.
async fn file_body(ask: &Ask<'_>, file: &Block, wanted: std::ops::Range<u64>) -> Result<Body, Failure> {
    if file.cid.codec() == Codec::Raw {
        // A file of one block, as most are: nothing to walk and nothing to wait for.
        return Ok(block_body(ask.blocks, file, wanted));
    }
    let mut bytes = Box::pin(stream_file(ask.blocks.clone(), file.clone(), wanted));
    let first = bytes.next().await.transpose()?;
    Ok(stream_body(first, bytes, ask.rules.stall_timeout))
}

/// The `Content-Security-Policy` of content that can run scripts, where it shares its origin with other content.
fn policy(ask: &Ask<'_>, content_type: &str) -> Result<Option<&'static str>, Failure> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_active = ACTIVE.contains(&essence) || essence.ends_with("+xml");
    if !is_active || ask.request.mount != Mount::Path {
        return Ok(None);
    }
    match ask.rules.active_content {
        ActiveContent::Allow => Ok(None),
        // Without `allow-same-origin` it has an origin that nobody else has and that can store nothing.
        ActiveContent::Sandbox => Ok(Some(
            "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads allow-pointer-lock",
        )),
        ActiveContent::Refuse if ask.request.is_download() => Ok(None),
        ActiveContent::Refuse => Err(Failure::Active),
    }
}
