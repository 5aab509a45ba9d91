//! More is lost than the design promises to survive, and our own lines fail.

use std::time::Duration;

use pinner::piece_store::Behaviour;

use crate::{
    clients::{Got, Route},
    faults::Heal,
    pace,
    scenario::runtime,
    steps::Step,
    trouble::{Party, Side, Trouble},
    world::{START, Shape, World},
};

const SHAPE: Shape = Shape { nodes: 20, gateways: 1, monitors: 1, eagerly: false };
/// With these gone a segment of 20 has one piece too few.
const TOO_MANY: usize = 13;

/// A network with some files, a day old.
async fn network(seed: u64, shape: Shape) -> (World, Step) {
    let mut world = World::new(seed, shape).await.unwrap();
    for len in [0, 5_000, 40_000, 700_000, 1_100_000] {
        assert_eq!(world.upload(0, &[len], None).await.unwrap().len(), 1);
    }
    let mut step = Step(Duration::ZERO);
    steps(&mut world, &mut step, 4).await;
    (world, step)
}

async fn steps(world: &mut World, step: &mut Step, count: u32) {
    for _ in 0..count {
        world.pass_until(START + step.0);
        world.step(*step).await.unwrap();
        step.0 += pace::STEP;
    }
}

/// Reads every file that is not tiny (a byte may lie in a piece that is left) on both ways; gives how many reads worked.
/// Wrong and short bodies are errors of the read itself.
async fn read_all(world: &mut World, node: usize) -> usize {
    let mut worked = 0;
    for file in world.live() {
        if world.files.all[file].bytes.len() < 5_000 {
            continue;
        }
        for route in [Route::Proxy(0), Route::Node(node)] {
            match world.read(file, route, 2, None).await.unwrap() {
                Got::Bytes(_) => worked += 1,
                Got::Failure(why) => {
                    let honest = ["502", "503", "504", "broken off"];
                    assert!(honest.iter().any(|start| why.starts_with(start)), "{why}");
                }
            }
        }
    }
    worked
}

#[test]
fn more_than_can_be_survived_is_said_honestly_and_forgotten_when_nodes_return() {
    runtime().unwrap().block_on(async {
        let (mut world, mut step) = network(1, SHAPE).await;
        assert_eq!(read_all(&mut world, 19).await, 8);
        let gone: Vec<usize> = (0..TOO_MANY).collect();
        gone[1..].iter().for_each(|node| world.kill_node(*node));
        world.forget_views();
        assert_eq!(read_all(&mut world, 19).await, 8, "twelve of twenty may be down");
        world.kill_node(0);
        world.forget_views();
        assert_eq!(read_all(&mut world, 19).await, 0);
        // Days pass: the monitor blames nobody and sees that segments cannot be read.
        steps(&mut world, &mut step, 8).await;
        assert_eq!(read_all(&mut world, 19).await, 0);
        world.heal(Heal::Nodes(gone)).await.unwrap();
        steps(&mut world, &mut step, 4).await;
        assert_eq!(read_all(&mut world, 19).await, 8);
        let survey = world.check_always().await.unwrap();
        assert!(survey.iter().all(|segment| segment.state == store::SegmentState::Live), "{survey:?}");
    });
}

#[test]
fn segments_whose_pieces_are_gone_for_good_are_lost_and_others_are_not() {
    runtime().unwrap().block_on(async {
        let (mut world, mut step) = network(2, SHAPE).await;
        for node in 0..TOO_MANY {
            world.nodes[node].store.lose_everything();
            (world.nodes[node].bad_since, world.nodes[node].was_troubled) = (Some(world.now()), true);
        }
        assert_eq!(read_all(&mut world, 19).await, 0);
        // While so many fail at once nobody is blamed, but what is uploaded now is as safe as ever.
        steps(&mut world, &mut step, 4).await;
        let fresh = world.upload(0, &[30_000], None).await.unwrap();
        assert_eq!(fresh.len(), 1);
        steps(&mut world, &mut step, 8).await;
        assert_eq!(read_all(&mut world, 19).await, 2, "the new file, on both ways");
    });
}

#[test]
fn a_monitor_that_is_cut_off_blames_nobody_and_stops_no_upload() {
    runtime().unwrap().block_on(async {
        let (mut world, mut step) = network(3, Shape { nodes: 24, ..SHAPE }).await;
        let cut = world.trouble(Trouble::Cut { from: Side::Monitors, to: Side::Nodes });
        // However long it lasts, nodes of which gateways hear stay what they are, and so uploads go on.
        for _ in 0..4 {
            steps(&mut world, &mut step, 3).await;
            world.forget_views();
            assert_eq!(world.upload(0, &[20_000], None).await.unwrap().len(), 1);
        }
        assert_eq!(read_all(&mut world, 5).await, 16);
        world.net.end(cut);
        steps(&mut world, &mut step, 8).await;
        assert_eq!(read_all(&mut world, 5).await, 16);
        let survey = world.check_always().await.unwrap();
        world.check_full_count(&survey).await.unwrap();
        world.check_no_orphans(&survey).await.unwrap();
        world.check_ledger().await.unwrap();
    });
}

#[test]
fn liars_are_found_and_everything_is_moved_off_them() {
    runtime().unwrap().block_on(async {
        let (mut world, mut step) = network(4, Shape { nodes: 26, eagerly: true, ..SHAPE }).await;
        // So many that one round of audits is enough.
        for _ in 0..30 {
            world.upload(0, &[100], None).await.unwrap();
        }
        for (node, behaviour) in [(3, Behaviour::Lies), (8, Behaviour::Forgets), (11, Behaviour::Lies)] {
            world.nodes[node].behave(behaviour);
            world.nodes[node].store.lose_everything();
            (world.nodes[node].bad_since, world.nodes[node].was_troubled) = (Some(world.now()), true);
        }
        steps(&mut world, &mut step, 20).await;
        let survey = world.check_always().await.unwrap();
        assert!(survey.iter().flat_map(|segment| &segment.pieces).all(|piece| piece.sound), "{survey:?}");
        assert_eq!(read_all(&mut world, 5).await, 8);
        world.check_ledger().await.unwrap();
    });
}

#[test]
fn a_node_that_has_just_joined_is_helped_by_gateways_that_have_not_heard_of_it() {
    runtime().unwrap().block_on(async {
        let (mut world, _) = network(5, Shape { gateways: 2, ..SHAPE }).await;
        world.forget_views();
        world.refresh_view(1).await.unwrap();
        let node = world.join_node().await.unwrap();
        let (from, to) = (Side::Only(Party::Node(node)), Side::Only(Party::Gateway(0)));
        world.trouble(Trouble::Cut { from, to });
        let got = world.read(3, Route::Node(node), 1, None).await.unwrap();
        assert!(matches!(got, Got::Bytes(_)), "{got:?}");
    });
}

#[test]
fn a_reader_is_never_sent_off_with_a_ticket_whose_time_is_over() {
    runtime().unwrap().block_on(async {
        let (mut world, _) = network(6, SHAPE).await;
        for _ in 0..4 {
            let got = world.read(2, Route::Redirect(0), 3, None).await.unwrap();
            assert!(matches!(got, Got::Bytes(_)), "{got:?}");
            world.clock.advance(Duration::from_mins(4));
        }
    });
}

#[test]
fn what_nodes_were_told_serves_through_a_gateway_that_remembers_nothing_and_has_no_database() {
    runtime().unwrap().block_on(async {
        let (mut world, mut step) = network(7, SHAPE).await;
        for node in 0..SHAPE.nodes {
            assert_eq!(read_all(&mut world, node).await, 8);
        }
        steps(&mut world, &mut step, 1).await;
        world.kill_gateway(0).await;
        world.start_gateway(0).await.unwrap();
        world.refresh_view(0).await.unwrap();
        // What a node was told is on its disk, and what it has read is not.
        world.kill_node(19);
        world.start_node(19).unwrap();
        world.gateways[0].as_ref().unwrap().db.close().await;
        assert_eq!(read_all(&mut world, 19).await, 8);
        // The next day nobody knows any more, and says so.
        world.kill_node(19);
        world.start_node(19).unwrap();
        world.clock.advance(Duration::from_hours(25));
        // Its list of nodes is the old one.
        world.gateways[0].as_mut().unwrap().viewed = Some(world.now());
        assert_eq!(read_all(&mut world, 19).await, 0);
        world.kill_gateway(0).await;
        world.start_gateway(0).await.unwrap();
        world.forget_views();
        assert_eq!(read_all(&mut world, 19).await, 8);
    });
}
