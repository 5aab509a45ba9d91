//! The one thread that writes logs: it takes everything that waits, appends it, syncs once, and then answers all of it.
//!
//! Order is what makes a crash harmless: names in `tmp/` are synced, the records are appended and synced, large files get
//! their names, the index takes the records over, deleted files go, and only then is anybody answered.

use std::{collections::HashMap, io, sync::Arc, thread};

use protocol::{ids::PieceHash, time::UnixMillis, unpin::PieceUnpin};
use tokio::sync::oneshot;

use super::{
    Stored,
    compact::Victim,
    disk::Shared,
    errors::{PutError, StoreError},
    faults::Fault,
    index::Change,
    large::TmpFile,
    ledger::{Entry, Kind},
    logs::ActiveLog,
    queue::{Command, Put, PutContent},
    record::{Body, Place, Record},
    space::Reservation,
};

/// A buffer that grew beyond this in a large group is given back.
const BUFFER_KEPT: usize = 1 << 20;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    /// `None` until something is written, and after a log became unusable.
    active: Option<ActiveLog>,
    /// The number that the next log gets.
    next_log: u32,
    buffer: Vec<u8>,
    bytes_since_checkpoint: u64,
    checkpoint: Option<thread::JoinHandle<Result<(), StoreError>>>,
    pub(super) victim: Option<Victim>,
}

/// An answer that is due when the group is durable.
enum Answer {
    Put {
        reply: oneshot::Sender<Result<Stored, PutError>>,
        stored: Stored,
        reservation: Option<Reservation>,
    },
    Adopt {
        reply: oneshot::Sender<Result<Stored, PutError>>,
        hash: PieceHash,
        tmp: TmpFile,
        reservation: Option<Reservation>,
    },
    Delete {
        reply: oneshot::Sender<Result<usize, StoreError>>,
        count: usize,
    },
    Mark(std::sync::mpsc::SyncSender<Result<bool, StoreError>>),
}

/// A put whose record is durable but whose file did not get its name.
struct Failed {
    hash: PieceHash,
    reply: oneshot::Sender<Result<Stored, PutError>>,
    error: io::Error,
}

/// Records that become durable together.
#[derive(Default)]
pub(super) struct Group {
    changes: Vec<Change>,
    /// What the records planned so far make of their pieces.
    planned: HashMap<PieceHash, Option<Entry>>,
    answers: Vec<Answer>,
    /// Pieces that have, or had, a file of their own.
    filed: Vec<PieceHash>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, active: Option<ActiveLog>, next_log: u32) -> Self {
        Self {
            shared,
            active,
            next_log,
            buffer: Vec::new(),
            bytes_since_checkpoint: 0,
            checkpoint: None,
            victim: None,
        }
    }

    /// Works until the queue is closed and empty, then writes the last checkpoint.
    pub(super) fn run(mut self) {
        loop {
            let commands = self.shared.queue.take_group(self.shared.config.group_bytes_max);
            if commands.is_empty() {
                break;
            }
            self.work(commands);
            self.checkpoint_if_due();
        }
        match self.checkpoint_now() {
            Ok(()) => self.shared.note_clean_close(),
            Err(error) => tracing::error!(%error, "last checkpoint failed, the next start replays the log"),
        }
    }

    fn work(&mut self, commands: Vec<Command>) {
        let mut group = Group::default();
        let mut apart = Vec::new();
        let appends = |command: &Command| {
            matches!(command, Command::Put(_) | Command::Delete { .. } | Command::MarkCorrupt { .. })
        };
        if commands.iter().any(appends)
            && let Err(error) = self.ready_log()
        {
            tracing::error!(%error, "no log can be made");
            for command in commands {
                refuse(command, &error);
            }
            return;
        }
        for command in commands {
            match command {
                Command::Put(put) => self.plan_put(&mut group, put),
                Command::Delete { unpins, reply } => self.plan_delete(&mut group, &unpins, reply),
                Command::MarkCorrupt { hash, place, reply } => self.plan_mark(&mut group, hash, place, reply),
                other => apart.push(other),
            }
        }
        // Its answers tell whoever asked.
        let _logged = self.commit(group);
        for command in apart {
            match command {
                Command::SetReported { hash, reply } => {
                    let _caller_gone =
                        reply.send(self.shared.index.set_reported(hash).map_err(StoreError::from));
                }
                Command::Compact { budget_bytes, reply } => {
                    let _caller_gone = reply.send(self.compact(budget_bytes));
                }
                Command::Checkpoint { reply } => {
                    let _caller_gone = reply.send(self.checkpoint_now());
                }
                Command::Put(_) | Command::Delete { .. } | Command::MarkCorrupt { .. } => {}
            }
        }
    }

    /// Makes sure that there is a log with room.
    pub(super) fn ready_log(&mut self) -> io::Result<()> {
        if self
            .active
            .as_ref()
            .is_some_and(|log| log.is_sound() && log.end < self.shared.config.log_bytes_max)
        {
            return Ok(());
        }
        let log = self.shared.logs.create(self.next_log)?;
        self.next_log =
            self.next_log.checked_add(1).ok_or_else(|| io::Error::other("log numbers are used up"))?;
        self.shared.index.change_ledger(|ledger| ledger.extend_to(log.log, log.end));
        self.active = Some(log);
        Ok(())
    }

    /// The number of the log that is appended to.
    pub(super) fn active_log(&self) -> Option<u32> {
        self.active.as_ref().map(|log| log.log)
    }

    pub(super) fn known(
        &self,
        group: &Group,
        hash: &PieceHash,
    ) -> Result<Option<Entry>, super::index::IndexError> {
        group.planned.get(hash).map_or_else(|| self.shared.index.get(hash), |planned| Ok(*planned))
    }

    /// Adds a record to the group and to the bytes that will be appended. [`Writer::ready_log`] has been called.
    pub(super) fn plan(&mut self, group: &mut Group, record: Record, content: &[u8], before: Option<Entry>) {
        let Some(active) = &self.active else { return };
        let end = active.end + self.buffer.len() as u64;
        // A log passes its limit (2 GiB at most) by one group (at most 1 GiB): the offset always fits.
        let place = Place { log: active.log, offset: u32::try_from(end).unwrap_or(u32::MAX) };
        self.buffer.extend_from_slice(&record.encode(self.shared.logs.salt(), place));
        self.buffer.extend_from_slice(content);
        let after = Entry::after(&record, place, before);
        let hash = record.body.hash();
        if [before, after].iter().flatten().any(|entry| entry.kind == Kind::Large) {
            group.filed.push(hash);
        }
        group.planned.insert(hash, after);
        group.changes.push(Change { record, place, before, after });
    }

    fn plan_put(&mut self, group: &mut Group, put: Put) {
        let Put { record, content, reservation, reply } = put;
        let before = match self.known(group, &record.body.hash()) {
            Ok(before) => before,
            Err(error) => {
                let _caller_gone = reply.send(Err(error.into()));
                return;
            }
        };
        if let Some(held) = before.filter(|entry| !entry.corrupt) {
            self.plan_again(group, record, content, held);
            // Answered with the group: the copy that is held may itself only become durable with it.
            group.answers.push(Answer::Put { reply, stored: Stored::AlreadyHeld, reservation });
            return;
        }
        match content {
            PutContent::Small(bytes, _permit) => {
                self.plan(group, record, &bytes, before);
                group.answers.push(Answer::Put { reply, stored: Stored::New, reservation });
            }
            PutContent::Large(tmp) => {
                self.plan(group, record, &[], before);
                let hash = record.body.hash();
                group.answers.push(Answer::Adopt { reply, hash, tmp, reservation });
            }
            // Deleted or damaged while it arrived: its bytes were not kept.
            PutContent::Held => drop(reply.send(Err(PutError::Busy))),
        }
    }

    /// Notes that a piece that is held was ordered here once more, so that an earlier order to delete it does not count.
    fn plan_again(&mut self, group: &mut Group, record: Record, content: PutContent, held: Entry) {
        if record.stored_at <= held.stored_at {
            return;
        }
        match (held.kind, content, record.body) {
            // The record of a small piece is the piece.
            (Kind::Small, PutContent::Small(bytes, _permit), _) => {
                self.plan(group, record, &bytes, Some(held));
            }
            (Kind::Large, _, Body::Large(_)) => self.plan(group, record, &[], Some(held)),
            _ => {}
        }
    }

    fn plan_delete(
        &mut self,
        group: &mut Group,
        unpins: &[PieceUnpin],
        reply: oneshot::Sender<Result<usize, StoreError>>,
    ) {
        let mut count = 0;
        for &PieceUnpin { hash, stored_before } in unpins {
            match self.known(group, &hash) {
                // Ordered here again since it was given up.
                Ok(Some(entry)) if entry.stored_at >= stored_before => {}
                Ok(Some(entry)) => {
                    let body = Body::Delete { hash, dead_log: entry.place.log };
                    let record = Record { body, data_len: 0, stored_at: entry.stored_at };
                    self.plan(group, record, &[], Some(entry));
                    count += 1;
                }
                Ok(None) => {}
                Err(error) => {
                    let _caller_gone = reply.send(Err(error.into()));
                    return;
                }
            }
        }
        group.answers.push(Answer::Delete { reply, count });
    }

    fn plan_mark(
        &mut self,
        group: &mut Group,
        hash: PieceHash,
        place: Place,
        reply: std::sync::mpsc::SyncSender<Result<bool, StoreError>>,
    ) {
        match self.known(group, &hash) {
            Ok(Some(entry)) if entry.place == place => {
                if !entry.corrupt {
                    tracing::error!(piece = %hash, "piece is damaged");
                    let Entry { data_len, stored_at, .. } = entry;
                    let record = Record { body: Body::Corrupt(hash), data_len, stored_at };
                    self.plan(group, record, &[], Some(entry));
                }
                group.answers.push(Answer::Mark(reply));
            }
            Ok(_) => {
                let _caller_gone = reply.send(Ok(false));
            }
            Err(error) => {
                let _caller_gone = reply.send(Err(error.into()));
            }
        }
    }

    /// Makes the group durable, takes it over and answers. After an error nothing of it is stored.
    pub(super) fn commit(&mut self, group: Group) -> io::Result<()> {
        let Group { changes, planned, answers, filed } = group;
        if let Err(error) = self.append(&answers) {
            tracing::error!(%error, records = changes.len(), "group cannot be written");
            for answer in answers {
                answer.fail(&error);
            }
            return Err(error);
        }
        let mut failed = Vec::new();
        let answers: Vec<_> =
            answers.into_iter().filter_map(|answer| self.adopt(answer, &mut failed)).collect();
        self.shared.index.apply(&changes);
        let is_large = |hash| {
            planned.get(hash).is_some_and(|entry| entry.is_some_and(|entry| entry.kind == Kind::Large))
        };
        for hash in filed.iter().filter(|hash| !is_large(hash)) {
            if let Err(error) = self.shared.large.remove(hash) {
                tracing::error!(piece = %hash, %error, "cannot remove the file of a piece");
            }
        }
        if !failed.is_empty() {
            self.take_back(failed);
        }
        for answer in answers {
            answer.send();
        }
        Ok(())
    }

    /// Appends the buffer and syncs; in any case the buffer is empty afterwards.
    fn append(&mut self, answers: &[Answer]) -> io::Result<()> {
        let appended = if self.buffer.is_empty() { Ok(()) } else { self.append_buffer(answers) };
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        appended
    }

    fn append_buffer(&mut self, answers: &[Answer]) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Err(io::Error::other("no log")) };
        if answers.iter().any(|answer| matches!(answer, Answer::Adopt { .. })) {
            self.shared.large.sync_tmp()?;
        }
        active.append(&self.buffer, &self.shared.logs.faults)?;
        self.bytes_since_checkpoint += self.buffer.len() as u64;
        Ok(())
    }

    /// Gives a large file its name, before any reader can look for it. A piece whose file cannot be moved is taken back.
    fn adopt(&self, answer: Answer, failed: &mut Vec<Failed>) -> Option<Answer> {
        let Answer::Adopt { reply, hash, tmp, reservation } = answer else { return Some(answer) };
        let moved =
            self.shared.logs.faults.check(Fault::Rename).and_then(|()| self.shared.large.adopt(tmp, &hash));
        match moved {
            Ok(()) => Some(Answer::Put { reply, stored: Stored::New, reservation }),
            Err(error) => {
                failed.push(Failed { hash, reply, error });
                None
            }
        }
    }

    /// Deletes pieces that were recorded but whose files did not get their names.
    fn take_back(&mut self, failed: Vec<Failed>) {
        let mut group = Group::default();
        let (reply, _nobody_waits) = oneshot::channel();
        let now_or_ever = UnixMillis(i64::MAX);
        let unpins: Vec<_> = failed
            .iter()
            .map(|failed| PieceUnpin { hash: failed.hash, stored_before: now_or_ever })
            .collect();
        let taken_back = self.ready_log().and_then(|()| {
            self.plan_delete(&mut group, &unpins, reply);
            self.commit(group)
        });
        if let Err(error) = taken_back {
            tracing::error!(%error, "pieces without a file stay recorded until they are read");
        }
        for Failed { reply, error, .. } in failed {
            let _caller_gone = reply.send(Err(error.into()));
        }
    }

    fn checkpoint_if_due(&mut self) {
        let config = &self.shared.config;
        let waiting = self.shared.index.waiting();
        if waiting < config.checkpoint_changes && self.bytes_since_checkpoint < config.checkpoint_bytes {
            return;
        }
        let running = self.checkpoint.as_ref().is_some_and(|running| !running.is_finished());
        // More than a few overlays must not pile up in memory: then the puts wait for the index.
        if running && waiting < config.checkpoint_changes.saturating_mul(4) {
            return;
        }
        if let Err(error) = self.finish_checkpoint() {
            tracing::error!(%error, "checkpoint failed and will be tried again");
        }
        self.start_checkpoint();
    }

    fn start_checkpoint(&mut self) {
        self.shared.index.freeze();
        self.bytes_since_checkpoint = 0;
        let shared = Arc::clone(&self.shared);
        let spawned =
            thread::Builder::new().name("piece-checkpoint".into()).spawn(move || shared.write_checkpoint());
        match spawned {
            Ok(thread) => self.checkpoint = Some(thread),
            Err(error) => tracing::error!(%error, "cannot start a checkpoint"),
        }
    }

    fn finish_checkpoint(&mut self) -> Result<(), StoreError> {
        match self.checkpoint.take().map(thread::JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(StoreError::Index(io::Error::other("checkpoint panicked"))),
        }
    }

    /// Writes everything up to now into the index file and waits for it.
    pub(super) fn checkpoint_now(&mut self) -> Result<(), StoreError> {
        if let Err(error) = self.finish_checkpoint() {
            tracing::warn!(%error, "checkpoint failed, trying again");
        }
        if self.shared.index.is_frozen() {
            self.shared.write_checkpoint()?;
        }
        self.shared.index.freeze();
        self.bytes_since_checkpoint = 0;
        self.shared.write_checkpoint()
    }
}

impl Answer {
    fn send(self) {
        match self {
            Self::Put { reply, stored, reservation } => {
                // The piece is counted by now; whoever hears the answer must not see its space taken twice.
                drop(reservation);
                drop(reply.send(Ok(stored)));
            }
            Self::Adopt { reply, .. } => drop(reply.send(Err(PutError::Closed))),
            Self::Delete { reply, count } => drop(reply.send(Ok(count))),
            Self::Mark(reply) => drop(reply.send(Ok(true))),
        }
    }

    fn fail(self, error: &io::Error) {
        match self {
            Self::Put { reply, reservation, .. } => {
                drop(reservation);
                drop(reply.send(Err(again(error).into())));
            }
            Self::Adopt { reply, reservation, tmp, .. } => {
                drop((reservation, tmp));
                drop(reply.send(Err(again(error).into())));
            }
            Self::Delete { reply, .. } => drop(reply.send(Err(again(error).into()))),
            Self::Mark(reply) => drop(reply.send(Err(again(error).into()))),
        }
    }
}

fn refuse(command: Command, error: &io::Error) {
    match command {
        Command::Put(put) => drop(put.reply.send(Err(again(error).into()))),
        Command::Delete { reply, .. } => drop(reply.send(Err(again(error).into()))),
        Command::MarkCorrupt { reply, .. } => drop(reply.send(Err(again(error).into()))),
        Command::SetReported { reply, .. } | Command::Checkpoint { reply } => {
            drop(reply.send(Err(again(error).into())));
        }
        Command::Compact { reply, .. } => drop(reply.send(Err(again(error).into()))),
    }
}

/// The same error for one more receiver.
fn again(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}
