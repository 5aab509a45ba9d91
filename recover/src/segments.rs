//! Going over all segments of which pieces were found: known ones are brought up to date, others are read and recorded.

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream};
use protocol::ids::{NodeId, SegmentId};
use store::Mended;

use crate::{Recovery, Summary, Urls, read::TooFew};

/// Segments in one page.
const PAGE: u32 = 200;

/// What became of a segment.
enum Outcome {
    Known(Mended),
    Restored,
    Unreadable(TooFew),
}

impl Recovery {
    pub(crate) async fn rebuild_segments(
        &self,
        urls: &Urls,
        summary: &mut Summary,
        tell: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<()> {
        let asked: HashSet<NodeId> = urls.keys().copied().collect();
        let mut after = None;
        loop {
            let ids = self.db.found_after(after, PAGE).await?;
            let Some(last) = ids.last().copied() else { return Ok(()) };
            after = Some(last);
            let asked = &asked;
            let mut outcomes = stream::iter(ids)
                .map(|id| async move { (id, self.rebuild(id, urls, asked).await) })
                .buffer_unordered(self.config.segments_at_once);
            while let Some((id, outcome)) = outcomes.next().await {
                match outcome? {
                    Outcome::Known(mended) => {
                        summary.segments_known += 1;
                        summary.pieces_moved += mended.moved;
                        summary.pieces_missing += mended.missing;
                    }
                    Outcome::Restored => summary.segments_restored += 1,
                    Outcome::Unreadable(TooFew { found, needed }) => {
                        summary.unreadable(id, found, needed);
                    }
                }
            }
            tell(&format!(
                "segments: {} known, {} restored, {} unreadable",
                summary.segments_known, summary.segments_restored, summary.unreadable_count
            ));
        }
    }

    async fn rebuild(&self, id: SegmentId, urls: &Urls, asked: &HashSet<NodeId>) -> anyhow::Result<Outcome> {
        let pieces = self.db.found_pieces(id).await?;
        if !self.db.segments_info(&[id]).await?.is_empty() {
            return Ok(Outcome::Known(self.db.mend_segment(id, &pieces, asked, self.now()).await?));
        }
        match self.read_segment(id, &pieces, urls).await? {
            Ok(found) => {
                let now = self.now();
                // Nothing is collected before the recovery is done, which sets their time.
                self.db.restore_segment(&found, now, now + self.config.orphan_delay).await?;
                Ok(Outcome::Restored)
            }
            Err(too_few) => {
                tracing::warn!(segment = %id, found = too_few.found, needed = too_few.needed, "segment cannot be read");
                Ok(Outcome::Unreadable(too_few))
            }
        }
    }

    /// Reads the parts of the log that the database knew before: what stands there is newer than what it says elsewhere.
    pub(crate) async fn read_known_log(&self, urls: &Urls, summary: &mut Summary) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let ids = self.db.pin_log_segments(after, PAGE).await?;
            let Some(last) = ids.last().copied() else { return Ok(()) };
            after = Some(last);
            for id in ids {
                self.read_known(id, urls, summary).await?;
            }
        }
    }

    /// Puts down what links and records a known segment has, unless that was done before.
    pub(crate) async fn read_known(
        &self,
        id: SegmentId,
        urls: &Urls,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        if self.db.was_read(id).await? {
            return Ok(());
        }
        let pieces = self.db.found_pieces(id).await?;
        match self.read_segment(id, &pieces, urls).await? {
            Ok(found) => self.db.note_known_segment(&found).await?,
            Err(TooFew { found, needed }) => {
                summary.unreadable(id, found, needed);
                self.db.skip_segment(id).await?;
            }
        }
        Ok(())
    }
}
