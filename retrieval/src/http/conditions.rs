//! Conditional and range requests (RFC 9110).

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// A range that lies outside of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsatisfiable;

/// Whether the client has this already: `If-None-Match` names the `ETag`, in a list, weak or not, or is `*`. Parting the list
/// at commas is enough: none of our tags has one, and a part of another's has no quotes at both ends.
pub(super) fn is_named(headers: &HeaderMap, etag: &str) -> bool {
    let strong = etag.strip_prefix("W/").unwrap_or(etag);
    let mut lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.any(|list| {
        let mut tags = list.split(',').map(str::trim);
        // Alone: `"a,*,b"` is a tag.
        list.trim() == "*" || tags.any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == strong)
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
mod tests;
