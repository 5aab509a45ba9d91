//! Data with links: paths, links, and bytes that nobody should have written.

mod damage;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Event, Events, IpldError, Lookup, dag_json, links, lookup};
use crate::block::Block;
use crate::cid::{Cid, Codec, HashFn};

fn block(codec: Codec, bytes: impl Into<Bytes>) -> Block {
    Block::of(codec, HashFn::Sha2_256, bytes.into())
}

fn json(text: &str) -> Block {
    block(Codec::DagJson, text.to_string())
}

fn cid(seed: &str) -> Cid {
    Cid::of(Codec::Raw, HashFn::Sha2_256, seed.as_bytes())
}

fn at(block: &Block, path: &str) -> Lookup {
    let path: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_string).collect();
    lookup(block, &path).unwrap().unwrap()
}

fn events(block: &Block) -> Result<Vec<Event<'_>>, IpldError> {
    let mut events = Events::of(block).unwrap();
    let mut all = Vec::new();
    while let Some(event) = events.next_event()? {
        all.push(event);
    }
    Ok(all)
}

/// `{"list": [1, {"x": LINK}, LINK], "link": LINK, "bytes": h'00ff', "n": null}`.
fn both() -> [(Block, Cid, Cid, Cid); 2] {
    let (a, b, c) = (cid("a"), cid("b"), cid("c"));
    let text = format!(
        r#" {{"list": [1, {{"x": {{"/": "{a}"}}}}, {{"/":"{b}"}}], "link":{{"/":"{c}"}}, "bytes": {{"/":{{"bytes":"AP8"}}}},
           "n":null }} "#
    );
    let mut cbor = vec![0xa4, 0x64];
    let link = |cid: &Cid| [&[0xd8, 42, 0x58, 37, 0][..], cid.as_bytes()].concat();
    cbor.extend_from_slice(b"list\x83\x01\xa1\x61x");
    cbor.extend(link(&a));
    cbor.extend(link(&b));
    cbor.extend_from_slice(b"\x64link");
    cbor.extend(link(&c));
    cbor.extend_from_slice(b"\x65bytes\x42\x00\xff\x61n\xf6");
    [(json(&text), a.clone(), b.clone(), c.clone()), (block(Codec::DagCbor, cbor), a, b, c)]
}

#[test]
fn paths_lead_to_links() {
    for (block, a, b, c) in both() {
        assert_eq!(at(&block, "link"), Lookup::Link(c.clone(), 1));
        assert_eq!(at(&block, "link/deeper/still"), Lookup::Link(c.clone(), 1));
        assert_eq!(at(&block, "list/1/x"), Lookup::Link(a.clone(), 3));
        assert_eq!(at(&block, "list/2"), Lookup::Link(b.clone(), 2));
        for value in ["", "list", "list/0", "list/1", "bytes", "n"] {
            assert_eq!(at(&block, value), Lookup::Value, "{value}");
        }
        for (path, position) in [
            ("no", 0),
            ("list/3", 1),
            ("list/01", 1),
            ("list/-1", 1),
            ("list/0/x", 2),
            ("n/a", 1),
            ("list/1/y", 2),
        ] {
            assert_eq!(at(&block, path), Lookup::Absent(position), "{path}");
        }
        assert_eq!(links(&block), Ok(vec![a, b, c]));
    }
}

#[test]
fn both_codecs_say_the_same() {
    let [(json, ..), (cbor, ..)] = both();
    assert_eq!(events(&json), events(&cbor));
}

#[test]
fn what_has_no_links_has_none() {
    let raw = block(Codec::Raw, "x");
    assert_eq!((lookup(&raw, &[]), links(&raw)), (None, Ok(vec![])));
}

#[test]
fn texts_are_unescaped() {
    let tricky = json(r#"["a\"\\\/\b\f\n\r\t\u00fc\ud83d\ude00", -1.5e3, 12345678901234567890123]"#);
    let expected = "a\"\\/\u{8}\u{c}\n\r\tü😀";
    let found = events(&tricky).unwrap();
    assert_eq!(found[1], Event::Text(expected.into()));
    assert_eq!(found[2..4], [Event::Float(-1500.0), Event::Int(12_345_678_901_234_567_890_123)]);
}

#[test]
fn floats_of_every_length() {
    let cbor = block(
        Codec::DagCbor,
        &b"\x84\xf9\x3e\x00\xfa\x3f\xc0\x00\x00\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00\xf9\x80\x01"[..],
    );
    let found = events(&cbor).unwrap();
    assert_eq!(found[1..4], [Event::Float(1.5), Event::Float(1.5), Event::Float(1.5)]);
    assert_eq!(found[4], Event::Float(-(2_f64.powi(-24))));
}

fn shown(block: &Block, path: &str) -> Option<serde_json::Value> {
    let path: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_string).collect();
    dag_json(block, &path).map(|text| serde_json::from_str(&text.unwrap()).unwrap())
}

#[test]
fn data_is_shown_as_dag_json() {
    for (block, a, b, c) in both() {
        let link = |cid: &Cid| serde_json::json!({ "/": cid.to_string() });
        let list = serde_json::json!([1, { "x": link(&a) }, link(&b)]);
        let bytes = serde_json::json!({ "/": { "bytes": "AP8" } });
        let all = serde_json::json!({ "list": list, "link": link(&c), "bytes": bytes, "n": null });
        assert_eq!(shown(&block, ""), Some(all));
        assert_eq!(shown(&block, "list"), Some(list));
        assert_eq!(shown(&block, "list/1/x"), Some(link(&a)));
        assert_eq!(shown(&block, "n"), Some(serde_json::Value::Null));
        for elsewhere in ["list/1/x/y", "nothing", "list/9"] {
            assert_eq!(shown(&block, elsewhere), None, "{elsewhere}");
        }
    }
    let odd = r#"{"a\"\\\n\u0001\u00e4":[[],{},[{}],1.0,-2,"\t"],"b":true}"#;
    let expected: serde_json::Value = serde_json::from_str(odd).unwrap();
    assert_eq!(shown(&json(odd), ""), Some(expected));
    assert_eq!(shown(&block(Codec::Raw, "ab"), ""), Some(serde_json::json!({ "/": { "bytes": "YWI" } })));
    assert_eq!(shown(&block(Codec::Raw, "ab"), "x"), None);
    let target = cid("a");
    let links = vec![crate::dagpb::Link { cid: target.clone(), name: Some("n"), tsize: Some(7) }];
    let node = crate::dagpb::Node { links, data: Some(b"ab") }.encode();
    let expected = serde_json::json!({
        "Data": { "/": { "bytes": "YWI" } },
        "Links": [{ "Hash": { "/": target.to_string() }, "Name": "n", "Tsize": 7 }],
    });
    assert_eq!(shown(&block(Codec::DagPb, node), ""), Some(expected));
    assert!(dag_json(&block(Codec::DagPb, "no node"), &[]).unwrap().is_err());
    assert!(dag_json(&block(Codec::DagCbor, vec![0x82, 1]), &[]).unwrap().is_err(), "cut");
}

#[test]
fn what_is_malformed_is_an_error() {
    for text in [
        "",
        "{",
        "[1",
        "[1 2]",
        "[1,]",
        "{\"a\"}",
        "{\"a\":1,}",
        "nul",
        "\"\\x\"",
        "\"\\ud800\"",
        "1 2",
        "\"\n\"",
        "{\"/\":1}",
        "{\"/\":\"nonsense\"}",
        "{\"/\":{\"byte\":\"\"}}",
        "{\"/\":{\"bytes\":\"%\"}}",
        "\"a\\",
        "]",
        "+",
    ] {
        assert!(events(&json(text)).is_err(), "{text}");
    }
    for bytes in [
        &b""[..],
        b"\x82\x01",
        b"\xa1\x01\x01",
        b"\x9f\xff",
        b"\x01\x01",
        b"\xd8\x2a\x01",
        b"\xd8\x2a\x42\x01\x01",
        b"\xd8\x2b\x01",
        b"\x62\xff\xff",
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xf7",
        b"\xd8\x2a\x42\x00\x01",
    ] {
        assert!(events(&block(Codec::DagCbor, bytes)).is_err(), "{bytes:x?}");
    }
}

#[test]
fn nesting_has_an_end() {
    let deep = |depth: usize| [vec![0x81; depth], vec![0x01]].concat();
    assert!(events(&block(Codec::DagCbor, deep(128))).is_ok());
    assert_eq!(events(&block(Codec::DagCbor, deep(129))), Err(IpldError::TooDeep));
    assert_eq!(events(&json(&"[".repeat(500_000))), Err(IpldError::TooDeep));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in r#"[\[\]{}",:/\\u0-9a-z ]{0,60}"#) {
        let _ = events(&block(Codec::DagCbor, bytes.clone()));
        let _ = events(&block(Codec::DagJson, bytes));
        let _ = events(&json(&text));
    }
}
