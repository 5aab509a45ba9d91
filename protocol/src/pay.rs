//! What nodes earn: from quantities to money, without losing or making a fraction.
//!
//! Money is integer micro-units; a quantity seldom comes to a whole number of them. What is rounded away in
//! one step must not be lost, nor be paid twice. So either amounts are differences of the amounts of growing
//! totals ([`Rates::between`]), or the rest of each step is carried into the next ([`Rates::accrue`], which
//! needs no totals and lets rates change): both pay exactly what the sum comes to, rounded down once.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

/// Bytes of a terabyte, as storage is sold.
const TB: u64 = 1_000_000_000_000;
/// Seconds of a month for pay: 720 hours.
const MONTH_S: u64 = 720 * 3600;

/// Money in millionths of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

/// What is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Keeping pieces, in byte-seconds.
    Storage,
    /// Sending bytes to readers.
    Egress,
    /// Sending bytes for repairs.
    RepairEgress,
    /// Sending bytes for audits.
    AuditEgress,
}

/// A sum that does not fit, or totals in the wrong order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayError {
    /// More than can be counted.
    #[error("amount overflows")]
    Overflow,
    /// The later total is the smaller one.
    #[error("total fell from {before} to {after}")]
    Backwards {
        /// The earlier total.
        before: u128,
        /// The later total.
        after: u128,
    },
}

/// Prices in micro-units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// For a terabyte (10^12 bytes) kept for a month of 720 hours.
    pub storage_per_tb_month: u64,
    /// For a terabyte sent to readers.
    pub egress_per_tb: u64,
    /// For a terabyte sent for repairs.
    pub repair_egress_per_tb: u64,
    /// For a terabyte sent for audits.
    pub audit_egress_per_tb: u64,
}

impl Default for Rates {
    /// 1.50 units a terabyte-month and 2 units a terabyte sent for whatever reason: what Storj has paid since
    /// December 2023.
    fn default() -> Self {
        Self {
            storage_per_tb_month: 1_500_000,
            egress_per_tb: 2_000_000,
            repair_egress_per_tb: 2_000_000,
            audit_egress_per_tb: 2_000_000,
        }
    }
}

/// What one step pays, and what it leaves for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accrued {
    /// What is paid.
    pub amount: Micros,
    /// The rest: less than one micro-unit, in parts of it that depend on the kind. Always fits an `i64`.
    pub carry: u64,
}

impl Rates {
    /// What a total quantity comes to, rounded down. Any split of the total into steps is paid by
    /// [`Rates::between`].
    pub fn amount(&self, kind: Kind, quantity: u128) -> Result<Micros, PayError> {
        self.accrue(kind, quantity, 0).map(|accrued| accrued.amount)
    }

    /// What is due when a total has grown from `before` to `after`.
    pub fn between(&self, kind: Kind, before: u128, after: u128) -> Result<Micros, PayError> {
        if after < before {
            return Err(PayError::Backwards { before, after });
        }
        let (old, new) = (self.amount(kind, before)?, self.amount(kind, after)?);
        new.0.checked_sub(old.0).map(Micros).ok_or(PayError::Overflow)
    }

    /// What a further quantity pays, with the rest of earlier steps of the same kind and node.
    pub fn accrue(&self, kind: Kind, quantity: u128, carry: u64) -> Result<Accrued, PayError> {
        let (rate, unit) = match kind {
            Kind::Storage => (self.storage_per_tb_month, TB * MONTH_S),
            Kind::Egress => (self.egress_per_tb, TB),
            Kind::RepairEgress => (self.repair_egress_per_tb, TB),
            Kind::AuditEgress => (self.audit_egress_per_tb, TB),
        };
        let due = quantity.checked_mul(rate.into()).and_then(|due| due.checked_add(carry.into()));
        let (due, unit) = (due.ok_or(PayError::Overflow)?, u128::from(unit));
        let amount = u64::try_from(due / unit).map_err(|_| PayError::Overflow)?;
        // A remainder is under its divisor, which is a u64.
        let carry = u64::try_from(due % unit).map_err(|_| PayError::Overflow)?;
        Ok(Accrued { amount: Micros(amount), carry })
    }
}

/// Byte-seconds of keeping `bytes` from one instant to another; none if the second is not the later one.
///
/// Whole seconds of the clock are counted, so that consecutive spans add up to the whole. A pin earns from
/// [`UnixMillis::hour`] of when it was stored to its last passed audit.
pub fn byte_seconds(bytes: u64, from: UnixMillis, to: UnixMillis) -> u128 {
    let (from, to) = (from.0.div_euclid(1000), to.0.div_euclid(1000));
    let seconds = if to > from { to.abs_diff(from) } else { 0 };
    u128::from(bytes) * u128::from(seconds)
}

impl Micros {
    /// The sum, if it fits.
    pub fn checked_add(self, other: Self) -> Result<Self, PayError> {
        self.0.checked_add(other.0).map(Self).ok_or(PayError::Overflow)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests;
