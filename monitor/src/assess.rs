//! Looking at segments: those that need repair are queued by their urgency, those that cannot be read any more are marked
//! lost, and found again when enough pieces are back.

use protocol::{ids::SegmentId, repair::SegmentStatus};
use store::{SegmentInfo, SegmentState};

use crate::{
    events::{Kind, Note},
    monitor::Inner,
    network::{Due, Network},
};

impl Inner {
    /// Looks at these segments, as far as somebody needs them. Gives how many were queued.
    pub(crate) async fn assess(&self, ids: &[SegmentId], network: &Network) -> anyhow::Result<usize> {
        let states = self.db.segment_states(ids).await?;
        let needed: Vec<SegmentId> = ids
            .iter()
            .copied()
            .filter(|id| matches!(states.get(id), Some(SegmentState::Live | SegmentState::Lost)))
            .collect();
        if needed.is_empty() {
            return Ok(0);
        }
        let held = self.hold(network).await.is_some();
        let now = self.clock.now();
        let mut queued = 0;
        let mut infos = self.db.segments_info(&needed).await?;
        infos.sort_unstable_by_key(|info| info.id);
        for info in infos {
            let assessed = network.health(&info, now, &self.config);
            self.mark(&info, assessed.health.status(), held).await?;
            if assessed.due != Due::No {
                self.db.queue_repair(info.id, assessed.days, now).await?;
                queued += 1;
            }
        }
        Ok(queued)
    }

    /// Brings a segment's record in line with whether it can be read. While many nodes are away at once, none is given up.
    pub(crate) async fn mark(
        &self,
        info: &SegmentInfo,
        status: SegmentStatus,
        held: bool,
    ) -> anyhow::Result<()> {
        let lost = status == SegmentStatus::Lost;
        if lost == info.lost || (lost && held) || !self.db.set_lost(info.id, lost).await? {
            return Ok(());
        }
        let needed = info.scheme.needed();
        let note = if lost {
            let details = format!("fewer than the {needed} pieces are left that rebuild it");
            Note::segment(Kind::SegmentLost, info.id, details)
        } else {
            let details = format!("the {needed} pieces that rebuild it are there again");
            Note::segment(Kind::SegmentFound, info.id, details)
        };
        self.note(vec![note]).await;
        Ok(())
    }
}
