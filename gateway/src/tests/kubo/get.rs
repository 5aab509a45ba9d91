//! `get`, and what readings have in common.

use std::io::Read as _;

use axum::http::{StatusCode, header};
use flate2::read::GzDecoder;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_tar::{Archive, EntryType};

use super::{Part, World, add, call, lines, patterned, refused};
use crate::tests::world::Answer;

/// Paths, kinds and lengths of an archive's entries, and the bytes of its first file.
async fn entries(tar: &[u8]) -> (Vec<(String, EntryType, u64)>, Vec<u8>) {
    let (mut found, mut first) = (Vec::new(), Vec::new());
    let mut archive = Archive::new(tar);
    let mut entries = archive.entries().unwrap();
    while let Some(entry) = entries.next().await {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        found.push((path, entry.header().entry_type(), entry.effective_size()));
        if first.is_empty() && entry.header().entry_type() == EntryType::Regular {
            tokio::io::copy(&mut entry, &mut first).await.unwrap();
        }
    }
    (found, first)
}

#[track_caller]
fn unpacked(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/gzip", "{answer:?}");
    let mut bytes = Vec::new();
    GzDecoder::new(&answer.body[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_directories_come_as_archives() {
    let world = World::new().await;
    let bytes = patterned(1, 600_000);
    let parts: [Part<'_>; 2] = [("d%2Fbig", "text/plain", &bytes), ("d%2Fs%2Fsmall", "text/plain", b"s")];
    let added = lines(&add(&world, "", &parts).await);
    let (file, root) = (added[0]["Hash"].as_str().unwrap(), added[3]["Hash"].as_str().unwrap());
    assert!(file.starts_with("Qm"));

    let of_file = call(&world, &format!("get?arg={file}")).await;
    let (found, content) = entries(&of_file.body).await;
    assert_eq!(found, [(file.to_string(), EntryType::Regular, 600_000)], "named as it was asked for");
    assert!(content == bytes);
    assert_eq!(of_file.headers["x-content-length"], "600000");
    assert_eq!(of_file.headers["x-stream-output"], "1");

    let (found, content) =
        entries(&call(&world, &format!("get?arg=/ipfs/{root}/&archive=true")).await.body).await;
    let paths: Vec<&str> = found.iter().map(|(path, ..)| path.as_str()).collect();
    let named = |path: &str| format!("{root}{path}");
    assert_eq!(paths, [named(""), named("/big"), named("/s"), named("/s/small")]);
    assert!(content == bytes);
    let (found, _) = entries(&call(&world, &format!("get?arg={root}/s")).await.body).await;
    assert_eq!(found[1], ("s/small".to_string(), EntryType::Regular, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_and_files_are_compressed() {
    let world = World::new().await;
    let bytes = vec![7; 600_000];
    let parts: [Part<'_>; 1] = [("d%2Fbig", "text/plain", &bytes)];
    let added = lines(&add(&world, "?cid-version=1", &parts).await);
    let (file, root) = (added[0]["Hash"].as_str().unwrap(), added[1]["Hash"].as_str().unwrap());
    let alone = call(&world, &format!("get?arg={file}&compress=true&compression-level=9")).await;
    assert!(unpacked(&alone) == bytes && alone.body.len() < 10_000);
    let archive = call(&world, &format!("get?arg={root}&archive=true&compress=true")).await;
    let (found, content) = entries(&unpacked(&archive)).await;
    assert_eq!((found.len(), content == bytes), (2, true));
    for wrong in ["&compress=true", "&archive=true&compress=true&compression-level=0", "/no"] {
        let (status, _) = refused(&call(&world, &format!("get?arg={root}{wrong}")).await);
        assert_eq!(status, if wrong == "/no" { 404 } else { 400 }, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_listed_in_lines_too() {
    let world = World::new().await;
    let parts: [Part<'_>; 3] = [
        ("d%2Fb", "text/plain", b"1"),
        ("d%2Fa", "text/plain", b"22"),
        ("d%2Fl", "application/symlink", b"a"),
    ];
    let added = lines(&add(&world, "", &parts).await);
    let (file, root) = (added[0]["Hash"].as_str().unwrap(), added[3]["Hash"].as_str().unwrap());
    let once = call(&world, &format!("ls?arg=/ipfs/{root}")).await.json()["Objects"][0].clone();
    assert_eq!(once["Hash"], root, "and not the path: clients take it for a CID");
    assert_eq!((&once["Links"][2]["Type"], &once["Links"][2]["Target"]), (&json!(4), &json!("a")));
    let streamed = lines(&call(&world, &format!("ls?arg={root}&stream=true")).await);
    let links: Vec<&Value> = streamed.iter().map(|line| &line["Objects"][0]["Links"][0]).collect();
    assert_eq!(links, once["Links"].as_array().unwrap().iter().collect::<Vec<_>>());
    assert_eq!(streamed[0]["Objects"][0]["Links"].as_array().unwrap().len(), 1);
    let quick =
        lines(&call(&world, &format!("ls?arg={root}&stream=true&resolve-type=false&size=false")).await);
    assert_eq!(quick[0]["Objects"][0]["Links"][0]["Type"], 0);
    let of_file = call(&world, &format!("ls?arg={root}/b")).await.json();
    assert_eq!(of_file, json!({ "Objects": [{ "Hash": file, "Links": [] }] }));
    let (status, _) = refused(&call(&world, &format!("ls?arg={root}/no&stream=true")).await);
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_have_a_limit() {
    let world = World::with(20, |config| config.reads.reads_max = 2).await;
    let added = lines(&add(&world, "", &[("a", "text/plain", b"bytes")]).await);
    let file = added[0]["Hash"].as_str().unwrap();
    let others = world.gateway.reads.clone().acquire_many_owned(2).await.unwrap();
    for command in ["cat", "get", "block/get", "dag/export"] {
        let answer = call(&world, &format!("{command}?arg={file}")).await;
        assert_eq!(refused(&answer).0, 503, "{command}");
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
    }
    drop(others);
    for command in ["cat", "get", "block/get", "dag/export"] {
        assert_eq!(call(&world, &format!("{command}?arg={file}")).await.status, StatusCode::OK, "{command}");
    }
    assert_eq!(world.gateway.reads.available_permits(), 2);
}
