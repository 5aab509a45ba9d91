//! CARs that arrive in pieces: both versions, cut at every byte, and headers that lie.

use std::fs;

use bytes::Bytes;
use proptest::prelude::*;

use super::{block, car};
use crate::block::{BLOCK_MAX, Block};
use crate::car::{CarDecoder, CarError, CarReader, HEADER_MAX, frame_prefix, header};
use crate::cid::{Cid, Codec};
use crate::tests::damage::{damage, edits};
use crate::tests::fixture_cars;

/// What a CAR had until it ended: its roots, its blocks, and whether the end was one.
type Outcome = (Option<Vec<Cid>>, Vec<Block>, Result<(), CarError>);

/// Reads a CAR that arrives in pieces of these lengths, the last of them again and again.
fn read(bytes: &[u8], pieces: &[usize]) -> Outcome {
    let mut decoder = CarDecoder::new();
    let mut blocks = Vec::new();
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut pieces = pieces.iter().copied().chain(std::iter::repeat(*pieces.last().unwrap()));
    let mut result = Ok(());
    while result.is_ok() && !rest.is_empty() {
        decoder.push(rest.split_to(pieces.next().unwrap().min(rest.len())));
        result = loop {
            match decoder.next_block() {
                Ok(Some(block)) => blocks.push(block),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
    }
    let end = decoder.finish();
    if let Err(error) = result {
        assert_eq!((end, decoder.next_block()), (Err(error.clone()), Err(error.clone())), "it stays broken");
        return (decoder.roots().map(<[_]>::to_vec), blocks, Err(error));
    }
    (decoder.roots().map(<[_]>::to_vec), blocks, end)
}

/// The head of version 2.
fn v2_head(data_at: u64, data_len: u64, index_at: u64) -> Vec<u8> {
    let mut out = hex::decode("0aa16776657273696f6e02").unwrap();
    // Kubo's library sets the first bit when the index is complete.
    out.extend([0x80; 16]);
    for number in [data_at, data_len, index_at] {
        out.extend(number.to_le_bytes());
    }
    out
}

/// A CAR of version 2 with padding on both sides of the data and maybe an index.
fn v2(v1: &[u8], padding: usize, index: &[u8]) -> Vec<u8> {
    let (data_at, data_len) = (51 + padding, v1.len());
    let index_at = if index.is_empty() { 0 } else { data_at + data_len + padding };
    let mut out = v2_head(data_at as u64, data_len as u64, index_at as u64);
    out.extend(vec![0xff; padding]);
    out.extend(v1);
    out.extend(vec![0; padding]);
    out.extend(index);
    out
}

#[test]
fn real_cars_of_either_version() {
    for path in fixture_cars() {
        let bytes = Bytes::from(fs::read(&path).unwrap());
        let reader = CarReader::new(&bytes).unwrap();
        let roots = reader.roots().to_vec();
        let blocks: Vec<_> = reader.blocks().collect::<Result<_, _>>().unwrap();
        for pieces in [1, 37, 4096, bytes.len()] {
            let expected = (Some(roots.clone()), blocks.clone(), Ok(()));
            assert_eq!(read(&bytes, &[pieces]), expected, "{}", path.display());
            assert_eq!(read(&v2(&bytes, 0, b""), &[pieces]), expected);
            assert_eq!(read(&v2(&bytes, 77, b"an index"), &[pieces]), expected);
        }
    }
}

#[test]
fn blocks_are_not_verified() {
    let wrong = Block { bytes: Bytes::from_static(b"bed"), ..block(b"bad") };
    let (_, blocks, end) = read(&car(&[], std::slice::from_ref(&wrong)), &[7]);
    assert_eq!((&blocks[..], end), (&[wrong][..], Ok(())));
    assert!(blocks[0].cid.verify(&blocks[0].bytes).is_err());
}

#[test]
fn roots_are_known_before_blocks() {
    let (a, b) = (block(b"a"), block(b"b"));
    let bytes = car(&[a.cid.clone(), b.cid.clone()], std::slice::from_ref(&a));
    let mut decoder = CarDecoder::new();
    assert_eq!(decoder.roots(), None);
    decoder.push(Bytes::from(header(&[a.cid.clone(), b.cid.clone()])));
    assert_eq!((decoder.next_block(), decoder.roots()), (Ok(None), Some(&[a.cid.clone(), b.cid][..])));
    assert_eq!(decoder.finish(), Ok(()));
    assert_eq!(read(&header(&[]), &[5]), (Some(vec![]), vec![], Ok(())));
    assert_eq!(read(&bytes, &[1]).1, [a]);
}

#[test]
fn a_block_shares_the_memory_of_its_piece() {
    let bytes = car(&[], &[block(b"some bytes")]);
    let mut decoder = CarDecoder::new();
    decoder.push(bytes.clone());
    let found = decoder.next_block().unwrap().unwrap();
    assert!(bytes.as_ptr_range().contains(&found.bytes.as_ptr()));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_there() {
    let cid = block(b"").cid;
    let mut too_large = header(&[]);
    let at = too_large.len() as u64;
    too_large.extend(frame_prefix(&cid, BLOCK_MAX));
    assert_eq!(read(&too_large, &[1]).2, Err(CarError::Truncated(too_large.len() as u64)));
    too_large[usize::try_from(at).unwrap()] += 1;
    let len = (BLOCK_MAX + 1 + cid.as_bytes().len()) as u64;
    assert_eq!(read(&too_large, &[1]).2, Err(CarError::SectionLength { offset: at, len }));

    let mut long_header = Vec::new();
    crate::varint::push(&mut long_header, HEADER_MAX as u64 + 1);
    long_header.extend([0; 20]);
    assert!(matches!(read(&long_header, &[1]).2, Err(CarError::HeaderTooLong(_))));
}

#[test]
fn sections_of_no_bytes_are_refused() {
    let mut bytes = car(&[], &[block(b"x")]).to_vec();
    let end = bytes.len() as u64;
    bytes.extend([0; 10]);
    let (_, blocks, result) = read(&bytes, &[3]);
    assert_eq!((blocks.len(), result), (1, Err(CarError::SectionLength { offset: end, len: 0 })));
}

#[test]
fn headers_of_version_2_that_lie_are_refused() {
    let v1 = car(&[], &[block(b"first"), block(b"second")]);
    let len = v1.len() as u64;
    let result = |data_at, data_len, index_at| {
        let bytes = [v2_head(data_at, data_len, index_at), v1.to_vec(), vec![1; 30]].concat();
        read(&bytes, &[9]).2
    };
    assert_eq!(result(51, len, 0), Ok(()));
    for (data_at, data_len, index_at) in [
        (0, 0, 0),
        (0, len, 0),
        (50, len, 0),
        (51, 0, 0),
        (u64::MAX, len, 0),
        (51, u64::MAX, 0),
        (51, len, 1),
        (51, len, 50 + len),
    ] {
        let expected = Err(CarError::Layout { data_at, data_len, index_at });
        assert_eq!(result(data_at, data_len, index_at), expected);
    }
    // Data that ends within its header, within its last section, or not with a section.
    for short in [1, 10, len - 1, len - 7, len - 40] {
        assert!(matches!(result(51, short, 0), Err(CarError::Overrun { .. })), "{short}");
    }
    assert!(result(51, len + 1, 0).is_err());
    // Data that begins elsewhere, and an index that never comes.
    assert!(result(52, len, 0).is_err());
    assert!(matches!(result(5000, len, 0), Err(CarError::Truncated(_))));
    assert!(matches!(result(51, len, 51 + len + 30), Err(CarError::Truncated(_))));
    assert_eq!(result(51, len, 51 + len + 29), Ok(()));
    // Version 2 within version 2.
    let nested = v2(&v2(&v1, 0, b""), 0, b"");
    assert_eq!(read(&nested, &[100]).2, Err(CarError::Version(2)));
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let data = proptest::collection::vec(any::<u8>(), 0..300);
    let block = (data, any::<bool>()).prop_map(|(data, is_identity)| {
        let short = &data[..data.len().min(100)];
        if is_identity {
            Block::from_identity(Cid::identity(Codec::Raw, short).unwrap()).unwrap()
        } else {
            block(&data)
        }
    });
    proptest::collection::vec(block, 0..6)
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        blocks in blocks(),
        pieces in proptest::collection::vec(1..200_usize, 1..20),
        padding in 0..80_usize,
        index in proptest::collection::vec(any::<u8>(), 0..30),
    ) {
        let roots: Vec<_> = blocks.iter().map(|block| block.cid.clone()).take(3).collect();
        let v1 = car(&roots, &blocks);
        let expected = (Some(roots), blocks, Ok(()));
        prop_assert_eq!(read(&v1, &pieces), expected.clone());
        prop_assert_eq!(read(&v2(&v1, padding, &index), &pieces), expected);
    }

    #[test]
    fn every_cut_is_noticed(blocks in blocks(), piece in 1..50_usize, padding in 0..4_usize, with_index in any::<bool>()) {
        let v1 = car(&[], &blocks);
        let mut clean = vec![header(&[]).len()];
        for block in &blocks {
            clean.push(clean.last().unwrap() + super::frame_len(&block.cid, block.bytes.len()));
        }
        for end in 0..=v1.len() {
            let (_, read, result) = read(&v1[..end], &[piece]);
            let expected =
                if clean.contains(&end) { Ok(()) } else { Err(CarError::Truncated(end as u64)) };
            prop_assert_eq!(result, expected);
            prop_assert_eq!(&read[..], &blocks[..read.len()]);
        }
        let index: &[u8] = if with_index { b"the index" } else { b"" };
        let bytes = v2(&v1, padding, index);
        // All data is there, and the beginning of the index if there is one.
        let whole = if with_index { bytes.len() - index.len() + 1 } else { 51 + padding + v1.len() };
        for end in 0..=bytes.len() {
            let (_, read, result) = read(&bytes[..end], &[piece]);
            let expected = if end >= whole { Ok(()) } else { Err(CarError::Truncated(end as u64)) };
            prop_assert_eq!(result, expected);
            prop_assert_eq!(&read[..], &blocks[..read.len()]);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        start in 0..4,
        numbers in any::<[u64; 3]>(),
        tail in proptest::collection::vec(any::<u8>(), 0..300),
        piece in 1..100_usize,
    ) {
        let start = match start {
            0 => Vec::new(),
            1 => header(&[]),
            2 => v2_head(numbers[0] % 100, numbers[1] % 300, numbers[2] % 400),
            _ => v2_head(numbers[0], numbers[1], numbers[2]),
        };
        let bytes = [start, tail].concat();
        let (_, blocks, _) = read(&bytes, &[piece]);
        let held: usize = blocks.iter().map(|block| block.cid.as_bytes().len() + block.bytes.len()).sum();
        prop_assert!(held <= bytes.len() + 2 * blocks.len());
    }

    #[test]
    fn damage_never_panics_and_comes_out_alike_in_all_pieces(
        blocks in blocks(),
        padding in 0..10_usize,
        edits in edits(),
        is_v2 in any::<bool>(),
        piece in 1..100_usize,
    ) {
        let v1 = car(&[], &blocks);
        let mut bytes = if is_v2 { v2(&v1, padding, b"index") } else { v1.to_vec() };
        damage(&mut bytes, &edits);
        let whole = read(&bytes, &[bytes.len()]);
        let pieces = read(&bytes, &[piece]);
        prop_assert_eq!((&pieces.0, &pieces.1), (&whole.0, &whole.1));
        prop_assert_eq!(pieces.2.is_ok(), whole.2.is_ok());
    }
}
