//! The forms in which records, entries and counters lie on disk: they come back equal, and damaged ones do not come back.

use proptest::prelude::*;

use super::*;
use crate::piece_store::{
    ledger::{Entry, Ledger},
    record::{Body, Place, Record},
};

fn bodies() -> impl Strategy<Value = Body> {
    let meta = (any::<[u8; 32]>(), any::<u64>(), 1_u64..64 << 20).prop_map(|(hash, seed, segment_len)| {
        PieceMeta { hash: PieceHash(hash), segment_len, ..piece(seed, 64).0 }
    });
    let hash = any::<[u8; 32]>().prop_map(PieceHash);
    prop_oneof![
        meta.clone().prop_map(Body::Small),
        meta.clone().prop_map(Body::Large),
        meta.prop_map(Body::Footer),
        (hash.clone(), any::<u32>()).prop_map(|(hash, dead_log)| Body::Delete { hash, dead_log }),
        hash.clone().prop_map(Body::Corrupt),
        hash.prop_map(Body::Lost),
    ]
}

proptest! {
    #[test]
    fn records_come_back_only_unchanged_and_in_place(
        body in bodies(), len in 1_u32..64 << 20, time: i64, log: u32, offset: u32, salt: [u8; 16], flip in 0_usize..96 * 8,
    ) {
        let data_len = if matches!(body, Body::Delete { .. }) { 0 } else { len };
        let record = Record { body, data_len, stored_at: UnixMillis(time) };
        let place = Place { log, offset };
        let bytes = record.encode(&salt, place);
        prop_assert_eq!(Record::decode(&bytes, &salt, place), Some(record));
        let mut changed = bytes;
        changed[flip / 8] ^= 1 << (flip % 8);
        prop_assert_eq!(Record::decode(&changed, &salt, place), None);
        prop_assert_eq!(Record::decode(&bytes, &salt, Place { offset: offset ^ 1, ..place }), None);
        prop_assert_eq!(Record::decode(&bytes, &[salt[0] ^ 1; 16], place), None);
    }

    #[test]
    fn entries_come_back_only_unchanged(
        hash: [u8; 32], log: u32, offset: u32, data_len: u32, time: i64, kind in 0_u8..3, corrupt: bool, reported: bool,
        flip in 0_usize..25 * 8,
    ) {
        let kind = [Kind::Small, Kind::Large, Kind::Lost][usize::from(kind)];
        let (hash, place) = (PieceHash(hash), Place { log, offset });
        let entry = Entry { kind, place, data_len, stored_at: UnixMillis(time), corrupt, reported };
        let bytes = entry.encode(&hash);
        prop_assert_eq!(Entry::decode(&hash, &bytes), Some(entry));
        let mut changed = bytes;
        changed[flip / 8] ^= 1 << (flip % 8);
        prop_assert_eq!(Entry::decode(&hash, &changed), None);
        prop_assert_eq!(Entry::decode(&PieceHash([hash.0[0] ^ 1; 32]), &bytes), None);
    }
}

#[test]
fn a_ledger_comes_back_only_unchanged() {
    let mut ledger = Ledger { pieces: 3, corrupt: 1, used: 999, files: 5, ..Ledger::default() };
    ledger.extend_to(7, 1000);
    ledger.extend_to(9, 500);
    ledger.tombs.insert((7, 9), 2);
    let bytes = ledger.encode();
    assert_eq!(Ledger::decode(&bytes), Some(ledger));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        assert_eq!(Ledger::decode(&changed), None);
        assert_eq!(Ledger::decode(&bytes[..at]), None);
    }
}
