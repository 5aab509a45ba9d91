//! dag-pb against the codec's published vectors, its round trip, and bytes from nowhere.

use proptest::prelude::*;

use super::{DecodeError, Link, Node, decode, outline, scan};
use crate::cid::{Cid, Codec, HashFn};

/// Blocks of the `ipld/codec-fixtures` collection, as the appendix of unixfs.md lists them: CID and bytes.
const FIXTURES: [(&str, &str); 15] = [
    ("bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", ""),
    (
        "bafybeihyivpglm6o6wrafbe36fp5l67abmewk7i2eob5wacdbhz7as5obe",
        "12240a2212207521fe19c374a97759226dc5c0c8e674e73950e81b211f7dd3b6b30883a08a51",
    ),
    (
        "bafybeibh647pmxyksmdm24uad6b5f7tx4dhvilzbg2fiqgzll4yek7g7y4",
        "12340a2212208ab7a6c5e74737878ac73863cb76739d15d4666de44e5756bf55a2f9e9ab5f431209736f6d65206c696e6b\
         1880c2d72f12370a2212208ab7a6c5e74737878ac73863cb76739d15d4666de44e5756bf55a2f9e9ab5f44120f736f6d65\
         206f74686572206c696e6b18080a09736f6d652064617461",
    ),
    ("bafybeibazl2z4vqp2tmwcfag6wirmtpnomxknqcgrauj7m2yisrz3qjbom", "0a050001020304"),
    ("bafybeiaqfni3s5s2k2r6rgpxz4hohdsskh44ka5tk6ztbjerqpvxwfkwaq", "0a00"),
    ("bafybeia53f5n75ituvc3yupuf7tdnxf6fqetrmo2alc6g6iljkmk7ys5mm", "120b0a09015500050001020304"),
    (
        "bafybeifq4hcxma3kjljrpxtunnljtc6tvbkgsy3vldyfpfbx2lij76niyu",
        "12160a090155000500010203041209736f6d65206e616d65",
    ),
    ("bafybeie7fstnkm4yshfwnmpp7d3mlh4f4okmk7a54d6c3ffr755q7qzk44", "120d0a090155000500010203041200"),
    (
        "bafybeiezymjvhwfuharanxmzxwuomzjjuzqjewjolr4phaiyp6l7qfwo64",
        "12140a0901550005000102030418ffffffffffffff0f",
    ),
    ("bafybeichjs5otecmbvwh5azdr4jc45mp2qcofh2fr54wjdxhz4znahod2i", "120d0a090155000500010203041800"),
    ("bafybeia2qk4u55f2qj7zimmtpulejgz7urp7rzs44cvledcaj42gltkk3u", "0a03010203"),
    (
        "bafybeiahfgovhod2uvww72vwdgatl5r6qkoeegg7at2bghiokupfphqcku",
        "120b0a0901550005000102030412100a09015500050001020304120362617212100a090155000500010203041203666f6f",
    ),
    (
        "bafybeidrg2f6slbv4yzydqtgmsi2vzojajnt7iufcreynfpxndca4z5twm",
        "120b0a09015500050001020304120e0a09015500050001020304120161120e0a09015500050001020304120161",
    ),
    (
        "bafybeieube7zxmzoc5bgttub2aqofi6xdzimv5munkjseeqccn36a6v6j4",
        "120e0a09015500050001020304120161120e0a09015500050001020304120161",
    ),
    // Not a fixture of theirs: the empty directory.
    ("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354", "0a020801"),
];

#[test]
fn published_blocks() {
    for (cid, bytes) in FIXTURES {
        let bytes = hex::decode(bytes).unwrap();
        assert_eq!(Cid::of(Codec::DagPb, HashFn::Sha2_256, &bytes).to_string(), cid);
        let node = decode(&bytes).unwrap();
        // Links of version 0 come back as version 1, so only blocks without them keep their bytes.
        if !bytes.windows(4).any(|window| window == [0x0a, 0x22, 0x12, 0x20]) {
            assert_eq!(node.encode(), bytes, "{cid}");
        }
    }
}

#[test]
fn absent_and_empty_are_told_apart() {
    let decoded: Vec<_> = FIXTURES.iter().map(|(_, bytes)| hex::decode(bytes).unwrap()).collect();
    assert_eq!(decode(&decoded[0]), Ok(Node::default()));
    assert_eq!(decode(&decoded[4]).unwrap().data, Some(&[][..]));
    let link = |i: usize| decode(&decoded[i]).unwrap().links[0].clone();
    assert_eq!((link(5).name, link(5).tsize), (None, None));
    assert_eq!((link(7).name, link(7).tsize), (Some(""), None));
    assert_eq!((link(8).name, link(8).tsize), (None, Some((1 << 53) - 1)));
    assert_eq!(link(5).cid.identity_bytes(), Some(&[0, 1, 2, 3, 4][..]));
}

#[test]
fn what_no_writer_makes_is_refused() {
    let cid = "0a0901550005";
    let link = format!("120b{cid}0001020304");
    let cases = [
        ("0a000a00", DecodeError::DataTwice),
        (&format!("{link}0a00{link}"), DecodeError::LinksApart),
        ("1a00", DecodeError::NodeField(3)),
        ("0801", DecodeError::NodeField(1)),
        ("1000", DecodeError::NodeField(2)),
        ("1200", DecodeError::NoCid),
        ("12021801", DecodeError::NoCid),
        (&format!("120d{cid}00010203042000"), DecodeError::LinkField(4)),
        (&format!("120d{cid}00010203041000"), DecodeError::LinkField(2)),
        (&format!("120d1200{cid}0001020304"), DecodeError::LinkOrder(1)),
        (&format!("120f{cid}000102030412001200"), DecodeError::LinkOrder(2)),
        (&format!("120f{cid}000102030418001200"), DecodeError::LinkOrder(2)),
        (&format!("120f{cid}000102030418001800"), DecodeError::LinkOrder(3)),
        (&format!("120e{cid}00010203041201ff"), DecodeError::Name),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(&hex::decode(bytes).unwrap()), Err(error), "{bytes}");
    }
    for bytes in
        ["0a", "0a01", "12", "0aff", "0affffffffffffffffff01", "0a8000", "120a0a09015500050001020304", "00"]
    {
        assert!(decode(&hex::decode(bytes).unwrap()).is_err(), "{bytes}");
    }
    let huge = vec![0x0a; crate::BLOCK_MAX + 1];
    assert_eq!(decode(&huge), Err(DecodeError::TooLarge(huge.len())));
}

#[test]
fn data_may_come_first() {
    let bytes = hex::decode("0a010712060a04015500001206120012061206").unwrap();
    assert!(decode(&bytes).is_err());
    let bytes = hex::decode("0a010712060a040155000012060a0401550000").unwrap();
    let node = decode(&bytes).unwrap();
    assert_eq!((node.links.len(), node.data), (2, Some(&[7][..])));
    // Written again, it is in canonical order.
    assert_eq!(hex::encode(node.encode()), "12060a040155000012060a04015500000a0107");
}

#[derive(Debug, Clone)]
struct OwnedLink(Cid, Option<String>, Option<u64>);

fn links() -> impl Strategy<Value = Vec<OwnedLink>> {
    let cid = (any::<[u8; 32]>(), 0..4_usize).prop_map(|(digest, kind)| match kind {
        0 => Cid::from_sha2_256(Codec::DagPb, digest),
        1 => Cid::of(Codec::Raw, HashFn::Blake3, &digest),
        2 => Cid::of(Codec::DagCbor, HashFn::Sha2_512, &digest),
        _ => Cid::identity(Codec::Raw, &digest[..usize::from(digest[0] % 33)]).unwrap(),
    });
    let link = (cid, proptest::option::of(".{0,20}"), proptest::option::of(any::<u64>()));
    proptest::collection::vec(link.prop_map(|(cid, name, tsize)| OwnedLink(cid, name, tsize)), 0..20)
}

proptest! {
    #[test]
    fn round_trip(links in links(), data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300))) {
        let node = Node {
            links: links.iter().map(|OwnedLink(cid, name, tsize)| {
                Link { cid: cid.clone(), name: name.as_deref(), tsize: *tsize }
            }).collect(),
            data: data.as_deref(),
        };
        let bytes = node.encode();
        prop_assert_eq!(bytes.len(), bytes.capacity());
        prop_assert_eq!(decode(&bytes), Ok(node.clone()));
        let outline = outline(&bytes).unwrap();
        prop_assert_eq!((outline.links, outline.data), (node.links.len(), node.data));
        // No shorter piece of a node ends in the middle of a field unnoticed and reads as the same node.
        for end in 0..bytes.len() {
            prop_assert_ne!(decode(&bytes[..end]), Ok(node.clone()));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(node) = decode(&bytes) {
            prop_assert!(node.encode().len() <= 2 * bytes.len() + 2);
        }
        let _ = outline(&bytes);
    }

    #[test]
    fn damaged_nodes_never_panic(links in links(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let node = Node {
            links: links.iter().map(|OwnedLink(cid, name, tsize)| {
                Link { cid: cid.clone(), name: name.as_deref(), tsize: *tsize }
            }).collect(),
            data: Some(b"data"),
        };
        let mut bytes = node.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut seen = 0;
        let scanned = scan(&bytes, |_| seen += 1).is_ok();
        prop_assert_eq!(scanned, decode(&bytes).is_ok());
        prop_assert!(seen <= bytes.len() / 2);
    }
}
