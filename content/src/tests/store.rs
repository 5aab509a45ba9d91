//! A map of blocks and the plainest possible reader over it, for tests.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::block::Block;
use crate::cid::Cid;
use crate::unixfs::Target;
use crate::unixfs::walk::{self, Kind, NameLookup, Step};

/// Blocks by name.
#[derive(Default)]
pub(crate) struct Store(HashMap<Cid, Bytes>);

/// What a path of a tree leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    File(Vec<u8>),
    Directory,
    Symlink(String),
    /// A block that is not in the store, or no `UnixFS`.
    Opaque,
}

impl Store {
    pub(crate) fn new(blocks: impl IntoIterator<Item = Block>) -> Self {
        Self(blocks.into_iter().map(|block| (block.cid, block.bytes)).collect())
    }

    pub(crate) fn get(&self, cid: &Cid) -> Option<Block> {
        let stored = self.0.get(cid).map(|bytes| Block { cid: cid.clone(), bytes: bytes.clone() });
        stored.or_else(|| Block::from_identity(cid.clone()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The whole file, or `None` when a block of it is missing.
    pub(crate) fn read(&self, cid: &Cid) -> Option<Vec<u8>> {
        let node = walk::file(&self.get(cid)?).unwrap();
        let mut out = node.inline.to_vec();
        for child in &node.children {
            child.check(&walk::kind(&self.get(&child.cid)?).unwrap()).unwrap();
            assert_eq!(child.range.start, out.len() as u64);
            out.extend(self.read(&child.cid)?);
        }
        assert_eq!(out.len() as u64, node.size_bytes);
        Some(out)
    }

    /// Entries of a directory of any layout.
    pub(crate) fn entries(&self, directory: &Cid) -> BTreeMap<String, Target> {
        let mut out = BTreeMap::new();
        let mut todo = vec![directory.clone()];
        while let Some(cid) = todo.pop() {
            let block = self.get(&cid).unwrap();
            let listing = walk::list(&block).unwrap();
            for entry in listing.entries {
                assert_eq!(out.insert(entry.name.to_owned(), entry.target), None, "{}", entry.name);
            }
            todo.extend(listing.shards);
        }
        out
    }

    pub(crate) fn lookup(&self, directory: &Cid, name: &str) -> Option<Target> {
        let mut lookup = NameLookup::new(name);
        let mut cid = directory.clone();
        loop {
            match lookup.step(&self.get(&cid).unwrap()).unwrap() {
                Step::Found(target) => return Some(target),
                Step::Absent => return None,
                Step::Fetch(shard) => cid = shard,
            }
        }
    }

    /// Everything under `cid`, by path.
    pub(crate) fn tree(&self, cid: &Cid) -> BTreeMap<String, Found> {
        let mut out = BTreeMap::new();
        self.collect(cid, "", &mut out);
        out
    }

    fn collect(&self, cid: &Cid, path: &str, out: &mut BTreeMap<String, Found>) {
        let block = self.get(cid);
        let found = match block.as_ref().map(walk::kind) {
            None | Some(Err(_)) => Found::Opaque,
            Some(Ok(Kind::Raw { .. } | Kind::File { .. })) => {
                self.read(cid).map_or(Found::Opaque, Found::File)
            }
            Some(Ok(Kind::Symlink(target))) => Found::Symlink(target.to_owned()),
            Some(Ok(Kind::Directory | Kind::HamtShard)) => {
                for (name, target) in self.entries(cid) {
                    assert_eq!(self.lookup(cid, &name), Some(target.clone()));
                    self.collect(&target.cid, &format!("{path}/{name}"), out);
                }
                assert_eq!(self.lookup(cid, "surely not there"), None);
                Found::Directory
            }
        };
        out.insert(path.to_owned(), found);
    }
}
