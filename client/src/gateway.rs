//! Calls to gateways: a node's own, signed with its key, and those of the command line.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use http::{Method, Request, header};
use protocol::{
    api::{
        EnrolAnswer, EnrolRequest, HeartbeatAnswer, HeartbeatRequest, LocateAnswer, LocateRequest,
        RedeemAnswer, RedeemRequest,
    },
    node_proof::{NODE_PROOF_HEADER, prove},
};
use serde::{Serialize, de::DeserializeOwned};
use service::clock::Clock;

use crate::transport::{CallError, SendError, Transport};

/// A locate answer with 1,024 blocks in as many segments stays below this.
const JSON_MAX: usize = 64 << 20;

/// Typed calls to one gateway.
#[derive(Clone, Debug)]
pub struct GatewayClient {
    transport: Transport,
    url: String,
    clock: Clock,
}

impl GatewayClient {
    /// Calls to the gateway at `url`.
    pub fn new(transport: Transport, url: &str, clock: Clock) -> Self {
        Self { transport, url: url.trim_end_matches('/').to_string(), clock }
    }

    /// Where the gateway is.
    pub fn url(&self) -> &str {
        &self.url
    }

    async fn signed<Q: Serialize, A: DeserializeOwned>(
        &self,
        key: &SigningKey,
        path: &str,
        question: &Q,
    ) -> Result<A, CallError> {
        let body = serde_json::to_vec(question).map_err(|error| CallError::BadAnswer(error.to_string()))?;
        let proof = prove(key, "POST", path, self.clock.now(), &body);
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.url))
            .header(header::CONTENT_TYPE, "application/json")
            .header(NODE_PROOF_HEADER, proof)
            .body(Body::from(body))
            .map_err(|error| CallError::Send(SendError::Connect(error.to_string())))?;
        self.transport.call_json(request, self.transport.call_timeout(), JSON_MAX).await
    }

    /// Joins the network, or tells it a new address.
    pub async fn enrol(&self, key: &SigningKey, request: &EnrolRequest) -> Result<EnrolAnswer, CallError> {
        self.signed(key, "/v1/nodes/enrol", request).await
    }

    /// Says that the node is there and how it is.
    pub async fn heartbeat(
        &self,
        key: &SigningKey,
        beat: &HeartbeatRequest,
    ) -> Result<HeartbeatAnswer, CallError> {
        self.signed(key, "/v1/nodes/heartbeat", beat).await
    }

    /// Asks where blocks are.
    pub async fn locate(&self, key: &SigningKey, request: &LocateRequest) -> Result<LocateAnswer, CallError> {
        self.signed(key, "/v1/nodes/locate", request).await
    }

    /// Hands in an hour of redeemed orders and tickets.
    pub async fn redeem(&self, key: &SigningKey, request: &RedeemRequest) -> Result<RedeemAnswer, CallError> {
        self.signed(key, "/v1/nodes/redeem", request).await
    }

    /// Any JSON call with a bearer token, for the command line.
    pub async fn json<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<&serde_json::Value>,
        timeout: Duration,
    ) -> Result<A, CallError> {
        let bytes = self.bytes(method, path, bearer, body, timeout).await?;
        serde_json::from_slice(&bytes).map_err(|error| CallError::BadAnswer(error.to_string()))
    }

    /// The body of any call with a bearer token, for the command line.
    pub async fn bytes(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<&serde_json::Value>,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let mut builder = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(bearer) = bearer {
            builder = builder.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let body = match body {
            Some(value) => {
                builder = builder.header(header::CONTENT_TYPE, "application/json");
                Body::from(value.to_string())
            }
            None => Body::empty(),
        };
        let request =
            builder.body(body).map_err(|error| CallError::Send(SendError::Connect(error.to_string())))?;
        self.transport.call(request, timeout, JSON_MAX).await
    }
}
