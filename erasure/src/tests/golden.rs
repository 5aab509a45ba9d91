//! Stored pieces outlive every version of this code: these bytes must never change.
//!
//! The figures of gf8 were computed by a separate program from the formulas in `gf8/matrix.rs` and the
//! layout's description; those of rs16 are what reed-solomon-simd 3.1.0 gave, whose fast engines are held to
//! its plain one here.

use reed_solomon_simd::{
    engine::Naive,
    rate::{DefaultRateEncoder, RateEncoder},
};

use super::*;

/// FNV-1a of 64 bits, enough to notice a change.
fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

/// The pieces of 8 of 20 of a segment of one full row and a short one.
fn pieces(codec: Codec) -> Vec<Vec<u8>> {
    Encoder::new(scheme(codec, 8, 20)).encode(&noise(8 * UNIT + 1000, 42)).unwrap()
}

fn check(codec: Codec, digests: &[(usize, u64)], last_starts: [u8; 16]) {
    let pieces = pieces(codec);
    assert_eq!(pieces[19][..16], last_starts, "{codec}: {:02X?}", &pieces[19][..16]);
    let found: Vec<(usize, u64)> =
        digests.iter().map(|&(index, _)| (index, digest(&pieces[index]))).collect();
    assert_eq!(found, digests, "{codec}: {found:X?}");
}

#[test]
fn pieces_of_gf8_stay_what_they_were() {
    check(
        Codec::Gf8,
        &[
            (0, 0xAE9C_1EA2_B221_4A8E),
            (7, 0x5986_39B5_5F03_F3DB),
            (8, 0x270D_1203_6A0C_BCC5),
            (9, 0xB018_88E6_399F_04E3),
            (19, 0xF790_8146_EF15_7E35),
        ],
        [0x53, 0xB7, 0xA0, 0x0E, 0xE6, 0x44, 0x31, 0x43, 0xD6, 0x31, 0xFA, 0x68, 0xF9, 0x4C, 0x07, 0xC8],
    );
}

#[test]
fn pieces_of_rs16_stay_what_they_were() {
    check(
        Codec::Rs16,
        &[
            (0, 0xAE9C_1EA2_B221_4A8E),
            (7, 0x5986_39B5_5F03_F3DB),
            (8, 0x0201_CC24_9034_B80B),
            (9, 0xFCEC_ECA1_930D_BD90),
            (19, 0x3BE6_1140_E18C_64AA),
        ],
        [0x37, 0x4F, 0x9E, 0x54, 0x4C, 0xC3, 0x8A, 0x44, 0xC0, 0xDD, 0x65, 0xF4, 0xF3, 0x7E, 0x2A, 0x5D],
    );
}

#[test]
fn pieces_of_rs16_do_not_depend_on_the_processor() {
    let pieces = Encoder::new(scheme(Codec::Rs16, 8, 20)).encode(&noise(8 * 320, 6)).unwrap();
    let mut plain = DefaultRateEncoder::new(8, 12, 320, Naive::new(), None).unwrap();
    for piece in &pieces[..8] {
        plain.add_original_shard(piece).unwrap();
    }
    let coded = plain.encode().unwrap();
    assert!(coded.recovery_iter().eq(pieces[8..].iter().map(Vec::as_slice)));
}
