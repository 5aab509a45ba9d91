use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn rules() -> RankingRules {
    RankingRules::default()
}

fn node(number: u16, region: Region) -> RouteNode {
    let node = NodeId(*blake3::hash(&number.to_le_bytes()).as_bytes());
    RouteNode { node, region, online: true, in_flight: 0, capacity: 1.0, health: Health::new() }
}

fn nodes(count: u16, region: Region) -> Vec<RouteNode> {
    (0..count).map(|number| node(number, region)).collect()
}

fn key(number: u32) -> [u8; 36] {
    let mut key = [0x12; 36];
    key[4..].copy_from_slice(blake3::hash(&number.to_le_bytes()).as_bytes());
    key
}

fn order(number: u32, nodes: &[RouteNode]) -> Vec<usize> {
    let ranked = rank(&key(number), &Place::of_region(Region::EU), nodes, NOW, &rules());
    ranked.iter().map(|ranked| ranked.index).collect()
}

fn readiness(health: &Health, mixed: u64, now: UnixMillis) -> Readiness {
    health.readiness(health.success(now, &rules()), mixed, now, &rules())
}

fn down() -> Health {
    let mut health = Health::new();
    (0..3).for_each(|_| health.failed(NOW, &rules()));
    health
}

#[test]
fn own_region_first_then_the_nearest() {
    let regions = [Region::SA, Region::AS, Region::EU, Region::OC, Region::NA];
    let nodes: Vec<_> = (0..25).map(|n| node(n, regions[usize::from(n % 5)])).collect();
    for number in 0..100 {
        let ranked = rank(&key(number), &Place::of_region(Region::EU), &nodes, NOW, &rules());
        let seen: Vec<_> = ranked.chunks(5).map(|part| nodes[part[0].index].region).collect();
        assert_eq!(seen, [Region::EU, Region::NA, Region::AS, Region::SA, Region::OC]);
        assert!(ranked.is_sorted_by(|a, b| a.distance_km <= b.distance_km));
    }
    // A reader whose region has no nodes goes to the nearest, seen from its country.
    let place = Place::of_country("MA".parse().unwrap()).unwrap();
    let ranked = rank(&key(1), &place, &nodes, NOW, &rules());
    assert_eq!(nodes[ranked[0].index].region, Region::EU);
    assert!(rank(&key(1), &place, &[], NOW, &rules()).is_empty());
}

#[test]
fn keys_spread_evenly_and_by_weight() {
    let mut nodes = nodes(10, Region::EU);
    nodes[3].capacity = 2.0;
    nodes[7].capacity = 0.5;
    let mut first = BTreeMap::<usize, f64>::new();
    let keys = 20_000;
    for number in 0..keys {
        *first.entry(order(number, &nodes)[0]).or_default() += 1.0;
    }
    for (index, count) in first {
        let expected = f64::from(keys) * nodes[index].capacity / 10.5;
        // Five standard deviations.
        assert!((count - expected).abs() < 5.0 * expected.sqrt(), "node {index}: {count} of {expected}");
    }
}

#[test]
fn a_node_that_leaves_moves_only_its_own_keys() {
    let all = nodes(12, Region::EU);
    for number in 0..500 {
        let before = order(number, &all);
        for gone in 0..12 {
            let mut fewer = all.clone();
            fewer[gone].online = false;
            let after = order(number, &fewer);
            let expected: Vec<_> = before.iter().copied().filter(|&index| index != gone).collect();
            assert_eq!(after[..11], expected);
            assert_eq!(after[11], gone, "last, but still there");
        }
    }
}

#[test]
fn a_node_above_its_share_is_passed_over() {
    let rules = rules();
    let mut nodes = nodes(8, Region::EU);
    nodes.extend((8..12).map(|number| node(number, Region::NA)));
    // One hot key: all requests would go to one node.
    for request in 1_u32..=400 {
        let best = order(1, &nodes)[0];
        assert_eq!(nodes[best].region, Region::EU, "load does not drive readers out of their region");
        nodes[best].in_flight += 1;
        let bound = (1.25 * f64::from(request) / 8.0).ceil().max(f64::from(rules.load_free));
        let most = nodes.iter().map(|node| node.in_flight).max().unwrap();
        assert!(f64::from(most) <= bound, "{most} in flight on one node after {request} requests");
    }
    // Few requests stay where the cache is.
    for node in &mut nodes {
        node.in_flight = 0;
    }
    let favourite = order(1, &nodes)[0];
    nodes[favourite].in_flight = rules.load_free - 1;
    assert_eq!(order(1, &nodes)[0], favourite);
    // Full nodes are left even for another region.
    for node in &mut nodes[..8] {
        node.in_flight = rules.in_flight_max;
    }
    assert_eq!(nodes[order(1, &nodes)[0]].region, Region::NA);
}

#[test]
fn a_full_node_that_is_down_is_down() {
    let mut nodes = nodes(2, Region::EU);
    nodes[0].health = down();
    nodes[0].in_flight = rules().in_flight_max;
    nodes[1].in_flight = rules().in_flight_max;
    assert!((0..50).all(|number| order(number, &nodes) == [1, 0]));
}

#[test]
fn a_failing_node_is_pushed_back_left_alone_and_tried_again() {
    let rules = rules();
    let mut health = Health::new();
    let ready_keys = |health: &Health, now| {
        let turns = (0..4000_u64).filter(|&n| readiness(health, mix(n), now) == Readiness::Ready);
        turns.count()
    };
    health.failed(NOW, &rules);
    assert_eq!(readiness(&health, 0, NOW), Readiness::Strained);
    assert_eq!(readiness(&health, 0, NOW + rules.failure_pause), Readiness::Ready);
    health.failed(NOW, &rules);
    health.failed(NOW, &rules);
    assert_eq!(health.down_until(&rules), Some(NOW + Duration::from_secs(5)));
    assert_eq!(readiness(&health, 0, NOW + Duration::from_millis(4999)), Readiness::Down);
    // Half open: one key in sixteen, others each second.
    let open = NOW + Duration::from_secs(5);
    assert!((200..300).contains(&ready_keys(&health, open)), "{}", ready_keys(&health, open));
    let turn = |second| readiness(&health, 7, open + Duration::from_secs(second)) == Readiness::Ready;
    assert!((0..200).any(turn) && !(0..200).all(turn));
    health.failed(open, &rules);
    assert_eq!(health.down_until(&rules), Some(open + Duration::from_secs(10)));
    (0..50).for_each(|_| health.failed(open, &rules));
    assert_eq!(health.down_until(&rules), Some(open + Duration::from_mins(2)));
    // One success ends it, though the node still has to show more of them.
    health.succeeded(Duration::from_millis(10), open, &rules);
    assert_eq!(health.down_until(&rules), None);
    assert!(health.success(open, &rules) < rules.success_min);
    assert!(ready_keys(&health, open) < 300);
    let later = open + Duration::from_mins(10);
    assert_eq!(ready_keys(&health, later), 4000, "time heals");
}

#[test]
fn averages_follow_time_and_not_the_number_of_looks() {
    let rules = rules();
    let mut health = Health::new();
    assert!(health.success(NOW, &rules) > 0.999);
    for step in 0..100 {
        health.succeeded(Duration::from_millis(100), NOW + Duration::from_millis(step), &rules);
    }
    let now = NOW + Duration::from_millis(100);
    assert!((health.latency_ms(now, &rules) - 98.4).abs() < 0.1, "{}", health.latency_ms(now, &rules));
    let half = health.latency_ms(now + rules.latency_half_life, &rules);
    assert!((half - (50.0 * 100.0 + 2.0 * 20.0) / 52.0).abs() < 0.1, "{half}");
    // Halving once and then again is the same as waiting for two half-lives.
    let (mut twice, mut once) = (health, health);
    twice.decay(now + rules.success_half_life, &rules);
    twice.decay(now + rules.success_half_life * 2, &rules);
    once.decay(now + rules.success_half_life * 2, &rules);
    assert!((twice.success(now, &rules) - once.success(now, &rules)).abs() < 1e-12);
    // A clock that goes back changes nothing for the worse.
    let before = health.success(now, &rules);
    health.succeeded(Duration::ZERO, UnixMillis(0), &rules);
    assert!(health.success(now, &rules) >= before);
    let text = serde_json::to_string(&health).unwrap();
    let read: Health = serde_json::from_str(&text).unwrap();
    assert!((read.success(now, &rules) - health.success(now, &rules)).abs() < 1e-9);
}

#[test]
fn slow_and_failing_nodes_get_fewer_keys() {
    let rules = rules();
    let mut nodes = nodes(10, Region::EU);
    for _ in 0..200 {
        nodes[0].health.succeeded(Duration::from_millis(80), NOW, &rules);
        nodes[1].health.succeeded(Duration::from_millis(5), NOW, &rules);
    }
    (0..50).for_each(|_| nodes[2].health.failed(NOW, &rules));
    (0..100).for_each(|_| nodes[2].health.succeeded(Duration::from_millis(5), NOW, &rules));
    let mut first = [0; 10];
    (0..5000).for_each(|number| first[order(number, &nodes)[0]] += 1);
    // Weights: a quarter for four times the good latency; (5/8)^2 for two thirds of successes; others 1.
    let unit = 5000.0 / (8.0 + 0.25 + 0.390_625);
    for (index, weight) in [(0, 0.25), (1, 1.0), (2, 0.390_625), (3, 1.0)] {
        let expected = unit * weight;
        assert!((f64::from(first[index]) - expected).abs() < 5.0 * expected.sqrt(), "{index} {first:?}");
    }
    // A little more latency moves nothing.
    let before: Vec<_> = (0..200).map(|number| order(number, &nodes)).collect();
    nodes[1].health.succeeded(Duration::from_millis(9), NOW, &rules);
    nodes[0].health.succeeded(Duration::from_millis(85), NOW, &rules);
    assert_eq!(before, (0..200).map(|number| order(number, &nodes)).collect::<Vec<_>>());
}

#[test]
fn rules_refuse_typos_and_nonsense() {
    rules().validate().unwrap();
    let some: RankingRules = serde_json::from_str(r#"{"down_for": "2s", "load_slack": 0.5}"#).unwrap();
    assert_eq!((some.down_for, some.load_slack), (Duration::from_secs(2), 0.5));
    assert!(serde_json::from_str::<RankingRules>(r#"{"load_slac": 0.5}"#).is_err());
    let bad = RankingRules { load_slack: f64::NAN, success_min: 2.0, failures_down: 0, ..rules() };
    assert_eq!(bad.validate().unwrap_err().problems().len(), 3);
}

fn any_node() -> impl Strategy<Value = RouteNode> {
    let regions = [Region::EU, Region::NA, Region::AS, "moon".parse().unwrap()];
    let kind = (any::<u16>(), 0_usize..4, any::<bool>(), 0_u32..600, 0_u8..4, 0.0_f64..3.0);
    kind.prop_map(move |(number, region, online, in_flight, failures, capacity)| {
        let mut node = node(number, regions[region]);
        (0..failures).for_each(|_| node.health.failed(NOW, &RankingRules::default()));
        RouteNode { online, in_flight, capacity, ..node }
    })
}

proptest! {
    #[test]
    fn no_node_that_is_down_comes_before_one_that_is_up(
        nodes in proptest::collection::vec(any_node(), 0..30), number: u32
    ) {
        let ranked = order(number, &nodes);
        let mut all = ranked.clone();
        all.sort_unstable();
        prop_assert_eq!(all, (0..nodes.len()).collect::<Vec<_>>());
        let is_up = |&index: &usize| {
            let node = &nodes[index];
            node.online && node.capacity > 0.0 && node.health.failures_in_row() < 3
        };
        let first_down = ranked.iter().position(|index| !is_up(index)).unwrap_or(ranked.len());
        prop_assert!(!ranked[first_down..].iter().any(is_up));
        // Nodes that are ready are served from the reader's region if one of them is there.
        let ready = |index: &usize| {
            let node = &nodes[*index];
            is_up(index) && node.health.failures_in_row() == 0 && node.in_flight < 512
        };
        if ranked.iter().any(|index| ready(index) && nodes[*index].region == Region::EU) {
            prop_assert_eq!(nodes[ranked[0]].region, Region::EU);
        }
    }

    #[test]
    fn the_order_of_the_nodes_in_the_list_does_not_matter(
        nodes in proptest::collection::vec(any_node(), 0..20), number: u32, turn: usize
    ) {
        let mut distinct = nodes;
        distinct.sort_by_key(|node| node.node);
        distinct.dedup_by_key(|node| node.node);
        let names = |nodes: &[RouteNode]| -> Vec<NodeId> {
            order(number, nodes).iter().map(|&index| nodes[index].node).collect()
        };
        let before = names(&distinct);
        let by = turn % distinct.len().max(1);
        distinct.rotate_left(by);
        // Nodes without capacity have no score to tell them apart.
        let zero = |node: &RouteNode| node.capacity <= 0.0;
        if !distinct.iter().any(zero) {
            prop_assert_eq!(before, names(&distinct));
        }
    }

    #[test]
    fn any_number_of_regions_is_ranked(count in 0_u16..100, reader in 0_u16..100) {
        let region = |number: u16| format!("r{number}").parse::<Region>().unwrap();
        let nodes: Vec<_> = (0..count).map(|number| node(number, region(number))).collect();
        let ranked = rank(b"key", &Place::of_region(region(reader)), &nodes, NOW, &rules());
        prop_assert_eq!(ranked.len(), usize::from(count));
        if reader < count {
            prop_assert_eq!(ranked[0].index, usize::from(reader));
        }
    }

    #[test]
    fn the_readiest_is_never_left_for_a_down_one(seed: u32) {
        let mut nodes = nodes(10, Region::EU);
        let up = usize::try_from(seed).unwrap() % 10;
        for (_, node) in nodes.iter_mut().enumerate().filter(|(index, _)| *index != up) {
            node.health = down();
        }
        prop_assert_eq!(order(seed, &nodes)[0], up);
    }
}
