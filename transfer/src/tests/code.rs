//! Coding a segment gives what the plain encoder gives, with the right names.

use erasure::{COLUMN, Codec, Encoder, Scheme, UNIT};
use proptest::{prelude::*, sample::select};
use protocol::ids::PieceHash;

use super::fixture::{code, random_bytes};
use crate::{Pool, code_segment};

fn assert_coded(scheme: Scheme, segment: &[u8], pool: &Pool) {
    let coded = code(scheme, segment, pool);
    let plain = Encoder::new(scheme).encode(segment).unwrap();
    assert_eq!(coded.len(), usize::from(scheme.total()));
    for (index, (coded, plain)) in coded.iter().zip(&plain).enumerate() {
        assert_eq!(usize::from(coded.index), index);
        assert_eq!(&coded.slices.concat(), plain, "piece {index} of {} bytes", segment.len());
        assert_eq!(coded.hash, PieceHash::of(plain));
        assert_eq!(coded.body().len(), plain.len() as u64);
    }
}

#[test]
fn lengths_around_every_edge() {
    let pool = Pool::new(8 << 20);
    for codec in Codec::ALL {
        let scheme = Scheme::new(codec, 4, 6).unwrap();
        let row = 4 * UNIT;
        for edge in [COLUMN, 4 * COLUMN, UNIT, row, row + COLUMN, 2 * row] {
            for len in [edge - 1, edge, edge + 1] {
                assert_coded(scheme, &random_bytes(len as u64, len), &pool);
            }
        }
        assert_coded(scheme, &[7], &pool);
    }
}

#[test]
fn an_empty_segment_has_empty_pieces() {
    let pool = Pool::new(0);
    let coded = code_segment(Scheme::new(Codec::Gf8, 8, 20).unwrap(), pool.take(0), &pool).unwrap();
    assert_eq!(coded.len(), 20);
    assert!(coded.iter().all(|piece| piece.hash == PieceHash::of(b"") && piece.body().is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What an earlier segment left in a buffer is in no later piece.
    #[test]
    fn any_shape_in_used_buffers(
        codec in select(Codec::ALL.to_vec()),
        needed in 1_u8..10,
        recovery in 1_u8..8,
        lens in prop::collection::vec(1_usize..1_500_000, 1..4),
        seed: u64,
    ) {
        let pool = Pool::new(8 << 20);
        let scheme = Scheme::new(codec, needed, needed + recovery).unwrap();
        for len in lens {
            assert_coded(scheme, &random_bytes(seed ^ len as u64, len), &pool);
        }
    }
}
