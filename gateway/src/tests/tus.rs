//! Uploads in several requests, as clients of tus 1.0.0 make them.

mod ends;
mod joined;
mod limits;
mod pieces;
mod protocol;
mod takeover;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use bytes::Bytes;
use content::unixfs::{file::import_bytes, profile::Profile};

use super::world::{Answer, World, request, send_to};

const MIB: usize = 1 << 20;

/// A client of one gateway.
struct Client {
    router: Router,
    key: String,
}

impl Client {
    fn new(world: &World) -> Self {
        Self { router: world.router.clone(), key: world.key.clone() }
    }

    fn request(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Body>,
    ) -> Request<Body> {
        let mut request = request(method, path(uri), Some(&self.key), body);
        request.headers_mut().insert("tus-resumable", "1.0.0".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    async fn send(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        send_to(self.router.clone(), self.request(method, uri, headers, body)).await
    }

    async fn post(&self, headers: &[(&'static str, &str)]) -> Answer {
        self.send(Method::POST, "/tus", headers, Body::empty()).await
    }

    /// Begins an upload; gives where it is.
    async fn begin(&self, headers: &[(&'static str, &str)]) -> String {
        location(&self.post(headers).await)
    }

    async fn begin_of(&self, len: usize) -> String {
        self.begin(&[("upload-length", &len.to_string())]).await
    }

    async fn patch(&self, uri: &str, offset: usize, body: impl Into<Body>) -> Answer {
        self.patch_with(uri, offset, &[], body).await
    }

    async fn patch_with(
        &self,
        uri: &str,
        offset: usize,
        headers: &[(&'static str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let offset = offset.to_string();
        let bytes = [("content-type", "application/offset+octet-stream"), ("upload-offset", offset.as_str())];
        self.send(Method::PATCH, uri, &[&bytes[..], headers].concat(), body).await
    }

    /// Sends bytes that must be taken; gives the offset behind them.
    async fn write(&self, uri: &str, offset: usize, bytes: &[u8]) -> usize {
        let answer = self.patch(uri, offset, bytes.to_vec()).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
        let now = offset_of(&answer);
        assert_eq!(now, offset + bytes.len());
        now
    }

    async fn head(&self, uri: &str) -> Answer {
        self.send(Method::HEAD, uri, &[], Body::empty()).await
    }

    async fn offset(&self, uri: &str) -> usize {
        let answer = self.head(uri).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        offset_of(&answer)
    }

    /// Uploads everything in one piece; gives where it is.
    async fn upload(&self, headers: &[(&'static str, &str)], bytes: &[u8]) -> String {
        let len = bytes.len().to_string();
        let uri = self.begin(&[&[("upload-length", len.as_str())], headers].concat()).await;
        self.write(&uri, 0, bytes).await;
        uri
    }

    /// The file that an upload has become.
    async fn cid(&self, uri: &str) -> String {
        let answer = self.head(uri).await;
        answer.headers["upload-cid"].to_str().unwrap().to_string()
    }
}

/// The path of a URL of the gateway.
fn path(uri: &str) -> &str {
    uri.trim_start_matches("https://gateway.example")
}

#[track_caller]
fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let location = answer.headers[header::LOCATION].to_str().unwrap();
    assert!(location.starts_with("https://gateway.example/tus/"), "{location}");
    location.to_string()
}

#[track_caller]
fn offset_of(answer: &Answer) -> usize {
    answer.headers["upload-offset"].to_str().unwrap().parse().unwrap()
}

/// The name that the bytes have however they come.
fn cid_of(bytes: &[u8]) -> String {
    import_bytes(Profile::UNIXFS_V1_2025, &Bytes::copy_from_slice(bytes)).root.to_string()
}

/// A body that breaks off behind these bytes.
pub(super) fn broken(bytes: &[u8]) -> Body {
    let parts: Vec<Result<Bytes, std::io::Error>> = bytes
        .chunks(100_000)
        .map(|part| Ok(Bytes::copy_from_slice(part)))
        .chain([Err(std::io::Error::other("connection reset"))])
        .collect();
    Body::from_stream(futures_util::stream::iter(parts))
}

/// A body that goes on while its sender is there.
fn open_body() -> (tokio::sync::mpsc::Sender<Result<Bytes, std::io::Error>>, Body) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let body = Body::from_stream(futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)));
    (sender, body)
}
