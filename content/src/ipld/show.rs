//! Data of a block as dag-json, whatever its codec is. It is made to be read: keys stay in the order of the block, so the
//! text need not hash to anything.

use std::fmt::Write as _;

use ::cid::multibase::Base;

use super::{Descent, Event, Events, IpldError, descend};
use crate::block::Block;
use crate::cid::Codec;
use crate::dagpb;

/// The value at the end of `path` (decoded components) in a block of dag-cbor, dag-json, dag-pb or raw bytes. `None` when the
/// path leads out of the block or to nothing, and for other codecs; in dag-pb and raw blocks only the empty path leads
/// anywhere.
pub fn dag_json(block: &Block, path: &[String]) -> Option<Result<String, IpldError>> {
    match block.cid.codec() {
        Codec::Raw if path.is_empty() => {
            let mut text = String::new();
            push_bytes(&mut text, &block.bytes);
            Some(Ok(text))
        }
        Codec::DagPb if path.is_empty() => Some(node(block)),
        _ => value(Events::of(block)?, path).transpose(),
    }
}

fn value(mut events: Events<'_>, path: &[String]) -> Result<Option<String>, IpldError> {
    let Descent::At(first) = descend(&mut events, path)? else { return Ok(None) };
    let mut text = String::new();
    // Whether what is open is a map, and whether it has anything in it yet.
    let mut open: Vec<(bool, bool)> = Vec::new();
    let mut keyed = false;
    let mut event = first;
    loop {
        if let Some((_, filled)) = open.last_mut().filter(|_| event != Event::End && !keyed) {
            if *filled {
                text.push(',');
            }
            *filled = true;
        }
        keyed = false;
        match event {
            Event::Null => text.push_str("null"),
            Event::Bool(value) => _ = write!(text, "{value}"),
            Event::Int(value) => _ = write!(text, "{value}"),
            // With a point or an exponent, so that it stays what it is.
            Event::Float(value) => _ = write!(text, "{value:?}"),
            Event::Text(value) => push_text(&mut text, &value),
            Event::Bytes(bytes) => push_bytes(&mut text, &bytes),
            Event::Link(cid) => _ = write!(text, "{{\"/\":\"{}\"}}", cid.as_written()),
            Event::List => {
                text.push('[');
                open.push((false, false));
            }
            Event::Map => {
                text.push('{');
                open.push((true, false));
            }
            Event::Key(key) => {
                push_text(&mut text, &key);
                text.push(':');
                keyed = true;
            }
            Event::End => {
                let (is_map, _) = open.pop().unwrap_or_default();
                text.push(if is_map { '}' } else { ']' });
            }
        }
        if open.is_empty() {
            return Ok(Some(text));
        }
        event = events.expect()?;
    }
}

/// A dag-pb node, in the shape that its specification gives it as data.
fn node(block: &Block) -> Result<String, IpldError> {
    let malformed = |_| IpldError::Malformed { what: "no dag-pb node", offset: 0 };
    let node = dagpb::decode(&block.bytes).map_err(malformed)?;
    let mut text = String::from("{");
    if let Some(data) = node.data {
        text.push_str("\"Data\":");
        push_bytes(&mut text, data);
        text.push(',');
    }
    text.push_str("\"Links\":[");
    for (at, link) in node.links.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        _ = write!(text, "{comma}{{\"Hash\":{{\"/\":\"{}\"}}", link.cid.as_written());
        if let Some(name) = link.name {
            text.push_str(",\"Name\":");
            push_text(&mut text, name);
        }
        if let Some(tsize) = link.tsize {
            _ = write!(text, ",\"Tsize\":{tsize}");
        }
        text.push('}');
    }
    text.push_str("]}");
    Ok(text)
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    _ = write!(text, "{{\"/\":{{\"bytes\":\"{}\"}}}}", Base::Base64.encode(bytes));
}

fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
}
