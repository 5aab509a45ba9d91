//! Long uploads as the packer sees them: their blocks are recorded as they become durable, and those that come in several
//! requests are told when.

use std::collections::BTreeSet;

use protocol::ids::SegmentId;
use store::{BlockAt, UploadPart};
use tokio::time::Instant;

use super::{Packing, Upload, new_id};
use crate::upload::{
    UploadError,
    commit::{CommitJob, SettleReply},
};

/// Blocks of an upload up to some moment, on their way to being recorded.
pub(super) struct Settling {
    /// Segments that the upload had come to rely on since it settled before.
    segments: Vec<SegmentId>,
    /// Those with blocks of it that are not durable yet.
    waiting_for: BTreeSet<SegmentId>,
    reply: SettleReply,
}

impl Upload {
    /// A segment became durable.
    pub(super) fn no_longer_waits_for(&mut self, segment: SegmentId) {
        self.waiting_for.remove(&segment);
        for settling in &mut self.settling {
            settling.waiting_for.remove(&segment);
        }
    }

    /// The upload failed.
    pub(super) fn do_not_settle(&mut self, error: &UploadError) {
        for settling in self.settling.drain(..) {
            let _ = settling.reply.send(Err(error.clone()));
        }
    }
}

impl Packing {
    /// Has all blocks of an upload so far recorded, soon.
    pub(super) async fn settle(&mut self, id: u64, reply: SettleReply) {
        let Some(upload) = self.uploads.get_mut(&id) else {
            let _ = reply.send(Err(UploadError::NotStored("upload is not known".into())));
            return;
        };
        if let Some(error) = upload.failure.get() {
            let _ = reply.send(Err(error.clone()));
            return;
        }
        let segments: Vec<SegmentId> = std::mem::take(&mut upload.segments).into_iter().collect();
        if segments.is_empty() {
            // Nothing was added since; what was before is waited for by whoever settled then.
            let _ = reply.send(Ok(segments));
            return;
        }
        if self.open.as_ref().is_some_and(|open| upload.waiting_for.contains(&open.id)) {
            self.ripe_at.get_or_insert_with(|| Instant::now() + self.config.linger);
        }
        let waiting_for = upload.waiting_for.clone();
        let is_durable = waiting_for.is_empty();
        upload.settling.push(Settling { segments, waiting_for, reply });
        if is_durable {
            // Segments of other uploads, durable but perhaps not recorded yet: this comes behind them.
            let parts = self.parts(&[id]);
            let settled = self.settled(&[id]);
            self.hand_on(CommitJob { parts, settled, ..CommitJob::default() }).await;
        }
    }

    /// What is recorded with the next job, as all its blocks are durable.
    pub(super) fn settled(&mut self, ids: &[u64]) -> Vec<(Vec<SegmentId>, SettleReply)> {
        let mut settled = Vec::new();
        for id in ids {
            let Some(upload) = self.uploads.get_mut(id) else { continue };
            let done = upload.settling.extract_if(.., |settling| settling.waiting_for.is_empty());
            settled.extend(done.map(|Settling { segments, reply, .. }| (segments, reply)));
        }
        settled
    }

    /// The durable blocks of those of `ids` that have too many to remember them all. A block that comes twice is found in
    /// the database from then on.
    pub(super) fn parts(&mut self, ids: &[u64]) -> Vec<UploadPart> {
        let mut parts = Vec::new();
        for id in ids {
            let Some(upload) = self.uploads.get_mut(id) else { continue };
            let is_first = upload.long.is_none();
            if is_first && upload.blocks.len() <= self.config.blocks_remembered {
                continue;
            }
            let waiting_for = &upload.waiting_for;
            let durable = upload.blocks.extract_if(|_, at| !waiting_for.contains(&at.segment));
            let blocks: Vec<BlockAt> = durable.map(|(_, at)| at).collect();
            if !blocks.is_empty() {
                let name = upload.long.get_or_insert_with(|| new_id(&self.clock, &self.dice));
                parts.push(UploadPart { upload: name.clone(), is_first, blocks });
            }
        }
        parts
    }

    /// Keeps the recorded segments of uploads in progress, without waiting for the database.
    pub(super) fn extend_leases(&self) {
        let segments: BTreeSet<SegmentId> =
            self.uploads.values().flat_map(|upload| upload.segments.iter().copied()).collect();
        let segments: Vec<SegmentId> = segments.into_iter().collect();
        let long: Vec<String> = self.uploads.values().filter_map(|upload| upload.long.clone()).collect();
        let (db, until) = (self.db.clone(), self.clock.now() + self.config.lease);
        tokio::spawn(async move {
            if let Err(error) = db.extend_leases(&segments, &long, until).await {
                tracing::warn!(%error, "could not extend the leases of uploads in progress");
            }
        });
    }
}
