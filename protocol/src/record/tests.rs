//! Records survive, old ones are read, and no bytes panic.

use proptest::prelude::*;

use super::*;

fn record_pin(name: &str, root: Cid) -> PinRecord {
    PinRecord {
        id: Some(name.into()),
        root,
        account: "a1".into(),
        created: UnixMicros(1_700_000_000_000_001),
        expires: Some(UnixMillis(1_800_000_000_000)),
        held: name.starts_with('h'),
        sizes: Some((5, 1 << 40)),
    }
}

const SEGMENT: SegmentId = SegmentId([3; 16]);

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn encoded(record: &Record) -> Vec<u8> {
    record.encode(SEGMENT, &key()).bytes.to_vec()
}

fn read(bytes: &[u8]) -> Result<Record, RecordError> {
    decode(bytes, SEGMENT, &key().verifying_key())
}

fn root() -> Cid {
    Cid::of(Codec::DagPb, HashFn::Sha2_256, b"x")
}

fn full() -> Record {
    let v0: Cid = root().multihash_base58().parse().unwrap();
    let identity = Cid::identity(Codec::Raw, &[7; 90]).unwrap();
    let mut pins: Vec<PinRecord> = [root(), v0, identity].map(|root| record_pin("pin", root)).into();
    pins.push(PinRecord { expires: None, ..record_pin("held", root()) });
    Record {
        log: Some(LogPlace { seq: UnixMicros(9), from: UnixMicros(3) }),
        pins,
        gone: vec![GoneRecord { id: "gone".into(), account: "a2".into(), root: root() }],
    }
}

#[test]
fn a_record_survives() {
    let record = full();
    let found = read(&encoded(&record)).unwrap();
    assert_eq!(found, record);
    assert!(found.pins[1].root.as_written().is_v0() && !found.pins[0].root.as_written().is_v0());
    assert_eq!(read(&encoded(&Record::default())), Ok(Record::default()));
    assert!(read(b"junk").is_err());
}

#[test]
fn a_record_of_version_1_is_read() {
    let pin = Ipld::Map(
        [
            ("cid".to_string(), link(&root())),
            ("account".to_string(), Ipld::String("a1".into())),
            ("created".to_string(), Ipld::Integer(1_700_000_000_000)),
        ]
        .into(),
    );
    let old =
        Ipld::Map([("v".to_string(), Ipld::Integer(1)), ("pins".to_string(), Ipld::List(vec![pin]))].into());
    let found = read(&serde_ipld_dagcbor::to_vec(&old).unwrap()).unwrap();
    let wanted = PinRecord {
        id: None,
        root: root(),
        account: "a1".into(),
        created: UnixMicros(1_700_000_000_000_000),
        expires: None,
        held: false,
        sizes: None,
    };
    assert_eq!(found, Record { log: None, pins: vec![wanted], gone: vec![] });
}

#[test]
fn a_pin_takes_no_more_room_than_it_says() {
    for pin in full().pins {
        let room = RECORD_BASE + pin.room();
        let record = Record { pins: vec![pin], ..Record::default() };
        assert!(encoded(&record).len() <= room);
    }
}

#[test]
fn a_record_is_bound_to_its_segment_and_network() {
    let bytes = encoded(&full());
    assert!(decode(&bytes, SegmentId([4; 16]), &key().verifying_key()).is_err());
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
    assert!(decode(&bytes, SEGMENT, &other).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = encoded(&full());
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes);
    }
}
