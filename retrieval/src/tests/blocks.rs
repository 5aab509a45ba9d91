//! Blocks: fetched once however many want them, found again when they move.

use std::{collections::HashSet, sync::Arc, time::Duration};

use content::{Block, Cid, Codec};
use testing::Mode;
use transfer::SegmentSource;

use super::world::{World, patterned, raw, settle};
use crate::{Blocks, BlocksConfig, Found, ReadError};

#[tokio::test]
async fn many_readers_of_one_cold_block_are_one_fetch() {
    let world = World::new();
    let block = world.store_raw(patterned(1, 900_000));
    world.network.set(0..20, Mode::Stalled);
    let blocks = world.blocks();
    let readers: Vec<_> = (0..50)
        .map(|_| {
            let (blocks, cid) = (blocks.clone(), block.cid.clone());
            tokio::spawn(async move { blocks.get(&cid).await })
        })
        .collect();
    world.network.nodes()[0].until_arrived(1).await;
    settle().await;
    world.network.set(0..20, Mode::Honest);
    for reader in readers {
        assert_eq!(reader.await.unwrap().as_ref(), Ok(&block));
    }
    assert_eq!(world.locator.asked(), 1);
    assert_eq!(world.pieces_asked(), 8, "each data piece once");
    assert_eq!(world.network.bytes_asked(), 900_000);

    world.network.set(0..20, Mode::Dead);
    assert_eq!(blocks.get(&block.cid).await, Ok(block), "it is in memory now");
    settle().await;
    assert_eq!(blocks.free_bytes(), world.config.in_flight_bytes as usize);
}

#[tokio::test]
async fn a_fetch_goes_on_when_its_reader_leaves() {
    let world = World::new();
    let block = world.store_raw(patterned(2, 100_000));
    world.network.set(0..20, Mode::Stalled);
    let blocks = world.blocks();
    tokio::select! {
        _ = blocks.get(&block.cid) => panic!("nobody answers"),
        () = world.network.nodes()[0].until_arrived(1) => {}
    }
    assert_eq!(blocks.free_bytes(), world.config.in_flight_bytes as usize - 100_000);
    world.network.set(0..20, Mode::Honest);
    assert_eq!(blocks.get(&block.cid).await, Ok(block));
    assert_eq!(world.pieces_asked(), 8, "the second reader joined the first one's fetch");
    settle().await;
    assert_eq!(blocks.free_bytes(), world.config.in_flight_bytes as usize);
}

#[tokio::test]
async fn several_blocks_are_one_question_and_one_range() {
    let world = World::new();
    let stored: Vec<Block> = (0..6).map(|seed| raw(patterned(seed, 1000))).collect();
    world.store(&stored);
    let blocks = world.blocks();
    let mut cids: Vec<Cid> = stored.iter().rev().map(|block| block.cid.clone()).collect();
    cids.push(cids[2].clone());
    let got = blocks.get_all(&cids).await.unwrap();
    assert_eq!(got.iter().map(|block| &block.cid).collect::<Vec<_>>(), cids.iter().collect::<Vec<_>>());
    assert!(got.iter().all(|block| stored.contains(block)));
    assert_eq!(world.locator.asked(), 1);
    let asked: HashSet<_> = world.network.nodes().iter().flat_map(|node| node.asked()).collect();
    assert_eq!(asked.len(), world.pieces_asked(), "no range twice");
    assert!(world.network.bytes_asked() < 6500, "the blocks and the little between them");
}

#[tokio::test]
async fn an_empty_block_is_read_like_any_other() {
    let world = World::new();
    let (empty, other) = (raw(""), raw("other"));
    world.store(&[other.clone(), empty.clone()]);
    assert_eq!(world.blocks().get(&empty.cid).await, Ok(empty));
}

#[tokio::test]
async fn what_nobody_stores_is_not_found() {
    let world = World::new();
    let unknown = raw("unknown").cid;
    let blocks = world.blocks();
    assert_eq!(blocks.get(&unknown).await, Err(ReadError::NotFound(unknown.clone())));
    let here = world.store_raw("here");
    let both = blocks.get_all(&[here.cid.clone(), unknown.clone()]).await;
    assert_eq!(both, Err(ReadError::NotFound(unknown)));
    assert_eq!(blocks.get(&here.cid).await, Ok(here), "one that is missing harms no other");
}

#[tokio::test]
async fn identities_need_nobody_and_unknown_hashes_are_refused() {
    let world = World::new();
    world.locator.set_away(true);
    let identity = Cid::identity(Codec::Raw, b"in the name").unwrap();
    assert_eq!(world.blocks().get(&identity).await.unwrap().bytes, "in the name");
    let mut bytes = raw("x").cid.as_bytes().to_vec();
    bytes[2] = 0x1b;
    let keccak = Cid::from_bytes(&bytes).unwrap();
    assert_eq!(world.blocks().get(&keccak).await, Err(ReadError::UnsupportedHash(keccak)));
}

#[tokio::test]
async fn without_a_locator_what_is_known_can_still_be_read() {
    let world = World::new();
    let stored: Vec<Block> = (0..2).map(|seed| raw(patterned(seed, 1000))).collect();
    world.store(&stored);
    let other = world.store_raw("elsewhere");
    let blocks = world.blocks();
    blocks.get(&stored[0].cid).await.unwrap();
    world.locator.set_away(true);
    assert!(blocks.get(&stored[0].cid).await.is_ok());
    let failed = blocks.get(&other.cid).await;
    assert!(matches!(failed, Err(ReadError::Unlocated(_))), "it may well exist: {failed:?}");
    world.locator.set_away(false);
    assert_eq!(blocks.get(&other.cid).await, Ok(other), "a failure is not remembered");
}

/// The block's segment as it was before its pieces went to other nodes.
fn moved(world: &World, place: &Found) -> Found {
    let mut pieces = place.segment.pieces.clone();
    for piece in &mut pieces {
        let elsewhere = (usize::from(piece.index) + 7) % 20;
        piece.order = world.network.get_order(elsewhere, piece.order.hash);
    }
    Found { segment: Arc::new(SegmentSource { pieces, ..(*place.segment).clone() }), ..place.clone() }
}

#[tokio::test]
async fn stale_places_are_asked_for_again() {
    let world = World::new();
    let block = world.store_raw(patterned(3, 10_000));
    world.locator.say_stale(moved(&world, &world.locator.place(&block.cid)));
    assert_eq!(world.blocks().get(&block.cid).await, Ok(block));
    assert_eq!(world.locator.asked(), 2);
}

#[tokio::test]
async fn remembered_places_are_not_believed_for_ever() {
    let mut world = World::new();
    world.config.memory_bytes = 0;
    let block = world.store_raw(patterned(4, 10_000));
    let blocks = world.blocks();
    for _ in 0..3 {
        assert_eq!(blocks.get(&block.cid).await.as_ref(), Ok(&block));
    }
    assert_eq!(world.locator.asked(), 1, "the place is remembered");
    // The orders end.
    world.clock.advance(Duration::from_mins(30));
    let place = world.locator.place(&block.cid);
    let mut pieces = place.segment.pieces.clone();
    for piece in &mut pieces {
        piece.order = world.network.get_order(piece.index.into(), piece.order.hash);
    }
    let segment = Arc::new(SegmentSource { pieces, ..(*place.segment).clone() });
    let expires = world.clock.now() + Duration::from_mins(30);
    world.locator.say(Found { segment, expires, ..place });
    assert_eq!(blocks.get(&block.cid).await.as_ref(), Ok(&block));
    assert_eq!(world.locator.asked(), 2);
    // The pieces move: the remembered place fails, the new one works.
    let place = world.locator.place(&block.cid);
    let nodes = world.network.nodes();
    let pieces =
        nodes.iter().zip(&place.segment.pieces).map(|(node, piece)| node.piece(piece.order.hash).unwrap());
    let pieces: Vec<_> = pieces.collect();
    for node in nodes {
        node.lose_all();
    }
    for (number, piece) in pieces.into_iter().enumerate() {
        nodes[(number + 7) % 20].keep(piece);
    }
    world.locator.say(moved(&world, &place));
    assert_eq!(blocks.get(&block.cid).await.as_ref(), Ok(&block));
    assert_eq!(world.locator.asked(), 3);
}

#[tokio::test]
async fn twelve_dead_nodes_are_nothing_and_thirteen_are_honest() {
    let world = World::new();
    let block = world.store_raw(patterned(5, 1 << 20));
    world.network.set(0..13, Mode::Dead);
    let failed = world.blocks().get(&block.cid).await;
    assert!(matches!(failed, Err(ReadError::Unavailable(_))), "{failed:?}");
    world.network.set([12], Mode::Honest);
    assert_eq!(world.blocks().get(&block.cid).await, Ok(block));
}

#[tokio::test]
async fn the_disk_keeps_blocks_over_a_restart() {
    let mut world = World::new();
    let dir = tempfile::tempdir().unwrap();
    world.config = BlocksConfig { disk_dir: dir.path().into(), disk_bytes: 64 << 20, ..world.config };
    let open = || {
        let locator = Box::new(world.locator.clone());
        Blocks::open(
            locator,
            world.gather(),
            world.denylist.clone(),
            world.clock.clone(),
            world.config.clone(),
        )
    };
    let stored: Vec<Block> = (0..5).map(|seed| world.store_raw(patterned(seed, 50_000))).collect();
    let cids: Vec<Cid> = stored.iter().map(|block| block.cid.clone()).collect();
    let blocks = open();
    assert_eq!(blocks.get_all(&cids).await.as_ref(), Ok(&stored));
    blocks.disk().unwrap().close().await;
    drop(blocks);
    world.network.set(0..20, Mode::Dead);
    world.locator.set_away(true);
    assert_eq!(open().get_all(&cids).await, Ok(stored), "neither nodes nor a gateway are needed");
}
