//! What readers and the writer share: the index, the ghosts and the files. Locked for moments, never over I/O.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use parking_lot::Mutex;

use super::{
    bounds::{Bounds, Load},
    counters::Counters,
    ghost::Ghost,
    index::{Index, Place},
    record::Line,
};

/// What all handles and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    /// See [`State`].
    pub(super) state: Mutex<State>,
    /// What happened so far.
    pub(super) counters: Counters,
    /// Bytes of blocks that wait for the writer.
    pub(super) queued_bytes: AtomicU64,
    /// Whether writing failed and has not been taken up again.
    pub(super) paused: AtomicBool,
}

impl Shared {
    /// Begins with `state`.
    pub(super) fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            counters: Counters::default(),
            queued_bytes: AtomicU64::new(0),
            paused: AtomicBool::new(false),
        }
    }
}

/// What to do with an offered block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Nothing: it is there.
    Present,
    /// Write it.
    Worthwhile,
    /// Write it if it is offered once more.
    NotYet,
}

/// The cache as it stands.
#[derive(Debug)]
pub(super) struct State {
    /// Where blocks are. Only files of `files` occur in it.
    index: Index,
    /// Blocks that were offered or evicted lately.
    pub(super) ghost: Ghost,
    /// All files, oldest first.
    files: Vec<Member>,
    /// Whether writing more costs blocks that are there.
    pub(super) full: bool,
}

/// A file and what it holds.
#[derive(Debug)]
struct Member {
    number: u32,
    file: Arc<File>,
    load: Load,
    /// Entries of the index that point here.
    live: usize,
}

impl State {
    /// Nothing, within `bounds`.
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            index: Index::new(bounds.records_max),
            ghost: Ghost::new(bounds.bytes_max, bounds.records_max),
            files: Vec::new(),
            full: false,
        }
    }

    /// Where a block is and the file to read it from; counts a read of it.
    pub(super) fn find(&mut self, key: u64) -> Option<(Place, Arc<File>)> {
        let place = self.index.touch(key)?;
        let member = self.files.iter().find(|member| member.number == place.file)?;
        Some((place, member.file.clone()))
    }

    /// Where a block is.
    pub(super) fn place(&self, key: u64) -> Option<Place> {
        self.index.get(key)
    }

    /// Whether an offered block is worth a write: either that costs nothing, or it was asked for lately. If not, it
    /// is remembered for the next time.
    pub(super) fn admit(&mut self, line: Line) -> Admission {
        if self.index.get(line.key).is_some() {
            return Admission::Present;
        }
        if !self.full || self.ghost.knows(line.key) {
            return Admission::Worthwhile;
        }
        self.ghost.remember(line.key, line.record_len());
        Admission::NotYet
    }

    /// Notes where a block is from now on. Without effect when the index is full, or the file unknown.
    pub(super) fn put(&mut self, key: u64, place: Place) {
        if !self.files.iter().any(|member| member.number == place.file) {
            return;
        }
        if let Ok(before) = self.index.insert(key, place) {
            if let Some(before) = before {
                self.count_live(before.file, false);
            }
            self.count_live(place.file, true);
        }
    }

    /// Forgets a block if it is still at `place`.
    pub(super) fn forget(&mut self, key: u64, place: Place) -> bool {
        let removed = self.index.remove(key, place);
        if removed {
            self.count_live(place.file, false);
        }
        removed
    }

    /// Forgets a block that cannot be read, and remembers that it is wanted.
    pub(super) fn forget_damaged(&mut self, key: u64, place: Place) {
        if self.forget(key, place) {
            self.ghost.remember(key, u64::from(place.len));
        }
    }

    fn count_live(&mut self, number: u32, more: bool) {
        if let Some(member) = self.files.iter_mut().find(|member| member.number == number) {
            member.live = if more { member.live + 1 } else { member.live.saturating_sub(1) };
        }
    }

    /// Adds a file, in its place by number.
    pub(super) fn add_file(&mut self, number: u32, file: Arc<File>, load: Load) {
        let at = self.files.partition_point(|member| member.number < number);
        self.files.insert(at, Member { number, file, load, live: 0 });
    }

    /// Notes what a file holds now.
    pub(super) fn set_load(&mut self, number: u32, load: Load) {
        if let Some(member) = self.files.iter_mut().find(|member| member.number == number) {
            member.load = load;
        }
    }

    /// The oldest file.
    pub(super) fn oldest(&self) -> Option<(u32, Arc<File>)> {
        self.files.first().map(|member| (member.number, member.file.clone()))
    }

    /// Takes a file out, with whatever entries still point to it.
    pub(super) fn remove_file(&mut self, number: u32) {
        let Some(at) = self.files.iter().position(|member| member.number == number) else { return };
        let member = self.files.remove(at);
        // Only when its records could not be listed any more is there something left to search for.
        if member.live > 0 {
            self.index.remove_file(number);
        }
    }

    /// What all files hold.
    pub(super) fn load(&self) -> Load {
        self.load_without(None)
    }

    /// What all files hold but the one numbered `open`.
    pub(super) fn load_without(&self, open: Option<u32>) -> Load {
        let others = self.files.iter().filter(|member| Some(member.number) != open);
        others.fold(Load::default(), |sum, member| sum.plus(member.load))
    }

    /// Number of blocks.
    pub(super) fn entries(&self) -> usize {
        self.index.len()
    }

    /// Number of files.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }
}
