//! A storage node in memory that keeps to the node API, and the wires that lead to it. It can be told to misbehave.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    routing::{get, post, put},
};
use bytes::Bytes;
use client::{Network, SendError};
use ed25519_dalek::{SigningKey, VerifyingKey};
use http::{HeaderMap, Request, Response, StatusCode};
use parking_lot::Mutex;
use protocol::{
    api::{ListedPiece, NodeStatus, ORDER_HEADER},
    audit::{Answer, Answers, Batch},
    ids::{NodeId, PieceHash},
    order::{Action, Order},
    proof,
    time::UnixMillis,
    unpin::PieceUnpin,
};
use serde::Deserialize;
use service::{clock::Clock, http::error::ApiError};
use tower::ServiceExt as _;

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Honest,
    /// No connection.
    Dead,
    /// Takes connections; answers nothing but its status.
    Slow,
    /// Sends wrong bytes.
    Lying,
    /// Has lost everything.
    Forgetful,
    /// Answers audits and reads with 500.
    Failing,
    /// Takes no pieces.
    Full,
}

pub(super) struct FakeNode {
    pub(super) id: NodeId,
    clock: Clock,
    network: VerifyingKey,
    pub(super) mode: Mutex<Mode>,
    pub(super) pieces: Mutex<BTreeMap<PieceHash, (UnixMillis, Bytes)>>,
    pub(super) puts: AtomicUsize,
}

impl FakeNode {
    pub(super) fn new(number: usize, clock: Clock, network: VerifyingKey) -> Arc<Self> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        seed[31] = 1;
        Arc::new(Self {
            id: NodeId(SigningKey::from_bytes(&seed).verifying_key().to_bytes()),
            clock,
            network,
            mode: Mutex::new(Mode::Honest),
            pieces: Mutex::default(),
            puts: AtomicUsize::new(0),
        })
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.mode.lock() = mode;
    }

    pub(super) fn mode(&self) -> Mode {
        *self.mode.lock()
    }

    /// Stores a piece without an order.
    pub(super) fn keep(&self, bytes: Bytes) -> PieceHash {
        let hash = PieceHash::of(&bytes);
        self.pieces.lock().insert(hash, (self.clock.now(), bytes));
        hash
    }

    pub(super) fn holds(&self, hash: PieceHash) -> bool {
        self.pieces.lock().contains_key(&hash)
    }

    fn piece(&self, hash: PieceHash) -> Option<Bytes> {
        if self.mode() == Mode::Forgetful {
            return None;
        }
        self.pieces.lock().get(&hash).map(|(_, bytes)| bytes.clone())
    }

    /// Refuses a request that comes without the right order.
    fn check(&self, headers: &HeaderMap, allows: impl Fn(&Action) -> bool) -> Result<Order, ApiError> {
        let refused = |why: String| ApiError::new(StatusCode::FORBIDDEN, "order_refused", why);
        let token = headers.get(ORDER_HEADER).and_then(|value| value.to_str().ok());
        let token = token.ok_or_else(|| refused("no order".into()))?;
        let order = Order::verify(&self.network, token).map_err(|error| refused(error.to_string()))?;
        order.check(self.id, self.clock.now()).map_err(|error| refused(error.to_string()))?;
        if allows(&order.action) { Ok(order) } else { Err(refused("wrong action".into())) }
    }

    fn refuse_if_failing(&self) -> Result<(), ApiError> {
        match self.mode() {
            Mode::Failing => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "broken")),
            _ => Ok(()),
        }
    }

    pub(super) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/v1/status", get(status))
            .route("/v1/pieces/{hash}", put(put_piece).get(get_piece))
            .route("/v1/pieces", get(list))
            .route("/v1/pieces/delete", post(delete))
            .route("/v1/audit", post(audit))
            .with_state(self.clone())
    }
}

type Node = State<Arc<FakeNode>>;

async fn status(State(node): Node) -> Json<NodeStatus> {
    Json(NodeStatus { id: node.id, in_flight: 0, free_bytes: 1 << 30 })
}

async fn put_piece(
    State(node): Node,
    Path(hash): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let hash: PieceHash = hash.parse().map_err(|error| ApiError::bad_request("bad_hash", error))?;
    let order = node.check(&headers, |action| matches!(action, Action::Put(meta) if meta.hash == hash))?;
    let Action::Put(meta) = order.action else { unreachable!() };
    if node.mode() == Mode::Full {
        return Err(ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "no_space", "full"));
    }
    if body.len() as u64 != meta.piece_len() || PieceHash::of(&body) != hash {
        return Err(ApiError::bad_request("wrong_piece", "not the piece of the order"));
    }
    node.puts.fetch_add(1, Ordering::SeqCst);
    node.keep(body);
    Ok(StatusCode::CREATED)
}

#[derive(Deserialize)]
struct Range {
    start: u64,
    end: u64,
}

async fn get_piece(
    State(node): Node,
    Path(hash): Path<String>,
    Query(range): Query<Range>,
    headers: HeaderMap,
) -> Result<Vec<u8>, ApiError> {
    let hash: PieceHash = hash.parse().map_err(|error| ApiError::bad_request("bad_hash", error))?;
    node.check(&headers, |action| matches!(action, Action::Get(allowed, _) if *allowed == hash))?;
    node.refuse_if_failing()?;
    let piece = node.piece(hash).ok_or_else(|| ApiError::not_found("piece_not_found", hash))?;
    let (_, outboard) = proof::outboard(&piece);
    let mut slice = Vec::new();
    let range = range.start..range.end;
    proof::encode_slice(&piece[..], &outboard[..], hash, piece.len() as u64, &range, &mut slice)
        .map_err(|error| ApiError::bad_request("bad_range", error))?;
    if node.mode() == Mode::Lying {
        *slice.last_mut().unwrap() ^= 1;
    }
    Ok(slice)
}

async fn audit(State(node): Node, headers: HeaderMap, body: Bytes) -> Result<Vec<u8>, ApiError> {
    let digest = *blake3::hash(&body).as_bytes();
    node.check(&headers, |action| *action == Action::Audit(digest))?;
    node.refuse_if_failing()?;
    let batch = Batch::decode(&body).map_err(|error| ApiError::bad_request("bad_batch", error))?;
    let mut answers = Answers::new(batch.challenges.len()).unwrap();
    for challenge in &batch.challenges {
        let Some(piece) = node.piece(challenge.hash) else {
            answers.push(&Answer::NotFound);
            continue;
        };
        let (_, outboard) = proof::outboard(&piece);
        let mut slice = Vec::new();
        let range = challenge.range(&batch.nonce);
        proof::encode_slice(
            &piece[..],
            &outboard[..],
            challenge.hash,
            challenge.piece_len,
            &range,
            &mut slice,
        )
        .unwrap();
        if node.mode() == Mode::Lying {
            *slice.last_mut().unwrap() ^= 1;
        }
        answers.push(&Answer::Proof(&slice));
    }
    Ok(answers.into_body())
}

async fn delete(State(node): Node, headers: HeaderMap, body: Bytes) -> Result<(), ApiError> {
    let digest = *blake3::hash(&body).as_bytes();
    node.check(&headers, |action| *action == Action::Delete(digest))?;
    let unpins =
        PieceUnpin::decode_batch(&body).ok_or_else(|| ApiError::bad_request("bad_body", "not unpins"))?;
    for PieceUnpin { hash, stored_before } in unpins {
        let mut pieces = node.pieces.lock();
        if pieces.get(&hash).is_some_and(|(stored, _)| *stored < stored_before) {
            pieces.remove(&hash);
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
    limit: usize,
}

async fn list(
    State(node): Node,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Vec<ListedPiece>>, ApiError> {
    node.check(&headers, |action| *action == Action::List)?;
    let after: Option<PieceHash> = page.after.map(|after| after.parse().unwrap());
    let pieces = node.pieces.lock();
    let behind = pieces.iter().filter(|(hash, _)| after.is_none_or(|after| **hash > after));
    // Never more than two at a time, whatever is asked for.
    let listed = behind.take(page.limit.min(2)).map(|(hash, (stored, bytes))| ListedPiece {
        hash: *hash,
        stored: *stored,
        bytes: bytes.len() as u64,
    });
    Ok(Json(listed.collect()))
}

/// Leads requests to nodes by the host name of the URL.
#[derive(Default)]
pub(super) struct Wires {
    pub(super) nodes: Mutex<HashMap<String, Arc<FakeNode>>>,
}

impl Network for Wires {
    fn send(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, SendError>> + Send + '_>> {
        Box::pin(async move {
            let host = request.uri().host().unwrap_or_default().to_string();
            let node = self.nodes.lock().get(&host).cloned();
            let node = node.ok_or_else(|| SendError::Connect(format!("no node at {host}")))?;
            match node.mode() {
                Mode::Dead => Err(SendError::Connect("refused".into())),
                Mode::Slow if request.uri().path() != "/v1/status" => Err(SendError::Timeout),
                _ => node.router().oneshot(request).await.map_err(|error| match error {}),
            }
        })
    }
}
