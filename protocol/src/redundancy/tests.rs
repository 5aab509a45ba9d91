use proptest::prelude::*;

use super::*;

#[test]
fn the_defaults_are_those_of_the_design() {
    let rules = RedundancyRules::default();
    rules.validate().unwrap();
    let row = |nodes| rules.total_for(nodes).map(|r| (r.needed, r.total, r.ack, r.repair));
    assert_eq!(row(15), None);
    assert_eq!(row(16), Some((8, 16, 14, 12)));
    assert_eq!(row(17), Some((8, 17, 15, 13)));
    assert_eq!(row(18), Some((8, 18, 16, 13)));
    assert_eq!(row(19), Some((8, 19, 17, 14)));
    assert_eq!(row(20), Some((8, 20, 18, 14)));
    assert_eq!(row(10_000), Some((8, 20, 18, 14)));
}

#[test]
fn an_upload_is_never_acknowledged_with_less_than_the_margin() {
    let rules = RedundancyRules { needed: 10, total_min: 14, repair_at_total_min: 12, ..Default::default() };
    rules.validate().unwrap();
    assert_eq!(rules.total_for(14).unwrap().ack, 14);
    assert_eq!(rules.total_for(15).unwrap().ack, 14);
    assert_eq!(rules.total_for(20).unwrap().ack, 18);
}

#[test]
fn segments_under_other_rules_keep_the_same_margin() {
    let rules = RedundancyRules::default();
    assert_eq!(rules.of(10, 20).repair, 15);
    assert_eq!(rules.of(1, 2).repair, 1);
    assert_eq!(rules.of(4, 64).repair, 10);
}

#[test]
fn every_problem_is_listed() {
    let rules = RedundancyRules { needed: 20, total_max: 65, ..Default::default() };
    let error = rules.validate().unwrap_err();
    assert_eq!(error.problems().len(), 4, "{error}");
    let text = r#"{"needed": 10, "typo": 1}"#;
    assert!(serde_json::from_str::<RedundancyRules>(text).is_err());
    assert_eq!(serde_json::from_str::<RedundancyRules>(r#"{"needed": 10}"#).unwrap().needed, 10);
}

/// Rules that are valid by the way they are made.
fn rules() -> impl Strategy<Value = RedundancyRules> {
    (1_u8..30, 2_u8..16, 0_u8..16, 0_u8..5, any::<[u8; 3]>()).prop_map(
        |(needed, extra, more, behind, random)| {
            let (total_min, total_max) = (needed + extra, needed + extra + more);
            let low = needed + 1 + random[0] % (extra - 1);
            RedundancyRules {
                needed,
                total_min,
                total_max,
                ack_behind_max: behind,
                ack_margin_min: random[1] % (extra + 1),
                repair_at_total_min: low,
                repair_at_total_max: low + random[2] % (total_max - low),
            }
        },
    )
}

proptest! {
    #[test]
    fn valid_rules_give_possible_numbers(rules in rules(), nodes in 0_usize..100) {
        prop_assert_eq!(rules.validate(), Ok(()));
        let Some(r) = rules.total_for(nodes) else {
            prop_assert!(nodes < usize::from(rules.total_min));
            return Ok(());
        };
        prop_assert!(usize::from(r.total) <= nodes && (rules.total_min..=rules.total_max).contains(&r.total));
        prop_assert!(r.ack >= r.needed + rules.ack_margin_min && r.ack <= r.total);
        prop_assert!(r.needed < r.repair && r.repair < r.total);
        prop_assert!((rules.repair_at_total_min..=rules.repair_at_total_max).contains(&r.repair));
    }

    #[test]
    fn any_segment_under_any_rules_gets_possible_numbers(
        numbers: [u8; 7], needed in 1_u8..32, extra in 1_u8..32
    ) {
        let [needed_now, total_min, total_max, ack_behind_max, ack_margin_min, low, high] = numbers;
        let rules = RedundancyRules {
            needed: needed_now,
            total_min,
            total_max,
            ack_behind_max,
            ack_margin_min,
            repair_at_total_min: low,
            repair_at_total_max: high,
        };
        let r = rules.of(needed, needed + extra);
        prop_assert!(r.ack <= r.total && r.repair < r.total && r.repair >= needed);
    }
}
