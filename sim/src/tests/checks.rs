//! Each check notices what it is for: the promise is broken behind the network's back.

use std::{collections::BTreeSet, time::Duration};

use protocol::time::HOUR_MS;
use store::{Earning, LedgerKind};

use crate::{
    clients::Route,
    invariants::{self, Invariant, Violation},
    pace,
    scenario::runtime,
    steps::Step,
    world::{START, Shape, World},
};

/// A network with files, three days old.
async fn network() -> World {
    let mut world =
        World::new(7, Shape { nodes: 22, gateways: 1, monitors: 1, eagerly: true }).await.unwrap();
    for len in [3_000, 60_000, 200_000] {
        assert_eq!(world.upload(0, &[len], None).await.unwrap().len(), 1);
    }
    for number in 0..12 {
        step(&mut world, number).await;
    }
    let survey = world.check_always().await.unwrap();
    world.check_listing().await.unwrap();
    world.check_full_count(&survey).await.unwrap();
    world.check_no_orphans(&survey).await.unwrap();
    world.check_ledger().await.unwrap();
    world.check_all_files().await.unwrap();
    world
}

async fn step(world: &mut World, number: u32) {
    let step = Step(pace::STEP * number);
    world.pass_until(START + step.0);
    world.step(step).await.unwrap();
}

fn names(invariant: &'static Invariant, outcome: anyhow::Result<()>) {
    let error = outcome.expect_err("nothing was noticed");
    let violation = error.downcast_ref::<Violation>().unwrap_or_else(|| panic!("{error:#}"));
    assert_eq!(violation.invariant.name, invariant.name, "{error:#}");
}

#[test]
fn rows_have_names_of_their_own() {
    let names: BTreeSet<&str> = invariants::ALL.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), invariants::ALL.len());
}

#[test]
fn wrong_bytes_and_missing_files_are_noticed() {
    runtime().unwrap().block_on(async {
        let mut world = network().await;
        let right = world.files.all[1].bytes.clone();
        let mut wrong = right.to_vec();
        wrong[59_999] ^= 1;
        world.files.all[1].bytes = wrong.into();
        names(&invariants::NO_WRONG_BYTE, world.must_read(1, Route::Proxy(0), 1, None).await);
        world.files.all[1].bytes = right.slice(..59_999);
        names(&invariants::NO_WRONG_BYTE, world.must_read(1, Route::Node(3), 1, None).await);
        world.files.all[1].bytes = right;
        world.must_read(1, Route::Redirect(0), 1, Some((5, 700))).await.unwrap();

        (0..15).for_each(|node| world.kill_node(node));
        world.forget_views();
        names(&invariants::READS_BACK, world.must_read(1, Route::Proxy(0), 1, None).await);
        names(&invariants::READS_BACK, world.must_read(1, Route::Node(20), 1, None).await);
        let survey = world.check_always().await.unwrap();
        names(&invariants::FULL_COUNT, world.check_full_count(&survey).await);
        world.files.all.remove(0);
        names(&invariants::LISTED, world.check_listing().await);
    });
}

#[test]
fn what_nodes_hold_and_lack_is_noticed() {
    runtime().unwrap().block_on(async {
        let mut world = network().await;
        let survey = world.check_always().await.unwrap();
        let piece = survey[0].pieces[3];
        world.nodes[piece.node].store.lose_everything();
        names(&invariants::FOUND_OUT, world.check_no_orphans(&survey).await);
        world.check_always().await.unwrap();
        world.clock.advance(pace::FOUND_WITHIN + Duration::from_hours(1));
        names(&invariants::FOUND_OUT, world.check_always().await.map(drop));

        let mut world = network().await;
        let survey = world.check_always().await.unwrap();
        let mut fewer = survey.clone();
        fewer[0].pieces.remove(0);
        names(&invariants::NO_ORPHANS, world.check_no_orphans(&fewer).await);
    });
}

#[test]
fn money_from_nowhere_is_noticed() {
    runtime().unwrap().block_on(async {
        let mut world = network().await;
        let (node, now) = (world.nodes[4].id, world.now());
        let hour = protocol::time::UnixMillis(now.hour().0 - 500 * HOUR_MS);
        let rate = |kind| {
            move |earning: Earning, carry| {
                let accrued = pace::RATES.accrue(kind, earning.quantity.into(), carry).unwrap();
                (accrued.amount.0, accrued.carry)
            }
        };
        let much = |kind| [Earning { kind, quantity: 1 << 50 }];
        let egress = rate(protocol::pay::Kind::Egress);
        world.db.settle_window(node, hour, &much(LedgerKind::Egress), now, egress).await.unwrap();
        names(&invariants::EGRESS_SERVED, world.check_ledger().await);

        let mut world = network().await;
        let storage = rate(protocol::pay::Kind::Storage);
        world.db.settle_window(node, hour, &much(LedgerKind::Storage), now, storage).await.unwrap();
        names(&invariants::PAID_ONCE, world.check_ledger().await);

        let mut world = network().await;
        world
            .db
            .settle_window(node, hour, &much(LedgerKind::Egress), now, |_, carry| (1, carry))
            .await
            .unwrap();
        names(&invariants::LEDGER_ADDS_UP, world.check_ledger().await);
    });
}
