//! Builds nested directories from paths: what an upload of many files becomes.
//!
//! It holds the names and CIDs of everything added, never file bytes. A path that is added twice, or that is
//! both a file and a directory, is an error: which of two files the uploader meant is not ours to guess.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Target;
use super::directory::{DirectoryBuilder, DirectoryError, FinishedDirectory, NameError, check_name, symlink};
use super::profile::Profile;
use crate::block::Block;

/// Most components in a path. Bounds the recursion that makes the blocks.
pub const DEPTH_MAX: usize = 128;

/// Builds a tree of directories.
#[derive(Debug)]
pub struct TreeBuilder {
    profile: Profile,
    root: Directory,
    symlinks: Vec<(String, Target)>,
    blocks: Vec<Block>,
}

/// A tree that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedTree {
    /// The directory that holds everything.
    pub root: Target,
    /// The blocks of all directories and symbolic links, children before parents, the root last.
    pub blocks: Vec<Block>,
    /// How many of them, at the end, are the root's own.
    pub root_blocks: usize,
    /// The directories below the root by their paths, children before parents.
    pub directories: Vec<(String, Target)>,
    /// The symbolic links by their paths, in the order in which they were added.
    pub symlinks: Vec<(String, Target)>,
}

type Directory = BTreeMap<String, Child>;

#[derive(Debug)]
enum Child {
    Leaf(Target),
    Directory(Directory),
}

/// Why something cannot be added to a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A component of the path is not a proper name.
    #[error("path {path:?}: {source}")]
    Name {
        /// The path.
        path: String,
        /// What is wrong with the component.
        source: NameError,
    },
    /// The path has more than [`DEPTH_MAX`] components.
    #[error("a path of {0} components is deeper than 128")]
    TooDeep(usize),
    /// Something is there already that this would replace.
    #[error("path {0:?} is there twice")]
    Duplicate(String),
    /// The target of a symbolic link is too long.
    #[error("the symbolic link {path:?} has a target of {len} bytes, more than 4096")]
    SymlinkTooLong {
        /// The path.
        path: String,
        /// Length of the target.
        len: usize,
    },
}

impl TreeBuilder {
    /// A tree that is one empty directory.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self { profile, root: Directory::new(), symlinks: Vec::new(), blocks: Vec::new() }
    }

    /// Adds a file, or any other finished DAG, at `path`: names separated by `/`, none in front or at the end.
    pub fn add(&mut self, path: &str, target: Target) -> Result<(), TreeError> {
        let (parents, name) = split(path)?;
        match self.directory(path, parents)?.entry(name.to_owned()) {
            Entry::Vacant(free) => {
                free.insert(Child::Leaf(target));
                Ok(())
            }
            Entry::Occupied(_) => Err(TreeError::Duplicate(path.to_owned())),
        }
    }

    /// Makes sure that there is a directory at `path`, if only an empty one.
    pub fn add_directory(&mut self, path: &str) -> Result<(), TreeError> {
        let (parents, name) = split(path)?;
        let parent = self.directory(path, parents)?;
        child_directory(parent, name).ok_or_else(|| TreeError::Duplicate(path.to_owned()))?;
        Ok(())
    }

    /// Adds a symbolic link to `target`, which is stored as it is and never followed.
    pub fn add_symlink(&mut self, path: &str, target: &str) -> Result<(), TreeError> {
        let block = symlink(self.profile, target)
            .ok_or_else(|| TreeError::SymlinkTooLong { path: path.to_owned(), len: target.len() })?;
        let target = Target { cid: block.cid.clone(), dag_size_bytes: block.bytes.len() as u64 };
        self.add(path, target.clone())?;
        self.symlinks.push((path.to_owned(), target));
        self.blocks.extend(block.to_store());
        Ok(())
    }

    /// Makes the blocks of all directories and symbolic links; the root is the last of them, unless its CID carries
    /// it.
    pub fn finish(self) -> Result<FinishedTree, DirectoryError> {
        let Self { profile, root, symlinks, blocks } = self;
        let mut output = Output { profile, path: String::new(), blocks, directories: Vec::new() };
        let FinishedDirectory { root, blocks: mut own } = output.finish(root)?;
        let Output { mut blocks, directories, .. } = output;
        let root_blocks = own.len();
        blocks.append(&mut own);
        Ok(FinishedTree { root, blocks, root_blocks, directories, symlinks })
    }

    /// The directory at `parents`, made as far as it is missing.
    fn directory(&mut self, path: &str, parents: Option<&str>) -> Result<&mut Directory, TreeError> {
        let mut directory = &mut self.root;
        for name in parents.into_iter().flat_map(|parents| parents.split('/')) {
            directory =
                child_directory(directory, name).ok_or_else(|| TreeError::Duplicate(path.to_owned()))?;
        }
        Ok(directory)
    }
}

fn child_directory<'a>(parent: &'a mut Directory, name: &str) -> Option<&'a mut Directory> {
    match parent.entry(name.to_owned()).or_insert_with(|| Child::Directory(Directory::new())) {
        Child::Directory(directory) => Some(directory),
        Child::Leaf(_) => None,
    }
}

/// Checks every component and cuts off the last, so that a bad path leaves no half-made directories behind.
fn split(path: &str) -> Result<(Option<&str>, &str), TreeError> {
    let depth = path.split('/').count();
    if depth > DEPTH_MAX {
        return Err(TreeError::TooDeep(depth));
    }
    for name in path.split('/') {
        check_name(name).map_err(|source| TreeError::Name { path: path.to_owned(), source })?;
    }
    Ok(match path.rsplit_once('/') {
        Some((parents, name)) => (Some(parents), name),
        None => (None, path),
    })
}

/// What becomes of directories.
struct Output {
    profile: Profile,
    /// That of the directory that is being finished.
    path: String,
    blocks: Vec<Block>,
    directories: Vec<(String, Target)>,
}

impl Output {
    /// Children first. At most [`DEPTH_MAX`] calls deep.
    fn finish(&mut self, directory: Directory) -> Result<FinishedDirectory, DirectoryError> {
        let mut builder = DirectoryBuilder::new(self.profile);
        for (name, child) in directory {
            let target = match child {
                Child::Leaf(target) => target,
                Child::Directory(directory) => self.finish_below(&name, directory)?,
            };
            builder.insert(&name, target)?;
        }
        builder.finish()
    }

    fn finish_below(&mut self, name: &str, directory: Directory) -> Result<Target, DirectoryError> {
        let above = self.path.len();
        if above > 0 {
            self.path.push('/');
        }
        self.path.push_str(name);
        let FinishedDirectory { root, mut blocks } = self.finish(directory)?;
        self.blocks.append(&mut blocks);
        self.directories.push((self.path.clone(), root.clone()));
        self.path.truncate(above);
        Ok(root)
    }
}
