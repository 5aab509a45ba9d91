//! The network between the parts: takes each request to whoever listens at its URL, unless the two cannot reach each
//! other. It never delays anything: a call that would stall is answered at once as one that has run out of time, at the
//! same moment of the simulated clock. (Were the clock moved, how long the calls beside it took would depend on which of
//! them had begun by then, and that is left to chance.)
//!
//! Calls that end at a node (they make no further calls) take turns in the order in which they were made, so that the
//! same seed takes the same course although uploads and reads ask many nodes at once.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::Arc,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use client::{Network, SendError, Transport};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use protocol::time::UnixMillis;
use service::clock::Clock;
use tower::ServiceExt as _;

use crate::trouble::{Party, Trouble, Way, way};

/// The wires, and what is wrong with them; shared.
pub struct Net {
    wires: Mutex<Wires>,
    turn: tokio::sync::Mutex<()>,
    clock: Clock,
}

struct Wires {
    listeners: HashMap<String, (Party, Router)>,
    troubles: BTreeMap<u64, Trouble>,
    next_trouble: u64,
    seed: u64,
    calls: u64,
    /// Parties that go down after so many more calls.
    doomed: BTreeMap<Party, u32>,
    /// Bytes of pieces that each node was asked for, and of content that it sent.
    served: BTreeMap<usize, u64>,
}

/// One party's way into the network.
struct Port {
    net: Arc<Net>,
    party: Party,
}

impl Net {
    /// A network without anybody in it. What is lost on lossy lines follows from the seed.
    pub fn new(seed: u64, clock: Clock) -> Arc<Self> {
        let wires = Wires {
            listeners: HashMap::new(),
            troubles: BTreeMap::new(),
            next_trouble: 0,
            seed,
            calls: 0,
            doomed: BTreeMap::new(),
            served: BTreeMap::new(),
        };
        Arc::new(Self { wires: Mutex::new(wires), turn: tokio::sync::Mutex::default(), clock })
    }

    /// Lets a party answer at the address in `url`, in place of whoever did.
    pub fn listen(&self, url: &str, party: Party, router: Router) {
        self.wires.lock().listeners.insert(authority(url).to_string(), (party, router));
    }

    /// Nobody answers at `url` any more.
    pub fn close(&self, url: &str) {
        self.wires.lock().listeners.remove(authority(url));
    }

    /// The way out for a party.
    pub fn transport(self: &Arc<Self>, party: Party) -> Transport {
        Transport::InProcess(Arc::new(Port { net: self.clone(), party }))
    }

    /// Something goes wrong from now on; the number ends it.
    pub fn begin(&self, trouble: Trouble) -> u64 {
        let mut wires = self.wires.lock();
        wires.next_trouble += 1;
        let name = wires.next_trouble;
        wires.troubles.insert(name, trouble);
        name
    }

    /// It is over.
    pub fn end(&self, trouble: u64) {
        self.wires.lock().troubles.remove(&trouble);
    }

    /// Everything is over.
    pub fn end_all(&self) {
        self.wires.lock().troubles.clear();
    }

    /// Lets a party go down after `calls` more calls of its own.
    pub fn doom(&self, party: Party, calls: u32) {
        self.wires.lock().doomed.insert(party, calls);
    }

    /// Whether a party's calls all go through again.
    pub fn spare(&self, party: Party) {
        self.wires.lock().doomed.remove(&party);
    }

    /// Whether anything is wrong with this party's lines.
    pub fn is_troubled(&self, party: Party) -> bool {
        self.wires.lock().troubles.values().any(|trouble| trouble.touches(party))
    }

    /// Calls until now.
    pub fn calls(&self) -> u64 {
        self.wires.lock().calls
    }

    /// Bytes of pieces that a node was asked for and of content that it sent: all that it can have served.
    pub fn served_by(&self, node: usize) -> u64 {
        self.wires.lock().served.get(&node).copied().unwrap_or(0)
    }

    /// Sends a request in the name of `from`.
    pub async fn send(&self, from: Party, request: Request<Body>) -> Result<Response<Body>, SendError> {
        let address = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let path = request.uri().path().to_string();
        let (to, router) = self.listener(&address)?;
        let leaf = matches!(to, Party::Node(_)) && !path.starts_with("/ipfs/");
        let _turn = if leaf { Some(self.turn.lock().await) } else { None };
        match self.way(from, to, &path) {
            Way::Open => self.deliver(router, request, to, leaf).await,
            Way::Closed => Err(SendError::Connect(format!("no way from {from} to {to}"))),
            Way::Stalls => Err(SendError::Timeout),
            Way::Fails => Ok(failure()),
            Way::LosesRequest => Err(SendError::Broken("request lost".into())),
            Way::LosesAnswer => {
                // What was asked for has been done all the same.
                let answer = self.deliver(router, request, to, leaf).await?;
                drop(answer.into_body().collect().await);
                Err(SendError::Broken("answer lost".into()))
            }
        }
    }

    fn listener(&self, address: &str) -> Result<(Party, Router), SendError> {
        let found = self.wires.lock().listeners.get(address).cloned();
        found.ok_or_else(|| SendError::Connect(format!("nobody listens at {address:?}")))
    }

    fn way(&self, from: Party, to: Party, path: &str) -> Way {
        let now = self.clock.now();
        let mut wires = self.wires.lock();
        wires.calls += 1;
        let Wires { troubles, seed, doomed, .. } = &mut *wires;
        match doomed.get_mut(&from) {
            Some(0) => return Way::Closed,
            Some(left) => *left -= 1,
            None => {}
        }
        way(troubles.values(), from, to, path, || percent(*seed, from, to, path, now))
    }

    async fn deliver(
        &self,
        router: Router,
        request: Request<Body>,
        to: Party,
        leaf: bool,
    ) -> Result<Response<Body>, SendError> {
        if let Party::Node(node) = to {
            // Before it is given: whoever asked may leave in the middle.
            self.count(node, asked(&request));
        }
        let response = router.oneshot(request).await.map_err(|error| match error {})?;
        if !leaf {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| SendError::Broken(error.to_string()))?.to_bytes();
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    /// Counts bytes that a node serves.
    pub fn count(&self, node: usize, bytes: u64) {
        *self.wires.lock().served.entry(node).or_default() += bytes;
    }
}

impl Network for Port {
    fn send(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, SendError>> + Send + '_>> {
        Box::pin(self.net.send(self.party, request))
    }
}

/// Bytes of a piece that a request asks for.
fn asked(request: &Request<Body>) -> u64 {
    let is_get = request.method() == Method::GET && request.uri().path().starts_with("/v1/pieces/");
    let number = |name: &str| {
        let pairs = request.uri().query().unwrap_or_default().split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == name)?.1.parse::<u64>().ok()
    };
    let length = || Some(number("end")?.saturating_sub(number("start")?));
    if is_get { length().unwrap_or(u64::MAX) } else { 0 }
}

/// A number under 100 for one call. It follows from who asks whom for what and when, and not from what was asked before:
/// how many pieces a read asks for is left to chance when nodes fail.
fn percent(seed: u64, from: Party, to: Party, path: &str, now: UnixMillis) -> u32 {
    let hash = blake3::hash(format!("{seed} {from} {to} {path} {now}").as_bytes());
    let drawn = u32::from(u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]));
    (drawn * 100) >> 16
}

fn failure() -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(b"out of order")));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn authority(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}
