//! The database is lost, or is an older one, and comes back from the nodes.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use pinner::piece_store::Behaviour;
use recover::{Config, Parts, Recovery, Summary};
use service::signer::Signer;
use tokio::sync::Notify;

use crate::{
    clients::{Got, Route},
    pace,
    scenario::runtime,
    steps::Step,
    trouble::Party,
    world::{ACCOUNT, START, Shape, World, key},
};

const SHAPE: Shape = Shape { nodes: 22, gateways: 1, monitors: 1, eagerly: true };

fn recovery(world: &World) -> Recovery {
    let party = Party::Monitor(90);
    let dice = world.common.dice(party, 1);
    Recovery::new(Parts {
        db: world.db.clone(),
        transport: world.common.transport(party),
        signer: Signer::new(world.common.network_key.clone(), world.clock.clone(), dice.clone()),
        clock: world.clock.clone(),
        dice,
        config: Config { page: 7, ..Config::default() },
    })
}

fn urls(world: &World) -> Vec<String> {
    world.nodes.iter().map(|node| node.url.clone()).collect()
}

async fn recover(world: &World) -> Summary {
    recovery(world).run(&urls(world), &|_| {}).await.unwrap()
}

async fn step(world: &mut World, number: u32) {
    let step = Step(pace::STEP * number);
    world.pass_until(START + step.0);
    world.step(step).await.unwrap();
}

/// A network with files of several kinds: some in the log, some that only the notes of their segments name, some removed.
async fn filled(seed: u64) -> World {
    let mut world = World::new(seed, SHAPE).await.unwrap();
    for number in 0..3 {
        step(&mut world, number).await;
    }
    let ends = world.now() + pace::DAY * 30;
    world.upload(0, &[0, 1, 900, 40_000, 70_000], None).await.unwrap();
    world.upload(0, &[3_000_000], None).await.unwrap();
    world.upload(0, &[50_000, 20], Some(ends)).await.unwrap();
    assert!(world.delete(0, 3).await.unwrap());
    world.write_log().await.unwrap();
    assert!(world.delete(0, 2).await.unwrap());
    world.write_log().await.unwrap();
    world.upload(0, &[10_000, 1_200_000], None).await.unwrap();
    world
}

async fn lose_database(world: &mut World, name: &str) {
    let file = world.file(name);
    world.use_database(&file).await.unwrap();
}

async fn used(world: &World) -> u64 {
    world.db.account(ACCOUNT).await.unwrap().unwrap().used_bytes
}

/// Everything reads back as it was, belongs to whom it belonged, and costs what it cost.
async fn assert_whole(world: &mut World, used_before: u64) {
    if world.db.account_keys(ACCOUNT, 9).await.unwrap().is_empty() {
        key(&world.db, world.common.seed).await.unwrap();
    }
    world.forget_views();
    world.check_listing().await.unwrap();
    assert_eq!(used(world).await, used_before);
    for file in world.live() {
        let got = world.read(file, Route::Proxy(0), 1, None).await.unwrap();
        assert!(matches!(got, Got::Bytes(_)), "file {file}: {got:?}");
    }
}

#[test]
fn a_lost_database_comes_back_from_the_nodes() {
    runtime().unwrap().block_on(async {
        let mut world = filled(31).await;
        let before = used(&world).await;
        lose_database(&mut world, "new.db").await;
        let summary = recover(&world).await;
        assert_eq!((summary.nodes, summary.nodes_new), (22, 22), "{summary:?}");
        assert!(summary.is_whole() && summary.released, "{summary:?}");
        assert_eq!((summary.adopted, summary.unreadable_count), (0, 0), "{summary:?}");
        assert_whole(&mut world, before).await;
        let node = &world.db.nodes().await.unwrap()[0];
        assert!(node.operator.starts_with("operator-") && node.region != "unknown", "{node:?}");

        // Again there is nothing to do, and monitors collect nothing that is needed.
        let again = recover(&world).await;
        assert_eq!((again.pins_restored, again.segments_restored, again.nodes_new), (0, 0, 0), "{again:?}");
        for number in 10..24 {
            step(&mut world, number).await;
        }
        assert_whole(&mut world, before).await;
        let survey = world.check_always().await.unwrap();
        assert!(survey.iter().flat_map(|segment| &segment.pieces).all(|piece| piece.sound), "{survey:?}");
    });
}

#[test]
fn a_recovery_that_is_killed_anywhere_is_run_again() {
    runtime().unwrap().block_on(async {
        let mut world = filled(32).await;
        let before = used(&world).await;
        lose_database(&mut world, "new.db").await;
        let (mut kills, mut done) = (0, false);
        while !done {
            // Each run comes a little further.
            let (told, stop) = (AtomicUsize::new(0), Notify::new());
            let tell = |_: &str| {
                if told.fetch_add(1, Ordering::Relaxed) == kills * 3 {
                    stop.notify_one();
                }
            };
            let (recovery, urls) = (recovery(&world), urls(&world));
            tokio::select! {
                biased;
                () = stop.notified() => kills += 1,
                outcome = recovery.run(&urls, &tell) => {
                    outcome.unwrap();
                    done = true;
                }
            }
        }
        assert!(kills > 3, "{kills}");
        assert_whole(&mut world, before).await;
    });
}

#[test]
fn nodes_that_are_away_or_lie_keep_nothing_from_coming_back() {
    runtime().unwrap().block_on(async {
        let mut world = filled(33).await;
        let before = used(&world).await;
        lose_database(&mut world, "new.db").await;
        (0..6).for_each(|node| world.kill_node(node));
        for node in [7, 8, 9] {
            world.nodes[node].behave(Behaviour::Lies);
        }
        let summary = recover(&world).await;
        assert_eq!((summary.nodes, summary.absent.len()), (16, 6), "{summary:?}");
        assert!(!summary.released, "who is away may hold what the database does not know");
        assert_whole(&mut world, before).await;
        // Nothing is dropped at those that return before the recovery has run again.
        for node in 0..6 {
            world.start_node(node).unwrap();
            world.enrol(node).await.unwrap();
        }
        for number in 10..18 {
            step(&mut world, number).await;
        }
        assert!(world.db.held().await.unwrap().is_some());
        assert_eq!(world.db.unpins_waiting().await.unwrap(), 0);
        let summary = recover(&world).await;
        assert!(summary.released && summary.pieces_moved > 0, "{summary:?}");
        assert_whole(&mut world, before).await;
    });
}

fn copy_database(world: &World, name: &str) -> PathBuf {
    let to = world.file(name);
    for end in ["", "-wal"] {
        let from = world.file(&format!("sim.db{end}"));
        if from.exists() {
            std::fs::copy(from, format!("{}{end}", to.display())).unwrap();
        }
    }
    to
}

#[test]
fn an_older_backup_loses_no_pin_and_brings_none_back() {
    runtime().unwrap().block_on(async {
        let mut world = filled(34).await;
        for number in 10..12 {
            step(&mut world, number).await;
        }
        let backup = copy_database(&world, "backup.db");
        // After the backup: new files, one removed of before and one of after, and pieces that move.
        world.upload(0, &[60_000, 5_000, 800_000], None).await.unwrap();
        assert!(world.delete(0, 4).await.unwrap());
        let last = world.files.all.len() - 2;
        assert!(world.delete(0, last).await.unwrap());
        world.write_log().await.unwrap();
        for number in 12..16 {
            step(&mut world, number).await;
        }
        world.upload(0, &[30_000], None).await.unwrap();
        let before = used(&world).await;
        world.clock.advance(pace::DAY * 12);

        world.use_database(&backup).await.unwrap();
        // Monitors run on it, as if nothing had happened.
        for number in 70..80 {
            step(&mut world, number).await;
        }
        let held = world.db.held().await.unwrap();
        assert!(held.is_some(), "an old database is not noticed");
        assert_eq!(world.db.unpins_waiting().await.unwrap(), 0, "nodes are told to drop what is not known");

        let summary = recover(&world).await;
        assert!(summary.pins_restored >= 3 && summary.pins_removed == 1, "{summary:?}");
        assert!(summary.released && summary.adopted == 0, "{summary:?}");
        assert_whole(&mut world, before).await;
        for number in 80..90 {
            step(&mut world, number).await;
        }
        assert_whole(&mut world, before).await;
        world.check_always().await.unwrap();
    });
}
