//! Times as people and JSON have them.

use protocol::time::{UnixMicros, UnixMillis};
use time::{
    OffsetDateTime,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

/// Always three digits of a second, so that times sort as text.
const WITH_MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// As HTTP has times in headers (RFC 9110, 5.6.7).
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// A time for a header, to the second.
pub(super) fn http_date(at: UnixMillis) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1_000)).ok();
    time.and_then(|time| time.format(HTTP_DATE).ok()).unwrap_or_default()
}

/// RFC 3339 in UTC, with milliseconds.
pub(super) fn rfc3339(at: UnixMillis) -> String {
    let nanos = i128::from(at.0).saturating_mul(1_000_000);
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(WITH_MILLIS).ok())
        .unwrap_or_else(|| at.to_string())
}

const WITH_MICROS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// RFC 3339 in UTC, with microseconds.
pub(super) fn rfc3339_micros(at: UnixMicros) -> String {
    let nanos = i128::from(at.0).saturating_mul(1_000);
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(WITH_MICROS).ok())
        .unwrap_or_else(|| at.0.to_string())
}

/// Reads RFC 3339, to the microsecond.
pub(super) fn parse_rfc3339_micros(text: &str) -> Option<UnixMicros> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000)).ok().map(UnixMicros)
}

/// Reads RFC 3339.
pub(super) fn parse_rfc3339(text: &str) -> Option<UnixMillis> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(UnixMillis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_headers() {
        assert_eq!(http_date(UnixMillis(784_111_777_999)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(UnixMillis(i64::MAX)), "");
    }

    #[test]
    fn times_sort_as_text_and_read_back() {
        let times =
            [0, 40, 41, 400, 1000, 1_700_000_000_000, 1_700_000_000_040, 1_700_000_000_041].map(UnixMillis);
        let texts = times.map(rfc3339);
        assert_eq!(texts[1], "1970-01-01T00:00:00.040Z");
        assert!(texts.is_sorted());
        assert_eq!(texts.map(|text| parse_rfc3339(&text)), times.map(Some));
        for micros in [-1, 0, 1, 999_999, 1_700_000_000_123_456].map(UnixMicros) {
            assert_eq!(parse_rfc3339_micros(&rfc3339_micros(micros)), Some(micros));
        }
    }
}
