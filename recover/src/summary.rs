//! What a recovery did, for people.

use std::collections::BTreeMap;

use protocol::ids::SegmentId;

/// Names of what could not be recovered that are kept, at most; the rest is only counted.
const NAMED_MAX: usize = 1_000;

/// So many nodes may invent a segment together, and it is not waited for. More are believed that there is one: an operator
/// who names half of the nodes is likelier.
pub(crate) const LIARS_MAX: usize = 2;

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
    /// Blocks that known segments have and the database did not know: of uploads that were not finished when it was backed up.
    pub blocks_added: u64,
    /// Pieces of known segments that are elsewhere than was recorded, and such that are missing.
    pub pieces_moved: u64,
    /// Pieces of known segments that their nodes have not.
    pub pieces_missing: u64,
    /// Segments that could not be read, the first of them by name.
    pub unreadable: Vec<Unreadable>,
    /// How many those are.
    pub unreadable_count: u64,
    /// How many of those more nodes hold pieces of than would invent a segment together.
    pub unreadable_held: u64,
    /// How many of the others might be read with the nodes that did not answer, by how many pieces they are said to need.
    pub unreadable_open: BTreeMap<usize, u64>,
    /// Parts of the log of pins that the database knows and that could not be read.
    pub unread_log: u64,
    /// The fewest pieces that rebuild any segment that is known or was read; `None`: there is none.
    pub needed_min: Option<usize>,
    /// Pins that were made again.
    pub pins_restored: u64,
    /// Pins that had been removed after the backup.
    pub pins_removed: u64,
    /// Roots that no record names.
    pub adopted: u64,
    /// Such that an earlier run had adopted, and that lie under others as is known by now.
    pub adoptions_ended: u64,
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
    /// Whether nothing is left that another run could find, or that somebody should look at.
    ///
    /// A segment that can be read has as many pieces as rebuild it, each on another node. So when fewer nodes than that are
    /// away, at least one of its pieces was found, and it was read, or is among the unreadable. Of those such do not count of
    /// which a node or two hold pieces and that the absent nodes could not complete: nodes may invent segments as they like.
    pub fn is_whole(&self) -> bool {
        let needed_min = self.needed_min.unwrap_or(1);
        let is_open = self.unreadable_held > 0 || self.unreadable_open.range(needed_min..).next().is_some();
        let has_holes = self.incomplete_count > 0 || self.unread_log > 0;
        self.absent.len() < needed_min && !is_open && !has_holes
    }

    /// Notes that a segment cannot be read. `said`: by how many nodes it is said that so many pieces rebuild it.
    pub(crate) fn unreadable(&mut self, segment: SegmentId, said: &[(usize, usize)]) {
        self.unreadable_count += 1;
        if said.iter().any(|(found, _)| *found > LIARS_MAX) {
            self.unreadable_held += 1;
        }
        for (found, needed) in said.iter().filter(|(found, _)| *found <= LIARS_MAX) {
            if found + self.absent.len() >= *needed || self.needed_min.is_none() {
                *self.unreadable_open.entry(*needed).or_default() += 1;
            }
        }
        if self.unreadable.len() < NAMED_MAX {
            let (found, needed) = said.first().copied().unwrap_or((0, 1));
            self.unreadable.push(Unreadable { segment, found, needed });
        }
    }

    /// Notes how many pieces rebuild a segment that there is.
    pub(crate) fn needs(&mut self, needed: usize) {
        self.needed_min = Some(self.needed_min.map_or(needed, |least| least.min(needed)));
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
            "{} nodes answered ({} new) and {} did not; {} pieces; segments: {} known, {} restored, {} unreadable; {} blocks \
             added to known ones; pieces: {} moved, {} missing; pins: {} restored, {} removed, {} roots without one adopted, {} \
             incomplete; {} orphaned segments",
            self.nodes,
            self.nodes_new,
            self.absent.len(),
            self.pieces,
            self.segments_known,
            self.segments_restored,
            self.unreadable_count,
            self.blocks_added,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_few_nodes_invent_or_keep_back_leaves_a_recovery_whole() {
        let mut summary = Summary::default();
        assert!(summary.is_whole(), "there is nothing");
        summary.needs(8);
        summary.needs(10);
        summary.absent = (0..7).map(|number| (format!("http://{number}"), "away".to_string())).collect();
        assert!(summary.is_whole(), "whatever can be read has a piece at another node");
        // One piece of a segment that is said to need one, and one of which all absent nodes would not be enough.
        summary.unreadable(SegmentId([1; 16]), &[(1, 1)]);
        summary.unreadable(SegmentId([2; 16]), &[(2, 10)]);
        assert!(summary.is_whole() && summary.unreadable_count == 2);
        let mut other = summary.clone();
        other.unreadable(SegmentId([3; 16]), &[(1, 8)]);
        assert!(!other.is_whole(), "the absent ones could complete it");
        let mut other = summary.clone();
        other.unreadable(SegmentId([4; 16]), &[(3, 20)]);
        assert!(!other.is_whole(), "three nodes hold pieces of it");
        let mut other = summary.clone();
        other.incomplete("a root");
        assert!(!other.is_whole(), "somebody's file has a hole");
        summary.absent.push(("http://8".into(), "away".into()));
        assert!(!summary.is_whole(), "they may hold a segment of which nothing was found");
    }
}
