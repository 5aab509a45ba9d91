//! `ls`: the entries of directories.

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use content::{
    Block, Cid, Codec,
    unixfs::walk::{Kind, Listing, kind, list},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use retrieval::{ReadError, resolve};
use serde_json::{Value, json};

use super::{
    answer::{LineSender, RpcError, line, lines_as_they_come},
    args::{Args, content_path},
    read::{Asked, in_time},
};
use crate::{
    app::Gateway,
    auth::Scope,
    routes::content::{TOO_MANY_READS, read_slot},
};

/// Entries of one directory in an answer that is one piece of JSON, at most.
const LISTED_MAX: usize = 100_000;
/// Shards of one directory that are read, at most.
const SHARDS_MAX: usize = 262_144;
/// Entries looked at at once.
const LOOKS_MAX: usize = 16;

/// `ls`: entries sorted by name, in one answer; with `stream` a line for each, in the order of the blocks. The kinds of
/// entries are told by looking at each, unless `resolve-type` and `size` are false.
pub(super) async fn ls(
    State(gateway): State<Gateway>,
    Query(args): Asked,
    headers: HeaderMap,
) -> Result<Response, RpcError> {
    let args = Args(args);
    gateway.keys.account(&headers, Scope::Read).await?;
    let flag = |name| Ok::<_, RpcError>(args.flag(name)?.unwrap_or(true));
    let look = flag("resolve-type")? || flag("size")?;
    args.required()?;
    let slot = read_slot(&gateway).ok_or_else(|| RpcError::busy(TOO_MANY_READS))?;
    let mut tops = Vec::new();
    for arg in args.all("arg") {
        let (cid, path) = content_path(arg)?;
        tops.push(in_time(&gateway, resolve(&gateway.blocks, &cid, &path)).await?.block);
    }
    if args.flag("stream")?.unwrap_or(false) {
        let all = async move |lines: LineSender| {
            let _slot = slot;
            stream_all(&gateway, tops, look, &lines).await
        };
        return lines_as_they_come(all).await;
    }
    let mut objects = Vec::new();
    for top in tops {
        let hash = top.cid.as_written().to_string();
        let mut links = Vec::new();
        let mut directory = Directory::new(top)?;
        while let Some(more) = directory.next(&gateway).await? {
            links.extend(more);
            if links.len() > LISTED_MAX {
                return Err(RpcError::argument(format!(
                    "{hash} has more than {LISTED_MAX} entries: ask for stream=true"
                )));
            }
        }
        links.sort_by(|(a, _), (b, _)| a.cmp(b));
        objects.push(json!({ "Hash": hash, "Links": shown(&gateway, links, look).await? }));
    }
    Ok(line(&json!({ "Objects": objects })))
}

async fn stream_all(
    gateway: &Gateway,
    tops: Vec<Block>,
    look: bool,
    lines: &LineSender,
) -> Result<(), RpcError> {
    for top in tops {
        let hash = top.cid.as_written().to_string();
        let mut directory = Directory::new(top)?;
        while let Some(links) = directory.next(gateway).await? {
            for link in shown(gateway, links, look).await? {
                let object = json!({ "Hash": hash, "Links": [link] });
                lines.send(json!({ "Objects": [object] })).await;
            }
        }
    }
    Ok(())
}

/// A directory that is read shard by shard. Files have no entries.
struct Directory {
    first: Option<Block>,
    /// Shards to read.
    rest: Vec<Cid>,
    read: usize,
}

impl Directory {
    fn new(top: Block) -> Result<Self, RpcError> {
        let is_file = matches!(
            kind(&top).map_err(ReadError::from)?,
            Kind::Raw { .. } | Kind::File { .. } | Kind::Symlink(_)
        );
        Ok(Self { first: Some(top).filter(|_| !is_file), rest: Vec::new(), read: 0 })
    }

    /// The entries of the next shard.
    async fn next(&mut self, gateway: &Gateway) -> Result<Option<Vec<(String, Cid)>>, RpcError> {
        let shard = match (self.first.take(), self.rest.pop()) {
            (Some(first), _) => first,
            (None, Some(cid)) => in_time(gateway, gateway.blocks.get(&cid)).await?,
            (None, None) => return Ok(None),
        };
        self.read += 1;
        if self.read > SHARDS_MAX {
            return Err(RpcError::argument(format!("a directory has more than {SHARDS_MAX} shards")));
        }
        let Listing { entries, shards, .. } = list(&shard).map_err(ReadError::from)?;
        self.rest.extend(shards.into_iter().rev());
        Ok(Some(entries.into_iter().map(|entry| (entry.name.to_string(), entry.target.cid)).collect()))
    }
}

async fn shown(gateway: &Gateway, links: Vec<(String, Cid)>, look: bool) -> Result<Vec<Value>, RpcError> {
    let shown = stream::iter(links).map(|(name, cid)| async move {
        let Look { number, size, target } =
            if look { in_time(gateway, look_at(gateway, &cid)).await? } else { Look::default() };
        let hash = cid.as_written().to_string();
        Ok(json!({ "Name": name, "Hash": hash, "Size": size, "Type": number, "Target": target }))
    });
    shown.buffered(LOOKS_MAX).try_collect().await
}

/// What a link leads to.
#[derive(Default)]
struct Look {
    /// The number that Kubo has for its kind.
    number: u8,
    /// Bytes of a file.
    size: u64,
    /// Of a symbolic link.
    target: String,
}

async fn look_at(gateway: &Gateway, cid: &Cid) -> Result<Look, ReadError> {
    if !matches!(cid.codec(), Codec::Raw | Codec::DagPb) {
        return Ok(Look::default());
    }
    let block = gateway.blocks.get(cid).await?;
    let of = |number| Look { number, ..Look::default() };
    Ok(match kind(&block) {
        Ok(Kind::Directory) => of(1),
        Ok(Kind::HamtShard) => of(5),
        Ok(Kind::Raw { size_bytes } | Kind::File { size_bytes }) => Look { size: size_bytes, ..of(2) },
        Ok(Kind::Symlink(target)) => Look { size: target.len() as u64, target: target.to_string(), ..of(4) },
        Err(_) => Look::default(),
    })
}
