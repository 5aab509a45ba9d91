//! The trickle layout, for reading from front to back: a node has leaves first, then four trees one level deep,
//! four of two levels, and so on. The root goes on without end; a tree of `depth` has trees below `depth` only.

use super::{
    Part,
    node::OpenNode,
    state::{OPEN_MAX, Reader, StateError},
};
use crate::block::Block;
use crate::unixfs::profile::Profile;
use crate::varint;

/// Trees of one depth in a node. Fixed by everyone who writes this layout.
const REPEAT: usize = 4;

/// The tree so far: the root, and below it the nodes that are open within each other. As each is shallower than
/// the one above it, and the root's trees grow with the logarithm of the file, they are few.
#[derive(Debug, Default)]
pub(super) struct Trickle {
    root: OpenNode,
    open: Vec<Tree>,
}

#[derive(Debug)]
struct Tree {
    node: OpenNode,
    depth: usize,
}

impl Trickle {
    /// Appends a leaf; the nodes that this shows to be complete are added to `blocks`.
    pub(super) fn push(&mut self, profile: &Profile, leaf: &Part, blocks: &mut Vec<Block>) {
        let links_max = profile.parameters().links_max;
        // Only when there is a leaf more is a new tree begun, so none is ever empty.
        while self.deepest().count() >= links_max {
            let depth = 1 + (self.deepest().count() - links_max) / REPEAT;
            if self.open.last().is_none_or(|tree| depth < tree.depth) {
                self.open.push(Tree { node: OpenNode::default(), depth });
            } else {
                self.close(profile, blocks);
            }
        }
        self.deepest().push(leaf);
    }

    /// Ends the file: its root, which is a node of its own even above one leaf or none.
    pub(super) fn finish(mut self, profile: &Profile, blocks: &mut Vec<Block>) -> Part {
        while !self.open.is_empty() {
            self.close(profile, blocks);
        }
        self.root.seal(profile, blocks)
    }

    /// Bytes of the file so far.
    pub(super) fn size_bytes(&self) -> u64 {
        let open = self.open.iter().map(|tree| tree.node.size_bytes());
        open.fold(self.root.size_bytes(), u64::saturating_add)
    }

    /// Appends the tree to a builder's state.
    pub(super) fn save(&self, out: &mut Vec<u8>) {
        self.root.save(out);
        varint::push(out, self.open.len() as u64);
        for tree in &self.open {
            varint::push(out, tree.depth as u64);
            tree.node.save(out);
        }
    }

    /// The tree that was saved.
    pub(super) fn restore(profile: &Profile, state: &mut Reader<'_>) -> Result<Self, StateError> {
        // Trees of every depth there can be, below all leaves.
        let parts_max = profile.parameters().links_max + REPEAT * OPEN_MAX;
        let (root, _) = state.node(parts_max)?;
        let mut open: Vec<Tree> = Vec::new();
        for _ in 0..state.count(OPEN_MAX)? {
            let depth = state.count(OPEN_MAX)?;
            let is_below = open.last().is_none_or(|above| depth < above.depth);
            let (node, _) = state.node(parts_max)?;
            if depth == 0 || !is_below || node.count() == 0 {
                return Err(StateError::Shape);
            }
            open.push(Tree { node, depth });
        }
        Ok(Self { root, open })
    }

    fn deepest(&mut self) -> &mut OpenNode {
        self.open.last_mut().map_or(&mut self.root, |tree| &mut tree.node)
    }

    fn close(&mut self, profile: &Profile, blocks: &mut Vec<Block>) {
        if let Some(mut tree) = self.open.pop() {
            let part = tree.node.seal(profile, blocks);
            self.deepest().push(&part);
        }
    }
}
