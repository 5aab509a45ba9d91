//! Times as people and JSON have them.

use protocol::time::UnixMillis;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// RFC 3339 in UTC, with milliseconds.
pub(super) fn rfc3339(at: UnixMillis) -> String {
    let nanos = i128::from(at.0).saturating_mul(1_000_000);
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| at.to_string())
}

/// Reads RFC 3339.
pub(super) fn parse_rfc3339(text: &str) -> Option<UnixMillis> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(UnixMillis)
}
