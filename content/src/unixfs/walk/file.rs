//! Files: which child covers which bytes.

use std::ops::Range;

use bytes::Bytes;

use super::{Kind, Reason, WalkError, message};
use crate::block::Block;
use crate::cid::{Cid, Codec};
use crate::dagpb::{self, Outline};
use crate::unixfs::{Data, DataType};

/// One block of a file, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNode {
    /// Length of the file under this block.
    pub size_bytes: u64,
    /// The bytes this block holds itself. They are the first of its range, before those of any child.
    pub inline: Bytes,
    /// The children in order. Their ranges begin where `inline` ends and leave no gap.
    pub children: Vec<Child>,
}

/// A part of a file that another block holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The block to fetch.
    pub cid: Cid,
    /// The bytes it covers, counted from the first byte of the node it is a child of.
    pub range: Range<u64>,
}

impl FileNode {
    /// The children that hold bytes of `range`, found without a scan.
    #[must_use]
    pub fn overlapping(&self, range: &Range<u64>) -> &[Child] {
        if range.is_empty() {
            return &[];
        }
        let first = self.children.partition_point(|child| child.range.end <= range.start);
        let after = self.children.partition_point(|child| child.range.start < range.end);
        self.children.get(first..after).unwrap_or_default()
    }
}

impl Child {
    /// Checks that the block fetched for this child is as long as its parent stated. Without this check a
    /// file could be served whose bytes do not stand where its root says.
    pub fn check(&self, kind: &Kind<'_>) -> Result<(), WalkError> {
        let error = |reason| Err(WalkError { cid: self.cid.clone(), reason });
        let (Kind::Raw { size_bytes: found } | Kind::File { size_bytes: found }) = *kind else {
            return error(Reason::NotAFile);
        };
        let stated = self.range.end - self.range.start;
        if stated == found { Ok(()) } else { error(Reason::Size { stated, found }) }
    }
}

/// Takes a block of a file apart: a raw leaf, or a node with children.
pub fn file(block: &Block) -> Result<FileNode, WalkError> {
    parts(block).map_err(|reason| WalkError { cid: block.cid.clone(), reason })
}

fn parts(block: &Block) -> Result<FileNode, Reason> {
    if block.cid.codec() == Codec::Raw {
        let size_bytes = block.bytes.len() as u64;
        return Ok(FileNode { size_bytes, inline: block.bytes.clone(), children: Vec::new() });
    }
    let (outline, data) = message(block)?;
    if !matches!(data.data_type, DataType::File | DataType::Raw) {
        return Err(Reason::NotAFile);
    }
    let size_bytes = size(&outline, &data)?;
    let inline = data.data.map_or_else(Bytes::new, |inline| block.bytes.slice_ref(inline));

    // `outline` counted the links and `size` compared that with the block sizes.
    let mut children = Vec::with_capacity(outline.links);
    let mut start = inline.len() as u64;
    let mut sizes = data.blocksizes.iter();
    let mut named = None;
    dagpb::scan(&block.bytes, |link| {
        // The sum was checked not to overflow, so neither does any part of it.
        let end = start + sizes.next().copied().unwrap_or_default();
        children.push(Child { cid: link.cid, range: start..end });
        start = end;
        named = named.or(link.name.filter(|name| !name.is_empty()));
    })?;
    match named {
        Some(name) => Err(Reason::NamedChunk(name.to_owned())),
        None => Ok(FileNode { size_bytes, inline, children }),
    }
}

/// Length of the file under a node, checked against what the node states.
pub(super) fn size(outline: &Outline<'_>, data: &Data<'_>) -> Result<u64, Reason> {
    if outline.links != data.blocksizes.len() {
        return Err(Reason::Blocksizes { links: outline.links, blocksizes: data.blocksizes.len() });
    }
    let inline = data.data.map_or(0, |inline| inline.len() as u64);
    let found = data
        .blocksizes
        .iter()
        .try_fold(inline, |sum, &size| sum.checked_add(size))
        .ok_or(Reason::SizeOverflow)?;
    let stated = data.filesize.unwrap_or(0);
    if stated == found { Ok(found) } else { Err(Reason::Size { stated, found }) }
}
