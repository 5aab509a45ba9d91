//! Fetches that give everything.

use axum::{
    body::Body,
    http::StatusCode,
    response::{Html, IntoResponse as _},
};
use bytes::Bytes;
use content::{Block, Cid, Codec, HashFn, car::CarDecoder};

use super::{
    config,
    dags::{bytes_of, car_of, cids, directory, file, in_order, node, raw},
    fetch, fetcher,
    memory::Memory,
    server::{Server, broken_off, by_cid, serve, stalled},
};
use crate::{FetchConfig, Fetched};

#[tokio::test]
async fn a_whole_dag_comes_in_one_car() {
    let (blocks, root) = directory(9);
    let server = Server::whole(&blocks).await;
    let (outcome, memory) = fetch(config(&[&server]), &root, &[&server]).await;
    let sizes = (1..=9).map(|leaves| leaves * 100).sum();
    assert_eq!(
        outcome.unwrap(),
        Fetched {
            blocks: cids(&blocks).len() as u64,
            bytes: bytes_of(&blocks),
            dag_size_bytes: bytes_of(&blocks),
            size_bytes: Some(sizes),
        }
    );
    assert_eq!(memory.cids(), cids(&blocks));
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].query, "format=raw");
    assert_eq!(asked[1].query, "format=car&dag-scope=all&car-order=dfs&car-dups=n");
    let accepted = asked.iter().map(|asked| asked.headers["accept"].to_str().unwrap());
    assert_eq!(accepted.collect::<Vec<_>>(), ["application/vnd.ipld.raw", "application/vnd.ipld.car"]);
}

#[tokio::test]
async fn nothing_about_us_is_sent() {
    let block = raw("a");
    let server = Server::whole(std::slice::from_ref(&block)).await;
    fetch(config(&[&server]), &block.cid, &[&server]).await.0.unwrap();
    let asked = &server.asked()[0];
    let mut headers: Vec<_> = asked.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    assert_eq!(headers, ["accept", "host", "user-agent"]);
}

#[tokio::test]
async fn a_root_without_links_takes_one_request() {
    for block in [raw("a leaf"), raw(""), raw(vec![7; 2 << 20])] {
        let server = Server::whole(std::slice::from_ref(&block)).await;
        let (outcome, memory) = fetch(config(&[&server]), &block.cid, &[&server]).await;
        let len = block.bytes.len() as u64;
        assert_eq!(
            outcome.unwrap(),
            Fetched { blocks: 1, bytes: len, dag_size_bytes: len, size_bytes: Some(len) }
        );
        assert_eq!((memory.put, server.asked().len()), (vec![block], 1));
    }
}

#[tokio::test]
async fn what_cids_carry_needs_nobody() {
    let cid = Cid::identity(Codec::Raw, b"carried").unwrap();
    let (outcome, memory) = fetch(config(&[]), &cid, &[]).await;
    let all = Fetched { blocks: 0, bytes: 0, dag_size_bytes: 0, size_bytes: Some(7) };
    assert_eq!((outcome.unwrap(), memory.put.len()), (all, 0));

    // What it links does, and a gateway may put such a block into a CAR although it should not.
    let leaf = raw("leaf");
    let inner = Cid::identity(Codec::DagPb, &node(std::slice::from_ref(&leaf.cid)).bytes).unwrap();
    let top = node(&[inner.clone(), cid.clone()]);
    let carried = [inner, cid].map(|cid| Block::from_identity(cid).unwrap());
    let car = [std::slice::from_ref(&top), &carried[..], std::slice::from_ref(&leaf)].concat();
    let car = car_of(&top.cid, &car);
    let server = Server::of_car(std::slice::from_ref(&top), move || Body::from(car.clone())).await;
    let (outcome, memory) = fetch(config(&[&server]), &top.cid, &[&server]).await;
    outcome.unwrap();
    assert_eq!(memory.put, [top, leaf]);
}

#[tokio::test]
async fn other_codecs_are_followed_or_are_leaves() {
    let leaf = raw("leaf");
    let other = Block::of(Codec::Other(0x78), HashFn::Blake3, Bytes::from_static(b"git, say"));
    let mut cbor = vec![0x82];
    for block in [&leaf, &other] {
        let cid = block.cid.as_bytes();
        cbor.extend([0xd8, 42, 0x58, u8::try_from(cid.len() + 1).unwrap(), 0]);
        cbor.extend(cid);
    }
    let root = Block::of(Codec::DagCbor, HashFn::Sha2_256, Bytes::from(cbor));
    let blocks = [root.clone(), leaf, other];
    for server in [Server::whole(&blocks).await, Server::without_cars(&blocks).await] {
        let (outcome, memory) = fetch(config(&[&server]), &root.cid, &[&server]).await;
        assert_eq!(outcome.unwrap().size_bytes, None);
        assert_eq!(memory.cids(), cids(&blocks));
    }
}

#[tokio::test]
async fn a_root_of_version_0_is_its_twin() {
    // An empty directory, as Kubo makes it.
    let qm: Cid = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn".parse().unwrap();
    let block = Block::verified(qm.clone(), Bytes::from_static(b"\x0a\x02\x08\x01")).unwrap();
    let server = Server::whole(std::slice::from_ref(&block)).await;
    let (outcome, memory) = fetch(config(&[&server]), &qm, &[&server]).await;
    assert_eq!((outcome.unwrap().size_bytes, memory.put), (Some(0), vec![block]));
}

/// A CAR that ends early, one way or another, is completed block by block without asking for anything twice.
#[tokio::test]
async fn a_cut_car_is_completed_block_by_block() {
    let (blocks, root) = directory(9);
    let (order, _) = in_order(&by_cid(&blocks), &root);
    let whole = car_of(&root, &order);
    let cut = whole.slice(..whole.len() / 2);
    let mut decoder = CarDecoder::new();
    decoder.push(cut.clone());
    let came: Vec<_> = std::iter::from_fn(|| decoder.next_block().unwrap()).map(|block| block.cid).collect();
    let ways: [fn(Bytes) -> Body; 3] = [Body::from, broken_off, stalled];
    for way in ways {
        let (all, cut) = (by_cid(&blocks), cut.clone());
        let server = Server::start(move |asked| {
            let answer = if asked.is_car { way(cut.clone()).into_response() } else { serve(&all, &asked) };
            std::future::ready(answer)
        })
        .await;
        let config =
            FetchConfig { idle_timeout: std::time::Duration::from_millis(300), ..config(&[&server]) };
        let (outcome, memory) = fetch(config, &root, &[&server]).await;
        assert_eq!(outcome.unwrap().bytes, bytes_of(&blocks));
        assert_eq!(memory.cids(), cids(&blocks), "each once");
        assert_eq!(server.cars_asked(), 1);
        let missing = order.iter().filter(|block| !came.contains(&block.cid) || block.cid == root);
        let mut singly = server.blocks_asked();
        singly.sort();
        assert_eq!(singly, cids(missing), "the root, and what the car did not bring");
    }
}

#[tokio::test]
async fn sources_without_cars_give_blocks() {
    let (blocks, root) = directory(4);
    let all = by_cid(&blocks);
    for status in [400, 404, 406, 415, 500, 501] {
        let all = all.clone();
        let server = Server::start(move |asked| {
            let refusal = StatusCode::from_u16(status).unwrap().into_response();
            std::future::ready(if asked.is_car { refusal } else { serve(&all, &asked) })
        })
        .await;
        let (outcome, memory) = fetch(config(&[&server]), &root, &[&server]).await;
        assert_eq!(outcome.unwrap().bytes, bytes_of(&blocks), "{status}");
        assert_eq!((memory.cids(), server.cars_asked()), (cids(&blocks), 1));
    }
    // One that does not know the parameter sends a page.
    let server = Server::start(move |asked| {
        let page = Html("<html>a directory, with all that people like to see</html>").into_response();
        std::future::ready(if asked.is_car { page } else { serve(&all, &asked) })
    })
    .await;
    let (outcome, memory) = fetch(config(&[&server]), &root, &[&server]).await;
    assert_eq!((outcome.unwrap().bytes, memory.cids()), (bytes_of(&blocks), cids(&blocks)));
}

#[tokio::test]
async fn two_sources_that_each_have_half_have_all() {
    let (blocks, root) = directory(8);
    let (even, odd): (Vec<_>, Vec<_>) = blocks.iter().cloned().enumerate().partition(|(at, _)| at % 2 == 0);
    let halves = [even, odd].map(|half| half.into_iter().map(|(_, block)| block).collect::<Vec<_>>());
    let (a, b) = (Server::whole(&halves[0]).await, Server::whole(&halves[1]).await);
    for sources in [[&a, &b], [&b, &a]] {
        let (outcome, memory) = fetch(config(&sources), &root, &sources).await;
        assert_eq!(outcome.unwrap().bytes, bytes_of(&blocks));
        assert_eq!(memory.cids(), cids(&blocks));
    }
}

#[tokio::test]
async fn gateways_of_the_configuration_are_asked_after_the_origins() {
    let file = file(9);
    let (origin, gateway) = (Server::whole(&file.blocks[..4]).await, Server::whole(&file.blocks).await);
    // Their ports are allowed because they are listed.
    let config = FetchConfig { gateways: vec![gateway.url() + "/some/where/"], ..config(&[&origin]) };
    let mut memory = Memory::default();
    let origins = [origin.url(), "/ip4/1.2.3.4/udp/4001/quic-v1".into()];
    fetcher(config).fetch(&file.root, &origins, &mut memory).await.unwrap();
    assert_eq!(memory.cids(), cids(&file.blocks));
    assert_eq!(origin.asked()[0].cid, file.root);
    assert_eq!((gateway.blocks_asked(), gateway.cars_asked()), (vec![file.root], 1));
}

/// A busy or failing source is asked again; one that has not got a block is not.
#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let block = raw("at last");
    for status in [429, 500, 502, 503, 504] {
        let tries = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let blocks = by_cid(std::slice::from_ref(&block));
        let server = Server::start(move |asked| {
            let tried = tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let busy = (StatusCode::from_u16(status).unwrap(), [("retry-after", "0")]).into_response();
            std::future::ready(if tried < 2 { busy } else { serve(&blocks, &asked) })
        })
        .await;
        let without = Server::whole(&[]).await;
        let (outcome, memory) = fetch(config(&[&server, &without]), &block.cid, &[&server, &without]).await;
        outcome.unwrap();
        assert_eq!(memory.put, std::slice::from_ref(&block));
        assert_eq!((server.asked().len(), without.asked().len()), (3, 1));
    }
}
