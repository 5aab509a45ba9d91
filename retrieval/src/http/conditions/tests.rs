//! Ranges and tags: the cases that matter by name, and any text against a slow reading of it.

use std::collections::BTreeSet;

use axum::http::HeaderValue;
use proptest::{collection::vec, prelude::*};

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
    for malformed in ["bytes=", "bytes=a-b", "bytes=5", "bytes=9-3", "items=0-1", "bytes=--1", "bytes=+1-2"] {
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
    assert!(!check("\"a,*,b\""));
    assert!(!check("\"other\""));
    assert!(!check("cid"));
    assert!(!is_named(&HeaderMap::new(), "\"cid\""));
}

/// The bytes of the file that one range names, looked for one by one; `None` when it is malformed.
fn slow_range(part: &str, size: u64) -> Option<BTreeSet<u64>> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u128>().unwrap_or(u128::MAX))
    };
    let dash = part.find('-')?;
    let (from, to) = (&part[..dash], &part[dash + 1..]);
    let all = 0..size;
    if from.is_empty() {
        let last = number(to)?;
        return Some(all.filter(|at| u128::from(size - at) <= last).collect());
    }
    let from = number(from)?;
    let to = if to.is_empty() { u128::MAX } else { number(to)? };
    (from <= to).then(|| all.filter(|at| (from..=to).contains(&u128::from(*at))).collect())
}

fn slow_ranges(text: &str, size: u64) -> Result<Option<Range<u64>>, Unsatisfiable> {
    let Some(list) = text.trim().strip_prefix("bytes=") else { return Ok(None) };
    for part in list.split(',') {
        match slow_range(part.trim(), size) {
            None => return Ok(None),
            Some(bytes) if bytes.is_empty() => {}
            Some(bytes) => return Ok(Some(*bytes.first().unwrap()..*bytes.last().unwrap() + 1)),
        }
    }
    Err(Unsatisfiable)
}

proptest! {
    #[test]
    fn any_range_is_read_as_a_slow_reader_does(
        text in prop_oneof!["bytes=[0-9]{0,2}-[0-9]{0,2}(, ?[0-9]{0,2}-[0-9]{0,25})?", "bytes=[-0-9, a]{0,12}", "[ -~]{0,20}"],
        size in 0_u64..30,
    ) {
        prop_assert_eq!(range(&headers(&text), "\"e\"", size), slow_ranges(&text, size));
    }

    #[test]
    fn a_range_lies_within_any_file(text in "bytes=[-0-9,]{0,50}", size: u64) {
        if let Ok(Some(range)) = range(&headers(&text), "\"e\"", size) {
            prop_assert!(range.start < range.end && range.end <= size);
        }
    }

    #[test]
    fn a_tag_is_found_in_any_list_and_nowhere_else(
        tags in vec((any::<bool>(), prop_oneof!["[!#-~]{0,6}", Just("cid".to_string())], "[ \t]{0,2}"), 0..6),
    ) {
        let written = |(weak, tag, space): &(bool, String, String)| {
            format!("{space}{}\"{tag}\"{space}", if *weak { "W/" } else { "" })
        };
        let list = tags.iter().map(written).collect::<Vec<_>>().join(",");
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, list.parse().unwrap());
        let is_there = tags.iter().any(|(_, tag, _)| tag == "cid");
        prop_assert_eq!(is_named(&headers, "\"cid\""), is_there);
        prop_assert_eq!(is_named(&headers, "W/\"cid\""), is_there);
    }

    #[test]
    fn no_bytes_break_a_header(bytes in vec(any::<u8>(), 0..40), size: u64) {
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        let names = [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::CACHE_CONTROL];
        let headers: HeaderMap = names.into_iter().map(|name| (name, value.clone())).collect();
        let _ = (range(&headers, "\"e\"", size), is_named(&headers, "\"e\""), is_only_if_cached(&headers));
    }
}
