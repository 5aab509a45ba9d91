//! Reading records back, those of version 1 too. Whatever the bytes are, the answer is a record or an error.

use std::collections::BTreeMap;

use content::Cid;
use ed25519_dalek::{Signature, VerifyingKey};
use ipld_core::ipld::Ipld;

use super::{GoneRecord, LogPlace, PinRecord, Record, RecordError, message};
use crate::{
    ids::SegmentId,
    time::{UnixMicros, UnixMillis},
};

type Map = BTreeMap<String, Ipld>;

/// Reads a block of [`Record::encode`] in `segment`, signed with the key that belongs to `network`; or notes of version 1,
/// `{"v": 1, "pins": [{"cid", "account", "created"}]}` with `created` in milliseconds, which are not signed: the caller
/// must know from where they stand that a gateway wrote them.
pub fn decode(bytes: &[u8], segment: SegmentId, network: &VerifyingKey) -> Result<Record, RecordError> {
    let mut block = parsed(bytes)?;
    match (block.remove("v"), block.remove("record"), block.remove("sig")) {
        (Some(Ipld::Integer(1)), None, None) => {
            Ok(Record { pins: pins(&mut block, 1)?, ..Record::default() })
        }
        (Some(Ipld::Integer(2)), Some(Ipld::Bytes(record)), Some(Ipld::Bytes(signature))) => {
            let signature = Signature::from_slice(&signature).map_err(|_| wrong("bad signature"))?;
            let signed = network.verify_strict(&message(segment, &record), &signature);
            signed.map_err(|_| wrong("not signed by the network for this segment"))?;
            signed_record(parsed(&record)?)
        }
        _ => Err(wrong("unknown version")),
    }
}

fn parsed(bytes: &[u8]) -> Result<Map, RecordError> {
    map(serde_ipld_dagcbor::from_slice(bytes).map_err(|error| RecordError(error.to_string()))?)
}

fn pins(record: &mut Map, version: i128) -> Result<Vec<PinRecord>, RecordError> {
    list(record.remove("pins"))?.into_iter().map(|one| pin(one, version)).collect()
}

fn signed_record(mut record: Map) -> Result<Record, RecordError> {
    let pins = pins(&mut record, 2)?;
    let gone = match record.remove("gone") {
        Some(gone) => list(Some(gone))?.into_iter().map(gone_pin).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let log = match (record.remove("seq"), record.remove("from")) {
        (Some(seq), Some(from)) => {
            Some(LogPlace { seq: UnixMicros(number(seq)?), from: UnixMicros(number(from)?) })
        }
        (None, None) => None,
        _ => return Err(wrong("half a place in the log")),
    };
    Ok(Record { log, pins, gone })
}

fn pin(pin: Ipld, version: i128) -> Result<PinRecord, RecordError> {
    let mut pin = map(pin)?;
    let created = number(pin.remove("created").ok_or_else(|| wrong("pin lacks a time"))?)?;
    let is_v0 = flag(pin.remove("v0"))?;
    let root = cid(pin.remove("cid"), is_v0)?;
    let sizes = match (pin.remove("size"), pin.remove("dag")) {
        (Some(size), Some(dag)) => Some((length(size)?, length(dag)?)),
        (None, None) => None,
        _ => return Err(wrong("pin lacks a size")),
    };
    Ok(PinRecord {
        id: pin.remove("id").map(|id| string(Some(id))).transpose()?,
        root,
        account: string(pin.remove("account"))?,
        created: if version == 1 { UnixMillis(created).micros() } else { UnixMicros(created) },
        expires: pin.remove("expires").map(number).transpose()?.map(UnixMillis),
        held: flag(pin.remove("held"))?,
        sizes,
    })
}

fn gone_pin(gone: Ipld) -> Result<GoneRecord, RecordError> {
    let mut gone = map(gone)?;
    Ok(GoneRecord {
        id: string(gone.remove("id"))?,
        account: string(gone.remove("account"))?,
        root: cid(gone.remove("cid"), false)?,
    })
}

fn wrong(what: &str) -> RecordError {
    RecordError(what.to_string())
}

fn map(value: Ipld) -> Result<Map, RecordError> {
    match value {
        Ipld::Map(map) => Ok(map),
        _ => Err(wrong("not a map")),
    }
}

fn list(value: Option<Ipld>) -> Result<Vec<Ipld>, RecordError> {
    match value {
        Some(Ipld::List(list)) => Ok(list),
        _ => Err(wrong("not a list of pins")),
    }
}

fn string(value: Option<Ipld>) -> Result<String, RecordError> {
    match value {
        Some(Ipld::String(text)) => Ok(text),
        _ => Err(wrong("pin lacks a name")),
    }
}

fn flag(value: Option<Ipld>) -> Result<bool, RecordError> {
    match value {
        None => Ok(false),
        Some(Ipld::Bool(flag)) => Ok(flag),
        Some(_) => Err(wrong("not a flag")),
    }
}

fn number(value: Ipld) -> Result<i64, RecordError> {
    match value {
        Ipld::Integer(number) => i64::try_from(number).map_err(|_| wrong("number out of range")),
        _ => Err(wrong("not a number")),
    }
}

fn length(value: Ipld) -> Result<u64, RecordError> {
    u64::try_from(number(value)?).map_err(|_| wrong("length out of range"))
}

fn cid(value: Option<Ipld>, is_v0: bool) -> Result<Cid, RecordError> {
    let cid = match value {
        Some(Ipld::Link(cid)) => cid.into(),
        Some(Ipld::Bytes(bytes)) => Cid::from_bytes(&bytes).map_err(|error| wrong(&error.to_string()))?,
        _ => return Err(wrong("pin lacks a cid")),
    };
    if is_v0 {
        return cid.multihash_base58().parse().map_err(|_| wrong("a cid that cannot be one of version 0"));
    }
    Ok(cid)
}
