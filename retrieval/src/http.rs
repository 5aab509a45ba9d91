//! `GET|HEAD /ipfs/{cid}[/path]`: the same answers on gateways and on nodes.

mod conditions;
mod content_type;
mod request;

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use content::{
    Block, Cid,
    unixfs::walk::{Kind, kind},
};
use futures_util::{StreamExt as _, stream};

pub use self::request::{ContentRequest, RequestError};
use crate::{
    blocks::Blocks,
    error::ReadError,
    file_stream::stream_file,
    listing,
    resolve::{Resolved, lookup, resolve},
};

/// Content never changes under its CID: one year less four weeks, as the gateway specification has it.
const IMMUTABLE: &str = "public, max-age=29030400, immutable";
/// Listings are made by us and may look different tomorrow.
const LISTING: &str = "public, max-age=604800, stale-while-revalidate=2678400";
/// Seconds after which a reader may try again when pieces cannot be reached.
const RETRY_AFTER_SECS: u32 = 5;

/// Answers a request for content. Never fails: errors are answers too.
pub async fn respond(blocks: &Blocks, request: &ContentRequest) -> Response {
    let mut response = match answer(blocks, request).await {
        Ok(response) => response,
        Err(error) => failure(&error),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(headers, HeaderName::from_static("x-ipfs-path"), &request.content_path);
    add_cors(headers);
    response
}

/// The headers that let any web page read content.
pub fn add_cors(headers: &mut HeaderMap) {
    let cors: [(HeaderName, &str); 4] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Range, User-Agent, X-Requested-With"),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Content-Range, Content-Length, X-Ipfs-Path, X-Ipfs-Roots, X-Chunked-Output, X-Stream-Output",
        ),
    ];
    for (name, value) in cors {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

async fn answer(blocks: &Blocks, request: &ContentRequest) -> Result<Response, ReadError> {
    let resolved = resolve(blocks, &request.root, &request.path).await?;
    let mut response = match kind(&resolved.block) {
        Ok(Kind::Raw { size_bytes } | Kind::File { size_bytes }) => {
            let etag = format!("\"{}\"", resolved.block.cid);
            let file = resolved.block.clone();
            file_response(blocks, request, file, size_bytes, etag, request.file_name()).await?
        }
        Ok(Kind::Directory | Kind::HamtShard) => directory_response(blocks, request, &resolved).await?,
        Ok(Kind::Symlink(target)) => {
            let etag = format!("\"{}\"", resolved.block.cid);
            small_response(request, etag, "inode/symlink", IMMUTABLE, target.to_string())
        }
        // Not UnixFS: the block as it is, for whoever understands its codec.
        Err(_) if resolved.block.cid.codec() != content::Codec::DagPb => {
            let etag = format!("\"{}.raw\"", resolved.block.cid);
            let name = format!("{}.bin", resolved.block.cid);
            let bytes = resolved.block.bytes.clone();
            let mut response = small_response(request, etag, "application/vnd.ipld.raw", IMMUTABLE, bytes);
            set(
                response.headers_mut(),
                header::CONTENT_DISPOSITION,
                &format!("attachment; filename=\"{name}\""),
            );
            response
        }
        Err(error) => return Err(error.into()),
    };
    let roots: Vec<String> = resolved.roots.iter().map(Cid::to_string).collect();
    set(response.headers_mut(), HeaderName::from_static("x-ipfs-roots"), &roots.join(","));
    Ok(response)
}

async fn directory_response(
    blocks: &Blocks,
    request: &ContentRequest,
    resolved: &Resolved,
) -> Result<Response, ReadError> {
    if !request.trailing_slash {
        return Ok(to_slash(request));
    }
    match lookup(blocks, &resolved.block, "index.html").await {
        Ok(cid) => {
            let index = blocks.get(&cid).await?;
            if let Kind::Raw { size_bytes } | Kind::File { size_bytes } = kind(&index)? {
                // The directory's CID: the page is what this path stands for.
                let etag = format!("\"{}\"", resolved.block.cid);
                return file_response(blocks, request, index, size_bytes, etag, "index.html".into()).await;
            }
        }
        Err(ReadError::NoLink { .. }) => {}
        Err(error) => return Err(error),
    }
    let etag = format!("\"DirIndex-{}_CID-{}\"", listing::VERSION, resolved.block.cid);
    if conditions::not_modified(&request.headers, &etag) {
        return Ok(not_modified(&etag, LISTING));
    }
    let page = listing::render(blocks, &resolved.block, &request.content_path).await?;
    Ok(small_response(request, etag, "text/html; charset=utf-8", LISTING, page))
}

fn to_slash(request: &ContentRequest) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let query = request.query.as_deref().map_or_else(String::new, |query| format!("?{query}"));
    set(response.headers_mut(), header::LOCATION, &format!("{}/{query}", request.encoded_path));
    response
}

async fn file_response(
    blocks: &Blocks,
    request: &ContentRequest,
    file: Block,
    size: u64,
    etag: String,
    name: String,
) -> Result<Response, ReadError> {
    if conditions::not_modified(&request.headers, &etag) {
        return Ok(not_modified(&etag, IMMUTABLE));
    }
    let Ok(range) = conditions::range(&request.headers, &etag, size) else {
        let mut response = text(StatusCode::RANGE_NOT_SATISFIABLE, "range is outside of the file\n".into());
        set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
        return Ok(response);
    };
    let wanted = range.clone().unwrap_or(0..size);
    let (content_type, body) = file_body(blocks, request, file, wanted.clone(), &name).await?;

    let mut response = Response::new(body);
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, &content_type);
    set(headers, header::ETAG, &etag);
    set(headers, header::CACHE_CONTROL, IMMUTABLE);
    set(headers, header::ACCEPT_RANGES, "bytes");
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(wanted.end - wanted.start));
    if let Some(disposition) = request.content_disposition(&name) {
        set(headers, header::CONTENT_DISPOSITION, &disposition);
    }
    if let Some(Range { start, end }) = range {
        set(headers, header::CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Content type and body. The first bytes are read before the head is sent, so that content that cannot be read is
/// answered with a status and not with a broken connection.
async fn file_body(
    blocks: &Blocks,
    request: &ContentRequest,
    file: Block,
    wanted: Range<u64>,
    name: &str,
) -> Result<(String, Body), ReadError> {
    let by_name = content_type::by_name(name);
    if file.cid.codec() == content::Codec::Raw {
        // A file of one block, as most are: nothing to walk and nothing to wait for.
        let content_type = by_name.unwrap_or_else(|| content_type::by_bytes(&file.bytes));
        if request.head {
            return Ok((content_type, Body::empty()));
        }
        let body = match blocks.lend(part(&file.bytes, wanted.clone()), file.bytes.len()) {
            Some(bytes) => Body::from(bytes),
            None => Body::from_stream(stream_file(blocks.clone(), file, wanted)),
        };
        return Ok((content_type, body));
    }
    if request.head {
        let content_type = match by_name {
            Some(by_name) => by_name,
            None => content_type::by_bytes(&first_bytes(blocks, file).await?),
        };
        return Ok((content_type, Body::empty()));
    }
    let content_type = match by_name {
        Some(by_name) => Some(by_name),
        None if wanted.start > 0 => Some(content_type::by_bytes(&first_bytes(blocks, file.clone()).await?)),
        None => None,
    };
    let mut bytes = Box::pin(stream_file(blocks.clone(), file, wanted));
    let first = bytes.next().await.transpose()?.unwrap_or_default();
    let content_type = content_type.unwrap_or_else(|| content_type::by_bytes(&first));
    let rest = bytes.inspect(|part| {
        if let Err(error) = part {
            // The length was promised, so the connection is reset: nobody takes this for the whole.
            tracing::warn!(%error, "content became unreadable while it was sent");
            metrics::counter!("truncated_responses_total").increment(1);
        }
    });
    Ok((content_type, Body::from_stream(stream::iter([Ok(first)]).chain(rest))))
}

/// A part of a block's bytes.
fn part(bytes: &Bytes, wanted: Range<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(wanted.start)..at(wanted.end))
}

async fn first_bytes(blocks: &Blocks, file: Block) -> Result<Bytes, ReadError> {
    let mut bytes = Box::pin(stream_file(blocks.clone(), file, 0..content_type::SNIFF_LEN));
    Ok(bytes.next().await.transpose()?.unwrap_or_default())
}

/// An answer whose body is at hand.
fn small_response(
    request: &ContentRequest,
    etag: String,
    content_type: &str,
    cache_control: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    if conditions::not_modified(&request.headers, &etag) {
        return not_modified(&etag, cache_control);
    }
    let body = body.into();
    let length = body.len();
    let mut response = Response::new(if request.head { Body::empty() } else { Body::from(body) });
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, content_type);
    set(headers, header::ETAG, &etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// 304, with the headers of the 200 that a cache goes by (RFC 9110, 15.4.5).
fn not_modified(etag: &str, cache_control: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    set(headers, header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    response
}

/// An error as plain text, never to be cached.
fn failure(error: &ReadError) -> Response {
    let status = match error {
        ReadError::NotFound(_) | ReadError::NoLink { .. } | ReadError::NotADirectory(_) => {
            StatusCode::NOT_FOUND
        }
        ReadError::Malformed(_) | ReadError::UnsupportedHash(_) | ReadError::TooLarge(_) => {
            StatusCode::BAD_REQUEST
        }
        ReadError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = text(status, format!("{error}\n"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
    }
    response
}

/// A plain-text answer that nobody caches.
pub(crate) fn text(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Sets a header, unless the value cannot stand in one: then the header is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
