use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::*;

const REGIONS: [Region; 4] = [Region::EU, Region::NA, Region::AS, Region::SA];

fn candidate(node: u16, net: u8, operator: u64, region: Region) -> Candidate {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&node.to_le_bytes());
    Candidate {
        node: NodeId(id),
        net: Net::V4([10, 0, net]),
        operator: Operator(operator),
        region,
        free_bytes: 1 << 40,
        score: 1.0,
    }
}

/// `count` nodes that have nothing in common but one of `regions` regions.
fn apart(count: u16, regions: u16) -> Vec<Candidate> {
    let one = |n: u16| Candidate {
        net: Net::V6(u64::from(n).to_le_bytes()),
        ..candidate(n, 0, u64::from(n), REGIONS[usize::from(n % regions)])
    };
    (0..count).map(one).collect()
}

fn request(wanted: usize) -> Request<'static> {
    Request { wanted, spares: 0, piece_len: 8 << 20, holders: &[] }
}

fn holder(c: &Candidate) -> Holder {
    Holder { node: c.node, net: c.net, operator: c.operator, region: c.region }
}

fn per_region(candidates: &[Candidate], chosen: &[usize]) -> BTreeMap<Region, usize> {
    let mut counts = BTreeMap::new();
    for &index in chosen {
        *counts.entry(candidates[index].region).or_default() += 1;
    }
    counts
}

#[test]
fn nets_are_24_or_64_bits() {
    let net = |text: &str| Net::of(text.parse().unwrap());
    assert_eq!(net("192.0.2.1"), net("192.0.2.200"));
    assert_ne!(net("192.0.2.1"), net("192.0.3.1"));
    assert_eq!(net("::ffff:192.0.2.9"), net("192.0.2.1"));
    assert_eq!(net("2001:db8:1:2::1"), net("2001:db8:1:2:ffff::1"));
    assert_ne!(net("2001:db8:1:2::1"), net("2001:db8:1:3::1"));
}

#[test]
fn full_nodes_and_nodes_without_score_are_never_chosen() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut candidates = apart(30, 3);
    for (index, candidate) in candidates.iter_mut().enumerate() {
        match index % 3 {
            0 => candidate.free_bytes = (8 << 20) - 1,
            1 => candidate.score = [0.0, -1.0, f64::NAN][index % 9 / 3],
            _ => candidate.free_bytes = 8 << 20,
        }
    }
    let chosen = choose(&candidates, &request(20), &mut rng);
    assert_eq!(chosen.len(), 10);
    assert!(chosen.iter().all(|index| index % 3 == 2));
}

#[test]
fn a_node_that_is_listed_twice_is_chosen_once() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let once = apart(10, 2);
    let twice = [&once[..], &once[..]].concat();
    let mut nodes: Vec<_> =
        choose(&twice, &request(20), &mut rng).iter().map(|&index| twice[index].node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), 10);
    assert_eq!(choose(&twice, &request(20), &mut rng).len(), 10);
}

#[test]
fn one_machine_is_enough_for_a_network() {
    // Twenty nodes of one operator on one address, as on a developer's machine.
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let candidates: Vec<_> = (0..20).map(|n| candidate(n, 1, 1, REGIONS[usize::from(n % 3)])).collect();
    let mut chosen = choose(&candidates, &request(20), &mut rng);
    chosen.sort_unstable();
    assert_eq!(chosen, (0..20).collect::<Vec<_>>());
    let sixteen = choose(&candidates, &request(16), &mut rng);
    assert!(per_region(&candidates, &sixteen).values().all(|&count| count <= 6));
}

#[test]
fn rules_give_way_evenly_and_in_order() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    // Four operators with ten nets each: operators have to repeat, nets need not.
    let candidates: Vec<_> =
        (0..40).map(|n: u8| candidate(n.into(), n, u64::from(n % 4), Region::EU)).collect();
    for _ in 0..50 {
        let chosen = choose(&candidates, &request(20), &mut rng);
        let mut per_operator = [0; 4];
        for &index in &chosen {
            per_operator[index % 4] += 1;
        }
        assert_eq!(per_operator, [5; 4]);
    }
    // A region of three nodes gives what it has; the others share the rest evenly.
    let mut candidates = apart(60, 3);
    candidates.retain(|c| c.region != Region::EU || c.node.0[0] < 9);
    for _ in 0..50 {
        let counts = per_region(&candidates, &choose(&candidates, &request(20), &mut rng));
        assert_eq!(counts[&Region::EU], 3);
        assert!(counts[&Region::NA].abs_diff(counts[&Region::AS]) <= 1);
    }
}

#[test]
fn holders_count_and_are_not_chosen_again() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let candidates = apart(40, 4);
    // Fourteen pieces stay, ten of them in Europe, which is already more than its share of 5.
    let holders: Vec<_> = candidates
        .iter()
        .filter(|c| c.region == Region::EU)
        .chain(candidates.iter().filter(|c| c.region == Region::NA).take(4))
        .map(holder)
        .collect();
    let request = Request { wanted: 6, spares: 4, piece_len: 1, holders: &holders };
    for _ in 0..50 {
        let chosen = choose(&candidates, &request, &mut rng);
        assert_eq!(chosen.len(), 10);
        assert!(chosen.iter().all(|&index| holders.iter().all(|h| h.node != candidates[index].node)));
        let counts = per_region(&candidates, &chosen[..6]);
        assert!(!counts.contains_key(&Region::EU) && counts.get(&Region::NA).is_none_or(|&n| n == 1));
    }
}

#[test]
fn the_draw_follows_the_weights() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut candidates = apart(50, 1);
    for (index, candidate) in candidates.iter_mut().enumerate() {
        candidate.score = [0.1, 0.2, 0.3, 0.4, 1.0][index % 5];
    }
    let rounds = 20_000;
    let mut hits = [0.0_f64; 50];
    for _ in 0..rounds {
        hits[choose(&candidates, &request(1), &mut rng)[0]] += 1.0;
    }
    let weight: f64 = candidates.iter().map(|c| c.score).sum();
    let expected = |index: usize| f64::from(rounds) * candidates[index].score / weight;
    let chi_square: f64 = (0..50).map(|i| (hits[i] - expected(i)).powi(2) / expected(i)).sum();
    // 49 degrees of freedom: 85.4 is passed once in a thousand.
    assert!(chi_square < 85.4, "{chi_square}");
}

#[test]
fn second_draws_follow_the_weights_too() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut candidates = apart(3, 1);
    (candidates[0].score, candidates[1].score, candidates[2].score) = (0.5, 0.3, 0.2);
    let rounds = 50_000;
    let mut orders = BTreeMap::<(usize, usize), f64>::new();
    for _ in 0..rounds {
        let chosen = choose(&candidates, &request(2), &mut rng);
        *orders.entry((chosen[0], chosen[1])).or_default() += 1.0;
    }
    for ((first, second), count) in orders {
        let (p, q) = (candidates[first].score, candidates[second].score);
        let expected = f64::from(rounds) * p * q / (1.0 - p);
        assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{first} {second} {count} {expected}");
    }
}

#[derive(Debug, Clone)]
struct Scene {
    candidates: Vec<Candidate>,
    wanted: usize,
    spares: usize,
    seed: u64,
}

/// Up to nine nodes of few nets, operators and regions. With `nested`, a net belongs to one operator, as nets
/// mostly do.
fn scene(nested: bool) -> impl Strategy<Value = Scene> {
    let node = (0_u8..6, 0_u64..4, 0_usize..3, 0.01_f64..=1.0);
    (proptest::collection::vec(node, 0..10), 0_usize..9, 0_usize..4, any::<u64>()).prop_map(
        move |(nodes, wanted, spares, seed)| {
            let build = |(n, (net, operator, region, score)): (usize, (u8, u64, usize, f64))| Candidate {
                score,
                ..candidate(
                    u16::try_from(n).unwrap(),
                    net,
                    if nested { u64::from(net) / 2 } else { operator },
                    REGIONS[region],
                )
            };
            Scene { candidates: nodes.into_iter().enumerate().map(build).collect(), wanted, spares, seed }
        },
    )
}

impl Scene {
    fn choose(&self) -> Vec<usize> {
        let request = Request { wanted: self.wanted, spares: self.spares, piece_len: 1, holders: &[] };
        choose(&self.candidates, &request, &mut ChaCha8Rng::seed_from_u64(self.seed))
    }

    /// Distinct nets and operators of a set of nodes.
    fn diversity(&self, chosen: &[usize]) -> (usize, usize) {
        let nets: BTreeSet<_> = chosen.iter().map(|&i| self.candidates[i].net).collect();
        let operators: BTreeSet<_> = chosen.iter().map(|&i| self.candidates[i].operator).collect();
        (nets.len(), operators.len())
    }
}

proptest! {
    #[test]
    fn as_many_distinct_nodes_as_there_are(scene in scene(false)) {
        let chosen = scene.choose();
        let distinct: BTreeSet<_> = chosen.iter().collect();
        prop_assert_eq!(distinct.len(), chosen.len());
        prop_assert_eq!(chosen.len(), (scene.wanted + scene.spares).min(scene.candidates.len()));
    }

    /// Every subset is tried: none of the same size has more distinct nets, nor, of those, more distinct
    /// operators. So for every length of the list: wanted nodes lose nothing to the spares.
    #[test]
    fn nothing_is_more_diverse_where_nets_have_one_operator(scene in scene(true)) {
        let chosen = scene.choose();
        for len in 1..=chosen.len() {
            let got = scene.diversity(&chosen[..len]);
            let best = (0_u32..1 << scene.candidates.len())
                .filter(|set| set.count_ones() as usize == len)
                .map(|set| (0..scene.candidates.len()).filter(|i| set >> i & 1 == 1).collect::<Vec<_>>())
                .map(|subset| scene.diversity(&subset));
            let best_nets = best.clone().map(|(nets, _)| nets).max();
            let best_operators = best.map(|(_, operators)| operators).max();
            prop_assert_eq!((Some(got.0), Some(got.1)), (best_nets, best_operators));
        }
    }

    /// Where nets and operators cross, the choice is maximal: a node that repeats a net or an operator is
    /// only taken when none that repeats neither was left.
    #[test]
    fn no_rule_is_broken_without_need(scene in scene(false)) {
        let chosen = scene.choose();
        for at in 0..chosen.len() {
            let (before, now) = (&chosen[..at], &scene.candidates[chosen[at]]);
            let offence = |c: &Candidate| {
                let count = |same: &dyn Fn(&Candidate) -> bool| {
                    before.iter().filter(|&&i| same(&scene.candidates[i])).count()
                };
                (count(&|b| b.net == c.net), count(&|b| b.operator == c.operator))
            };
            let mut left = (0..scene.candidates.len()).filter(|i| !before.contains(i));
            prop_assert!(left.all(|i| offence(&scene.candidates[i]) >= offence(now)));
        }
    }

    /// Where nothing else binds, no region gets more than its share as long as another one could take the
    /// piece.
    #[test]
    fn regions_fill_evenly(
        sizes in proptest::collection::vec(1_usize..12, 1..4), wanted in 1_usize..20, seed: u64
    ) {
        let mut candidates = apart(64, 1);
        let regions = sizes.iter().enumerate().flat_map(|(r, &size)| std::iter::repeat_n(REGIONS[r], size));
        candidates.truncate(sizes.iter().sum());
        for (candidate, region) in candidates.iter_mut().zip(regions) {
            candidate.region = region;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let chosen = choose(&candidates, &request(wanted), &mut rng);
        let counts = per_region(&candidates, &chosen);
        // The lowest level up to which all regions can be filled so that everything finds a place.
        let fits = |level: usize| sizes.iter().map(|&s| s.min(level)).sum::<usize>() >= chosen.len();
        let level = (0..=chosen.len()).find(|&level| fits(level)).unwrap().max(wanted.div_ceil(sizes.len()));
        prop_assert!(counts.values().all(|&count| count <= level), "{counts:?} {level}");
    }
}
