//! `get`: a file or directory as a TAR stream, compressed if that is asked for.

mod gzip;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue},
    response::Response,
};
use content::unixfs::walk::{Kind, kind};
use futures_util::StreamExt as _;
use retrieval::{ReadError, stream_file, stream_tar};

use self::gzip::gzip;
use super::{
    answer::RpcError,
    args::Args,
    read::{Asked, find, sent},
};
use crate::app::Gateway;

/// `get`. A file that is compressed and not archived is sent as it is; everything else is a TAR, also when nobody asks for
/// one: Kubo's clients unpack it.
pub(super) async fn get(
    State(gateway): State<Gateway>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(asked.0);
    let archive = args.flag("archive")?.or(args.flag("a")?).unwrap_or(false);
    let level = compression(&args)?;
    let resolved = find(&gateway, &headers, &args).await?;
    let size = match kind(&resolved.block).map_err(ReadError::from)? {
        Kind::Raw { size_bytes } | Kind::File { size_bytes } => Some(size_bytes),
        Kind::Directory | Kind::HamtShard | Kind::Symlink(_) => None,
    };
    let blocks = gateway.blocks.clone();
    let bytes = match (size, level) {
        (Some(size), Some(_)) if !archive => stream_file(blocks, resolved.block, 0..size).boxed(),
        (None, Some(_)) if !archive => {
            return Err(RpcError::argument("file is not regular: ask for archive=true"));
        }
        _ => stream_tar(blocks, &resolved, top_name(args.required()?))?.boxed(),
    };
    let mut response = match level {
        Some(level) => sent(&gateway, "application/gzip", gzip(bytes, level)).await?,
        None => sent(&gateway, "application/x-tar", bytes).await?,
    };
    if let Some(size) = size {
        // What progress is measured by; the stream itself is longer, or shorter.
        response.headers_mut().insert("x-content-length", HeaderValue::from(size));
    }
    Ok(response)
}

/// The level of compression, if there is to be any: that of gzip, 1 to 9.
fn compression(args: &Args) -> Result<Option<u32>, RpcError> {
    if !args.flag("compress")?.or(args.flag("C")?).unwrap_or(false) {
        return Ok(None);
    }
    match args.number("compression-level")?.or(args.number("l")?) {
        None => Ok(Some(LEVEL_DEFAULT)),
        Some(level @ 1..=9) => Ok(u32::try_from(level).ok()),
        Some(_) => Err(RpcError::argument("compression level must be between 1 and 9")),
    }
}

/// The level of gzip when none is named.
const LEVEL_DEFAULT: u32 = 6;

/// How the top of the archive is named: as the path ends.
fn top_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}
