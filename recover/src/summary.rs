//! What a recovery did, for people.

use protocol::ids::SegmentId;

/// Names of what could not be recovered that are kept, at most; the rest is only counted.
const NAMED_MAX: usize = 1_000;

/// A segment that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The segment.
    pub segment: SegmentId,
    /// Pieces of it that were found, each index once.
    pub found: usize,
    /// Pieces that rebuild it.
    pub needed: usize,
}

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Nodes that answered.
    pub nodes: u64,
    /// Nodes that the database did not know.
    pub nodes_new: u64,
    /// Addresses that did not answer, each with the reason.
    pub absent: Vec<(String, String)>,
    /// Pieces that nodes hold.
    pub pieces: u64,
    /// Segments that were known before.
    pub segments_known: u64,
    /// Segments that were read and recorded, or in a look those that might be.
    pub segments_restored: u64,
    /// Pieces of known segments that are elsewhere than was recorded, and such that are missing.
    pub pieces_moved: u64,
    /// Pieces of known segments that their nodes have not.
    pub pieces_missing: u64,
    /// Segments that could not be read, the first of them by name.
    pub unreadable: Vec<Unreadable>,
    /// How many those are.
    pub unreadable_count: u64,
    /// Pins that were made again.
    pub pins_restored: u64,
    /// Pins that had been removed after the backup.
    pub pins_removed: u64,
    /// Roots that no record names.
    pub adopted: u64,
    /// Roots under which blocks are missing, the first of them.
    pub incomplete: Vec<String>,
    /// How many those are.
    pub incomplete_count: u64,
    /// Restored segments that nobody needs.
    pub orphans: u64,
    /// Whether things are collected again.
    pub released: bool,
}

impl Summary {
    /// Whether nothing is left that another run could find.
    pub fn is_whole(&self) -> bool {
        self.absent.is_empty() && self.unreadable_count == 0 && self.incomplete_count == 0
    }

    pub(crate) fn unreadable(&mut self, segment: SegmentId, found: usize, needed: usize) {
        self.unreadable_count += 1;
        if self.unreadable.len() < NAMED_MAX {
            self.unreadable.push(Unreadable { segment, found, needed });
        }
    }

    pub(crate) fn incomplete(&mut self, root: &str) {
        self.incomplete_count += 1;
        if self.incomplete.len() < NAMED_MAX {
            self.incomplete.push(root.to_string());
        }
    }

    /// All numbers in one line.
    pub fn line(&self) -> String {
        format!(
            "{} nodes answered ({} new) and {} did not; {} pieces; segments: {} known, {} restored, {} unreadable; pieces: {} \
             moved, {} missing; pins: {} restored, {} removed, {} roots without one adopted, {} incomplete; {} orphaned segments",
            self.nodes,
            self.nodes_new,
            self.absent.len(),
            self.pieces,
            self.segments_known,
            self.segments_restored,
            self.unreadable_count,
            self.pieces_moved,
            self.pieces_missing,
            self.pins_restored,
            self.pins_removed,
            self.adopted,
            self.incomplete_count,
            self.orphans,
        )
    }
}
