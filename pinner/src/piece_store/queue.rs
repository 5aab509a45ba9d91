//! The queue in front of the writer: bounded, filled from async and blocking code alike, emptied a group at a time.

use std::{collections::VecDeque, sync::mpsc::SyncSender};

use parking_lot::{Condvar, Mutex};
use protocol::{ids::PieceHash, unpin::PieceUnpin};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    CompactProgress, Stored,
    errors::{PutError, StoreError},
    large::TmpFile,
    record::{Place, Record},
    space::Reservation,
};

/// A piece that has arrived whole and is to become part of the store.
pub(super) struct Put {
    pub(super) record: Record,
    pub(super) content: PutContent,
    /// Holds the space until the piece is counted; none for a piece that is held.
    pub(super) reservation: Option<Reservation>,
    pub(super) reply: oneshot::Sender<Result<Stored, PutError>>,
}

/// The bytes of a put.
pub(super) enum PutContent {
    /// Data and outboard, and the leave to hold them in memory.
    Small(Vec<u8>, OwnedSemaphorePermit),
    /// A finished file in `tmp/`.
    Large(TmpFile),
    /// Nothing: the piece was held when its first byte arrived.
    Held,
}

/// Something for the writer to do.
pub(super) enum Command {
    Put(Put),
    Delete {
        unpins: Vec<PieceUnpin>,
        reply: oneshot::Sender<Result<usize, StoreError>>,
    },
    /// Marks the piece if its record is still this one; answers whether it was.
    MarkCorrupt {
        hash: PieceHash,
        place: Place,
        reply: SyncSender<Result<bool, StoreError>>,
    },
    SetReported {
        hash: PieceHash,
        reply: SyncSender<Result<(), StoreError>>,
    },
    Checkpoint {
        reply: SyncSender<Result<(), StoreError>>,
    },
    Compact {
        budget_bytes: u64,
        reply: SyncSender<Result<CompactProgress, StoreError>>,
    },
}

impl Command {
    /// Bytes that it adds to the log, about.
    fn cost(&self) -> u64 {
        match self {
            Self::Put(put) => put.record.len_in_log(),
            Self::Delete { unpins, .. } => 96 * unpins.len() as u64,
            _ => 96,
        }
    }
}

/// Why a command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

impl From<Refused> for PutError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Busy,
            Refused::Closed => Self::Closed,
        }
    }
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Busy,
            Refused::Closed => Self::Closed,
        }
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Command>,
    closed: bool,
}

pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    len_max: usize,
}

impl Queue {
    pub(super) fn new(len_max: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), len_max }
    }

    /// Never waits.
    pub(super) fn push(&self, command: Command) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.waiting.len() >= self.len_max {
            return Err(Refused::Full);
        }
        state.waiting.push_back(command);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for something to do and takes all of it, up to about `cost_max` bytes of log. Empty once closed and drained.
    pub(super) fn take_group(&self, cost_max: u64) -> Vec<Command> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && !state.closed {
            self.filled.wait(&mut state);
        }
        let mut group = Vec::new();
        let mut cost = 0;
        while cost < cost_max
            && let Some(command) = state.waiting.pop_front()
        {
            cost += command.cost();
            group.push(command);
        }
        group
    }

    /// Refuses further commands; those that wait are still done.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }
}
