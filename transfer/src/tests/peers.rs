//! What is remembered of nodes.

use std::time::Duration;

use protocol::ids::NodeId;

use crate::Peers;

const FAST: NodeId = NodeId([1; 32]);
const SLOW: NodeId = NodeId([2; 32]);
const NEW: NodeId = NodeId([3; 32]);

#[test]
fn fast_ones_come_first_and_failed_ones_last() {
    let peers = Peers::default();
    peers.succeeded(FAST, Duration::from_millis(5));
    peers.succeeded(SLOW, Duration::from_millis(500));
    let order = |peers: &Peers| {
        let mut nodes = [SLOW, FAST, NEW];
        nodes.sort_by_key(|node| peers.rank(*node));
        nodes
    };
    assert_eq!(order(&peers), [NEW, FAST, SLOW], "a new one gets its chance");
    peers.failed(FAST);
    assert!(peers.is_pushed_back(FAST));
    assert_eq!(order(&peers), [NEW, SLOW, FAST]);
    peers.succeeded(FAST, Duration::from_millis(5));
    assert!(!peers.is_pushed_back(FAST), "one success is enough to come back");
}

#[test]
fn the_usual_time_is_that_of_the_middle_one() {
    let peers = Peers::default();
    assert_eq!(peers.typical_latency(), None);
    for (node, ms) in [(1, 10), (2, 20), (3, 9000)] {
        peers.succeeded(NodeId([node; 32]), Duration::from_millis(ms));
    }
    assert_eq!(peers.typical_latency(), Some(Duration::from_millis(20)));
}
