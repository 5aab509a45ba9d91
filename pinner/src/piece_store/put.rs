//! One piece on its way into a store on disk.
//!
//! A small piece is gathered in memory and handed to the writer whole. A large one is hashed and written on blocking
//! threads while it arrives, a batch at a time: one batch is being written while the next is gathered, and more does not
//! wait in memory.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use protocol::{piece::PieceMeta, time::UnixMillis};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    task::{JoinHandle, spawn_blocking},
};

use super::{
    PutError, PutPiece, Stored,
    disk::{Shared, checked_len},
    large::LargeWriter,
    ledger::{Entry, Kind},
    outboard::{OutboardBuilder, hash_piece},
    queue::{Command, Put, PutContent},
    record::{Body, Place, Record, outboard_len},
    space::Reservation,
};

/// How much of a large piece is gathered before it is hashed and written.
const BATCH_LEN: usize = 256 * 1024;

pub(super) struct DiskPut {
    shared: Arc<Shared>,
    meta: PieceMeta,
    piece_len: u32,
    now: UnixMillis,
    taken: u64,
    body: PutBody,
}

enum PutBody {
    /// Held already: only checked.
    Held(OutboardBuilder),
    Small {
        bytes: Vec<u8>,
        permit: Option<OwnedSemaphorePermit>,
        reservation: Reservation,
    },
    Large {
        files: LargePut,
        reservation: Reservation,
    },
}

/// The writing of a large piece: the batch being gathered and the one being written.
struct LargePut {
    batch: Vec<Bytes>,
    batch_len: usize,
    writing: Option<JoinHandle<Result<LargeWriter, PutError>>>,
    idle: Option<LargeWriter>,
}

impl DiskPut {
    pub(super) fn begin(shared: &Arc<Shared>, meta: PieceMeta, now: UnixMillis) -> Result<Self, PutError> {
        let piece_len = checked_len(&meta)?;
        let held = shared.index.get(&meta.hash)?.filter(|entry| !entry.corrupt);
        let is_small = u64::from(piece_len) <= shared.config.small_len_max;
        // The record of a small piece is written anew with its new time; its bytes are needed for that.
        let is_kept = held.is_some_and(|entry| entry.kind == Kind::Large || entry.stored_at >= now);
        let body = if is_kept {
            PutBody::Held(OutboardBuilder::new(u64::from(piece_len)))
        } else {
            let kind = if is_small { Kind::Small } else { Kind::Large };
            let place = Place::default();
            let entry =
                Entry { kind, place, data_len: piece_len, stored_at: now, corrupt: false, reported: false };
            let reservation = shared
                .space
                .reserve(entry.used_bytes(), || shared.index.ledger(super::ledger::Ledger::occupied_bytes))?;
            if is_small {
                PutBody::Small { bytes: Vec::new(), permit: None, reservation }
            } else {
                let files = LargePut { batch: Vec::new(), batch_len: 0, writing: None, idle: None };
                PutBody::Large { files, reservation }
            }
        };
        Ok(Self { shared: Arc::clone(shared), meta, piece_len, now, taken: 0, body })
    }

    async fn take(&mut self, part: Bytes) -> Result<(), PutError> {
        self.taken += part.len() as u64;
        if self.taken > u64::from(self.piece_len) {
            return Err(PutError::WrongLength { hash: self.meta.hash });
        }
        match &mut self.body {
            PutBody::Held(builder) => {
                builder.update(&part).map_err(|_| PutError::WrongLength { hash: self.meta.hash })
            }
            PutBody::Small { bytes, permit, .. } => {
                if permit.is_none() {
                    let wanted = self.piece_len + outboard_len(self.piece_len);
                    // Every small piece fits, by the check of the configuration.
                    let wanted = wanted
                        .min(u32::try_from(self.shared.config.small_puts_bytes_max).unwrap_or(u32::MAX));
                    let granted = Arc::clone(&self.shared.small_puts).acquire_many_owned(wanted).await;
                    *permit = Some(granted.map_err(|_| PutError::Closed)?);
                    bytes.reserve_exact((self.piece_len + outboard_len(self.piece_len)) as usize);
                }
                bytes.extend_from_slice(&part);
                Ok(())
            }
            PutBody::Large { files, .. } => files.take(&self.shared, self.meta, self.piece_len, part).await,
        }
    }

    async fn finish(self) -> Result<Stored, PutError> {
        let Self { shared, meta, piece_len, now, taken, body } = self;
        if taken != u64::from(piece_len) {
            return Err(PutError::WrongLength { hash: meta.hash });
        }
        let (record, content, reservation) = match body {
            PutBody::Held(builder) => {
                let found = builder
                    .finish()
                    .map(|(hash, _)| hash)
                    .ok_or(PutError::WrongLength { hash: meta.hash })?;
                if found != meta.hash {
                    return Err(PutError::WrongHash { expected: meta.hash, found });
                }
                let record = Record { body: Body::Large(meta), data_len: piece_len, stored_at: now };
                (record, PutContent::Held, None)
            }
            PutBody::Small { mut bytes, permit, reservation } => {
                let (found, outboard) =
                    hash_piece(&bytes).ok_or(PutError::WrongLength { hash: meta.hash })?;
                if found != meta.hash {
                    return Err(PutError::WrongHash { expected: meta.hash, found });
                }
                bytes.extend_from_slice(&outboard);
                let record = Record { body: Body::Small(meta), data_len: piece_len, stored_at: now };
                let permit = permit.ok_or(PutError::WrongLength { hash: meta.hash })?;
                (record, PutContent::Small(bytes, permit), Some(reservation))
            }
            PutBody::Large { files, reservation } => {
                let (record, tmp) = files.finish(&shared, meta, piece_len, now).await?;
                (record, PutContent::Large(tmp), Some(reservation))
            }
        };
        let (reply, answer) = oneshot::channel();
        shared.queue.push(Command::Put(Put { record, content, reservation, reply }))?;
        answer.await.unwrap_or(Err(PutError::Closed))
    }
}

impl LargePut {
    async fn take(
        &mut self,
        shared: &Arc<Shared>,
        meta: PieceMeta,
        len: u32,
        part: Bytes,
    ) -> Result<(), PutError> {
        self.batch_len += part.len();
        self.batch.push(part);
        if self.batch_len < BATCH_LEN {
            return Ok(());
        }
        let writer = self.writer().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batch_len = 0;
        let shared = Arc::clone(shared);
        self.writing = Some(spawn_blocking(move || write_batch(&shared, meta, len, writer, &batch)));
        Ok(())
    }

    /// Waits for the batch that is being written. `None` before the first.
    async fn writer(&mut self) -> Result<Option<LargeWriter>, PutError> {
        // Awaited in place, so that nothing is lost if this future is dropped.
        if let Some(writing) = &mut self.writing {
            let written = writing.await.map_err(|error| PutError::Failed(std::io::Error::other(error)));
            self.writing = None;
            self.idle = Some(written??);
        }
        Ok(self.idle.take())
    }

    async fn finish(
        mut self,
        shared: &Arc<Shared>,
        meta: PieceMeta,
        len: u32,
        now: UnixMillis,
    ) -> Result<(Record, super::large::TmpFile), PutError> {
        let writer = self.writer().await?;
        let shared = Arc::clone(shared);
        let last = spawn_blocking(move || write_batch(&shared, meta, len, writer, &self.batch)?.finish(now));
        last.await.map_err(|error| PutError::Failed(std::io::Error::other(error)))?
    }
}

fn write_batch(
    shared: &Shared,
    meta: PieceMeta,
    len: u32,
    writer: Option<LargeWriter>,
    batch: &[Bytes],
) -> Result<LargeWriter, PutError> {
    let mut writer = match writer {
        Some(writer) => writer,
        None => LargeWriter::create(&shared.large, meta, u64::from(len))?,
    };
    batch.iter().try_for_each(|part| writer.write(part))?;
    Ok(writer)
}

impl PutPiece for DiskPut {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), PutError>> {
        self.take(bytes).boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Stored, PutError>> {
        (*self).finish().boxed()
    }
}
