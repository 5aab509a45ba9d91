//! Conditional and range requests (RFC 9110).

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// A range that lies outside of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsatisfiable;

/// Whether the client has this already: `If-None-Match` names the `ETag`, in a list, weak or not, or is `*`.
pub(super) fn is_named(headers: &HeaderMap, etag: &str) -> bool {
    let strong = etag.strip_prefix("W/").unwrap_or(etag);
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == strong)
    })
}

/// The bytes that a `Range` header asks for: of several ranges the first that can be had. `None`: all of the file, when
/// there is no such header, when it is of another unit or malformed, or when `If-Range` names something else.
pub(super) fn range(headers: &HeaderMap, etag: &str, size: u64) -> Result<Option<Range<u64>>, Unsatisfiable> {
    let Some(value) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    if headers.get(header::IF_RANGE).is_some_and(|tag| tag.as_bytes() != etag.as_bytes()) {
        return Ok(None);
    }
    let Some(list) = value.trim().strip_prefix("bytes=") else { return Ok(None) };
    let mut parsed = false;
    for part in list.split(',').map(str::trim) {
        let Some(range) = one_range(part, size) else { return Ok(None) };
        parsed = true;
        if range.start < range.end {
            return Ok(Some(range));
        }
    }
    if parsed { Err(Unsatisfiable) } else { Ok(None) }
}

/// `a-b`, `a-` or `-n`, cut to the file; empty when it lies outside, `None` when malformed.
fn one_range(part: &str, size: u64) -> Option<Range<u64>> {
    let (from, to) = part.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        Some(text.parse().unwrap_or(u64::MAX))
    };
    if from.is_empty() {
        return Some(size - number(to)?.min(size)..size);
    }
    let start = number(from)?;
    let end = if to.is_empty() { size } else { number(to)?.saturating_add(1).min(size) };
    if !to.is_empty() && number(to)? < start {
        return None;
    }
    Some(start.min(size)..end.max(start.min(size)))
}

/// `Cache-Control: only-if-cached`: nothing is to be fetched for this request.
pub(super) fn is_only_if_cached(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("only-if-cached"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(range: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        headers
    }

    #[test]
    fn ranges() {
        let check = |text: &str| range(&headers(text), "\"e\"", 100);
        assert_eq!(check("bytes=0-0"), Ok(Some(0..1)));
        assert_eq!(check("bytes=10-19"), Ok(Some(10..20)));
        assert_eq!(check("bytes=90-"), Ok(Some(90..100)));
        assert_eq!(check("bytes=90-1000"), Ok(Some(90..100)));
        assert_eq!(check("bytes=-3"), Ok(Some(97..100)));
        assert_eq!(check("bytes=-1000"), Ok(Some(0..100)));
        assert_eq!(check("bytes=200-300, 5-6"), Ok(Some(5..7)), "the first that can be had");
        assert_eq!(check("bytes=100-"), Err(Unsatisfiable));
        assert_eq!(check("bytes=-0"), Err(Unsatisfiable));
        for malformed in
            ["bytes=", "bytes=a-b", "bytes=5", "bytes=9-3", "items=0-1", "bytes=--1", "bytes=+1-2"]
        {
            assert_eq!(check(malformed), Ok(None), "{malformed}");
        }
        assert_eq!(check("bytes=0-99999999999999999999999"), Ok(Some(0..100)));
        assert_eq!(range(&headers("bytes=0-1"), "\"e\"", 0), Err(Unsatisfiable));
    }

    #[test]
    fn if_range_must_name_the_etag() {
        let mut with = headers("bytes=0-1");
        with.insert(header::IF_RANGE, "\"e\"".parse().unwrap());
        assert_eq!(range(&with, "\"e\"", 10), Ok(Some(0..2)));
        assert_eq!(range(&with, "\"f\"", 10), Ok(None));
    }

    #[test]
    fn if_none_match() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            is_named(&headers, "\"cid\"")
        };
        assert!(check("\"cid\""));
        assert!(check("W/\"cid\""));
        assert!(check("\"a\", \"cid\" ,\"b\""));
        assert!(check("*"));
        assert!(!check("\"other\""));
        assert!(!check("cid"));
        assert!(!is_named(&HeaderMap::new(), "\"cid\""));
    }
}
