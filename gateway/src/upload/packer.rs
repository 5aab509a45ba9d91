//! The way to the packer, the one task that lays the blocks of all uploads into shared segments (`packing`), so that a
//! thousand small uploads become tens of segments and memory is bounded by the segments in work, not by the uploads.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use content::Block;
use protocol::ids::SegmentId;
use service::{
    clock::Clock,
    dice::Dice,
    traces::{Here, here},
};
use store::Db;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::{
    PinRequest, Sealer, UploadError,
    commit::{Committer, Outcomes, Reply, SettleReply},
    packing::{InHand, Inboxes, Packing, PackingParts},
};
use crate::config::UploadsConfig;

/// Commits that wait for the database, at most.
const COMMITS_WAITING_MAX: usize = 64;

/// What uploads tell the packer.
pub(super) enum Message {
    /// `long`: its name in the database, if it has one from the start.
    Begin {
        upload: u64,
        failure: Arc<OnceLock<UploadError>>,
        long: Option<String>,
        /// The request that it belongs to.
        place: Here,
    },
    Block {
        upload: u64,
        block: Block,
        _room: Option<OwnedSemaphorePermit>,
    },
    RelyOn {
        upload: u64,
        segments: Vec<SegmentId>,
    },
    Settle {
        upload: u64,
        reply: SettleReply,
    },
    Finish {
        upload: u64,
        pins: Vec<PinRequest>,
        reply: Reply,
    },
}

/// The way to the packer; cheap to clone.
#[derive(Clone)]
pub(crate) struct Packer {
    messages: mpsc::Sender<Message>,
    /// Uploads that ended without finishing. Not bounded by itself, but by the number of uploads.
    abandoned: mpsc::UnboundedSender<u64>,
    next_upload: Arc<AtomicU64>,
    #[cfg(test)]
    in_hand: watch::Receiver<InHand>,
}

/// One upload in progress. Dropping it without finishing abandons it.
pub(crate) struct UploadHandle(Option<Underway>);

/// What the packer knows of an upload.
struct Underway {
    packer: Packer,
    upload: u64,
    failure: Arc<OnceLock<UploadError>>,
    finished: bool,
}

impl Packer {
    /// Starts the packer's tasks; they end when all handles are gone.
    pub(crate) fn start(db: Db, sealer: Sealer, clock: Clock, dice: Dice, config: UploadsConfig) -> Self {
        let (messages, messages_inbox) = mpsc::channel(config.queue_max);
        let (abandoned, abandoned_inbox) = mpsc::unbounded_channel();
        let (jobs, jobs_inbox) = mpsc::channel(COMMITS_WAITING_MAX);
        let (recorded, recorded_inbox) = mpsc::unbounded_channel();
        let (sealed, sealed_inbox) = mpsc::unbounded_channel();
        let committer = Committer {
            db: db.clone(),
            clock: clock.clone(),
            room: sealer.room.clone(),
            lease: config.lease,
            jobs: jobs_inbox,
            recorded,
        };
        tokio::spawn(committer.run());
        let inboxes = Inboxes {
            messages: messages_inbox,
            abandoned: abandoned_inbox,
            sealed: sealed_inbox,
            recorded: recorded_inbox,
        };
        let in_hand = watch::Sender::new(InHand::default());
        let packer = Self {
            messages,
            abandoned,
            next_upload: Arc::default(),
            #[cfg(test)]
            in_hand: in_hand.subscribe(),
        };
        let parts = PackingParts { db, sealer, clock, dice, config, jobs, sealed, in_hand };
        tokio::spawn(Packing::new(parts).run(inboxes));
        packer
    }

    /// Begins an upload.
    pub(crate) async fn begin(&self) -> Result<UploadHandle, UploadError> {
        self.begin_as(None).await
    }

    /// Goes on with a long upload that is in the database under this name, and outlives this handle.
    pub(crate) async fn begin_long(&self, name: String) -> Result<UploadHandle, UploadError> {
        self.begin_as(Some(name)).await
    }

    async fn begin_as(&self, long: Option<String>) -> Result<UploadHandle, UploadError> {
        let upload = self.next_upload.fetch_add(1, Ordering::Relaxed);
        let failure = Arc::new(OnceLock::new());
        let underway = Underway { packer: self.clone(), upload, failure: failure.clone(), finished: false };
        // Whoever goes away meanwhile abandons it.
        let handle = UploadHandle(Some(underway));
        self.send(Message::Begin { upload, failure, long, place: here() }).await?;
        Ok(handle)
    }

    /// Waits until the packer has so much in its hands.
    #[cfg(test)]
    pub(crate) async fn until(&self, is_so: impl FnMut(&InHand) -> bool) -> InHand {
        *self.in_hand.clone().wait_for(is_so).await.expect("the packer runs while there is a way to it")
    }

    async fn send(&self, message: Message) -> Result<(), UploadError> {
        self.messages.send(message).await.map_err(|_| UploadError::NotStored("shutting down".into()))
    }
}

impl UploadHandle {
    /// An upload that is not stored: the packer hears nothing of it, and it cannot be finished.
    pub(crate) fn unstored() -> Self {
        Self(None)
    }

    /// Adds a block. `room` is given back when the block has been copied into a segment.
    pub(crate) async fn add(
        &self,
        block: Block,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), UploadError> {
        let Some(underway) = &self.0 else { return Ok(()) };
        if let Some(error) = underway.failure.get() {
            return Err(error.clone());
        }
        underway.packer.send(Message::Block { upload: underway.upload, block, _room: room }).await
    }

    /// Makes the pin need these segments too: blocks under its root lie in them that were stored before.
    pub(crate) async fn rely_on(&self, segments: Vec<SegmentId>) -> Result<(), UploadError> {
        let Some(underway) = &self.0 else { return Ok(()) };
        underway.packer.send(Message::RelyOn { upload: underway.upload, segments }).await
    }

    /// Has everything that was added so far made durable, without waiting for it. For long uploads that were begun as such:
    /// their blocks are recorded under their name.
    pub(crate) async fn settle(&self) -> Result<Settlement, UploadError> {
        let (reply, settled) = oneshot::channel();
        if let Some(underway) = &self.0 {
            underway.packer.send(Message::Settle { upload: underway.upload, reply }).await?;
        }
        Ok(Settlement(settled))
    }

    /// Waits until every block is durable and all pins are recorded that may be: one outcome for each, in order. Each of
    /// them keeps all blocks of the upload.
    pub(crate) async fn finish(mut self, pins: Vec<PinRequest>) -> Result<Outcomes, UploadError> {
        let unstored = || UploadError::NotStored("it was only hashed".into());
        let underway = self.0.as_mut().ok_or_else(unstored)?;
        let (reply, outcomes) = oneshot::channel();
        underway.packer.send(Message::Finish { upload: underway.upload, pins, reply }).await?;
        underway.finished = true;
        outcomes.await.unwrap_or_else(|_| Err(UploadError::NotStored("shutting down".into())))
    }
}

/// Blocks of a long upload that are being made durable.
pub(crate) struct Settlement(oneshot::Receiver<Result<Vec<SegmentId>, UploadError>>);

impl Settlement {
    /// Waits until they are durable and recorded. Gives the segments that the upload has come to rely on since it settled
    /// before.
    pub(crate) async fn wait(self) -> Result<Vec<SegmentId>, UploadError> {
        self.0.await.unwrap_or_else(|_| Err(UploadError::NotStored("shutting down".into())))
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if !self.finished {
            // The packer may hear of the end before it hears of the beginning: then it finds this.
            let _ = self.failure.set(UploadError::BodyIncomplete("the upload was given up".into()));
            // When the packer is gone there is nothing left to abandon.
            let _ = self.packer.abandoned.send(self.upload);
        }
    }
}
