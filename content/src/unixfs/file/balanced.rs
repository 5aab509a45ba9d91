//! The balanced layout: every leaf at the same depth, every node but the last of its level full.

use super::{
    Part,
    node::OpenNode,
    state::{OPEN_MAX, Reader, StateError},
};
use crate::block::Block;
use crate::unixfs::profile::Profile;
use crate::varint;

/// The tree so far.
#[derive(Debug, Default)]
pub(super) struct Balanced {
    /// Unfinished nodes, lowest first. The highest is never empty.
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    node: OpenNode,
    /// The part that was pushed last: the root, if it stays the only one.
    last: Option<Part>,
}

impl Balanced {
    /// Appends a leaf; the nodes that this completes are added to `blocks`, at most one a level.
    pub(super) fn push(&mut self, profile: &Profile, leaf: Part, blocks: &mut Vec<Block>) {
        let links_max = profile.parameters().links_max;
        let mut part = leaf;
        for i in 0.. {
            let level = self.level(i);
            level.push(part);
            if level.node.count() < links_max {
                break;
            }
            part = level.node.seal(profile, blocks);
        }
    }

    /// Ends the file: its root, which is the leaf itself when there is one leaf. `None` when there is none.
    pub(super) fn finish(mut self, profile: &Profile, blocks: &mut Vec<Block>) -> Option<Part> {
        let mut i = 0;
        loop {
            let is_top = i + 1 == self.levels.len();
            let level = self.levels.get_mut(i)?;
            if is_top && level.node.count() == 1 {
                return level.last.take();
            }
            i += 1;
            if level.node.count() > 0 {
                let part = level.node.seal(profile, blocks);
                self.level(i).push(part);
            }
        }
    }

    /// Bytes of the file so far.
    pub(super) fn size_bytes(&self) -> u64 {
        self.levels.iter().map(|level| level.node.size_bytes()).fold(0, u64::saturating_add)
    }

    /// Appends the tree to a builder's state.
    pub(super) fn save(&self, out: &mut Vec<u8>) {
        varint::push(out, self.levels.len() as u64);
        for level in &self.levels {
            level.node.save(out);
        }
    }

    /// The tree that was saved.
    pub(super) fn restore(profile: &Profile, state: &mut Reader<'_>) -> Result<Self, StateError> {
        // A node that has all its parts is not open any more.
        let parts_max = profile.parameters().links_max - 1;
        let mut levels = Vec::new();
        for _ in 0..state.count(OPEN_MAX)? {
            let (node, mut parts) = state.node(parts_max)?;
            // Only the highest level is asked for its last part, and only when it has no other.
            levels.push(Level { node, last: parts.pop() });
        }
        if levels.last().is_some_and(|top| top.node.count() == 0) {
            return Err(StateError::Shape);
        }
        Ok(Self { levels })
    }

    fn level(&mut self, i: usize) -> &mut Level {
        if i == self.levels.len() {
            self.levels.push(Level::default());
        }
        &mut self.levels[i]
    }
}

impl Level {
    fn push(&mut self, part: Part) {
        self.node.push(&part);
        self.last = Some(part);
    }
}
