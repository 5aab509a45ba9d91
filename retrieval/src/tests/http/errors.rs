//! 4xx, 503, and bodies that break off.

use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode, Uri};
use content::unixfs::{file::import_bytes, profile::Profile};
use http_body_util::BodyExt as _;
use testing::Mode;

use super::{answer, ask, collect, get, request, send, site};
use crate::{
    AnswerRules, ContentRequest, RequestError, respond,
    tests::world::{World, patterned, raw},
};

#[tokio::test]
async fn what_is_not_there_is_404() {
    let site = site::site(&[("a.txt", b"a"), ("dir/b", b"b")]);
    let root = &site.root;
    let unknown = raw("unknown").cid;
    for uri in [
        format!("/ipfs/{unknown}"),
        format!("/ipfs/{unknown}/a/b"),
        format!("/ipfs/{root}/b.txt"),
        format!("/ipfs/{root}/dir/b/c"),
        format!("/ipfs/{root}/a.txt/deeper"),
        format!("/ipfs/{root}/link/deeper"),
    ] {
        let answer = get(&site.blocks, &uri).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{uri}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert!(answer.text().ends_with('\n'));
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_400() {
    let site = site::site(&[("a.txt", b"a")]);
    let deep = format!("/ipfs/{}/{}", site.root, "a/".repeat(200));
    assert_eq!(get(&site.blocks, &deep).await.status, StatusCode::BAD_REQUEST);
    let broken = content::Block::of(content::Codec::DagPb, content::HashFn::Sha2_256, b"\xff\xff"[..].into());
    site.world.store(std::slice::from_ref(&broken));
    let answer = get(&site.blocks, &format!("/ipfs/{}", broken.cid)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);

    let parse = |path: &str| {
        let uri: Uri = path.parse().unwrap();
        ContentRequest::parse(&Method::GET, &uri, HeaderMap::new())
    };
    for path in ["/ipfs/", "/ipfs/nonsense", "/ipns/x", "/", "/ipfs//a"] {
        assert!(matches!(parse(path), Err(RequestError::Cid { .. })), "{path}");
    }
    for path in ["%ff", "../x", "a/../../x"] {
        let path = format!("/ipfs/{}/{path}", site.root);
        assert!(matches!(parse(&path), Err(RequestError::Path(_))), "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_503_before_the_first_byte() {
    let site = site::file(&patterned(1, 25_000));
    let uri = format!("/ipfs/{}", site.root);
    site.world.network.set(0..13, Mode::Dead);
    for method in [Method::GET, Method::HEAD] {
        let answer = ask(&site.blocks, method, &uri, &[]).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), "5");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    site.world.network.set(0..13, Mode::Honest);
    assert_eq!(get(&site.blocks, &uri).await.status, StatusCode::OK, "a failure is not remembered");
}

#[tokio::test]
async fn leaves_that_cannot_be_reached_are_503_too() {
    let site = site::file(&patterned(2, 25_000));
    let uri = format!("/ipfs/{}", site.root);
    site.blocks.get(&site.root).await.unwrap();
    site.world.network.set(0..13, Mode::Dead);
    let answer = get(&site.blocks, &uri).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "the root is in memory, its leaves are not");
    // What the root says of itself can still be told.
    let head = ask(&site.blocks, Method::HEAD, &format!("{uri}?filename=a.txt"), &[]).await;
    assert_eq!(head.status, StatusCode::OK);
}

#[tokio::test]
async fn after_the_first_byte_the_body_breaks_off() {
    let world = World::new();
    let bytes = patterned(4, 4 << 20);
    let file = import_bytes(Profile::UNIXFS_V1_2025, &bytes.clone().into());
    let (leaves, root) = file.blocks.split_at(4);
    let parts = [[&leaves[..2], root].concat(), leaves[2..].to_vec()];
    for blocks in &parts {
        world.store(blocks);
    }
    let second = world.locator.place(&leaves[2].cid);
    for (node, piece) in world.network.nodes().iter().zip(&second.segment.pieces).take(13) {
        node.lose(piece.order.hash);
    }

    let blocks = world.blocks();
    let response = send(&blocks, Method::GET, &format!("/ipfs/{}", file.root), &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-length"], (4 << 20).to_string());
    let mut body = response.into_body();
    let mut read = Vec::new();
    let error = loop {
        match body.frame().await {
            Some(Ok(frame)) => read.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(error)) => break error,
            None => panic!("a body that breaks off must not look whole"),
        }
    };
    assert!(read == bytes[..2 << 20], "every byte before the break is right");
    assert!(error.to_string().contains("pieces reachable"), "{error}");
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let bytes = patterned(7, 25_000);
    let site = site::file(&bytes);
    site.world.network.set(0..20, Mode::Stalled);
    let rules = AnswerRules { first_byte_timeout: Duration::from_millis(50), ..AnswerRules::default() };
    let uri = format!("/ipfs/{}", site.root);
    let late = answer(&site.blocks, &rules, &request(Method::GET, &uri, &[])).await;
    assert_eq!((late.status, late.header("retry-after")), (StatusCode::GATEWAY_TIMEOUT, "5"));

    // The root is there and its leaves are not: the answer begins with the first and is broken off.
    let world = World::new();
    let file = import_bytes(Profile::UNIXFS_V1_2025, &patterned(8, 4 << 20).into());
    let (leaves, root) = file.blocks.split_at(4);
    world.store(&[root, &leaves[..1]].concat());
    world.store(&leaves[1..]);
    let blocks = world.blocks();
    blocks.get(&leaves[0].cid).await.unwrap();
    blocks.get(&file.root).await.unwrap();
    world.network.set(0..20, Mode::Stalled);
    let rules = AnswerRules { stall_timeout: Duration::from_millis(50), ..AnswerRules::default() };
    let request = request(Method::GET, &format!("/ipfs/{}", file.root), &[]);
    let response = respond(&blocks, &rules, &request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(collect(response).await.unwrap_err().contains("in time"));
}
