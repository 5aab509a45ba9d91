//! The state of a builder as bytes, so that a file can be built by several processes one after the other.
//!
//! A version and the layout, then the open nodes with the links and block sizes that they have so far. Everything else
//! follows from these: it is worked out again, and what contradicts itself is refused.

use super::{FileBuilder, Part, Tree, balanced::Balanced, node::OpenNode, trickle::Trickle};
use crate::dagpb::{self, DecodeError};
use crate::protobuf::{Fields, Value, WireError};
use crate::unixfs::BLOCKSIZES;
use crate::unixfs::profile::{Layout, Profile};
use crate::varint::{self, VarintError};

const VERSION: u8 = 1;
const BALANCED: u8 = 0;
const TRICKLE: u8 = 1;

/// Open nodes, at most: each is above or below another, and 2^64 leaves at two links a node need fewer.
pub(super) const OPEN_MAX: usize = 64;

/// Why bytes are not the state of a builder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another version, or no state at all.
    #[error("a state of the unknown version {0:?}")]
    Version(Option<u8>),
    /// The state belongs to another layout than the profile has.
    #[error("a state of layout {0:?} cannot be gone on with under this profile")]
    Layout(Option<u8>),
    /// The bytes end early, or something stands behind them.
    #[error("a state that is cut off or too long")]
    Length,
    /// A number is not a proper varint.
    #[error(transparent)]
    Varint(#[from] VarintError),
    /// The links of a node are not links.
    #[error("links of an open node: {0}")]
    Links(#[from] DecodeError),
    /// The block sizes of a node are not block sizes.
    #[error("block sizes of an open node: {0}")]
    Sizes(#[from] WireError),
    /// Nodes that no builder leaves behind.
    #[error("open nodes that do not make a tree")]
    Shape,
}

impl FileBuilder {
    /// What has been built so far, without the blocks that were given back: up to some 50 KiB a level at 1024 links.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match &self.tree {
            Tree::Balanced(tree) => {
                out.push(BALANCED);
                tree.save(&mut out);
            }
            Tree::Trickle(tree) => {
                out.push(TRICKLE);
                tree.save(&mut out);
            }
        }
        out
    }

    /// A builder that goes on where another of the same profile was when it gave its [`state`](Self::state).
    pub fn from_state(profile: Profile, state: &[u8]) -> Result<Self, StateError> {
        let (version, rest) = (state.first().copied(), state.get(1..).unwrap_or_default());
        if version != Some(VERSION) {
            return Err(StateError::Version(version));
        }
        let (layout, rest) = (rest.first().copied(), rest.get(1..).unwrap_or_default());
        let mut reader = Reader { rest };
        let tree = match (profile.parameters().layout, layout) {
            (Layout::Balanced, Some(BALANCED)) => Tree::Balanced(Balanced::restore(&profile, &mut reader)?),
            (Layout::Trickle, Some(TRICKLE)) => Tree::Trickle(Trickle::restore(&profile, &mut reader)?),
            _ => return Err(StateError::Layout(layout)),
        };
        if reader.rest.is_empty() { Ok(Self { profile, tree }) } else { Err(StateError::Length) }
    }
}

/// What is left to read of a state.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A number, at most `max`.
    pub(super) fn count(&mut self, max: usize) -> Result<usize, StateError> {
        let (value, len) = varint::read(self.rest)?;
        self.rest = &self.rest[len..];
        usize::try_from(value).ok().filter(|count| *count <= max).ok_or(StateError::Shape)
    }

    fn bytes(&mut self) -> Result<&'a [u8], StateError> {
        let len = self.count(usize::MAX)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(StateError::Length)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// An open node with at most so many parts, and its parts.
    pub(super) fn node(&mut self, parts_max: usize) -> Result<(OpenNode, Vec<Part>), StateError> {
        let (links, blocksizes) = (self.bytes()?, self.bytes()?);
        let mut sizes = Vec::new();
        for field in Fields::new(blocksizes) {
            match field? {
                (BLOCKSIZES, Value::Varint(size)) if sizes.len() < parts_max => sizes.push(size),
                _ => return Err(StateError::Shape),
            }
        }
        let mut parts = Vec::with_capacity(sizes.len());
        let mut sizes = sizes.into_iter();
        let mut fits = true;
        let data = dagpb::scan(links, |link| match (sizes.next(), link.tsize) {
            (Some(size_bytes), Some(dag_size_bytes)) => {
                parts.push(Part { cid: link.cid, size_bytes, dag_size_bytes });
            }
            _ => fits = false,
        })?;
        if !fits || data.is_some() || sizes.next().is_some() {
            return Err(StateError::Shape);
        }
        let mut node = OpenNode::default();
        for part in &parts {
            node.push(part);
        }
        // Written as a builder writes it, or it was not a builder's.
        let mut same = Vec::with_capacity(links.len() + blocksizes.len());
        node.save(&mut same);
        let mut given = Vec::with_capacity(same.len());
        push_bytes(&mut given, links);
        push_bytes(&mut given, blocksizes);
        if same == given { Ok((node, parts)) } else { Err(StateError::Shape) }
    }
}

/// Appends bytes with their length.
pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::push(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
