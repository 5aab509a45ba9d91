//! dag-pb: the node format of files and directories, a list of links and some opaque data.
//!
//! Two protobuf messages, `PBNode { 2: repeated PBLink, 1: bytes }` and `PBLink { 1: hash, 2: name, 3: tsize }`,
//! with the canonical form the dag-pb specification fixes: links before data, a link's fields in order. Written
//! by hand because the order is not the one protobuf encoders choose. It never interprets the data; that is
//! [`crate::unixfs`].
//!
//! Decoding borrows from the block. It accepts data before links, as old writers did, and refuses everything
//! else that a canonical writer cannot produce: unknown or repeated fields, links on both sides of the data,
//! numbers in long form, trailing bytes.

#[cfg(test)]
mod tests;

use crate::block::BLOCK_MAX;
use crate::cid::{Checked, Cid, CidError};
use crate::protobuf::{self, Fields, Value, WireError};

const NODE_DATA: u32 = 1;
const NODE_LINKS: u32 = 2;
const LINK_HASH: u32 = 1;
const LINK_NAME: u32 = 2;
const LINK_TSIZE: u32 = 3;

/// A link to another block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link<'a> {
    /// What is linked. A version 0 CID in the block appears as its version 1 twin, and is written as it was.
    pub cid: Cid,
    /// Name of a directory entry. Chunks of a file have an empty one or none.
    pub name: Option<&'a str>,
    /// Size in bytes of all blocks under the link, as the writer claims: a hint, nothing to rely on.
    pub tsize: Option<u64>,
}

/// A link whose CID is checked and not yet kept: what is left when most links are only passed over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawLink<'a> {
    pub(crate) cid: Checked<'a>,
    pub(crate) name: Option<&'a str>,
    pub(crate) tsize: Option<u64>,
}

/// A decoded node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node<'a> {
    /// The links, in the block's order.
    pub links: Vec<Link<'a>>,
    /// The opaque data.
    pub data: Option<&'a [u8]>,
}

/// A node with its links only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline<'a> {
    /// How many links there are. They have not been looked at.
    pub links: usize,
    /// The opaque data.
    pub data: Option<&'a [u8]>,
}

/// Why bytes are not a dag-pb node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than a block may have.
    #[error("a dag-pb node of {0} bytes is larger than a block")]
    TooLarge(usize),
    /// Not protobuf.
    #[error("the dag-pb node is malformed: {0}")]
    Wire(#[from] WireError),
    /// A field of the node that dag-pb does not have, or of another wire type.
    #[error("field {0} does not belong in a dag-pb node")]
    NodeField(u32),
    /// The data stands twice.
    #[error("the dag-pb node has its data twice")]
    DataTwice,
    /// Links stand both before and after the data.
    #[error("the links of the dag-pb node are not in one run")]
    LinksApart,
    /// A field of a link that dag-pb does not have, or of another wire type.
    #[error("field {0} does not belong in a dag-pb link")]
    LinkField(u32),
    /// The fields of a link are repeated or not in the order hash, name, tsize.
    #[error("a dag-pb link has its field {0} twice or out of order")]
    LinkOrder(u32),
    /// A link without a CID.
    #[error("a dag-pb link has no cid")]
    NoCid,
    /// A link's CID is malformed.
    #[error("a dag-pb link has a bad cid: {0}")]
    Cid(#[from] CidError),
    /// A link's name is not UTF-8.
    #[error("a dag-pb link has a name that is not utf-8")]
    Name,
}

/// Decodes a whole node.
pub fn decode(bytes: &[u8]) -> Result<Node<'_>, DecodeError> {
    let mut links = Vec::new();
    let data = scan(bytes, |link| links.push(link))?;
    Ok(Node { links, data })
}

/// Decodes a node link by link without keeping them, and returns its data. The caller must not trust what it
/// was shown before this returns `Ok`.
pub fn scan<'a>(bytes: &'a [u8], mut on_link: impl FnMut(Link<'a>)) -> Result<Option<&'a [u8]>, DecodeError> {
    scan_raw(bytes, |link| on_link(Link { cid: link.cid.keep(), name: link.name, tsize: link.tsize }))
}

/// [`scan`] for those who keep few of the links.
pub(crate) fn scan_raw<'a>(
    bytes: &'a [u8],
    mut on_link: impl FnMut(RawLink<'a>),
) -> Result<Option<&'a [u8]>, DecodeError> {
    walk(bytes, |link| {
        on_link(decode_link(link)?);
        Ok(())
    })
}

/// Finds the data of a node and counts its links. Much cheaper than [`decode`], but accepts malformed links.
pub fn outline(bytes: &[u8]) -> Result<Outline<'_>, DecodeError> {
    let mut links = 0;
    let data = walk(bytes, |_| {
        links += 1;
        Ok(())
    })?;
    Ok(Outline { links, data })
}

/// Goes over the fields of a node and checks their order.
fn walk<'a>(
    bytes: &'a [u8],
    mut on_link: impl FnMut(&'a [u8]) -> Result<(), DecodeError>,
) -> Result<Option<&'a [u8]>, DecodeError> {
    if bytes.len() > BLOCK_MAX {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    let mut data = None;
    let mut links_before_data = false;
    let mut links = 0_usize;
    for field in Fields::new(bytes) {
        match field? {
            (NODE_LINKS, Value::Bytes(link)) => {
                if data.is_some() && links_before_data {
                    return Err(DecodeError::LinksApart);
                }
                links += 1;
                on_link(link)?;
            }
            (NODE_DATA, Value::Bytes(value)) => {
                if data.replace(value).is_some() {
                    return Err(DecodeError::DataTwice);
                }
                links_before_data = links > 0;
            }
            (number, _) => return Err(DecodeError::NodeField(number)),
        }
    }
    Ok(data)
}

fn decode_link(bytes: &[u8]) -> Result<RawLink<'_>, DecodeError> {
    let mut cid = None;
    let mut name = None;
    let mut tsize = None;
    let mut last = 0;
    for field in Fields::new(bytes) {
        let (number, value) = field?;
        if number <= last {
            return Err(DecodeError::LinkOrder(number));
        }
        last = number;
        match (number, value) {
            (LINK_HASH, Value::Bytes(hash)) => cid = Some(Checked::front(hash)?.alone(hash)?),
            (LINK_NAME, Value::Bytes(text)) => {
                name = Some(std::str::from_utf8(text).map_err(|_| DecodeError::Name)?);
            }
            (LINK_TSIZE, Value::Varint(size)) => tsize = Some(size),
            _ => return Err(DecodeError::LinkField(number)),
        }
    }
    Ok(RawLink { cid: cid.ok_or(DecodeError::NoCid)?, name, tsize })
}

impl Node<'_> {
    /// Encodes the node. Links keep their order: whoever builds a directory sorts them first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let links: usize = self.links.iter().map(Link::encoded_len).sum();
        let data = self.data.map_or(0, |data| protobuf::bytes_len(data.len()));
        let mut out = Vec::with_capacity(links + data);
        for link in &self.links {
            link.push(&mut out);
        }
        if let Some(data) = self.data {
            push_data(&mut out, data);
        }
        out
    }
}

impl Link<'_> {
    /// Appends the link as a field of a node.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        protobuf::push_head(out, NODE_LINKS, self.inner_len());
        protobuf::push_bytes(out, LINK_HASH, self.cid.as_written().bytes());
        if let Some(name) = self.name {
            protobuf::push_bytes(out, LINK_NAME, name.as_bytes());
        }
        if let Some(tsize) = self.tsize {
            protobuf::push_varint(out, LINK_TSIZE, tsize);
        }
    }

    /// Length of what [`Link::push`] appends.
    pub(crate) fn encoded_len(&self) -> usize {
        protobuf::bytes_len(self.inner_len())
    }

    fn inner_len(&self) -> usize {
        protobuf::bytes_len(self.cid.as_written().bytes().len())
            + self.name.map_or(0, |name| protobuf::bytes_len(name.len()))
            + self.tsize.map_or(0, protobuf::varint_len)
    }
}

/// Appends the data as the last field of a node.
pub(crate) fn push_data(out: &mut Vec<u8>, data: &[u8]) {
    protobuf::push_bytes(out, NODE_DATA, data);
}
