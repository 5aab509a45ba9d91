//! Reading: blocks and files, and what all readings have in common.

use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use content::{
    Block, Codec,
    unixfs::walk::{Kind, kind},
};
use futures_util::{Stream, TryStreamExt as _, stream};
use retrieval::{ReadError, Resolved, resolve, resolve_data, stream_body, stream_file};
use serde_json::json;

use super::{
    answer::{RpcError, line},
    args::{Args, content_path},
};
use crate::{
    app::Gateway,
    auth::Scope,
    routes::content::{TOO_MANY_READS, hold, read_slot},
};

/// Bytes of no known type.
pub(super) const BYTES: &str = "application/octet-stream";

pub(super) type Asked = Query<Vec<(String, String)>>;

/// What the argument leads to, for an account that may read.
pub(super) async fn find(gateway: &Gateway, headers: &HeaderMap, args: &Args) -> Result<Resolved, RpcError> {
    gateway.keys.account(headers, Scope::Read).await?;
    let (cid, path) = content_path(args.required()?)?;
    in_time(gateway, resolve(&gateway.blocks, &cid, &path)).await
}

/// The same for arguments that may lead to a value in a block: with what leads to it there.
pub(super) async fn find_data(
    gateway: &Gateway,
    headers: &HeaderMap,
    args: &Args,
) -> Result<(Block, Vec<String>), RpcError> {
    gateway.keys.account(headers, Scope::Read).await?;
    let (cid, path) = content_path(args.required()?)?;
    let (resolved, rest) = in_time(gateway, resolve_data(&gateway.blocks, &cid, &path)).await?;
    Ok((resolved.block, rest.to_vec()))
}

/// What a read gives, unless it takes longer than readers are made to wait.
pub(super) async fn in_time<T>(
    gateway: &Gateway,
    read: impl Future<Output = Result<T, ReadError>>,
) -> Result<T, RpcError> {
    let read = tokio::time::timeout(gateway.answers.first_byte_timeout, read).await;
    Ok(read.unwrap_or(Err(ReadError::TooSlow))?)
}

/// Content that is sent while it is read. As long as none of it was read, an error has a status; after that the connection
/// is broken off.
pub(super) async fn sent<S>(
    gateway: &Gateway,
    content_type: &'static str,
    bytes: S,
) -> Result<Response, RpcError>
where
    S: Stream<Item = Result<Bytes, ReadError>> + Send + 'static,
{
    let slot = read_slot(gateway).ok_or_else(|| RpcError::busy(TOO_MANY_READS))?;
    let mut bytes = Box::pin(bytes);
    let first = in_time(gateway, bytes.try_next()).await?;
    let mut response = Response::new(stream_body(first, bytes, gateway.answers.stall_timeout));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // So Kubo tells content from lines.
    headers.insert("x-stream-output", HeaderValue::from_static("1"));
    Ok(hold(slot, response))
}

/// `block/get`: its bytes.
pub(super) async fn block_get(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let block = find(&gateway, &headers, &Args(args)).await?.block;
    if block.cid.codec() != Codec::Raw {
        // Other codecs hold data and links, and are short.
        return sent(&gateway, BYTES, stream::iter([Ok(block.bytes)])).await;
    }
    // A leaf is a file, and lent to slow connections only as far as there is room for that.
    let length = block.bytes.len() as u64;
    sent(&gateway, BYTES, stream_file(gateway.blocks.clone(), block, 0..length)).await
}

/// `block/stat`: its length.
pub(super) async fn block_stat(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let block = find(&gateway, &headers, &Args(args)).await?.block;
    Ok(line(&json!({ "Key": block.cid.as_written().to_string(), "Size": block.bytes.len() })))
}

/// `cat`: the bytes of a file, or `length` of them from `offset`.
pub(super) async fn cat(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let block = find(&gateway, &headers, &args).await?.block;
    let size = match kind(&block).map_err(ReadError::from)? {
        Kind::Raw { size_bytes } | Kind::File { size_bytes } => size_bytes,
        Kind::Directory | Kind::HamtShard => return Err(RpcError::argument("this dag node is a directory")),
        Kind::Symlink(_) => return Err(RpcError::argument("this dag node is a symbolic link")),
    };
    let start = args.number("offset")?.unwrap_or(0).min(size);
    let end = args.number("length")?.map_or(size, |length| start.saturating_add(length).min(size));
    let bytes = stream_file(gateway.blocks.clone(), block, start..end);
    let mut response = sent(&gateway, BYTES, bytes).await?;
    response.headers_mut().insert("x-content-length", (end - start).into());
    Ok(response)
}
