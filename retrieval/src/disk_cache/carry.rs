//! The second chance: which records of the oldest file are looked at, and when, before the file is dropped.
//!
//! The work is spread over the filling of the newest file and bounded: at most half a file's worth is carried,
//! so a byte of new blocks costs at most one byte more. Pure but for the file it holds.

use std::{fs::File, sync::Arc};

use super::{
    bounds::{Bounds, Load},
    record::Line,
};

/// The walk through the oldest file.
#[derive(Debug)]
pub(super) struct Carry {
    /// The file's number.
    pub(super) number: u32,
    /// The file.
    pub(super) file: Arc<File>,
    /// Its records.
    pub(super) lines: Vec<Line>,
    next: usize,
    offset: u64,
    end: u64,
    budget: Load,
}

impl Carry {
    /// Begins at the front of a file.
    pub(super) fn new(number: u32, file: Arc<File>, lines: Vec<Line>, bounds: &Bounds) -> Self {
        let end = lines.iter().map(|line| line.record_len()).sum();
        let budget = Load { bytes: bounds.file_bytes / 2, records: bounds.file_records / 2 };
        Self { number, file, lines, next: 0, offset: 0, end, budget }
    }

    /// The next record to look at and its offset, while less than `share` (0 to 1) of the file was seen.
    pub(super) fn next(&mut self, share: f64) -> Option<(Line, u64)> {
        if self.offset as f64 >= share * self.end as f64 {
            return None;
        }
        let line = *self.lines.get(self.next)?;
        let offset = self.offset;
        self.next += 1;
        self.offset += line.record_len();
        Some((line, offset))
    }

    /// Takes a record out of the budget, if it is within.
    pub(super) fn spend(&mut self, line: Line) -> bool {
        let bytes = self.budget.bytes.checked_sub(line.record_len());
        let records = self.budget.records.checked_sub(1);
        let (Some(bytes), Some(records)) = (bytes, records) else { return false };
        self.budget = Load { bytes, records };
        true
    }
}

/// How much of the oldest file should have been seen when `fresh` was written into the newest one: all of it by
/// the time half a file is written, because the other half may be needed for what is carried.
pub(super) fn share_due(fresh: Load, bounds: &Bounds) -> f64 {
    let bytes = fresh.bytes as f64 / (bounds.file_bytes as f64 / 2.0);
    let records = fresh.records as f64 / (bounds.file_records as f64 / 2.0);
    bytes.max(records).min(1.0)
}
