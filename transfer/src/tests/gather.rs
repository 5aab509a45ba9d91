//! Gathering: every byte right whoever is up, few bytes moved for few wanted, nobody waited for in vain.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use erasure::{Codec, Scheme};
use proptest::prelude::*;
use testing::Mode;

use super::fixture::{Fixture, SEGMENT, random_bytes, scheme};
use crate::{GatherError, PieceSource, SegmentSource};

const LEN: usize = 1_300_000;

/// Reads one range.
async fn read(
    fixture: &Fixture,
    source: &Arc<SegmentSource>,
    range: Range<u64>,
) -> Result<Bytes, GatherError> {
    let read = fixture.gather().read(source, std::slice::from_ref(&range)).await;
    read.map(|mut read| {
        assert_eq!(read.len(), 1);
        read.remove(0)
    })
}

async fn assert_reads(fixture: &Fixture, source: &Arc<SegmentSource>, segment: &[u8], range: Range<usize>) {
    let bytes = read(fixture, source, range.start as u64..range.end as u64).await.unwrap();
    assert!(bytes == segment[range.clone()], "wrong bytes in {range:?}");
}

#[tokio::test]
async fn all_nodes_up() {
    let fixture = Fixture::new(20);
    let segment = random_bytes(1, LEN);
    let source = fixture.store(scheme(), &segment);
    assert_reads(&fixture, &source, &segment, 0..LEN).await;
    assert_eq!(fixture.network.bytes_asked(), LEN as u64, "exactly the data, and no recovery piece");
}

#[tokio::test]
async fn a_small_range_moves_few_bytes() {
    let fixture = Fixture::new(20);
    let segment = random_bytes(2, LEN);
    let source = fixture.store(scheme(), &segment);
    assert_reads(&fixture, &source, &segment, 700_000..701_000).await;
    assert_eq!(fixture.network.bytes_asked(), 1000);
    let holder = (700_000 - 524_288) / 65_536;
    fixture.network.set([holder], Mode::Dead);
    assert_reads(&fixture, &source, &segment, 700_000..701_000).await;
    // Rebuilt from the same columns, widened to 64, of eight others.
    let moved = fixture.network.bytes_asked() - 1000;
    assert!(moved <= 8 * (1000 + 2 * 64), "{moved}");
}

#[tokio::test]
async fn any_needed_of_the_pieces_are_enough() {
    for codec in Codec::ALL {
        let scheme = Scheme::new(codec, 3, 6).unwrap();
        let segment = random_bytes(3, 300_000);
        for up in (0_u8..64).filter(|up| up.count_ones() == 3) {
            let fixture = Fixture::new(6);
            let source = fixture.store(scheme, &segment);
            fixture.network.set((0..6).filter(|node| up >> node & 1 == 0), Mode::Dead);
            assert_reads(&fixture, &source, &segment, 0..segment.len()).await;
            assert_reads(&fixture, &source, &segment, 199_990..200_001).await;
        }
    }
}

#[tokio::test]
async fn one_too_few_is_an_error() {
    let fixture = Fixture::new(20);
    let segment = random_bytes(4, LEN);
    let source = fixture.store(scheme(), &segment);
    fixture.network.set(0..13, Mode::Dead);
    let read = read(&fixture, &source, 0..LEN as u64).await;
    assert_eq!(read, Err(GatherError::TooFewPieces { segment: SEGMENT, found: 7, needed: 8 }));
}

#[tokio::test]
async fn corrupt_failing_and_empty_nodes_are_read_around() {
    let fixture = Fixture::new(20);
    let segment = random_bytes(5, LEN);
    let source = fixture.store(scheme(), &segment);
    fixture.network.set(0..5, Mode::Corrupt);
    fixture.network.set(5..10, Mode::Failing);
    fixture.network.nodes()[10].lose_all();
    assert_reads(&fixture, &source, &segment, 0..LEN).await;
    assert_reads(&fixture, &source, &segment, LEN - 1..LEN).await;
}

#[tokio::test]
async fn stalled_nodes_hold_nobody_up() {
    let fixture = Fixture::new(20);
    let segment = random_bytes(6, LEN);
    let source = fixture.store(scheme(), &segment);
    fixture.network.set(0..12, Mode::Stalled);
    assert_reads(&fixture, &source, &segment, 0..LEN).await;
    let nodes = fixture.network.nodes();
    assert!((0..8).all(|number| fixture.peers.is_pushed_back(nodes[number].id())), "waited for in vain");
    // Those that nobody has asked yet get their chance once.
    assert_reads(&fixture, &source, &segment, 5000..9000).await;
    let asked = || nodes[..12].iter().map(|node| node.asked().len()).sum::<usize>();
    let before = asked();
    assert_reads(&fixture, &source, &segment, 5000..9000).await;
    assert_eq!(asked(), before, "later readers go to others at once");
}

#[tokio::test]
async fn whole_pieces_for_repair() {
    let fixture = Fixture::new(20);
    let segment = random_bytes(7, LEN);
    let source = fixture.store(scheme(), &segment);
    fixture.network.set([0, 1, 2, 9], Mode::Corrupt);
    fixture.network.set([3, 12], Mode::Stalled);
    let pieces = fixture.gather().read_pieces(&source).await.unwrap();
    assert_eq!(pieces.len(), 8);
    let present: Vec<(u8, &[u8])> = pieces.iter().map(|(index, bytes)| (*index, bytes.as_ref())).collect();
    let decoded = erasure::Decoder::new(scheme()).decode(LEN as u64, &present).unwrap();
    assert!(decoded == segment);
}

#[tokio::test]
async fn several_ranges_in_any_order() {
    let fixture = Fixture::new(20);
    let segment = random_bytes(8, LEN);
    let source = fixture.store(scheme(), &segment);
    let ranges = [90_000..400_000, 7..7, 100_000..100_010, 80_000..90_001, 0..0];
    for dead in [0..0, 0..12] {
        fixture.network.set(dead, Mode::Dead);
        let read =
            fixture.gather().read(&source, &ranges.clone().map(|r| r.start as u64..r.end as u64)).await;
        for (range, bytes) in ranges.iter().zip(read.unwrap()) {
            assert!(bytes == segment[range.clone()], "{range:?}");
        }
    }
    assert_eq!(fixture.gather().read(&source, &[]).await, Ok(Vec::new()));
}

#[tokio::test]
async fn an_empty_range_needs_nobody() {
    let fixture = Fixture::new(20);
    let source = fixture.store(scheme(), &random_bytes(9, 1000));
    fixture.network.set(0..20, Mode::Dead);
    assert_eq!(read(&fixture, &source, 500..500).await, Ok(Bytes::new()));
}

#[tokio::test]
async fn wrong_metadata_is_an_error_and_no_panic() {
    let fixture = Fixture::new(20);
    let segment = random_bytes(10, LEN);
    let source = fixture.store(scheme(), &segment);
    let beyond = LEN as u64 + 1;
    let wrong = |start, end| Err(GatherError::Range { segment: SEGMENT, start, end });
    assert_eq!(read(&fixture, &source, 0..beyond).await, wrong(0, beyond));
    assert_eq!(read(&fixture, &source, Range { start: 10, end: 5 }).await, wrong(10, 5));

    // Pieces beyond the last, the same piece twice, and a segment said to be longer than it is.
    let mut pieces: Vec<PieceSource> = source.pieces.clone();
    pieces.iter_mut().take(4).for_each(|piece| piece.index = 200);
    pieces.extend(source.pieces[4..12].iter().cloned());
    let odd = Arc::new(SegmentSource { pieces, ..(*source).clone() });
    fixture.network.set(4..6, Mode::Dead);
    assert_reads(&fixture, &odd, &segment, 0..LEN).await;
    let longer = Arc::new(SegmentSource { segment_len: u64::MAX, ..(*source).clone() });
    let read = read(&fixture, &longer, 0..1000).await;
    assert!(matches!(read, Err(GatherError::TooFewPieces { found: 0, .. })), "{read:?}");
}

#[tokio::test]
async fn a_reader_may_leave_at_any_time() {
    let fixture = Fixture::new(20);
    let segment = random_bytes(11, LEN);
    let source = fixture.store(scheme(), &segment);
    fixture.network.set(0..20, Mode::Stalled);
    tokio::select! {
        _ = read(&fixture, &source, 0..LEN as u64) => panic!("nobody answers"),
        () = fixture.network.nodes()[0].until_arrived(1) => {}
    }
    fixture.network.set(0..20, Mode::Honest);
    assert_reads(&fixture, &source, &segment, 0..LEN).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_range_with_any_needed_nodes(
        len in 1_usize..900_000,
        codec in prop::sample::select(Codec::ALL.to_vec()),
        dead in prop::sample::subsequence((0..9_usize).collect::<Vec<_>>(), 0..=4),
        corrupt in any::<bool>(),
        at in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(9);
            let segment = random_bytes(len as u64, len);
            let source = fixture.store(Scheme::new(codec, 5, 9).unwrap(), &segment);
            fixture.network.set(dead, if corrupt { Mode::Corrupt } else { Mode::Dead });
            let (a, b) = (at.0.index(len + 1), at.1.index(len + 1));
            assert_reads(&fixture, &source, &segment, a.min(b)..a.max(b)).await;
        });
    }
}
