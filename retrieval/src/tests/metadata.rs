//! Wrong metadata: an error, never a wrong byte, never a panic.

use std::sync::Arc;

use content::BLOCK_MAX;
use proptest::prelude::*;
use transfer::SegmentSource;

use super::world::{World, patterned, raw};
use crate::{Found, ReadError};

#[tokio::test]
async fn impossible_places_are_errors() {
    let world = World::new();
    let block = world.store_raw(patterned(1, 5000));
    let right = world.locator.place(&block.cid);
    let long = Arc::new(SegmentSource { segment_len: u64::MAX, ..(*right.segment).clone() });
    let wrong = [
        Found { offset: right.offset + 1, ..right.clone() },
        Found { len: right.len - 1, ..right.clone() },
        Found { len: right.len + 1, ..right.clone() },
        Found { offset: u64::MAX, ..right.clone() },
        Found { offset: u64::MAX - 10, segment: long.clone(), ..right.clone() },
        Found { len: u64::MAX, segment: long.clone(), ..right.clone() },
        Found { len: BLOCK_MAX as u64 + 1, segment: long.clone(), ..right.clone() },
        Found { segment: long, ..right.clone() },
        Found {
            segment: Arc::new(SegmentSource { segment_len: 0, ..(*right.segment).clone() }),
            ..right.clone()
        },
        Found {
            segment: Arc::new(SegmentSource { pieces: vec![], ..(*right.segment).clone() }),
            ..right.clone()
        },
    ];
    for place in wrong {
        world.locator.say(place.clone());
        let read = world.blocks().get(&block.cid).await;
        assert!(matches!(read, Err(ReadError::Unavailable(_))), "{place:?}: {read:?}");
    }
    world.locator.say(right);
    assert_eq!(world.blocks().get(&block.cid).await, Ok(block));
}

#[tokio::test]
async fn blocks_that_are_said_to_overlap_are_read_all_the_same() {
    let world = World::new();
    let (outer, inner) = (raw(patterned(2, 3000)), raw(patterned(2, 3000)[400..900].to_vec()));
    world.store(std::slice::from_ref(&outer));
    let place = world.locator.place(&outer.cid);
    world.locator.say(Found { cid: inner.cid.clone(), offset: place.offset + 400, len: 500, ..place });
    let both = world.blocks().get_all(&[inner.cid.clone(), outer.cid.clone()]).await;
    assert_eq!(both, Ok(vec![inner, outer]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_said_no_wrong_byte_is_given(
        places in prop::collection::vec((0_usize..4, 0_u64..3000, 0_u64..3000, any::<bool>()), 4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let blocks: Vec<_> = (0..4).map(|seed| raw(patterned(seed, 500 + seed as usize))).collect();
            world.store(&blocks[..2]);
            world.store(&blocks[2..]);
            let right: Vec<Found> = blocks.iter().map(|block| world.locator.place(&block.cid)).collect();
            for (block, (like, offset, len, keep)) in blocks.iter().zip(places) {
                let Found { segment, expires, .. } = right[like].clone();
                if !keep {
                    world.locator.say(Found { cid: block.cid.clone(), segment, offset, len, expires });
                }
            }
            let reader = world.blocks();
            let cids: Vec<_> = blocks.iter().map(|block| block.cid.clone()).collect();
            let _ = reader.get_all(&cids).await;
            for block in &blocks {
                if let Ok(read) = reader.get(&block.cid).await {
                    assert_eq!(&read, block);
                }
            }
        });
    }
}
