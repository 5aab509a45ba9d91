//! Counting: limits, giving back, surviving a restart, and keeping the largest.

use std::time::Duration;

use proptest::prelude::*;
use protocol::time::HOUR_MS;

use super::*;

const NOW: UnixMillis = UnixMillis(500_000 * HOUR_MS + 1000);

fn leave(serial: u8, bytes_max: u64) -> Leave {
    let expires = NOW + Duration::from_mins(10);
    Leave {
        serial: Serial([serial; 16]),
        issued: NOW,
        expires,
        bytes_max,
        token: format!("token{serial}").into(),
    }
}

fn entries(usage: &Usage) -> Vec<(String, u64)> {
    let entries = usage.hour(NOW.hour()).unwrap();
    entries.into_iter().map(|entry| (entry.token, entry.bytes)).collect()
}

fn serve(usage: &Usage, leave: &Leave, bytes: u64) {
    usage.charge(leave, bytes).unwrap().served(bytes);
}

#[test]
fn an_order_pays_for_all_its_uses_together() {
    let usage = Usage::in_memory(&UsageConfig::default()).unwrap();
    let order = leave(1, 100);
    serve(&usage, &order, 60);
    let held = usage.charge(&order, 30).unwrap();
    assert_eq!(usage.charge(&order, 20).unwrap_err(), Exhausted { left: 10, wanted: 20 });
    drop(held);
    serve(&usage, &order, 40);
    assert_eq!(usage.charge(&order, 1).unwrap_err(), Exhausted { left: 0, wanted: 1 });
    assert_eq!(usage.charge(&leave(2, 5), 6).unwrap_err(), Exhausted { left: 5, wanted: 6 });
    usage.flush(NOW).unwrap();
    assert_eq!(entries(&usage), [("token1".to_string(), 100)]);
}

#[test]
fn what_was_not_taken_is_not_counted() {
    let usage = Usage::in_memory(&UsageConfig::default()).unwrap();
    let order = leave(1, 100);
    let mut charge = usage.charge(&order, 80).unwrap();
    charge.served(30);
    usage.flush(NOW).unwrap();
    assert_eq!(entries(&usage), [], "nothing is settled while it is being sent");
    drop(charge);
    usage.flush(NOW).unwrap();
    assert_eq!(entries(&usage), [("token1".to_string(), 30)]);
    let mut proofs = usage.charge(&order, 10).unwrap();
    proofs.served(9999);
    drop(proofs);
    usage.flush(NOW).unwrap();
    assert_eq!(entries(&usage), [("token1".to_string(), 40)], "never more than was set aside");
}

#[test]
fn a_ticket_pays_up_to_its_limit() {
    let usage = Usage::in_memory(&UsageConfig::default()).unwrap();
    let ticket = leave(1, 10 << 20);
    let mut meter = usage.meter(&ticket);
    meter.served(6 << 20);
    usage.flush(NOW).unwrap();
    assert_eq!(entries(&usage), [("token1".to_string(), 6 << 20)], "long downloads are counted on the way");
    meter.served(6 << 20);
    assert!(usage.is_exhausted(&ticket));
    drop(meter);
    usage.flush(NOW).unwrap();
    assert_eq!(entries(&usage), [("token1".to_string(), 10 << 20)]);
}

#[test]
fn counts_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.redb");
    let open = || Usage::open(&path, &UsageConfig::default(), NOW).unwrap();
    let usage = open();
    serve(&usage, &leave(1, 100), 60);
    serve(&usage, &leave(2, 100), 7);
    usage.flush(NOW).unwrap();
    drop(usage);

    let usage = open();
    assert_eq!(usage.charge(&leave(1, 100), 41).unwrap_err(), Exhausted { left: 40, wanted: 41 });
    serve(&usage, &leave(1, 100), 40);
    usage.flush(NOW).unwrap();
    drop(usage);

    let usage = open();
    assert_eq!(entries(&usage), [("token1".to_string(), 100), ("token2".to_string(), 7)]);
    assert_eq!(usage.hours(NOW.hour()).unwrap(), []);
    assert_eq!(usage.hours(NOW).unwrap(), [NOW.hour()]);
    usage.forget_hour(NOW.hour()).unwrap();
    drop(usage);
    assert_eq!(open().hours(NOW).unwrap(), []);
}

#[test]
fn expired_orders_leave_memory_but_not_the_file() {
    let usage = Usage::in_memory(&UsageConfig { counted_max: 2, ..UsageConfig::default() }).unwrap();
    serve(&usage, &leave(1, 100), 1);
    serve(&usage, &leave(2, 100), 2);
    serve(&usage, &leave(3, 100), 3);
    usage.flush(NOW + Duration::from_hours(1)).unwrap();
    assert_eq!(
        entries(&usage),
        [("token1".to_string(), 1), ("token2".to_string(), 2)],
        "no room for a third"
    );
    serve(&usage, &leave(3, 100), 3);
    usage.flush(NOW).unwrap();
    assert_eq!(entries(&usage).len(), 3);
}

#[test]
fn a_crowded_hour_keeps_the_largest() {
    let usage = Usage::in_memory(&UsageConfig { redeemed_max: 8, ..UsageConfig::default() }).unwrap();
    for serial in 0..50 {
        serve(&usage, &leave(serial, 100), u64::from(serial) + 1);
        usage.flush(NOW).unwrap();
    }
    let mut bytes: Vec<u64> = entries(&usage).into_iter().map(|(_, bytes)| bytes).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, (43..=50).collect::<Vec<u64>>());
    // One that was dropped comes back with all of its bytes.
    serve(&usage, &leave(0, 100), 70);
    usage.flush(NOW).unwrap();
    assert!(entries(&usage).contains(&("token0".to_string(), 71)));
}

#[test]
fn a_damaged_file_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.redb");
    std::fs::write(&path, vec![0x5a; 8192]).unwrap();
    let usage = Usage::open(&path, &UsageConfig::default(), NOW).unwrap();
    assert_eq!(usage.hours(NOW).unwrap(), []);
    assert!(dir.path().join("usage.damaged").exists());
}

proptest! {
    #[test]
    fn counts_are_what_adding_up_by_hand_gives(
        // Order, bytes wanted, bytes taken.
        reads in prop::collection::vec((0_u8..3, 0_u64..50, 0_u64..60), 0..60),
        flush_every in 1_usize..8,
    ) {
        let usage = Usage::in_memory(&UsageConfig::default()).unwrap();
        let mut sums = [0_u64; 3];
        for (at, (order, wanted, taken)) in reads.into_iter().enumerate() {
            let sum = &mut sums[usize::from(order)];
            match usage.charge(&leave(order, 200), wanted) {
                Ok(mut charge) => {
                    charge.served(taken / 2);
                    charge.served(taken - taken / 2);
                    *sum += taken.min(wanted);
                }
                Err(exhausted) => prop_assert_eq!(exhausted, Exhausted { left: 200 - *sum, wanted }),
            }
            prop_assert!(*sum <= 200);
            if at % flush_every == 0 {
                usage.flush(NOW).unwrap();
            }
        }
        usage.flush(NOW).unwrap();
        let mut found = entries(&usage);
        found.sort();
        let named = sums.iter().enumerate().map(|(order, sum)| (format!("token{order}"), *sum));
        prop_assert_eq!(found, named.filter(|(_, sum)| *sum > 0).collect::<Vec<_>>());
    }
}
