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
        let (now, rules) = (self.clock.now(), &self.config.reputation);
        self.change_reputation(node, |reputation| {
            if *tally == Tally::default() {
                Change::Nothing
            } else if in_doubt {
                Change::Write(reputation.record_in_doubt(tally, now, rules))
            } else {
                Change::Write(reputation.record(tally, now, rules))
            }
        })
        .await
    }

    /// Lets a suspended node that holds nothing begin again, if its time has come.
    pub(crate) async fn begin_again(&self, node: NodeId) -> anyhow::Result<()> {
        let (now, rules) = (self.clock.now(), &self.config.reputation);
        let begin = |reputation: &mut Reputation| match reputation.begin_again(now, rules) {
            Some(before) => Change::Write(Some(before)),
            None => Change::Nothing,
        };
        self.change_reputation(node, begin).await?;
        Ok(())
    }

    /// Changes a node's reputation by compare-and-swap, and says so when its standing is another one then. Gives the
    /// standing; `None` when the node is gone.
    async fn change_reputation(
        &self,
        node: NodeId,
        change: impl Fn(&mut Reputation) -> Change,
    ) -> anyhow::Result<Option<Standing>> {
        for _ in 0..TRIES {
            let Some(row) = self.db.node(node).await? else { return Ok(None) };
            let mut reputation = of(&row, &self.config.reputation);
            let Change::Write(before) = change(&mut reputation) else {
                return Ok(Some(reputation.standing));
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
            metrics::counter!("pinstripe_reputation_conflicts_total").increment(1);
        }
        bail!("reputation of node {node} changed {TRIES} times while it was to be written")
    }
}

/// What is to be made of a reputation that was read.
enum Change {
    Nothing,
    /// It was changed; its former standing if that is another one now.
    Write(Option<Standing>),
}
