//! The way through a tree, depth first, in bounded memory.
//!
//! Of every node on the way down the children that are still to be visited are kept. When that is too much, those of the
//! nodes highest up are let go of: only how many of them were visited is kept, and when the way comes back to such a node,
//! it is read again.

use std::collections::VecDeque;

use crate::error::ReadError;

/// Levels, at most. No tree that anybody meant to make has so many.
const DEPTH_MAX: usize = 1024;
/// Bytes of children kept, at most; those of one node are kept in any case.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Something that waits to be visited.
pub(super) trait Waiting {
    /// Bytes that it takes in memory.
    fn bytes(&self) -> usize;
}

/// What comes next.
pub(super) enum Next<P, I> {
    /// This one is to be visited.
    Visit(I),
    /// The children of this node are to be read again: see [`Descent::resume`].
    Reload(P),
    /// There is nothing left.
    End,
}

/// A way through a tree: `P` names a node that is being visited, `I` is a child to visit.
pub(super) struct Descent<P, I> {
    levels: Vec<Level<P, I>>,
    kept_bytes: usize,
}

struct Level<P, I> {
    parent: P,
    visited: usize,
    /// `None` when they were let go of.
    rest: Option<VecDeque<I>>,
    /// Bytes of `rest`.
    bytes: usize,
}

impl<P: Clone, I: Waiting> Descent<P, I> {
    pub(super) fn new() -> Self {
        Self { levels: Vec::new(), kept_bytes: 0 }
    }

    /// Goes down to the children of a node.
    pub(super) fn enter(&mut self, parent: P, children: Vec<I>) -> Result<(), ReadError> {
        if children.is_empty() {
            return Ok(());
        }
        if self.levels.len() >= DEPTH_MAX {
            return Err(ReadError::TooLarge("the DAG is nested too deeply"));
        }
        let bytes = children.iter().map(Waiting::bytes).sum();
        self.levels.push(Level { parent, visited: 0, rest: Some(children.into()), bytes });
        self.kept_bytes += bytes;
        self.let_go();
        Ok(())
    }

    /// The next to visit.
    pub(super) fn next(&mut self) -> Next<P, I> {
        while let Some(level) = self.levels.last_mut() {
            let Some(rest) = &mut level.rest else { return Next::Reload(level.parent.clone()) };
            if let Some(child) = rest.pop_front() {
                level.visited += 1;
                level.bytes -= child.bytes();
                self.kept_bytes -= child.bytes();
                return Next::Visit(child);
            }
            self.levels.pop();
        }
        Next::End
    }

    /// Goes on with the children of the node that was to be read again.
    pub(super) fn resume(&mut self, children: Vec<I>) {
        let Some(level) = self.levels.last_mut() else { return };
        let rest: VecDeque<I> = children.into_iter().skip(level.visited).collect();
        level.bytes = rest.iter().map(Waiting::bytes).sum();
        level.rest = Some(rest);
        self.kept_bytes += level.bytes;
        self.let_go();
    }

    /// What comes soon, as far as it is known.
    pub(super) fn upcoming(&self) -> impl Iterator<Item = &I> {
        self.levels.iter().rev().map_while(|level| level.rest.as_ref()).flatten()
    }

    fn let_go(&mut self) {
        let Some((_, upper)) = self.levels.split_last_mut() else { return };
        for level in upper {
            if self.kept_bytes <= KEPT_BYTES_MAX {
                return;
            }
            if level.rest.as_ref().is_some_and(|rest| !rest.is_empty()) {
                level.rest = None;
                self.kept_bytes -= level.bytes;
                level.bytes = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node of a tree in which every node at depth 3 is a leaf, and its size in memory.
    struct Node(Vec<usize>, usize);

    impl Waiting for Node {
        fn bytes(&self) -> usize {
            self.1
        }
    }

    fn children(of: &[usize], count: usize, bytes: usize) -> Vec<Node> {
        (0..count).map(|at| Node([of, &[at]].concat(), bytes)).collect()
    }

    /// Visits all; gives the order and how often nodes were read again.
    fn walk(count: usize, bytes: usize) -> (Vec<Vec<usize>>, usize) {
        let mut descent = Descent::new();
        descent.enter(Vec::new(), children(&[], count, bytes)).unwrap();
        let (mut order, mut reloads) = (Vec::new(), 0);
        loop {
            match descent.next() {
                Next::Visit(Node(path, _)) => {
                    if path.len() < 3 {
                        descent.enter(path.clone(), children(&path, count, bytes)).unwrap();
                    }
                    order.push(path);
                }
                Next::Reload(path) => {
                    reloads += 1;
                    descent.resume(children(&path, count, bytes));
                }
                Next::End => return (order, reloads),
            }
            assert!(descent.kept_bytes <= KEPT_BYTES_MAX.max(2 * count * bytes));
        }
    }

    #[test]
    fn what_is_let_go_of_is_read_again_and_nothing_is_missed_or_repeated() {
        let (order, reloads) = walk(5, 10);
        assert_eq!((order.len(), reloads), (5 + 25 + 125, 0));
        assert!(order.is_sorted(), "depth first, parents before children");
        let (again, reloads) = walk(5, 1 << 20);
        assert_eq!(again, order);
        assert!(reloads > 0);
    }

    #[test]
    fn depth_has_an_end() {
        let mut descent = Descent::new();
        for depth in 0..DEPTH_MAX {
            descent.enter(depth, vec![Node(vec![], 1)]).unwrap();
        }
        assert!(matches!(descent.enter(0, vec![Node(vec![], 1)]), Err(ReadError::TooLarge(_))));
    }
}
