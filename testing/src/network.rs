//! A network of fake nodes, reached by the address in a URL without any socket.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use axum::{Router, body::Body};
use client::{Network, NodeClient, PieceOrder, SendError, Transport};
use ed25519_dalek::SigningKey;
use http::{Request, Response};
use protocol::{
    ids::{NodeId, PieceHash},
    order::{Action, Purpose},
};
use service::{clock::Clock, dice::Dice, signer::Signer};
use tower::ServiceExt as _;

use crate::fake_node::{FakeNode, Mode};

/// Fake nodes and the wires to them; cheap to clone.
///
/// Node `n` is at `http://127.R.N.1:4000`: each in a /24 of its own, and by turns in the three regions (`R` = 1, 2, 3)
/// that a development database of places knows.
#[derive(Clone)]
pub struct FakeNetwork {
    nodes: Arc<Vec<Arc<FakeNode>>>,
    wires: Arc<Wires>,
    signer: Signer,
}

struct Wires(HashMap<String, (Arc<FakeNode>, Router)>);

impl FakeNetwork {
    /// `count` honest nodes (at most 250) on a clock.
    pub fn new(count: u8, clock: Clock) -> Self {
        let key = SigningKey::from_bytes(&[9; 32]);
        let nodes: Vec<Arc<FakeNode>> = (0..count)
            .map(|number| {
                let url = format!("http://127.{}.{number}.1:4000", number % 3 + 1);
                FakeNode::new(number, url, clock.clone(), key.verifying_key())
            })
            .collect();
        let wires = nodes.iter().map(|node| {
            let address = node.url().trim_start_matches("http://").to_string();
            (address, (node.clone(), node.router()))
        });
        Self {
            wires: Arc::new(Wires(wires.collect())),
            nodes: Arc::new(nodes),
            signer: Signer::new(key, clock, Dice::seeded(3)),
        }
    }

    /// The way to the nodes.
    pub fn transport(&self) -> Transport {
        Transport::InProcess(self.wires.clone())
    }

    /// Typed calls to the nodes.
    pub fn client(&self) -> NodeClient {
        NodeClient::new(self.transport())
    }

    /// Signs with the key that the nodes take orders of.
    pub fn signer(&self) -> Signer {
        self.signer.clone()
    }

    /// All nodes by number.
    pub fn nodes(&self) -> &[Arc<FakeNode>] {
        &self.nodes
    }

    /// One node by its id.
    pub fn node(&self, id: NodeId) -> Option<&Arc<FakeNode>> {
        self.nodes.iter().find(|node| node.id() == id)
    }

    /// Changes how some nodes behave.
    pub fn set(&self, numbers: impl IntoIterator<Item = usize>, mode: Mode) {
        numbers.into_iter().for_each(|number| self.nodes[number].set(mode));
    }

    /// Leave to read a piece from a node by number.
    pub fn get_order(&self, number: usize, hash: PieceHash) -> PieceOrder {
        let (node, url) = (self.nodes[number].id(), self.nodes[number].url().to_string());
        let lifetime = std::time::Duration::from_hours(1);
        let order = self.signer.order(node, Action::Get(hash, Purpose::Read), u64::MAX, lifetime);
        PieceOrder { node, url, hash, order }
    }

    /// Bytes of pieces that were asked for, over all nodes, proofs not counted.
    pub fn bytes_asked(&self) -> u64 {
        self.nodes.iter().map(|node| node.bytes_asked()).sum()
    }

    /// Pieces held, over all nodes.
    pub fn pieces_held(&self) -> usize {
        self.nodes.iter().map(|node| node.pieces_held()).sum()
    }
}

impl Network for Wires {
    fn send(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, SendError>> + Send + '_>> {
        Box::pin(async move {
            let address = request.uri().authority().map_or("", |authority| authority.as_str());
            let refused = || SendError::Connect(format!("nobody listens at {address:?}"));
            let (node, router) = self.0.get(address).ok_or_else(refused)?;
            match node.mode() {
                Mode::Dead => return Err(refused()),
                Mode::TimingOut if request.uri().path() != "/v1/status" => return Err(SendError::Timeout),
                _ => {}
            }
            router.clone().oneshot(request).await.map_err(|error| match error {})
        })
    }
}
