//! Data of any shape, written in both codecs, read back, and damaged.

use ::cid::multibase::Base;
use bytes::Bytes;
use proptest::prelude::*;

use super::{block, events};
use crate::cid::{Cid, Codec};
use crate::ipld::{Event, links, lookup};
use crate::tests::damage::{damage, edits};

/// A value as a test holds it.
#[derive(Debug, Clone)]
enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Link(Cid),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

fn value() -> impl Strategy<Value = Value> {
    let cid = (any::<[u8; 32]>(), any::<bool>()).prop_map(|(digest, is_identity)| {
        if is_identity {
            Cid::identity(Codec::Raw, &digest[..usize::from(digest[0] % 33)]).unwrap()
        } else {
            Cid::from_sha2_256(Codec::DagCbor, digest)
        }
    });
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        // What fits CBOR.
        prop_oneof![any::<i64>().prop_map(i128::from), -300..300_i128, Just(-(1 << 64)), Just((1 << 64) - 1)]
            .prop_map(Value::Int),
        any::<f64>().prop_filter("JSON has no other", |float| float.is_finite()).prop_map(Value::Float),
        any::<String>().prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        cid.prop_map(Value::Link),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        let key = any::<String>().prop_filter("it is reserved in dag-json", |key| key != "/");
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::vec((key, inner), 0..6).prop_map(Value::Map),
        ]
    })
}

fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    match value {
        0..24 => out.push((major << 5) + u8::try_from(value).unwrap()),
        24..256 => out.extend([(major << 5) + 24, u8::try_from(value).unwrap()]),
        _ => {
            out.push((major << 5) + 27);
            out.extend(value.to_be_bytes());
        }
    }
}

fn string(out: &mut Vec<u8>, major: u8, bytes: &[u8]) {
    head(out, major, bytes.len() as u64);
    out.extend(bytes);
}

impl Value {
    fn cbor(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0xf6),
            Self::Bool(value) => out.push(0xf4 + u8::from(*value)),
            Self::Int(value) if *value < 0 => head(out, 1, u64::try_from(-1 - value).unwrap()),
            Self::Int(value) => head(out, 0, u64::try_from(*value).unwrap()),
            Self::Float(value) => {
                out.push(0xfb);
                out.extend(value.to_be_bytes());
            }
            Self::Text(text) => string(out, 3, text.as_bytes()),
            Self::Bytes(bytes) => string(out, 2, bytes),
            Self::Link(cid) => {
                head(out, 6, 42);
                string(out, 2, &[&[0], cid.as_bytes()].concat());
            }
            Self::List(items) => {
                head(out, 4, items.len() as u64);
                for item in items {
                    item.cbor(out);
                }
            }
            Self::Map(entries) => {
                head(out, 5, entries.len() as u64);
                for (key, item) in entries {
                    string(out, 3, key.as_bytes());
                    item.cbor(out);
                }
            }
        }
    }

    fn json(&self) -> String {
        let quote = |text: &str| serde_json::to_string(text).unwrap();
        match self {
            Self::Null => "null".into(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Text(text) => quote(text),
            Self::Bytes(bytes) => format!(r#"{{"/":{{"bytes":"{}"}}}}"#, Base::Base64.encode(bytes)),
            Self::Link(cid) => format!(r#"{{"/":"{cid}"}}"#),
            Self::List(items) => format!("[{}]", items.iter().map(Self::json).collect::<Vec<_>>().join(", ")),
            Self::Map(entries) => {
                let entry = |(key, item): &(String, Self)| format!("{} : {}", quote(key), item.json());
                format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
            }
        }
    }

    fn events<'a>(&'a self, out: &mut Vec<Event<'a>>) {
        let last = match self {
            Self::Null => Event::Null,
            Self::Bool(value) => Event::Bool(*value),
            Self::Int(value) => Event::Int(*value),
            Self::Float(value) => Event::Float(*value),
            Self::Text(text) => Event::Text(text.as_str().into()),
            Self::Bytes(bytes) => Event::Bytes(bytes.into()),
            Self::Link(cid) => Event::Link(cid.clone()),
            Self::List(items) => {
                out.push(Event::List);
                for item in items {
                    item.events(out);
                }
                Event::End
            }
            Self::Map(entries) => {
                out.push(Event::Map);
                for (key, item) in entries {
                    out.push(Event::Key(key.as_str().into()));
                    item.events(out);
                }
                Event::End
            }
        };
        out.push(last);
    }
}

/// Bytes of an event that are not in the event itself.
fn weight(event: &Event<'_>) -> usize {
    match event {
        Event::Text(text) | Event::Key(text) => text.len(),
        Event::Bytes(bytes) => bytes.len(),
        Event::Link(cid) => cid.as_bytes().len(),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in value()) {
        let mut expected = Vec::new();
        value.events(&mut expected);
        let mut cbor = Vec::new();
        value.cbor(&mut cbor);
        let (cbor, json) = (block(Codec::DagCbor, cbor), block(Codec::DagJson, value.json()));
        prop_assert_eq!(events(&cbor).unwrap(), expected.clone());
        prop_assert_eq!(events(&json).unwrap(), expected.clone());
        let linked: Vec<_> = expected
            .into_iter()
            .filter_map(|event| if let Event::Link(cid) = event { Some(cid) } else { None })
            .collect();
        prop_assert_eq!(links(&cbor), Ok(linked.clone()));
        prop_assert_eq!(links(&json), Ok(linked));
    }

    #[test]
    fn damaged_data_is_read_without_a_panic(
        value in value(),
        edits in edits(),
        path in proptest::collection::vec("[0-3]|[a-c]", 0..4),
    ) {
        let mut cbor = Vec::new();
        value.cbor(&mut cbor);
        let mut json = value.json().into_bytes();
        damage(&mut cbor, &edits);
        damage(&mut json, &edits);
        for (codec, bytes) in [(Codec::DagCbor, cbor), (Codec::DagJson, json)] {
            let block = block(codec, Bytes::from(bytes));
            let len = block.bytes.len();
            if let Ok(read) = events(&block) {
                prop_assert!(read.len() <= 2 * len, "an item takes a byte, and so does what an end closes");
                prop_assert!(read.iter().map(weight).sum::<usize>() <= 2 * len);
            }
            prop_assert!(links(&block).map_or(0, |links| links.len() * size_of::<Cid>()) <= 16 * len);
            let _ = lookup(&block, &path);
        }
    }

    #[test]
    fn every_cut_is_noticed(value in value()) {
        let mut cbor = Vec::new();
        value.cbor(&mut cbor);
        for end in 0..cbor.len() {
            prop_assert!(events(&block(Codec::DagCbor, cbor[..end].to_vec())).is_err());
        }
    }
}

#[test]
fn a_count_that_is_not_backed_costs_nothing() {
    // Lists, maps, bytes and texts of 2^64 - 1.
    for major in [2, 3, 4, 5] {
        let mut bytes = Vec::new();
        head(&mut bytes, major, u64::MAX);
        assert!(events(&block(Codec::DagCbor, bytes)).is_err());
    }
}
