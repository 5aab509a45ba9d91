use content::HashFn;
use proptest::prelude::*;

use super::*;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn verify(text: &str) -> Result<Places, TokenError> {
    Places::verify(&key().verifying_key(), text)
}

fn cid(seed: u16) -> Cid {
    Cid::of(content::Codec::Raw, HashFn::Sha2_256, &seed.to_le_bytes())
}

fn scheme() -> Scheme {
    Scheme::new(Codec::Gf8, 8, 20).unwrap()
}

fn piece(index: u8) -> PieceAt {
    PieceAt { index, hash: PieceHash([index; 32]), node: NodeId([index ^ 0x80; 32]) }
}

/// Pieces of these indices, and blocks of so many bytes one behind the other.
fn places(indices: &[u8], lengths: &[u32]) -> Places {
    let mut offset = 0;
    let blocks = lengths.iter().enumerate().map(|(at, length)| {
        let block = (cid(u16::try_from(at).unwrap()), offset, u64::from(*length));
        offset += u64::from(*length);
        block
    });
    let blocks: Vec<_> = blocks.collect();
    let pieces = indices.iter().map(|index| piece(*index));
    Places::new(UnixMillis(1_700_000_000_123), SegmentId([4; 16]), scheme(), 16 << 20, pieces, blocks)
        .unwrap()
}

#[test]
fn a_statement_is_bound_to_its_network_and_is_no_other_token() {
    let text = places(&[0, 3, 19], &[100, 1 << 20]).sign(&key());
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
    assert_eq!(Places::verify(&other, &text), Err(TokenError::BadSignature));
    let payload = places(&[1], &[5]).encode();
    let order = token::sign(&key(), "pinstripe order v1", &payload);
    assert_eq!(verify(&order), Err(TokenError::BadSignature));
    assert_eq!(verify(&"A".repeat(PLACES_LEN_MAX + 1)), Err(TokenError::Malformed));
}

#[test]
fn the_largest_statement_is_taken() {
    let all: Vec<u8> = (0..64).collect();
    let digest = [9; 64];
    let blocks = (0..u64::try_from(BLOCKS_MAX).unwrap() + 5).map(|at| {
        let mut bytes = vec![1, 0x55, 0x13, 64];
        bytes.extend_from_slice(&digest);
        bytes[4..12].copy_from_slice(&at.to_be_bytes());
        (Cid::from_bytes(&bytes).unwrap(), at, 1)
    });
    let scheme = Scheme::new(Codec::Gf8, 32, 64).unwrap();
    let pieces = all.into_iter().map(piece);
    let places = Places::new(UnixMillis(1), SegmentId([4; 16]), scheme, SEGMENT_MAX, pieces, blocks).unwrap();
    assert_eq!((places.pieces.len(), places.blocks.len()), (64, BLOCKS_MAX), "what is too much is left out");
    let text = places.sign(&key());
    assert!(text.len() <= PLACES_LEN_MAX, "{}", text.len());
    assert_eq!(verify(&text), Ok(places));
}

#[test]
fn what_cannot_be_is_left_out() {
    let (time, segment) = (UnixMillis(1), SegmentId([4; 16]));
    for length in [0, SEGMENT_MAX + 1] {
        assert_eq!(Places::new(time, segment, scheme(), length, [], []), None);
    }
    let long = Cid::identity(content::Codec::Raw, &[7; 90]).unwrap();
    let blocks = [
        (cid(1), 0, 1000),
        (cid(1), 5, 6),
        (cid(2), 1, 1000),
        (cid(3), u64::MAX, 1),
        (cid(4), 0, u64::MAX),
        (long, 0, 1),
    ];
    let pieces = [piece(5), piece(20), piece(5), piece(0)];
    let places = Places::new(time, segment, scheme(), 1000, pieces, blocks).unwrap();
    assert_eq!(places.blocks, [BlockIn { cid: cid(1), offset: 0, length: 1000 }]);
    assert_eq!(places.pieces, [piece(0), piece(5)]);
    assert_eq!(verify(&places.sign(&key())), Ok(places));
}

#[test]
fn a_form_that_nobody_signs_is_refused_though_it_is_signed() {
    let good = places(&[1, 2], &[10, 20]);
    let refused = |change: &dyn Fn(&mut Places)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        assert_eq!(verify(&wrong.sign(&key())), Err(TokenError::Malformed), "{wrong:?}");
    };
    refused(&|places| places.pieces.reverse());
    refused(&|places| places.pieces.push(piece(2)));
    refused(&|places| places.pieces.push(piece(20)));
    refused(&|places| places.blocks.reverse());
    refused(&|places| places.blocks.push(places.blocks[1].clone()));
    refused(&|places| places.blocks[0].offset = 16 << 20);
    refused(&|places| places.blocks[0].length = (2 << 20) + 1);
    refused(&|places| places.length = 0);
    refused(&|places| places.length = SEGMENT_MAX + 1);
    let mut longer = good.encode();
    longer.push(0);
    assert_eq!(verify(&token::sign(&key(), DOMAIN, &longer)), Err(TokenError::Malformed));
    assert_eq!(verify(&good.sign(&key())), Ok(good));
}

#[test]
fn clocks_may_differ_a_little() {
    let places = places(&[], &[]);
    assert!(!places.is_from_the_future(places.time - CLOCK_SKEW_MAX));
    assert!(places.is_from_the_future(places.time - CLOCK_SKEW_MAX - std::time::Duration::from_millis(1)));
}

proptest! {
    #[test]
    fn places_survive(
        indices in proptest::collection::btree_set(0..20_u8, 0..20),
        lengths in proptest::collection::vec(1..100_000_u32, 0..40),
        time: i64,
    ) {
        let indices: Vec<u8> = indices.into_iter().collect();
        let places = Places { time: UnixMillis(time), ..places(&indices, &lengths) };
        prop_assert_eq!((places.pieces.len(), places.blocks.len()), (indices.len(), lengths.len()));
        prop_assert_eq!(verify(&places.sign(&key())), Ok(places));
    }

    #[test]
    fn a_flipped_bit_is_refused(at: prop::sample::Index, bit in 0..8_u32) {
        let text = places(&[0, 7], &[3, 4, 5]).sign(&key());
        let mut bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let flipped = data_encoding::BASE64URL_NOPAD.encode(&bytes);
        prop_assert_eq!(verify(&flipped), Err(TokenError::BadSignature));
    }

    #[test]
    fn garbage_never_panics(payload in proptest::collection::vec(any::<u8>(), 0..400), text: String) {
        prop_assert!(verify(&text).is_err());
        let signed = token::sign(&key(), DOMAIN, &payload);
        if let Ok(places) = verify(&signed) {
            prop_assert_eq!(places.sign(&key()), signed);
        }
    }

    #[test]
    fn what_is_nearly_right_is_refused_or_has_one_form(
        at: prop::sample::Index, byte: u8, cut in 0..60_usize,
    ) {
        let mut payload = places(&[0, 7], &[3, 4, 5]).encode();
        let at = at.index(payload.len());
        payload[at] = byte;
        payload.truncate(payload.len() - cut);
        let signed = token::sign(&key(), DOMAIN, &payload);
        if let Ok(places) = verify(&signed) {
            prop_assert_eq!(places.sign(&key()), signed);
        }
    }
}
