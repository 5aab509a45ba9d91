//! The record of a segment: a block that says which pinned roots were finished in it, so that pins can be rebuilt from
//! the nodes alone. It is the root of the segment's CAR header.

use content::{Block, Cid, Codec, HashFn};
use ipld_core::ipld::Ipld;

use crate::time::UnixMillis;

/// One finished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinRecord {
    /// Root CID.
    pub root: Cid,
    /// Whose pin it is. Random, so that it says nothing to the operators who store it.
    pub account: String,
    /// When it was made.
    pub created: UnixMillis,
}

/// Bytes that are no record of a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a segment record: {0}")]
pub struct RecordError(String);

/// The dag-cbor block `{"v": 1, "pins": [{"cid", "account", "created"}]}`.
pub fn encode(pins: &[PinRecord]) -> Block {
    let pins = pins.iter().map(|pin| {
        Ipld::Map(
            [
                ("cid".to_string(), link(&pin.root)),
                ("account".to_string(), Ipld::String(pin.account.clone())),
                ("created".to_string(), Ipld::Integer(pin.created.0.into())),
            ]
            .into(),
        )
    });
    let record = Ipld::Map(
        [("v".to_string(), Ipld::Integer(1)), ("pins".to_string(), Ipld::List(pins.collect()))].into(),
    );
    let bytes =
        serde_ipld_dagcbor::to_vec(&record).expect("maps of strings, links and integers always encode");
    Block::of(Codec::DagCbor, HashFn::Sha2_256, bytes.into())
}

/// A link; a CID too long for one (an identity) is left as bytes, which no root of ours is.
fn link(cid: &Cid) -> Ipld {
    match cid.clone().try_into() {
        Ok(cid) => Ipld::Link(cid),
        Err(_) => Ipld::Bytes(cid.as_bytes().to_vec()),
    }
}

/// Reads a block of [`encode`].
pub fn decode(bytes: &[u8]) -> Result<Vec<PinRecord>, RecordError> {
    let record: Ipld =
        serde_ipld_dagcbor::from_slice(bytes).map_err(|error| RecordError(error.to_string()))?;
    let wrong = |what: &str| RecordError(what.to_string());
    let Ipld::Map(mut record) = record else { return Err(wrong("not a map")) };
    if record.get("v") != Some(&Ipld::Integer(1)) {
        return Err(wrong("unknown version"));
    }
    let Some(Ipld::List(pins)) = record.remove("pins") else { return Err(wrong("no pins")) };
    pins.into_iter()
        .map(|pin| {
            let Ipld::Map(mut pin) = pin else { return Err(wrong("pin is not a map")) };
            match (pin.remove("cid"), pin.remove("account"), pin.remove("created")) {
                (Some(Ipld::Link(cid)), Some(Ipld::String(account)), Some(Ipld::Integer(created))) => {
                    Ok(PinRecord {
                        root: cid.into(),
                        account,
                        created: UnixMillis(i64::try_from(created).map_err(|_| wrong("time out of range"))?),
                    })
                }
                _ => Err(wrong("pin lacks a field")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives() {
        let pins = vec![PinRecord {
            root: Cid::of(Codec::Raw, HashFn::Sha2_256, b"x"),
            account: "a1".into(),
            created: UnixMillis(1_700_000_000_000),
        }];
        assert_eq!(decode(&encode(&pins).bytes), Ok(pins));
        assert_eq!(decode(&encode(&[]).bytes), Ok(vec![]));
        assert!(decode(b"junk").is_err());
    }
}
