//! Any DAG from sources that fail in any way: exactly its blocks, or an error, and never a wrong block.

use std::{sync::Arc, time::Duration};

use axum::{
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use content::{Block, Cid};
use parking_lot::Mutex;
use proptest::{prelude::*, sample::Index};

use super::{
    config,
    dags::{car_of, cids, in_order, node, raw},
    fetcher,
    memory::Memory,
    server::{Asked, Blocks, Server, broken_off, by_cid, serve},
};
use crate::FetchConfig;

/// What a source does with a request.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Right,
    Status(u16),
    Wrong(u8),
    Cut(u16),
    BrokenOff(u16),
    Swapped(u16),
    Silent,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        6 => Just(Deed::Right),
        1 => prop_oneof![Just(404), Just(406), Just(429), Just(500), Just(503)].prop_map(Deed::Status),
        1 => any::<u8>().prop_map(Deed::Wrong),
        1 => any::<u16>().prop_map(Deed::Cut),
        1 => any::<u16>().prop_map(Deed::BrokenOff),
        1 => any::<u16>().prop_map(Deed::Swapped),
        1 => Just(Deed::Silent),
    ];
    proptest::collection::vec(deed, 1..8)
}

/// A DAG out of which blocks link what was made before them. Its root is the last.
fn dag(shape: &[Vec<Index>]) -> Vec<Block> {
    let mut all: Vec<Block> = vec![raw("the first")];
    for (i, links) in shape.iter().enumerate() {
        let links: Vec<Cid> = links.iter().map(|link| all[link.index(all.len())].cid.clone()).collect();
        all.push(if links.is_empty() { raw(vec![7; i * 300]) } else { node(&links) });
    }
    let links: Vec<_> = all.iter().rev().step_by(2).map(|block| block.cid.clone()).collect();
    all.push(node(&links));
    all
}

async fn answer(blocks: Blocks, asked: Asked, deed: Deed) -> Response {
    let cut = |at: u16| {
        let body = match blocks.get(&asked.cid) {
            Some(bytes) if !asked.is_car => bytes.clone(),
            _ => car_of(&asked.cid, &in_order(&blocks, &asked.cid).0),
        };
        body.slice(..usize::from(at) % (body.len() + 1))
    };
    match deed {
        Deed::Right => serve(&blocks, &asked),
        Deed::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Deed::Wrong(byte) => {
            let mut bytes = cut(u16::MAX - 1).to_vec();
            let at = usize::from(byte) % bytes.len().max(1);
            bytes.get_mut(at).into_iter().for_each(|wrong| *wrong ^= byte | 1);
            bytes.into_response()
        }
        Deed::Cut(at) => cut(at).into_response(),
        Deed::BrokenOff(at) => broken_off(cut(at)).into_response(),
        Deed::Swapped(at) => {
            let mut order = in_order(&blocks, &asked.cid).0;
            let len = order.len().max(1);
            order.rotate_left(usize::from(at) % len);
            car_of(&asked.cid, &order).into_response()
        }
        Deed::Silent => std::future::pending().await,
    }
}

async fn source(blocks: &[Block], deeds: Vec<Deed>) -> Server {
    let (blocks, at) = (by_cid(blocks), Arc::new(Mutex::new(0)));
    Server::start(move |asked| {
        let mut at = at.lock();
        *at += 1;
        answer(Arc::clone(&blocks), asked, deeds[*at % deeds.len()])
    })
    .await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn it_is_the_dag_or_an_error(
        shape in proptest::collection::vec(proptest::collection::vec(any::<Index>(), 0..5), 0..25),
        deeds in proptest::collection::vec(deeds(), 1..4),
        lost in proptest::collection::vec((any::<Index>(), any::<Index>()), 0..3),
        held in proptest::collection::vec(any::<Index>(), 0..6),
        is_helped in any::<bool>(),
    ) {
        let blocks = dag(&shape);
        let root = blocks[blocks.len() - 1].cid.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut servers = Vec::new();
            for (at, deeds) in deeds.iter().cloned().enumerate() {
                // What must succeed may not be given up because this machine is slow.
                let patient = |deed| if is_helped && matches!(deed, Deed::Silent) { Deed::Status(500) } else { deed };
                let deeds: Vec<_> = deeds.into_iter().map(patient).collect();
                let has = |cid: &Cid| {
                    !lost.iter().any(|(who, what)| who.index(3) == at && blocks[what.index(blocks.len())].cid == *cid)
                };
                let some: Vec<_> = blocks.iter().filter(|block| has(&block.cid)).cloned().collect();
                servers.push(source(&some, deeds).await);
            }
            if is_helped {
                servers.push(Server::without_cars(&blocks).await);
            }
            let origins: Vec<_> = servers.iter().map(Server::url).collect();
            let config = FetchConfig {
                first_byte_timeout: Duration::from_millis(if is_helped { 30_000 } else { 30 }),
                ..config(&servers.iter().collect::<Vec<_>>())
            };
            let mut memory = Memory::holding(held.iter().map(|at| &blocks[at.index(blocks.len())]));
            let outcome = fetcher(config).fetch(&root, &origins, &mut memory).await;

            for block in &memory.put {
                assert_eq!(Block::verified(block.cid.clone(), block.bytes.clone()).as_ref(), Ok(block));
                assert!(blocks.contains(block), "nothing of other DAGs");
            }
            let put = memory.cids();
            assert!(put.windows(2).all(|pair| pair[0] != pair[1]), "each once");
            let under = in_order(&by_cid(&blocks), &root).0;
            match outcome {
                Ok(fetched) => {
                    for cid in cids(&under) {
                        assert!(put.contains(&cid) || memory.held.contains_key(&cid), "{cid} is missing");
                    }
                    let bytes: usize = under.iter().map(|block| block.bytes.len()).sum();
                    assert_eq!(fetched.dag_size_bytes, bytes as u64);
                    assert_eq!(fetched.blocks, put.len() as u64);
                }
                Err(failure) => assert!(!is_helped, "one source has everything: {failure}"),
            }
        });
    }
}

/// Nothing panics on what is no CAR at all.
#[tokio::test]
async fn noise_is_an_error() {
    let root = node(&[raw("a").cid]);
    for seed in 0..40_u32 {
        let noise: Vec<u8> = (0..seed * 7).map(|i| (i * i * 31 + seed).to_le_bytes()[0]).collect();
        let first = by_cid(std::slice::from_ref(&root));
        let server = Server::start(move |asked| {
            let noise = Bytes::from(noise.clone()).into_response();
            std::future::ready(if asked.is_car { noise } else { serve(&first, &asked) })
        })
        .await;
        let mut memory = Memory::default();
        fetcher(config(&[&server])).fetch(&root.cid, &[server.url()], &mut memory).await.unwrap_err();
        assert_eq!(memory.put, std::slice::from_ref(&root));
    }
}
