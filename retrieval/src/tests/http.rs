//! Answers to HTTP requests.

mod caching;
mod cars;
mod conditional;
mod data;
mod denied;
mod directories;
mod errors;
mod fixtures;
mod formats;
mod hosts;
mod redirects;
mod site;
mod tars;
mod whole;

use axum::{
    body::Body,
    http::{HeaderMap, Method, Response, StatusCode, Uri, header},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;

use crate::{AnswerRules, Blocks, ContentRequest, Mount, respond};

/// An answer with its whole body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The only value of a header.
    #[track_caller]
    pub(super) fn header(&self, name: &str) -> &str {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{name} once, in {:?}", self.headers);
        values[0].to_str().unwrap()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(super) async fn send(
    blocks: &Blocks,
    method: Method,
    uri: &str,
    headers: &[(header::HeaderName, &str)],
) -> Response<Body> {
    respond(blocks, &AnswerRules::default(), &request(method, uri, headers)).await
}

pub(super) fn request(method: Method, uri: &str, headers: &[(header::HeaderName, &str)]) -> ContentRequest {
    let uri: Uri = uri.parse().unwrap();
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    ContentRequest::parse(&method, &uri, headers).unwrap()
}

/// A request to the host of a CID below `gateway.example:8080`.
pub(super) fn at_origin(method: Method, cid: &str, uri: &str) -> ContentRequest {
    let uri: Uri = uri.parse().unwrap();
    let gateway = "gateway.example:8080".to_string();
    ContentRequest::at_origin(&method, &uri, HeaderMap::new(), cid.parse().unwrap(), gateway).unwrap()
}

/// The answer with its whole body; checks what every answer has, once.
pub(super) async fn answer(blocks: &Blocks, rules: &AnswerRules, request: &ContentRequest) -> Answer {
    let answer = collect(respond(blocks, rules, request).await).await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-expose-headers").contains("Content-Range"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    if request.content_path.is_ascii() {
        assert_eq!(answer.header("x-ipfs-path"), request.content_path);
    } else {
        assert!(!answer.headers.contains_key("x-ipfs-path"));
    }
    assert!(answer.header("ipfs-uri").starts_with(&format!("ipfs://{}", request.root)));
    if request.head {
        assert!(answer.body.is_empty());
    }
    if request.mount == Mount::Path && answer.status.is_client_error() {
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    answer
}

/// An answer with its whole body, or why that broke off.
pub(super) async fn collect(response: Response<Body>) -> Result<Answer, String> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

pub(super) async fn ask(
    blocks: &Blocks,
    method: Method,
    uri: &str,
    headers: &[(header::HeaderName, &str)],
) -> Answer {
    answer(blocks, &AnswerRules::default(), &request(method, uri, headers)).await
}

pub(super) async fn get(blocks: &Blocks, uri: &str) -> Answer {
    ask(blocks, Method::GET, uri, &[]).await
}
