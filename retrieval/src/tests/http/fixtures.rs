//! The CARs of the public gateway conformance suite, in a store of their own.

use std::path::Path;

use bytes::Bytes;
use content::{Block, Cid, car::CarReader};

use crate::{Blocks, tests::world::World};

pub(super) struct Fixture {
    _world: World,
    pub(super) blocks: Blocks,
    /// The root, as the CAR names it.
    pub(super) root: String,
    all: Vec<Block>,
}

/// Everything that is in a CAR of the suite.
pub(super) fn fixture(name: &str) -> Fixture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../content/fixtures/gateway-conformance");
    let bytes = Bytes::from(std::fs::read(folder.join(name)).unwrap());
    let reader = CarReader::new(&bytes).unwrap();
    let root = reader.roots()[0].as_written().to_string();
    let all: Vec<Block> = reader.blocks().map(Result::unwrap).collect();
    let world = World::new();
    world.store(&all);
    let blocks = world.blocks();
    Fixture { _world: world, blocks, root, all }
}

impl Fixture {
    /// The bytes of a block.
    pub(super) fn block(&self, cid: &str) -> Bytes {
        let cid: Cid = cid.parse().unwrap();
        self.all.iter().find(|block| block.cid == cid).unwrap().bytes.clone()
    }
}
