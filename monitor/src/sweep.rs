//! Sweeps: when a node's pieces stop counting (it is offline for too long, suspended or out) its pieces are walked in
//! pages and segments that need repair are queued; when it is back, they are walked again, so that what was lost is found
//! soon.
//!
//! How far a walk has come is kept with the node, so that any monitor goes on with it. Two that walk at the same time do
//! the same work twice and no harm.

use std::{fmt, str::FromStr, sync::Arc};

use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    time::UnixMillis,
};
use service::job::{Job, Progress};

use crate::{monitor::Inner, network::Network};

/// The job that sweeps.
#[derive(Debug)]
pub struct Sweep {
    inner: Arc<Inner>,
}

/// Where the walk over a node's pieces stands, as it is kept with the node. (Nothing is kept of a node that is there and
/// was walked.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    /// The node went; pieces up to this hash have been looked at.
    Gone(Option<PieceHash>),
    /// The node went, and all have.
    GoneDone,
    /// The node came back; pieces up to this hash have been looked at.
    Back(Option<PieceHash>),
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(Some(hash)) => write!(f, "gone:{hash}"),
            Self::Gone(None) => f.write_str("gone:"),
            Self::GoneDone => f.write_str("gone"),
            Self::Back(Some(hash)) => write!(f, "back:{hash}"),
            Self::Back(None) => f.write_str("back:"),
        }
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let hash = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| ()),
        };
        match text.split_once(':') {
            Some(("gone", at)) => Ok(Self::Gone(hash(at)?)),
            Some(("back", at)) => Ok(Self::Back(hash(at)?)),
            None if text == "gone" => Ok(Self::GoneDone),
            _ => Err(()),
        }
    }
}

/// The walk that is to be begun or gone on with; `None`: there is nothing to look at.
fn next(gone: bool, cursor: Option<Cursor>) -> Option<Cursor> {
    match (gone, cursor) {
        (true, None | Some(Cursor::Back(_))) => Some(Cursor::Gone(None)),
        (false, Some(Cursor::Gone(_) | Cursor::GoneDone)) => Some(Cursor::Back(None)),
        (true, Some(Cursor::GoneDone)) | (false, None) => None,
        (true, at @ Some(Cursor::Gone(_))) | (false, at @ Some(Cursor::Back(_))) => at,
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
            let gone = node.is_gone(now, &self.inner.config.repair);
            due.extend(next(gone, cursor).map(|cursor| (node.id, cursor)));
        }
        due.sort_unstable_by_key(|(node, _)| *node);
        Ok(due)
    }

    /// Looks at one page of a node's pieces and keeps the place; `None` when that was the last one.
    async fn page(&self, node: NodeId, cursor: Cursor, network: &Network) -> anyhow::Result<Option<Cursor>> {
        let limit = self.inner.config.sweep.page;
        let (Cursor::Gone(after) | Cursor::Back(after)) = cursor else { return Ok(None) };
        let from = after.map_or(Some(PieceHash([0; PieceHash::LEN])), successor);
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
        let further = pieces.last().filter(|_| full).map(|last| match cursor {
            Cursor::Back(_) => Cursor::Back(Some(last.hash)),
            _ => Cursor::Gone(Some(last.hash)),
        });
        let kept = further.or(match cursor {
            Cursor::Back(_) => None,
            _ => Some(Cursor::GoneDone),
        });
        let text = kept.map(|cursor| cursor.to_string());
        self.inner.db.set_sweep_cursor(node, text.as_deref()).await?;
        Ok(further)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_print_and_parse() {
        let hash = Some(PieceHash([0xab; 32]));
        for cursor in
            [Cursor::Gone(None), Cursor::Gone(hash), Cursor::GoneDone, Cursor::Back(None), Cursor::Back(hash)]
        {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for wrong in ["", "back", "gone:xy", "abcd", "done:"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_walk_follows_the_node() {
        let at = Some(PieceHash([7; 32]));
        assert_eq!(next(false, None), None);
        assert_eq!(next(true, None), Some(Cursor::Gone(None)));
        assert_eq!(next(true, Some(Cursor::Gone(at))), Some(Cursor::Gone(at)));
        assert_eq!(next(true, Some(Cursor::GoneDone)), None);
        assert_eq!(next(false, Some(Cursor::GoneDone)), Some(Cursor::Back(None)));
        assert_eq!(
            next(false, Some(Cursor::Gone(at))),
            Some(Cursor::Back(None)),
            "what was seen may be queued"
        );
        assert_eq!(next(true, Some(Cursor::Back(at))), Some(Cursor::Gone(None)));
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
