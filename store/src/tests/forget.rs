//! What grows with time is forgotten or added up, and neither loses nor doubles money.

use std::{collections::BTreeMap, time::Duration};

use protocol::time::UnixMillis;
use tokio::task::JoinSet;

use super::{engines::both_engines, fixtures::node_id};
use crate::{Db, Earning, LedgerKind, LedgerLine};

both_engines!(
    a_settled_hour_that_was_forgotten_is_not_paid_again,
    hours_of_the_ledger_become_days_and_no_sum_changes,
    an_hour_too_large_to_be_added_up_stays,
    the_ledger_adds_up_while_many_roll_it_up_and_book,
);

const HOUR: Duration = Duration::from_hours(1);
/// The first hour of a day.
const MIDNIGHT: UnixMillis = UnixMillis(20_000 * 86_400_000);

fn hour(number: u32) -> UnixMillis {
    MIDNIGHT + HOUR * number
}

/// One micro-unit for each of whatever is paid for, and nothing to carry.
fn one_each(earning: Earning, carry: u64) -> (u64, u64) {
    (earning.quantity, carry)
}

async fn settle(db: &Db, node: u8, at: UnixMillis, quantity: u64) -> bool {
    let both = [LedgerKind::Egress, LedgerKind::RepairEgress].map(|kind| Earning { kind, quantity });
    db.settle_window(node_id(node), at, &both, at + HOUR, one_each).await.expect("settle")
}

async fn lines(db: &Db, node: u8) -> Vec<LedgerLine> {
    db.ledger(node_id(node), 10_000).await.expect("ledger")
}

async fn quantities(db: &Db, nodes: u8) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for node in 0..nodes {
        for line in lines(db, node).await {
            assert_eq!(line.quantity, line.micros, "each line is whole");
            *sums.entry(line.kind).or_default() += line.quantity;
        }
    }
    sums
}

async fn a_settled_hour_that_was_forgotten_is_not_paid_again(db: Db) {
    for number in 0..5 {
        assert!(settle(&db, 1, hour(number), 10).await);
    }
    let half_past = hour(3) + HOUR / 2;
    assert_eq!(db.trim_settlements(half_past, 2).await.expect("trim"), 2, "no more than allowed at once");
    assert_eq!(db.trim_settlements(half_past, 9).await.expect("trim"), 1);
    assert_eq!(db.trim_settlements(half_past, 9).await.expect("trim"), 0);
    for number in 0..5 {
        assert!(!settle(&db, 1, hour(number), 10).await, "hour {number} was settled");
    }
    assert!(!settle(&db, 2, hour(2), 10).await, "nobody knows any more whether it was");
    assert!(settle(&db, 2, hour(3), 10).await, "this one was not closed");
    // A monitor that keeps them for longer opens nothing again.
    assert_eq!(db.trim_settlements(hour(1), 9).await.expect("trim"), 0);
    assert!(!settle(&db, 1, hour(1), 10).await);
    assert_eq!(quantities(&db, 3).await["egress"], 60);
}

async fn hours_of_the_ledger_become_days_and_no_sum_changes(db: Db) {
    // Three days and a bit, the first of them without its first hour.
    for node in 0..2 {
        for number in 1..80 {
            assert!(settle(&db, node, hour(number), u64::from(number)).await);
        }
    }
    let before = quantities(&db, 2).await;
    // In the middle of the third day: that one stays.
    let cut = hour(60);
    let mut steps = 0;
    while db.roll_up_ledger(cut, 7).await.expect("roll up") > 0 {
        steps += 1;
        assert_eq!(quantities(&db, 2).await, before);
    }
    // 23 and 23 hours that are not first ones, two kinds, two nodes.
    assert_eq!(steps, (46 * 2 * 2_u32).div_ceil(7));
    for node in 0..2 {
        let hours: Vec<UnixMillis> = lines(&db, node)
            .await
            .iter()
            .filter(|line| line.kind == "egress")
            .map(|line| line.hour)
            .collect();
        let days = [hour(24), hour(0)];
        assert_eq!(hours.len(), 32 + 2);
        assert_eq!(hours[32..], days, "latest first");
        assert_eq!(hours[31], hour(48));
    }
    let first_day = lines(&db, 0).await.pop().expect("a line");
    assert_eq!(first_day.quantity, (1..24).sum::<u64>());

    // What is booked late comes to its day too.
    assert!(settle(&db, 3, hour(5), 1).await && settle(&db, 3, hour(0), 2).await);
    assert_eq!(db.roll_up_ledger(cut, 9).await.expect("roll up"), 2);
    let late: Vec<_> = lines(&db, 3).await.iter().map(|line| (line.hour, line.quantity)).collect();
    assert_eq!(late, [(hour(0), 3), (hour(0), 3)]);
}

async fn an_hour_too_large_to_be_added_up_stays(db: Db) {
    let large = i64::MAX as u64 / 2;
    assert!(settle(&db, 1, hour(1), large).await && settle(&db, 1, hour(2), 5).await);
    assert!(settle(&db, 2, hour(0), large).await && settle(&db, 2, hour(1), 5).await);
    assert_eq!(db.roll_up_ledger(hour(24), 99).await.expect("roll up"), 2);
    let of = async |node| {
        let lines = lines(&db, node).await;
        lines
            .iter()
            .filter(|line| line.kind == "egress")
            .map(|line| (line.hour, line.quantity))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(1).await, [(hour(1), large), (hour(0), 5)]);
    assert_eq!(of(2).await, [(hour(1), 5), (hour(0), large)]);
}

async fn the_ledger_adds_up_while_many_roll_it_up_and_book(db: Db) {
    const WORKERS: u32 = 8;
    const HOURS: u32 = 24;
    let mut tasks = JoinSet::new();
    for worker in 0..WORKERS {
        let db = db.clone();
        tasks.spawn(async move {
            for number in 0..HOURS {
                // Every hour is settled by several, and once; others add up what is there so far.
                if worker % 2 == 0 {
                    settle(&db, 0, hour(number), 1 + u64::from(number)).await;
                } else {
                    db.roll_up_ledger(hour(24), 5).await.expect("roll up");
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no worker panics");
    }
    while db.roll_up_ledger(hour(24), 5).await.expect("roll up") > 0 {}
    let sum: u64 = (1..=u64::from(HOURS)).sum();
    assert_eq!(quantities(&db, 1).await.into_values().collect::<Vec<u64>>(), [sum, sum]);
    assert_eq!(lines(&db, 0).await.len(), 2, "a line for each kind");
}
