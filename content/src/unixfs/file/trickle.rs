//! The trickle layout, for reading from front to back: a node has leaves first, then four trees one level deep,
//! four of two levels, and so on. The root goes on without end; a tree of `depth` has trees below `depth` only.

use super::{Part, node::OpenNode};
use crate::block::Block;
use crate::unixfs::profile::Profile;

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
