//! CIDs against published vectors and against the `cid` crate.

use ::cid::multibase::{Base, encode};
use proptest::prelude::*;

use super::{Cid, CidError, Codec, DIGEST_MAX, HashFn, VerifyError};
use crate::varint;

const EMPTY_DIR_V0: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
const EMPTY_DIR_V1: &str = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";

#[test]
fn hello_world() {
    let cid = Cid::of(Codec::Raw, HashFn::Sha2_256, b"hello world");
    assert_eq!(cid.to_string(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
    assert_eq!(cid.to_string().parse(), Ok(cid.clone()));
    assert_eq!(cid.as_bytes().len(), 36);
    assert_eq!((cid.codec(), cid.hash_fn()), (Codec::Raw, Some(HashFn::Sha2_256)));
    assert_eq!(cid.multihash(), &cid.as_bytes()[2..]);
    assert_eq!(cid.digest(), &cid.as_bytes()[4..]);
}

#[test]
fn version_0_is_its_version_1_twin() {
    let v0: Cid = EMPTY_DIR_V0.parse().unwrap();
    assert_eq!(v0.to_string(), EMPTY_DIR_V1);
    assert_eq!(Ok(v0.clone()), EMPTY_DIR_V1.parse());
    // In binary, version 0 is the bare multihash; bytes after it are somebody else's.
    let mut bytes = v0.multihash().to_vec();
    assert_eq!(Cid::from_bytes(&bytes), Ok(v0.clone()));
    bytes.push(0);
    assert!(Cid::from_bytes(&bytes).is_err());
    assert_eq!(Cid::read(&bytes), Ok((v0.clone(), 34)));
    assert!(Cid::read(&bytes[..33]).is_err());
    // It has no multibase form.
    assert!(encode(Base::Base58Btc, v0.multihash()).parse::<Cid>().is_err());
    assert!(encode(Base::Base32Lower, v0.multihash()).parse::<Cid>().is_err());
}

#[test]
fn the_version_it_was_written_in_is_remembered_and_makes_no_difference() {
    let (v0, v1): (Cid, Cid) = (EMPTY_DIR_V0.parse().unwrap(), EMPTY_DIR_V1.parse().unwrap());
    assert_eq!(v0.as_written().to_string(), EMPTY_DIR_V0);
    assert_eq!(v0.as_written().bytes(), v0.multihash());
    assert_eq!(Cid::from_bytes(v0.multihash()).unwrap().as_written().to_string(), EMPTY_DIR_V0);
    assert_eq!((v1.as_written().to_string(), v1.as_written().bytes()), (EMPTY_DIR_V1.into(), v1.as_bytes()));
    assert_eq!((v0.as_bytes(), v0.digest(), v0.codec()), (v1.as_bytes(), v1.digest(), v1.codec()));
    assert_eq!(v0.cmp(&v1), std::cmp::Ordering::Equal);
    assert!(std::collections::HashSet::from([v0]).contains(&v1));
}

#[test]
fn multihashes_have_a_name_of_their_own() {
    let v0: Cid = EMPTY_DIR_V0.parse().unwrap();
    assert_eq!(v0.multihash_base58(), EMPTY_DIR_V0);
    let bare = Cid::from_multihash_base58(EMPTY_DIR_V0).unwrap();
    assert_eq!((bare.multihash(), bare.codec()), (v0.multihash(), Codec::Raw));
    for hash_fn in [HashFn::Sha2_256, HashFn::Sha2_512, HashFn::Blake3] {
        let cid = Cid::of(Codec::DagPb, hash_fn, b"x");
        let back = Cid::from_multihash_base58(&cid.multihash_base58()).unwrap();
        assert_eq!(back.multihash(), cid.multihash());
    }
    let long = "1".repeat(10_000);
    for wrong in ["", "Qm", "0", EMPTY_DIR_V1, &EMPTY_DIR_V0[..45], &long] {
        assert!(Cid::from_multihash_base58(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn labels_of_domain_names_have_63_characters_at_most() {
    let short = Cid::of(Codec::Raw, HashFn::Sha2_256, b"x");
    assert_eq!(short.dns_label(), Some(short.to_string()));
    // 39 bytes: 64 characters in base32, 62 in base36.
    let longer = Cid::of(Codec::Other(1 << 24), HashFn::Blake3, b"x");
    let label = longer.dns_label().unwrap();
    assert!(longer.to_string().len() == 64 && label.len() <= 63 && label.starts_with('k'), "{label}");
    assert_eq!(label.parse(), Ok(longer));
    assert_eq!(Cid::of(Codec::Raw, HashFn::Sha2_512, b"x").dns_label(), None);
}

#[test]
fn any_multibase_is_read() {
    let cid = Cid::of(Codec::DagCbor, HashFn::Blake3, b"many names");
    for base in [
        Base::Base2,
        Base::Base16Lower,
        Base::Base16Upper,
        Base::Base32Lower,
        Base::Base32Upper,
        Base::Base32PadLower,
        Base::Base36Lower,
        Base::Base36Upper,
        Base::Base58Btc,
        Base::Base58Flickr,
        Base::Base64,
        Base::Base64Url,
        Base::Base64UrlPad,
    ] {
        assert_eq!(encode(base, cid.as_bytes()).parse(), Ok(cid.clone()), "{base:?}");
    }
}

#[test]
fn what_is_no_cid_is_refused() {
    let good = Cid::of(Codec::Raw, HashFn::Sha2_256, b"").to_string();
    let long = "b".repeat(3000);
    let (cut, excess, upper) = (&good[..good.len() - 1], format!("{good}a"), good.to_uppercase());
    let mixed = upper.replacen('B', "b", 1);
    for bad in ["", "b", "z", "Q", "QmInvalidCID", "/ipfs/x", "é", "1", cut, &excess, &mixed, &long] {
        assert!(bad.parse::<Cid>().is_err(), "{bad}");
    }
    assert_eq!(upper.parse::<Cid>().unwrap().to_string(), good);
    // 46 characters that begin as version 0 and hold something else.
    assert!(format!("Qm{}", "1".repeat(44)).parse::<Cid>().is_err());
    assert_eq!(Cid::from_bytes(&[1, 0x55, 0, 0, 0, 0]), Err(CidError::Excess(2)));
    assert_eq!(Cid::from_bytes(&[2, 0x55, 0, 0]), Err(CidError::Version(2)));
    assert_eq!(Cid::from_bytes(&[0, 0x55, 0, 0]), Err(CidError::Version(0)));
    assert!(Cid::from_bytes(&[1, 0xd5, 0, 0, 0]).is_err(), "a code in long form");
}

#[test]
fn identity_stops_at_128_bytes() {
    let empty: Cid = "bafkqaaa".parse().unwrap();
    assert_eq!(empty.identity_bytes(), Some(&[][..]));
    assert_eq!(empty, Cid::identity(Codec::Raw, b"").unwrap());
    assert_eq!(empty.verify(b""), Ok(()));
    assert!(empty.verify(b"x").is_err());

    let longest = Cid::identity(Codec::Raw, &[b'B'; DIGEST_MAX]).unwrap();
    assert_eq!(longest.to_string().parse(), Ok(longest.clone()));
    assert!(Cid::identity(Codec::Raw, &[b'A'; DIGEST_MAX + 1]).is_err());
    let mut bytes = longest.as_bytes().to_vec();
    // 129 as a varint in place of 128; both take two bytes.
    bytes[3] = 0x81;
    bytes.push(b'B');
    assert_eq!(Cid::from_bytes(&bytes), Err(CidError::DigestTooLong(129)));
    assert_eq!(encode(Base::Base32Lower, &bytes).parse::<Cid>(), Err(CidError::DigestTooLong(129)));
}

#[test]
fn verify_tells_wrong_from_unknown() {
    let cid = Cid::of(Codec::Raw, HashFn::Sha2_512, b"data");
    assert_eq!(cid.verify(b"data"), Ok(()));
    assert_eq!(cid.verify(b"date"), Err(VerifyError::Mismatch(cid.clone())));
    // sha3-256 is read, not verified.
    let sha3 = Cid::from_bytes(&[&[1, 0x55, 0x16, 32][..], &[0; 32]].concat()).unwrap();
    assert_eq!(sha3.verify(b""), Err(VerifyError::UnknownHash { cid: sha3.clone(), code: 0x16 }));
    // sha2-256 cut to four bytes proves nothing, even where those bytes agree.
    let digest = Cid::of(Codec::Raw, HashFn::Sha2_256, b"data");
    let cut = Cid::from_bytes(&[&[1, 0x55, 0x12, 4][..], &digest.digest()[..4]].concat()).unwrap();
    assert_eq!(cut.verify(b"data"), Err(VerifyError::DigestLength { cid: cut.clone(), len: 4 }));
}

#[test]
fn serde_is_the_text() {
    let cid: Cid = EMPTY_DIR_V1.parse().unwrap();
    let json = format!("\"{EMPTY_DIR_V1}\"");
    assert_eq!(serde_json::to_string(&cid).unwrap(), json);
    assert_eq!(serde_json::from_str::<Cid>(&json).unwrap(), cid);
    assert!(serde_json::from_str::<Cid>("\"nonsense\"").is_err());
}

#[test]
fn hash_functions_are_read_by_name() {
    for hash_fn in [HashFn::Sha2_256, HashFn::Sha2_512, HashFn::Blake3] {
        assert_eq!(hash_fn.to_string().parse(), Ok(hash_fn));
        assert_eq!(HashFn::from_code(hash_fn.code()), Some(hash_fn));
    }
    assert!("md5".parse::<HashFn>().is_err());
}

/// CIDs as the `cid` crate makes them.
fn theirs() -> impl Strategy<Value = ::cid::Cid> {
    let code = prop_oneof![Just(0x12), Just(0x1e), Just(0), 0_u64..1 << 63];
    (0_u64..1 << 63, code, proptest::collection::vec(any::<u8>(), 0..=64)).prop_map(
        |(codec, code, digest)| {
            ::cid::Cid::new_v1(codec, ::cid::multihash::Multihash::wrap(code, &digest).unwrap())
        },
    )
}

proptest! {
    #[test]
    fn agrees_with_the_cid_crate(theirs in theirs()) {
        let ours = Cid::from_bytes(&theirs.to_bytes()).unwrap();
        prop_assert_eq!(ours.to_string(), theirs.to_string());
        prop_assert_eq!(theirs.to_string().parse(), Ok(ours.clone()));
        prop_assert_eq!(ours.codec().code(), theirs.codec());
        prop_assert_eq!(ours.hash_code(), theirs.hash().code());
        prop_assert_eq!(ours.digest(), theirs.hash().digest());
        prop_assert_eq!(ours.multihash(), theirs.hash().to_bytes());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), v1 in any::<bool>()) {
        let mut bytes = bytes;
        if v1 && !bytes.is_empty() {
            bytes[0] = 1;
        }
        if let Ok((cid, len)) = Cid::read(&bytes) {
            prop_assert!(len <= bytes.len());
            prop_assert_eq!(Cid::from_bytes(&bytes[..len]), Ok(cid.clone()));
            prop_assert_eq!(cid.to_string().parse(), Ok(cid.clone()));
            let _ = cid.verify(&bytes);
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,80}", head in "[bBzZkKfFmuQ]m?[a-zA-Z0-9]{0,70}") {
        for text in [text, head] {
            if let Ok(cid) = text.parse::<Cid>() {
                prop_assert_eq!(cid.to_string().parse(), Ok(cid));
            }
        }
    }

    #[test]
    fn order_is_that_of_the_bytes(a in theirs(), b in theirs()) {
        let (a, b) = (Cid::from(a), Cid::from(b));
        prop_assert_eq!(a.cmp(&b), a.as_bytes().cmp(b.as_bytes()));
        prop_assert_eq!(a == b, a.as_bytes() == b.as_bytes());
    }

    #[test]
    fn long_codes_keep_their_bytes(codec in any::<u64>()) {
        let mut bytes = vec![1];
        varint::push(&mut bytes, codec);
        bytes.extend_from_slice(&[0, 0]);
        let parsed = Cid::from_bytes(&bytes);
        if codec >> 63 == 0 {
            prop_assert_eq!(parsed.unwrap().codec().code(), codec);
        } else {
            prop_assert_eq!(parsed, Err(CidError::Code));
        }
    }
}

#[test]
fn long_digests_do_not_cost_the_short_ones() {
    assert_eq!(size_of::<Cid>(), 40);
    let long = Cid::of(Codec::Raw, HashFn::Sha2_512, b"");
    assert_eq!(long.clone(), long);
    assert_eq!(long.as_bytes().len(), 68);
}
