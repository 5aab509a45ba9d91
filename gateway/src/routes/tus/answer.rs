//! Answers of tus: what they say in their headers.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use service::http::error::ApiError;
use store::{TusKind, TusUpload};

use crate::{
    app::Gateway,
    routes::time_text::{http_date, rfc3339},
    tus::{ALGORITHMS, Metadata},
};

/// The version that is spoken.
pub(super) const VERSION: &str = "1.0.0";
const EXTENSIONS: &str =
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation";

/// Adds what every answer says, refusals included.
pub(in crate::routes) async fn dress(mut response: Response) -> Response {
    let status = response.status();
    let headers = response.headers_mut();
    set(headers, "tus-resumable", VERSION);
    if status == StatusCode::PRECONDITION_FAILED {
        set(headers, "tus-version", VERSION);
    }
    response
}

/// `OPTIONS`: what can be done here, for clients of tus. Browsers are told what they ask by `pages`.
pub(super) fn options(gateway: &Gateway) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    set(headers, "tus-version", VERSION);
    set(headers, "tus-extension", EXTENSIONS);
    set(headers, "tus-max-size", &gateway.config.uploads.size_max.to_string());
    set(headers, "tus-checksum-algorithm", ALGORITHMS);
    response
}

/// 201 for an upload that was begun, with what stands behind its URL.
pub(in crate::routes) fn begun(gateway: &Gateway, upload: &TusUpload, query: Option<&str>) -> Response {
    let mut response = StatusCode::CREATED.into_response();
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    set(response.headers_mut(), "location", &format!("{}/tus/{}{query}", base(gateway), upload.id));
    progress(response.headers_mut(), upload);
    response
}

/// 204 for bytes that were taken in.
pub(super) fn written(upload: &TusUpload) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    progress(response.headers_mut(), upload);
    response
}

/// How an upload stands.
pub(super) fn stands(upload: &TusUpload) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    progress(headers, upload);
    set(headers, header::CACHE_CONTROL.as_str(), "no-store");
    match upload.length_bytes {
        Some(length) => set(headers, "upload-length", &length.to_string()),
        None => set(headers, "upload-defer-length", "1"),
    }
    if !upload.metadata.is_empty() {
        set(headers, "upload-metadata", &upload.metadata);
    }
    match upload.kind {
        TusKind::Plain => {}
        TusKind::Partial => set(headers, "upload-concat", "partial"),
        TusKind::Final => set(headers, "upload-concat", &upload.parts),
    }
    response
}

/// The same as JSON.
pub(super) fn described(gateway: &Gateway, upload: &TusUpload) -> Result<Value, ApiError> {
    let metadata = Metadata::parse(&upload.metadata)?;
    let metadata: serde_json::Map<String, Value> =
        metadata.pairs().iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    let mut described = json!({
        "id": upload.id,
        "kind": upload.kind.as_str(),
        "state": if upload.finished.is_some() { "finished" } else { "uploading" },
        "offset": upload.offset_bytes,
        "length": upload.length_bytes,
        "metadata": metadata,
        "created": rfc3339(upload.created),
        "expires": rfc3339(upload.due),
    });
    if let Some(cid) = file(upload) {
        described["cid"] = cid.clone().into();
        described["url"] = format!("{}/ipfs/{cid}", base(gateway)).into();
    }
    Ok(described)
}

fn progress(headers: &mut HeaderMap, upload: &TusUpload) {
    // One that is put together has no offset until that is done.
    if upload.kind != TusKind::Final || upload.finished.is_some() {
        set(headers, "upload-offset", &upload.offset_bytes.to_string());
    }
    set(headers, "upload-expires", &http_date(upload.due));
    if let Some(cid) = file(upload) {
        set(headers, "upload-cid", &cid);
    }
}

/// The file that an upload has become. A part is none.
fn file(upload: &TusUpload) -> Option<String> {
    let is_pinned = upload.finished.is_some() && upload.kind != TusKind::Partial;
    upload.root.as_ref().filter(|_| is_pinned).map(|(root, _)| root.as_written().to_string())
}

fn base(gateway: &Gateway) -> &str {
    gateway.config.public_url.trim_end_matches('/')
}

/// Everything that is set here was a header before, or is digits, names and times.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
