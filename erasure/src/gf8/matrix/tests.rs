//! The matrix code can lose any `total - needed` pieces.

use proptest::{prelude::*, sample::subsequence};

use super::{super::field::tests::slow_mul, *};
use crate::Codec;

/// The pieces of one column of data bytes, by the formula and the slow product.
fn encode_column(needed: u8, total: u8, data: &[u8]) -> Vec<u8> {
    let recovery = (needed..total).map(|piece| {
        (0..needed)
            .map(|index| slow_mul(coefficient(needed, piece, index), data[usize::from(index)]))
            .fold(0, |sum, term| sum ^ term)
    });
    data.iter().copied().chain(recovery).collect()
}

/// Every piece must come back from the present ones.
///
/// One generic column would do for a linear code only if it caught all errors; `needed` independent columns
/// (the unit vectors) catch every one.
fn check_rebuilds(needed: u8, total: u8, present: &[u8]) {
    let wanted: Vec<u8> = (0..total).collect();
    let mut plan = Plan::new(needed);
    let coefficients = plan.coefficients(present.iter().copied(), wanted.iter().copied()).to_vec();
    for unit in 0..needed {
        let data: Vec<u8> = (0..needed).map(|index| u8::from(index == unit)).collect();
        let pieces = encode_column(needed, total, &data);
        for (piece, row) in pieces.iter().zip(coefficients.chunks(present.len())) {
            let rebuilt = present
                .iter()
                .zip(row)
                .fold(0, |sum, (&index, &factor)| sum ^ slow_mul(factor, pieces[usize::from(index)]));
            assert_eq!(rebuilt, *piece, "{needed} of {total}, present {present:?}");
        }
    }
}

#[test]
fn any_needed_pieces_of_small_schemes_rebuild_all() {
    for total in 2..=10_u8 {
        for needed in 1..total {
            for set in 0..1_u32 << total {
                if set.count_ones() == u32::from(needed) {
                    let present: Vec<u8> = (0..total).filter(|index| set >> index & 1 == 1).collect();
                    check_rebuilds(needed, total, &present);
                }
            }
        }
    }
}

#[test]
fn every_square_of_the_largest_recovery_matrix_of_one_or_two_rows_is_invertible() {
    for needed in 1..=32_u8 {
        for a in needed..64 {
            for i in 0..needed {
                assert_ne!(coefficient(needed, a, i), 0);
                for b in a + 1..64 {
                    for j in i + 1..needed {
                        let [ai, aj, bi, bj] =
                            [(a, i), (a, j), (b, i), (b, j)].map(|(p, d)| coefficient(needed, p, d));
                        assert_ne!(
                            mul(ai, bj) ^ mul(aj, bi),
                            0,
                            "needed {needed} rows {a} {b} columns {i} {j}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn first_recovery_piece_is_the_xor_of_the_data() {
    for needed in 1..=32 {
        assert!((0..needed).all(|data| coefficient(needed, needed, data) == 1));
    }
}

#[test]
fn recovery_rows_do_not_depend_on_total() {
    let narrow = recovery_rows(Scheme::new(Codec::Gf8, 8, 16).unwrap());
    let wide = recovery_rows(Scheme::new(Codec::Gf8, 8, 20).unwrap());
    assert_eq!(narrow, wide[..narrow.len()]);
}

#[test]
fn a_plan_follows_a_change_of_present_or_wanted() {
    let mut plan = Plan::new(2);
    let first = plan.coefficients([0, 2].into_iter(), [1].into_iter()).to_vec();
    assert_eq!(first, [1, 1], "the first recovery piece is the xor");
    assert_eq!(plan.coefficients([1, 2].into_iter(), [1].into_iter()), [1, 0]);
    assert_eq!(plan.coefficients([1, 2].into_iter(), [2, 0].into_iter()), [0, 1, 1, 1]);
    assert_eq!(plan.coefficients([0, 2].into_iter(), [1].into_iter()), first);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn random_losses_of_real_schemes_rebuild(
        (needed, total, present) in prop_oneof![
            Just((8_u8, 20_u8)), Just((10, 20)), Just((8, 16)), Just((29, 51)), Just((32, 64)), Just((1, 64)),
        ].prop_flat_map(|(needed, total)| {
            let all: Vec<u8> = (0..total).collect();
            (Just(needed), Just(total), subsequence(all, usize::from(needed)).prop_shuffle())
        })
    ) {
        check_rebuilds(needed, total, &present);
    }
}
