//! Answers to HTTP requests.

mod conditional;
mod directories;
mod errors;
mod site;
mod whole;

use axum::{
    body::Body,
    http::{HeaderMap, Method, Response, StatusCode, Uri, header},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;

use crate::{Blocks, ContentRequest, respond};

/// An answer with its whole body.
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
    let uri: Uri = uri.parse().unwrap();
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    let request = ContentRequest::parse(&method, &uri, headers).unwrap();
    respond(blocks, &request).await
}

pub(super) async fn ask(
    blocks: &Blocks,
    method: Method,
    uri: &str,
    headers: &[(header::HeaderName, &str)],
) -> Answer {
    let response = send(blocks, method, uri, headers).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = Answer { status: parts.status, headers: parts.headers, body };
    // What every answer has, once.
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-expose-headers").contains("Content-Range"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    answer
}

pub(super) async fn get(blocks: &Blocks, uri: &str) -> Answer {
    ask(blocks, Method::GET, uri, &[]).await
}
