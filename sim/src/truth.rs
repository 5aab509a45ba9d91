//! What is really on the nodes, beside what the database says: which pieces could be read now, since when something is
//! on record that is not there, and for how many bytes each node may at most be paid.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    time::UnixMillis,
};
use store::SegmentState;

use crate::{
    pace,
    world::{START, World},
};

/// Segments in one survey, at most: a simulation has tens.
const SEGMENTS_MAX: u32 = 100_000;

/// What the world remembers of the past.
#[derive(Default)]
pub(crate) struct Truth {
    /// Pieces damaged on their nodes, with when they had been stored.
    pub(crate) damaged: BTreeMap<(usize, PieceHash), UnixMillis>,
    /// Since when a piece is on record at a node that does not have it as it should.
    pub(crate) missing_since: BTreeMap<(usize, PieceHash), UnixMillis>,
    /// Byte-milliseconds of pieces on record that each node really had.
    pub(crate) byte_ms: BTreeMap<usize, u128>,
    /// Bytes at the last survey.
    had: BTreeMap<usize, u64>,
    surveyed: Option<UnixMillis>,
}

/// One segment as the database and the nodes have it.
#[derive(Clone, Debug)]
pub struct SegmentView {
    /// Its name.
    pub id: SegmentId,
    /// Its state.
    pub state: SegmentState,
    /// Pieces that rebuild it.
    pub needed: usize,
    /// Pieces it should have.
    pub total: usize,
    /// Length of each piece.
    pub piece_bytes: u64,
    /// Pieces on record at a node.
    pub pieces: Vec<PieceAt>,
}

/// One piece on record.
#[derive(Clone, Copy, Debug)]
pub struct PieceAt {
    /// Which one.
    pub index: u8,
    /// Its name.
    pub hash: PieceHash,
    /// Number of its node.
    pub node: usize,
    /// Whether the node has it and would give it as it is.
    pub sound: bool,
    /// Whether everybody can reach the node.
    pub reachable: bool,
}

impl SegmentView {
    /// Pieces that anybody could read now.
    pub fn retrievable(&self) -> usize {
        self.pieces.iter().filter(|piece| piece.sound && piece.reachable).count()
    }

    /// Whether somebody still needs it.
    pub fn is_needed(&self) -> bool {
        matches!(self.state, SegmentState::Live | SegmentState::Lost)
    }
}

impl fmt::Display for SegmentView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, state, needed, total, pieces, .. } = self;
        let (on_record, retrievable) = (pieces.len(), self.retrievable());
        write!(
            f,
            "segment {id}, {state:?}: {on_record} of {total} pieces on record, {retrievable} retrievable, {needed} needed"
        )
    }
}

impl World {
    /// Everything on record, compared with what is on the nodes.
    pub async fn survey(&self) -> anyhow::Result<Vec<SegmentView>> {
        let states: BTreeMap<SegmentId, SegmentState> =
            self.db.segments_after(None, SEGMENTS_MAX).await?.into_iter().collect();
        let ids: Vec<SegmentId> = states.keys().copied().collect();
        let mut infos = self.db.segments_info(&ids).await?;
        infos.sort_unstable_by_key(|info| info.id);
        let troubled: Vec<bool> = self.nodes.iter().map(|node| !self.is_reachable(node.number)).collect();
        let view = |info: store::SegmentInfo| {
            let pieces = info.pieces.iter().filter_map(|piece| {
                let node = self.number_of(piece.node?)?;
                let sound = self.is_sound(node, piece.hash);
                Some(PieceAt {
                    index: piece.index,
                    hash: piece.hash,
                    node,
                    sound,
                    reachable: !troubled[node],
                })
            });
            SegmentView {
                id: info.id,
                state: states[&info.id],
                needed: info.scheme.needed().into(),
                total: info.scheme.total().into(),
                piece_bytes: info.scheme.layout(info.length_bytes).piece_len(),
                pieces: pieces.collect(),
            }
        };
        Ok(infos.into_iter().map(view).collect())
    }

    /// A node's number.
    pub fn number_of(&self, id: NodeId) -> Option<usize> {
        self.numbers.get(&id).copied()
    }

    /// Whether a node runs and nothing is wrong with its lines.
    pub fn is_reachable(&self, number: usize) -> bool {
        let node = &self.nodes[number];
        node.running.is_some() && !self.net.is_troubled(node.party())
    }

    /// Whether a node has a piece as it should.
    pub fn is_sound(&self, number: usize, hash: PieceHash) -> bool {
        self.nodes[number].holds(hash) && !self.truth.damaged.contains_key(&(number, hash))
    }

    /// Takes a survey into what is remembered. Between two surveys a node is taken to have had the more of the two.
    pub async fn remember(&mut self) -> anyhow::Result<Vec<SegmentView>> {
        let survey = self.survey().await?;
        let now = self.now();
        // One that was deleted, or stored anew, is damaged no more.
        self.truth.damaged.retain(|(node, hash), stored| self.nodes[*node].still_has(*hash, *stored));
        let mut has: BTreeMap<usize, u64> = BTreeMap::new();
        let mut missing = BTreeMap::new();
        for segment in &survey {
            for piece in &segment.pieces {
                // A damaged piece may pass audits until the damaged part is asked for.
                if piece.sound || self.truth.damaged.contains_key(&(piece.node, piece.hash)) {
                    *has.entry(piece.node).or_default() += segment.piece_bytes;
                }
                if !piece.sound {
                    let known = self.truth.missing_since.get(&(piece.node, piece.hash));
                    missing.insert((piece.node, piece.hash), known.copied().unwrap_or(now));
                }
            }
        }
        let truth = &mut self.truth;
        truth.missing_since = missing;
        let passed = now.since(truth.surveyed.unwrap_or(START)).as_millis();
        let everybody: BTreeSet<usize> = has.keys().chain(truth.had.keys()).copied().collect();
        for node in everybody {
            let of = |bytes: &BTreeMap<usize, u64>| bytes.get(&node).copied().unwrap_or(0);
            *truth.byte_ms.entry(node).or_default() += u128::from(of(&has).max(of(&truth.had))) * passed;
        }
        (truth.had, truth.surveyed) = (has, Some(now));
        Ok(survey)
    }

    /// The first thing that has been wrongly on record for too long, although its node could be asked all the while.
    pub async fn overdue(&mut self) -> anyhow::Result<Option<(usize, PieceHash)>> {
        let now = self.now();
        let late = |node: usize, since: UnixMillis| {
            let from = since.max(self.nodes[node].troubled_until);
            self.is_reachable(node) && now.since(from) > pace::FOUND_WITHIN
        };
        let suspects = self.truth.missing_since.iter().filter(|((node, _), since)| late(*node, **since));
        let suspects: Vec<(usize, PieceHash)> = suspects.map(|(key, _)| *key).collect();
        for (node, hash) in suspects {
            // It may have been found out, and been given the same piece once more.
            let held = self.db.held_pieces(self.nodes[node].id, hash, 1).await?;
            let stored = held.iter().find(|held| held.hash == hash).map_or(now, |held| held.stored);
            if now.since(stored) > pace::FOUND_WITHIN {
                return Ok(Some((node, hash)));
            }
            self.truth.missing_since.insert((node, hash), stored);
        }
        Ok(None)
    }
}
