//! The crate as its users see it: whole segments, sub-ranges, refusals, and the bytes that must never change.

use std::ops::Range;

use proptest::{
    prelude::*,
    sample::{Index, subsequence},
};

use crate::{COLUMN, Codec, CodingError, Decoder, Encoder, Kernel, Scheme, SchemeError, UNIT, UnknownCodec};

mod allocation;
mod golden;
mod refusals;

/// Bytes without pattern, the same for the same seed (`SplitMix64`).
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).to_le_bytes()
    });
    words.flatten().take(len).collect()
}

fn scheme(codec: Codec, needed: u8, total: u8) -> Scheme {
    Scheme::new(codec, needed, total).unwrap()
}

/// Picks pieces out of all, cut to columns.
fn pick<'a>(pieces: &'a [Vec<u8>], indices: &[u8], columns: &Range<usize>) -> Vec<(u8, &'a [u8])> {
    indices.iter().map(|&index| (index, &pieces[usize::from(index)][columns.clone()])).collect()
}

/// Rebuilds `wanted` in `columns` from `present` and compares with the truth.
fn check_rebuild(
    decoder: &mut Decoder,
    pieces: &[Vec<u8>],
    present: &[u8],
    wanted: &[u8],
    columns: &Range<usize>,
) {
    let mut outputs = vec![vec![0xEE; columns.len()]; wanted.len()];
    let mut slices: Vec<(u8, &mut [u8])> =
        wanted.iter().copied().zip(outputs.iter_mut().map(Vec::as_mut_slice)).collect();
    decoder.rebuild(&pick(pieces, present, columns), &mut slices).unwrap();
    for (&index, output) in wanted.iter().zip(&outputs) {
        assert!(
            *output == pieces[usize::from(index)][columns.clone()],
            "{:?}: piece {index} columns {columns:?} from {present:?}",
            decoder.scheme()
        );
    }
}

/// Lengths at which something about the layout changes.
fn interesting_lengths(needed: u8) -> Vec<usize> {
    let row = UNIT * usize::from(needed);
    vec![
        1,                            // less than a byte per piece
        63,                           // just under a column
        64,                           // a column
        65,                           // just over
        COLUMN * usize::from(needed), // a column in each piece, no padding
        row - 1,                      // the last unit is a full one, padded by a byte
        row,                          // a whole row, no row behind it
        row + 1,                      // a second row of one byte
        2 * row + 12_345,             // several rows
    ]
}

#[test]
fn interesting_lengths_come_back_from_the_recovery_pieces() {
    for codec in Codec::ALL {
        for (needed, total) in [(1, 2), (2, 3), (3, 7), (4, 8), (8, 20)] {
            let scheme = scheme(codec, needed, total);
            let (mut encoder, mut decoder) = (Encoder::new(scheme), Decoder::new(scheme));
            for len in interesting_lengths(needed) {
                let segment = noise(len, len as u64);
                let pieces = encoder.encode(&segment).unwrap();
                assert_eq!(pieces.len(), usize::from(total));
                // The last `needed` pieces: as many recovery pieces as there are.
                let present: Vec<u8> = (total - needed..total).rev().collect();
                let whole = 0..pieces[0].len();
                assert!(decoder.decode(len as u64, &pick(&pieces, &present, &whole)).unwrap() == segment);
                let all: Vec<u8> = (0..total).collect();
                check_rebuild(&mut decoder, &pieces, &present, &all, &whole);
            }
        }
    }
}

#[test]
fn data_pieces_are_plain_slices_and_padding_is_zero() {
    let scheme = scheme(Codec::Gf8, 3, 5);
    let segment = noise(3 * UNIT + 1000, 1);
    let pieces = Encoder::new(scheme).encode(&segment).unwrap();
    assert_eq!(pieces[1][..UNIT], segment[UNIT..2 * UNIT]);
    // The last row: ceil(1000 / 3) rounded up to 384 bytes per unit.
    assert_eq!(pieces[0][UNIT..], segment[3 * UNIT..][..384]);
    assert_eq!(pieces[2][UNIT..][..232], segment[3 * UNIT..][768..]);
    assert!(pieces[2][UNIT + 232..].iter().all(|&byte| byte == 0));
}

#[test]
fn an_empty_segment_has_empty_pieces() {
    for codec in Codec::ALL {
        let scheme = scheme(codec, 8, 20);
        let pieces = Encoder::new(scheme).encode(&[]).unwrap();
        assert_eq!(pieces, vec![Vec::<u8>::new(); 20]);
        let present: Vec<u8> = (12..20).collect();
        assert!(Decoder::new(scheme).decode(0, &pick(&pieces, &present, &(0..0))).unwrap().is_empty());
    }
}

#[test]
fn all_kernels_make_and_rebuild_the_same_pieces() {
    let scheme = scheme(Codec::Gf8, 10, 20);
    let segment = noise(10 * 640 + 77, 2);
    let expected = Encoder::new(scheme).encode(&segment).unwrap();
    for kernel in Kernel::available() {
        assert_eq!(Encoder::with_kernel(scheme, kernel).encode(&segment).unwrap(), expected, "{kernel}");
        let mut decoder = Decoder::with_kernel(scheme, kernel);
        let present = [19, 3, 17, 0, 11, 5, 13, 9, 15, 7];
        check_rebuild(&mut decoder, &expected, &present, &[1, 2, 10, 18], &(0..expected[0].len()));
    }
}

#[test]
fn recovery_pieces_of_gf8_do_not_depend_on_total() {
    let segment = noise(5000, 3);
    let narrow = Encoder::new(scheme(Codec::Gf8, 8, 16)).encode(&segment).unwrap();
    let wide = Encoder::new(scheme(Codec::Gf8, 8, 20)).encode(&segment).unwrap();
    assert_eq!(narrow, wide[..16]);
}

fn codecs() -> impl Strategy<Value = Codec> {
    proptest::sample::select(Codec::ALL.to_vec())
}

fn shapes() -> impl Strategy<Value = (u8, u8)> {
    prop_oneof![
        Just((8, 20)),
        Just((10, 20)),
        Just((8, 16)),
        (1..=32_u8).prop_flat_map(|needed| (Just(needed), needed + 1..=64)),
    ]
}

/// A scheme, a set of `needed` present pieces in any order, and some wanted ones.
fn losses() -> impl Strategy<Value = (Scheme, Vec<u8>, Vec<u8>)> {
    (codecs(), shapes()).prop_flat_map(|(codec, (needed, total))| {
        let all: Vec<u8> = (0..total).collect();
        let present = subsequence(all.clone(), usize::from(needed)).prop_shuffle();
        let wanted = subsequence(all, 0..=usize::from(total)).prop_shuffle();
        (Just(scheme(codec, needed, total)), present, wanted)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn any_loss_of_any_scheme_comes_back(
        (scheme, present, wanted) in losses(), len in 1_usize..40_000, seed: u64,
    ) {
        let segment = noise(len, seed);
        let pieces = Encoder::new(scheme).encode(&segment).unwrap();
        let mut decoder = Decoder::new(scheme);
        let whole = 0..pieces[0].len();
        prop_assert!(decoder.decode(len as u64, &pick(&pieces, &present, &whole)).unwrap() == segment);
        check_rebuild(&mut decoder, &pieces, &present, &wanted, &whole);
    }

    /// Column independence, across rows too: what the whole design of ranged reads rests on.
    #[test]
    fn any_run_of_columns_is_rebuilt_alone(
        (scheme, present, wanted) in losses(),
        cuts: (Index, Index),
        seed: u64,
    ) {
        // Three rows of units, the last one short.
        let segment = noise((2 * UNIT + 7 * COLUMN) * usize::from(scheme.needed()), seed);
        let pieces = Encoder::new(scheme).encode(&segment).unwrap();
        let places = pieces[0].len() / COLUMN + 1;
        let (a, b) = (cuts.0.index(places) * COLUMN, cuts.1.index(places) * COLUMN);
        check_rebuild(&mut Decoder::new(scheme), &pieces, &present, &wanted, &(a.min(b)..a.max(b)));
    }

    #[test]
    fn coding_in_runs_of_columns_equals_coding_whole(
        codec in codecs(), (needed, total) in shapes(), cut in 0_usize..=50, seed: u64,
    ) {
        let scheme = scheme(codec, needed, total);
        let len = 50 * COLUMN;
        let data: Vec<Vec<u8>> = (0..u64::from(needed)).map(|piece| noise(len, seed ^ piece)).collect();
        let mut encoder = Encoder::new(scheme);
        let mut encode = |columns: Range<usize>| {
            let inputs: Vec<&[u8]> = data.iter().map(|piece| &piece[columns.clone()]).collect();
            let mut outputs = vec![vec![0; columns.len()]; usize::from(scheme.recovery())];
            let mut slices: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            encoder.encode_row(&inputs, &mut slices).unwrap();
            outputs
        };
        let whole = encode(0..len);
        let left = encode(0..cut * COLUMN);
        let right = encode(cut * COLUMN..len);
        for ((whole, left), right) in whole.iter().zip(&left).zip(&right) {
            prop_assert_eq!(whole, &[left.as_slice(), right].concat());
        }
    }
}
