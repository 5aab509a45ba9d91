//! The Beta model: counts of good and bad results that fade (Jøsang and Ismail, 2002).

use serde::{Deserialize, Serialize};

/// Faded counts of successes (`alpha`) and failures (`beta`).
///
/// With memory `l` and weight `w`, a success makes them `l * alpha + w` and `l * beta`, a failure `l * alpha`
/// and `l * beta + w`. The sum tends to `w / (1 - l)`: with 0.999, about the last thousand results count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beta {
    /// Faded count of successes.
    pub alpha: f64,
    /// Faded count of failures.
    pub beta: f64,
}

impl Beta {
    /// The share of successes, 0..=1; 1 when nothing is counted.
    pub fn score(&self) -> f64 {
        let sum = self.alpha + self.beta;
        if sum > 0.0 { self.alpha / sum } else { 1.0 }
    }

    /// Counts `times` successes in a row.
    pub fn succeed(&mut self, times: u32, memory: f64, weight: f64) {
        let (faded, gained) = series(times, memory);
        self.alpha = self.alpha * faded + weight * gained;
        self.beta *= faded;
    }

    /// Counts `times` failures in a row.
    pub fn fail(&mut self, times: u32, memory: f64, weight: f64) {
        let (faded, gained) = series(times, memory);
        self.alpha *= faded;
        self.beta = self.beta * faded + weight * gained;
    }
}

impl Beta {
    /// Lets the share of successes be at least this much, and the sum what it is.
    pub(super) fn raise_to(&mut self, score: f64) {
        if self.score() < score {
            let sum = self.alpha + self.beta;
            (self.alpha, self.beta) = (sum * score, sum * (1.0 - score));
        }
    }
}

/// `memory^times`, and the sum of `memory^i` for `i` in `0..times`.
fn series(times: u32, memory: f64) -> (f64, f64) {
    let times = f64::from(times);
    if memory >= 1.0 {
        return (1.0, times);
    }
    let faded = memory.powf(times);
    (faded, (1.0 - faded) / (1.0 - memory))
}
