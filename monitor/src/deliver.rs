//! Telling nodes which pieces they may drop. What a node does not confirm stays queued until it does: it may be away.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use protocol::{ids::NodeId, order::Action, unpin::PieceUnpin};
use service::job::{Job, Progress};

use crate::{monitor::Inner, network::Node};

const ORDER_LIFETIME: Duration = Duration::from_mins(5);
/// Nodes told at the same time: one that hangs does not keep the others waiting.
const AT_ONCE: usize = 16;
/// Requests to one node in one step.
const CALLS_MAX: usize = 10;

/// The job that delivers unpins. Goes round all nodes, some in each step.
#[derive(Debug)]
pub struct Deliver {
    inner: Arc<Inner>,
    /// The node that was last looked at in this round.
    after: Mutex<Option<NodeId>>,
}

impl Job for Deliver {
    const NAME: &'static str = "deliver";

    async fn step(&self) -> anyhow::Result<Progress> {
        if self.inner.is_held().await? {
            return Ok(Progress::Idle);
        }
        let after = *self.after.lock();
        let network = self.inner.network().await?;
        let mut nodes: Vec<Node> = network
            .iter()
            .filter(|node| node.offline.is_none() && after.is_none_or(|after| node.id > after))
            .cloned()
            .collect();
        let per_step = self.inner.config.collect.nodes_per_step;
        let more = nodes.len() > per_step;
        nodes.truncate(per_step);
        let last = nodes.last().map(|node| node.id).filter(|_| more);
        let told = stream::iter(nodes).map(|node| self.tell(node)).buffer_unordered(AT_ONCE);
        let outcomes: Vec<anyhow::Result<()>> = told.collect().await;
        *self.after.lock() = last;
        outcomes.into_iter().collect::<anyhow::Result<()>>()?;
        Ok(if more { Progress::More } else { Progress::Idle })
    }
}

impl Deliver {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, after: Mutex::default() }
    }

    /// Tells one node what it may drop, in several requests if it is much.
    async fn tell(&self, node: Node) -> anyhow::Result<()> {
        let limit = self.inner.config.collect.unpins_per_call;
        for _ in 0..CALLS_MAX {
            let unpins = self.inner.db.queued_unpins(node.id, limit).await?;
            if unpins.is_empty() || !self.send(&node, &unpins).await? || unpins.len() < limit as usize {
                break;
            }
        }
        Ok(())
    }

    /// Sends unpins, and forgets them once the node has answered; `false` when it did not.
    async fn send(&self, node: &Node, unpins: &[PieceUnpin]) -> anyhow::Result<bool> {
        let inner = &self.inner;
        let body = PieceUnpin::encode_batch(unpins);
        let action = Action::Delete(*blake3::hash(&body).as_bytes());
        // No bytes of pieces move under it.
        let order = inner.signer.order(node.id, action, 0, ORDER_LIFETIME);
        if let Err(error) = inner.nodes.delete(&node.url, &order, body.into()).await {
            metrics::counter!("pinstripe_unpins_failed_total").increment(1);
            tracing::warn!(node = %node.id, pieces = unpins.len(), %error, "node did not take its unpins");
            return Ok(false);
        }
        inner.db.finish_unpins(node.id, unpins).await?;
        metrics::counter!("pinstripe_unpins_delivered_total").increment(unpins.len() as u64);
        tracing::info!(node = %node.id, pieces = unpins.len(), "told a node what it may drop");
        Ok(true)
    }
}
