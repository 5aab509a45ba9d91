//! Decisions: each is logged with its ids, counted, and kept for operators.

use protocol::ids::{NodeId, SegmentId};
use store::Event;

use crate::monitor::Inner;

/// What kind of decision. The names are part of the public interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NodeOffline,
    NodeReturned,
    NodeStanding,
    PieceLost,
    RemovalHeld,
    FailuresBelieved,
    BreakerOpen,
    BreakerClosed,
    SegmentLost,
    SegmentFound,
    SegmentRepaired,
    RepairWaitingForNodes,
    RepairFailed,
    RepairHashMismatch,
    OrphansFound,
    CollectionHeld,
    PiecesDoubtful,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NodeOffline => "node_offline",
            Self::NodeReturned => "node_returned",
            Self::NodeStanding => "node_standing",
            Self::PieceLost => "piece_lost",
            Self::RemovalHeld => "removal_held",
            Self::FailuresBelieved => "failures_believed",
            Self::BreakerOpen => "breaker_open",
            Self::BreakerClosed => "breaker_closed",
            Self::SegmentLost => "segment_lost",
            Self::SegmentFound => "segment_found",
            Self::SegmentRepaired => "segment_repaired",
            Self::RepairWaitingForNodes => "repair_waiting_for_nodes",
            Self::RepairFailed => "repair_failed",
            Self::RepairHashMismatch => "repair_hash_mismatch",
            Self::OrphansFound => "orphans_found",
            Self::CollectionHeld => "collection_held",
            Self::PiecesDoubtful => "pieces_doubtful",
        }
    }

    /// Whether a person must look: logged as an error.
    fn is_alarm(self) -> bool {
        matches!(
            self,
            Self::PieceLost
                | Self::RemovalHeld
                | Self::FailuresBelieved
                | Self::BreakerOpen
                | Self::SegmentLost
                | Self::RepairHashMismatch
                | Self::CollectionHeld
                | Self::PiecesDoubtful
        )
    }
}

/// One decision, not yet recorded.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    kind: Kind,
    node: Option<NodeId>,
    segment: Option<SegmentId>,
    details: String,
}

impl Note {
    pub(crate) fn new(kind: Kind, details: impl Into<String>) -> Self {
        Self { kind, node: None, segment: None, details: details.into() }
    }

    pub(crate) fn node(kind: Kind, node: NodeId, details: impl Into<String>) -> Self {
        Self { node: Some(node), ..Self::new(kind, details) }
    }

    pub(crate) fn segment(kind: Kind, segment: SegmentId, details: impl Into<String>) -> Self {
        Self { segment: Some(segment), ..Self::new(kind, details) }
    }

    #[must_use]
    pub(crate) fn at_node(self, node: NodeId) -> Self {
        Self { node: Some(node), ..self }
    }

    fn log(&self) {
        let (kind, details) = (self.kind.name(), &self.details);
        let (node, segment) =
            (self.node.map(tracing::field::display), self.segment.map(tracing::field::display));
        if self.kind.is_alarm() {
            tracing::error!(kind, node, segment, "{details}");
        } else {
            tracing::info!(kind, node, segment, "{details}");
        }
    }
}

impl Inner {
    /// Logs, counts and keeps decisions. They have been carried out already, so that not being able to keep them is
    /// logged and no reason to stop.
    pub(crate) async fn note(&self, notes: Vec<Note>) {
        let now = self.clock.now();
        let mut events = Vec::with_capacity(notes.len());
        for note in notes {
            note.log();
            metrics::counter!("pinstripe_monitor_events_total", "kind" => note.kind.name()).increment(1);
            let event = Event {
                at: now,
                kind: note.kind.name().to_string(),
                node: note.node,
                segment: note.segment,
                details: note.details,
            };
            events.push((hex::encode(self.dice.bytes::<16>()), event));
        }
        if let Err(error) = self.db.record_events(&events).await {
            tracing::error!(events = events.len(), %error, "could not keep events");
        }
    }
}
