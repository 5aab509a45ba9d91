//! Whatever bytes a file holds, it is a database or it is refused; nothing panics and nothing runs on for ever.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    super::database::{Database, DatabaseError},
    *,
};

/// Precedes the metadata in every database (MaxMind DB specification, "Database Metadata").
const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Takes the bytes as a database and, if they are one, looks the addresses up.
fn survive(bytes: Vec<u8>, v4: u32, v6: u128) {
    let Ok(database) = Database::from_bytes(bytes) else { return };
    let nearest = NearestRegion::new();
    // Found, unknown or refused are all fine; the address in the loopback range reaches a record.
    for ip in [Ipv4Addr::from(v4).into(), Ipv6Addr::from(v6).into(), ip("127.2.0.9")] {
        let _ = database.place(ip, &nearest);
    }
}

#[test]
fn files_cut_anywhere_are_refused() {
    let whole = dev_bytes();
    for len in 0..whole.len() {
        assert!(Database::from_bytes(whole[..len].to_vec()).is_err(), "cut to {len} of {}", whole.len());
    }
    assert!(Database::from_bytes(whole).is_ok());
}

#[test]
fn a_database_of_something_else_is_refused() {
    let owner = Value::map([("autonomous_system_number", Value::from(64_512_u32))]);
    let owners = encode([(net("192.0.2.0/24"), owner)].into_iter()).unwrap();
    assert!(matches!(Database::from_bytes(owners), Err(DatabaseError::NoPlaces)));
    let empty = encode(std::iter::empty()).unwrap();
    assert!(Database::from_bytes(empty).is_err());
}

#[test]
fn a_tree_that_runs_in_circles_is_refused() {
    let mut bytes = dev_bytes();
    // The first node is six bytes, two records of 24 bits; as zeros, both lead back to itself.
    bytes[..6].fill(0);
    assert!(matches!(Database::from_bytes(bytes), Err(DatabaseError::Broken(_))));
}

proptest! {
    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..600), v4: u32, v6: u128) {
        survive(bytes, v4, v6);
    }

    #[test]
    fn random_bytes_around_true_metadata(front in vec(any::<u8>(), 0..4_000), v4: u32, v6: u128) {
        let dev = dev_bytes();
        let marker = dev.windows(METADATA_MARKER.len()).position(|at| at == METADATA_MARKER).unwrap();
        survive([&front, &dev[marker..]].concat(), v4, v6);
    }

    #[test]
    fn random_metadata(tail in vec(any::<u8>(), 0..200), v4: u32, v6: u128) {
        let dev = dev_bytes();
        let marker = dev.windows(METADATA_MARKER.len()).position(|at| at == METADATA_MARKER).unwrap();
        survive([&dev[..marker + METADATA_MARKER.len()], &tail].concat(), v4, v6);
    }

    #[test]
    fn a_true_database_with_bytes_changed(
        changes in vec((any::<Index>(), any::<u8>()), 1..12),
        v4: u32,
        v6: u128,
    ) {
        let mut bytes = dev_bytes();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        survive(bytes, v4, v6);
    }
}
