//! Going over all segments of which pieces were found: known ones are brought up to date, others are read and recorded.

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream};
use protocol::{
    ids::{NodeId, SegmentId},
    time::UnixMillis,
};
use store::{FoundKind, Mended};

use crate::{Recovery, Summary, Urls, read::TooFew};

/// Segments in one page.
const PAGE: u32 = 200;

/// What became of a segment, and how many pieces rebuild it.
enum Outcome {
    /// It was known, and so many of its blocks were not.
    Known(Mended, u64, usize),
    Restored(usize),
    Unreadable(TooFew),
}

impl Recovery {
    pub(crate) async fn rebuild_segments(
        &self,
        urls: &Urls,
        known_until: UnixMillis,
        summary: &mut Summary,
        tell: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<()> {
        let since = known_until - self.config.upload_max;
        let asked: HashSet<NodeId> = urls.keys().copied().collect();
        let mut after = None;
        loop {
            let ids = self.db.found_after(after, PAGE).await?;
            let Some(last) = ids.last().copied() else { return Ok(()) };
            after = Some(last);
            let asked = &asked;
            let mut outcomes = stream::iter(ids)
                .map(|id| async move { (id, self.rebuild(id, urls, asked, since).await) })
                .buffer_unordered(self.config.segments_at_once);
            while let Some((id, outcome)) = outcomes.next().await {
                match outcome? {
                    Outcome::Known(mended, more, needed) => {
                        summary.needs(needed);
                        summary.segments_known += 1;
                        summary.blocks_added += more;
                        summary.pieces_moved += mended.moved;
                        summary.pieces_missing += mended.missing;
                    }
                    Outcome::Restored(needed) => {
                        summary.needs(needed);
                        summary.segments_restored += 1;
                    }
                    Outcome::Unreadable(TooFew(said)) => summary.unreadable(id, &said),
                }
            }
            tell(&format!(
                "segments: {} known, {} restored, {} unreadable",
                summary.segments_known, summary.segments_restored, summary.unreadable_count
            ));
        }
    }

    async fn rebuild(
        &self,
        id: SegmentId,
        urls: &Urls,
        asked: &HashSet<NodeId>,
        since: UnixMillis,
    ) -> anyhow::Result<Outcome> {
        let pieces = self.db.found_pieces(id).await?;
        if let Some(known) = self.db.segments_info(&[id]).await?.first() {
            let needed = usize::from(known.scheme.needed());
            let mended = self.db.mend_segment(id, &pieces, asked, self.now()).await?;
            let is_done = self.db.found_kind(id).await? == Some(FoundKind::Whole);
            if is_done || !self.db.may_have_more(id, since).await? {
                return Ok(Outcome::Known(mended, 0, needed));
            }
            return match self.read_known_segment(known, &pieces, urls).await? {
                Ok(found) => Ok(Outcome::Known(mended, self.db.complete_segment(&found).await?, needed)),
                Err(too_few) => Ok(Outcome::Unreadable(too_few)),
            };
        }
        match self.read_segment(id, &pieces, urls).await? {
            Ok(found) => {
                let now = self.now();
                // Nothing is collected before the recovery is done, which sets their time.
                self.db.restore_segment(&found, now, now + self.config.orphan_delay).await?;
                Ok(Outcome::Restored(usize::from(found.segment.scheme.needed())))
            }
            Err(too_few) => {
                let (found, needed) = too_few.0.first().copied().unwrap_or_default();
                tracing::warn!(segment = %id, found, needed, "segment cannot be read");
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
                if !self.read_known(id, urls, summary).await? {
                    // What became of pins stands there.
                    summary.unread_log += 1;
                }
            }
        }
    }

    /// Puts down what links and records a known segment has, unless that was done before; `false`: it cannot be read.
    pub(crate) async fn read_known(
        &self,
        id: SegmentId,
        urls: &Urls,
        summary: &mut Summary,
    ) -> anyhow::Result<bool> {
        if self.db.found_kind(id).await?.is_some() {
            return Ok(true);
        }
        let (pieces, known) = (self.db.found_pieces(id).await?, self.db.segments_info(&[id]).await?);
        let read = match known.first() {
            Some(known) => self.read_known_segment(known, &pieces, urls).await?,
            None => Err(TooFew(Vec::new())),
        };
        let is_read = read.is_ok();
        match read {
            Ok(found) => self.db.note_known_segment(&found).await?,
            Err(TooFew(said)) => {
                summary.unreadable(id, &said);
                self.db.skip_segment(id).await?;
            }
        }
        Ok(is_read)
    }
}
