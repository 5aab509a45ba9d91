//! The layout against a reference that deals out one byte after the other.

use proptest::prelude::*;

use super::*;

/// Where each byte of a segment is, as (piece, offset), and the length of a piece, dealt out unit by unit.
fn deal(needed: u8, segment_len: u64) -> (Vec<(u8, u64)>, u64) {
    let mut places = Vec::new();
    let mut piece_len = 0;
    let mut rest = segment_len;
    while rest > 0 {
        let mut unit = UNIT as u64;
        if rest < unit * u64::from(needed) {
            // The shortest whole columns in which the rest finds place.
            unit =
                (0..=1024).map(|columns| columns * 64).find(|unit| unit * u64::from(needed) >= rest).unwrap();
        }
        for piece in 0..needed {
            for offset in 0..unit.min(rest) {
                places.push((piece, piece_len + offset));
            }
            rest -= unit.min(rest);
        }
        piece_len += unit;
    }
    (places, piece_len)
}

fn check(needed: u8, segment_len: u64, range: Range<u64>) {
    let (places, piece_len) = deal(needed, segment_len);
    let layout = Layout::new(needed, segment_len);
    assert_eq!(layout.segment_len(), segment_len);
    assert_eq!(layout.piece_len(), piece_len);
    assert_eq!(layout.padded_len(), piece_len * u64::from(needed));
    assert!(layout.padded_len() - segment_len < 64 * u64::from(needed));

    let cut = usize::try_from(range.start.min(segment_len)).unwrap()
        ..usize::try_from(range.end.min(segment_len)).unwrap();
    let touched = places.get(cut.clone()).unwrap_or(&[]);
    let mut at = cut.start as u64;
    let mut from_spans = Vec::new();
    for span in layout.spans(range.clone()) {
        assert_eq!(span.segment_offset, at);
        assert!(
            span.len > 0
                && span.piece_offset / UNIT as u64 == (span.piece_offset + span.len - 1) / UNIT as u64
        );
        from_spans.extend((0..span.len).map(|offset| (span.piece, span.piece_offset + offset)));
        at += span.len;
    }
    assert!(from_spans == touched, "needed {needed}, length {segment_len}, range {range:?}");

    let mut hull: Option<Range<u64>> = None;
    for piece in 0..=needed {
        let offsets = || touched.iter().filter(|(index, _)| *index == piece).map(|(_, offset)| *offset);
        let expected = offsets().min().zip(offsets().max()).map(|(first, last)| first..last + 1);
        assert_eq!(layout.piece_range(piece, range.clone()), expected, "piece {piece} of {range:?}");
        // One run, without holes.
        assert_eq!(expected.as_ref().map_or(0, |run| run.end - run.start), offsets().count() as u64);
        let columns = expected.map(|run| run.start / 64 * 64..run.end.div_ceil(64) * 64);
        assert_eq!(layout.piece_columns(piece, range.clone()), columns);
        hull = match (hull, columns) {
            (Some(a), Some(b)) => Some(a.start.min(b.start)..a.end.max(b.end)),
            (a, b) => a.or(b),
        };
    }
    assert_eq!(layout.columns(range.clone()), hull.unwrap_or(0..0));

    let rows_touched: Vec<u64> = touched.iter().map(|(_, offset)| offset / UNIT as u64).collect();
    let rows = rows_touched.iter().min().zip(rows_touched.iter().max()).map_or(0..0, |(a, b)| *a..b + 1);
    assert_eq!(layout.rows_of(range), rows);
}

#[test]
fn lengths_where_the_layout_changes() {
    for needed in [1, 2, 3, 8] {
        let row = UNIT as u64 * u64::from(needed);
        for len in
            [0, 1, 63, 64, 65, 64 * u64::from(needed), 64 * u64::from(needed) + 1, row - 1, row, row + 1]
        {
            check(needed, len, 0..len);
            check(needed, len, 0..u64::MAX);
            check(needed, len, len / 2..len / 2 + 1);
            check(needed, len, len..len + 1);
            check(needed, len, 0..0);
        }
    }
}

#[test]
fn a_range_of_a_few_bytes_across_units_needs_few_columns_of_each_piece() {
    let layout = Layout::new(8, 1 << 20);
    let border = 3 * UNIT as u64;
    let range = border - 10..border + 10;
    assert_eq!(layout.piece_columns(2, range.clone()), Some(UNIT as u64 - 64..UNIT as u64));
    assert_eq!(layout.piece_columns(3, range.clone()), Some(0..64));
    assert_eq!(layout.columns(range), 0..UNIT as u64);
}

#[test]
fn rows_cover_segment_and_pieces_without_gaps() {
    for needed in [1, 3, 32] {
        let row_len = UNIT as u64 * u64::from(needed);
        for len in [0, 1, row_len - 1, row_len, row_len + 1, 3 * row_len + 777] {
            let layout = Layout::new(needed, len);
            let rows: Vec<Row> = (0..layout.rows()).map(|index| layout.row(index).unwrap()).collect();
            assert_eq!(layout.row(layout.rows()), None);
            let (mut segment, mut padded, mut piece) = (0, 0, 0);
            for row in rows {
                assert_eq!((row.segment.start, row.padded.start, row.piece.start), (segment, padded, piece));
                assert_eq!(row.padded.end - padded, (row.piece.end - piece) * u64::from(needed));
                (segment, padded, piece) = (row.segment.end, row.padded.end, row.piece.end);
            }
            assert_eq!((segment, padded, piece), (len, layout.padded_len(), layout.piece_len()));
        }
    }
}

#[test]
fn absurd_lengths_and_ranges_do_not_panic() {
    for needed in [1, 3, 32] {
        for len in [u64::MAX, u64::MAX - 1, u64::MAX - 64, u64::MAX / 2, 1 << 63] {
            let layout = Layout::new(needed, len);
            assert!(layout.piece_len() > 0 && layout.padded_len() > 0 && layout.rows() > 0);
            assert_eq!(layout.row(u64::MAX), None);
            let last = layout.row(layout.rows() - 1).unwrap();
            assert_eq!(last.segment.end, len);
            for range in [0..u64::MAX, len - 1..u64::MAX, u64::MAX..u64::MAX, len..len] {
                let _ = (layout.columns(range.clone()), layout.rows_of(range.clone()));
                for piece in [0, needed - 1, needed, u8::MAX] {
                    let _ = (
                        layout.piece_range(piece, range.clone()),
                        layout.piece_columns(piece, range.clone()),
                    );
                }
                assert!(layout.spans(range).take(3).all(|span| span.len > 0));
            }
        }
    }
    #[expect(clippy::reversed_empty_ranges, reason = "a range from a request may be turned round")]
    let turned = 9..3;
    assert_eq!(Layout::new(3, 100).spans(turned.clone()).count(), 0);
    assert_eq!(Layout::new(3, 100).columns(turned), 0..0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_range_of_any_length(
        needed in 1_u8..=5, len in 1_u64..800_000, a in 0_u64..900_000, size in 0_u64..300_000,
    ) {
        check(needed, len, a..a + size);
    }

    #[test]
    fn short_ranges_near_borders(
        needed in 1_u8..=4, rows in 1_u64..=3, units in 0_u64..=8, before in 0_u64..200, size in 1_u64..400,
        tail in 0_u64..100_000,
    ) {
        let len = rows * u64::from(needed) * UNIT as u64 + tail;
        let start = (units * UNIT as u64).saturating_sub(before);
        check(needed, len, start..start + size);
    }
}
