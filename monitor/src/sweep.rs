//! Sweeps: when the pieces of a node stop counting (it is offline for too long, suspended or out) or count again, they
//! are walked in pages: segments that need repair are queued, those that are lost are marked, and found again.
//!
//! How far a walk has come is kept with the node, so that any monitor goes on with it. Two that walk at the same time do
//! the same work twice and no harm.

use std::{fmt, str::FromStr, sync::Arc};

use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    repair::RepairRules,
    reputation::Standing,
    time::UnixMillis,
};
use service::job::{Job, Progress};

use crate::{
    monitor::Inner,
    network::{Network, Node},
};

/// The job that sweeps.
#[derive(Debug)]
pub struct Sweep {
    inner: Arc<Inner>,
}

/// What a node's pieces count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// They count.
    There,
    /// They can be read and do not count.
    Suspended,
    /// They are as good as lost.
    Gone,
}

/// Where the walk over a node's pieces stands, as it is kept with the node. (Nothing is kept of a node that is there and
/// was walked.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    /// What the pieces counted for when the walk was begun.
    worth: Worth,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing was looked at yet.
    Start,
    /// Pieces up to this hash were.
    Behind(PieceHash),
    /// All were.
    End,
}

impl Worth {
    const ALL: [Self; 3] = [Self::There, Self::Suspended, Self::Gone];

    fn of(node: &Node, now: UnixMillis, rules: &RepairRules) -> Self {
        let away = node.offline.is_some_and(|since| now.since(since) >= rules.offline_grace);
        if away || node.standing == Standing::Disqualified {
            Self::Gone
        } else if node.standing.is_trusted() {
            Self::There
        } else {
            Self::Suspended
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Suspended => "suspended",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worth = self.worth.name();
        match self.place {
            Place::Start => write!(f, "{worth}:"),
            Place::Behind(hash) => write!(f, "{worth}:{hash}"),
            Place::End => f.write_str(worth),
        }
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (worth, place) = match text.split_once(':') {
            None => (text, Place::End),
            Some((worth, "")) => (worth, Place::Start),
            Some((worth, hash)) => (worth, Place::Behind(hash.parse().map_err(|_| ())?)),
        };
        let worth = Worth::ALL.into_iter().find(|other| other.name() == worth).ok_or(())?;
        Ok(Self { worth, place })
    }
}

/// The walk that is to be begun or gone on with; `None`: there is nothing to look at.
fn next(worth: Worth, cursor: Option<Cursor>) -> Option<Cursor> {
    match cursor {
        None if worth == Worth::There => None,
        Some(cursor) if cursor.worth == worth => Some(cursor).filter(|cursor| cursor.place != Place::End),
        _ => Some(Cursor { worth, place: Place::Start }),
    }
}

/// The first hash behind this one; `None` behind the last.
fn successor(hash: PieceHash) -> Option<PieceHash> {
    let mut bytes = hash.0;
    for byte in bytes.iter_mut().rev() {
        let (next, carried) = byte.overflowing_add(1);
        *byte = next;
        if !carried {
            return Some(PieceHash(bytes));
        }
    }
    None
}

impl Job for Sweep {
    const NAME: &'static str = "sweep";

    async fn step(&self) -> anyhow::Result<Progress> {
        let network = self.inner.network().await?;
        let now = self.inner.clock.now();
        let mut pages_left = self.inner.config.sweep.pages_per_step;
        for (node, mut cursor) in self.due(&network, now).await? {
            loop {
                if pages_left == 0 {
                    return Ok(Progress::More);
                }
                pages_left -= 1;
                match self.page(node, cursor, &network).await? {
                    Some(further) => cursor = further,
                    None => break,
                }
            }
        }
        Ok(Progress::Idle)
    }
}

impl Sweep {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Walks to begin or to go on with.
    async fn due(&self, network: &Network, now: UnixMillis) -> anyhow::Result<Vec<(NodeId, Cursor)>> {
        let cursors = self.inner.db.sweep_cursors().await?;
        let mut due = Vec::new();
        for node in network.iter() {
            // A cursor that cannot be read counts as none: at worst a walk is done again.
            let cursor = cursors.get(&node.id).and_then(|text| text.parse().ok());
            let worth = Worth::of(node, now, &self.inner.config.repair);
            due.extend(next(worth, cursor).map(|cursor| (node.id, cursor)));
        }
        Ok(due)
    }

    /// Looks at one page of a node's pieces and keeps the place; `None` when that was the last one.
    async fn page(&self, node: NodeId, cursor: Cursor, network: &Network) -> anyhow::Result<Option<Cursor>> {
        let limit = self.inner.config.sweep.page;
        let from = match cursor.place {
            Place::Start => Some(PieceHash([0; PieceHash::LEN])),
            Place::Behind(hash) => successor(hash),
            Place::End => None,
        };
        let pieces = match from {
            Some(from) => self.inner.db.held_pieces(node, from, limit).await?,
            None => Vec::new(),
        };
        let mut segments: Vec<SegmentId> = pieces.iter().map(|piece| piece.slot.segment).collect();
        segments.sort_unstable();
        segments.dedup();
        let queued = self.inner.assess(&segments, network).await?;
        tracing::info!(%node, %cursor, pieces = pieces.len(), queued, "swept a page of a node's pieces");
        let full = pieces.len() >= limit as usize;
        let further = pieces.last().filter(|_| full).map(|last| Place::Behind(last.hash));
        let cursor = Cursor { place: further.unwrap_or(Place::End), ..cursor };
        // Of a node that is there and was walked nothing is kept.
        let kept = Some(cursor).filter(|cursor| cursor.worth != Worth::There || cursor.place != Place::End);
        let text = kept.map(|cursor| cursor.to_string());
        self.inner.db.set_sweep_cursor(node, text.as_deref()).await?;
        Ok(further.map(|_| cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_print_and_parse() {
        for worth in Worth::ALL {
            for place in [Place::Start, Place::Behind(PieceHash([0xab; 32])), Place::End] {
                let cursor = Cursor { worth, place };
                assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
        for wrong in ["", "back", "gone:xy", ":", "done:"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_walk_follows_the_node() {
        let at = |worth, place| Some(Cursor { worth, place });
        let half = Place::Behind(PieceHash([7; 32]));
        assert_eq!(next(Worth::There, None), None);
        assert_eq!(next(Worth::Gone, None), at(Worth::Gone, Place::Start));
        assert_eq!(next(Worth::Gone, at(Worth::Gone, half)), at(Worth::Gone, half));
        assert_eq!(next(Worth::Gone, at(Worth::Gone, Place::End)), None);
        // Whatever was seen before, it counts for something else now.
        for seen in [Place::Start, half, Place::End] {
            assert_eq!(next(Worth::There, at(Worth::Gone, seen)), at(Worth::There, Place::Start));
            assert_eq!(next(Worth::Suspended, at(Worth::Gone, seen)), at(Worth::Suspended, Place::Start));
        }
    }

    #[test]
    fn the_successor_is_the_next_hash() {
        let mut carried = [0xff; 32];
        carried[0] = 3;
        let mut next = [0; 32];
        next[0] = 4;
        assert_eq!(successor(PieceHash(carried)), Some(PieceHash(next)));
        assert_eq!(successor(PieceHash([0xff; 32])), None);
    }
}
