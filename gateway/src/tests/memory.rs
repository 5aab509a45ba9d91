//! Memory for uploads is bounded, and nobody waits for ever because of it.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use testing::Mode;

use super::world::{World, patterned, until};
use crate::{Config, upload::InHand};

const MIB: usize = 1 << 20;

/// Room for one coded segment of 2 MiB and for as few leaves as can be.
fn tight(config: &mut Config) {
    config.uploads.segment_bytes = 2 * MIB;
    config.uploads.coding_bytes = 5 * MIB;
    config.uploads.ingest_bytes = 4 * MIB;
    config.uploads.queue_max = 8;
}

async fn assert_all_given_back(world: &World) {
    world.gateway.packer.until(|in_hand| *in_hand == InHand::default()).await;
    let uploads = &world.gateway.config.uploads;
    until(async || world.gateway.ingest.room.available_permits() == uploads.ingest_bytes).await;
    until(async || world.gateway.coding_room.free_bytes() == uploads.coding_bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_large_uploads_share_room_for_one_segment() {
    let world = Arc::new(World::with(20, tight).await);
    let uploads = (0..64).map(|seed| {
        let world = world.clone();
        tokio::spawn(async move { world.upload("", patterned(seed, 8 * MIB)).await.file() })
    });
    let files = tokio::time::timeout(Duration::from_secs(120), join_all(uploads)).await.unwrap();
    assert_all_given_back(&world).await;
    let files: Vec<_> = files.into_iter().map(Result::unwrap).collect();
    for (seed, file) in (0..64).zip(&files).step_by(21) {
        world.assert_reads(&file.cid, &patterned(seed, 8 * MIB)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stalls_holds_up_no_segment_for_long() {
    // No spare, and no room for a second segment while pieces of the first are under way.
    let world = World::with(20, tight).await;
    world.network.set([3], Mode::Stalled);
    let bytes = patterned(1, 12 * MIB);
    let upload = tokio::time::timeout(Duration::from_secs(20), world.upload("", bytes.clone())).await;
    let file = upload.unwrap().file();
    world.assert_reads(&file.cid, &bytes).await;
    let stalled = world.network.nodes()[3].id();
    let ids = world.db.root_segments(&file.cid.parse().unwrap()).await.unwrap();
    let infos = world.db.segments_info(&ids).await.unwrap();
    assert!(infos.len() >= 6);
    assert!(infos.iter().flat_map(|info| &info.pieces).all(|piece| piece.node != Some(stalled)));
    world.network.set([3], Mode::Honest);
    assert_all_given_back(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_pieces_are_recorded() {
    let world = World::new().await;
    world.network.set([7, 8], Mode::Stalled);
    let file = world.upload("", patterned(2, 100_000)).await.file();
    let ids = world.db.root_segments(&file.cid.parse().unwrap()).await.unwrap();
    let missing = async || {
        let info = world.db.segments_info(&ids).await.unwrap().remove(0);
        info.pieces.iter().filter(|piece| piece.node.is_none()).count()
    };
    assert_eq!(missing().await, 2, "acknowledged without them");
    world.network.set([7], Mode::Honest);
    until(async || missing().await == 1).await;
    world.network.set([8], Mode::Honest);
    until(async || missing().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_larger_than_its_room_is_sealed_all_the_same() {
    let world = World::with(20, |config| {
        tight(config);
        config.uploads.coding_bytes = MIB;
    })
    .await;
    let bytes = patterned(3, 5 * MIB);
    let upload = tokio::time::timeout(Duration::from_secs(20), world.upload("", bytes.clone())).await;
    world.assert_reads(&upload.unwrap().file().cid, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_segment_outgrows_its_limit() {
    let world = World::with(20, |config| {
        config.uploads.segment_bytes = MIB + 500_000;
        config.uploads.coding_bytes = 4 * MIB;
        config.uploads.queue_max = 256;
    })
    .await;
    // While nothing can be sealed, what comes must wait outside.
    world.network.set(0..20, Mode::Stalled);
    let uploads = join_all((0..40).map(|seed| world.upload("", patterned(seed, 300_000 + seed as usize))));
    let open = async {
        until(async || {
            world.network.nodes()[0].puts() == 0 && world.gateway.coding_room.free_bytes() < 2 * MIB
        })
        .await;
        world.network.set(0..20, Mode::Honest);
    };
    let (uploads, ()) = tokio::join!(uploads, open);
    for upload in uploads {
        upload.file();
    }
    let ids = world.db.segments_after(None, 1000).await.unwrap();
    let ids: Vec<_> = ids.into_iter().map(|(id, _)| id).collect();
    let infos = world.db.segments_info(&ids).await.unwrap();
    let longest = infos.iter().map(|info| info.length_bytes).max().unwrap();
    assert!(longest <= (MIB + 500_000) as u64, "{longest}");
}
