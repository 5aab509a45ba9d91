//! CARs written and read back, cut at every byte, and damaged.

mod decoder;

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    CarError, CarReader, Decoded, Frame, HEADER_LEN_ONE_ROOT, decode_frame_prefix, decode_header, frame_len,
    frame_prefix, header,
};
use crate::block::{BLOCK_MAX, Block};
use crate::cid::{Cid, Codec, HashFn};

fn block(data: &[u8]) -> Block {
    Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::copy_from_slice(data))
}

fn car(roots: &[Cid], blocks: &[Block]) -> Bytes {
    let mut out = header(roots);
    for block in blocks {
        out.extend(frame_prefix(&block.cid, block.bytes.len()));
        out.extend_from_slice(&block.bytes);
    }
    out.into()
}

#[test]
fn one_root_header_has_the_known_bytes() {
    for hash_fn in [HashFn::Sha2_256, HashFn::Blake3] {
        for codec in [Codec::Raw, Codec::DagPb] {
            let cid = Cid::of(codec, hash_fn, b"root");
            let bytes = header(std::slice::from_ref(&cid));
            assert_eq!(bytes.len(), HEADER_LEN_ONE_ROOT);
            let expected =
                format!("3aa265726f6f747381d82a582500{}6776657273696f6e01", hex::encode(cid.as_bytes()));
            assert_eq!(hex::encode(&bytes), expected);
            assert_eq!(decode_header(&bytes), Ok(Decoded::Whole(vec![cid], HEADER_LEN_ONE_ROOT)));
        }
    }
}

#[test]
fn headers_that_are_read_and_that_are_not() {
    let decode = |hex: &str| {
        let map = hex::decode(hex).unwrap();
        decode_header(&[&[u8::try_from(map.len()).unwrap()], &map[..]].concat())
    };
    let roots = |hex: &str| match decode(hex) {
        Ok(Decoded::Whole(roots, _)) => roots.len(),
        other => panic!("{hex}: {other:?}"),
    };
    assert_eq!(roots("a265726f6f7473806776657273696f6e01"), 0, "no roots");
    assert_eq!(roots("a26776657273696f6e0165726f6f747380"), 0, "keys the other way round");
    assert_eq!(roots("a265726f6f747381d82a4500015500006776657273696f6e01"), 1, "an identity root");
    // The header every version 2 file begins with.
    assert_eq!(decode("a16776657273696f6e02"), Err(CarError::Version(2)));
    for bad in [
        "",
        "a0",
        "a16776657273696f6e01",
        "a165726f6f747380",
        "a265726f6f74738065726f6f747380",
        "a365726f6f7473806776657273696f6e0161610f",
        "a265726f6f7473806776657273696f6e0100",
        "a265726f6f7473806776657273696f6e1801",
        "a265726f6f7473816776657273696f6e01",
        "a265726f6f747381d82b4500015500006776657273696f6e01",
        "a265726f6f747381d82a4501015500006776657273696f6e01",
        "a265726f6f74739bffffffffffffffff6776657273696f6e01",
        "bf65726f6f7473806776657273696f6e01ff",
    ] {
        assert!(decode(bad).is_err(), "{bad}");
    }
    assert!(matches!(decode_header(&[0xff, 0xff, 0xff, 0x7f]), Err(CarError::HeaderTooLong(_))));
}

#[test]
fn sections_are_bounded() {
    let cid = block(b"").cid;
    // A section of no bytes, one larger than any block, and one with room for the CID but not as a block.
    assert!(matches!(decode_frame_prefix(&[0], 9), Err(CarError::SectionLength { offset: 9, len: 0 })));
    assert!(decode_frame_prefix(&[0xff, 0xff, 0xff, 0x7f], 0).is_err());
    let mut prefix = frame_prefix(&cid, BLOCK_MAX);
    let Ok(Decoded::Whole(frame, len)) = decode_frame_prefix(&prefix, 100) else {
        panic!("the largest block")
    };
    assert_eq!(frame, Frame { cid, offset: 100 + len as u64, len: BLOCK_MAX });
    prefix[0] += 1;
    assert!(matches!(decode_frame_prefix(&prefix, 0), Err(CarError::SectionLength { .. })));
    assert!(matches!(decode_frame_prefix(&[0x80, 0], 0), Err(CarError::Varint { .. })));
    // A section that ends within its CID is wrong, however much follows it.
    assert!(matches!(decode_frame_prefix(&[3, 1, 0x55, 0x12, 0x20, 0], 0), Err(CarError::Cid { .. })));
}

#[test]
fn wrong_blocks_are_found() {
    let (good, bad) = (block(b"good"), Block { bytes: Bytes::from_static(b"bed"), ..block(b"bad") });
    let bytes = car(&[], &[good.clone(), bad]);
    let read: Vec<_> = CarReader::new(&bytes).unwrap().blocks().collect();
    assert_eq!(read[0], Ok(good));
    assert!(matches!(read[1], Err(CarError::Block { .. })));
}

/// Decodes as a reader of a stream does: more bytes only when asked for, and never fewer than asked for.
fn trickle<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<Decoded<T>, CarError>) -> (T, usize) {
    let mut have = 0;
    loop {
        match decode(&bytes[..have]).unwrap() {
            Decoded::Whole(value, len) => return (value, len),
            Decoded::Needs(needs) => {
                assert!(needs > have, "a step forward");
                have = needs.min(bytes.len());
            }
        }
    }
}

proptest! {
    #[test]
    fn round_trip(datas in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..8)) {
        let blocks: Vec<_> = datas.iter().map(|data| block(data)).collect();
        let roots: Vec<_> = blocks.iter().map(|block| block.cid.clone()).take(3).collect();
        let bytes = car(&roots, &blocks);
        let len: usize = blocks.iter().map(|block| frame_len(&block.cid, block.bytes.len())).sum();
        prop_assert_eq!(bytes.len(), header(&roots).len() + len);

        let reader = CarReader::new(&bytes).unwrap();
        prop_assert_eq!(reader.roots(), &roots[..]);
        let read: Result<Vec<_>, _> = reader.clone().blocks().collect();
        prop_assert_eq!(read.unwrap(), blocks);

        let (_, mut at) = trickle(&bytes, decode_header);
        for frame in reader {
            let frame = frame.unwrap();
            let (streamed, prefix) = trickle(&bytes[at..], |bytes| decode_frame_prefix(bytes, at as u64));
            prop_assert_eq!(&streamed, &frame);
            at += prefix + frame.len;
        }
        prop_assert_eq!(at, bytes.len());
    }

    #[test]
    fn a_cut_car_never_passes(data in proptest::collection::vec(any::<u8>(), 1..200)) {
        let block = block(&data);
        let bytes = car(std::slice::from_ref(&block.cid), std::slice::from_ref(&block));
        for end in 0..bytes.len() {
            let cut = bytes.slice(..end);
            let read = CarReader::new(&cut).map(Iterator::collect::<Result<Vec<_>, _>>);
            match read {
                // Cut between the header and the only section, it is a CAR without blocks.
                Ok(Ok(frames)) => prop_assert!(frames.is_empty() && end == HEADER_LEN_ONE_ROOT),
                Ok(Err(error)) | Err(error) => prop_assert_eq!(error, CarError::Truncated(end as u64)),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..300), with_header in any::<bool>()) {
        let start = if with_header { header(&[]) } else { Vec::new() };
        let bytes = Bytes::from([start, tail].concat());
        if let Ok(reader) = CarReader::new(&bytes) {
            prop_assert!(reader.blocks().count() <= bytes.len());
        }
        let _ = decode_header(&bytes);
        let _ = decode_frame_prefix(&bytes, u64::MAX);
    }
}
