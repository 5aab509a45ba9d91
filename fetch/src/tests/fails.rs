//! Sources that fail or lie, and what is said of them.

use std::{collections::BTreeSet, sync::Arc};

use axum::{body::Body, http::StatusCode, response::IntoResponse as _};
use bytes::Bytes;
use content::{Cid, Codec, dag_index::DagError};
use parking_lot::Mutex;

use super::{
    config,
    dags::{bytes_of, car_of, cids, directory, file, in_order, node, raw},
    fetch, fetcher,
    memory::{Full, Memory},
    server::{Server, by_cid, serve},
};
use crate::{FetchConfig, FetchError, sink::Sink as _};

fn status(code: u16) -> axum::response::Response {
    StatusCode::from_u16(code).unwrap().into_response()
}

#[tokio::test]
async fn who_lies_about_a_block_is_not_asked_again() {
    let (blocks, root) = directory(6);
    let all = by_cid(&blocks);
    let liar = Server::start(move |asked| {
        // Everything is right but one kind of answer.
        let wrong = Bytes::from_static(b"something else").into_response();
        let is_lie = !asked.is_car && asked.cid.codec() == Codec::Raw;
        std::future::ready(if is_lie || asked.is_car { wrong } else { serve(&all, &asked) })
    })
    .await;
    let honest = Server::without_cars(&blocks).await;
    let one_at_a_time = FetchConfig { at_once: 1, ..config(&[&liar, &honest]) };
    let (outcome, memory) = fetch(one_at_a_time.clone(), &root, &[&liar, &honest]).await;
    assert_eq!(outcome.unwrap().bytes, bytes_of(&blocks));
    assert_eq!(memory.cids(), cids(&blocks));
    let lies = liar.blocks_asked().into_iter().filter(|cid| cid.codec() == Codec::Raw);
    assert_eq!(lies.count(), 1);

    // Not even when the other one fails on each block at first.
    let (all, seen) = (by_cid(&blocks), Arc::new(Mutex::new(BTreeSet::new())));
    let flaky = Server::start(move |asked| {
        let is_second = !seen.lock().insert(asked.cid.clone());
        std::future::ready(if is_second && !asked.is_car { serve(&all, &asked) } else { status(500) })
    })
    .await;
    let before = liar.asked().len();
    let limits = FetchConfig { at_once: 1, ..config(&[&liar, &flaky]) };
    let (outcome, _) = fetch(limits, &root, &[&liar, &flaky]).await;
    assert_eq!(outcome.unwrap().bytes, bytes_of(&blocks));
    let lies = liar.asked()[before..].iter().filter(|asked| asked.cid.codec() == Codec::Raw).count();
    assert_eq!(lies, 1);

    // Alone it is not enough, and the reason names it.
    let (outcome, memory) = fetch(one_at_a_time, &root, &[&liar]).await;
    let failure = outcome.unwrap_err();
    assert!(
        matches!(&failure, FetchError::Unavailable { cid, .. } if cid.codec() == Codec::Raw),
        "{failure}"
    );
    assert!(failure.to_string().ends_with(": 127.0.0.1 gave wrong bytes"), "{failure}");
    assert!(memory.put.iter().all(|block| block.cid.verify(&block.bytes).is_ok()));
}

/// Who fails, or has nothing, comes after those who do better.
#[tokio::test]
async fn who_does_well_is_asked_first() {
    let (blocks, root) = directory(6);
    let empty = Server::whole(&[]).await;
    let failing = Server::start(async |_| status(500)).await;
    let good = Server::without_cars(&blocks).await;
    let sources = [&failing, &empty, &good];
    let limits = FetchConfig { at_once: 1, ..config(&sources) };
    let (outcome, _) = fetch(limits, &root, &sources).await;
    assert_eq!(outcome.unwrap().bytes, bytes_of(&blocks));
    // The root, and in vain a CAR of it.
    assert_eq!((failing.asked().len(), empty.asked().len()), (2, 2));
}

#[tokio::test]
async fn who_lies_in_a_car_is_not_asked_again() {
    let (blocks, root) = directory(6);
    let (mut order, _) = in_order(&by_cid(&blocks), &root);
    let middle = order.len() / 2;
    order[middle].bytes = Bytes::from_static(b"something else");
    let car = car_of(&root, &order);
    let root_block = blocks.iter().find(|block| block.cid == root).unwrap().clone();
    let liar = Server::of_car(&[root_block], move || Body::from(car.clone())).await;
    let honest = Server::whole(&blocks).await;
    let (outcome, memory) = fetch(config(&[&liar, &honest]), &root, &[&liar, &honest]).await;
    assert_eq!(outcome.unwrap().bytes, bytes_of(&blocks));
    assert_eq!(memory.cids(), cids(&blocks));
    assert_eq!((liar.blocks_asked(), liar.cars_asked()), (vec![root.clone()], 1));
    assert!(!honest.blocks_asked().contains(&root), "it goes on, and does not begin anew");
    assert_eq!(honest.cars_asked(), 0);
}

#[tokio::test]
async fn blocks_that_nobody_asked_for_are_not_taken() {
    let (blocks, root) = directory(5);
    let (mut order, _) = in_order(&by_cid(&blocks), &root);
    order.insert(3, raw("advertisement"));
    let car = car_of(&root, &order);
    let all = by_cid(&blocks);
    let server = Server::start(move |asked| {
        let answer = if asked.is_car { car.clone().into_response() } else { serve(&all, &asked) };
        std::future::ready(answer)
    })
    .await;
    let (outcome, memory) = fetch(config(&[&server]), &root, &[&server]).await;
    assert_eq!(outcome.unwrap().bytes, bytes_of(&blocks));
    assert_eq!(memory.cids(), cids(&blocks));
    assert!(server.blocks_asked().len() > 1, "the car was not read on");
}

#[tokio::test]
async fn what_nobody_has_is_not_found() {
    let (block, gone) = (raw("a"), Server::start(async |_| status(410)).await);
    let without = Server::whole(&[]).await;
    let (outcome, _) = fetch(config(&[&without, &gone]), &block.cid, &[&without, &gone]).await;
    let failure = outcome.unwrap_err();
    assert!(matches!(failure, FetchError::NotFound { sources: 2, unusable: 0, .. }), "{failure:?}");
    assert_eq!(failure.to_string(), format!("not found: none of 2 sources has {}", block.cid));
    assert_eq!((without.asked().len(), gone.asked().len()), (1, 1), "once is enough");

    // A part that nobody has is named.
    let file = file(9);
    let partly = Server::whole(&file.blocks[1..]).await;
    let (outcome, _) = fetch(config(&[&partly]), &file.root, &[&partly]).await;
    let failure = outcome.unwrap_err();
    let lost = &file.blocks[0].cid;
    assert!(matches!(&failure, FetchError::NotFound { cid, .. } if cid == lost), "{failure:?}");
}

#[tokio::test]
async fn without_sources_it_fails_at_once() {
    let cid = raw("a").cid;
    let (outcome, _) = fetch(config(&[]), &cid, &[]).await;
    assert_eq!(outcome.unwrap_err().to_string(), "nobody to fetch from");
    let quic = ["/ip4/1.2.3.4/udp/4001/quic-v1/p2p/QmPeer".to_owned(), "nonsense".to_owned()];
    let failure = fetcher(config(&[])).fetch(&cid, &quic, &mut Memory::default()).await.unwrap_err();
    assert!(matches!(failure, FetchError::NoSource { unusable: 2 }));
    assert_eq!(failure.to_string(), "nobody to fetch from (2 origins without an http address)");
}

#[tokio::test]
async fn a_source_that_is_down_is_said_to_be() {
    let down = Server::whole(&[]).await;
    let url = down.url();
    let config = config(&[&down]);
    drop(down);
    let failure = fetcher(config).fetch(&raw("a").cid, &[url], &mut Memory::default()).await.unwrap_err();
    assert!(failure.to_string().ends_with(": 127.0.0.1 no connection"), "{failure}");
}

#[tokio::test]
async fn tries_are_counted() {
    for (code, tries) in [(503, 3), (500, 3), (403, 1), (451, 1), (501, 1), (206, 1)] {
        let server = Server::start(move |_| std::future::ready(status(code))).await;
        let (outcome, _) = fetch(config(&[&server]), &raw("a").cid, &[&server]).await;
        assert!(matches!(outcome, Err(FetchError::Unavailable { .. })), "{code}: {outcome:?}");
        assert_eq!(server.asked().len(), tries, "{code}");
    }
}

#[tokio::test]
async fn a_malformed_block_ends_it() {
    let broken = content::Block::of(Codec::DagPb, content::HashFn::Sha2_256, Bytes::from_static(b"\xff"));
    let root = node(std::slice::from_ref(&broken.cid));
    for server in [
        Server::whole(&[root.clone(), broken.clone()]).await,
        Server::without_cars(&[root.clone(), broken.clone()]).await,
    ] {
        let (outcome, _) = fetch(config(&[&server]), &root.cid, &[&server]).await;
        let failure = outcome.unwrap_err();
        assert!(
            matches!(&failure, FetchError::Malformed { cid, source: DagError::DagPb { .. } } if *cid == broken.cid),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn a_hash_that_cannot_be_checked_is_not_fetched() {
    // sha1, and a sha2-256 that is cut short.
    let mut sha1 = vec![1, 0x55, 0x11, 20];
    sha1.extend([7; 20]);
    let mut short = vec![1, 0x55, 0x12, 4];
    short.extend([7; 4]);
    for bytes in [sha1, short] {
        let cid = Cid::from_bytes(&bytes).unwrap();
        let root = node(std::slice::from_ref(&cid));
        let server = Server::without_cars(std::slice::from_ref(&root)).await;
        for asked in [&cid, &root.cid] {
            let (outcome, _) = fetch(config(&[&server]), asked, &[&server]).await;
            assert!(
                matches!(outcome, Err(FetchError::Unverifiable(ref which)) if *which == cid),
                "{outcome:?}"
            );
        }
        let car =
            car_of(&root.cid, &[root.clone(), content::Block { cid: cid.clone(), bytes: Bytes::new() }]);
        let server = Server::of_car(std::slice::from_ref(&root), move || Body::from(car.clone())).await;
        let (outcome, memory) = fetch(config(&[&server]), &root.cid, &[&server]).await;
        assert!(matches!(outcome, Err(FetchError::Unverifiable(ref which)) if *which == cid), "{outcome:?}");
        assert_eq!(memory.put, [root]);
    }
}

#[tokio::test]
async fn a_sink_that_is_full_ends_it() {
    let (blocks, root) = directory(3);
    for server in [Server::whole(&blocks).await, Server::without_cars(&blocks).await] {
        let mut memory = Memory { room: Some(4), ..Memory::default() };
        let outcome = fetcher(config(&[&server])).fetch(&root, &[server.url()], &mut memory).await;
        let failure = outcome.unwrap_err();
        assert!(matches!(failure, FetchError::Sink(Full)));
        assert_eq!(failure.to_string(), "the blocks could not be stored");
        assert_eq!(memory.put.len(), 4);
        assert!(memory.put(raw("more")).await.is_err());
    }
}
