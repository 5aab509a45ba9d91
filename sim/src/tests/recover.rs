//! The database is lost, or is an older one, and comes back from the nodes.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use content::{
    Cid,
    car::{frame_prefix, header},
};
use pinner::piece_store::{Behaviour, PieceStore as _};
use protocol::{
    ids::{PieceHash, SegmentId},
    piece::PieceMeta,
    proof::verify_slice,
    time::UnixMillis,
    unpin::PieceUnpin,
};
use recover::{Config, Parts, Recovery, Summary};
use service::signer::Signer;
use store::{RECOVERED_ACCOUNT, SegmentInfo};
use tokio::sync::Notify;
use transfer::{Pool, code_segment};

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
        (0..8).for_each(|node| world.kill_node(node));
        for node in [8, 9, 10] {
            world.nodes[node].behave(Behaviour::Lies);
        }
        let summary = recover(&world).await;
        assert_eq!((summary.nodes, summary.absent.len()), (14, 8), "{summary:?}");
        assert!(!summary.released, "who is away may hold what the database does not know");
        assert_whole(&mut world, before).await;
        // Nothing is dropped at those that return before the recovery has run again.
        for node in 0..8 {
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

#[test]
fn fewer_nodes_away_than_pieces_are_needed_hold_nothing_up() {
    runtime().unwrap().block_on(async {
        let mut world = filled(39).await;
        let before = used(&world).await;
        lose_database(&mut world, "new.db").await;
        (0..6).for_each(|node| world.kill_node(node));
        let summary = recover(&world).await;
        assert_eq!((summary.absent.len(), summary.needed_min), (6, Some(8)), "{summary:?}");
        assert!(
            summary.released && summary.unreadable_count == 0,
            "nothing lies on those alone: {summary:?}"
        );
        assert_whole(&mut world, before).await;
        for node in 0..6 {
            world.start_node(node).unwrap();
            world.enrol(node).await.unwrap();
        }
        for number in 10..18 {
            step(&mut world, number).await;
        }
        assert_whole(&mut world, before).await;
        world.check_always().await.unwrap();
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

#[test]
fn an_upload_that_was_in_flight_at_the_backup_is_not_lost() {
    runtime().unwrap().block_on(async {
        let mut world = filled(35).await;
        for number in 10..12 {
            step(&mut world, number).await;
        }
        // Two full segments of it wait for their upload in the backup, and a third is there for a small file's sake.
        let (large, small) = (world.fresh_bytes(44_000_000), world.fresh_bytes(9_000));
        let backup = world.file("backup.db");
        let copy = |world: &World| {
            copy_database(world, "backup.db");
        };
        world.upload_around(0, (large, 36_000_000), small, copy).await.unwrap();
        let before = used(&world).await;

        world.use_database(&backup).await.unwrap();
        let summary = recover(&world).await;
        assert!(summary.released && summary.blocks_added >= 20, "{summary:?}");
        assert_whole(&mut world, before).await;
        for number in 12..30 {
            step(&mut world, number).await;
        }
        assert_whole(&mut world, before).await;
        world.check_always().await.unwrap();
    });
}

/// Has a node hold sound pieces that say to be any piece of these segments, as well as such of a segment that never was.
async fn invent(world: &World, node: usize, segments: &[SegmentInfo]) {
    let store = world.nodes[node].store.clone();
    let put = async |of: &SegmentInfo, index: u8| {
        let (segment, scheme, segment_len) = (of.id, of.scheme, of.length_bytes);
        let piece_len = usize::try_from(scheme.layout(segment_len).piece_len()).unwrap();
        let bytes = Bytes::from(vec![index ^ segment.0[0] ^ u8::try_from(node).unwrap(); piece_len]);
        let meta = PieceMeta { hash: PieceHash::of(&bytes), segment, index, scheme, segment_len };
        let mut put = store.put(meta, world.now()).unwrap();
        put.write(bytes).await.unwrap();
        put.finish().await.unwrap();
    };
    for segment in segments {
        for index in 0..segment.scheme.total() {
            put(segment, index).await;
        }
    }
    put(&SegmentInfo { id: SegmentId([0xee; 16]), length_bytes: 1_000, ..segments[0].clone() }, 0).await;
}

/// Has a node hold all of a small segment that the network never made, in which a block lies that it did make.
async fn copy_into_own_segment(world: &World, node: usize, cid: &str, bytes: &Bytes) -> SegmentId {
    let (cid, scheme): (Cid, _) = (cid.parse().unwrap(), "gf8/1/2".parse().unwrap());
    let mut segment = header(std::slice::from_ref(&cid));
    segment.extend(frame_prefix(&cid, bytes.len()));
    segment.extend_from_slice(bytes);
    let pool = Pool::new(1 << 20);
    let mut buffer = pool.take(segment.len());
    buffer.vec().extend_from_slice(&segment);
    let piece = code_segment(scheme, buffer, &pool).unwrap().swap_remove(0);
    // Of two segments the one with the smaller name is read from.
    let (id, segment_len) = (SegmentId([0; 16]), segment.len() as u64);
    let meta = PieceMeta { hash: piece.hash, segment: id, index: 0, scheme, segment_len };
    let mut put = world.nodes[node].store.put(meta, world.now()).unwrap();
    for slice in piece.slices {
        put.write(slice).await.unwrap();
    }
    put.finish().await.unwrap();
    id
}

#[test]
fn a_segment_that_one_node_made_up_takes_no_place_of_a_real_one() {
    runtime().unwrap().block_on(async {
        let mut world = filled(38).await;
        let before = used(&world).await;
        let file =
            world.live().into_iter().find(|file| world.files.all[*file].bytes.len() == 10_000).unwrap();
        let (cid, bytes) = (world.files.all[file].cid.clone(), world.files.all[file].bytes.clone());
        let id = copy_into_own_segment(&world, 5, &cid, &bytes).await;
        lose_database(&mut world, "new.db").await;
        let summary = recover(&world).await;
        assert!(summary.released && summary.unreadable_count == 1, "{summary:?}");
        assert!(world.db.segments_info(&[id]).await.unwrap().is_empty());
        assert_whole(&mut world, before).await;
        for number in 10..20 {
            step(&mut world, number).await;
        }
        world.kill_node(5);
        assert_whole(&mut world, before).await;
    });
}

#[test]
fn nodes_that_invent_pieces_and_segments_keep_nothing_from_coming_back() {
    runtime().unwrap().block_on(async {
        let mut world = filled(37).await;
        let before = used(&world).await;
        let segments = world.db.segments_after(None, 99).await.unwrap();
        let ids: Vec<SegmentId> = segments.iter().map(|(id, _)| *id).collect();
        let infos = world.db.segments_info(&ids).await.unwrap();
        for node in [3, 11] {
            invent(&world, node, &infos).await;
        }
        lose_database(&mut world, "new.db").await;
        let summary = recover(&world).await;
        assert_eq!(summary.unreadable_count, 1, "only what never was: {summary:?}");
        assert!(summary.released && summary.incomplete_count == 0, "{summary:?}");
        assert_whole(&mut world, before).await;
    });
}

/// A piece that was taken from a node.
struct Taken {
    node: usize,
    meta: PieceMeta,
    stored: UnixMillis,
    bytes: Vec<u8>,
}

/// Takes so many pieces of a segment from the nodes that hold them that it cannot be read.
async fn take_away(world: &World, segment: &SegmentInfo) -> Vec<Taken> {
    let mut taken = Vec::new();
    for (node, place) in world.nodes.iter().enumerate() {
        for piece in segment.pieces.iter().skip(usize::from(segment.scheme.needed()) - 1) {
            let Ok(reader) = place.store.read(piece.hash) else { continue };
            let (meta, stored, len) = (*reader.meta(), reader.stored_at(), reader.piece_len());
            let slice = reader.slice_to_bytes(0..len).unwrap();
            let bytes = verify_slice(piece.hash, len, 0..len, &slice[..]).unwrap();
            taken.push(Taken { node, meta, stored, bytes });
            let unpin = PieceUnpin { hash: piece.hash, stored_before: stored + pace::DAY };
            assert_eq!(place.store.delete(vec![unpin]).await.unwrap(), 1);
        }
    }
    assert!(taken.len() > 1);
    taken
}

async fn give_back(world: &World, taken: Vec<Taken>) {
    for Taken { node, meta, stored, bytes } in taken {
        let mut put = world.nodes[node].store.put(meta, stored).unwrap();
        put.write(bytes.into()).await.unwrap();
        put.finish().await.unwrap();
    }
}

/// The segment in which a file's root lies.
async fn segment_of_root(world: &World, file: usize) -> SegmentInfo {
    let root: Cid = world.files.all[file].cid.parse().unwrap();
    world.db.locate(&[root]).await.unwrap().segments.swap_remove(0)
}

#[test]
fn a_later_run_links_what_an_earlier_one_could_not_read_and_takes_its_adoptions_back() {
    runtime().unwrap().block_on(async {
        let mut world = filled(40).await;
        // Its root lies behind its first segments; no part of the log names it yet.
        let large = world.upload(0, &[44_000_000], None).await.unwrap()[0];
        let before = used(&world).await;
        let segment = segment_of_root(&world, large).await;
        let all = world.db.segments_after(None, 99).await.unwrap().len();
        let taken = take_away(&world, &segment).await;

        lose_database(&mut world, "new.db").await;
        let summary = recover(&world).await;
        assert_eq!((summary.segments_restored, summary.unreadable_count), (all as u64 - 1, 1), "{summary:?}");
        assert!(!summary.is_whole() && !summary.released, "{summary:?}");
        assert!(summary.adopted > 0, "its blocks belong to nobody that is known: {summary:?}");

        give_back(&world, taken).await;
        let summary = recover(&world).await;
        assert_eq!(summary.segments_restored, 1, "{summary:?}");
        assert!(summary.adoptions_ended > 0, "{summary:?}");
        assert!(summary.is_whole() && summary.released, "{summary:?}");
        assert_whole(&mut world, before).await;
        let adopted = world.db.account(RECOVERED_ACCOUNT).await.unwrap();
        assert_eq!(adopted.map(|account| account.used_bytes), Some(0), "nothing of it is adopted any more");
        for number in 10..24 {
            step(&mut world, number).await;
        }
        assert_whole(&mut world, before).await;
        world.check_always().await.unwrap();
    });
}

#[test]
fn a_pin_whose_blocks_are_partly_gone_is_whole_once_a_later_run_finds_them() {
    runtime().unwrap().block_on(async {
        let mut world = filled(41).await;
        let large = world.upload(0, &[44_000_000], None).await.unwrap()[0];
        world.write_log().await.unwrap();
        let before = used(&world).await;
        let root = segment_of_root(&world, large).await.id;
        let segments: Vec<SegmentId> =
            world.db.segments_after(None, 99).await.unwrap().into_iter().map(|(id, _)| id).collect();
        let infos = world.db.segments_info(&segments).await.unwrap();
        let largest = infos.iter().filter(|info| info.id != root).max_by_key(|info| info.length_bytes);
        let taken = take_away(&world, largest.unwrap()).await;

        lose_database(&mut world, "new.db").await;
        let summary = recover(&world).await;
        assert_eq!(summary.incomplete, [world.files.all[large].cid.clone()], "{summary:?}");
        assert!(!summary.is_whole() && !summary.released, "{summary:?}");

        give_back(&world, taken).await;
        let summary = recover(&world).await;
        assert_eq!((summary.segments_restored, summary.incomplete_count), (1, 0), "{summary:?}");
        assert!(summary.is_whole() && summary.released, "{summary:?}");
        assert_whole(&mut world, before).await;
        // Had it not been linked, it would be collected.
        for number in 10..24 {
            step(&mut world, number).await;
        }
        assert_whole(&mut world, before).await;
        world.check_always().await.unwrap();
    });
}
