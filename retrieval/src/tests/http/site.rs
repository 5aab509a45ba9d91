//! A tree of files that the tests of answers read.

use content::{
    Block, Cid,
    unixfs::{Target, file::import_bytes, profile::Profile, tree::TreeBuilder},
};

use crate::{Blocks, tests::world::World};

/// A stored tree and a reader of it.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) root: Cid,
    pub(super) blocks: Blocks,
}

/// Small chunks, so that files are trees; directories of more than 2 KiB are sharded.
pub(super) fn profile() -> Profile {
    Profile::new(content::HashFn::Sha2_256, 1000, 8, 256, 2048).unwrap()
}

/// Stores files under their paths.
pub(super) fn site(files: &[(&str, &[u8])]) -> Site {
    let world = World::new();
    let mut tree = TreeBuilder::new(profile());
    let mut stored: Vec<Block> = Vec::new();
    for (path, bytes) in files {
        let file = import_bytes(profile(), &bytes.to_vec().into());
        tree.add(path, Target { cid: file.root.clone(), dag_size_bytes: file.dag_size_bytes }).unwrap();
        stored.extend(file.blocks);
    }
    tree.add_symlink("link", "hello.txt").unwrap();
    let directory = tree.finish().unwrap();
    stored.extend(directory.blocks);
    world.store(&stored);
    let blocks = world.blocks();
    Site { world, root: directory.root.cid, blocks }
}

/// A file of its own.
pub(super) fn file(bytes: &[u8]) -> Site {
    let world = World::new();
    let file = import_bytes(profile(), &bytes.to_vec().into());
    world.store(&file.blocks);
    let blocks = world.blocks();
    Site { world, root: file.root, blocks }
}
