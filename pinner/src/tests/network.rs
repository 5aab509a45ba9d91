//! A gateway that does what the protocol says, as little as that takes, and remembers everything.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::post,
};
use client::NodeClient;
use parking_lot::Mutex;
use protocol::{
    api::{
        EnrolAnswer, EnrolRequest, HeartbeatAnswer, HeartbeatRequest, LocateAnswer, LocateRequest,
        RedeemAnswer, RedeemRequest,
    },
    ids::NodeId,
    node_proof::{NODE_PROOF_HEADER, check},
    time::UnixMillis,
};
use serde::de::DeserializeOwned;
use service::{clock::Clock, http::error::ApiError};

use super::world::{GATEWAY, HttpRequest, World};

/// What the gateway knows and was told.
pub(super) struct Gateway {
    nodes: NodeClient,
    clock: Clock,
    /// The key that it gives to nodes.
    pub(super) network_key: Mutex<String>,
    /// Answers nothing but errors.
    pub(super) is_down: AtomicBool,
    /// Does its work but loses the answer to the next redemption.
    pub(super) loses_answer: AtomicBool,
    pub(super) members: Mutex<HashMap<NodeId, EnrolRequest>>,
    /// Calls of any kind, those that failed included.
    pub(super) calls: Mutex<u32>,
    pub(super) beats: Mutex<Vec<(NodeId, HeartbeatRequest)>>,
    pub(super) settled: Mutex<HashSet<(NodeId, UnixMillis)>>,
    pub(super) paid: Mutex<Vec<(NodeId, RedeemRequest)>>,
    pub(super) redeem_calls: Mutex<u32>,
    /// Where blocks are.
    pub(super) places: Mutex<LocateAnswer>,
    pub(super) locate_calls: Mutex<u32>,
}

impl World {
    /// A gateway at its usual place.
    pub(super) fn gateway(&self) -> Arc<Gateway> {
        let gateway = Arc::new(Gateway {
            nodes: self.nodes(),
            clock: self.clock.clone(),
            network_key: Mutex::new(NodeId(self.signer.public_key().to_bytes()).to_string()),
            is_down: AtomicBool::default(),
            loses_answer: AtomicBool::default(),
            members: Mutex::default(),
            calls: Mutex::default(),
            beats: Mutex::default(),
            settled: Mutex::default(),
            paid: Mutex::default(),
            redeem_calls: Mutex::default(),
            places: Mutex::default(),
            locate_calls: Mutex::default(),
        });
        let router = Router::new()
            .route("/v1/nodes/enrol", post(enrol))
            .route("/v1/nodes/heartbeat", post(heartbeat))
            .route("/v1/nodes/locate", post(locate))
            .route("/v1/nodes/redeem", post(redeem));
        self.wires.connect(GATEWAY, router.with_state(gateway.clone()));
        gateway
    }
}

impl Gateway {
    /// Who asks, and what; only members may, but for enrolling.
    async fn read<T: DeserializeOwned>(
        &self,
        request: HttpRequest,
        members_only: bool,
    ) -> Result<(NodeId, T), ApiError> {
        *self.calls.lock() += 1;
        if self.is_down.load(Ordering::SeqCst) {
            return Err(ApiError::unavailable("down", "come back later", 1));
        }
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 64 << 20).await.unwrap();
        let proof = parts.headers[NODE_PROOF_HEADER].to_str().unwrap();
        let node = check(proof, "POST", parts.uri.path(), self.clock.now(), &body)
            .map_err(|error| ApiError::new(StatusCode::UNAUTHORIZED, "bad_proof", error))?;
        if members_only && !self.members.lock().contains_key(&node) {
            return Err(ApiError::new(StatusCode::FORBIDDEN, "unknown_node", node));
        }
        Ok((node, serde_json::from_slice(&body).unwrap()))
    }
}

type Answer = Result<Response, ApiError>;

async fn enrol(State(gateway): State<Arc<Gateway>>, request: HttpRequest) -> Answer {
    let (node, request): (_, EnrolRequest) = gateway.read(request, false).await?;
    if request.invite.as_deref() != Some("please") {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "no_invitation", "not invited"));
    }
    let nonce = "0123456789abcdef";
    let identity = gateway.nodes.identity(&request.url, nonce).await.unwrap();
    let proven = check(&identity.proof, "GET", "/v1/identity", gateway.clock.now(), nonce.as_bytes());
    assert_eq!((identity.id, proven), (node, Ok(node)));
    gateway.members.lock().insert(node, request);
    Ok(Json(EnrolAnswer {
        network_key: gateway.network_key.lock().clone(),
        region: "eu".into(),
        receipt: None,
    })
    .into_response())
}

async fn heartbeat(State(gateway): State<Arc<Gateway>>, request: HttpRequest) -> Answer {
    let beat = gateway.read(request, true).await?;
    gateway.beats.lock().push(beat);
    Ok(Json(HeartbeatAnswer { now: gateway.clock.now(), standing: "good".into() }).into_response())
}

async fn locate(State(gateway): State<Arc<Gateway>>, request: HttpRequest) -> Answer {
    let (_, asked): (_, LocateRequest) = gateway.read(request, true).await?;
    *gateway.locate_calls.lock() += 1;
    let LocateAnswer { blocks, segments } = gateway.places.lock().clone();
    let blocks = blocks.into_iter().filter(|block| asked.cids.contains(&block.cid)).collect();
    Ok(Json(LocateAnswer { blocks, segments }).into_response())
}

async fn redeem(State(gateway): State<Arc<Gateway>>, request: HttpRequest) -> Answer {
    let (node, redeemed): (NodeId, RedeemRequest) = gateway.read(request, true).await?;
    *gateway.redeem_calls.lock() += 1;
    let settled = gateway.settled.lock().insert((node, redeemed.hour));
    if settled {
        gateway.paid.lock().push((node, redeemed));
    }
    if gateway.loses_answer.swap(false, Ordering::SeqCst) {
        let broken = futures_util::stream::iter([Err::<bytes::Bytes, _>(std::io::Error::other("lost"))]);
        return Ok(Response::new(Body::from_stream(broken)));
    }
    Ok(Json(RedeemAnswer { settled, refused: 0 }).into_response())
}
