//! Money: every span is paid once, and rounding loses nothing.

use protocol::time::{HOUR_MS, UnixMillis};

use super::{
    engines::both_engines,
    fixtures::{NOW, commit, later, node_id, piece_hash, segment, slot},
};
use crate::{Db, Earning, LedgerKind, Passed};

both_engines!(
    a_passed_audit_earns_from_the_last_one_on,
    a_span_is_paid_once,
    rounding_loses_and_invents_nothing,
    two_monitors_at_once_pay_once,
    a_window_is_settled_once,
    windows_settled_at_once_add_up,
    the_ledger_lists_and_sums_by_hour_and_kind,
);

/// 3 micro-units for 7 units of whatever is paid for.
fn amount(earning: Earning, carry: u64) -> (u64, u64) {
    let owed = earning.quantity * 3 + carry;
    (owed / 7, owed % 7)
}

fn passed(segment: u32, verified: UnixMillis, bytes: u64) -> Passed {
    (slot(segment, 0), verified, bytes)
}

async fn earned(db: &Db) -> u64 {
    db.earned(node_id(0)).await.expect("earned").into_iter().map(|(_, micros)| micros).sum()
}

async fn verified(db: &Db, segment: u32) -> UnixMillis {
    let held = db.held_pieces(node_id(0), piece_hash(segment, 0), 1).await.expect("held");
    held[0].verified
}

async fn a_passed_audit_earns_from_the_last_one_on(db: Db) {
    commit(&db, &[segment(1), segment(2)], &[]).await;
    // 10.7 s later: the broken second is left for the next time.
    let at = UnixMillis(NOW.0 + 10_700);
    let both = [passed(1, NOW, 100), passed(2, NOW, 50)];
    assert_eq!(db.record_passed(node_id(0), &both, at, amount).await.expect("record"), 1_500);
    assert_eq!(verified(&db, 1).await, later(10));
    assert_eq!(earned(&db).await, 1_500 * 3 / 7);
    let next = db.record_passed(node_id(0), &[passed(1, later(10), 100)], later(11), amount).await;
    assert_eq!(next.expect("record"), 100);
    // A clock that went back pays nothing and takes nothing.
    let back = db.record_passed(node_id(0), &[passed(1, later(11), 100)], later(5), amount).await;
    assert_eq!(back.expect("record"), 0);
    assert_eq!(verified(&db, 1).await, later(11));
    assert_eq!(db.record_passed(node_id(0), &[], later(20), amount).await.expect("record"), 0);
}

async fn a_span_is_paid_once(db: Db) {
    commit(&db, &[segment(1)], &[]).await;
    let record = async |node, passed: &[Passed], seconds| {
        db.record_passed(node_id(node), passed, later(seconds), amount).await.expect("record")
    };
    let twice = [passed(1, NOW, 100), passed(1, NOW, 100)];
    assert_eq!(record(0, &twice, 10).await, 1_000, "twice in one call is once");
    assert_eq!(record(0, &twice, 10).await, 0, "another monitor saw the same state");
    assert_eq!(record(1, &[passed(1, later(10), 100)], 20).await, 0, "another node's piece");
    db.lose_pieces(node_id(0), &[(slot(1, 0), piece_hash(1, 0))], later(15)).await.expect("lose");
    assert_eq!(record(0, &[passed(1, later(10), 100)], 20).await, 0, "a lost piece earns nothing more");
    db.move_piece(slot(1, 0), piece_hash(1, 0), None, node_id(0), later(30)).await.expect("move");
    assert_eq!(record(0, &[passed(1, later(10), 100)], 40).await, 0, "nor for the time it was lost");
    assert_eq!(record(0, &[passed(1, later(30), 100)], 40).await, 1_000);
    assert_eq!(earned(&db).await, 2_000 * 3 / 7);
}

async fn rounding_loses_and_invents_nothing(db: Db) {
    commit(&db, &[segment(1)], &[]).await;
    let mut total = 0;
    for second in 0..100 {
        let bytes = 1 + second % 5;
        let span = [passed(1, later(second), bytes)];
        total += db.record_passed(node_id(0), &span, later(second + 1), amount).await.expect("record");
        assert_eq!(earned(&db).await, total * 3 / 7, "after {second} s");
    }
    assert_eq!(total, 300);
}

async fn two_monitors_at_once_pay_once(db: Db) {
    const PIECES: u32 = 60;
    let segments: Vec<_> = (0..PIECES).map(segment).collect();
    commit(&db, &segments, &[]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for monitor in 0..8 {
        let db = db.clone();
        tasks.spawn(async move {
            // Each looks at the pieces in another order, some of them only.
            let mut seen: Vec<Passed> = (0..PIECES)
                .filter(|number| (number + monitor) % 4 != 0)
                .map(|number| passed(number, NOW, 10))
                .collect();
            if monitor % 2 == 0 {
                seen.reverse();
            }
            db.record_passed(node_id(0), &seen, later(u64::from(monitor) + 5), amount).await
        });
    }
    let mut booked = 0;
    while let Some(done) = tasks.join_next().await {
        booked += done.expect("no panic").expect("no error");
    }
    // Whoever came first to a piece was paid until its own time, and nobody for the same seconds again.
    let mut proven = 0;
    for number in 0..PIECES {
        proven += verified(&db, number).await.since(NOW).as_secs() * 10;
    }
    assert_eq!(booked, proven);
    assert!(booked >= u64::from(PIECES) * 50, "every piece was paid by somebody");
    assert_eq!(earned(&db).await, booked * 3 / 7);
}

async fn a_window_is_settled_once(db: Db) {
    let egress = [
        Earning { kind: LedgerKind::Egress, quantity: 10 },
        Earning { kind: LedgerKind::RepairEgress, quantity: 7 },
    ];
    let settle = async |node, hour| {
        db.settle_window(node_id(node), later(hour), &egress, later(9), amount).await.expect("settle")
    };
    assert!(settle(0, 0).await);
    assert!(!settle(0, 0).await);
    assert!(settle(0, 3600).await, "another hour");
    assert!(settle(1, 0).await, "another node");
    let expected = vec![("egress".to_string(), 8), ("repair_egress".to_string(), 6)];
    assert_eq!(db.earned(node_id(0)).await.expect("earned"), expected, "60 / 7 and 42 / 7");
}

async fn windows_settled_at_once_add_up(db: Db) {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..24_u64 {
        let db = db.clone();
        tasks.spawn(async move {
            // Three monitors try each of eight hours, and name the kinds in different orders.
            let mut earnings = vec![
                Earning { kind: LedgerKind::Egress, quantity: 5 },
                Earning { kind: LedgerKind::RepairEgress, quantity: 2 },
            ];
            if task % 2 == 0 {
                earnings.reverse();
            }
            db.settle_window(node_id(0), later(task / 3 * 3600), &earnings, NOW, amount).await
        });
    }
    let mut settled = 0;
    while let Some(done) = tasks.join_next().await {
        settled += u32::from(done.expect("no panic").expect("no error"));
    }
    assert_eq!(settled, 8);
    let expected = vec![("egress".to_string(), 8 * 5 * 3 / 7), ("repair_egress".to_string(), 8 * 2 * 3 / 7)];
    assert_eq!(db.earned(node_id(0)).await.expect("earned"), expected);
}

async fn the_ledger_lists_and_sums_by_hour_and_kind(db: Db) {
    commit(&db, &[segment(1)], &[]).await;
    let hour = NOW.hour();
    db.record_passed(node_id(0), &[passed(1, NOW, 7)], later(10), amount).await.expect("record");
    db.record_passed(node_id(0), &[passed(1, later(10), 7)], later(20), amount).await.expect("record");
    let egress = [Earning { kind: LedgerKind::Egress, quantity: 14 }];
    let next = UnixMillis(hour.0 + HOUR_MS);
    assert!(db.settle_window(node_id(0), next, &egress, next, amount).await.expect("settle"));

    let lines = db.ledger(node_id(0), 9).await.expect("ledger");
    let lines: Vec<_> =
        lines.iter().map(|line| (line.hour, line.kind.as_str(), line.quantity, line.micros)).collect();
    assert_eq!(lines, [(next, "egress", 14, 6), (hour, "storage", 140, 60)]);
    assert_eq!(db.ledger(node_id(0), 1).await.expect("ledger").len(), 1);
    assert!(db.ledger(node_id(1), 9).await.expect("ledger").is_empty());
    assert!(db.earned(node_id(1)).await.expect("earned").is_empty());
}
