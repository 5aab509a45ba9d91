//! Which APIs web pages of any origin may use: all that take API keys. A key is sent by a script that was given one, never by a
//! browser on its own (there are no cookies, and credentials are not allowed), so a page can do nothing that its key cannot.
//!
//! Never `/v1/admin`, whose token no page should ever hold, and never `/v1/nodes`, which is between programs: a browser
//! refuses to send their headers for a page, as nothing here allows it. Content under `/ipfs` has rules of its own.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// Where these APIs are, and everything below.
const APIS: [&str; 7] = ["/api/v0", "/data", "/pinning", "/psa", TUS, "/v1/files", "/v3"];
/// Answers `OPTIONS` itself: clients ask it what the server can do.
const TUS: &str = "/tus";

/// What pages may ask for, send and read, over all APIs: a browser sends what a client needs, and no more is gained by a
/// list for each.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const ACCEPTED: &str = "Authorization, Content-Type, User-Agent, X-Requested-With, X-Request-ID, X-HTTP-Method-Override, Source, \
     pinata_api_key, pinata_secret_api_key, Tus-Resumable, Upload-Length, Upload-Defer-Length, Upload-Offset, \
     Upload-Metadata, Upload-Checksum, Upload-Concat";
const EXPOSED: &str = "Location, Retry-After, X-Chunked-Output, X-Content-Length, X-Stream-Output, Tus-Resumable, Tus-Version, \
     Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, Upload-Length, Upload-Defer-Length, \
     Upload-Metadata, Upload-Concat, Upload-Expires, Upload-Cid";
/// Seconds for which a browser remembers the answer. Chromium does for two hours, at most.
const MAX_AGE: &str = "7200";

/// Answers what browsers ask before a page may, and tells them with every answer that it may read it: around all routes,
/// so that refusals of any kind are among them.
pub(super) async fn allow(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !APIS.iter().any(|api| is_below(path, api)) {
        return next.run(request).await;
    }
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = if is_preflight && !is_below(path, TUS) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let mut set = |name: HeaderName, value| {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    };
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if is_preflight {
        set(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, ACCEPTED);
        set(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    response
}

/// Whether a path is this one or begins with its parts.
fn is_below(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
