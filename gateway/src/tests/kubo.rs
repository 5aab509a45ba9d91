//! Kubo's RPC API.

mod dag;
mod follow;
mod get;
mod pins;
mod put;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use bytes::Bytes;
use content::{
    HashFn,
    unixfs::{
        file::import_bytes,
        profile::{Layout, Leaves, Parameters, Profile},
        tree::TreeBuilder,
    },
};
use serde_json::{Value, json};

use super::world::{Answer, World, patterned, request};

/// A part of a form: file name, type, body.
type Part<'a> = (&'a str, &'a str, &'a [u8]);

async fn add(world: &World, query: &str, parts: &[Part<'_>]) -> Answer {
    send_form(world, &format!("add{query}"), parts).await
}

async fn send_form(world: &World, command: &str, parts: &[Part<'_>]) -> Answer {
    world.send(form(world, command, parts)).await
}

fn form(world: &World, command: &str, parts: &[Part<'_>]) -> Request<Body> {
    let mut body = Vec::new();
    for (index, (name, kind, bytes)) in parts.iter().enumerate() {
        let head = format!(
            "--X\r\nContent-Disposition: form-data; name=\"file-{index}\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--X--\r\n");
    let mut request = world.request(Method::POST, &format!("/api/v0/{command}"), body);
    let value = "multipart/form-data; boundary=X".parse().unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, value);
    request
}

async fn call(world: &World, command: &str) -> Answer {
    world.send(world.request(Method::POST, &format!("/api/v0/{command}"), "")).await
}

#[track_caller]
fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let text = std::str::from_utf8(&answer.body).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn refused(answer: &Answer) -> (u16, String) {
    let json = answer.json();
    assert_eq!((&json["Type"], &json["Code"]), (&json!("error"), &json!(0)), "{json}");
    (answer.status.as_u16(), json["Message"].as_str().unwrap().to_string())
}

fn imported(profile: Profile, bytes: &[u8]) -> Value {
    let target = import_bytes(profile, &Bytes::copy_from_slice(bytes)).target();
    json!({ "Hash": target.cid.as_written().to_string(), "Size": target.dag_size_bytes.to_string() })
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_the_cids_that_kubo_gives_them() {
    let world = World::new().await;
    let bytes = patterned(1, 700_000);
    let with = |parameters: Parameters| Profile::new(parameters).unwrap();
    let (v0, v1) = (Profile::UNIXFS_V0_2015.parameters(), Profile::KUBO_V1.parameters());
    for (query, profile) in [
        ("", Profile::UNIXFS_V0_2015),
        ("?cid-version=1", Profile::KUBO_V1),
        ("?cid-version=1&trickle=False&pin=True&raw-leaves=TRUE", Profile::KUBO_V1),
        ("?cid-version=1&raw-leaves=false", with(Parameters { leaves: Leaves::DagPb, ..v1 })),
        ("?raw-leaves=true", with(Parameters { leaves: Leaves::Raw, ..v0 })),
        ("?hash=blake3", with(Parameters { hash_fn: HashFn::Blake3, ..v1 })),
        (
            "?chunker=size-100000&trickle=true",
            with(Parameters { chunk_bytes: 100_000, layout: Layout::Trickle, ..v0 }),
        ),
        ("?cid-version=1&max-file-links=2", with(Parameters { links_max: 2, ..v1 })),
        ("?cid-version=1&raw-leaves=true&chunker=size-1048576&max-file-links=1024", Profile::UNIXFS_V1_2025),
    ] {
        let answer = add(&world, query, &[("a%20b.bin", "application/octet-stream", &bytes)]).await;
        let [line] = &lines(&answer)[..] else { panic!("one line: {answer:?}") };
        let expected = imported(profile, &bytes);
        assert_eq!(line["Name"], "a b.bin");
        assert_eq!((&line["Hash"], &line["Size"]), (&expected["Hash"], &expected["Size"]), "{query}");
        let hash = line["Hash"].as_str().unwrap();
        world.assert_reads(hash, &bytes).await;
        assert_eq!(world.get(&format!("/v1/files/{hash}")).await.status, StatusCode::OK, "it is pinned");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_come_after_what_is_in_them() {
    let world = World::new().await;
    let parts: [Part<'_>; 5] = [
        ("dir", "application/x-directory", b""),
        ("dir%2Fa.txt", "text/plain", b"first"),
        ("dir%2Fsub%2F%C3%A4.txt", "text/plain", b"second"),
        ("dir%2Fempty", "application/x-directory", b""),
        ("dir%2Flink", "application/symlink", b"a.txt"),
    ];
    let profile = Profile::KUBO_V1;
    let mut tree = TreeBuilder::new(profile);
    tree.add("dir/a.txt", import_bytes(profile, &Bytes::from_static(b"first")).target()).unwrap();
    tree.add("dir/sub/ä.txt", import_bytes(profile, &Bytes::from_static(b"second")).target()).unwrap();
    tree.add_directory("dir/empty").unwrap();
    tree.add_symlink("dir/link", "a.txt").unwrap();
    let tree = tree.finish().unwrap();
    let answer = lines(&add(&world, "?cid-version=1&pin-name=mine", &parts).await);
    let names: Vec<&str> = answer.iter().map(|line| line["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dir/a.txt", "dir/sub/ä.txt", "dir/link", "dir/empty", "dir/sub", "dir"]);
    let (_, dir) = tree.directories.last().unwrap();
    assert_eq!(answer[5]["Hash"], dir.cid.to_string());
    assert_eq!(answer[5]["Size"], dir.dag_size_bytes.to_string());
    let files = world.get("/v1/files").await.json()["files"].clone();
    assert_eq!((files.as_array().unwrap().len(), &files[0]["name"]), (1, &json!("mine")));
    assert_eq!(files[0]["size_bytes"], 11);

    let wrapped = lines(&add(&world, "?cid-version=1&wrap-with-directory=true", &parts).await);
    assert_eq!((&wrapped[6]["Name"], &wrapped[6]["Hash"]), (&json!(""), &json!(tree.root.cid.to_string())));
    world.assert_reads(&format!("{}/dir/sub/%C3%A4.txt", tree.root.cid), b"second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_at_the_top_is_pinned() {
    let world = World::new().await;
    let parts: [Part<'_>; 3] =
        [("a", "text/plain", b"1"), ("d%2Fb", "text/plain", b"22"), ("", "text/plain", b"333")];
    let answer = lines(&add(&world, "?cid-version=1", &parts).await);
    assert_eq!(answer.len(), 4);
    assert_eq!(answer[2]["Name"], answer[2]["Hash"], "a file without a name is named by its CID");
    let keys = call(&world, "pin/ls").await.json()["Keys"].clone();
    let mut pinned: Vec<&String> = keys.as_object().unwrap().keys().collect();
    let mut expected: Vec<&str> =
        [0, 2, 3].iter().map(|i: &usize| answer[*i]["Hash"].as_str().unwrap()).collect();
    pinned.sort();
    expected.sort_unstable();
    assert_eq!(pinned, expected);
    assert_eq!(world.used_bytes().await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_added_is_read_listed_and_removed() {
    let world = World::new().await;
    let bytes = patterned(1, 600_000);
    let parts: [Part<'_>; 2] = [("d%2Fbig", "text/plain", &bytes), ("d%2Fsub%2Fsmall", "text/plain", b"s")];
    let answer = lines(&add(&world, "?cid-version=1&pin-name=n", &parts).await);
    let (big, dir) = (answer[0]["Hash"].as_str().unwrap(), answer[3]["Hash"].as_str().unwrap());
    assert_eq!(call(&world, &format!("cat?arg={big}")).await.body, bytes);
    assert_eq!(
        call(&world, &format!("cat?arg=/ipfs/{dir}/big&offset=10&length=20")).await.body,
        bytes[10..30]
    );
    assert_eq!(call(&world, &format!("cat?arg={big}&offset=599999&length=20")).await.body, bytes[599_999..]);
    let stat = call(&world, &format!("block/stat?arg={dir}")).await.json();
    let block = call(&world, &format!("block/get?arg={dir}")).await.body;
    assert_eq!((&stat["Key"], &stat["Size"]), (&json!(dir), &json!(block.len())));
    let ls = call(&world, &format!("ls?arg={dir}")).await.json();
    let links: Vec<_> = ls["Objects"][0]["Links"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| (&l["Name"], &l["Type"], &l["Size"]))
        .collect();
    assert_eq!(links, [(&json!("big"), &json!(2), &json!(600_000)), (&json!("sub"), &json!(1), &json!(0))]);

    let pins = call(&world, &format!("pin/ls?arg={dir}&names=true")).await.json();
    assert_eq!(pins, json!({ "Keys": { dir: { "Type": "recursive", "Name": "n" } } }));
    let streamed = lines(&call(&world, "pin/ls?stream=true").await);
    assert_eq!(streamed, [json!({ "Cid": dir, "Type": "recursive", "Name": "" })]);
    assert_eq!(refused(&call(&world, &format!("pin/ls?arg={big}")).await).0, 404, "not a root");
    assert_eq!(call(&world, &format!("pin/rm?arg={dir}")).await.json(), json!({ "Pins": [dir] }));
    assert_eq!(refused(&call(&world, &format!("pin/rm?arg={dir}")).await).0, 404);
    assert_eq!(call(&world, "pin/ls").await.json(), json!({ "Keys": {} }));
}

#[tokio::test(flavor = "multi_thread")]
async fn hashing_alone_stores_nothing() {
    let world = World::with(20, |config| config.uploads.segment_bytes = 1 << 20).await;
    let bytes = patterned(1, 3 << 20);
    let answer = lines(&add(&world, "?only-hash=true", &[("a", "text/plain", &bytes)]).await);
    assert_eq!(answer[0]["Hash"], imported(Profile::UNIXFS_V0_2015, &bytes)["Hash"]);
    assert_eq!(world.get("/v1/files").await.json()["files"], json!([]));
    assert_eq!(world.read(answer[0]["Hash"].as_str().unwrap()).await.status, StatusCode::NOT_FOUND);
    assert_eq!((world.network.pieces_held(), world.segments().await), (0, [0; 4]), "not even for a while");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_kubos_form() {
    let world = World::new().await;
    let file: [Part<'_>; 1] = [("a", "text/plain", b"1")];
    for query in [
        "?cid-version=2",
        "?chunker=rabin",
        "?chunker=size-0",
        "?hash=md5",
        "?raw-leaves=maybe",
        "?cid-version=0&hash=blake3",
        "?nocopy=true",
        "?to-files=/x",
        "?pin=maybe",
        "?inline=true&inline-limit=4096",
        "?max-file-links=1",
    ] {
        assert_eq!(refused(&add(&world, query, &file).await).0, 400, "{query}");
    }
    assert_eq!(refused(&add(&world, "", &[]).await).0, 400);
    assert_eq!(refused(&add(&world, "", &[("..%2Fa", "text/plain", b"1")]).await).0, 400);
    assert_eq!(refused(&call(&world, "cat").await).0, 400);
    assert_eq!(refused(&call(&world, "cat?arg=nonsense").await).0, 400);
    let missing = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    assert_eq!(refused(&call(&world, &format!("cat?arg={missing}")).await).0, 404);
    let anonymous = world.send(request(Method::POST, "/api/v0/add", None, "")).await;
    assert_eq!(refused(&anonymous).0, 401);
    assert_eq!(world.get("/api/v0/version").await.status, StatusCode::METHOD_NOT_ALLOWED, "POST only");
    let (status, message) = refused(&call(&world, "files/ls?arg=/").await);
    assert_eq!((status, message.contains("files/ls")), (501, true), "{message}");
    assert_eq!(refused(&call(&world, "nonsense").await).0, 501);
    assert_eq!(call(&world, "version").await.json()["System"], "pinstripe");
    let id = call(&world, "id").await.json()["ID"].as_str().unwrap().to_string();
    assert!(id.starts_with("12D3Koo"), "as libp2p names ed25519 keys: {id}");
    assert_eq!(world.used_bytes().await, 0);
}
