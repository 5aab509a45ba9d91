//! The parts of a network in one process: nodes, a gateway that remembers what it was told, and the wires between.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use client::{CallError, Chunks, Network, NodeClient, PieceOrder, SendError, Transport};
use ed25519_dalek::SigningKey;
use erasure::{Codec, Scheme};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    order::{Action, Purpose},
    piece::PieceMeta,
    time::{HOUR_MS, UnixMillis},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use retrieval::Denylist;
use service::{clock::Clock, dice::Dice, http::error::ErrorBody, signer::Signer};
use tower::ServiceExt as _;

use crate::{
    Config, Parts, Pinner, directory::Directory, identity::NetworkKey, piece_store::MemoryPieceStore,
    usage::Usage,
};

/// When every test begins.
pub(super) const START: UnixMillis = UnixMillis(486_000 * HOUR_MS + 600_000);
/// How long the orders of the tests hold.
pub(super) const ORDER_LIFETIME: Duration = Duration::from_mins(10);
pub(super) const GATEWAY: &str = "http://gateway";

pub(super) use axum::http::Request;
pub(super) type HttpRequest = Request<Body>;
pub(super) type Response = axum::http::Response<Body>;

/// Takes requests to routers by the host of their URL.
#[derive(Clone, Default)]
pub(super) struct Wires(Arc<Mutex<HashMap<String, Router>>>);

impl Wires {
    pub(super) fn connect(&self, url: &str, router: Router) {
        self.0.lock().insert(url.trim_start_matches("http://").to_string(), router);
    }

    pub(super) fn cut(&self, url: &str) {
        self.0.lock().remove(url.trim_start_matches("http://"));
    }

    pub(super) fn transport(&self) -> Transport {
        Transport::InProcess(Arc::new(self.clone()))
    }
}

impl Network for Wires {
    fn send(
        &self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Response, SendError>> + Send + '_>> {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let router = self.0.lock().get(&host).cloned();
        Box::pin(async move {
            let router = router.ok_or_else(|| SendError::Connect(format!("nobody at {host}")))?;
            Ok(router.oneshot(request).await.unwrap())
        })
    }
}

/// Everything but the nodes.
pub(super) struct World {
    pub(super) wires: Wires,
    pub(super) clock: Clock,
    pub(super) signer: Signer,
}

/// A node, and the store behind it.
pub(super) struct TestNode {
    pub(super) pinner: Pinner,
    pub(super) store: MemoryPieceStore,
    pub(super) usage: Usage,
    pub(super) id: NodeId,
    pub(super) url: String,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = Clock::sim(START);
        let signer = Signer::new(SigningKey::from_bytes(&[42; 32]), clock.clone(), Dice::seeded(42));
        Self { wires: Wires::default(), clock, signer }
    }

    /// A node that belongs to the network already.
    pub(super) fn node(&self, number: u8) -> TestNode {
        self.node_with(number, |_| {})
    }

    /// The same with another configuration.
    pub(super) fn node_with(&self, number: u8, change: impl FnOnce(&mut Config)) -> TestNode {
        let network_key = NetworkKey::in_memory();
        network_key.learn(self.signer.public_key()).unwrap();
        self.build(number, network_key, change)
    }

    /// A node that no gateway has admitted yet.
    pub(super) fn stranger(&self, number: u8) -> TestNode {
        self.build(number, NetworkKey::in_memory(), |_| {})
    }

    fn build(&self, number: u8, network_key: NetworkKey, change: impl FnOnce(&mut Config)) -> TestNode {
        let url = format!("http://node{number}");
        let mut config = Config {
            url: url.clone(),
            gateways: vec!["http://nobody".into(), GATEWAY.into()],
            ..Config::default()
        };
        change(&mut config);
        let store = MemoryPieceStore::new(config.capacity.0);
        let usage = Usage::in_memory(&config.usage).unwrap();
        let parts = Parts {
            key: SigningKey::from_bytes(&[number; 32]),
            network_key,
            store: Arc::new(store.clone()),
            usage: usage.clone(),
            directory: Directory::in_memory(&config.directory),
            denylist: Denylist::open(&config.denylist).unwrap(),
            transport: self.wires.transport(),
            clock: self.clock.clone(),
            dice: Dice::seeded(number.into()),
            own_url: String::new(),
            invite: Some("please".into()),
        };
        let pinner = Pinner::new(parts, config);
        self.wires.connect(&url, pinner.router(None));
        TestNode { id: pinner.id(), pinner, store, usage, url }
    }

    pub(super) fn nodes(&self) -> NodeClient {
        NodeClient::new(self.wires.transport())
    }

    pub(super) fn order(&self, node: &TestNode, action: Action, bytes_max: u64) -> String {
        self.signer.order(node.id, action, bytes_max, ORDER_LIFETIME)
    }

    pub(super) fn put_order(&self, node: &TestNode, meta: PieceMeta) -> PieceOrder {
        let order = self.order(node, Action::Put(meta), meta.piece_len());
        PieceOrder { node: node.id, url: node.url.clone(), hash: meta.hash, order }
    }

    pub(super) fn get_order(&self, node: &TestNode, hash: PieceHash, bytes_max: u64) -> PieceOrder {
        let order = self.order(node, Action::Get(hash, Purpose::Read), bytes_max);
        PieceOrder { node: node.id, url: node.url.clone(), hash, order }
    }

    /// Stores a piece as a gateway does.
    pub(super) async fn put(&self, node: &TestNode, piece: &Piece) -> Result<(), CallError> {
        let order = self.put_order(node, piece.meta);
        self.nodes().put(&order, piece.body(), Duration::from_secs(5)).await
    }
}

impl TestNode {
    pub(super) async fn ask(&self, request: HttpRequest) -> Response {
        self.pinner.router(None).oneshot(request).await.unwrap()
    }
}

/// A piece that fits its description.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) meta: PieceMeta,
    pub(super) bytes: bytes::Bytes,
}

impl Piece {
    /// Random bytes: the piece of a segment of `4 * quarter` bytes.
    pub(super) fn random(seed: u64, quarter: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let scheme = Scheme::new(Codec::Gf8, 4, 8).unwrap();
        let segment_len = quarter * 4;
        let len = usize::try_from(scheme.layout(segment_len).piece_len()).unwrap();
        let bytes: bytes::Bytes = (0..len).map(|_| rng.random::<u8>()).collect();
        let meta = PieceMeta {
            hash: PieceHash::of(&bytes),
            segment: SegmentId(rng.random()),
            index: 1,
            scheme,
            segment_len,
        };
        Self { meta, bytes }
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn body(&self) -> Chunks {
        let half = self.bytes.len() / 2;
        [self.bytes.slice(..half), self.bytes.slice(half..)].into_iter().collect()
    }
}

/// Status and reason of a refusal.
pub(super) async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: ErrorBody = serde_json::from_slice(&body).unwrap();
    (status, body.error.reason)
}

/// The same of a typed call.
pub(super) fn refused<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> (u16, String) {
    match outcome {
        Err(CallError::Refused { status, reason, .. }) => (status.as_u16(), reason),
        other => panic!("not refused: {other:?}"),
    }
}

pub(super) fn is(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_string())
}

pub(super) async fn text(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}
