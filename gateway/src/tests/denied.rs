//! A gateway refuses what is denied before it says where it is, and tells no node either.

use std::path::PathBuf;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use content::{Cid, Codec, HashFn};
use protocol::api::LocateRequest;
use service::job::Job as _;
use tempfile::TempDir;

use super::{
    nodes::signed,
    world::{Answer, World, from_peer, patterned, request},
};
use crate::{Config, ReadMode, WatchDenylist};

/// A denylist that is empty at first.
struct List {
    dir: TempDir,
}

impl List {
    fn new() -> Self {
        let list = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::write(list.path(), "").unwrap();
        list
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("list.deny")
    }

    fn configure(&self, config: &mut Config) {
        config.denylist.files = vec![self.path()];
        config.reads.mode = ReadMode::Redirect;
        config.reads.subdomain_hosts = vec!["example.com".into()];
    }

    /// Replaces the rules and lets the gateway look.
    async fn deny(&self, world: &World, rules: &str) {
        let aside = self.dir.path().join("aside");
        std::fs::write(&aside, rules).unwrap();
        std::fs::rename(aside, self.path()).unwrap();
        WatchDenylist(world.gateway.clone()).step().await.unwrap();
    }
}

async fn ask(world: &World, method: Method, host: &str, uri: &str) -> Answer {
    let mut request = request(method, uri, None, Body::empty());
    request.headers_mut().insert("host", host.parse().unwrap());
    world.send(from_peer(request, "127.1.0.9")).await
}

#[track_caller]
fn assert_gone(answer: &Answer, what: &str) {
    assert_eq!(answer.status, StatusCode::GONE, "{what}: {answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
    assert_eq!(answer.headers.get_all("access-control-allow-origin").iter().count(), 1, "{what}");
    assert!(!answer.headers.contains_key("location"), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_what_is_denied_from_the_reload_on() {
    let list = List::new();
    let world = World::with(20, |config| list.configure(config)).await;
    world.probe().await;
    let files: [(&str, &[u8]); 2] = [("site/a.txt", b"a"), ("site/b.txt", b"b")];
    let cid = world.upload_form("", &files).await.file().cid;
    let places = [
        ("gateway", format!("/ipfs/{cid}"), 307),
        ("gateway", format!("/ipfs/{cid}/a.txt"), 307),
        ("gateway", format!("/ipfs/{cid}/a.txt?route=proxy"), 200),
        ("gateway", format!("/ipfs/?uri=ipfs://{cid}/a.txt"), 301),
        ("example.com", format!("/ipfs/{cid}/a.txt"), 301),
        (&format!("{cid}.ipfs.example.com"), "/a.txt".into(), 200),
    ];
    for (host, uri, expected) in &places {
        assert_eq!(ask(&world, Method::GET, host, uri).await.status.as_u16(), *expected, "{host}{uri}");
    }
    list.deny(&world, &format!("/ipfs/{cid}\n")).await;
    for (host, uri, _) in &places {
        for method in [Method::GET, Method::HEAD] {
            assert_gone(&ask(&world, method, host, uri).await, &format!("{host}{uri}"));
        }
    }
    let preflight = ask(&world, Method::OPTIONS, "gateway", &format!("/ipfs/{cid}")).await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT, "so that a page may read the refusal");
    list.deny(&world, &format!("/ipfs/{cid}/a.txt status:451\n")).await;
    for (host, uri, expected) in &places {
        let status = ask(&world, Method::GET, host, uri).await.status.as_u16();
        assert_eq!(status, if uri.contains("a.txt") { 451 } else { *expected }, "{host}{uri}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_of_a_denied_cid_is_not_led_on() {
    let list = List::new();
    let world = World::with(20, |config| list.configure(config)).await;
    let cid = world.upload("", "some bytes").await.file().cid;
    // Base36 of the same CID is another host, which leads to the usual one.
    let base36 = base36(cid.parse::<Cid>().unwrap().as_bytes());
    let host = format!("{base36}.ipfs.example.com");
    assert_eq!(ask(&world, Method::GET, &host, "/").await.status, StatusCode::MOVED_PERMANENTLY);
    list.deny(&world, &format!("/ipfs/{cid}\n")).await;
    assert_gone(&ask(&world, Method::GET, &host, "/").await, &host);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_is_told_where_denied_blocks_are() {
    let list = List::new();
    let world = World::with(20, |config| list.configure(config)).await;
    let bytes = patterned(1, 2_500_000);
    let file = world.upload("", bytes.clone()).await.file();
    let leaf = Cid::of(Codec::Raw, HashFn::Sha2_256, &bytes[..1 << 20]);
    let located = async || {
        let cids = vec![file.cid.clone(), leaf.to_string()];
        let key = world.network.nodes()[0].key();
        let answer =
            signed(&world, key, "/v1/nodes/locate", &LocateRequest { cids, root: None }).await.json();
        let blocks = answer["blocks"].as_array().unwrap();
        blocks.iter().map(|block| block["cid"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(located().await.len(), 2);
    list.deny(&world, &format!("/ipfs/{leaf}\n")).await;
    assert_eq!(located().await, std::slice::from_ref(&file.cid));
}

/// Multibase base36 in lower case.
fn base36(bytes: &[u8]) -> String {
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = u8::try_from(carry % 36).unwrap();
            carry /= 36;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 36).unwrap());
            carry /= 36;
        }
    }
    let chars = digits.iter().rev().map(|digit| char::from_digit((*digit).into(), 36).unwrap());
    std::iter::once('k').chain(chars).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_not_taken() {
    let list = List::new();
    let world = World::with(20, |config| list.configure(config)).await;
    let file = world.upload("", "bad").await.file();
    world.delete(&format!("/v1/files/{}", file.cid)).await;
    list.deny(&world, &format!("/ipfs/{}\n", file.cid)).await;
    assert_eq!(world.upload("", "bad").await.error(), (403, "denied".into()));
    assert_eq!(world.used_bytes().await, 0);
    world.upload("", "good").await.file();
}
