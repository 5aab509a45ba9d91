//! The pace of background reading.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

proptest! {
    /// Whatever the pauses and the lengths of pieces: never more than the rate times the time, what was saved up, and the
    /// last piece.
    #[test]
    fn the_average_is_kept(rate in 1_u64..1 << 30, steps in prop::collection::vec((0_u64..5000, 1_u64..64 << 20), 1..50)) {
        let start = UnixMillis(1_000_000);
        let (mut now, mut read, mut longest) = (start, 0_u64, 0);
        let mut pace = Pace::new(rate, now);
        for (pause_ms, piece) in steps {
            now = now + Duration::from_millis(pause_ms);
            if pace.budget(now, false, 10).is_some() {
                pace.spend(piece);
                read += piece;
                longest = longest.max(piece);
            }
            let elapsed = u64::try_from(now.since(start).as_millis()).unwrap();
            prop_assert!(read <= rate * SAVED_SECS + rate * elapsed / 1000 + longest + 1);
        }
    }
}

#[test]
fn a_busy_node_is_left_alone_for_a_while() {
    let now = UnixMillis(0);
    let mut pace = Pace::new(1000, now);
    let granted: Vec<bool> = (0..8).map(|_| pace.budget(now, true, 3).is_some()).collect();
    assert_eq!(granted, [false, false, false, true, false, false, false, true]);
    assert_eq!(pace.budget(now, false, 3), Some(1000));
}

#[test]
fn a_long_piece_is_paid_off_before_the_next() {
    let mut pace = Pace::new(1000, UnixMillis(0));
    pace.spend(11_000);
    assert_eq!(pace.budget(UnixMillis(9_900), false, 0), None);
    assert_eq!(pace.budget(UnixMillis(10_500), false, 0), Some(500));
    assert_eq!(pace.budget(UnixMillis(900_000), false, 0), Some(2000), "an idle hour is not saved up");
}
