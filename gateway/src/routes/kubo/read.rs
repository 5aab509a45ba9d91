//! Reading: blocks, files and directories.

use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use content::{
    Cid, Codec,
    unixfs::walk::{Kind, Listing, kind, list},
};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use retrieval::{ReadError, Resolved, resolve, stream_body, stream_file};
use serde_json::{Value, json};

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
const BYTES: &str = "application/octet-stream";
/// Entries of one directory that are listed, at most: the answer is one piece of JSON.
const LISTED_MAX: usize = 100_000;

/// Shards of one directory that are read, at most.
const SHARDS_MAX: usize = 10_000;
/// Entries looked at at once.
const LOOKS_MAX: usize = 16;

pub(super) type Asked = Query<Vec<(String, String)>>;

/// What the argument leads to, for an account that may read.
pub(super) async fn find(gateway: &Gateway, headers: &HeaderMap, args: &Args) -> Result<Resolved, RpcError> {
    gateway.keys.account(headers, Scope::Read).await?;
    let (cid, path) = content_path(args.required()?)?;
    let resolved = resolve(&gateway.blocks, &cid, &path);
    let timeout = gateway.answers.first_byte_timeout;
    Ok(tokio::time::timeout(timeout, resolved).await.unwrap_or(Err(ReadError::TooSlow))?)
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
    let first = tokio::time::timeout(gateway.answers.first_byte_timeout, bytes.try_next()).await;
    let first = first.unwrap_or(Err(ReadError::TooSlow))?;
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
    let bytes = stream::iter([Ok(block.bytes)]);
    sent(&gateway, BYTES, bytes).await
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

/// `ls`: the entries of a directory. Their kinds are told by looking at each, unless `resolve-type=false`.
pub(super) async fn ls(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(args);
    gateway.keys.account(&headers, Scope::Read).await?;
    let look = args.flag("resolve-type")?.unwrap_or(true);
    let mut objects = Vec::new();
    for arg in args.all("arg") {
        let (cid, path) = content_path(arg)?;
        let directory = resolve(&gateway.blocks, &cid, &path).await?.block;
        let mut links = Vec::new();
        let mut shards = vec![directory];
        let mut read = 0;
        while let Some(shard) = shards.pop() {
            read += 1;
            if read > SHARDS_MAX {
                return Err(RpcError::argument(format!("{arg} has more than {SHARDS_MAX} shards")));
            }
            let Listing { entries, shards: below, .. } = list(&shard).map_err(ReadError::from)?;
            for entry in entries {
                if links.len() == LISTED_MAX {
                    let message = format!("{arg} has more than {LISTED_MAX} entries");
                    return Err(RpcError::argument(message));
                }
                links.push((entry.name.to_string(), entry.target));
            }
            for below in below {
                shards.push(gateway.blocks.get(&below).await?);
            }
        }
        links.sort_by(|(a, _), (b, _)| a.cmp(b));
        let shown = stream::iter(links).map(|(name, target)| async {
            let (name, cid) = (name, target.cid);
            let (number, size) = if look { look_at(&gateway, &cid).await? } else { (0, 0) };
            let hash = cid.as_written().to_string();
            Ok::<_, RpcError>(
                json!({ "Name": name, "Hash": hash, "Size": size, "Type": number, "Target": "" }),
            )
        });
        let shown: Vec<Value> = shown.buffered(LOOKS_MAX).try_collect().await?;
        objects.push(json!({ "Hash": arg, "Links": shown }));
    }
    if objects.is_empty() {
        args.required()?;
    }
    Ok(line(&json!({ "Objects": Value::Array(objects) })))
}

/// The number that Kubo has for what a link leads to, and its length.
async fn look_at(gateway: &Gateway, cid: &Cid) -> Result<(u8, u64), RpcError> {
    if !matches!(cid.codec(), Codec::Raw | Codec::DagPb) {
        return Ok((0, 0));
    }
    let block = gateway.blocks.get(cid).await?;
    Ok(match kind(&block) {
        Ok(Kind::Directory) => (1, 0),
        Ok(Kind::HamtShard) => (5, 0),
        Ok(Kind::Raw { size_bytes } | Kind::File { size_bytes }) => (2, size_bytes),
        Ok(Kind::Symlink(target)) => (4, target.len() as u64),
        Err(_) => (0, 0),
    })
}
