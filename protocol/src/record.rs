//! Records in segments, so that pins can be rebuilt from the nodes alone. A record is a block that is the root of its
//! segment's CAR header, and holds no names of files or people.
//!
//! There are two kinds. **Notes** say which uploads ended while the segment was open; some of them were refused
//! afterwards. A **part of the log** says what became of pins, in an order that the database set: of all that is said of
//! one pin the last counts. Notes make up for what had not come into the log yet.
//!
//! Records are signed by the network for the segment that they lie in: anybody may upload blocks that look like one.

use content::{Block, Cid, Codec, HashFn};
use ed25519_dalek::{Signer as _, SigningKey};
use ipld_core::ipld::Ipld;

use crate::{
    ids::SegmentId,
    time::{UnixMicros, UnixMillis},
};

mod decode;

pub use decode::decode;

/// A pin, or what an upload asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinRecord {
    /// Its name; `None` in notes of version 1.
    pub id: Option<String>,
    /// Root CID, in the version in which it was given.
    pub root: Cid,
    /// Whose pin it is. Random, so that it says nothing to the operators who store it.
    pub account: String,
    /// When it was made, or in notes when the upload ended.
    pub created: UnixMicros,
    /// When it ends by itself.
    pub expires: Option<UnixMillis>,
    /// Whether it is only held: kept and charged, in no list.
    pub held: bool,
    /// Bytes that it counts, and bytes of all blocks under its root; `None` in notes of version 1.
    pub sizes: Option<(u64, u64)>,
}

/// A pin that is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneRecord {
    /// Its name.
    pub id: String,
    /// Whose it was.
    pub account: String,
    /// What its root was.
    pub root: Cid,
}

/// Where a part of the log belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    /// Its place in the order. Each part has a later one than all before it, also after a database was set back, since
    /// it is no less than the time.
    pub seq: UnixMicros,
    /// Parts before this one do not count any more: all pins that there are were written down since. Notes from before
    /// it plus [`LOG_OVERLAP_US`] do not count either.
    pub from: UnixMicros,
}

/// How far the log reaches back behind the moment since which all pins were written down anew: longer than an upload takes
/// from its last block to its pin.
pub const LOG_OVERLAP_US: i64 = 3_600_000_000;

/// What stands in a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// `None`: these are notes.
    pub log: Option<LogPlace>,
    /// Pins.
    pub pins: Vec<PinRecord>,
    /// Pins that are no more; none in notes.
    pub gone: Vec<GoneRecord>,
}

/// Bytes that are no record of a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a segment record: {0}")]
pub struct RecordError(String);

/// Bytes of a record without pins, generously.
pub const RECORD_BASE: usize = 256;

/// What is signed: the domain, the segment, and what stands in the record.
fn message(segment: SegmentId, record: &[u8]) -> Vec<u8> {
    [&b"pinstripe record v2\0"[..], &segment.0[..], record].concat()
}

impl PinRecord {
    /// Bytes that it takes in a record, at most: names of fields, numbers, and what differs in length.
    pub fn room(&self) -> usize {
        let id = self.id.as_ref().map_or(0, String::len);
        160 + id + self.account.len() + self.root.as_bytes().len()
    }
}

impl Record {
    /// Its block in a segment: dag-cbor `{"v": 2, "record", "sig"}`, where `record` is bytes of dag-cbor again,
    /// `{"pins": [{"id", "cid", "v0", "account", "created", "expires", "held", "size", "dag"}], "gone": [{"id", "cid",
    /// "account"}], "seq", "from"}`; what says nothing is left out. `created`, `seq` and `from` are microseconds, `expires`
    /// milliseconds.
    pub fn encode(&self, segment: SegmentId, key: &SigningKey) -> Block {
        let record = self.payload();
        let signature = key.sign(&message(segment, &record)).to_bytes().to_vec();
        let signed = [
            ("v".to_string(), Ipld::Integer(2)),
            ("record".to_string(), Ipld::Bytes(record)),
            ("sig".to_string(), Ipld::Bytes(signature)),
        ];
        Block::of(Codec::DagCbor, HashFn::Sha2_256, cbor(&Ipld::Map(signed.into())).into())
    }

    fn payload(&self) -> Vec<u8> {
        let mut record = vec![("pins".to_string(), Ipld::List(self.pins.iter().map(pin).collect()))];
        if !self.gone.is_empty() {
            record.push(("gone".into(), Ipld::List(self.gone.iter().map(gone).collect())));
        }
        if let Some(place) = self.log {
            record.push(("seq".into(), Ipld::Integer(place.seq.0.into())));
            record.push(("from".into(), Ipld::Integer(place.from.0.into())));
        }
        cbor(&Ipld::Map(record.into_iter().collect()))
    }
}

fn cbor(value: &Ipld) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("maps of strings, bytes, links and integers always encode")
}

fn pin(pin: &PinRecord) -> Ipld {
    let mut map = vec![
        ("cid".to_string(), link(&pin.root)),
        ("account".to_string(), Ipld::String(pin.account.clone())),
        ("created".to_string(), Ipld::Integer(pin.created.0.into())),
    ];
    if let Some(id) = &pin.id {
        map.push(("id".into(), Ipld::String(id.clone())));
    }
    if pin.root.as_written().is_v0() {
        map.push(("v0".into(), Ipld::Bool(true)));
    }
    if let Some(expires) = pin.expires {
        map.push(("expires".into(), Ipld::Integer(expires.0.into())));
    }
    if pin.held {
        map.push(("held".into(), Ipld::Bool(true)));
    }
    if let Some((size, dag)) = pin.sizes {
        map.push(("size".into(), Ipld::Integer(size.into())));
        map.push(("dag".into(), Ipld::Integer(dag.into())));
    }
    Ipld::Map(map.into_iter().collect())
}

fn gone(gone: &GoneRecord) -> Ipld {
    let map = [
        ("id".to_string(), Ipld::String(gone.id.clone())),
        ("cid".to_string(), link(&gone.root)),
        ("account".to_string(), Ipld::String(gone.account.clone())),
    ];
    Ipld::Map(map.into())
}

/// A link; a CID too long for one (an identity) is left as bytes.
fn link(cid: &Cid) -> Ipld {
    match cid.clone().try_into() {
        Ok(cid) => Ipld::Link(cid),
        Err(_) => Ipld::Bytes(cid.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests;
