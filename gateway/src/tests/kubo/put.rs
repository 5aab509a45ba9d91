//! Blocks one by one, and what is kept without being pinned.

use axum::http::StatusCode;
use content::{
    BLOCK_MAX, Block, Cid, Codec, HashFn,
    dagpb::{Link, Node},
};
use serde_json::{Value, json};

use super::{Part, World, add, call, lines, patterned, refused, send_form};

async fn put(world: &World, query: &str, blocks: &[&[u8]]) -> super::Answer {
    let parts: Vec<Part<'_>> = blocks.iter().map(|bytes| ("", "application/octet-stream", *bytes)).collect();
    send_form(world, &format!("block/put{query}"), &parts).await
}

fn node_over(leaf: &Cid) -> Vec<u8> {
    Node { links: vec![Link { cid: leaf.clone(), name: Some("l"), tsize: Some(1) }], data: None }.encode()
}

async fn pinned(world: &World) -> Vec<String> {
    let keys = call(world, "pin/ls").await.json()["Keys"].clone();
    keys.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_named_as_it_is_asked_for() {
    let world = World::new().await;
    let cbor: &[u8] = &[0xa1, 0x61, b'a', 1];
    let of = |codec, hash_fn, bytes: &[u8]| Cid::of(codec, hash_fn, bytes).to_string();
    let sha = HashFn::Sha2_256;
    let empty: &[u8] = b"";
    let v0 = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";
    for (query, bytes, expected) in [
        ("", &b"plain"[..], of(Codec::Raw, sha, b"plain")),
        ("?cid-codec=dag-cbor", cbor, of(Codec::DagCbor, sha, cbor)),
        ("?format=cbor&mhtype=sha2-512&mhlen=64", cbor, of(Codec::DagCbor, HashFn::Sha2_512, cbor)),
        ("?mhtype=blake3&mhlen=-1", b"plain", of(Codec::Raw, HashFn::Blake3, b"plain")),
        ("?format=protobuf", empty, of(Codec::DagPb, sha, b"")),
        ("?format=v0", empty, v0.to_string()),
    ] {
        let [line] = &lines(&put(&world, query, &[bytes]).await)[..] else { panic!("one line") };
        assert_eq!(line, &json!({ "Key": expected, "Size": bytes.len() }), "{query}");
        assert_eq!(call(&world, &format!("block/get?arg={expected}")).await.body, bytes);
    }
    let several = lines(&put(&world, "", &[b"one", b"two"]).await);
    assert_eq!(several[1]["Key"], of(Codec::Raw, sha, b"two"));
    assert_eq!(pinned(&world).await, [] as [String; 0]);
    for wrong in ["?cid-codec=nonsense", "?mhtype=md5", "?mhlen=20", "?format=v0&mhtype=blake3", "?pin=maybe"]
    {
        assert_eq!(refused(&put(&world, wrong, &[b"x"]).await).0, 400, "{wrong}");
    }
    assert_eq!(refused(&put(&world, "?cid-codec=dag-cbor", &[&[0xff]]).await).0, 400, "no dag-cbor");
    assert_eq!(refused(&put(&world, "", &[]).await).0, 400);
    assert_eq!(put(&world, "", &[&vec![7; BLOCK_MAX]]).await.status, StatusCode::OK);
    assert_eq!(refused(&put(&world, "", &[&vec![7; BLOCK_MAX + 1]]).await).0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dag_is_put_block_by_block_and_then_pinned() {
    let world = World::new().await;
    let leaf = Block::of(Codec::Raw, HashFn::Sha2_256, b"leaf".to_vec().into());
    let node = node_over(&leaf.cid);
    let root = Cid::of(Codec::DagPb, HashFn::Sha2_256, &node).to_string();
    let (status, message) = refused(&put(&world, "?cid-codec=dag-pb&pin=true", &[&node]).await);
    assert_eq!((status, message.contains(&leaf.cid.to_string())), (422, true), "{message}");
    lines(&put(&world, "?cid-codec=dag-pb", &[&node]).await);
    let missing = refused(&call(&world, &format!("pin/add?arg={root}")).await);
    assert_eq!((missing.0, missing.1.contains("/psa/pins")), (404, true), "{}", missing.1);
    lines(&put(&world, "", &[&leaf.bytes]).await);
    assert_eq!(pinned(&world).await, [] as [String; 0]);
    let held = world.used_bytes().await;
    assert_eq!(held, (node.len() + 4) as u64, "what is held is paid for");
    let added = lines(&call(&world, &format!("pin/add?arg={root}&name=n&progress=true")).await);
    assert_eq!(added[0]["Progress"], 2);
    assert_eq!(added[1], json!({ "Pins": [root] }));
    assert_eq!(pinned(&world).await, std::slice::from_ref(&root));
    let file = world.get(&format!("/v1/files/{root}")).await.json();
    assert_eq!((&file["name"], &file["dag_size_bytes"]), (&json!("n"), &json!(held)));
    let whole = lines(&put(&world, "?cid-codec=dag-pb&pin=true", &[&node]).await);
    assert_eq!(whole[0]["Key"], root, "now all of it is here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_without_a_pin_is_there_for_a_while() {
    let world = World::new().await;
    let bytes = patterned(1, 600_000);
    let parts: [Part<'_>; 2] = [("d%2Fa", "text/plain", &bytes), ("d%2Fb", "text/plain", b"b")];
    let added = lines(&add(&world, "?pin=false", &parts).await);
    let (file, root) = (added[0]["Hash"].as_str().unwrap(), added[2]["Hash"].as_str().unwrap());
    world.assert_reads(&format!("{root}/a"), &bytes).await;
    assert_eq!(pinned(&world).await, [] as [String; 0]);
    assert_eq!(world.get(&format!("/v1/files/{root}")).await.status, StatusCode::NOT_FOUND);
    let held = async || world.db.expired_pins(world.gateway.hold_until(), 10).await.unwrap().len();
    assert_eq!(held().await, 1, "and it ends by itself");
    assert_eq!(call(&world, &format!("pin/add?arg=/ipfs/{root}/a")).await.json(), json!({ "Pins": [file] }));
    assert_eq!(pinned(&world).await, [file]);
    assert_eq!(call(&world, &format!("pin/rm?arg={root}")).await.json(), json!({ "Pins": [root] }));
    assert_eq!(
        (held().await, pinned(&world).await),
        (0, vec![file.to_string()]),
        "or before, if that is asked for"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_are_added_of_what_is_here_and_moved() {
    let world = World::new().await;
    let parts: [Part<'_>; 2] = [("d%2Fa", "text/plain", b"1"), ("e%2Fa", "text/plain", b"2")];
    let added = lines(&add(&world, "?cid-version=1&pin-name=n", &parts).await);
    let hash = |at: usize| added[at]["Hash"].as_str().unwrap();
    let (first, d, e) = (hash(0), hash(2), hash(3));
    assert_eq!(
        call(&world, &format!("pin/update?arg={d}&arg={d}/a")).await.json(),
        json!({ "Pins": [d, first] })
    );
    let mut left = vec![first.to_string(), e.to_string()];
    left.sort();
    assert_eq!(pinned(&world).await, left);
    assert_eq!(world.get(&format!("/v1/files/{first}")).await.json()["name"], "n", "the name goes with it");
    let kept = call(&world, &format!("pin/update?arg={first}&arg={e}&unpin=false")).await.json();
    assert_eq!(kept, json!({ "Pins": [first, e] }));
    assert_eq!(pinned(&world).await, left);
    assert_eq!(
        refused(&call(&world, &format!("pin/update?arg={d}&arg={e}")).await).0,
        404,
        "no longer pinned"
    );
    assert_eq!(refused(&call(&world, &format!("pin/update?arg={e}")).await).0, 400);
    assert_eq!(refused(&call(&world, &format!("pin/add?arg={e}&recursive=false")).await).0, 400);
    assert_eq!(refused(&call(&world, "pin/add").await).0, 400);
    let missing = Cid::of(Codec::Raw, HashFn::Sha2_256, b"not there");
    for arg in [missing.to_string(), format!("{missing}/a")] {
        let (status, message) = refused(&call(&world, &format!("pin/add?arg={arg}")).await);
        assert_eq!((status, message.contains("/psa/pins")), (404, true), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_put_as_it_is_encoded() {
    let world = World::new().await;
    let send = async |query: &str, bytes: &[u8]| {
        send_form(&world, &format!("dag/put{query}"), &[("", "application/octet-stream", bytes)]).await
    };
    let cbor: &[u8] = &[0xa1, 0x61, b'a', 1];
    let cid = Cid::of(Codec::DagCbor, HashFn::Sha2_256, cbor).to_string();
    let answer = lines(&send("?input-codec=dag-cbor&pin=true", cbor).await);
    assert_eq!(answer, [json!({ "Cid": { "/": cid } })]);
    assert_eq!(call(&world, &format!("dag/get?arg={cid}")).await.json(), json!({ "a": 1 }));
    assert_eq!(pinned(&world).await, [cid]);
    let (status, message) = refused(&send("", b"{}").await);
    assert_eq!((status, message.contains("input-codec")), (400, true), "{message}");
    let json_text = br#"{"a":1}"#;
    let answer: Vec<Value> = lines(&send("?store-codec=dag-json&hash=blake3", json_text).await);
    let cid = Cid::of(Codec::DagJson, HashFn::Blake3, json_text).to_string();
    assert_eq!(answer[0]["Cid"]["/"], cid);
}
