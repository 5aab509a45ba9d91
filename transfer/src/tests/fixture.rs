//! Segments of bytes that follow from a seed, coded, and nodes that hold them.

use std::{sync::Arc, time::Duration};

use erasure::{Codec, Scheme};
use protocol::ids::SegmentId;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use service::clock::Clock;
use testing::FakeNetwork;

use crate::{
    CodedPiece, Gather, GatherConfig, Peers, PieceSource, Pool, SegmentSource, Spread, SpreadConfig,
    Spreader, Target, code_segment,
};

pub(super) const SEGMENT: SegmentId = SegmentId([5; 16]);

pub(super) fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

pub(super) fn scheme() -> Scheme {
    Scheme::new(Codec::Gf8, 8, 20).unwrap()
}

pub(super) fn code(scheme: Scheme, segment: &[u8], pool: &Pool) -> Vec<CodedPiece> {
    let mut buffer = pool.take(segment.len());
    buffer.vec().extend_from_slice(segment);
    code_segment(scheme, buffer, pool).unwrap()
}

/// A network, and times so short that nothing waits for long.
pub(super) struct Fixture {
    pub(super) network: FakeNetwork,
    pub(super) peers: Peers,
}

impl Fixture {
    pub(super) fn new(nodes: u8) -> Self {
        Self { network: FakeNetwork::new(nodes, Clock::System), peers: Peers::default() }
    }

    pub(super) fn spreader(&self) -> Spreader {
        let config = SpreadConfig {
            piece_timeout: Duration::from_secs(20),
            slow_after: Duration::from_millis(30),
            rest_timeout: Duration::from_secs(20),
        };
        self.spreader_with(config)
    }

    pub(super) fn spreader_with(&self, config: SpreadConfig) -> Spreader {
        Spreader::new(self.network.client(), self.network.signer(), self.peers.clone(), config)
    }

    /// What stores `segment` on the nodes by number, spares last.
    pub(super) fn spread(
        &self,
        segment: &[u8],
        nodes: impl IntoIterator<Item = usize>,
        ack: usize,
    ) -> Spread {
        let target = |number: usize| {
            let node = &self.network.nodes()[number];
            Target { node: node.id(), url: node.url().to_string() }
        };
        Spread {
            segment: SEGMENT,
            scheme: scheme(),
            segment_len: segment.len() as u64,
            pieces: code(scheme(), segment, &Pool::new(0)),
            targets: nodes.into_iter().map(target).collect(),
            ack,
        }
    }

    pub(super) fn gather(&self) -> Gather {
        let config = GatherConfig {
            slice_timeout: Duration::from_secs(20),
            hedge_after: Duration::from_millis(30),
            ..GatherConfig::default()
        };
        Gather::new(self.network.client(), self.peers.clone(), config)
    }

    /// Puts piece `n` of a segment on node `n` and says where they are.
    pub(super) fn store(&self, scheme: Scheme, segment: &[u8]) -> Arc<SegmentSource> {
        let pieces = code(scheme, segment, &Pool::new(0));
        let sources = pieces.iter().map(|piece| {
            let number = usize::from(piece.index);
            self.network.nodes()[number].keep(piece.slices.concat().into());
            PieceSource { index: piece.index, order: self.network.get_order(number, piece.hash) }
        });
        let (pieces, segment_len) = (sources.collect(), segment.len() as u64);
        Arc::new(SegmentSource { id: SEGMENT, scheme, segment_len, pieces })
    }
}
