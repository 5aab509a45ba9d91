//! Spreading: when it is enough, what happens to those that fail or lag, when it gives up.

use std::{collections::HashSet, time::Duration};

use protocol::{ids::NodeId, piece::PieceMeta};
use testing::Mode;

use super::fixture::{Fixture, SEGMENT, code, random_bytes, scheme};
use crate::{Pool, SpreadConfig, SpreadError, Stored};

const LEN: usize = 200_000;

/// Checks that pieces are where they are said to be, each on a node of its own.
fn assert_stored(fixture: &Fixture, segment: &[u8], stored: &[Stored]) {
    let pieces = code(scheme(), segment, &Pool::new(0));
    let mut nodes: HashSet<NodeId> = HashSet::new();
    let mut indices: HashSet<u8> = HashSet::new();
    for Stored { index, node } in stored {
        assert!(nodes.insert(*node), "two pieces on one node");
        assert!(indices.insert(*index), "one piece twice");
        let piece = &pieces[usize::from(*index)];
        let node = fixture.network.node(*node).unwrap();
        assert_eq!(node.piece(piece.hash).as_deref(), Some(&piece.slices.concat()[..]));
        let meta = PieceMeta {
            hash: piece.hash,
            segment: SEGMENT,
            index: *index,
            scheme: scheme(),
            segment_len: segment.len() as u64,
        };
        assert!(node.metas().contains(&meta), "the node knows what piece it is");
    }
}

#[tokio::test]
async fn all_nodes_up() {
    let fixture = Fixture::new(24);
    let segment = random_bytes(1, LEN);
    let spread = fixture.spread(&segment, 0..24, 18);
    let (mut stored, rest) = fixture.spreader().spread(spread).await.unwrap();
    assert!(stored.len() >= 18);
    stored.extend(rest.finish().await);
    assert_eq!(stored.len(), 20);
    assert_stored(&fixture, &segment, &stored);
    assert_eq!(fixture.network.pieces_held(), 20, "no spare was bothered");
}

#[tokio::test]
async fn failures_go_to_spares() {
    let fixture = Fixture::new(24);
    fixture.network.set([0], Mode::Dead);
    fixture.network.set([3], Mode::Failing);
    fixture.network.set([19], Mode::Full);
    let segment = random_bytes(2, LEN);
    let (mut stored, rest) = fixture.spreader().spread(fixture.spread(&segment, 0..24, 20)).await.unwrap();
    assert!(rest.is_done());
    stored.extend(rest.finish().await);
    assert_stored(&fixture, &segment, &stored);
    assert_eq!(stored.len(), 20);
    let nodes = fixture.network.nodes();
    assert!(fixture.peers.is_pushed_back(nodes[0].id()) && fixture.peers.is_pushed_back(nodes[3].id()));
    assert!(!fixture.peers.is_pushed_back(nodes[19].id()), "being full is no failure");
}

#[tokio::test]
async fn slow_ones_are_helped_by_spares() {
    let fixture = Fixture::new(24);
    fixture.network.set([2, 7, 11], Mode::Stalled);
    let segment = random_bytes(3, LEN);
    let (mut stored, rest) = fixture.spreader().spread(fixture.spread(&segment, 0..24, 20)).await.unwrap();
    stored.extend(rest.finish().await);
    assert_stored(&fixture, &segment, &stored);
    assert_eq!(stored.len(), 20);
    let holders: HashSet<NodeId> = stored.iter().map(|stored| stored.node).collect();
    assert!([2, 7, 11].iter().all(|number| !holders.contains(&fixture.network.nodes()[*number].id())));
}

#[tokio::test]
async fn late_pieces_are_told_by_the_rest() {
    let fixture = Fixture::new(20);
    fixture.network.set([4, 5], Mode::Stalled);
    let segment = random_bytes(4, LEN);
    let (mut stored, mut rest) =
        fixture.spreader().spread(fixture.spread(&segment, 0..20, 18)).await.unwrap();
    assert_eq!(stored.len(), 18, "two lag and no spare is there");
    assert!(!rest.is_done());
    assert_eq!(rest.ready(), None);
    fixture.network.set([4], Mode::Honest);
    let late = rest.next().await.unwrap();
    assert_eq!(late.node, fixture.network.nodes()[4].id());
    stored.push(late);
    fixture.network.set([5], Mode::Honest);
    stored.extend(rest.next().await);
    assert_eq!(rest.next().await, None);
    assert!(rest.is_done());
    assert_stored(&fixture, &segment, &stored);
    assert_eq!(stored.len(), 20);
}

#[tokio::test]
async fn what_is_ready_is_told_without_waiting() {
    let fixture = Fixture::new(20);
    fixture.network.set([4, 5], Mode::Stalled);
    let spread = fixture.spread(&random_bytes(5, LEN), 0..20, 18);
    let (_, mut rest) = fixture.spreader().spread(spread).await.unwrap();
    fixture.network.set([4], Mode::Honest);
    while fixture.network.pieces_held() < 19 {
        tokio::task::yield_now().await;
    }
    let mut told = None;
    while told.is_none() {
        told = rest.ready();
        tokio::task::yield_now().await;
    }
    assert_eq!(told.unwrap().node, fixture.network.nodes()[4].id());
    assert_eq!(rest.ready(), None);
    assert!(!rest.is_done());
}

#[tokio::test]
async fn a_rest_ends_when_its_time_is_up() {
    let fixture = Fixture::new(20);
    fixture.network.set([4], Mode::Stalled);
    let config = SpreadConfig { rest_timeout: Duration::from_millis(20), ..SpreadConfig::default() };
    let spread = fixture.spread(&random_bytes(6, LEN), 0..20, 18);
    let (stored, rest) = fixture.spreader_with(config).spread(spread).await.unwrap();
    assert_eq!(stored.len() + rest.finish().await.len(), 19);
}

#[tokio::test]
async fn it_gives_up_as_soon_as_too_few_are_left() {
    let fixture = Fixture::new(20);
    // The stalled one could hold everybody up for long; three refusals are enough to know.
    fixture.network.set([0], Mode::Stalled);
    fixture.network.set([1, 2], Mode::Full);
    fixture.network.set([3], Mode::Failing);
    let spread = fixture.spread(&random_bytes(7, LEN), 0..20, 18);
    let error = fixture.spreader().spread(spread).await.unwrap_err();
    let SpreadError { durable, wanted, no_space, failed } = error;
    assert!(durable <= 16, "{durable}");
    assert_eq!((wanted, no_space, failed), (18, 2, 1));
}

#[tokio::test]
async fn too_few_targets_are_known_to_be_too_few_at_once() {
    let fixture = Fixture::new(20);
    let spread = fixture.spread(&random_bytes(8, LEN), 0..17, 18);
    let error = fixture.spreader().spread(spread).await.unwrap_err();
    assert_eq!((error.wanted, error.no_space, error.failed), (18, 0, 0));
}

#[tokio::test]
async fn a_piece_that_takes_too_long_counts_as_failed() {
    let fixture = Fixture::new(20);
    fixture.network.set([0, 1, 2], Mode::Stalled);
    let config = SpreadConfig { piece_timeout: Duration::from_millis(300), ..SpreadConfig::default() };
    let spread = fixture.spread(&random_bytes(9, 100), 0..20, 18);
    let error = fixture.spreader_with(config).spread(spread).await.unwrap_err();
    assert_eq!((error.durable, error.failed), (17, 3));
}

#[tokio::test]
async fn nobody_to_wait_for_is_done_at_once() {
    let fixture = Fixture::new(2);
    let mut spread = fixture.spread(&random_bytes(10, LEN), 0..2, 0);
    spread.pieces.truncate(2);
    let (stored, rest) = fixture.spreader().spread(spread).await.unwrap();
    assert!(stored.is_empty());
    assert_eq!(rest.finish().await.len(), 2);
}

#[tokio::test]
async fn a_dropped_rest_stops_what_is_under_way() {
    let fixture = Fixture::new(20);
    fixture.network.set([4], Mode::Stalled);
    let pool = Pool::new(100 << 20);
    let segment = random_bytes(11, LEN);
    let mut spread = fixture.spread(&segment, 0..20, 19);
    spread.pieces = code(scheme(), &segment, &pool);
    let (_, rest) = fixture.spreader().spread(spread).await.unwrap();
    drop(rest);
    // The stalled attempt held the buffers of the data and of the recovery pieces; they come back once it is stopped.
    tokio::time::timeout(Duration::from_secs(10), async {
        while pool.idle_bytes() < 2 * LEN {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    fixture.network.set([4], Mode::Honest);
    assert_eq!(fixture.network.nodes()[4].puts(), 0);
}
