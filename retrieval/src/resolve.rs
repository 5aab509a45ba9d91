//! Following a path through directories to what it names.

use content::{
    Block, Cid,
    unixfs::walk::{Kind, NameLookup, Step, kind},
};

use crate::{blocks::Blocks, error::ReadError};

/// Components of a path, at most.
const COMPONENTS_MAX: usize = 128;

/// What a path names.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its block.
    pub block: Block,
    /// The CIDs of the path's components, the root first: the `X-Ipfs-Roots` header.
    pub roots: Vec<Cid>,
}

/// Follows `path` (decoded components) from `root`.
pub async fn resolve(blocks: &Blocks, root: &Cid, path: &[String]) -> Result<Resolved, ReadError> {
    if path.len() > COMPONENTS_MAX {
        return Err(ReadError::TooLarge("path has too many components"));
    }
    let mut block = blocks.get(root).await?.block;
    let mut roots = vec![root.clone()];
    for name in path {
        let cid = lookup(blocks, &block, name).await?;
        block = blocks.get(&cid).await?.block;
        roots.push(cid);
    }
    Ok(Resolved { block, roots })
}

/// The entry `name` of a directory.
pub(crate) async fn lookup(blocks: &Blocks, directory: &Block, name: &str) -> Result<Cid, ReadError> {
    if !matches!(kind(directory), Ok(Kind::Directory | Kind::HamtShard)) {
        return Err(ReadError::NotADirectory(directory.cid.clone()));
    }
    let mut lookup = NameLookup::new(name);
    let mut block = directory.clone();
    loop {
        match lookup.step(&block)? {
            Step::Found(target) => return Ok(target.cid),
            Step::Absent => {
                return Err(ReadError::NoLink { parent: directory.cid.clone(), name: name.to_string() });
            }
            Step::Fetch(shard) => block = blocks.get(&shard).await?.block,
        }
    }
}
