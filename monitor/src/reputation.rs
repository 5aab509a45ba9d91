//! Writing what visits came to into a node's reputation, by compare-and-swap: several monitors and jobs write it.

use anyhow::bail;
use protocol::{
    ids::NodeId,
    reputation::{Reputation, ReputationRules, Standing, SuspendReason, Tally},
};
use store::NodeRow;

use crate::{
    events::{Kind, Note},
    monitor::Inner,
};

/// Attempts at a compare-and-swap. Few write one node's reputation at the same time.
const TRIES: usize = 16;

/// The reputation in a node's record. One that cannot be read is begun anew, and said so: stored scores never keep a
/// monitor from working.
pub(crate) fn of(row: &NodeRow, rules: &ReputationRules) -> Reputation {
    serde_json::from_str(&row.reputation).unwrap_or_else(|error| {
        tracing::warn!(node = %row.id, %error, "reputation is unreadable, begun anew");
        Reputation::new(row.enrolled, rules)
    })
}

/// A standing for people.
fn describe(standing: Standing) -> &'static str {
    match standing {
        Standing::Suspended { reason: SuspendReason::Offline, .. } => "suspended for being offline too much",
        Standing::Suspended { reason: SuspendReason::Unknown, .. } => "suspended for audits without a result",
        Standing::Suspended { reason: SuspendReason::Failures, .. } => "suspended for lost pieces",
        other => other.name(),
    }
}

impl Inner {
    /// Takes a tally into a node's reputation; `in_doubt` when it may be our own fault. Gives its standing; `None` when the
    /// node is gone.
    pub(crate) async fn record_tally(
        &self,
        node: NodeId,
        tally: &Tally,
        in_doubt: bool,
    ) -> anyhow::Result<Option<Standing>> {
        let rules = &self.config.reputation;
        for _ in 0..TRIES {
            let Some(row) = self.db.node(node).await? else { return Ok(None) };
            let mut reputation = of(&row, rules);
            let standing = reputation.standing;
            if *tally == Tally::default() {
                return Ok(Some(standing));
            }
            let now = self.clock.now();
            let before = if in_doubt {
                reputation.record_in_doubt(tally, now, rules)
            } else {
                reputation.record(tally, now, rules)
            };
            let text = serde_json::to_string(&reputation)?;
            if self.db.set_reputation(node, row.revision, reputation.standing.name(), &text).await? {
                if let Some(before) = before {
                    let score = reputation.audit.score();
                    let details = format!(
                        "{} -> {}, audit score {score:.4}",
                        describe(before),
                        describe(reputation.standing)
                    );
                    self.note(vec![Note::node(Kind::NodeStanding, node, details)]).await;
                }
                return Ok(Some(reputation.standing));
            }
            metrics::counter!("reputation_conflicts_total").increment(1);
        }
        bail!("reputation of node {node} changed {TRIES} times while it was to be written")
    }
}
