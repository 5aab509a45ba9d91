//! The packer's task: lays blocks into the open segment, has it sealed, and hands on what is durable to be recorded.
//!
//! A segment is sealed when it is full, or when an upload has waited for it for the linger time. While segments are being
//! sealed, later uploads gather in the next one: the busier it is, the larger the groups.
//!
//! Sealing needs room. While there is none the open segment goes on filling; when it is full, or the next block does not
//! fit, nothing more is taken from the queue and uploads wait. What can happen is looked at in a fixed order, ends before
//! beginnings, so that a stream of blocks keeps nothing else from being done.

mod long;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, OnceLock},
};

use content::{Block, Cid};
use protocol::{ids::SegmentId, record::PinRecord, time::UnixMillis};
use service::{clock::Clock, dice::Dice, traces::Here};
use store::{BlockAt, BlockFound, Claim, Db, UploadMetadata};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::long::Settling;
use super::{
    PinRequest, Sealer, UploadError,
    commit::{CommitJob, Recorded, Reply},
    packer::Message,
    room::Taken,
    seal::Sealed,
    segment::OpenSegment,
};
use crate::config::UploadsConfig;

/// Messages taken from the queue at once: the blocks among them are looked up in one query.
const BATCH_MAX: usize = 256;
/// Bytes by which a segment may grow when it is padded for coding.
const PADDING_MAX: usize = erasure::NEEDED_MAX * erasure::COLUMN;

/// Where the packer hears of things.
pub(super) struct Inboxes {
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) abandoned: mpsc::UnboundedReceiver<u64>,
    pub(super) sealed: mpsc::UnboundedReceiver<SealOutcome>,
    pub(super) recorded: mpsc::UnboundedReceiver<Recorded>,
}

/// How much the packer has in its hands: what it has let go of does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InHand {
    /// Uploads in progress.
    pub(crate) uploads: usize,
    /// Segments that are not recorded yet, the open one included.
    pub(crate) segments: usize,
    /// Blocks in them.
    pub(crate) blocks: usize,
}

pub(super) type SealOutcome = (SegmentId, Result<Sealed, UploadError>);

/// An upload as the packer sees it.
struct Upload {
    failure: Arc<OnceLock<UploadError>>,
    /// Blocks that were stored for it and are not recorded yet.
    blocks: HashMap<Cid, BlockAt>,
    /// Its name in the database, if it has so many blocks that they are recorded as they become durable.
    long: Option<String>,
    /// Segments that hold its blocks.
    segments: BTreeSet<SegmentId>,
    /// Those of them that are not durable yet.
    waiting_for: BTreeSet<SegmentId>,
    settling: Vec<Settling>,
    finish: Option<(Vec<PinRequest>, Reply)>,
    /// Where its request is, for traces.
    place: Here,
}

/// A segment that is not recorded yet.
#[derive(Default)]
struct InWork {
    cids: Vec<Cid>,
    /// Uploads with blocks in it, in the order in which they began.
    members: BTreeSet<u64>,
    durable: bool,
    /// Sealed before it was full.
    early: bool,
}

pub(super) struct Packing {
    db: Db,
    sealer: Sealer,
    clock: Clock,
    dice: Dice,
    config: UploadsConfig,
    open: Option<OpenSegment>,
    /// When the open segment is sealed though it is not full: somebody waits for it.
    ripe_at: Option<Instant>,
    /// Whether that time has come.
    ripe: bool,
    /// Messages that were taken from the queue; not empty between steps only when the first one waits for room.
    backlog: VecDeque<Message>,
    /// Blocks of the backlog that are stored already, for everybody or for one long upload.
    stored: HashMap<(Cid, Option<String>), SegmentId>,
    /// Blocks in segments that are not recorded yet.
    placed: HashMap<Cid, BlockAt>,
    in_work: HashMap<SegmentId, InWork>,
    /// Segments being sealed that were not full.
    early: usize,
    uploads: BTreeMap<u64, Upload>,
    jobs: mpsc::Sender<CommitJob>,
    sealed: mpsc::UnboundedSender<SealOutcome>,
    in_hand: watch::Sender<InHand>,
}

/// What a [`Packing`] is made of.
pub(super) struct PackingParts {
    pub(super) db: Db,
    pub(super) sealer: Sealer,
    pub(super) clock: Clock,
    pub(super) dice: Dice,
    pub(super) config: UploadsConfig,
    pub(super) jobs: mpsc::Sender<CommitJob>,
    pub(super) sealed: mpsc::UnboundedSender<SealOutcome>,
    pub(super) in_hand: watch::Sender<InHand>,
}

impl Packing {
    pub(super) fn new(parts: PackingParts) -> Self {
        let PackingParts { db, sealer, clock, dice, config, jobs, sealed, in_hand } = parts;
        Self {
            db,
            sealer,
            clock,
            dice,
            config,
            in_hand,
            open: None,
            ripe_at: None,
            ripe: false,
            backlog: VecDeque::new(),
            stored: HashMap::new(),
            placed: HashMap::new(),
            in_work: HashMap::new(),
            early: 0,
            uploads: BTreeMap::new(),
            jobs,
            sealed,
        }
    }

    /// Runs until every way to it is gone.
    pub(super) async fn run(mut self, mut inboxes: Inboxes) {
        let mut lease = tokio::time::interval(self.config.lease / 3);
        let mut batch = Vec::new();
        loop {
            self.work_off().await;
            self.tell_in_hand();
            let room = self.sealer.room.clone();
            let (ripe_at, to_seal) = (self.ripe_at, self.to_seal());
            let open_to_more = self.backlog.is_empty() && !self.is_full();
            tokio::select! {
                biased;
                Some((segment, outcome)) = inboxes.sealed.recv() => self.stored(segment, outcome).await,
                Some(outcome) = inboxes.recorded.recv() => self.forget(&outcome),
                Some(upload) = inboxes.abandoned.recv() => drop(self.uploads.remove(&upload)),
                _ = lease.tick() => self.extend_leases(),
                room = room.take(to_seal.unwrap_or_default()), if to_seal.is_some() => {
                    let early = !self.is_full() && self.backlog.is_empty();
                    self.seal(room, early);
                }
                () = tokio::time::sleep_until(ripe_at.unwrap_or_else(Instant::now)), if ripe_at.is_some() && !self.ripe => {
                    self.ripe = true;
                }
                count = inboxes.messages.recv_many(&mut batch, BATCH_MAX), if open_to_more => {
                    if count == 0 {
                        return;
                    }
                    self.take_in(std::mem::take(&mut batch)).await;
                }
            }
        }
    }

    fn tell_in_hand(&self) {
        let in_hand =
            InHand { uploads: self.uploads.len(), segments: self.in_work.len(), blocks: self.placed.len() };
        let changed = |told: &mut InHand| std::mem::replace(told, in_hand) != in_hand;
        if self.in_hand.send_if_modified(changed) {
            metrics::gauge!("pinstripe_uploads_in_progress").set(in_hand.uploads as f64);
            metrics::gauge!("pinstripe_segments_in_work").set(in_hand.segments as f64);
        }
    }

    /// Whether the open segment must be sealed before anything else can be taken in: no further leaf would fit.
    fn is_full(&self) -> bool {
        let full = self.config.segment_bytes.saturating_sub(content::BLOCK_MAX / 2).max(1);
        self.open.as_ref().is_some_and(|open| !open.is_empty() && open.len() >= full)
    }

    /// Bytes of room that the open segment waits for.
    fn to_seal(&self) -> Option<usize> {
        let open = self.open.as_ref()?;
        let is_due = self.ripe && self.early < self.config.early_segments_max;
        (is_due || self.is_full() || !self.backlog.is_empty()).then(|| self.sealer.coded_bytes(open.len()))
    }

    /// Takes a batch from the queue and looks up its blocks.
    async fn take_in(&mut self, batch: Vec<Message>) {
        let unknown: Vec<Cid> = batch
            .iter()
            .filter_map(|message| match message {
                Message::Block { block, .. } => Some(&block.cid).filter(|cid| !self.placed.contains_key(cid)),
                Message::Begin { .. }
                | Message::RelyOn { .. }
                | Message::Settle { .. }
                | Message::Finish { .. } => None,
            })
            .cloned()
            .collect();
        self.stored.clear();
        if !unknown.is_empty() {
            match self.db.find_stored(&unknown).await {
                Ok(found) => {
                    let found =
                        found.into_iter().map(|BlockFound { at, upload }| ((at.cid, upload), at.segment));
                    self.stored = found.collect();
                }
                // Storing a block twice costs space; the transaction at the end finds out whether the database is there.
                Err(error) => tracing::warn!(%error, "could not look for stored blocks"),
            }
        }
        self.backlog.extend(batch);
    }

    /// Deals with what was taken in, until a block needs a new segment and there is no room to seal the old one.
    async fn work_off(&mut self) {
        while let Some(message) = self.backlog.pop_front() {
            match message {
                Message::Begin { upload, failure, long, place } => self.begin(upload, failure, long, place),
                Message::Block { upload, ref block, .. } => {
                    if !self.place(upload, block) {
                        self.backlog.push_front(message);
                        return;
                    }
                }
                Message::RelyOn { upload, segments } => {
                    if let Some(upload) = self.uploads.get_mut(&upload) {
                        upload.segments.extend(segments);
                    }
                }
                Message::Settle { upload, reply } => self.settle(upload, reply).await,
                Message::Finish { upload, pins, reply } => self.finish(upload, pins, reply).await,
            }
        }
    }

    fn begin(&mut self, id: u64, failure: Arc<OnceLock<UploadError>>, long: Option<String>, place: Here) {
        // It may have been abandoned before it was its turn to begin.
        if failure.get().is_some() {
            return;
        }
        let upload = Upload {
            failure,
            blocks: HashMap::new(),
            long,
            segments: BTreeSet::new(),
            waiting_for: BTreeSet::new(),
            settling: Vec::new(),
            finish: None,
            place,
        };
        self.uploads.insert(id, upload);
    }

    /// Lays a block into the open segment, unless it is stored or on its way already; `false` when it does not fit and
    /// there is no room for sealing.
    fn place(&mut self, id: u64, block: &Block) -> bool {
        let Some(upload) = self.uploads.get_mut(&id) else { return true };
        if upload.failure.get().is_some() || upload.blocks.contains_key(&block.cid) {
            return true;
        }
        let stored = |whose| self.stored.get(&(block.cid.clone(), whose));
        let own = upload.long.as_ref().and_then(|long| stored(Some(long.clone())));
        if let Some(segment) = own.or_else(|| stored(None)) {
            metrics::counter!("pinstripe_upload_blocks_total", "kind" => "stored_before").increment(1);
            upload.segments.insert(*segment);
            return true;
        }
        let at = if let Some(at) = self.placed.get(&block.cid) {
            metrics::counter!("pinstripe_upload_blocks_total", "kind" => "under_way").increment(1);
            at.clone()
        } else {
            let Some(at) = self.push(block) else { return false };
            metrics::counter!("pinstripe_upload_blocks_total", "kind" => "new").increment(1);
            at
        };
        let in_work = self.in_work.entry(at.segment).or_default();
        in_work.members.insert(id);
        if let Some(upload) = self.uploads.get_mut(&id) {
            upload.segments.insert(at.segment);
            if !in_work.durable {
                upload.waiting_for.insert(at.segment);
            }
            upload.blocks.insert(block.cid.clone(), at);
        }
        true
    }

    /// Copies a block into the open segment, or into a new one when that is full and can be sealed.
    fn push(&mut self, block: &Block) -> Option<BlockAt> {
        let fits = |open: &OpenSegment| open.has_room(block, self.config.segment_bytes);
        if let Some(open) = self.open.as_ref().filter(|open| !fits(open)) {
            let room = self.sealer.room.try_take(self.sealer.coded_bytes(open.len()))?;
            self.seal(room, false);
        }
        let open = self.open.get_or_insert_with(|| {
            let buffer = self.sealer.pool.take(self.config.segment_bytes + PADDING_MAX);
            OpenSegment::new(SegmentId(self.dice.bytes()), buffer)
        });
        let at = open.push(block);
        self.placed.insert(block.cid.clone(), at.clone());
        self.in_work.entry(at.segment).or_default().cids.push(block.cid.clone());
        Some(at)
    }

    async fn finish(&mut self, id: u64, mut pins: Vec<PinRequest>, reply: Reply) {
        for pin in &mut pins {
            pin.waiting.get_or_insert_with(|| new_id(&self.clock, &self.dice));
        }
        let Some(upload) = self.uploads.get_mut(&id) else {
            let _ = reply.send(Err(UploadError::NotStored("upload is not known".into())));
            return;
        };
        if let Some(error) = upload.failure.get() {
            let _ = reply.send(Err(error.clone()));
            self.uploads.remove(&id);
            return;
        }
        if let Some(open) = self.open.as_mut().filter(|open| upload.waiting_for.contains(&open.id)) {
            for pin in &pins {
                open.note_pin(note(pin, self.clock.now()), self.config.segment_bytes);
            }
            self.ripe_at.get_or_insert_with(|| Instant::now() + self.config.linger);
        }
        upload.finish = Some((pins, reply));
        if upload.waiting_for.is_empty() {
            let uploads = self.ready(&[id]);
            self.hand_on(CommitJob { uploads, ..CommitJob::default() }).await;
        }
    }

    /// Has the open segment coded and stored; `early`: though it is not full.
    fn seal(&mut self, room: Taken, early: bool) {
        let Some(open) = self.open.take() else { return };
        (self.ripe_at, self.ripe) = (None, false);
        self.early += usize::from(early);
        let in_work = self.in_work.entry(open.id).or_default();
        in_work.early = early;
        let members = in_work.members.iter().filter_map(|id| self.uploads.get(id));
        let span = Here::joined("store segment", members.map(|upload| upload.place.clone()));
        let (id, buffer) = open.close(self.sealer.signer.key());
        let (sealer, sealed) = (self.sealer.clone(), self.sealed.clone());
        tokio::spawn(async move {
            let outcome = span.within(sealer.seal(id, buffer, room)).await;
            if outcome.is_err() {
                span.failed("not stored");
            }
            drop(span);
            // The packer outlives its segments unless the process ends.
            let _ = sealed.send((id, outcome));
        });
    }

    /// A segment became durable, or could not.
    async fn stored(&mut self, segment: SegmentId, outcome: Result<Sealed, UploadError>) {
        let Some(in_work) = self.in_work.get_mut(&segment) else { return };
        in_work.durable = true;
        self.early -= usize::from(in_work.early);
        match outcome {
            Ok(sealed) => {
                let members: Vec<u64> = in_work.members.iter().copied().collect();
                for id in &members {
                    if let Some(upload) = self.uploads.get_mut(id) {
                        upload.no_longer_waits_for(segment);
                    }
                }
                let uploads = self.ready(&members);
                let parts = self.parts(&members);
                let settled = self.settled(&members);
                self.hand_on(CommitJob { segment: Some(sealed), parts, settled, uploads }).await;
            }
            Err(error) => self.lose(segment, &error),
        }
    }

    /// Takes out those of `ids` that are finished and whose segments are all durable.
    fn ready(&mut self, ids: &[u64]) -> Vec<(Vec<UploadMetadata>, Reply)> {
        let is_ready = |upload: &Upload| upload.finish.is_some() && upload.waiting_for.is_empty();
        let mut ready = Vec::new();
        for id in ids {
            if !self.uploads.get(id).is_some_and(is_ready) {
                continue;
            }
            let Some(Upload { finish: Some((pins, reply)), blocks, long, segments, .. }) =
                self.uploads.remove(id)
            else {
                continue;
            };
            let blocks: Arc<[BlockAt]> = blocks.into_values().collect();
            let metadata = |pin: PinRequest| UploadMetadata {
                pin: pin.waiting.unwrap_or_else(|| new_id(&self.clock, &self.dice)),
                claim: pin.claim,
                beside: pin.beside,
                account: pin.account,
                name: pin.name,
                root: pin.root,
                size_bytes: pin.size_bytes,
                dag_size_bytes: pin.dag_size_bytes,
                expires: pin.expires,
                blocks: blocks.clone(),
                recorded: long.clone(),
                segments: segments.iter().copied().collect(),
            };
            ready.push((pins.into_iter().map(metadata).collect(), reply));
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
            if outcome.recorded {
                self.forget_segment(*segment);
            } else {
                self.lose(*segment, &UploadError::StoreUnavailable);
            }
        }
    }

    fn forget_segment(&mut self, segment: SegmentId) -> InWork {
        let in_work = self.in_work.remove(&segment).unwrap_or_default();
        for cid in &in_work.cids {
            self.placed.remove(cid);
        }
        in_work
    }

    /// Fails all uploads with blocks in a segment, and forgets it.
    fn lose(&mut self, segment: SegmentId, error: &UploadError) {
        for id in self.forget_segment(segment).members {
            let Some(upload) = self.uploads.get_mut(&id) else { continue };
            let _ = upload.failure.set(error.clone());
            upload.do_not_settle(error);
            if let Some((_, reply)) = upload.finish.take() {
                let _ = reply.send(Err(error.clone()));
                self.uploads.remove(&id);
            }
        }
    }
}

/// What a segment's record says of an upload that ends.
fn note(pin: &PinRequest, now: UnixMillis) -> PinRecord {
    PinRecord {
        id: pin.waiting.clone(),
        root: pin.root.clone(),
        account: pin.account.clone(),
        created: now.micros(),
        expires: pin.expires,
        held: pin.claim == Claim::Hold,
        sizes: Some((pin.size_bytes, pin.dag_size_bytes)),
    }
}

/// A name for a pin, a group or a long upload: a UUID of version 7, which begins with the time, so that new rows lie side by side in the database.
pub(crate) fn new_id(clock: &Clock, dice: &Dice) -> String {
    let millis = u64::try_from(clock.now().0).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &dice.bytes()).into_uuid().to_string()
}
