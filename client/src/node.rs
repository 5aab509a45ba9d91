//! Calls to storage nodes.

use std::{ops::Range, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Uri};
use protocol::{
    api::{Identity, InventoryPage, ListedPiece, NodeStatus, ORDER_HEADER, PlacesAnswer},
    ids::{NodeId, PieceHash},
};

use crate::{
    body::Chunks,
    transport::{Answer, CallError, SendError, Transport},
};

/// JSON answers of nodes are small; a list of pieces is the longest.
const JSON_MAX: usize = 4 << 20;

/// Leave to do something with one piece at one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceOrder {
    /// The node.
    pub node: NodeId,
    /// Where it is.
    pub url: String,
    /// The piece.
    pub hash: PieceHash,
    /// The signed order.
    pub order: String,
}

/// Typed calls to nodes.
#[derive(Clone, Debug)]
pub struct NodeClient {
    transport: Transport,
}

fn request(
    method: Method,
    url: &str,
    path: &str,
    order: Option<&str>,
    body: Body,
) -> Result<Request<Body>, CallError> {
    let uri: Uri = format!("{}{path}", url.trim_end_matches('/'))
        .parse()
        .map_err(|error| CallError::Send(SendError::Connect(format!("bad url {url}: {error}"))))?;
    let mut builder = Request::builder().method(method).uri(uri);
    if let Some(order) = order {
        builder = builder.header(ORDER_HEADER, order);
    }
    builder.body(body).map_err(|error| CallError::BadAnswer(error.to_string()))
}

impl NodeClient {
    /// Calls over `transport`.
    pub fn new(transport: Transport) -> Self {
        Self { transport }
    }

    /// Stores a piece. The answer means that it is durable on the node's disk.
    pub async fn put(&self, order: &PieceOrder, bytes: Chunks, timeout: Duration) -> Result<(), CallError> {
        let path = format!("/v1/pieces/{}", order.hash);
        let request = request(Method::PUT, &order.url, &path, Some(&order.order), Body::new(bytes))?;
        self.transport.call(request, timeout, JSON_MAX).await.map(drop)
    }

    /// A byte range of a piece with its proof, not yet verified: see `protocol::proof`.
    pub async fn get(
        &self,
        order: &PieceOrder,
        range: Range<u64>,
        timeout: Duration,
    ) -> Result<Answer, CallError> {
        let path = format!("/v1/pieces/{}?start={}&end={}", order.hash, range.start, range.end);
        let request = request(Method::GET, &order.url, &path, Some(&order.order), Body::empty())?;
        self.transport.open(request, timeout).await
    }

    /// Answers to a batch of challenges, framed as in `protocol::audit`.
    pub async fn audit(
        &self,
        url: &str,
        order: &str,
        batch: Bytes,
        answer_max: usize,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let request = request(Method::POST, url, "/v1/audit", Some(order), Body::from(batch))?;
        self.transport.call(request, timeout, answer_max).await
    }

    /// Deletes a batch of [`PieceUnpin`](protocol::unpin::PieceUnpin)s. Pieces that are not there are fine.
    pub async fn delete(&self, url: &str, order: &str, unpins: Bytes) -> Result<(), CallError> {
        let request = request(Method::POST, url, "/v1/pieces/delete", Some(order), Body::from(unpins))?;
        self.transport.call(request, self.transport.call_timeout(), JSON_MAX).await.map(drop)
    }

    /// Pieces that the node holds, in order of name, behind `after`.
    pub async fn list(
        &self,
        url: &str,
        order: &str,
        after: Option<PieceHash>,
        limit: u32,
    ) -> Result<Vec<ListedPiece>, CallError> {
        let after = after.map_or_else(String::new, |hash| format!("&after={hash}"));
        let path = format!("/v1/pieces?limit={limit}{after}");
        let request = request(Method::GET, url, &path, Some(order), Body::empty())?;
        self.transport.call_json(request, self.transport.call_timeout(), JSON_MAX).await
    }

    /// What the node's pieces are parts of, in order of name, behind `after`.
    pub async fn inventory(
        &self,
        url: &str,
        order: &str,
        after: Option<PieceHash>,
        limit: u32,
    ) -> Result<InventoryPage, CallError> {
        let after = after.map_or_else(String::new, |hash| format!("&after={hash}"));
        let path = format!("/v1/inventory?limit={limit}{after}");
        let request = request(Method::GET, url, &path, Some(order), Body::empty())?;
        self.transport.call_json(request, self.transport.call_timeout(), JSON_MAX).await
    }

    /// What the node was told of blocks: `question` is a [`PlacesRequest`](protocol::api::PlacesRequest) in JSON, under an
    /// order for exactly these bytes. What comes back is not verified.
    pub async fn places(
        &self,
        url: &str,
        order: &str,
        question: Bytes,
        timeout: Duration,
    ) -> Result<PlacesAnswer, CallError> {
        let request = request(Method::POST, url, "/v1/places", Some(order), Body::from(question))?;
        self.transport.call_json(request, timeout, JSON_MAX).await
    }

    /// Whether the node answers, and how busy it is.
    pub async fn status(&self, url: &str, timeout: Duration) -> Result<NodeStatus, CallError> {
        let request = request(Method::GET, url, "/v1/status", None, Body::empty())?;
        self.transport.call_json(request, timeout, JSON_MAX).await
    }

    /// Asks the node to show that it holds its key.
    pub async fn identity(&self, url: &str, nonce: &str) -> Result<Identity, CallError> {
        let path = format!("/v1/identity?nonce={nonce}");
        let request = request(Method::GET, url, &path, None, Body::empty())?;
        self.transport.call_json(request, self.transport.call_timeout(), JSON_MAX).await
    }
}
