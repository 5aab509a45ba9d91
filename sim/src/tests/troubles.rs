//! What becomes of calls on lines in trouble.

use crate::trouble::{Party, Side, Trouble, Way, way};

const NODE: Party = Party::Node(3);
const OTHER: Party = Party::Node(4);
const GATEWAY: Party = Party::Gateway(0);

fn becomes(troubles: &[Trouble], from: Party, to: Party, path: &str, percent: u32) -> Way {
    way(troubles.iter(), from, to, path, || percent)
}

#[test]
fn a_cut_closes_one_way_only() {
    let cut = [Trouble::Cut { from: Side::Gateways, to: Side::Only(NODE) }];
    assert_eq!(becomes(&cut, GATEWAY, NODE, "/v1/status", 0), Way::Closed);
    assert_eq!(becomes(&cut, NODE, GATEWAY, "/v1/nodes/heartbeat", 0), Way::Open);
    assert_eq!(becomes(&cut, GATEWAY, OTHER, "/v1/status", 0), Way::Open);
    assert_eq!(becomes(&cut, Party::Monitor(0), NODE, "/v1/status", 0), Way::Open);
}

#[test]
fn who_is_down_neither_calls_nor_is_called() {
    let down = [Trouble::Down(NODE)];
    assert_eq!(becomes(&down, NODE, GATEWAY, "/v1/nodes/heartbeat", 0), Way::Closed);
    assert_eq!(becomes(&down, OTHER, NODE, "/v1/pieces/ab", 0), Way::Closed);
    assert_eq!(becomes(&down, OTHER, GATEWAY, "/v1/nodes/locate", 0), Way::Open);
}

#[test]
fn who_stalls_shows_that_it_is_there() {
    let stalls = [Trouble::Stalls(NODE)];
    assert_eq!(becomes(&stalls, GATEWAY, NODE, "/v1/status", 0), Way::Open);
    assert_eq!(becomes(&stalls, GATEWAY, NODE, "/v1/pieces/ab", 0), Way::Stalls);
    assert_eq!(becomes(&stalls, NODE, GATEWAY, "/v1/nodes/heartbeat", 0), Way::Open);
}

#[test]
fn a_lossy_line_loses_requests_and_answers_alike() {
    let loses = [Trouble::Loses { party: NODE, percent: 10 }];
    let outcomes: Vec<Way> =
        (0..100).map(|drawn| becomes(&loses, NODE, OTHER, "/v1/status", drawn)).collect();
    let count = |wanted| outcomes.iter().filter(|way| **way == wanted).count();
    assert_eq!((count(Way::LosesRequest), count(Way::LosesAnswer), count(Way::Open)), (5, 5, 90));
}

#[test]
fn the_worst_counts() {
    let cut = Trouble::Cut { from: Side::Nodes, to: Side::Only(NODE) };
    let both = [Trouble::Stalls(NODE), cut];
    assert_eq!(becomes(&both, OTHER, NODE, "/v1/pieces/ab", 0), Way::Closed);
    assert_eq!(becomes(&both, GATEWAY, NODE, "/v1/pieces/ab", 0), Way::Stalls);
    assert!(Trouble::Stalls(NODE).touches(NODE) && cut.touches(NODE) && !cut.touches(OTHER));
}
