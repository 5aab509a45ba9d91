use std::time::Duration;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::*;

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const DAY: Duration = Duration::from_hours(24);

fn rules() -> ReputationRules {
    ReputationRules::default()
}

fn new() -> Reputation {
    Reputation::new(START, &rules())
}

fn passed(passed: u32) -> Tally {
    Tally { passed, known: 1, online: 1, ..Tally::default() }
}

fn failed(failed: u32) -> Tally {
    Tally { failed, ..passed(0) }
}

#[test]
fn a_visit_becomes_a_tally() {
    let answered = |verdicts: &[Verdict]| Tally::of(&Outcome::Answered(verdicts.to_vec()));
    let [pass, unknown] = [Verdict::Passed, Verdict::Unknown];
    let [wrong, gone, stalled, admitted] =
        [Fault::WrongBytes, Fault::NotFound, Fault::TimedOut, Fault::Admitted].map(Verdict::Failed);
    let all = answered(&[pass, pass, wrong, gone, stalled, admitted]);
    assert_eq!(all, Tally { passed: 2, failed: 3, admitted: 1, known: 1, online: 1, ..Tally::default() });
    let some = answered(&[pass, unknown, unknown]);
    assert_eq!(some, Tally { passed: 1, unknown: 1, online: 1, ..Tally::default() });
    assert_eq!(Tally::of(&Outcome::Offline), Tally { offline: 1, ..Tally::default() });
    assert_eq!(Tally::of(&Outcome::Contained), Tally { online: 1, ..Tally::default() });
    assert_eq!(Tally::of(&Outcome::Unknown), Tally { online: 1, unknown: 1, ..Tally::default() });
}

#[test]
fn forty_one_failures_in_a_row_reach_the_limit() {
    let rules = rules();
    let mut score = rules.audit_start();
    score.fail(40, rules.memory, rules.weight);
    assert!(score.score() > rules.disqualify_at, "{}", score.score());
    score.fail(1, rules.memory, rules.weight);
    assert!(score.score() <= rules.disqualify_at, "{}", score.score());
}

#[test]
fn ten_unknown_visits_in_a_row_suspend() {
    let rules = rules();
    let mut node = new();
    let unknown = Tally::of(&Outcome::Unknown);
    for _ in 0..9 {
        assert_eq!(node.record(&unknown, START, &rules), None);
    }
    assert_eq!(node.record(&unknown, START, &rules), Some(Standing::Vetting));
    assert_eq!(node.standing, Standing::Suspended { since: START, reason: SuspendReason::Unknown });
    // It comes back at a higher score than the one it fell at.
    let mut visits = 0;
    while node.standing.is_suspended() {
        node.record(&passed(100), START, &rules);
        visits += 1;
    }
    assert!((5..15).contains(&visits), "{visits}");
    assert!(node.unknown.score() >= rules.unknown_restore_at);
}

/// How many audits it takes until the score falls to the limit, when each fails with this probability.
fn audits_until_limit(loss: f64, seed: u64) -> Option<u32> {
    let rules = rules();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut score = rules.audit_start();
    (1..=20_000).find(|_| {
        if rng.random_bool(loss) {
            score.fail(1, rules.memory, rules.weight);
        } else {
            score.succeed(1, rules.memory, rules.weight);
        }
        score.score() <= rules.disqualify_at
    })
}

#[test]
fn two_percent_lost_never_reaches_the_limit_and_five_always() {
    let runs = |loss| (0..40).map(|seed| audits_until_limit(loss, seed)).collect::<Vec<_>>();
    assert!(runs(0.02).iter().all(Option::is_none));
    let near = runs(0.03).iter().flatten().count();
    assert!((5..36).contains(&near), "at 3 % it is a matter of luck: {near} of 40");
    assert!(runs(0.035).iter().flatten().count() >= 38);
    let mut five: Vec<_> = runs(0.05).into_iter().map(|audits| audits.expect("all runs fail")).collect();
    five.sort_unstable();
    // Published median: 1585 audits.
    assert!((1300..1900).contains(&five[20]), "{}", five[20]);
}

/// A node that loses this share of its pieces, visited every half hour for a month.
fn month(loss: f64, admits: bool, seed: u64) -> (Reputation, Option<UnixMillis>) {
    let rules = rules();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut node = new();
    let mut out = None;
    for visit in 0..30 * 48 {
        let now = START + Duration::from_mins(30 * visit);
        let lost = u32::try_from((0..50).filter(|_| rng.random_bool(loss)).count()).unwrap();
        let (failed, admitted) = if admits { (0, lost) } else { (lost, 0) };
        node.record(&Tally { failed, admitted, ..passed(50 - lost) }, now, &rules);
        if node.standing == Standing::Disqualified && out.is_none() {
            out = Some(now);
        }
    }
    (node, out)
}

#[test]
fn only_lossy_nodes_are_disqualified_and_only_after_the_grace() {
    let grace = rules().disqualify_grace;
    for seed in 0..5 {
        assert_eq!(month(0.005, false, seed).0.standing, Standing::Good);
        assert_eq!(month(0.02, false, seed).1, None);
        let out = month(0.05, false, seed).1.expect("disqualified");
        assert!(out >= START + grace && out < START + grace + DAY * 3, "{out}");
        // Owning up helps a node that decays, and not one that is empty.
        let (decaying, out) = month(0.05, true, seed);
        assert!(out.is_none() && decaying.standing.is_suspended());
        assert!(month(0.12, true, seed).1.is_some());
    }
}

#[test]
fn a_node_can_recover_during_the_grace() {
    let rules = rules();
    let mut node = new();
    node.record(&failed(100), START, &rules);
    let suspended = Standing::Suspended { since: START, reason: SuspendReason::Failures };
    assert_eq!(node.standing, suspended);
    assert!(node.audit.score() < rules.disqualify_at && node.placement_weight(&rules) == 0.0);
    let now = START + DAY * 6;
    node.record(&passed(1000), now, &rules);
    assert_eq!(node.standing, suspended, "under the upper bound it stays");
    node.record(&passed(3000), now, &rules);
    assert_eq!(node.standing, Standing::Vetting);
    // The next time, the grace starts anew.
    node.record(&failed(100), START + DAY * 8, &rules);
    assert!(node.standing.is_suspended());
    node.record(&failed(1), START + DAY * 14, &rules);
    assert!(node.standing.is_suspended());
    assert_eq!(node.record(&failed(1), START + DAY * 15, &rules), Some(node_suspended(START + DAY * 8)));
    assert_eq!(node.standing, Standing::Disqualified);
    node.record(&passed(100_000), START + DAY * 16, &rules);
    assert_eq!(node.standing, Standing::Disqualified, "that is for good");
}

fn node_suspended(since: UnixMillis) -> Standing {
    Standing::Suspended { since, reason: SuspendReason::Failures }
}

#[test]
fn what_fails_together_with_many_suspends_and_never_disqualifies() {
    let rules = rules();
    let mut node = new();
    for day in 0..30 {
        node.record_in_doubt(&failed(1000), START + DAY * day, &rules);
        assert_eq!(node.standing, Standing::Suspended { since: START, reason: SuspendReason::Failures });
    }
    // When it turns out that the fault was ours, what was held against the node does not throw it out, and is soon gone.
    let now = START + DAY * 30;
    node.record(&passed(100), now, &rules);
    assert!(node.standing.is_suspended());
    for _ in 0..7 {
        node.record(&passed(100), now, &rules);
    }
    assert_eq!(node.standing, Standing::Good);

    // It does not better what was so bad before, and later failures of its own count in full.
    let mut node = new();
    node.record(&failed(50), START, &rules);
    let score = node.audit.score();
    node.record_in_doubt(&failed(50), START + DAY * 8, &rules);
    assert!(node.standing.is_suspended() && (node.audit.score() - score).abs() < 1e-9);
    node.record(&failed(1), START + DAY * 8, &rules);
    assert_eq!(node.standing, Standing::Disqualified);
}

#[test]
fn a_suspended_node_without_pieces_begins_again_after_the_grace() {
    let rules = rules();
    let grace = rules.disqualify_grace;
    for tally in [failed(100), Tally { unknown: 20, ..passed(0) }] {
        let mut node = new();
        node.record(&passed(500), START, &rules);
        node.record(&tally, START, &rules);
        assert!(node.standing.is_suspended());
        let mut early = node.clone();
        assert_eq!(early.begin_again(START + grace - Duration::from_millis(1), &rules), None);
        assert_eq!(early, node);
        let before = node.standing;
        assert_eq!(node.begin_again(START + grace, &rules), Some(before));
        let fresh = Reputation::new(START + grace, &rules);
        assert_eq!(
            node,
            Reputation { online: node.online.clone(), ..fresh },
            "as new, but for when it was there"
        );
    }
    // Not those in good standing, those who were away, or those who are out.
    let mut away = new();
    away.standing = Standing::Suspended { since: START, reason: SuspendReason::Offline };
    let mut out = new();
    out.standing = Standing::Disqualified;
    for mut node in [new(), away, out] {
        assert_eq!(node.begin_again(START + grace * 9, &rules), None);
    }
}

#[test]
fn an_old_suspension_for_less_does_not_shorten_the_grace() {
    let rules = rules();
    let mut node = new();
    for _ in 0..20 {
        node.record(&Tally::of(&Outcome::Unknown), START, &rules);
    }
    let late = START + DAY * 30;
    node.record(&failed(500), late, &rules);
    assert_eq!(node.standing, node_suspended(late));
}

#[test]
fn vetting_takes_audits_and_time() {
    let rules = rules();
    let mut node = new();
    node.record(&passed(1_000_000), START + DAY * 20, &rules);
    assert_eq!(node.standing, Standing::Vetting);
    assert!((node.placement_weight(&rules) - rules.vetting_weight).abs() < 1e-9);
    let mut idle = new();
    idle.record(&passed(99), START + DAY * 22, &rules);
    assert_eq!(idle.standing, Standing::Vetting);
    idle.record(&passed(1), START + DAY * 22, &rules);
    assert_eq!(idle.standing, Standing::Good);
    assert!((idle.placement_weight(&rules) - 1.0).abs() < 1e-9);
}

#[test]
fn a_young_node_is_not_suspended_for_one_bad_hour() {
    let rules = rules();
    // Visited every few minutes from ten to a full window on: away for the first half hour that was ever counted.
    for (first_minute, away_minutes) in [(710, 30), (1, 60), (1, 700)] {
        let mut node = new();
        for minute in (first_minute..60 * 24 * 3).step_by(5) {
            let away = minute < first_minute + away_minutes;
            let now = START + Duration::from_mins(minute);
            node.record(&if away { Tally::of(&Outcome::Offline) } else { passed(1) }, now, &rules);
            assert!(!node.standing.is_suspended(), "minute {minute}: {:?}", node.standing);
        }
    }
    // Away from the start and for good: suspended within a few days all the same.
    let mut node = new();
    for hour in 0..24 * 4 {
        node.record(&Tally::of(&Outcome::Offline), START + Duration::from_hours(hour), &rules);
    }
    assert!(matches!(node.standing, Standing::Suspended { reason: SuspendReason::Offline, .. }));
}

#[test]
fn being_online_counts_in_windows() {
    let rules = rules();
    let mut node = new();
    // There in the first half of each day, away in the second: one window of each kind.
    let visits = |node: &mut Reputation, from: u32, to: u32, share: u32| {
        for hour in from * 24..to * 24 {
            let now = START + Duration::from_hours(hour.into());
            let there = hour % 24 < share;
            node.record(&if there { passed(1) } else { Tally::of(&Outcome::Offline) }, now, &rules);
        }
        START + DAY * to
    };
    assert_eq!(node.online.score(START, &rules), None);
    let now = visits(&mut node, 0, 10, 24);
    assert_eq!(node.online.score(now, &rules), Some(1.0));
    let now = visits(&mut node, 10, 60, 12);
    let score = node.online.score(now, &rules).unwrap();
    assert!((score - 0.5).abs() < 0.01, "what is older than the span does not count: {score}");
    assert!(matches!(node.standing, Standing::Suspended { reason: SuspendReason::Offline, .. }));
    let now = visits(&mut node, 60, 120, 24);
    assert_eq!(node.standing, Standing::Good);
    assert_eq!(node.online.score(now, &rules), Some(1.0));
    // Away for good: suspended after 40 % of the span, never out.
    visits(&mut node, 120, 130, 0);
    assert_eq!(node.standing, Standing::Good);
    visits(&mut node, 130, 400, 0);
    assert!(matches!(node.standing, Standing::Suspended { reason: SuspendReason::Offline, .. }));
    assert!(serde_json::to_string(&node.online).unwrap().len() < 4000, "the history is bounded");
}

#[test]
fn reputations_and_rules_can_be_stored() {
    let mut node = new();
    node.record(&failed(100), START, &rules());
    let text = serde_json::to_string(&node).unwrap();
    let read: Reputation = serde_json::from_str(&text).unwrap();
    assert_eq!((read.standing, read.online, read.joined), (node.standing, node.online, START));
    rules().validate().unwrap();
    let some: ReputationRules =
        serde_json::from_str(r#"{"disqualify_grace": "2days", "memory": 0.9}"#).unwrap();
    assert_eq!((some.disqualify_grace, some.vetted_audits), (DAY * 2, 100));
    assert!(serde_json::from_str::<ReputationRules>(r#"{"grace": "2days"}"#).is_err());
    let bad = ReputationRules { memory: 1.0, suspend_under: 0.99, online_window: Duration::ZERO, ..rules() };
    assert_eq!(bad.validate().unwrap_err().problems().len(), 4, "{}", bad.validate().unwrap_err());
}

fn tally() -> impl Strategy<Value = Tally> {
    let small = || 0_u32..200;
    (small(), 0_u32..50, 0_u32..20, 0_u32..3, 0_u32..3, 0_u32..3, 0_u32..3).prop_map(
        |(passed, failed, admitted, unknown, known, online, offline)| Tally {
            passed,
            failed,
            admitted,
            unknown,
            known,
            online,
            offline,
        },
    )
}

proptest! {
    #[test]
    fn a_batch_is_its_results_one_by_one(
        alpha in 0.0_f64..2000.0, beta in 0.0_f64..2000.0, memory in 0.5_f64..=1.0, times in 0_u32..500,
        good: bool
    ) {
        let mut batch = Beta { alpha, beta };
        let mut single = batch;
        if good {
            batch.succeed(times, memory, 1.5);
        } else {
            batch.fail(times, memory, 1.5);
        }
        for _ in 0..times {
            let (up, down) = if good { (1.5, 0.0) } else { (0.0, 1.5) };
            single = Beta { alpha: single.alpha * memory + up, beta: single.beta * memory + down };
        }
        prop_assert!((batch.alpha - single.alpha).abs() < 1e-6 && (batch.beta - single.beta).abs() < 1e-6);
        prop_assert!((0.0..=1.0).contains(&batch.score()));
    }

    /// Failures first is the mildest order there is.
    #[test]
    fn no_order_of_the_same_results_scores_higher(
        results in proptest::collection::vec(any::<bool>(), 1..60)
    ) {
        let rules = rules();
        let good = u32::try_from(results.iter().filter(|&&good| good).count()).unwrap();
        let mut batch = rules.audit_start();
        batch.fail(u32::try_from(results.len()).unwrap() - good, rules.memory, 1.0);
        batch.succeed(good, rules.memory, 1.0);
        let mut other = rules.audit_start();
        for good in results {
            if good { other.succeed(1, rules.memory, 1.0) } else { other.fail(1, rules.memory, 1.0) }
        }
        prop_assert!(batch.score() >= other.score() - 1e-12);
    }

    /// Whatever is thrown at a node, it is out only by failed audits, after a suspension for them as long as
    /// the grace.
    #[test]
    fn nobody_is_out_without_failures_and_grace(
        visits in proptest::collection::vec((tally(), 0_u64..100), 1..60)
    ) {
        let rules = rules();
        let mut node = new();
        let mut away = new();
        let mut now = START;
        for (tally, hours) in visits {
            now = now + Duration::from_hours(hours);
            let before = node.standing;
            let changed = node.record(&tally, now, &rules);
            prop_assert_eq!(changed.is_some(), node.standing != before);
            if node.standing == Standing::Disqualified && before != Standing::Disqualified {
                let Standing::Suspended { since, reason } = before else { panic!("out from {before:?}") };
                prop_assert_eq!(reason, SuspendReason::Failures);
                prop_assert!(now.since(since) >= rules.disqualify_grace);
                prop_assert!(node.audit.score() <= rules.disqualify_at);
            }
            // The same life without lost pieces.
            away.record(&Tally { failed: 0, admitted: 0, ..tally }, now, &rules);
            prop_assert!(away.standing != Standing::Disqualified);
        }
    }
}
