//! Wrong inputs give errors, never panics, and errors name what was wrong.

use super::*;

fn encode(scheme: Scheme, data: &[&[u8]], recovery_lens: &[usize]) -> Result<(), CodingError> {
    let mut outputs: Vec<Vec<u8>> = recovery_lens.iter().map(|&len| vec![0; len]).collect();
    let mut slices: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    Encoder::new(scheme).encode_row(data, &mut slices)
}

fn rebuild(scheme: Scheme, present: &[(u8, usize)], wanted: &[(u8, usize)]) -> Result<(), CodingError> {
    let bytes = [0; 256];
    let present: Vec<(u8, &[u8])> = present.iter().map(|&(piece, len)| (piece, &bytes[..len])).collect();
    let mut outputs: Vec<(u8, Vec<u8>)> = wanted.iter().map(|&(piece, len)| (piece, vec![0; len])).collect();
    let mut wanted: Vec<(u8, &mut [u8])> =
        outputs.iter_mut().map(|(piece, bytes)| (*piece, bytes.as_mut_slice())).collect();
    Decoder::new(scheme).rebuild(&present, &mut wanted)
}

#[test]
fn schemes_outside_the_limits_are_refused() {
    for codec in Codec::ALL {
        assert_eq!(Scheme::new(codec, 0, 3), Err(SchemeError::Needed { needed: 0 }));
        assert_eq!(Scheme::new(codec, 33, 40), Err(SchemeError::Needed { needed: 33 }));
        assert_eq!(Scheme::new(codec, 8, 8), Err(SchemeError::Total { needed: 8, total: 8 }));
        assert_eq!(Scheme::new(codec, 8, 65), Err(SchemeError::Total { needed: 8, total: 65 }));
        assert!(Scheme::new(codec, 1, 2).is_ok() && Scheme::new(codec, 32, 64).is_ok());
    }
    let message = SchemeError::Total { needed: 8, total: 65 }.to_string();
    assert_eq!(message, "total is 65, must be above needed (8) and at most 64");
}

#[test]
fn codec_names_are_read_back_and_others_refused() {
    for codec in Codec::ALL {
        assert_eq!(codec.to_string().parse(), Ok(codec));
    }
    assert_eq!("RS16".parse::<Codec>(), Err(UnknownCodec("RS16".to_owned())));
}

#[test]
fn encoding_refuses_wrong_counts_and_lengths() {
    for codec in Codec::ALL {
        let scheme = scheme(codec, 2, 4);
        let (a, b) = ([0; 64], [0; 128]);
        assert_eq!(
            encode(scheme, &[&a], &[64, 64]),
            Err(CodingError::Count { what: "data", expected: 2, found: 1 })
        );
        assert_eq!(
            encode(scheme, &[], &[64, 64]),
            Err(CodingError::Count { what: "data", expected: 2, found: 0 })
        );
        assert_eq!(
            encode(scheme, &[&a, &a], &[64]),
            Err(CodingError::Count { what: "recovery", expected: 2, found: 1 })
        );
        assert_eq!(
            encode(scheme, &[&a, &b], &[64, 64]),
            Err(CodingError::Length { piece: 1, expected: 64, found: 128 })
        );
        assert_eq!(
            encode(scheme, &[&a, &a], &[64, 128]),
            Err(CodingError::Length { piece: 3, expected: 64, found: 128 })
        );
        assert_eq!(
            encode(scheme, &[&a[..62], &a[..62]], &[62, 62]),
            Err(CodingError::Misaligned { len: 62 })
        );
        assert_eq!(encode(scheme, &[&[], &[]], &[0, 0]), Ok(()));
    }
}

#[test]
fn rebuilding_refuses_wrong_counts_indices_and_lengths() {
    for codec in Codec::ALL {
        let scheme = scheme(codec, 2, 4);
        let count = |found| Err(CodingError::Count { what: "present", expected: 2, found });
        assert_eq!(rebuild(scheme, &[], &[(0, 64)]), count(0));
        assert_eq!(rebuild(scheme, &[(1, 64)], &[(0, 64)]), count(1));
        assert_eq!(rebuild(scheme, &[(1, 64), (2, 64), (3, 64)], &[(0, 64)]), count(3));
        assert_eq!(
            rebuild(scheme, &[(1, 64), (4, 64)], &[(0, 64)]),
            Err(CodingError::UnknownPiece { piece: 4, total: 4 })
        );
        assert_eq!(
            rebuild(scheme, &[(1, 64), (2, 64)], &[(255, 64)]),
            Err(CodingError::UnknownPiece { piece: 255, total: 4 })
        );
        assert_eq!(
            rebuild(scheme, &[(1, 64), (1, 64)], &[(0, 64)]),
            Err(CodingError::Duplicate { piece: 1 })
        );
        assert_eq!(
            rebuild(scheme, &[(1, 64), (2, 64)], &[(0, 64), (0, 64)]),
            Err(CodingError::Duplicate { piece: 0 })
        );
        assert_eq!(
            rebuild(scheme, &[(1, 64), (2, 128)], &[(0, 64)]),
            Err(CodingError::Length { piece: 2, expected: 64, found: 128 })
        );
        assert_eq!(
            rebuild(scheme, &[(1, 64), (2, 64)], &[(0, 128)]),
            Err(CodingError::Length { piece: 0, expected: 64, found: 128 })
        );
        assert_eq!(
            rebuild(scheme, &[(1, 100), (2, 100)], &[(0, 100)]),
            Err(CodingError::Misaligned { len: 100 })
        );
        assert_eq!(rebuild(scheme, &[(1, 64), (2, 64)], &[]), Ok(()));
        assert_eq!(rebuild(scheme, &[(1, 0), (2, 0)], &[(0, 0), (3, 0)]), Ok(()));
    }
}

#[test]
fn decoding_checks_lengths_before_it_allocates() {
    for codec in Codec::ALL {
        let mut decoder = Decoder::new(scheme(codec, 2, 4));
        let piece = [0; 64];
        let present: [(u8, &[u8]); 2] = [(1, &piece), (2, &piece)];
        // 2^64 - 1 bytes would end the process if anything of that size were reserved first.
        for segment_len in [0, 129, u64::MAX] {
            let refused = decoder.decode(segment_len, &present);
            assert!(matches!(refused, Err(CodingError::Length { piece: 1, found: 64, .. })), "{refused:?}");
        }
        assert_eq!(
            decoder.decode(100, &present[..1]),
            Err(CodingError::Count { what: "present", expected: 2, found: 1 })
        );
        assert_eq!(
            decoder.decode(u64::MAX, &[]),
            Err(CodingError::Count { what: "present", expected: 2, found: 0 })
        );
        assert_eq!(decoder.decode(100, &present), Ok(vec![0; 100]));
    }
}

#[test]
fn a_coder_works_on_after_a_refusal() {
    for codec in Codec::ALL {
        let scheme = scheme(codec, 2, 4);
        let segment = noise(1000, 5);
        let mut encoder = Encoder::new(scheme);
        let expected = encoder.encode(&segment).unwrap();
        assert!(encoder.encode_row(&[&[0; 64]], &mut []).is_err());
        assert_eq!(encoder.encode(&segment).unwrap(), expected);

        let mut decoder = Decoder::new(scheme);
        let whole = 0..expected[0].len();
        check_rebuild(&mut decoder, &expected, &[1, 2], &[0], &whole);
        assert!(decoder.rebuild(&pick(&expected, &[1, 9 % 4], &whole), &mut []).is_err());
        check_rebuild(&mut decoder, &expected, &[3, 2], &[0, 1], &whole);
    }
}
