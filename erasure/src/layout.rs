//! Which byte of a segment is where: pure arithmetic, the only place that knows how rows and units lie.
//!
//! A segment is rows of `needed` units of [`UNIT`] bytes. Unit `j` of row `r` is bytes
//! `[r * UNIT, (r + 1) * UNIT)` of data piece `j`. The last row, if it is not full, has shorter units:
//! `round_up(ceil(rest / needed), COLUMN)` bytes each, filled with zeros behind the end of the segment, so
//! that padding stays under `needed * COLUMN` bytes. A range of the segment thus touches few pieces, and a
//! reader in order needs memory for one row.
//!
//! Lengths come from disk or network: no length makes this code panic, and ranges are cut to the segment.

use std::ops::Range;

use crate::{COLUMN, UNIT};

#[cfg(test)]
mod tests;

const UNIT_LEN: u64 = UNIT as u64;
const COLUMN_LEN: u64 = COLUMN as u64;

/// Geometry of one segment under one scheme. All offsets and lengths are bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    needed: u8,
    segment_len: u64,
    full_rows: u64,
    /// Unit length of the row behind the full ones; 0 when there is none.
    last_unit: u64,
}

/// Part of a segment range that lies in one unit, hence in one data piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Index of the data piece.
    pub piece: u8,
    /// Where the part starts in that piece.
    pub piece_offset: u64,
    /// Where the part starts in the segment.
    pub segment_offset: u64,
    /// Bytes of the part, never 0, at most [`UNIT`].
    pub len: u64,
}

/// One row: the step in which a segment is coded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Bytes of the segment in this row.
    pub segment: Range<u64>,
    /// Bytes of this row in the segment padded with zeros to [`Layout::padded_len`]: `needed` units behind
    /// each other. Starts where `segment` starts; longer only in the last row.
    pub padded: Range<u64>,
    /// Columns of each piece in this row; its length is the length of the row's units.
    pub piece: Range<u64>,
}

impl Layout {
    pub(crate) const fn new(needed: u8, segment_len: u64) -> Self {
        // The casts from u8 are lossless; `From` is not const. A scheme's `needed` is never 0.
        let row_len = needed as u64 * UNIT_LEN;
        let rest = segment_len % row_len;
        let last_unit = round_up(rest.div_ceil(needed as u64));
        Self { needed, segment_len, full_rows: segment_len / row_len, last_unit }
    }

    /// Bytes of the segment.
    pub const fn segment_len(&self) -> u64 {
        self.segment_len
    }

    /// Bytes of each piece, a multiple of [`COLUMN`]. (Saturates for segments within 64 bytes of `u64::MAX`.)
    pub const fn piece_len(&self) -> u64 {
        (self.full_rows * UNIT_LEN).saturating_add(self.last_unit)
    }

    /// Bytes of all data pieces together: the segment and its padding. The segment followed by zeros up to
    /// this length is exactly the rows in order, each row its units in order. (Saturates as `piece_len`.)
    pub fn padded_len(&self) -> u64 {
        self.piece_len().saturating_mul(u64::from(self.needed))
    }

    /// How many rows there are; 0 for an empty segment.
    pub const fn rows(&self) -> u64 {
        self.full_rows + (self.last_unit != 0) as u64
    }

    /// Row `index`, or `None` behind the last one.
    pub fn row(&self, index: u64) -> Option<Row> {
        if index >= self.rows() {
            return None;
        }
        let start = index * self.row_len();
        let padded_end = start.saturating_add(self.unit_len(index) * u64::from(self.needed));
        let piece_start = index * UNIT_LEN;
        Some(Row {
            segment: start..padded_end.min(self.segment_len),
            padded: start..padded_end,
            piece: piece_start..piece_start.saturating_add(self.unit_len(index)),
        })
    }

    /// Indices of the rows that a range of the segment touches.
    pub fn rows_of(&self, range: Range<u64>) -> Range<u64> {
        let range = self.cut(range);
        if range.is_empty() {
            return 0..0;
        }
        range.start / self.row_len()..range.end.div_ceil(self.row_len())
    }

    /// Where a range of the segment lives: its parts in order, each within one unit.
    pub fn spans(&self, range: Range<u64>) -> Spans {
        let range = self.cut(range);
        Spans { layout: *self, at: range.start, end: range.end }
    }

    /// The bytes of data piece `piece` that a range of the segment touches (always one run), or `None` if it
    /// touches none or `piece` is no data piece.
    pub fn piece_range(&self, piece: u8, range: Range<u64>) -> Option<Range<u64>> {
        let range = self.cut(range);
        if piece >= self.needed || range.is_empty() {
            return None;
        }
        let bytes = self.bytes_before(piece, range.start)..self.bytes_before(piece, range.end);
        (!bytes.is_empty()).then_some(bytes)
    }

    /// The same run widened to whole columns: what has to be fetched of `needed` other pieces to rebuild the
    /// bytes that the range touches in this one.
    pub fn piece_columns(&self, piece: u8, range: Range<u64>) -> Option<Range<u64>> {
        self.piece_range(piece, range).map(|bytes| round_down(bytes.start)..round_up(bytes.end))
    }

    /// The smallest run of whole columns that covers the range in every data piece: what has to be fetched of
    /// any `needed` pieces when none of those that hold the range can be had. Empty for an empty range.
    pub fn columns(&self, range: Range<u64>) -> Range<u64> {
        (0..self.needed)
            .filter_map(|piece| self.piece_columns(piece, range.clone()))
            .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
            .unwrap_or(0..0)
    }

    fn row_len(&self) -> u64 {
        u64::from(self.needed) * UNIT_LEN
    }

    fn unit_len(&self, row: u64) -> u64 {
        if row < self.full_rows { UNIT_LEN } else { self.last_unit }
    }

    /// How many bytes of a data piece lie before a place in the segment.
    fn bytes_before(&self, piece: u8, segment_offset: u64) -> u64 {
        let row = segment_offset / self.row_len();
        let unit_len = self.unit_len(row);
        let in_row = segment_offset % self.row_len();
        row * UNIT_LEN + in_row.saturating_sub(u64::from(piece) * unit_len).min(unit_len)
    }

    fn cut(&self, range: Range<u64>) -> Range<u64> {
        range.start..range.end.min(self.segment_len)
    }
}

/// Iterator of [`Layout::spans`].
#[derive(Clone, Debug)]
pub struct Spans {
    layout: Layout,
    at: u64,
    end: u64,
}

impl Iterator for Spans {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        if self.at >= self.end {
            return None;
        }
        let row = self.at / self.layout.row_len();
        let in_row = self.at % self.layout.row_len();
        // Not 0: `at` is inside the segment, so its row exists.
        let unit_len = self.layout.unit_len(row);
        let in_unit = in_row % unit_len;
        let span = Span {
            piece: u8::try_from(in_row / unit_len).expect("a row has at most 32 units"),
            piece_offset: row * UNIT_LEN + in_unit,
            segment_offset: self.at,
            len: (unit_len - in_unit).min(self.end - self.at),
        };
        self.at += span.len;
        Some(span)
    }
}

const fn round_down(offset: u64) -> u64 {
    offset - offset % COLUMN_LEN
}

const fn round_up(offset: u64) -> u64 {
    offset.div_ceil(COLUMN_LEN).saturating_mul(COLUMN_LEN)
}
