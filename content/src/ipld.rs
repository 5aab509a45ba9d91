//! dag-cbor and dag-json as far as a path or a link needs them: a block's data as a run of events.
//!
//! Nothing is ever built in memory: a value of one byte would become a hundred. [`lookup`] follows a path to the first
//! link on it, [`links`] gives all links, [`Events`] is what both read, for whoever wants to show the data. Reading is
//! lenient where nothing depends on it (order of keys, short forms of numbers): a block is what its hash says, and this
//! is no validator. Depth is bounded.

mod cbor;
mod json;
mod show;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::block::Block;
use crate::cid::{Cid, CidError, Codec};

pub use self::show::dag_json;

/// Lists and maps within each other, at most.
pub const DEPTH_MAX: usize = 128;

/// A part of a block's data. What a list or map holds follows it, up to its `End`.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Another number.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// A link to another block.
    Link(Cid),
    /// A list begins.
    List,
    /// A map begins.
    Map,
    /// The key of the value that follows, within a map.
    Key(Cow<'a, str>),
    /// The list or map that began last ends.
    End,
}

/// Why a block is not what its codec says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpldError {
    /// The bytes end within a value.
    #[error("the data ends early")]
    Truncated,
    /// Bytes follow the value.
    #[error("bytes follow the data")]
    Excess,
    /// Lists and maps are nested deeper than [`DEPTH_MAX`].
    #[error("the data is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Something that the codec does not have, or not there.
    #[error("{what} at offset {offset}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where.
        offset: usize,
    },
    /// A link whose CID is malformed.
    #[error("a link has a bad cid: {0}")]
    Cid(#[from] CidError),
}

/// Reads a block's data from front to back.
#[derive(Debug)]
pub enum Events<'a> {
    /// dag-cbor.
    Cbor(cbor::Reader<'a>),
    /// dag-json.
    Json(json::Reader<'a>),
}

impl<'a> Events<'a> {
    /// The data of a block; `None` when its codec has no data that can be read here.
    #[must_use]
    pub fn of(block: &'a Block) -> Option<Self> {
        match block.cid.codec() {
            Codec::DagCbor => Some(Self::Cbor(cbor::Reader::new(&block.bytes))),
            Codec::DagJson => Some(Self::Json(json::Reader::new(&block.bytes))),
            _ => None,
        }
    }

    /// The next event; `None` after the last.
    pub fn next_event(&mut self) -> Result<Option<Event<'a>>, IpldError> {
        match self {
            Self::Cbor(reader) => reader.next_event(),
            Self::Json(reader) => reader.next_event(),
        }
    }

    /// The next event where there must be one.
    fn expect(&mut self) -> Result<Event<'a>, IpldError> {
        self.next_event()?.ok_or(IpldError::Truncated)
    }

    /// Passes over the rest of a value whose first event was `first`.
    fn skip_rest(&mut self, first: &Event<'_>) -> Result<(), IpldError> {
        let mut open = usize::from(matches!(first, Event::List | Event::Map));
        while open > 0 {
            match self.expect()? {
                Event::List | Event::Map => open += 1,
                Event::End => open -= 1,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where a path leads within one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// To a link, after so many components.
    Link(Cid, usize),
    /// To a value that is no link, at its end.
    Value,
    /// To nothing: the component at this position is missing.
    Absent(usize),
}

/// Follows `path` (decoded components) through the data of a block up to the first link. `None` when the block's codec
/// has no paths.
pub fn lookup(block: &Block, path: &[String]) -> Option<Result<Lookup, IpldError>> {
    Some(follow(Events::of(block)?, path))
}

fn follow(mut events: Events<'_>, path: &[String]) -> Result<Lookup, IpldError> {
    Ok(match descend(&mut events, path)? {
        Descent::At(Event::Link(cid)) => Lookup::Link(cid, path.len()),
        Descent::At(_) => Lookup::Value,
        Descent::Link(cid, used) => Lookup::Link(cid, used),
        Descent::Absent(used) => Lookup::Absent(used),
    })
}

/// Where a path leads, with the first event of the value at its end: the rest of that value comes next.
enum Descent<'a> {
    At(Event<'a>),
    /// A link on the way, after so many components.
    Link(Cid, usize),
    Absent(usize),
}

fn descend<'a>(events: &mut Events<'a>, path: &[String]) -> Result<Descent<'a>, IpldError> {
    let mut here = events.expect()?;
    for (used, name) in path.iter().enumerate() {
        let found = match here {
            Event::Link(cid) => return Ok(Descent::Link(cid, used)),
            Event::Map => entry(events, name)?,
            Event::List => item(events, name)?,
            _ => None,
        };
        match found {
            Some(event) => here = event,
            None => return Ok(Descent::Absent(used)),
        }
    }
    Ok(Descent::At(here))
}

/// The first event of the value under a key of the map that just began.
fn entry<'a>(events: &mut Events<'a>, name: &str) -> Result<Option<Event<'a>>, IpldError> {
    loop {
        match events.expect()? {
            Event::Key(key) if key == name => return Ok(Some(events.expect()?)),
            Event::End => return Ok(None),
            _ => skip_value(events)?,
        }
    }
}

/// The first event of an item of the list that just began.
fn item<'a>(events: &mut Events<'a>, name: &str) -> Result<Option<Event<'a>>, IpldError> {
    // As numbers are written: no sign, no leading zero.
    let Some(mut left) = name.parse::<usize>().ok().filter(|at| at.to_string() == name) else {
        return Ok(None);
    };
    loop {
        match events.expect()? {
            Event::End => return Ok(None),
            first if left == 0 => return Ok(Some(first)),
            first => events.skip_rest(&first)?,
        }
        left -= 1;
    }
}

fn skip_value(events: &mut Events<'_>) -> Result<(), IpldError> {
    let first = events.expect()?;
    events.skip_rest(&first)
}

/// All links of a block, in its order; none when its codec has none.
pub fn links(block: &Block) -> Result<Vec<Cid>, IpldError> {
    let mut links = Vec::new();
    let Some(mut events) = Events::of(block) else { return Ok(links) };
    while let Some(event) = events.next_event()? {
        if let Event::Link(cid) = event {
            links.push(cid);
        }
    }
    Ok(links)
}
