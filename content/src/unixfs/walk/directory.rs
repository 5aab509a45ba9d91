//! Directories: one name followed through them, or the entries of one block.

use std::collections::BTreeSet;

use super::{Reason, WalkError, message};
use crate::block::Block;
use crate::cid::Cid;
use crate::dagpb::{self, RawLink};
use crate::unixfs::hamt::{self, Fanout};
use crate::unixfs::{DataType, Target};

/// Follows one name through a directory, block by block.
///
/// Give [`NameLookup::step`] the root of the directory, then each block it asks for, until it answers. It asks
/// for at most 21 (64 bits of hash, three or more a level).
#[derive(Debug, Clone)]
pub struct NameLookup<'n> {
    name: &'n str,
    /// Bits of the name's hash that the shards so far have spent; `None` before the first block.
    spent: Option<u32>,
}

/// What a block says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The entry.
    Found(Target),
    /// There is no such entry in the whole directory.
    Absent,
    /// The answer is in this shard: fetch it and give it to the next step.
    Fetch(Cid),
}

/// The entries that one block of a directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing<'a> {
    /// Entries in the block's order. Of entries with one name only the first is here.
    pub entries: Vec<DirEntry<'a>>,
    /// Shards with further entries, to be fetched and listed in turn. Empty unless the directory is sharded.
    pub shards: Vec<Cid>,
}

/// An entry of a directory. Its name comes from whoever made the directory and may be anything, `..` and names
/// with slashes included: check it with [`check_name`](crate::unixfs::directory::check_name) before it meets a
/// file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a str,
    /// What it points at.
    pub target: Target,
}

impl<'n> NameLookup<'n> {
    /// A lookup of one name: one component of a path, percent-decoded.
    #[must_use]
    pub fn new(name: &'n str) -> Self {
        Self { name, spent: None }
    }

    /// Looks into the next block.
    pub fn step(&mut self, block: &Block) -> Result<Step, WalkError> {
        self.look(block).map_err(|reason| WalkError { cid: block.cid.clone(), reason })
    }

    fn look(&mut self, block: &Block) -> Result<Step, Reason> {
        match layout(block)? {
            Layout::Basic if self.spent.is_some() => Err(Reason::NotAShard),
            Layout::Basic => self.look_in_basic(block),
            Layout::Shard(fanout) => self.look_in_shard(block, fanout),
        }
    }

    fn look_in_basic(&self, block: &Block) -> Result<Step, Reason> {
        let mut found = None;
        dagpb::scan_raw(&block.bytes, |link| {
            if found.is_none() && link.name.unwrap_or_default() == self.name {
                found = Some(target(link));
            }
        })?;
        Ok(found.map_or(Step::Absent, Step::Found))
    }

    fn look_in_shard(&mut self, block: &Block, fanout: Fanout) -> Result<Step, Reason> {
        let spent = self.spent.unwrap_or(0);
        let wanted = hamt::bucket(hamt::hash(self.name), spent, fanout).ok_or(Reason::TooDeep)?;
        let mut answer = Step::Absent;
        let mut stray = None;
        dagpb::scan_raw(&block.bytes, |link| {
            let name = link.name.unwrap_or_default();
            match fanout.split(name) {
                Some((bucket, rest)) if bucket == wanted && answer == Step::Absent => {
                    if rest.is_empty() {
                        answer = Step::Fetch(link.cid.keep());
                    } else if rest == self.name {
                        answer = Step::Found(target(link));
                    }
                }
                Some(_) => {}
                None => stray = stray.or(Some(name)),
            }
        })?;
        if let Some(name) = stray {
            return Err(Reason::ShardLink(name.to_owned()));
        }
        self.spent = Some(spent + fanout.bits());
        Ok(answer)
    }
}

/// Lists one block of a directory.
pub fn list(block: &Block) -> Result<Listing<'_>, WalkError> {
    listing(block).map_err(|reason| WalkError { cid: block.cid.clone(), reason })
}

fn listing(block: &Block) -> Result<Listing<'_>, Reason> {
    let layout = layout(block)?;
    let mut out = Listing::default();
    let mut stray = None;
    dagpb::scan_raw(&block.bytes, |link| {
        let whole = link.name.unwrap_or_default();
        let name = match layout {
            Layout::Basic => whole,
            Layout::Shard(fanout) => match fanout.split(whole) {
                Some((_, "")) => return out.shards.push(link.cid.keep()),
                Some((_, name)) => name,
                None => return stray = stray.or(Some(whole)),
            },
        };
        out.entries.push(DirEntry { name, target: target(link) });
    })?;
    if let Some(name) = stray {
        return Err(Reason::ShardLink(name.to_owned()));
    }
    drop_repeated(&mut out.entries);
    Ok(out)
}

/// Keeps the first entry of each name, as lookups do.
fn drop_repeated(entries: &mut Vec<DirEntry<'_>>) {
    // What we and most others write is sorted, and then nothing can be repeated.
    if entries.is_sorted_by(|a, b| a.name < b.name) {
        return;
    }
    let mut seen = BTreeSet::new();
    entries.retain(|entry| seen.insert(entry.name));
}

/// How a directory's entries are spread.
#[derive(Clone, Copy)]
enum Layout {
    Basic,
    Shard(Fanout),
}

fn layout(block: &Block) -> Result<Layout, Reason> {
    let codec = block.cid.codec();
    if codec == crate::cid::Codec::Raw {
        return Err(Reason::NotADirectory);
    }
    let (_, data) = message(block)?;
    match data.data_type {
        DataType::Directory => Ok(Layout::Basic),
        DataType::HamtShard => Ok(Layout::Shard(hamt::check(&data)?)),
        _ => Err(Reason::NotADirectory),
    }
}

fn target(link: RawLink<'_>) -> Target {
    Target { cid: link.cid.keep(), dag_size_bytes: link.tsize.unwrap_or(0) }
}
