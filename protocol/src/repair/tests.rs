use proptest::prelude::*;
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    redundancy::RedundancyRules,
    reputation::{SuspendReason, Tally},
};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

fn redundancy() -> Redundancy {
    RedundancyRules::default().of(8, 20)
}

fn good(index: u8) -> PieceView {
    PieceView { index, pinned: true, standing: Standing::Good, offline_since: None }
}

fn suspended(index: u8) -> PieceView {
    PieceView { standing: Standing::Suspended { since: NOW, reason: SuspendReason::Failures }, ..good(index) }
}

fn offline(index: u8, hours: u32) -> PieceView {
    PieceView { offline_since: Some(NOW - HOUR * hours), ..good(index) }
}

fn lost(index: u8) -> PieceView {
    PieceView { pinned: false, ..good(index) }
}

fn health_of(pieces: &[PieceView]) -> SegmentHealth {
    classify(pieces, redundancy(), NOW, &RepairRules::default())
}

/// A segment of which the first `count` pieces are healthy and the others gone.
fn with_healthy(count: u8) -> SegmentHealth {
    health_of(&(0..count).map(good).collect::<Vec<_>>())
}

#[test]
fn pieces_have_the_states_of_the_design() {
    let state = |piece: PieceView| piece.state(NOW, &RepairRules::default());
    assert_eq!(state(good(0)), PieceState::Healthy);
    assert_eq!(state(PieceView { standing: Standing::Vetting, ..good(0) }), PieceState::Healthy);
    assert_eq!(state(offline(0, 3)), PieceState::Offline);
    assert_eq!(state(offline(0, 4)), PieceState::Missing);
    assert_eq!(state(suspended(0)), PieceState::Suspended);
    assert_eq!(state(lost(0)), PieceState::Missing);
    assert_eq!(state(PieceView { standing: Standing::Disqualified, ..good(0) }), PieceState::Missing);
    assert_eq!(serde_json::to_string(&PieceState::Suspended).unwrap(), "\"suspended\"");
}

#[test]
fn a_segment_is_healthy_degraded_or_lost() {
    let all = with_healthy(20);
    assert_eq!((all.status(), all.losses_tolerated()), (SegmentStatus::Healthy, 12));
    assert!(all.missing().is_empty() && !all.needs_repair());
    let some = with_healthy(15);
    assert_eq!((some.status(), some.losses_tolerated()), (SegmentStatus::Degraded, 7));
    assert_eq!(some.missing(), (15..20).collect());
    assert!(!some.needs_repair(), "one above the threshold");
    assert!(with_healthy(14).needs_repair());
    assert_eq!(with_healthy(8).status(), SegmentStatus::Degraded);
    assert_eq!((with_healthy(7).status(), with_healthy(7).needs_repair()), (SegmentStatus::Lost, false));
    assert_eq!(with_healthy(0).losses_tolerated(), 0);
}

#[test]
fn retrievable_is_not_healthy() {
    // Twelve suspended, eight offline for a moment.
    let pieces: Vec<_> = (0..12).map(suspended).chain((12..20).map(|index| offline(index, 1))).collect();
    let health = health_of(&pieces);
    assert_eq!((health.healthy.len(), health.retrievable.len()), (8, 12));
    assert_eq!(health.healthy.and(health.retrievable).len(), 0);
    assert!(health.needs_repair());
    // All offline for a moment: nothing can be read, but nothing is lost, and nothing is due.
    let health = health_of(&(0..20).map(|index| offline(index, 1)).collect::<Vec<_>>());
    assert_eq!((health.status(), health.needs_repair()), (SegmentStatus::Healthy, false));
    assert!(!health.is_rebuildable());
    let health = health_of(&(0..10).map(|index| offline(index, 1)).collect::<Vec<_>>());
    assert_eq!(health.status(), SegmentStatus::Degraded);
    assert_eq!(health.plan(20), Err(NoPlan::Unreadable { retrievable: 0, needed: 8 }));
}

#[test]
fn of_several_pieces_of_an_index_the_best_counts() {
    let health = health_of(&[lost(3), suspended(3), good(3), offline(4, 9), offline(4, 1)]);
    assert_eq!(health.healthy, [3, 4].into_iter().collect());
    assert!(health_of(&[good(20), good(63), good(64), good(255)]).existing.is_empty());
}

#[test]
fn a_plan_reads_what_is_steady_and_rebuilds_data_first() {
    let pieces: Vec<_> =
        [suspended(0), suspended(9)].into_iter().chain((4..8).map(good)).chain((12..20).map(good)).collect();
    let health = health_of(&pieces);
    assert_eq!(health.healthy.len(), 12);
    let plan = health.plan(100).unwrap();
    assert_eq!(plan.sources, [4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19, 0, 9]);
    assert_eq!(plan.rebuild, [0, 1, 2, 3, 8, 9, 10, 11].into_iter().collect());
    assert!(plan.keep.contains(0) && plan.keep.contains(9) && !plan.keep.contains(1));
    assert_eq!(health.plan(1).unwrap().rebuild, [0].into_iter().collect());
    assert_eq!(health.plan(0), Err(NoPlan::NoHome));
    assert_eq!(with_healthy(15).plan(5), Err(NoPlan::NotDue { healthy: 15, total: 20 }));
}

#[test]
fn the_estimate_is_the_mean_of_a_simulation() {
    let (nodes, rules) = (50_u16, RepairRules::default());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for healthy in [8, 11, 14, 20] {
        // Nodes 0..healthy hold a piece; in which order are they gone?
        let rounds = 4000;
        let mut gone = 0;
        for _ in 0..rounds {
            let mut order: Vec<u16> = (0..nodes).collect();
            order.shuffle(&mut rng);
            let mut left = healthy;
            gone += order
                .iter()
                .position(|&node| {
                    left -= u8::from(node < healthy.into());
                    left < 8
                })
                .unwrap()
                + 1;
        }
        let simulated = gone as f64 / f64::from(rounds) * 365.0 / f64::from(nodes);
        let estimate = with_healthy(healthy).expected_days_to_loss(nodes.into(), &rules);
        assert!((estimate / simulated - 1.0).abs() < 0.05, "{healthy}: {estimate} {simulated}");
    }
}

#[test]
fn fewer_healthy_pieces_are_more_urgent() {
    let rules = RepairRules::default();
    let days = |healthy, nodes| with_healthy(healthy).expected_days_to_loss(nodes, &rules);
    assert!((0..20).all(|healthy| days(healthy, 100) <= days(healthy + 1, 100)));
    assert!((8..20).all(|healthy| days(healthy, 100) < days(healthy + 1, 100)));
    assert!(days(7, 100) == 0.0 && days(20, 0).is_finite());
}

#[test]
fn surplus_is_what_a_better_piece_covers() {
    let rules = RepairRules::default();
    let pieces =
        [offline(1, 1), good(1), good(1), suspended(2), good(2), offline(3, 1), suspended(3), lost(1)];
    assert_eq!(surplus(&pieces, NOW, &rules), [0, 2, 3]);
}

fn round(nodes: u32, went_offline: u32, visited: u32, failed: u32, unknown: u32) -> Round {
    Round { nodes, went_offline, visited, failed, unknown, ..Round::default() }
}

#[test]
fn the_breaker_holds_when_many_fail_at_once() {
    let rules = BreakerRules::default();
    rules.validate().unwrap();
    assert_eq!(round(20, 6, 14, 2, 4).hold(&rules), None);
    assert_eq!(round(20, 7, 13, 0, 0).hold(&rules), Some(Hold::ManyOffline { count: 7, nodes: 20 }));
    assert_eq!(round(20, 0, 20, 5, 0).hold(&rules), Some(Hold::ManyFailed { count: 5, nodes: 20 }));
    assert_eq!(round(20, 0, 20, 0, 7).hold(&rules), Some(Hold::ManyUnknown { count: 7, nodes: 20 }));
    assert_eq!(round(3, 2, 1, 1, 1).hold(&rules), None, "two nodes are not many");
    assert_eq!(Round::default().hold(&rules), None);
    assert_eq!(rules.hold_removal(6), None);
    assert_eq!(rules.hold_removal(7), Some(Hold::ManyRemoved { count: 7 }));

    let hold = round(20, 7, 13, 0, 0).hold(&rules);
    assert!(rules.may_repair(None, &with_healthy(14)));
    assert!(!rules.may_repair(hold, &with_healthy(11)));
    assert!(rules.may_repair(hold, &with_healthy(10)), "what is about to be lost is repaired");
}

#[test]
fn an_outage_that_lasts_is_a_fact() {
    let rules = BreakerRules::default();
    let mut round = Round::default();
    let failing = Tally { failed: 1, online: 1, known: 1, ..Tally::default() };
    let fine = Tally { passed: 9, online: 1, known: 1, ..Tally::default() };
    let away = Tally { offline: 1, ..Tally::default() };
    let mut add = |offline_since, visit| {
        let heartbeat = NOW - HOUR;
        round.add(
            &Sighting { offline_since, heartbeat, reached: Some(false), visit, failing: None },
            NOW,
            &rules,
        );
    };
    add(Some(NOW - HOUR * 2), Some(&away));
    add(Some(NOW - HOUR / 2), Some(&away));
    add(None, Some(&failing));
    add(None, Some(&fine));
    add(None, None);
    let counted = Round { nodes: 4, went_offline: 1, visited: 2, failed: 1, ..Round::default() };
    assert_eq!(round, counted, "without heartbeats not to be reached means nothing more");
    assert!(serde_json::from_str::<BreakerRules>(r#"{"window": "5m", "nodes": 1}"#).is_err());
    assert!(serde_json::from_str::<RepairRules>(r#"{"offline_grace": "5m"}"#).unwrap().validate().is_ok());
}

#[test]
fn who_does_not_reach_nodes_that_gateways_hear_of_is_cut_off() {
    let rules = BreakerRules::default();
    let hold = |unreached: u32, silent: u32, long_gone: u32, reached: u32| {
        let mut round = Round::default();
        let mut add = |count, offline_since, heartbeat, reached| {
            for _ in 0..count {
                round.add(
                    &Sighting { offline_since, heartbeat, reached, visit: None, failing: None },
                    NOW,
                    &rules,
                );
            }
        };
        add(unreached, None, NOW - Duration::from_mins(2), Some(false));
        add(silent, None, NOW - Duration::from_mins(3), Some(false));
        add(long_gone, Some(NOW - HOUR), NOW, Some(false));
        add(reached, None, NOW, Some(true));
        add(40, None, NOW, None);
        round.hold(&rules)
    };
    assert_eq!(hold(7, 0, 0, 13), Some(Hold::CutOff { count: 7, nodes: 20 }));
    assert_eq!(hold(20, 0, 0, 0), Some(Hold::CutOff { count: 20, nodes: 20 }), "however long it lasts");
    assert_eq!(hold(6, 0, 0, 14), None);
    assert_eq!(hold(2, 18, 0, 0), None, "two are not many, and the others are gone for everybody");
    assert_eq!(hold(4, 0, 9, 10), None, "of some it has been known that only gateways hear of them");
    let cut_off = hold(7, 0, 0, 13);
    assert!(!rules.may_repair(cut_off, &with_healthy(11)) && rules.may_repair(cut_off, &with_healthy(10)));
}

#[test]
fn failures_that_are_confirmed_for_long_enough_are_a_fact() {
    let rules = BreakerRules::default();
    let interval = Duration::from_mins(5);
    let start = NOW - HOUR * 12;
    let mut failing = Failing::new(start);
    assert!(!failing.is_fact(&rules));
    // Two looks within one round are one.
    failing.again(start + Duration::from_mins(1), interval);
    assert_eq!(failing.rounds(), 1);
    failing.again(start + interval, interval);
    assert!(
        !failing.is_over(start + interval * 5, interval) && failing.is_over(start + interval * 6, interval)
    );
    failing.again(NOW - interval, interval);
    assert!(!failing.is_fact(&rules), "often enough, not long enough");
    let mut rare = Failing::new(start);
    rare.again(NOW, interval);
    assert!(!rare.is_fact(&rules), "long enough, not often enough");
    failing.again(NOW, interval);
    assert!(failing.is_fact(&rules));

    // Those do not fail "at once" with others any more; those that have just begun do.
    let failed = Tally { failed: 1, online: 1, known: 1, ..Tally::default() };
    let fine = Tally { passed: 1, online: 1, known: 1, ..Tally::default() };
    let hold = |facts: u32, fresh: u32, passed: u32| {
        let mut round = Round::default();
        let mut add = |count, tally, failing| {
            for _ in 0..count {
                let (reached, visit) = (Some(true), Some(tally));
                let node = Sighting { offline_since: None, heartbeat: NOW, reached, visit, failing };
                round.add(&node, NOW, &rules);
            }
        };
        add(facts, &failed, Some(&failing));
        add(fresh, &failed, Some(&rare));
        add(passed, &fine, None);
        round.hold(&rules)
    };
    assert_eq!(hold(0, 10, 10), Some(Hold::ManyFailed { count: 10, nodes: 20 }));
    assert_eq!(hold(10, 0, 10), None);
    assert_eq!(hold(10, 3, 7), Some(Hold::ManyFailed { count: 3, nodes: 10 }));
}

fn any_piece() -> impl Strategy<Value = PieceView> {
    let standings = [
        Standing::Good,
        Standing::Vetting,
        Standing::Disqualified,
        Standing::Suspended { since: NOW, reason: SuspendReason::Offline },
    ];
    (0_u8..24, proptest::bool::weighted(0.9), 0..4_usize, proptest::option::weighted(0.3, 0_u32..10))
        .prop_map(move |(index, pinned, standing, away)| PieceView {
            index,
            pinned,
            standing: standings[standing],
            offline_since: away.map(|hours| NOW - HOUR * hours),
        })
}

proptest! {
    #[test]
    fn sets_behave_like_sets(
        a in proptest::collection::btree_set(0_u8..64, 0..64),
        b in proptest::collection::btree_set(0_u8..64, 0..64),
        n in 0_usize..70
    ) {
        let [x, y]: [IndexSet; 2] = [&a, &b].map(|set| set.iter().copied().collect());
        prop_assert!(x.iter().eq(a.iter().copied()) && usize::from(x.len()) == a.len());
        prop_assert!(x.and(y).iter().eq(a.intersection(&b).copied()));
        prop_assert!(x.or(y).iter().eq(a.union(&b).copied()));
        prop_assert!(x.without(y).iter().eq(a.difference(&b).copied()));
        prop_assert!(x.first(n).iter().eq(a.iter().copied().take(n)));
        let end = u8::try_from(n).unwrap();
        prop_assert!(IndexSet::below(end).iter().eq(0..end.min(64)));
    }

    /// Invariant: a repair never leaves fewer healthy pieces than it found, and reads only what can be read.
    #[test]
    fn a_plan_only_adds(pieces in proptest::collection::vec(any_piece(), 0..40), homes in 0_usize..25) {
        let health = health_of(&pieces);
        let Ok(plan) = health.plan(homes) else {
            prop_assert!(homes == 0 || !health.needs_repair());
            return Ok(());
        };
        prop_assert_eq!(health.healthy.without(plan.keep), IndexSet::default());
        prop_assert!(plan.rebuild.and(health.healthy).is_empty() && !plan.rebuild.is_empty());
        prop_assert!(usize::from(plan.rebuild.len()) <= homes);
        prop_assert!(health.healthy.or(plan.rebuild).len() > health.healthy.len());
        prop_assert!(plan.rebuild.without(IndexSet::below(20)).is_empty());
        prop_assert!(plan.sources.len() >= 8);
        prop_assert_eq!(plan.sources.iter().copied().collect::<IndexSet>(), health.retrievable);
        prop_assert_eq!(plan.sources.len(), usize::from(health.retrievable.len()));
    }

    /// The sets agree with the states of the pieces one by one, and unpinning surplus changes no healthy
    /// index.
    #[test]
    fn health_is_what_the_pieces_say(pieces in proptest::collection::vec(any_piece(), 0..40)) {
        let rules = RepairRules::default();
        let health = health_of(&pieces);
        for index in 0..24 {
            let of_index = pieces.iter().filter(|piece| piece.index == index);
            let best = of_index.map(|piece| piece.state(NOW, &rules)).min();
            let counts = index < 20 && best.is_some_and(|best| best <= PieceState::Offline);
            prop_assert_eq!(health.healthy.contains(index), counts);
            prop_assert_eq!(health.missing().contains(index), index < 20 && !counts);
        }
        let drop = surplus(&pieces, NOW, &rules);
        let rest: Vec<_> = (0..pieces.len()).filter(|at| !drop.contains(at)).map(|at| pieces[at]).collect();
        prop_assert_eq!(health_of(&rest).healthy, health.healthy);
        prop_assert!(surplus(&rest, NOW, &rules).is_empty());
    }
}
