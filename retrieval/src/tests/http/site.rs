//! A tree of files that the tests of answers read.

use content::{
    Block, Cid,
    unixfs::{
        Target,
        file::import_bytes,
        profile::{Parameters, Profile},
        tree::TreeBuilder,
    },
};

use crate::{Blocks, tests::world::World};

/// A stored tree and a reader of it.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) root: Cid,
    pub(super) blocks: Blocks,
    stored: Vec<Block>,
}

impl Site {
    fn new(root: Cid, stored: Vec<Block>) -> Self {
        let world = World::new();
        world.store(&stored);
        let blocks = world.blocks();
        Self { world, root, blocks, stored }
    }

    /// The block of a file's part or of a small file, by its bytes.
    #[track_caller]
    pub(super) fn leaf(&self, bytes: &[u8]) -> Cid {
        self.stored.iter().find(|block| block.bytes == bytes).expect("a leaf of these bytes").cid.clone()
    }

    /// How many different blocks there are.
    pub(super) fn stored_distinct(&self) -> usize {
        self.stored.iter().map(|block| &block.cid).collect::<std::collections::HashSet<_>>().len()
    }

    /// The same with some of its blocks only.
    pub(super) fn only(&self, keep: impl FnMut(&&Block) -> bool) -> Self {
        Self::new(self.root.clone(), self.stored.iter().filter(keep).cloned().collect())
    }
}

/// Small chunks, so that files are trees; directories of more than 2 KiB are sharded.
pub(super) fn profile() -> Profile {
    let small = Parameters {
        chunk_bytes: 1000,
        links_max: 8,
        hamt_threshold_bytes: 2048,
        ..Profile::default().parameters()
    };
    Profile::new(small).unwrap()
}

/// Stores files under their paths.
pub(super) fn site(files: &[(&str, &[u8])]) -> Site {
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
    Site::new(directory.root.cid, stored)
}

/// A file of its own.
pub(super) fn file(bytes: &[u8]) -> Site {
    let file = import_bytes(profile(), &bytes.to_vec().into());
    Site::new(file.root, file.blocks)
}
