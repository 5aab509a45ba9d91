//! Answers as Kubo gives them: lines of JSON, and errors with a message.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use retrieval::ReadError;
use serde::Serialize;
use serde_json::json;
use service::http::error::ApiError;
use store::StoreError;

use crate::{auth::AuthError, routes::refusals::store_failed, upload::UploadError};

/// A command that was refused or failed. Kubo says 500 of everything; here the status says what it is.
#[derive(Debug)]
pub(super) struct RpcError {
    status: StatusCode,
    message: String,
    retry_after_secs: Option<u32>,
}

impl RpcError {
    /// An argument that is missing or makes no sense.
    pub(super) fn argument(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Nothing of that name.
    pub(super) fn not_found(message: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// What should not happen.
    pub(super) fn failed(message: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string(), retry_after_secs: None }
    }
}

impl From<ApiError> for RpcError {
    fn from(error: ApiError) -> Self {
        let ApiError { status, details, retry_after_secs, .. } = error;
        Self { status, message: details, retry_after_secs }
    }
}

impl From<AuthError> for RpcError {
    fn from(error: AuthError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<UploadError> for RpcError {
    fn from(error: UploadError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        store_failed(error).into()
    }
}

impl From<ReadError> for RpcError {
    fn from(error: ReadError) -> Self {
        let status = match &error {
            ReadError::Denied(..) => StatusCode::GONE,
            ReadError::NotFound(_) | ReadError::NoLink { .. } => StatusCode::NOT_FOUND,
            ReadError::NotADirectory(_)
            | ReadError::NotALink(_)
            | ReadError::Malformed(_)
            | ReadError::BadData(..)
            | ReadError::UnsupportedHash(_)
            | ReadError::TooLarge(_)
            | ReadError::NoArchive(_) => StatusCode::BAD_REQUEST,
            ReadError::Unlocated(_) | ReadError::Unavailable(_) | ReadError::TooSlow => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let retry_after_secs = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5);
        Self { retry_after_secs, ..Self::new(status, error) }
    }
}

impl IntoResponse for RpcError {
    fn into_response(self) -> Response {
        let body = json!({ "Message": self.message, "Code": 0, "Type": "error" });
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(seconds) = self.retry_after_secs {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// One line.
pub(super) fn line(value: &impl Serialize) -> Response {
    lines(&[value])
}

/// Lines that are all there.
pub(super) fn lines(values: &[impl Serialize]) -> Response {
    let mut text = Vec::new();
    for value in values {
        // Maps with string keys and plain values cannot fail to become JSON.
        if serde_json::to_writer(&mut text, value).is_ok() {
            text.push(b'\n');
        }
    }
    let mut response = Response::new(Body::from(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert("x-chunked-output", header::HeaderValue::from_static("1"));
    response
}
