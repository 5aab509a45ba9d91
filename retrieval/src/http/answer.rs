//! Answers whose bytes are known before they are sent: their heads, ranges, and what is left out for `HEAD` and 304.

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

use super::{
    conditions,
    failure::Failure,
    headers::{Caching, set},
    request::ContentRequest,
};

/// 304.
pub(super) fn not_modified(caching: &Caching) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    caching.set(response.headers_mut());
    response
}

/// The bytes that are wanted of so many, and whether that is a range of them.
pub(super) fn wanted(
    request: &ContentRequest,
    caching: &Caching,
    size: u64,
) -> Result<(Range<u64>, bool), Failure> {
    match conditions::range(&request.headers, &caching.etag, size) {
        Ok(Some(range)) => Ok((range, true)),
        Ok(None) => Ok((0..size, false)),
        Err(conditions::Unsatisfiable) => Err(Failure::Range(size)),
    }
}

/// 200 or 206 with these bytes of `size`.
pub(super) fn ranged(
    body: Body,
    caching: &Caching,
    (range, partial): (Range<u64>, bool),
    size: u64,
    content_type: &str,
) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, content_type);
    caching.set(headers);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if partial {
        let Range { start, end } = range;
        set(headers, header::CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// A stream whose length nobody knows before its end.
pub(super) fn streamed(body: Body, caching: &Caching, content_type: &str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, content_type);
    caching.set(headers);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    response
}
