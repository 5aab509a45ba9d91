//! Checking of configuration: every problem is listed, not just the first one.
//!
//! The configuration itself lives beside the code that it steers (`RedundancyRules`, `RankingRules` and so
//! on).

use std::fmt;

/// What is wrong with a set of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRules {
    problems: Vec<String>,
}

impl InvalidRules {
    /// One sentence per problem; never empty.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for InvalidRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl std::error::Error for InvalidRules {}

/// Collects the problems of one `validate()`.
#[derive(Default)]
pub(crate) struct Checks(Vec<String>);

impl Checks {
    /// Notes `problem` unless `ok`.
    pub(crate) fn require(&mut self, ok: bool, problem: &str) {
        if !ok {
            self.0.push(problem.to_owned());
        }
    }

    /// Notes that `name` is no share, unless it is in 0..=1.
    pub(crate) fn share(&mut self, name: &str, value: f64) {
        if !(0.0..=1.0).contains(&value) {
            self.0.push(format!("{name} must be in 0..=1, not {value}"));
        }
    }

    /// Notes that `name` is not above zero, or not finite.
    pub(crate) fn positive(&mut self, name: &str, value: f64) {
        if !(value.is_finite() && value > 0.0) {
            self.0.push(format!("{name} must be above 0, not {value}"));
        }
    }

    /// Notes that the span `name` is zero.
    pub(crate) fn span(&mut self, name: &str, value: std::time::Duration) {
        if value.is_zero() {
            self.0.push(format!("{name} must not be zero"));
        }
    }

    /// `Ok` when nothing was noted.
    pub(crate) fn finish(self) -> Result<(), InvalidRules> {
        if self.0.is_empty() { Ok(()) } else { Err(InvalidRules { problems: self.0 }) }
    }
}
