//! Builds one directory: names with what they point at become one block, or a trie of shards.
//!
//! Whether a directory is sharded depends only on the sum of its entries' sizes, so the same entries give the same
//! CID in whatever order they come. Blocks that their own CID carries are not among those to store. Many files under paths are [`super::tree`].

use std::collections::BTreeMap;

use bytes::Bytes;

use super::hamt::{self, Fanout, MURMUR3_X64_64};
use super::profile::{Measure, Profile};
use super::{Data, DataType, Target};
use crate::block::Block;
use crate::cid::Codec;
use crate::dagpb::{Link, Node};

/// Longest name in bytes. POSIX systems stop at 255, object stores at 1024; a shard with the largest fanout
/// full of such names is 1.1 MB, so it always fits a block.
pub const NAME_MAX: usize = 1024;

/// Longest target of a symbolic link in bytes, `PATH_MAX` of Linux.
pub const SYMLINK_MAX: usize = 4096;

/// Data field of every unsharded directory, with its head: two bytes of message, two in front.
const BASIC_DATA_LEN: usize = 4;

/// Builds one directory.
#[derive(Debug)]
pub struct DirectoryBuilder {
    profile: Profile,
    entries: BTreeMap<String, Target>,
    /// Size of the directory with the entries so far, as the profile measures it.
    measured: usize,
}

/// A directory that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedDirectory {
    /// The directory as something to link to.
    pub root: Target,
    /// All its blocks that have to be stored, children before parents, the root last.
    pub blocks: Vec<Block>,
}

/// Why a name cannot stand in a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("a name is empty")]
    Empty,
    /// `.` and `..` mean a directory itself and its parent.
    #[error("{0:?} cannot be a name")]
    Dots(String),
    /// The name has a slash or a zero byte.
    #[error("name {0:?} contains a slash or a zero byte")]
    Character(String),
    /// The name is longer than [`NAME_MAX`].
    #[error("a name of {0} bytes is longer than 1024")]
    TooLong(usize),
}

/// Why a directory cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The name is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is taken.
    #[error("name {0:?} is there twice")]
    Duplicate(String),
    /// Two names have one hash as far as the trie can go. Nobody meets this who does not seek it.
    #[error("names {0:?} and {1:?} collide in every level of the directory")]
    Collision(String, String),
}

/// Checks that a name can stand in a directory without escaping it when files are written to a disk.
pub fn check_name(name: &str) -> Result<(), NameError> {
    match name {
        "" => Err(NameError::Empty),
        "." | ".." => Err(NameError::Dots(name.to_owned())),
        _ if name.len() > NAME_MAX => Err(NameError::TooLong(name.len())),
        _ if name.contains(['/', '\0']) => Err(NameError::Character(name.to_owned())),
        _ => Ok(()),
    }
}

/// The block of a symbolic link. `None` when the target is longer than [`SYMLINK_MAX`].
#[must_use]
pub fn symlink(profile: Profile, target: &str) -> Option<Block> {
    if target.len() > SYMLINK_MAX {
        return None;
    }
    let data = Data { data: Some(target.as_bytes()), ..Data::new(DataType::Symlink) }.encode();
    let node = Node { links: Vec::new(), data: Some(&data) };
    Some(profile.block(Codec::DagPb, Bytes::from(node.encode())))
}

impl DirectoryBuilder {
    /// An empty directory.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        let measured = match profile.parameters().hamt_measure {
            Measure::Block => BASIC_DATA_LEN,
            Measure::Links => 0,
        };
        Self { profile, entries: BTreeMap::new(), measured }
    }

    /// Adds an entry.
    pub fn insert(&mut self, name: &str, target: Target) -> Result<(), DirectoryError> {
        check_name(name)?;
        if self.entries.contains_key(name) {
            return Err(DirectoryError::Duplicate(name.to_owned()));
        }
        self.measured += match self.profile.parameters().hamt_measure {
            Measure::Block => link(name, &target).encoded_len(),
            Measure::Links => name.len() + target.cid.as_written().bytes().len(),
        };
        self.entries.insert(name.to_owned(), target);
        Ok(())
    }

    /// Makes the blocks.
    pub fn finish(self) -> Result<FinishedDirectory, DirectoryError> {
        let mut out = Output { profile: self.profile, blocks: Vec::new() };
        let root = if self.measured > self.profile.parameters().hamt_threshold_bytes {
            out.sharded(&self.entries)?
        } else {
            out.basic(&self.entries)
        };
        Ok(FinishedDirectory { root, blocks: out.blocks })
    }
}

fn link<'a>(name: &'a str, target: &Target) -> Link<'a> {
    Link { cid: target.cid.clone(), name: Some(name), tsize: Some(target.dag_size_bytes) }
}

/// Collects finished blocks.
struct Output {
    profile: Profile,
    blocks: Vec<Block>,
}

/// An entry on its way into the trie.
struct Hashed<'a> {
    hash: u64,
    name: &'a str,
    target: &'a Target,
}

impl Output {
    fn basic(&mut self, entries: &BTreeMap<String, Target>) -> Target {
        let data = Data::new(DataType::Directory).encode();
        // A BTreeMap of strings is in the bytewise order that links must have.
        let links = entries.iter().map(|(name, target)| link(name, target)).collect();
        self.node(&Node { links, data: Some(&data) })
    }

    fn sharded(&mut self, entries: &BTreeMap<String, Target>) -> Result<Target, DirectoryError> {
        let mut hashed: Vec<_> =
            entries.iter().map(|(name, target)| Hashed { hash: hamt::hash(name), name, target }).collect();
        // Sorted by hash, every bucket of every level is one run.
        hashed.sort_unstable_by_key(|entry| entry.hash);
        self.shard(&hashed, 0)
    }

    /// Builds the shard of entries whose hashes agree in their first `spent` bits. Recursion ends with the
    /// bits: at most 21 levels at the smallest fanout.
    fn shard(&mut self, entries: &[Hashed<'_>], spent: u32) -> Result<Target, DirectoryError> {
        let fanout: Fanout = self.profile.parameters().hamt_fanout;
        let bucket_of = |entry: &Hashed<'_>| hamt::bucket(entry.hash, spent, fanout);
        let mut children: Vec<(usize, String, Target)> = Vec::new();
        for run in entries.chunk_by(|a, b| bucket_of(a) == bucket_of(b)) {
            let Some(bucket) = bucket_of(&run[0]) else {
                let names = (run[0].name.to_owned(), run[run.len() - 1].name.to_owned());
                return Err(DirectoryError::Collision(names.0, names.1));
            };
            let (name, target) = match run {
                [entry] => (entry.name, entry.target.clone()),
                _ => ("", self.shard(run, spent + fanout.bits())?),
            };
            children.push((bucket, fanout.join(bucket, name), target));
        }
        let bitmap = hamt::bitmap(fanout, children.iter().map(|(bucket, ..)| *bucket));
        let data = Data {
            data: Some(&bitmap),
            hash_type: Some(MURMUR3_X64_64),
            fanout: Some(fanout.get() as u64),
            ..Data::new(DataType::HamtShard)
        }
        .encode();
        let links = children.iter().map(|(_, name, target)| link(name, target)).collect();
        Ok(self.node(&Node { links, data: Some(&data) }))
    }

    fn node(&mut self, node: &Node<'_>) -> Target {
        let bytes = node.encode();
        let under = node.links.iter().filter_map(|link| link.tsize).fold(0_u64, u64::saturating_add);
        let dag_size_bytes = under.saturating_add(bytes.len() as u64);
        let block = self.profile.block(Codec::DagPb, Bytes::from(bytes));
        let cid = block.cid.clone();
        self.blocks.extend(block.to_store());
        Target { cid, dag_size_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::{DirectoryError, Hashed, Output};
    use crate::cid::{Cid, Codec, HashFn};
    use crate::unixfs::Target;
    use crate::unixfs::profile::Profile;

    #[test]
    fn names_that_collide_are_refused() {
        let target = Target { cid: Cid::of(Codec::Raw, HashFn::Sha2_256, b""), dag_size_bytes: 0 };
        let entry = |hash, name| Hashed { hash, name, target: &target };
        let mut out = Output { profile: Profile::default(), blocks: Vec::new() };
        // One bit apart at the very end is still a trie, of eight levels.
        assert!(out.shard(&[entry(6, "a"), entry(7, "b")], 0).is_ok());
        assert_eq!(out.blocks.len(), 8);
        let same = [entry(1, "c"), entry(7, "a"), entry(7, "b")];
        let collision = DirectoryError::Collision("a".into(), "b".into());
        assert_eq!(out.shard(&same, 0), Err(collision));
    }
}
