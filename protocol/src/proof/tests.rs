use bao_tree::{
    BaoTree, BlockSize, ByteRanges,
    io::{
        outboard::PostOrderMemOutboard,
        round_up_to_chunks,
        sync::{DecodeResponseIter, Outboard as _, encode_ranges_validated},
    },
};
use proptest::prelude::*;

use super::*;

const KIB: u64 = 1024;
const BLOCK_SIZE: BlockSize = BlockSize::from_chunk_log(4);

fn bytes(len: u64) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(b"piece").finalize_xof();
    let mut data = vec![0; usize::try_from(len).unwrap()];
    reader.fill(&mut data);
    data
}

fn part(data: &[u8], range: &Range<u64>) -> Vec<u8> {
    data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
}

struct Piece {
    data: Vec<u8>,
    hash: PieceHash,
    outboard: Vec<u8>,
}

impl Piece {
    fn new(len: u64) -> Self {
        let data = bytes(len);
        let (hash, outboard) = outboard(&data);
        Self { data, hash, outboard }
    }

    fn len(&self) -> u64 {
        self.data.len() as u64
    }

    fn slice(&self, range: &Range<u64>) -> Vec<u8> {
        let mut slice = Vec::new();
        encode_slice(&self.data[..], &self.outboard[..], self.hash, self.len(), range, &mut slice).unwrap();
        slice
    }

    fn verify(&self, range: &Range<u64>, slice: &[u8]) -> Result<Vec<u8>, ProofError> {
        verify_slice(self.hash, self.len(), range.clone(), slice)
    }
}

/// Lengths around every edge of the format.
const LENGTHS: &[u64] = &[
    1,              // smallest piece
    KIB - 1,        // one chunk, nearly full
    KIB,            // one chunk
    KIB + 1,        // two chunks: the first inner node
    2 * KIB,        // two full chunks
    5 * KIB + 7,    // uneven tree below a group
    16 * KIB - 1,   // one group, nearly full
    16 * KIB,       // one group: still no outboard
    16 * KIB + 1,   // two groups, the second of one byte
    17 * KIB + 1,   // the second group has an inner node of its own
    32 * KIB,       // two full groups
    32 * KIB + 1,   // three groups: the right spine is short
    64 * KIB,       // a power of two
    100 * KIB + 13, // seven groups
];

fn ranges(len: u64) -> Vec<Range<u64>> {
    let mut points = vec![0, 1, 63, 64, KIB - 1, KIB, KIB + 1, 5 * KIB, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1];
    points.extend([31 * KIB, 32 * KIB, 33 * KIB + 5, len / 2, len.saturating_sub(1), len]);
    points.retain(|&point| point <= len);
    points.sort_unstable();
    points.dedup();
    let pairs = points.iter().flat_map(|&a| points.iter().map(move |&b| a..b));
    pairs.filter(|range| !range.is_empty()).collect()
}

#[test]
fn names_and_outboards_are_those_of_blake3_and_bao() {
    for &len in LENGTHS {
        let piece = Piece::new(len);
        let reference = PostOrderMemOutboard::create(&piece.data, BLOCK_SIZE);
        assert_eq!(piece.hash, PieceHash::of(&piece.data), "{len}");
        assert_eq!(piece.hash.0, *reference.root().as_bytes(), "{len}");
        assert_eq!(piece.outboard, reference.data, "{len}");
        assert_eq!(piece.outboard.len() as u64, outboard_len(len), "{len}");
    }
}

#[test]
fn slices_round_trip_and_have_the_foretold_length() {
    for &len in LENGTHS {
        let piece = Piece::new(len);
        for range in ranges(len) {
            let slice = piece.slice(&range);
            assert_eq!(piece.verify(&range, &slice).unwrap(), part(&piece.data, &range), "{len} {range:?}");
            assert_eq!(encoded_len(len, &range), slice.len() as u64, "{len} {range:?}");
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for (len, range) in
        [(1, 0..1), (KIB + 1, 5..6), (17 * KIB + 1, 16 * KIB..17 * KIB), (40 * KIB, 30 * KIB..37 * KIB)]
    {
        let piece = Piece::new(len);
        let slice = piece.slice(&range);
        for at in 0..slice.len() {
            let mut wrong = slice.clone();
            wrong[at] ^= 1 << (at % 8);
            let result = piece.verify(&range, &wrong);
            assert!(matches!(result, Err(ProofError::Mismatch { .. })), "byte {at} of {len}: {result:?}");
        }
    }
}

#[test]
fn every_truncation_and_any_addition_is_noticed() {
    let piece = Piece::new(33 * KIB);
    let range = 15 * KIB..17 * KIB;
    let slice = piece.slice(&range);
    for len in 0..slice.len() {
        assert!(matches!(piece.verify(&range, &slice[..len]), Err(ProofError::Truncated { .. })), "{len}");
    }
    let longer = [&slice[..], &[0]].concat();
    assert!(matches!(piece.verify(&range, &longer), Err(ProofError::Trailing)));
}

#[test]
fn another_range_length_or_piece_is_refused() {
    let piece = Piece::new(50 * KIB + 3);
    let range = 20 * KIB..21 * KIB;
    let slice = piece.slice(&range);
    for other in [19 * KIB..20 * KIB, 21 * KIB..22 * KIB, 20 * KIB..22 * KIB, 0..KIB, 16 * KIB..32 * KIB] {
        assert!(piece.verify(&other, &slice).is_err(), "{other:?}");
    }
    // Lengths with another shape of tree on the way to the range. (One that differs only in the last chunk,
    // elsewhere, gives the same slice: a slice proves bytes and their place, not the length.)
    for len in [20 * KIB + 1, 32 * KIB, 64 * KIB + 1, 1 << 40] {
        let result = verify_slice(piece.hash, len, range.clone(), &slice[..]);
        assert!(result.is_err(), "{len}");
    }
    let last = 50 * KIB..50 * KIB + 3;
    let slice = piece.slice(&last);
    for len in [50 * KIB + 4, 51 * KIB, 52 * KIB] {
        assert!(verify_slice(piece.hash, len, last.clone(), &slice[..]).is_err(), "{len}");
    }
    let other = PieceHash([7; 32]);
    assert!(verify_slice(other, piece.len(), last, &slice[..]).is_err());
}

#[test]
fn impossible_ranges_and_buffers_are_refused() {
    let piece = Piece::new(2 * KIB);
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    for range in [0..0, 5..5, 7..3, 0..2 * KIB + 1, u64::MAX - 1..u64::MAX] {
        assert!(matches!(piece.verify(&range, &[]), Err(ProofError::Range { .. })));
        assert_eq!(encoded_len(piece.len(), &range), 0);
        let encoded = encode_slice(&piece.data[..], &[][..], piece.hash, piece.len(), &range, Vec::new());
        assert!(matches!(encoded, Err(EncodeError::Range { .. })));
    }
    let result = verify_slice_into(piece.hash, piece.len(), 0..5, &[][..], &mut [0; 4]);
    assert!(matches!(result, Err(ProofError::Buffer { got: 4, wanted: 5 })));
}

#[test]
fn a_node_with_rotten_bytes_sends_nothing_wrong() {
    let piece = Piece::new(40 * KIB);
    let range = 17 * KIB..18 * KIB;
    let encode = |data: &[u8], outboard: &[u8]| {
        let mut slice = Vec::new();
        let result = encode_slice(data, outboard, piece.hash, piece.len(), &range, &mut slice);
        assert!(matches!(result, Err(EncodeError::Corrupt)), "{result:?}");
    };
    let mut rotten = piece.data.clone();
    rotten[20 * 1024] ^= 1;
    encode(&rotten, &piece.outboard);
    let mut outboard = piece.outboard.clone();
    *outboard.last_mut().unwrap() ^= 1;
    encode(&piece.data, &outboard);
    encode(&piece.data[..17 * 1024 + 5], &piece.outboard);
    encode(&piece.data, &piece.outboard[..60]);
    encode(&piece.data, &[]);
}

#[test]
fn a_reader_that_goes_away_is_not_the_disk_s_fault() {
    struct Gone;
    impl io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let piece = Piece::new(40 * KIB);
    let result = encode_slice(&piece.data[..], &piece.outboard[..], piece.hash, piece.len(), &(0..1), Gone);
    assert!(matches!(result, Err(EncodeError::Write(_))), "{result:?}");
}

#[test]
fn bytes_may_be_used_as_far_as_they_are_verified() {
    let piece = Piece::new(80 * KIB);
    let range = 10 * KIB + 5..70 * KIB + 9;
    let mut slice = piece.slice(&range);
    let last = slice.len() - 1;
    slice[last] ^= 1;
    let wanted = part(&piece.data, &range);
    let mut decoder = SliceDecoder::new(piece.hash, piece.len(), range, vec![0; wanted.len()]).unwrap();
    let mut steps = std::collections::BTreeSet::new();
    let error = slice.chunks(100).try_for_each(|input| {
        let result = decoder.push(input);
        let verified = decoder.verified_len();
        steps.insert(verified);
        assert_eq!(decoder.buffer()[..verified], wanted[..verified]);
        result
    });
    assert!(matches!(error, Err(ProofError::Mismatch { .. })));
    assert!(steps.len() > 4 && !decoder.is_complete());
}

proptest! {
    #[test]
    fn any_range_agrees_with_bao(len in 1_u64..150_000, a: u64, b: u64, step in 1_usize..40_000) {
        let piece = Piece::new(len);
        let (a, b) = (a % len, b % len);
        let range = a.min(b)..a.max(b) + 1;
        let slice = piece.slice(&range);
        prop_assert_eq!(encoded_len(len, &range), slice.len() as u64);
        let wanted = part(&piece.data, &range);
        prop_assert_eq!(&piece.verify(&range, &slice).unwrap(), &wanted);
        // In parts of any size.
        let mut decoder = SliceDecoder::new(piece.hash, len, range.clone(), vec![0; wanted.len()]).unwrap();
        slice.chunks(step).try_for_each(|input| decoder.push(input)).unwrap();
        prop_assert_eq!(decoder.finish().unwrap(), wanted);
        // By the other crate's encoder and decoder.
        let chunks = round_up_to_chunks(&ByteRanges::from(range));
        let mut reference = Vec::new();
        let outboard = PostOrderMemOutboard::create(&piece.data, BLOCK_SIZE);
        encode_ranges_validated(&piece.data[..], outboard, &chunks, &mut reference).unwrap();
        prop_assert_eq!(&reference, &slice);
        let tree = BaoTree::new(len, BLOCK_SIZE);
        let reference = DecodeResponseIter::new(piece.hash.0.into(), tree, &slice[..], &chunks);
        prop_assert!(reference.into_iter().all(|item| item.is_ok()));
    }

    #[test]
    fn outboards_do_not_depend_on_how_the_piece_arrives(
        len in 0_u64..100_000, steps in proptest::collection::vec(1_usize..50_000, 1..20)
    ) {
        let data = bytes(len);
        let mut builder = OutboardBuilder::new();
        let mut rest = &data[..];
        for step in steps {
            let (now, later) = rest.split_at(step.min(rest.len()));
            builder.update(now);
            rest = later;
        }
        builder.update(rest);
        prop_assert_eq!(builder.finish(), outboard(&data));
    }

    #[test]
    fn garbage_never_panics_and_never_passes(
        len: u64, start: u64, size in 1_u64..100_000,
        garbage in proptest::collection::vec(any::<u8>(), 0..3000)
    ) {
        let range = start..start.saturating_add(size);
        prop_assert!(verify_slice(PieceHash([1; 32]), len, range, &garbage[..]).is_err());
    }
}
