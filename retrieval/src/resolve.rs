//! Following a path to what it names: through directories of any layout, and through the links of dag-cbor and dag-json.

use content::{
    Block, Cid, Codec,
    ipld::{self, Lookup},
    unixfs::walk::{Kind, NameLookup, Step, kind},
};

use crate::{blocks::Blocks, error::ReadError};

/// Components of a path, at most.
const COMPONENTS_MAX: usize = 128;
/// Bytes of all components of a path, at most.
const PATH_BYTES_MAX: usize = 8192;

/// What a path names.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its block.
    pub block: Block,
    /// How the path led there.
    pub way: Way,
    /// The blocks that the way led through, in order and without the last: with them anybody can check the path.
    pub trail: Vec<Cid>,
}

/// The CIDs that a path led through.
#[derive(Clone, Debug)]
pub struct Way {
    /// Those of the path's components, the root first: the `X-Ipfs-Roots` header.
    pub roots: Vec<Cid>,
    /// How many components of `path` lead to each of them.
    used: Vec<usize>,
    path: Vec<String>,
}

impl Way {
    /// Whether what lies under `below` at the end of this way may be read: no CID on the way may deny the rest of the path.
    pub(crate) fn permit(&self, blocks: &Blocks, below: &str) -> Result<(), ReadError> {
        for (cid, used) in self.roots.iter().zip(&self.used) {
            let rest = self.path[*used..].iter().map(String::as_str);
            blocks.permit(cid, rest.chain(below.split('/')))?;
        }
        Ok(())
    }
}

/// Follows `path` (decoded components) from `root`. A rule about a path holds for each CID on the way: whoever puts a
/// directory into another one does not get around it.
pub async fn resolve(blocks: &Blocks, root: &Cid, path: &[String]) -> Result<Resolved, ReadError> {
    match resolve_data(blocks, root, path).await? {
        (resolved, []) => Ok(resolved),
        (resolved, _) => Err(ReadError::NotALink(resolved.block.cid)),
    }
}

/// The same for paths that may end at a value within the data of a block: with the components that lead to it there.
pub async fn resolve_data<'p>(
    blocks: &Blocks,
    root: &Cid,
    path: &'p [String],
) -> Result<(Resolved, &'p [String]), ReadError> {
    let bytes: usize = path.iter().map(String::len).sum();
    if path.len() > COMPONENTS_MAX || bytes > PATH_BYTES_MAX {
        return Err(ReadError::TooLarge("path is too long"));
    }
    blocks.permit(root, path)?;
    let mut block = blocks.get(root).await?;
    let mut way = Way { roots: vec![root.clone()], used: vec![0], path: path.to_vec() };
    let mut trail = Vec::new();
    let mut rest = path;
    while let [name, ..] = rest {
        let (cid, used) = match block.cid.codec() {
            Codec::DagPb | Codec::Raw => (lookup(blocks, &block, name, &mut trail).await?, 1),
            _ => {
                let Some(link) = link(&block, rest)? else { break };
                trail.push(block.cid.clone());
                link
            }
        };
        rest = &rest[used..];
        blocks.permit(&cid, rest)?;
        block = blocks.get(&cid).await?;
        way.roots.push(cid);
        way.used.push(path.len() - rest.len());
    }
    Ok((Resolved { block, way, trail }, rest))
}

/// The first link on a path through the data of a block, and how many components lead to it; `None` where the path ends at
/// another value.
fn link(block: &Block, path: &[String]) -> Result<Option<(Cid, usize)>, ReadError> {
    let cid = block.cid.clone();
    match ipld::lookup(block, path) {
        // A link in place of the whole data takes no component: there is nothing to go on with.
        Some(Ok(Lookup::Link(_, 0))) | None => Err(ReadError::NotALink(cid)),
        Some(Ok(Lookup::Value)) => Ok(None),
        Some(Ok(Lookup::Link(target, used))) => Ok(Some((target, used))),
        Some(Ok(Lookup::Absent(at))) => Err(ReadError::NoLink { parent: cid, name: path[at].clone() }),
        Some(Err(error)) => Err(ReadError::BadData(cid, error)),
    }
}

/// The entry `name` of a directory. Appends the blocks that it was looked for in to `trail`.
pub(crate) async fn lookup(
    blocks: &Blocks,
    directory: &Block,
    name: &str,
    trail: &mut Vec<Cid>,
) -> Result<Cid, ReadError> {
    if !matches!(kind(directory), Ok(Kind::Directory | Kind::HamtShard)) {
        return Err(ReadError::NotADirectory(directory.cid.clone()));
    }
    let mut lookup = NameLookup::new(name);
    let mut block = directory.clone();
    loop {
        trail.push(block.cid.clone());
        match lookup.step(&block)? {
            Step::Found(target) => return Ok(target.cid),
            Step::Absent => {
                return Err(ReadError::NoLink { parent: directory.cid.clone(), name: name.to_string() });
            }
            Step::Fetch(shard) => block = blocks.get(&shard).await?,
        }
    }
}
