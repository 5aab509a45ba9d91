//! Uploads of more blocks than are remembered.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use content::{Block, Codec, HashFn};

use super::{
    packing::{block, finish},
    world::{World, patterned, until},
};
use crate::upload::{InHand, UploadHandle};

/// A gateway that remembers four blocks of an upload, each of `large` in a segment of its own.
async fn world() -> World {
    World::with(20, |config| {
        config.uploads.segment_bytes = 1 << 20;
        config.uploads.blocks_remembered = 4;
    })
    .await
}

fn large(seed: u32) -> Block {
    block(seed, 200_000)
}

/// An upload in progress of which some blocks are recorded.
async fn begin_long(world: &World) -> UploadHandle {
    let upload = world.gateway.packer.begin().await.unwrap();
    for seed in 0..12 {
        upload.add(large(seed), None).await.unwrap();
    }
    until(async || world.db.long_uploads().await.unwrap() == 1).await;
    upload
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_recorded_as_they_come_and_read_when_all_is_there() {
    let world = world().await;
    let upload = begin_long(&world).await;
    let first = large(0);
    assert_eq!(world.read(&first.cid.to_string()).await.status, StatusCode::NOT_FOUND);
    // Until its segment is known from the database alone.
    world.gateway.packer.until(|in_hand| in_hand.segments == 0).await;
    upload.add(first.clone(), None).await.unwrap();
    finish(upload, &large(11)).await.unwrap();
    for seed in 0..12 {
        world.assert_reads(&large(seed).cid.to_string(), &large(seed).bytes).await;
    }
    assert_eq!(world.db.find_stored(&[first.cid]).await.unwrap().len(), 1, "stored once");
    // What is left of it is cleared away, and nothing else.
    while world.db.clear_long_upload(world.gateway.clock.now(), 3).await.unwrap() {}
    assert_eq!(world.db.long_uploads().await.unwrap(), 0);
    let cids: Vec<_> = (0..12).map(|seed| large(seed).cid).collect();
    assert_eq!(world.db.find_blocks(&cids, false).await.unwrap().len(), 12);
    world.gateway.packer.until(|in_hand| *in_hand == InHand::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_of_a_long_upload_that_was_given_up() {
    let world = world().await;
    let upload = begin_long(&world).await;
    // Another upload shares its last segment, which therefore stays.
    let other = world.gateway.packer.begin().await.unwrap();
    let small = Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::from_static(b"small"));
    other.add(small.clone(), None).await.unwrap();
    finish(other, &small).await.unwrap();
    drop(upload);
    world.gateway.packer.until(|in_hand| in_hand.uploads == 0).await;
    world.assert_reads(&small.cid.to_string(), b"small").await;
    for seed in 0..12 {
        assert_eq!(world.read(&large(seed).cid.to_string()).await.status, StatusCode::NOT_FOUND);
    }
    // Nor does another upload rely on its blocks, whose own it would not be able to keep.
    let again = world.gateway.packer.begin().await.unwrap();
    again.add(large(3), None).await.unwrap();
    finish(again, &large(3)).await.unwrap();
    let later = world.gateway.clock.now() + Duration::from_hours(1);
    while world.db.clear_long_upload(later, 100).await.unwrap() {}
    world.assert_reads(&large(3).cid.to_string(), &large(3).bytes).await;
    assert_eq!(world.read(&large(4).cid.to_string()).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_many_files_is_whole() {
    let world = World::with(20, |config| {
        config.uploads.segment_bytes = 1 << 18;
        config.uploads.blocks_remembered = 4;
    })
    .await;
    let bytes: Vec<Vec<u8>> = (0..300).map(|seed| patterned(seed % 250, 2_000 + seed as usize)).collect();
    let names: Vec<String> = (0..300).map(|number| format!("many/file {number}")).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(&bytes).map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let cid = world.upload_form("", &files).await.file().cid;
    assert_eq!(world.db.long_uploads().await.unwrap(), 1);
    for number in [0, 1, 150, 299] {
        world.assert_reads(&format!("{cid}/file%20{number}"), &bytes[number]).await;
    }
    let again = world.upload_form("", &files).await.file();
    assert!(again.duplicate && again.cid == cid);
    let [pending, _, orphaned, lost] = world.segments().await;
    assert_eq!((pending, orphaned, lost), (0, 0, 0), "nothing was stored twice");
}
