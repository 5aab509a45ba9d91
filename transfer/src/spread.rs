//! Spreading pieces over nodes: all at once, spares for those that fail or lag, done when enough are durable.

mod attempts;

use std::time::Duration;

use client::NodeClient;
use erasure::Scheme;
use protocol::ids::{NodeId, SegmentId};
use serde::{Deserialize, Serialize};
use service::signer::Signer;
use tokio::time::Instant;

use self::attempts::Attempts;
use crate::{code::CodedPiece, peers::Peers};

/// The `[spread]` section of gateways and monitors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpreadConfig {
    /// How long one piece may take to become durable.
    #[serde(with = "humantime_serde")]
    pub piece_timeout: Duration,
    /// A piece that takes longer than this, and than twice the time of the middle one, is sent to a spare as well.
    #[serde(with = "humantime_serde")]
    pub slow_after: Duration,
    /// How long pieces may go on in the background once enough are durable.
    #[serde(with = "humantime_serde")]
    pub rest_timeout: Duration,
}

impl Default for SpreadConfig {
    fn default() -> Self {
        Self {
            piece_timeout: Duration::from_secs(30),
            slow_after: Duration::from_secs(2),
            rest_timeout: Duration::from_secs(30),
        }
    }
}

/// A node that shall take a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub node: NodeId,
    /// Where it is.
    pub url: String,
}

/// A piece that is durable on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which piece.
    pub index: u8,
    /// Where.
    pub node: NodeId,
}

/// What to spread.
#[derive(Debug)]
pub struct Spread {
    /// The segment.
    pub segment: SegmentId,
    /// Its coding.
    pub scheme: Scheme,
    /// Its length.
    pub segment_len: u64,
    /// The pieces to store.
    pub pieces: Vec<CodedPiece>,
    /// Nodes: one for each piece in order, then spares. Fewer than pieces is allowed.
    pub targets: Vec<Target>,
    /// How many pieces must be durable.
    pub ack: usize,
}

/// Too few pieces became durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("only {durable} of {wanted} pieces could be stored ({no_space} nodes had no space, {failed} failed)")]
pub struct SpreadError {
    /// Pieces that are durable. They are garbage now and get collected.
    pub durable: usize,
    /// How many were needed.
    pub wanted: usize,
    /// Nodes that refused for lack of space.
    pub no_space: usize,
    /// Nodes that failed in other ways.
    pub failed: usize,
}

/// Sends pieces to nodes.
#[derive(Clone, Debug)]
pub struct Spreader {
    nodes: NodeClient,
    signer: Signer,
    peers: Peers,
    config: SpreadConfig,
}

/// Pieces still under way after enough are durable. Dropping it gives them up.
#[derive(Debug)]
pub struct Rest {
    attempts: Attempts,
    /// How many durable pieces the caller knows of.
    told: usize,
    /// When what is still under way is given up.
    deadline: Instant,
}

impl Spreader {
    /// Sends over `nodes`, with orders of `signer`.
    pub fn new(nodes: NodeClient, signer: Signer, peers: Peers, config: SpreadConfig) -> Self {
        Self { nodes, signer, peers, config }
    }

    /// Stores pieces until `ack` are durable; the others go on in the returned [`Rest`]. When that many cannot be
    /// reached any more, it gives up at once.
    pub async fn spread(&self, spread: Spread) -> Result<(Vec<Stored>, Rest), SpreadError> {
        let ack = spread.ack;
        let mut attempts = Attempts::start(self.clone(), spread);
        while attempts.durable().len() < ack {
            if !attempts.can_reach(ack) || !attempts.step().await {
                return Err(attempts.error(ack));
            }
        }
        let stored = attempts.durable().to_vec();
        let deadline = Instant::now() + self.config.rest_timeout;
        Ok((stored.clone(), Rest { attempts, told: stored.len(), deadline }))
    }
}

impl Rest {
    /// Whether all pieces are durable or given up, and the caller was told of all that are durable.
    pub fn is_done(&self) -> bool {
        self.attempts.is_idle() && self.told == self.attempts.durable().len()
    }

    /// A piece that has become durable meanwhile, without waiting.
    pub fn ready(&mut self) -> Option<Stored> {
        self.attempts.note_finished();
        self.tell()
    }

    /// The next piece that becomes durable; `None` when there is no more to come or the time is up. What is still under
    /// way then is given up when this is dropped, and a repair will rebuild it. May be dropped at any time.
    pub async fn next(&mut self) -> Option<Stored> {
        loop {
            if let Some(stored) = self.tell() {
                return Some(stored);
            }
            match tokio::time::timeout_at(self.deadline, self.attempts.step()).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return self.tell(),
            }
        }
    }

    /// Goes on until every piece is durable, given up, or out of time; gives what became durable after the acknowledgement.
    pub async fn finish(mut self) -> Vec<Stored> {
        let mut late = Vec::new();
        while let Some(stored) = self.next().await {
            late.push(stored);
        }
        late
    }

    fn tell(&mut self) -> Option<Stored> {
        let stored = self.attempts.durable().get(self.told).copied()?;
        self.told += 1;
        Some(stored)
    }
}
