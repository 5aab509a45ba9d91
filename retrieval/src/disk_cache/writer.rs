//! The one thread that writes: appends admitted blocks, starts new files, drops the oldest, carries what was read.
//!
//! It alone creates, changes and removes files. When the disk refuses, it pauses: blocks are dropped until some
//! time has passed and one of them is tried again. Readers notice nothing of that.

use std::{
    fs, io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{
    block_file::{self, Disk, OpenFile},
    bounds::{Bounds, Load},
    carry::{Carry, share_due},
    counters::Event,
    index::Place,
    locked_dir::LockedDir,
    record::Line,
    recover::Recovered,
    state::Shared,
};

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Write a block.
    Store(Line, Bytes),
    /// Say when everything before was dealt with.
    Flush(oneshot::Sender<()>),
    /// Finish and let go of the directory.
    Close(oneshot::Sender<()>),
}

/// Entries of a dropped file that are forgotten under one lock.
const FORGET_AT_ONCE: usize = 1024;

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    dir: LockedDir,
    bounds: Bounds,
    disk: Disk,
    retry_after: Duration,
    open: Option<OpenFile>,
    /// What was written into the open file since it is open, apart from what was carried.
    fresh: Load,
    carry: Option<Carry>,
    next_number: u32,
    paused_at: Option<Instant>,
}

impl Writer {
    /// Goes on from what was recovered; returns what it shares with readers too.
    pub(super) fn new(
        dir: LockedDir,
        bounds: Bounds,
        disk: Disk,
        retry_after: Duration,
        recovered: Recovered,
    ) -> (Self, Arc<Shared>) {
        let Recovered { state, open, next_number } = recovered;
        let shared = Arc::new(Shared::new(state));
        let mut writer = Self {
            shared: shared.clone(),
            dir,
            bounds,
            disk,
            retry_after,
            open,
            fresh: Load::default(),
            carry: None,
            next_number,
            paused_at: None,
        };
        if writer.open.is_some() {
            writer.plan_carry();
        }
        (writer, shared)
    }

    /// Works until it is closed or every handle is gone.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut closing = None;
        while let Some(job) = jobs.blocking_recv() {
            match job {
                Job::Store(line, bytes) => {
                    self.store(line, &bytes);
                    self.shared.queued_bytes.fetch_sub(u64::from(line.len), Ordering::Relaxed);
                }
                // Whoever asked may have stopped waiting.
                Job::Flush(done) => {
                    let _ = done.send(());
                }
                Job::Close(done) => {
                    closing = Some(done);
                    break;
                }
            }
        }
        if let Some(open) = self.open.take() {
            self.finish(&open);
        }
        // The lock goes with `self`, and only then may others be told.
        drop(self);
        drop(jobs);
        let _ = closing.map(|done| done.send(()));
    }

    fn store(&mut self, line: Line, bytes: &[u8]) {
        if self.paused_at.is_some_and(|since| since.elapsed() < self.retry_after) {
            return self.shared.counters.count(Event::Dropped);
        }
        if self.shared.state.lock().place(line.key).is_some() {
            return;
        }
        let stored = self.append_fresh(line, bytes);
        self.shared.counters.count(if stored.is_ok() { Event::Admitted } else { Event::Failed });
        match stored.and_then(|()| self.carry_on()) {
            Ok(()) => self.unpause(),
            Err(error) => self.pause(&error),
        }
        let (load, entries) = {
            let state = self.shared.state.lock();
            (state.load(), state.entries())
        };
        metrics::gauge!("pinstripe_disk_cache_bytes").set(load.bytes as f64);
        metrics::gauge!("pinstripe_disk_cache_entries").set(entries as f64);
    }

    fn append_fresh(&mut self, line: Line, bytes: &[u8]) -> io::Result<()> {
        if !self.has_space(line) {
            self.roll()?;
        }
        self.append(line, bytes, 0)?;
        self.fresh = self.fresh.plus(Load { bytes: line.record_len(), records: 1 });
        Ok(())
    }

    fn has_space(&self, line: Line) -> bool {
        self.open.as_ref().is_some_and(|open| self.bounds.fits(open.end, open.lines.len(), line))
    }

    /// Writes a record into the open file, then lets readers find it.
    fn append(&mut self, line: Line, bytes: &[u8], touched: u8) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Err(io::Error::other("no file is open")) };
        let offset = open.append(&self.disk, line, bytes)?;
        let mut state = self.shared.state.lock();
        state.set_load(open.number, Load { bytes: open.end, records: open.lines.len() });
        state.put(line.key, Place { file: open.number, offset, len: line.len, touched });
        Ok(())
    }

    /// Closes the open file and starts another, dropping the oldest ones to make room for it.
    fn roll(&mut self) -> io::Result<()> {
        if let Some(open) = self.open.take() {
            self.finish(&open);
        }
        self.dir.check()?;
        while let Some(oldest) = self.one_too_many() {
            self.drop_file(oldest)?;
        }
        let number = self.next_number;
        if number > block_file::NUMBER_MAX {
            return Err(io::Error::other("the disk cache ran out of file numbers"));
        }
        self.next_number += 1;
        let open = OpenFile::create(self.dir.path(), number)?;
        self.shared.state.lock().add_file(number, open.file.clone(), Load::default());
        self.open = Some(open);
        self.fresh = Load::default();
        self.plan_carry();
        Ok(())
    }

    /// Ends a file with its list. If that fails the file goes without, and is scanned at the next start.
    fn finish(&self, open: &OpenFile) {
        match open.finish(&self.disk) {
            Ok(bytes) => {
                self.shared.state.lock().set_load(open.number, Load { bytes, records: open.lines.len() });
            }
            Err(error) => {
                tracing::debug!(file = open.number, %error, "a file of the disk cache is left without its list");
                cut(open);
            }
        }
    }

    /// The oldest file, if there is no room for another one beside all there are.
    fn one_too_many(&self) -> Option<u32> {
        let state = self.shared.state.lock();
        let (oldest, _) = state.oldest()?;
        (!self.bounds.has_room(state.load(), 1)).then_some(oldest)
    }

    /// Removes a file. Its blocks are forgotten, but remembered as worth a write should they be asked for again.
    fn drop_file(&mut self, number: u32) -> io::Result<()> {
        match fs::remove_file(block_file::path(self.dir.path(), number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let lines = match self.carry.take_if(|carry| carry.number == number) {
            Some(carry) => carry.lines,
            None => self.lines_of_oldest(),
        };
        let mut offset = 0;
        for some in lines.chunks(FORGET_AT_ONCE) {
            let mut state = self.shared.state.lock();
            for line in some {
                if state.forget(line.key, Place { file: number, offset, len: line.len, touched: 0 }) {
                    state.ghost.remember(line.key, line.record_len());
                }
                offset += line.record_len();
            }
        }
        self.shared.state.lock().remove_file(number);
        Ok(())
    }

    /// Records of the oldest file; none if they cannot be read, which costs a search through the whole index later.
    fn lines_of_oldest(&self) -> Vec<Line> {
        let oldest = self.shared.state.lock().oldest();
        let contents =
            oldest.map(|(number, file)| block_file::contents(&file, number, self.bounds.records_max));
        contents.and_then(Result::ok).map_or_else(Vec::new, |contents| contents.lines)
    }

    /// Looks out which file will be dropped for the next one, if any: from here on, space costs something.
    fn plan_carry(&mut self) {
        let open = self.open.as_ref().map(|open| open.number);
        let mut state = self.shared.state.lock();
        // The open file counts as a full one, whatever is in it by now.
        state.full = !self.bounds.has_room(state.load_without(open), 2);
        let oldest = state.oldest().filter(|(number, _)| state.full && Some(*number) != open);
        drop(state);
        self.carry =
            oldest.map(|(number, file)| Carry::new(number, file, self.lines_of_oldest(), &self.bounds));
    }

    /// Carries what was read out of the oldest file, as far as that is due.
    fn carry_on(&mut self) -> io::Result<()> {
        let share = share_due(self.fresh, &self.bounds);
        while let Some((line, offset, carry)) = self
            .carry
            .as_mut()
            .and_then(|carry| carry.next(share).map(|(line, offset)| (line, offset, carry)))
        {
            let place = self.shared.state.lock().place(line.key);
            let is_here = |place: &Place| (place.file, place.offset) == (carry.number, offset);
            let Some(place) = place.filter(|place| is_here(place) && place.touched > 0) else { continue };
            if !carry.spend(line) {
                continue;
            }
            let Ok(bytes) = block_file::read(&carry.file, place) else {
                self.shared.state.lock().forget_damaged(line.key, place);
                continue;
            };
            if !self.has_space(line) {
                continue;
            }
            self.append(line, &bytes, place.touched - 1)?;
            self.shared.counters.count(Event::Carried);
        }
        Ok(())
    }

    fn pause(&mut self, error: &io::Error) {
        if self.paused_at.is_none() {
            tracing::warn!(path = %self.dir.path().display(), %error, "the disk cache takes no more blocks for now");
        }
        self.paused_at = Some(Instant::now());
        self.shared.paused.store(true, Ordering::Relaxed);
        if let Some(open) = &self.open {
            cut(open);
        }
    }

    fn unpause(&mut self) {
        if self.paused_at.take().is_some() {
            tracing::info!(path = %self.dir.path().display(), "the disk cache takes blocks again");
            self.shared.paused.store(false, Ordering::Relaxed);
        }
    }
}

/// Cuts off what a failed write left behind. If even that fails, the next record or the next scan deals with it.
fn cut(open: &OpenFile) {
    if let Err(error) = open.cut() {
        tracing::debug!(file = open.number, %error, "a file of the disk cache cannot be cut");
    }
}
