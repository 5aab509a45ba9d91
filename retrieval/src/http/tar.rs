//! Files and directories as a TAR stream (IPIP-0288).

mod header;
mod stream;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use content::unixfs::walk::{Kind, kind};
use futures_util::Stream;

use self::stream::TarStream;
use super::{
    Ask,
    answer::{not_modified, streamed},
    body::stream_body,
    failure::Failure,
    headers::{Caching, set_disposition},
};
use crate::{blocks::Blocks, error::ReadError, resolve::Resolved};

/// A TAR archive of a file or directory, whose top entry has this name. What cannot be an archive is found out while it is
/// being sent, except for the name and the kind of the top.
pub fn stream_tar(
    blocks: Blocks,
    resolved: &Resolved,
    name: &str,
) -> Result<impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static, ReadError> {
    Ok(TarStream::new(blocks, resolved, name)?.into_stream())
}

pub(super) async fn answer(ask: &Ask<'_>, resolved: &Resolved) -> Result<Response, Failure> {
    let cid = &resolved.block.cid;
    if !matches!(
        kind(&resolved.block),
        Ok(Kind::Raw { .. } | Kind::File { .. } | Kind::Directory | Kind::HamtShard | Kind::Symlink(_))
    ) {
        return Err(Failure::NotAcceptable { cid: cid.clone(), wanted: "application/x-tar" });
    }
    // The tree is named as the path ends.
    let root = ask.request.path.last().cloned().unwrap_or_else(|| cid.as_written().to_string());
    let named = if ask.request.path.is_empty() { String::new() } else { name_hash(&root) };
    let caching = Caching::immutable(format!("W/\"{}.x-tar{named}\"", cid.as_written()));
    if caching.is_known(&ask.request.headers) {
        return Ok(not_modified(&caching));
    }
    // Made, and its first entries read, before the head is sent: what cannot be an archive is refused with a status.
    let mut stream = TarStream::new(ask.blocks.clone(), resolved, &root)?;
    let body = if ask.request.head {
        Body::empty()
    } else {
        let first = stream.next().await?;
        stream_body(first, stream.into_stream(), ask.rules.stall_timeout)
    };
    let mut response = streamed(body, &caching, "application/x-tar");
    set_disposition(response.headers_mut(), ask.request, "attachment", &format!("{root}.tar"));
    Ok(response)
}

/// Tells archives of one tree under different names apart.
fn name_hash(name: &str) -> String {
    format!(".{}", &blake3::hash(name.as_bytes()).to_hex()[..16])
}
