//! The packer by itself: lingering, sharing, and uploads that end before they begin.

use std::time::Duration;

use bytes::Bytes;
use content::{Block, Codec, HashFn};
use futures_util::{FutureExt as _, future::join_all};
use store::Claim;
use testing::Mode;

use super::world::{ACCOUNT, World, patterned, until};
use crate::upload::{InHand, PinRequest, UploadError, UploadHandle};

pub(super) fn block(seed: u32, len: usize) -> Block {
    Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::from(patterned(seed, len)))
}

fn pin(block: &Block) -> PinRequest {
    let size_bytes = block.bytes.len() as u64;
    PinRequest {
        waiting: None,
        claim: Claim::Pin,
        beside: None,
        account: ACCOUNT.into(),
        name: String::new(),
        root: block.cid.clone(),
        size_bytes,
        dag_size_bytes: size_bytes,
        expires: None,
    }
}

async fn store(world: &World, blocks: &[Block]) -> Result<store::Outcome, UploadError> {
    let upload = world.gateway.packer.begin().await?;
    for block in blocks {
        upload.add(block.clone(), None).await?;
    }
    finish(upload, blocks.last().unwrap()).await
}

/// Finishes an upload with one pin.
pub(super) async fn finish(upload: UploadHandle, root: &Block) -> Result<store::Outcome, UploadError> {
    upload.finish(vec![pin(root)]).await?.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_given_up_before_its_turn_is_forgotten() {
    let world = World::new().await;
    let packer = &world.gateway.packer;
    for _ in 0..200 {
        // The end is heard of at once, the beginning only when the queue gets there.
        let begun = packer.begin().now_or_never();
        drop(begun);
    }
    store(&world, &[block(1, 10)]).await.unwrap();
    packer.until(|in_hand| *in_hand == InHand::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_blocks_are_sealed_already_does_not_wait_for_the_open_segment() {
    let world = World::with(20, |config| {
        config.uploads.segment_bytes = 1 << 20;
        config.uploads.linger = Duration::from_hours(1);
    })
    .await;
    let packer = &world.gateway.packer;
    let first = packer.begin().await.unwrap();
    let mine = block(1, 600_000);
    first.add(mine.clone(), None).await.unwrap();
    // Another upload fills the segment, and leaves the next one open.
    let other = packer.begin().await.unwrap();
    for seed in 2..4 {
        other.add(block(seed, 600_000), None).await.unwrap();
    }
    until(async || world.segments().await[0] > 0).await;
    let finished = tokio::time::timeout(Duration::from_secs(20), finish(first, &mine)).await;
    assert!(finished.unwrap().is_ok());
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_stream_keeps_no_small_upload_waiting() {
    let world = World::with(20, |config| {
        config.uploads.segment_bytes = 64 << 20;
        config.uploads.coding_bytes = 512 << 20;
    })
    .await;
    let stream = world.gateway.packer.begin().await.unwrap();
    let flood = async {
        // Far more than fits the time of the small upload, in blocks that cost next to nothing.
        for seed in 0.. {
            stream.add(block(seed, 64), None).await.unwrap();
        }
    };
    let small = async {
        let outcome = store(&world, &[block(u32::MAX, 100)]).await;
        assert!(outcome.is_ok(), "{outcome:?}");
    };
    tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            () = flood => {}
            () = small => {}
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_nodes_make_groups_larger_and_not_more() {
    let world = World::with(20, |config| config.uploads.linger = Duration::from_millis(1)).await;
    world.network.set(0..20, Mode::Stalled);
    let uploads = join_all((0..100).map(|seed| {
        let world = &world;
        async move {
            // One after the other, each in its own lingering time if there were one for each.
            for _ in 0..seed * 20 {
                tokio::task::yield_now().await;
            }
            store(world, &[block(seed, 500)]).await.unwrap();
        }
    }));
    let open = async {
        let all = |in_hand: &InHand| in_hand.uploads == 100;
        world.gateway.packer.until(all).await;
        world.network.set(0..20, Mode::Honest);
    };
    tokio::join!(uploads, open);
    let [_, live, ..] = world.segments().await;
    assert!(live <= 5, "four early ones and one that gathered all the others: {live}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lost_segment_fails_its_uploads_and_no_other() {
    let world = World::with(20, |config| config.uploads.linger = Duration::from_millis(1)).await;
    world.network.set(0..20, Mode::Failing);
    let shared = block(1, 1000);
    let (two, one) = ([block(2, 10), shared.clone()], [shared.clone()]);
    let (a, b) = tokio::join!(store(&world, &two), store(&world, &one));
    assert!(matches!(a, Err(UploadError::NotStored(_))), "{a:?}");
    assert!(matches!(b, Err(UploadError::NotStored(_))), "{b:?}");
    world.gateway.packer.until(|in_hand| *in_hand == InHand::default()).await;
    world.network.set(0..20, Mode::Honest);
    // Nobody relies on what was lost.
    store(&world, &[block(3, 10), shared.clone()]).await.unwrap();
    world.assert_reads(&shared.cid.to_string(), &shared.bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_progress_hears_of_its_failure() {
    let world = World::with(20, |config| config.uploads.segment_bytes = 1 << 20).await;
    world.network.set(0..20, Mode::Failing);
    let upload = world.gateway.packer.begin().await.unwrap();
    let added = async {
        for seed in 0.. {
            upload.add(block(seed, 500_000), None).await?;
            tokio::task::yield_now().await;
        }
        Ok::<(), UploadError>(())
    };
    let failed = tokio::time::timeout(Duration::from_secs(20), added).await.unwrap();
    assert!(matches!(failed, Err(UploadError::NotStored(_))), "{failed:?}");
}
