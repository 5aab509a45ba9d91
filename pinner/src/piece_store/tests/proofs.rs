//! Slices: equal to what `bao-tree` encodes, and refused after any change.

use std::io;

use bao_tree::{
    BaoTree, ChunkNum, ChunkRanges,
    blake3::Hash,
    io::{outboard::PreOrderMemOutboard, sync::encode_ranges_validated},
};
use proptest::prelude::*;

use super::*;
use crate::piece_store::{
    outboard::{OutboardBuilder, TooLong, hash_piece},
    proof::{BLOCK_SIZE, EncodeError, SliceSource, encode_slice, outboard_len},
    read::copy,
};

struct Memory {
    data: Vec<u8>,
    outboard: Vec<u8>,
}

impl SliceSource for Memory {
    fn read_data(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        copy(&self.data, offset, out)
    }

    fn read_outboard(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        copy(&self.outboard, offset, out)
    }
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    ChaCha8Rng::seed_from_u64(seed).fill(&mut data[..]);
    data
}

fn memory(seed: u64, len: usize) -> (PieceHash, Memory) {
    let data = bytes(seed, len);
    let (hash, outboard) = hash_piece(&data).unwrap();
    (hash, Memory { data, outboard })
}

fn encode(hash: PieceHash, source: &Memory, range: std::ops::Range<u64>) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode_slice(hash, source.data.len() as u64, source, &range, &mut |part| {
        out.extend_from_slice(&part);
        Ok(())
    })?;
    Ok(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn outboards_equal_those_of_bao_tree(len in 1_usize..200_000, parts in 1_usize..40_000, seed: u64) {
        let data = bytes(seed, len);
        let reference = PreOrderMemOutboard::create(&data, BLOCK_SIZE);
        let mut builder = OutboardBuilder::new(len as u64);
        for part in data.chunks(parts) {
            builder.update(part).unwrap();
        }
        prop_assert_eq!(builder.update(b"x"), Err(TooLong));
        let mut builder = OutboardBuilder::new(len as u64);
        for part in data.chunks(parts) {
            builder.update(part).unwrap();
        }
        let (hash, outboard) = builder.finish().unwrap();
        prop_assert_eq!(Hash::from(hash.0), reference.root);
        prop_assert_eq!(hash, PieceHash::of(&data));
        prop_assert_eq!(outboard.len() as u64, outboard_len(len as u64));
        prop_assert_eq!(outboard, reference.data);
    }

    #[test]
    fn slices_equal_those_of_bao_tree(len in 1_u64..300_000, from: u64, to: u64, align: bool, seed: u64) {
        let (hash, source) = memory(seed, usize::try_from(len).unwrap());
        let step = if align { 16_384 } else { 1 };
        let start = from % len / step * step;
        let end = (start + 1 + to % (len - start)).next_multiple_of(step).min(len);
        let encoded = encode(hash, &source, start..end).unwrap();
        let tree = BaoTree::new(len, BLOCK_SIZE);
        let outboard = PreOrderMemOutboard { root: Hash::from(hash.0), tree, data: &source.outboard[..] };
        let chunks = ChunkRanges::from(ChunkNum::full_chunks(start)..ChunkNum::chunks(end));
        let mut reference = Vec::new();
        encode_ranges_validated(&source.data[..], outboard, &chunks, &mut reference).unwrap();
        prop_assert_eq!(&encoded, &reference);
        prop_assert_eq!(encoded_len(len, &(start..end)), encoded.len() as u64);
        let verified = verify_slice(hash, len, start..end, &encoded[..]).unwrap();
        let expected = &source.data[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()];
        prop_assert_eq!(&verified[..], expected);
    }
}

#[test]
fn every_changed_byte_and_every_cut_is_refused() {
    for (len, range) in
        [(1000, 3..900), (5000, 2000..2100), (40_000, 20_000..20_100), (70_000, 16_384..32_768)]
    {
        let (hash, source) = memory(9, len);
        let len = len as u64;
        let slice = encode(hash, &source, range.clone()).unwrap();
        for at in 0..slice.len() {
            let mut changed = slice.clone();
            changed[at] ^= 0x10;
            let refused = verify_slice(hash, len, range.clone(), &changed[..]);
            assert!(refused.is_err(), "byte {at} of {len}");
        }
        for cut in (0..slice.len()).step_by(7) {
            let refused = verify_slice(hash, len, range.clone(), &slice[..cut]);
            assert!(refused.is_err(), "cut at {cut}");
        }
        let longer = [&slice[..], &[0]].concat();
        assert!(verify_slice(hash, len, range.clone(), &longer[..]).is_err());
        assert!(verify_slice(hash, len, 0..0, &slice[..]).is_err());
        assert!(verify_slice(hash, len, 0..len + 1, &slice[..]).is_err());
        assert!(verify_slice(PieceHash([1; 32]), len, range.clone(), &slice[..]).is_err());
    }
}

#[test]
fn a_slice_is_refused_for_any_other_range_or_length() {
    let (hash, source) = memory(10, 100_000);
    let slice = encode(hash, &source, 20_000..30_000).unwrap();
    for range in [0..10_000, 20_000..50_000, 40_000..50_000, 16_384..32_768, 99_000..100_000] {
        assert!(verify_slice(hash, 100_000, range.clone(), &slice[..]).is_err(), "{range:?}");
    }
    for len in [30_000, 60_000, 200_000, 1 << 20] {
        assert!(verify_slice(hash, len, 20_000..30_000, &slice[..]).is_err(), "{len}");
    }
    // A length with a tree of the same shape up there gives the same bytes, and is found out at the last chunk.
    assert_eq!(verify_slice(hash, 99_000, 20_000..30_000, &slice[..]).unwrap(), source.data[20_000..30_000]);
    let last = encode(hash, &source, 99_990..100_000).unwrap();
    assert!(verify_slice(hash, 99_999, 99_990..99_999, &last[..]).is_err());
}

#[test]
fn damaged_bytes_are_never_encoded() {
    let (hash, source) = memory(11, 150_000);
    let whole = encode(hash, &source, 0..150_000).unwrap();
    for at in (0..150_000).step_by(4999) {
        let mut data = source.data.clone();
        data[at] ^= 1;
        let damaged = Memory { data, outboard: source.outboard.clone() };
        let mut out = Vec::new();
        let result = encode_slice(hash, 150_000, &damaged, &(0..150_000), &mut |part| {
            out.extend_from_slice(&part);
            Ok(())
        });
        assert!(matches!(result, Err(EncodeError::Mismatch { .. })));
        assert!(whole.starts_with(&out));
        let at = at as u64;
        assert!(encode(hash, &damaged, at..at + 1).is_err());
    }
    for at in 0..source.outboard.len() {
        let mut outboard = source.outboard.clone();
        outboard[at] ^= 1;
        let damaged = Memory { data: source.data.clone(), outboard };
        assert!(
            matches!(encode(hash, &damaged, 0..150_000), Err(EncodeError::Mismatch { .. })),
            "outboard byte {at}"
        );
    }
    let mut short = Memory { data: source.data.clone(), outboard: Vec::new() };
    assert!(matches!(encode(hash, &short, 0..10), Err(EncodeError::Source(_))));
    assert!(matches!(encode(hash, &short, 0..150_000), Err(EncodeError::Source(_))));
    short.outboard.clone_from(&source.outboard);
    short.data.truncate(140_000);
    let cut = encode_slice(hash, 150_000, &short, &(0..150_000), &mut |_| Ok(()));
    assert!(matches!(cut, Err(EncodeError::Source(_))));
}

#[test]
fn a_short_range_of_a_long_piece_touches_kilobytes() {
    struct Counting(Memory, std::cell::Cell<u64>);
    impl SliceSource for Counting {
        fn read_data(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.1.set(self.1.get() + out.len() as u64);
            self.0.read_data(offset, out)
        }

        fn read_outboard(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.1.set(self.1.get() + out.len() as u64);
            self.0.read_outboard(offset, out)
        }
    }
    let (hash, source) = memory(12, 4 << 20);
    let source = Counting(source, std::cell::Cell::new(0));
    let mut sent = 0;
    encode_slice(hash, 4 << 20, &source, &(3_000_320..3_001_344), &mut |part| {
        sent += part.len();
        Ok(())
    })
    .unwrap();
    assert!(source.1.get() <= 16_384 + 8 * 64, "{}", source.1.get());
    assert!(sent <= 2 * 1024 + 13 * 64, "{sent}");
}
