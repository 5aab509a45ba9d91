use std::time::Duration;

use proptest::prelude::*;

use super::*;

const KINDS: [Kind; 4] = [Kind::Storage, Kind::Egress, Kind::RepairEgress, Kind::AuditEgress];

#[test]
fn the_price_list_is_what_is_paid() {
    let rates = Rates { repair_egress_per_tb: 3_000_000, audit_egress_per_tb: 5, ..Rates::default() };
    let tb = u128::from(TB);
    let amount = |kind, quantity| rates.amount(kind, quantity).unwrap().to_string();
    assert_eq!(amount(Kind::Storage, tb * u128::from(MONTH_S)), "1.500000");
    assert_eq!(amount(Kind::Egress, tb), "2.000000");
    assert_eq!(amount(Kind::RepairEgress, tb * 7), "21.000000");
    assert_eq!(amount(Kind::AuditEgress, tb * 1000), "0.005000");
    assert_eq!(amount(Kind::Egress, 499_999), "0.000000");
    assert_eq!(amount(Kind::Egress, 500_000), "0.000001");
    let stored = UnixMillis(1_700_003_599_999).hour();
    let month = byte_seconds(TB, stored, stored + Duration::from_hours(720));
    assert_eq!(rates.amount(Kind::Storage, month), Ok(Micros(1_500_000)));
    assert_eq!(byte_seconds(5, UnixMillis(7000), UnixMillis(6000)), 0);
    assert_eq!(byte_seconds(u64::MAX, UnixMillis(i64::MIN), UnixMillis(i64::MAX)) >> 119, 0);
}

#[test]
fn sums_that_do_not_fit_are_errors() {
    let rates = Rates { egress_per_tb: u64::MAX, ..Rates::default() };
    assert_eq!(rates.amount(Kind::Egress, u128::MAX), Err(PayError::Overflow));
    assert_eq!(rates.amount(Kind::Egress, u128::from(TB) * 2), Err(PayError::Overflow));
    assert_eq!(rates.amount(Kind::Egress, u128::from(TB)), Ok(Micros(u64::MAX)));
    assert_eq!(Micros(u64::MAX).checked_add(Micros(1)), Err(PayError::Overflow));
    assert_eq!(rates.between(Kind::Egress, 2, 1), Err(PayError::Backwards { before: 2, after: 1 }));
    assert!(serde_json::from_str::<Rates>(r#"{"egres_per_tb": 1}"#).is_err());
}

fn rates() -> impl Strategy<Value = Rates> {
    let price = || 0_u64..10_000_000_000;
    (price(), price(), price(), price()).prop_map(|(storage, egress, repair, audit)| Rates {
        storage_per_tb_month: storage,
        egress_per_tb: egress,
        repair_egress_per_tb: repair,
        audit_egress_per_tb: audit,
    })
}

proptest! {
    /// However a quantity is split into steps, the ledger adds up to what the whole comes to.
    #[test]
    fn any_split_pays_the_same(
        rates in rates(), kind in 0_usize..4,
        steps in proptest::collection::vec(0_u128..1_000_000_000_000_000, 0..50)
    ) {
        let kind = KINDS[kind];
        let scale = if kind == Kind::Storage { 1_000_003 } else { 1 };
        let (mut total, mut by_totals, mut by_carry, mut carry) = (0, Micros(0), Micros(0), 0);
        for step in steps.iter().map(|step| step * scale) {
            by_totals = by_totals.checked_add(rates.between(kind, total, total + step).unwrap()).unwrap();
            total += step;
            let accrued = rates.accrue(kind, step, carry).unwrap();
            by_carry = by_carry.checked_add(accrued.amount).unwrap();
            carry = accrued.carry;
            prop_assert!(i64::try_from(carry).is_ok());
        }
        let whole = rates.amount(kind, total).unwrap();
        prop_assert_eq!(by_totals, whole);
        prop_assert_eq!(by_carry, whole);
        // Less than a micro-unit is kept back.
        let unit = if kind == Kind::Storage { u128::from(TB * MONTH_S) } else { u128::from(TB) };
        let rate = match kind {
            Kind::Storage => rates.storage_per_tb_month,
            Kind::Egress => rates.egress_per_tb,
            Kind::RepairEgress => rates.repair_egress_per_tb,
            Kind::AuditEgress => rates.audit_egress_per_tb,
        };
        prop_assert_eq!(u128::from(whole.0) * unit + u128::from(carry), total * u128::from(rate));
    }

    #[test]
    fn consecutive_spans_add_up(
        bytes: u64, start in -100_000_i64..1 << 45, spans in proptest::collection::vec(0_u64..100_000, 0..30)
    ) {
        let start = UnixMillis(start);
        let (mut at, mut sum) = (start, 0);
        for span in spans {
            let next = at + Duration::from_millis(span);
            sum += byte_seconds(bytes, at, next);
            at = next;
        }
        prop_assert_eq!(sum, byte_seconds(bytes, start, at));
    }

    #[test]
    fn nothing_panics(rates in rates(), kind in 0_usize..4, a: u128, b: u128, carry: u64) {
        let kind = KINDS[kind];
        let _ = rates.between(kind, a, b);
        if let Ok(accrued) = rates.accrue(kind, a, carry) {
            prop_assert!(i64::try_from(accrued.carry).is_ok());
        }
    }
}
