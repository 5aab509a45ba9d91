//! The one error body of all APIs: `{"error":{"reason":"snake_case","details":"..."}}`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::rate_limit::TooMany;

/// What an API answers when it refuses or fails. Operations have error enums of their own and turn into this at the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable, machine-readable cause in `snake_case`; clients branch on it.
    pub reason: &'static str,
    /// For people.
    pub details: String,
    /// Seconds after which a retry makes sense. Set on every 429 and 503.
    pub retry_after_secs: Option<u32>,
}

impl ApiError {
    /// An error that a retry does not cure.
    pub fn new(status: StatusCode, reason: &'static str, details: impl ToString) -> Self {
        Self { status, reason, details: details.to_string(), retry_after_secs: None }
    }

    /// 400.
    pub fn bad_request(reason: &'static str, details: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, details)
    }

    /// 404.
    pub fn not_found(reason: &'static str, details: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, reason, details)
    }

    /// 503 with `Retry-After`.
    pub fn unavailable(reason: &'static str, details: impl ToString, retry_after_secs: u32) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            reason,
            details: details.to_string(),
            retry_after_secs: Some(retry_after_secs),
        }
    }

    /// 429: the caller has made too many requests lately.
    pub fn rate_limited(too_many: TooMany) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", too_many);
        Self { retry_after_secs: Some(too_many.retry_after_secs()), ..error }
    }

    /// 500: the cause goes to the log, never to the caller.
    pub fn internal(error: &anyhow::Error) -> Self {
        tracing::error!(error = format!("{error:#}"), "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error")
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(&error)
    }
}

/// The JSON form of an error, for both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The only member.
    pub error: ErrorDetail,
}

/// Inside of [`ErrorBody`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Stable cause.
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub details: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body =
            ErrorBody { error: ErrorDetail { reason: self.reason.to_string(), details: self.details } };
        let mut response = (self.status, Json(body)).into_response();
        // Some of these a cache could otherwise keep for as long as it thinks fit (RFC 9111, 4.2.2).
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_secs {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
