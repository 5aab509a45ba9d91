//! Requests that are refused before a handler sees them, alike on all paths.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use http_body_util::{BodyExt as _, Limited};
use service::http::error::ApiError;

/// Bytes of a refusal's text that are kept.
const TEXT_MAX: usize = 4096;

/// Gives refusals of the framework, which are plain text, the form of all our errors.
pub(super) async fn json_refusals(response: Response) -> Response {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_text = content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    if !status.is_client_error() || !is_text {
        return response;
    }
    let reason = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        StatusCode::UNPROCESSABLE_ENTITY => "bad_json",
        _ => "bad_request",
    };
    ApiError::new(status, reason, text(response.into_body()).await).into_response()
}

async fn text(body: Body) -> String {
    let text = Limited::new(body, TEXT_MAX).collect().await;
    text.map_or_else(|_| String::new(), |text| String::from_utf8_lossy(&text.to_bytes()).into_owned())
}
