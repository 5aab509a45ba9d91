//! One storage node in memory.

use std::{
    collections::BTreeMap,
    ops,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    routing::{get, post, put},
};
use bytes::Bytes;
use ed25519_dalek::{SigningKey, VerifyingKey};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use protocol::{
    api::{Identity, ListedPiece, NodeStatus, ORDER_HEADER, PlacesAnswer, PlacesRequest},
    audit::{Answer, Answers, Batch},
    ids::{NodeId, PieceHash},
    node_proof,
    order::{Action, Order},
    piece::PieceMeta,
    places::Places,
    proof,
    time::UnixMillis,
    unpin::PieceUnpin,
};
use serde::Deserialize;
use service::{clock::Clock, http::error::ApiError};
use tokio::sync::watch;

/// Pieces in one list, whatever is asked for, so that readers of lists go on.
const LIST_MAX: usize = 2;

/// Bytes that a node says it can still take, whatever it holds.
const FREE_BYTES: u64 = 1 << 40;

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    Honest,
    /// No connection.
    Dead,
    /// Takes requests for pieces and answers them when it is in another mode; says at once how it is.
    Stalled,
    /// Does everything so much later.
    Slow(Duration),
    /// Requests for pieces run out of time, at once; says how it is.
    TimingOut,
    /// Takes no pieces for lack of space; gives those that it has.
    Full,
    /// Answers requests for pieces with an error.
    Failing,
    /// Sends wrong bytes.
    Corrupt,
    /// Says that it has none of its pieces.
    Forgetful,
}

/// A node that keeps pieces in memory.
pub struct FakeNode {
    key: SigningKey,
    network: VerifyingKey,
    url: String,
    clock: Clock,
    mode: watch::Sender<Mode>,
    /// Requests that have arrived, for those who wait for one.
    arrived: watch::Sender<usize>,
    pieces: Mutex<BTreeMap<PieceHash, Held>>,
    /// What was asked for, in order.
    asked: Mutex<Vec<(PieceHash, ops::Range<u64>)>>,
    /// Statements about places, as it was told them.
    told: Mutex<Vec<String>>,
    /// How often it was asked for them.
    places_asked: AtomicUsize,
    puts: AtomicUsize,
    bytes_asked: AtomicU64,
}

struct Held {
    meta: Option<PieceMeta>,
    stored: UnixMillis,
    bytes: Bytes,
    outboard: Vec<u8>,
}

impl FakeNode {
    /// An honest node with a key of its own.
    pub(crate) fn new(number: u8, url: String, clock: Clock, network: VerifyingKey) -> Arc<Self> {
        Arc::new(Self {
            key: SigningKey::from_bytes(&[number.wrapping_add(100); 32]),
            network,
            url,
            clock,
            mode: watch::Sender::new(Mode::Honest),
            arrived: watch::Sender::new(0),
            pieces: Mutex::default(),
            asked: Mutex::default(),
            told: Mutex::default(),
            places_asked: AtomicUsize::new(0),
            puts: AtomicUsize::new(0),
            bytes_asked: AtomicU64::new(0),
        })
    }

    /// Its public key.
    pub fn id(&self) -> NodeId {
        NodeId(self.key.verifying_key().to_bytes())
    }

    /// Its secret key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How it behaves.
    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// Changes how it behaves, from the next request on. What stalled goes on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits until so many requests for pieces have arrived, answered or not.
    pub async fn until_arrived(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        arrived.wait_for(|arrived| *arrived >= count).await.expect("the node holds the other end");
    }

    /// Stores a piece without an order.
    pub fn keep(&self, bytes: Bytes) -> PieceHash {
        self.insert(None, bytes)
    }

    /// Keeps a statement about places, whatever it is, and gives it to whoever asks for a block in it; what cannot be read it
    /// gives to everybody who asks.
    pub fn tell(&self, places: impl Into<String>) {
        self.told.lock().push(places.into());
    }

    /// Forgets all of them.
    pub fn forget_places(&self) {
        self.told.lock().clear();
    }

    /// How often it was asked for places.
    pub fn places_asked(&self) -> usize {
        self.places_asked.load(Ordering::SeqCst)
    }

    /// Loses a piece.
    pub fn lose(&self, hash: PieceHash) {
        self.pieces.lock().remove(&hash);
    }

    /// Loses every piece.
    pub fn lose_all(&self) {
        self.pieces.lock().clear();
    }

    /// A piece that it holds.
    pub fn piece(&self, hash: PieceHash) -> Option<Bytes> {
        self.pieces.lock().get(&hash).map(|held| held.bytes.clone())
    }

    /// What was said of the pieces that were put, by hash.
    pub fn metas(&self) -> Vec<PieceMeta> {
        self.pieces.lock().values().filter_map(|held| held.meta).collect()
    }

    /// How many pieces it holds.
    pub fn pieces_held(&self) -> usize {
        self.pieces.lock().len()
    }

    /// How many pieces it has taken, lost ones included.
    pub fn puts(&self) -> usize {
        self.puts.load(Ordering::SeqCst)
    }

    /// Bytes of pieces that it was asked for, proofs not counted.
    pub fn bytes_asked(&self) -> u64 {
        self.bytes_asked.load(Ordering::SeqCst)
    }

    /// The ranges that it was asked for, in order.
    pub fn asked(&self) -> Vec<(PieceHash, ops::Range<u64>)> {
        self.asked.lock().clone()
    }

    /// The proven bytes of a range of a piece, as the node gives them; `None` when it has not got the piece.
    fn slice(
        &self,
        hash: PieceHash,
        len: Option<u64>,
        range: &ops::Range<u64>,
    ) -> Result<Option<Vec<u8>>, ApiError> {
        let pieces = self.pieces.lock();
        let Some(held) = pieces.get(&hash).filter(|_| self.mode() != Mode::Forgetful) else {
            return Ok(None);
        };
        let mut slice = Vec::new();
        let len = len.unwrap_or(held.bytes.len() as u64);
        proof::encode_slice(&held.bytes[..], &held.outboard[..], hash, len, range, &mut slice)
            .map_err(|error| ApiError::bad_request("bad_range", error))?;
        if self.mode() == Mode::Corrupt
            && let Some(last) = slice.last_mut()
        {
            *last ^= 1;
        }
        Ok(Some(slice))
    }

    fn insert(&self, meta: Option<PieceMeta>, bytes: Bytes) -> PieceHash {
        let (hash, outboard) = proof::outboard(&bytes);
        let held = Held { meta, stored: self.clock.now(), bytes, outboard };
        self.pieces.lock().insert(hash, held);
        hash
    }

    /// Refuses a request that comes without the right order.
    fn check(&self, headers: &HeaderMap, allows: impl Fn(&Action) -> bool) -> Result<Order, ApiError> {
        let refused = |why: String| ApiError::new(StatusCode::FORBIDDEN, "order_refused", why);
        let token = headers.get(ORDER_HEADER).and_then(|value| value.to_str().ok());
        let token = token.ok_or_else(|| refused("no order".into()))?;
        let order = Order::verify(&self.network, token).map_err(|error| refused(error.to_string()))?;
        order.check(self.id(), self.clock.now()).map_err(|error| refused(error.to_string()))?;
        if allows(&order.action) { Ok(order) } else { Err(refused("wrong action".into())) }
    }

    /// What comes before every answer about pieces.
    async fn behave(&self) -> Result<(), ApiError> {
        self.arrived.send_modify(|arrived| *arrived += 1);
        match self.mode() {
            Mode::Slow(by) => tokio::time::sleep(by).await,
            Mode::Stalled => {
                let mut mode = self.mode.subscribe();
                mode.wait_for(|mode| *mode != Mode::Stalled).await.expect("the node holds the other end");
            }
            Mode::Failing => {
                return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "broken"));
            }
            Mode::Honest | Mode::Dead | Mode::TimingOut | Mode::Full | Mode::Corrupt | Mode::Forgetful => {}
        }
        Ok(())
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/v1/status", get(status))
            .route("/v1/identity", get(identity))
            .route("/v1/pieces/{hash}", put(put_piece).get(get_piece))
            .route("/v1/pieces", get(list))
            .route("/v1/pieces/delete", post(delete))
            .route("/v1/audit", post(audit))
            .route("/v1/places", post(places))
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
    }
}

type Node = State<Arc<FakeNode>>;

async fn status(State(node): Node) -> Json<NodeStatus> {
    Json(NodeStatus { id: node.id(), in_flight: 0, free_bytes: FREE_BYTES })
}

#[derive(Deserialize)]
struct Nonce {
    nonce: String,
}

async fn identity(State(node): Node, Query(asked): Query<Nonce>) -> Json<Identity> {
    let (at, nonce) = (node.clock.now(), asked.nonce.as_bytes());
    let proof = node_proof::prove(&node.key, "GET", "/v1/identity", at, nonce);
    Json(Identity { id: node.id(), proof })
}

fn parse(hash: &str) -> Result<PieceHash, ApiError> {
    hash.parse().map_err(|error| ApiError::bad_request("bad_hash", error))
}

async fn put_piece(
    State(node): Node,
    Path(hash): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let hash = parse(&hash)?;
    let order = node.check(&headers, |action| matches!(action, Action::Put(meta) if meta.hash == hash))?;
    let Action::Put(meta) = order.action else { return Err(ApiError::bad_request("wrong_order", "no put")) };
    node.behave().await?;
    if node.mode() == Mode::Full {
        return Err(ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "no_space", "full"));
    }
    let fits = body.len() as u64 == meta.piece_len() && body.len() as u64 <= order.bytes_max;
    if !fits || PieceHash::of(&body) != hash {
        return Err(ApiError::bad_request("wrong_piece", "not the piece of the order"));
    }
    // A copy, as it would be at the other end of a wire: the sender's buffer is its own.
    node.insert(Some(meta), Bytes::copy_from_slice(&body));
    node.puts.fetch_add(1, Ordering::SeqCst);
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
    Query(Range { start, end }): Query<Range>,
    headers: HeaderMap,
) -> Result<Vec<u8>, ApiError> {
    let hash = parse(&hash)?;
    node.check(&headers, |action| matches!(action, Action::Get(allowed, _) if *allowed == hash))?;
    node.asked.lock().push((hash, start..end));
    node.bytes_asked.fetch_add(end.saturating_sub(start), Ordering::SeqCst);
    node.behave().await?;
    let slice = node.slice(hash, None, &(start..end))?;
    slice.ok_or_else(|| ApiError::not_found("piece_not_found", hash))
}

async fn audit(State(node): Node, headers: HeaderMap, body: Bytes) -> Result<Vec<u8>, ApiError> {
    let digest = *blake3::hash(&body).as_bytes();
    node.check(&headers, |action| *action == Action::Audit(digest))?;
    node.behave().await?;
    let batch = Batch::decode(&body).map_err(|error| ApiError::bad_request("bad_batch", error))?;
    let answers = Answers::new(batch.challenges.len());
    let mut answers = answers.map_err(|error| ApiError::bad_request("bad_batch", error))?;
    for challenge in &batch.challenges {
        let range = challenge.range(&batch.nonce);
        match node.slice(challenge.hash, Some(challenge.piece_len), &range)? {
            Some(slice) => answers.push(&Answer::Proof(&slice)),
            None => answers.push(&Answer::NotFound),
        }
    }
    Ok(answers.into_body())
}

async fn places(State(node): Node, headers: HeaderMap, body: Bytes) -> Result<Json<PlacesAnswer>, ApiError> {
    let digest = *blake3::hash(&body).as_bytes();
    node.check(&headers, |action| *action == Action::Places(digest))?;
    node.places_asked.fetch_add(1, Ordering::SeqCst);
    node.behave().await?;
    let asked: PlacesRequest =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request("bad_body", error))?;
    let is_about = |places: &Places| {
        places.blocks.iter().any(|block| asked.cids.iter().any(|cid| *cid == block.cid.to_string()))
    };
    let told = node.told.lock();
    let is_given = |text: &&String| Places::verify(&node.network, text).map_or(true, |told| is_about(&told));
    let wanted = told.iter().filter(is_given);
    Ok(Json(PlacesAnswer { places: wanted.cloned().collect() }))
}

async fn delete(State(node): Node, headers: HeaderMap, body: Bytes) -> Result<(), ApiError> {
    let digest = *blake3::hash(&body).as_bytes();
    node.check(&headers, |action| *action == Action::Delete(digest))?;
    node.behave().await?;
    let unpins =
        PieceUnpin::decode_batch(&body).ok_or_else(|| ApiError::bad_request("bad_body", "not unpins"))?;
    for PieceUnpin { hash, stored_before } in unpins {
        if node.pieces.lock().get(&hash).is_some_and(|held| held.stored < stored_before) {
            node.lose(hash);
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
    let after = page.after.as_deref().map(parse).transpose()?;
    let pieces = node.pieces.lock();
    let behind = pieces.iter().filter(|(hash, _)| after.is_none_or(|after| **hash > after));
    let listed = behind.take(page.limit.min(LIST_MAX)).map(|(hash, held)| ListedPiece {
        hash: *hash,
        stored: held.stored,
        bytes: held.bytes.len() as u64,
    });
    Ok(Json(listed.collect()))
}
