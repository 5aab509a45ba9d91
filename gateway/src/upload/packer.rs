//! The packer: one task that lays the blocks of all uploads into shared segments, so that a thousand small uploads become
//! tens of segments and memory is bounded by the segments in work, not by the number of uploads.
//!
//! A segment is sealed when it is full, or when an upload has waited for it for the linger time. While segments are being
//! sealed, later uploads gather in the next one: the busier it is, the larger the groups.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use content::{Block, Cid};
use protocol::{ids::SegmentId, record::PinRecord};
use service::{clock::Clock, dice::Dice};
use store::{BlockAt, Committed, Db, UploadMetadata};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::Instant,
};

use super::{
    PinRequest, Sealer, UploadError,
    commit::{CommitJob, Committer, Recorded, Reply},
    seal::Sealed,
    segment::OpenSegment,
};
use crate::config::UploadsConfig;

/// Messages taken from the queue at once: the blocks among them are looked up in one query.
const BATCH_MAX: usize = 256;

enum Message {
    Block { upload: u64, block: Block, _room: Option<OwnedSemaphorePermit> },
    Finish { upload: u64, pin: PinRequest, reply: Reply },
    Begin { upload: u64, failure: Arc<OnceLock<UploadError>> },
    Abandon { upload: u64 },
}

/// The way to the packer; cheap to clone.
#[derive(Clone)]
pub(crate) struct Packer {
    messages: mpsc::Sender<Message>,
    /// Uploads that ended without finishing. Not bounded by itself, but by the number of uploads.
    abandoned: mpsc::UnboundedSender<Message>,
    next_upload: Arc<AtomicU64>,
}

/// One upload in progress. Dropping it without finishing abandons it.
pub(crate) struct UploadHandle {
    packer: Packer,
    upload: u64,
    failure: Arc<OnceLock<UploadError>>,
    finished: bool,
}

impl Packer {
    /// Starts the packer's tasks; they end when all handles are gone.
    pub(crate) fn start(db: Db, sealer: Sealer, clock: Clock, dice: Dice, config: UploadsConfig) -> Self {
        let (messages, inbox) = mpsc::channel(config.queue_max);
        let (abandoned, abandoned_inbox) = mpsc::unbounded_channel();
        let (jobs, jobs_inbox) = mpsc::channel(64);
        let (recorded, recorded_inbox) = mpsc::unbounded_channel();
        let (sealed, sealed_inbox) = mpsc::unbounded_channel();
        let lease = config.lease;
        let committer = Committer { db: db.clone(), clock: clock.clone(), lease, jobs: jobs_inbox, recorded };
        tokio::spawn(committer.run());
        let packing = Packing {
            db,
            sealer,
            clock,
            dice,
            config,
            open: None,
            ripe_at: None,
            placed: HashMap::new(),
            members: HashMap::new(),
            undurable: HashSet::new(),
            uploads: HashMap::new(),
            jobs,
            sealed,
        };
        tokio::spawn(packing.run(inbox, abandoned_inbox, sealed_inbox, recorded_inbox));
        Self { messages, abandoned, next_upload: Arc::default() }
    }

    /// Begins an upload.
    pub(crate) async fn begin(&self) -> Result<UploadHandle, UploadError> {
        let upload = self.next_upload.fetch_add(1, Ordering::Relaxed);
        let failure = Arc::new(OnceLock::new());
        self.send(Message::Begin { upload, failure: failure.clone() }).await?;
        Ok(UploadHandle { packer: self.clone(), upload, failure, finished: false })
    }

    async fn send(&self, message: Message) -> Result<(), UploadError> {
        self.messages.send(message).await.map_err(|_| UploadError::NotStored("shutting down".into()))
    }
}

impl UploadHandle {
    /// Adds a block. `room` is given back when the block has been copied into a segment.
    pub(crate) async fn add(
        &self,
        block: Block,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), UploadError> {
        if let Some(error) = self.failure.get() {
            return Err(error.clone());
        }
        self.packer.send(Message::Block { upload: self.upload, block, _room: room }).await
    }

    /// Waits until every block is durable and the pin is recorded.
    pub(crate) async fn finish(mut self, pin: PinRequest) -> Result<Committed, UploadError> {
        let (reply, outcome) = oneshot::channel();
        self.packer.send(Message::Finish { upload: self.upload, pin, reply }).await?;
        self.finished = true;
        outcome.await.unwrap_or_else(|_| Err(UploadError::NotStored("shutting down".into())))
    }
}

impl Drop for UploadHandle {
    fn drop(&mut self) {
        if !self.finished {
            // When the packer is gone there is nothing left to abandon.
            let _ = self.packer.abandoned.send(Message::Abandon { upload: self.upload });
        }
    }
}

/// An upload as the packer sees it.
struct Upload {
    failure: Arc<OnceLock<UploadError>>,
    /// Blocks that were stored for it.
    blocks: Vec<BlockAt>,
    seen: HashSet<Cid>,
    /// Segments that hold its blocks.
    segments: HashSet<SegmentId>,
    /// Those of them that are not durable yet.
    waiting_for: HashSet<SegmentId>,
    finish: Option<(PinRequest, Reply)>,
}

type SealOutcome = (SegmentId, Result<Sealed, UploadError>);

struct Packing {
    db: Db,
    sealer: Sealer,
    clock: Clock,
    dice: Dice,
    config: UploadsConfig,
    open: Option<OpenSegment>,
    /// When the open segment is sealed though it is not full: somebody waits for it.
    ripe_at: Option<Instant>,
    /// Blocks in segments that are not recorded yet.
    placed: HashMap<Cid, BlockAt>,
    /// Uploads with blocks in each segment that is not recorded yet.
    members: HashMap<SegmentId, HashSet<u64>>,
    /// Segments that are not durable yet.
    undurable: HashSet<SegmentId>,
    uploads: HashMap<u64, Upload>,
    jobs: mpsc::Sender<CommitJob>,
    sealed: mpsc::UnboundedSender<SealOutcome>,
}

impl Packing {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        mut abandoned: mpsc::UnboundedReceiver<Message>,
        mut sealed: mpsc::UnboundedReceiver<SealOutcome>,
        mut recorded: mpsc::UnboundedReceiver<Recorded>,
    ) {
        let mut lease = tokio::time::interval(self.config.lease / 3);
        let mut batch = Vec::new();
        loop {
            let full = self.is_full();
            let ripe_at = self.ripe_at;
            tokio::select! {
                biased;
                Some((segment, outcome)) = sealed.recv() => self.stored(segment, outcome).await,
                Some(outcome) = recorded.recv() => self.forget(&outcome),
                Some(message) = abandoned.recv() => self.take(message).await,
                count = inbox.recv_many(&mut batch, BATCH_MAX), if !full => {
                    if count == 0 {
                        return;
                    }
                    self.take_batch(std::mem::take(&mut batch)).await;
                }
                () = tokio::time::sleep_until(ripe_at.unwrap_or_else(Instant::now)), if ripe_at.is_some() && !full => {
                    self.seal();
                }
                _ = lease.tick() => self.extend_leases().await,
            }
            if self.is_full() {
                self.seal();
            }
        }
    }

    /// Whether the open segment must be sealed before anything else can be taken in.
    fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.len() >= self.full_len())
    }

    /// A segment this long is full: no further leaf would fit.
    fn full_len(&self) -> usize {
        self.config.segment_bytes.saturating_sub(content::BLOCK_MAX / 2).max(1)
    }

    async fn take_batch(&mut self, batch: Vec<Message>) {
        let unknown: Vec<Cid> = batch
            .iter()
            .filter_map(|message| match message {
                Message::Block { block, .. } if !self.placed.contains_key(&block.cid) => {
                    Some(block.cid.clone())
                }
                _ => None,
            })
            .collect();
        let stored: HashMap<Cid, BlockAt> = if unknown.is_empty() {
            HashMap::new()
        } else {
            match self.db.find_blocks(&unknown, false).await {
                Ok(found) => found.into_iter().map(|at| (at.cid.clone(), at)).collect(),
                Err(error) => {
                    // Storing a block twice costs space; the transaction at the end finds out whether the database is there.
                    tracing::warn!(%error, "could not look for stored blocks");
                    HashMap::new()
                }
            }
        };
        for message in batch {
            match message {
                Message::Block { upload, block, _room } => self.place(upload, &block, &stored),
                other => self.take(other).await,
            }
        }
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Begin { upload, failure } => {
                let fresh = Upload {
                    failure,
                    blocks: Vec::new(),
                    seen: HashSet::new(),
                    segments: HashSet::new(),
                    waiting_for: HashSet::new(),
                    finish: None,
                };
                self.uploads.insert(upload, fresh);
            }
            Message::Block { upload, block, _room } => self.place(upload, &block, &HashMap::new()),
            Message::Finish { upload, pin, reply } => self.finish(upload, pin, reply).await,
            Message::Abandon { upload } => {
                self.uploads.remove(&upload);
            }
        }
    }

    /// Lays a block into the open segment, unless it is stored or on its way already.
    fn place(&mut self, id: u64, block: &Block, stored: &HashMap<Cid, BlockAt>) {
        let Some(upload) = self.uploads.get_mut(&id) else { return };
        if !upload.seen.insert(block.cid.clone()) {
            return;
        }
        if let Some(at) = stored.get(&block.cid) {
            metrics::counter!("upload_blocks_total", "kind" => "stored_before").increment(1);
            upload.segments.insert(at.segment);
            return;
        }
        let at = if let Some(at) = self.placed.get(&block.cid) {
            metrics::counter!("upload_blocks_total", "kind" => "under_way").increment(1);
            at.clone()
        } else {
            metrics::counter!("upload_blocks_total", "kind" => "new").increment(1);
            if self.open.as_ref().is_some_and(|open| !open.has_room(block, self.config.segment_bytes)) {
                self.seal();
            }
            let open = self.open.get_or_insert_with(|| {
                let id = SegmentId(self.dice.bytes());
                self.undurable.insert(id);
                OpenSegment::new(id, self.sealer.pool.take(self.config.segment_bytes.min(1 << 20)))
            });
            let at = open.push(block);
            self.placed.insert(block.cid.clone(), at.clone());
            at
        };
        self.members.entry(at.segment).or_default().insert(id);
        if let Some(upload) = self.uploads.get_mut(&id) {
            upload.segments.insert(at.segment);
            if self.undurable.contains(&at.segment) {
                upload.waiting_for.insert(at.segment);
            }
            upload.blocks.push(at);
        }
    }

    async fn finish(&mut self, id: u64, pin: PinRequest, reply: Reply) {
        let Some(upload) = self.uploads.get_mut(&id) else {
            let _ = reply.send(Err(UploadError::NotStored("upload is not known".into())));
            return;
        };
        if let Some(error) = upload.failure.get() {
            let _ = reply.send(Err(error.clone()));
            self.uploads.remove(&id);
            return;
        }
        let in_open = self.open.as_mut().filter(|open| upload.waiting_for.contains(&open.id));
        if let Some(open) = in_open {
            let (root, account) = (pin.root.clone(), pin.account.clone());
            open.note_pin(PinRecord { root, account, created: self.clock.now() });
            self.ripe_at.get_or_insert_with(|| Instant::now() + self.config.linger);
        }
        upload.finish = Some((pin, reply));
        let ready = upload.waiting_for.is_empty();
        if ready {
            let uploads = self.ready(&[id]);
            self.hand_on(CommitJob { segment: None, uploads }).await;
        }
    }

    /// Seals the open segment, if there is room for coding it; otherwise it is tried again when room is given back.
    fn seal(&mut self) {
        let Some(len) = self.open.as_ref().map(OpenSegment::len) else {
            self.ripe_at = None;
            return;
        };
        let Some(room) = self.sealer.try_room(len) else {
            // Tried again soon; meanwhile the segment goes on filling.
            self.ripe_at = Some(Instant::now() + RETRY_SEAL);
            return;
        };
        let Some(open) = self.open.take() else { return };
        self.ripe_at = None;
        let (id, buffer) = open.close();
        let (sealer, sealed) = (self.sealer.clone(), self.sealed.clone());
        tokio::spawn(async move {
            let outcome = sealer.seal(id, buffer).await;
            drop(room);
            // The packer outlives its segments unless the process ends.
            let _ = sealed.send((id, outcome));
        });
    }

    /// A segment became durable, or could not.
    async fn stored(&mut self, segment: SegmentId, outcome: Result<Sealed, UploadError>) {
        self.undurable.remove(&segment);
        match outcome {
            Ok(sealed) => {
                let members: Vec<u64> = self.members.get(&segment).into_iter().flatten().copied().collect();
                for id in &members {
                    if let Some(upload) = self.uploads.get_mut(id) {
                        upload.waiting_for.remove(&segment);
                    }
                }
                let uploads = self.ready(&members);
                self.hand_on(CommitJob { segment: Some((sealed.segment, sealed.rest)), uploads }).await;
            }
            Err(error) => {
                self.fail_members(segment, &error);
                self.forget_segment(segment);
            }
        }
    }

    /// Takes out those of `ids` that are finished and whose segments are all durable.
    fn ready(&mut self, ids: &[u64]) -> Vec<(UploadMetadata, Reply)> {
        let mut ready = Vec::new();
        for id in ids {
            let is_ready = self
                .uploads
                .get(id)
                .is_some_and(|upload| upload.finish.is_some() && upload.waiting_for.is_empty());
            if !is_ready {
                continue;
            }
            let Some(Upload { finish: Some((pin, reply)), blocks, segments, .. }) = self.uploads.remove(id)
            else {
                continue;
            };
            let metadata = UploadMetadata {
                account: pin.account,
                name: pin.name,
                root: pin.root,
                size_bytes: pin.size_bytes,
                dag_size_bytes: pin.dag_size_bytes,
                expires: pin.expires,
                blocks,
                segments: segments.into_iter().collect(),
            };
            ready.push((metadata, reply));
        }
        ready
    }

    async fn hand_on(&self, job: CommitJob) {
        // The committer ends only after this task.
        let _ = self.jobs.send(job).await;
    }

    /// Segments that were recorded are found in the database from now on; those that were not are lost to uploads.
    fn forget(&mut self, outcome: &Recorded) {
        for segment in &outcome.segments {
            if !outcome.recorded {
                self.fail_members(*segment, &UploadError::StoreUnavailable);
            }
            self.forget_segment(*segment);
        }
    }

    fn forget_segment(&mut self, segment: SegmentId) {
        self.members.remove(&segment);
        self.placed.retain(|_, at| at.segment != segment);
    }

    fn fail_members(&mut self, segment: SegmentId, error: &UploadError) {
        for id in self.members.get(&segment).into_iter().flatten() {
            let Some(upload) = self.uploads.get_mut(id) else { continue };
            let _ = upload.failure.set(error.clone());
            if let Some((_, reply)) = upload.finish.take() {
                let _ = reply.send(Err(error.clone()));
                self.uploads.remove(id);
            }
        }
    }

    /// Keeps the recorded segments of uploads in progress.
    async fn extend_leases(&self) {
        let segments: HashSet<SegmentId> =
            self.uploads.values().flat_map(|upload| upload.segments.iter().copied()).collect();
        let segments: Vec<SegmentId> = segments.into_iter().collect();
        if let Err(error) = self.db.extend_leases(&segments, self.clock.now() + self.config.lease).await {
            tracing::warn!(%error, "could not extend the leases of uploads in progress");
        }
    }
}

/// How soon sealing is tried again when there was no room for it.
const RETRY_SEAL: Duration = Duration::from_millis(2);
