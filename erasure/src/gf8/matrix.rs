//! What each piece is made of: the rows of the code's matrix, and the rows that lead back.
//!
//! Recovery piece `p` is the sum over data pieces `d` of `coefficient(p, d) * data[d]`. With
//! `coefficient(p, d) = (needed ^ d) / (p ^ d)` the recovery rows are a Cauchy matrix, 1 / (p + d), whose
//! columns are scaled by `needed ^ d`, never 0. Every square part of a Cauchy matrix can be inverted, and
//! scaling keeps that, so any `needed` pieces rebuild the rest (the code is MDS). The scaling makes the first
//! recovery piece the plain XOR of the data pieces, the cheapest one for the commonest loss. As `total`
//! appears nowhere, adding pieces to a segment changes none of those it has.
//!
//! The formula is part of the format of stored pieces and can never change.

use super::field::{div, mul};
use crate::{NEEDED_MAX, Scheme, TOTAL_MAX};

/// By what data piece `data` enters recovery piece `piece`; `data < needed <= piece`, so neither term is 0.
pub(super) fn coefficient(needed: u8, piece: u8, data: u8) -> u8 {
    div(needed ^ data, piece ^ data)
}

/// The rows of all recovery pieces of a scheme, one after the other, `needed` coefficients each.
pub(crate) fn recovery_rows(scheme: Scheme) -> Vec<u8> {
    let needed = scheme.needed();
    (needed..scheme.total())
        .flat_map(|piece| (0..needed).map(move |data| coefficient(needed, piece, data)))
        .collect()
}

/// How wanted pieces are made of present ones; keeps the last answer and the memory for the next.
pub(crate) struct Plan {
    needed: u8,
    present: Vec<u8>,
    wanted: Vec<u8>,
    coefficients: Vec<u8>,
}

/// One row of the system of equations: the missing data pieces on the left, the present pieces on the right.
type Equation = [u8; TOTAL_MAX];

impl Plan {
    pub(crate) fn new(needed: u8) -> Self {
        Self {
            needed,
            present: Vec::with_capacity(NEEDED_MAX),
            wanted: Vec::with_capacity(TOTAL_MAX),
            coefficients: Vec::new(),
        }
    }

    /// One row for each wanted piece, with a coefficient for each present piece in the order given.
    ///
    /// `present` must be `needed` distinct indices below 64, `wanted` distinct indices below 64.
    pub(crate) fn coefficients(
        &mut self,
        present: impl Iterator<Item = u8> + Clone,
        wanted: impl Iterator<Item = u8> + Clone,
    ) -> &[u8] {
        if !present.clone().eq(self.present.iter().copied())
            || !wanted.clone().eq(self.wanted.iter().copied())
        {
            self.present.clear();
            self.present.extend(present);
            self.wanted.clear();
            self.wanted.extend(wanted);
            self.solve();
        }
        &self.coefficients
    }

    fn solve(&mut self) {
        let needed = self.needed;
        let width = self.present.len();
        let mut missing = [0; NEEDED_MAX];
        let mut missing_len = 0;
        for data in (0..needed).filter(|data| !self.present.contains(data)) {
            missing[missing_len] = data;
            missing_len += 1;
        }
        let missing = &missing[..missing_len];
        let restored = self.restore(missing);

        self.coefficients.clear();
        for &piece in &self.wanted {
            let mut row = [0; NEEDED_MAX];
            let row = &mut row[..width];
            for data in 0..needed {
                // A data piece consists of itself alone, a recovery piece of all data pieces.
                let factor = match (piece < needed, piece == data) {
                    (true, same) => u8::from(same),
                    (false, _) => coefficient(needed, piece, data),
                };
                if factor == 0 {
                    continue;
                }
                if let Some(at) = self.present.iter().position(|&index| index == data) {
                    row[at] ^= factor;
                } else if let Some(at) = missing.iter().position(|&index| index == data) {
                    for (sum, &part) in row.iter_mut().zip(&restored[at][missing_len..]) {
                        *sum ^= mul(factor, part);
                    }
                }
            }
            self.coefficients.extend_from_slice(row);
        }
    }

    /// Solves for the missing data pieces: row `i`, from column `missing.len()` on, says how `missing[i]` is
    /// made of the present pieces.
    fn restore(&self, missing: &[u8]) -> [Equation; NEEDED_MAX] {
        let left = missing.len();
        let width = left + self.present.len();
        let mut rows = [[0; TOTAL_MAX]; NEEDED_MAX];
        // There are as many present recovery pieces as missing data pieces. Each is one equation:
        // sum over missing = the piece itself + sum over present data.
        let recovery = self.present.iter().enumerate().filter(|&(_, &piece)| piece >= self.needed);
        for (row, (own, &piece)) in rows.iter_mut().zip(recovery) {
            for (term, &data) in row.iter_mut().zip(missing) {
                *term = coefficient(self.needed, piece, data);
            }
            for (term, &data) in row[left..].iter_mut().zip(&self.present) {
                if data < self.needed {
                    *term = coefficient(self.needed, piece, data);
                }
            }
            row[left + own] = 1;
        }
        // Gauss-Jordan without exchange of rows: each leading square of the left side is part of a scaled
        // Cauchy matrix itself, hence invertible, hence no pivot is ever 0.
        for pivot in 0..left {
            let scale = rows[pivot][pivot];
            for term in &mut rows[pivot][..width] {
                *term = div(*term, scale);
            }
            let subtract = rows[pivot];
            for (_, row) in rows[..left].iter_mut().enumerate().filter(|(index, _)| *index != pivot) {
                let factor = row[pivot];
                for (term, &part) in row[..width].iter_mut().zip(&subtract) {
                    *term ^= mul(factor, part);
                }
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests;
