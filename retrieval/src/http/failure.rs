//! Refusals and errors: plain text with a status, never to be cached.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use content::Cid;
use service::rate_limit::TooMany;

use super::{format::FormatError, headers::set, redirects::RedirectsError};
use crate::{denylist::Denial, error::ReadError};

/// Seconds after which a reader may try again when blocks cannot be had.
const RETRY_AFTER_SECS: u32 = 5;

/// Why a request is not answered with what it asks for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("bad parameter entity-bytes: the file has {0} bytes")]
    OutsideOfEntity(u64),
    #[error("a service worker must be below a content root: the path needs a slash behind the CID")]
    ServiceWorker,
    /// Without a body, as the specification has it.
    #[error("")]
    NotCached,
    #[error("{cid} has codec {codec} and is not converted to {wanted}: ask for format=raw", codec = cid.codec())]
    NotAcceptable { cid: Cid, wanted: &'static str },
    #[error("pages and images that can run scripts are not shown on this host: use download=true")]
    Active,
    #[error("the range lies outside of {0} bytes")]
    Range(u64),
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error("could not parse _redirects: {0}")]
    Redirects(#[from] RedirectsError),
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Read(error) => match error {
                ReadError::Denied(_, Denial::Gone) => StatusCode::GONE,
                ReadError::Denied(_, Denial::Legal) => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
                ReadError::NotFound(_) | ReadError::NoLink { .. } | ReadError::NotADirectory(_) => {
                    StatusCode::NOT_FOUND
                }
                ReadError::NotALink(_) => StatusCode::NOT_IMPLEMENTED,
                ReadError::Malformed(_)
                | ReadError::BadData(..)
                | ReadError::UnsupportedHash(_)
                | ReadError::TooLarge(_)
                | ReadError::NoArchive(_) => StatusCode::BAD_REQUEST,
                // Known to be out of reach for now, or not known at all, which is no time-out: whoever tries again later
                // may have it.
                ReadError::Unlocated(_) | ReadError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
                ReadError::TooSlow => StatusCode::GATEWAY_TIMEOUT,
            },
            Self::Format(FormatError::NoSuchCar) | Self::NotAcceptable { .. } => StatusCode::NOT_ACCEPTABLE,
            Self::Format(_) | Self::OutsideOfEntity(_) | Self::ServiceWorker => StatusCode::BAD_REQUEST,
            Self::NotCached => StatusCode::PRECONDITION_FAILED,
            Self::Active => StatusCode::FORBIDDEN,
            Self::Range(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Redirects(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn response(&self) -> Response {
        let status = self.status();
        let body = if matches!(self, Self::NotCached) { String::new() } else { format!("{self}\n") };
        let mut response = text(status, body);
        let headers = response.headers_mut();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
        }
        if let Self::TooMany(too_many) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(too_many.retry_after_secs()));
        }
        if let Self::Range(size) = self {
            set(headers, header::CONTENT_RANGE, &format!("bytes */{size}"));
        }
        response
    }

    /// Whether the path leads to nothing, so that whoever made the root may say where to go instead.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Read(ReadError::NoLink { .. } | ReadError::NotADirectory(_)))
    }
}

/// Counts a request that ends because something is denied.
pub(super) fn count_denied(error: &ReadError) {
    let status = match error {
        ReadError::Denied(_, Denial::Gone) => "410",
        ReadError::Denied(_, Denial::Legal) => "451",
        _ => return,
    };
    metrics::counter!("pinstripe_denied_requests_total", "status" => status).increment(1);
}

/// A plain-text answer that nobody caches.
pub(super) fn text(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
