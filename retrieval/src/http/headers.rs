//! Headers that many answers have.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use content::Cid;

use super::{conditions, encode, request::ContentRequest};

/// Content never changes under its CID: one year less four weeks, as the gateway specification has it.
pub(super) const IMMUTABLE: &str = "public, max-age=29030400, immutable";
/// Pages that are made by us may look different tomorrow.
pub(super) const GENERATED: &str = "public, max-age=604800, stale-while-revalidate=2678400";
/// Our own pages load nothing and run nothing.
pub(super) const OWN_PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'";

/// The headers that let any web page read content.
pub fn add_cors(headers: &mut HeaderMap) {
    let cors: [(HeaderName, &str); 4] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Range, User-Agent, X-Requested-With"),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Content-Range, Content-Length, Ipfs-Uri, Retry-After, X-Ipfs-Path, X-Ipfs-Roots, X-Chunked-Output, X-Stream-Output",
        ),
    ];
    for (name, value) in cors {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Sets a header, unless the value cannot stand in one: then the header is left out.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

/// Which content this is: `Ipfs-Uri`, and `X-Ipfs-Path`, which is left out when it has characters that a header cannot have.
pub(super) fn set_path(headers: &mut HeaderMap, request: &ContentRequest) {
    set(headers, HeaderName::from_static("ipfs-uri"), &request.uri());
    if request.content_path.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        set(headers, HeaderName::from_static("x-ipfs-path"), &request.content_path);
    }
}

/// `Content-Disposition`: as an attachment when that was asked for, under the name that was asked for.
pub(super) fn set_disposition(headers: &mut HeaderMap, request: &ContentRequest, kind: &str, name: &str) {
    let kind = if request.is_download() { "attachment" } else { kind };
    let asked = request.asked_name();
    let value = encode::disposition(kind, asked.as_deref().unwrap_or(name));
    set(headers, header::CONTENT_DISPOSITION, &value);
}

/// The `X-Ipfs-Roots` of an answer.
pub(super) fn set_roots<B>(response: &mut Response<B>, roots: &[Cid]) {
    let roots: Vec<String> = roots.iter().map(|cid| cid.as_written().to_string()).collect();
    set(response.headers_mut(), HeaderName::from_static("x-ipfs-roots"), &roots.join(","));
}

/// How an answer may be cached, and under which name. 304 repeats it (RFC 9110, 15.4.5).
#[derive(Clone, Debug)]
pub(super) struct Caching {
    pub(super) etag: String,
    /// What else in `If-None-Match` means that the client has this already.
    pub(super) also: Option<String>,
    pub(super) control: &'static str,
}

impl Caching {
    /// Content under its own name.
    pub(super) fn immutable(etag: String) -> Self {
        Self { etag, also: None, control: IMMUTABLE }
    }

    /// A page that we made of it. A client that has the content itself does not need it either.
    pub(super) fn generated(kind: &str, version: &str, cid: &Cid) -> Self {
        let cid = cid.as_written();
        let etag = format!("\"{kind}-{version}_CID-{cid}\"");
        Self { etag, also: Some(format!("\"{cid}\"")), control: GENERATED }
    }

    pub(super) fn set(&self, headers: &mut HeaderMap) {
        set(headers, header::ETAG, &self.etag);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(self.control));
    }

    /// Whether the client has it already.
    pub(super) fn is_known(&self, headers: &HeaderMap) -> bool {
        let is_named = |etag: &str| conditions::is_named(headers, etag);
        is_named(&self.etag) || self.also.as_deref().is_some_and(is_named)
    }
}
