//! Giving a range of a piece with its proof. The store checks every byte before it hands it out.
//!
//! The disk is read on a blocking thread, a few parts ahead of the reader. The first part is waited for before the head
//! of the answer is sent, so that a piece that has gone bad is said to be bad.

use std::{io, ops::Range, sync::Arc, time::Duration};

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;
use futures_util::stream;
use protocol::{ids::PieceHash, proof};
use service::http::error::ApiError;
use tokio::{runtime::Handle, sync::mpsc};
use transfer::Pool;

use crate::{
    load::Pass,
    orders::LeaveError,
    piece_store::{PieceReader, PieceStore, ReadError},
    usage::{Charge, Exhausted, Leave, Usage},
};

/// Bytes of a slice that are handed over together. Less costs more changes between threads; a slice of the longest
/// window of a reader (4 MiB over eight pieces) is two parts.
const PART_BYTES: usize = 256 << 10;
/// The store gives up to this much at a time.
const STEP_BYTES_MAX: usize = 96 << 10;
/// Parts that wait for a reader, besides the one being filled and the one being sent.
const PARTS_AHEAD: usize = 1;
/// Slices up to this long are read at once, into memory of just their length.
const AT_ONCE_BYTES: u64 = 64 << 10;

/// Why a slice is not given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The store does not give it.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The order allows no such thing.
    #[error(transparent)]
    Leave(#[from] LeaveError),
    /// Something of ours failed.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl From<ServeError> for ApiError {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Leave(error) => error.into(),
            ServeError::Internal(error) => Self::internal(&error),
            ServeError::Store(error) => match &error {
                ReadError::NotFound(_) => Self::not_found("piece_not_found", error),
                // Gone for good as far as this node can tell: asking again does not help.
                ReadError::Corrupt(_) => Self::new(StatusCode::GONE, "piece_corrupt", error),
                ReadError::BadRange { .. } => {
                    Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "bad_range", error)
                }
                ReadError::Sink(source) | ReadError::Failed(source) => {
                    Self::internal(&anyhow::anyhow!("read a piece: {source}"))
                }
            },
        }
    }
}

impl From<Exhausted> for ServeError {
    fn from(Exhausted { left, wanted }: Exhausted) -> Self {
        Self::Leave(LeaveError::Exhausted { left, wanted })
    }
}

/// A slice on its way: its exact length and its bytes.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) len: u64,
    pub(crate) body: Body,
}

/// What is wanted of a piece: from `start` to `end`, or to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: Option<u64>,
}

/// What giving a slice takes up.
pub(crate) struct Means {
    /// A place among those that are served.
    pub(crate) pass: Pass,
    /// Buffers for its parts.
    pub(crate) pool: Pool,
    /// How long its reader may take nothing.
    pub(crate) idle: Duration,
}

/// Gives a part of a piece, counted under `leave`.
pub(crate) async fn serve(
    store: &Arc<dyn PieceStore>,
    usage: &Usage,
    leave: &Leave,
    hash: PieceHash,
    span: Span,
    Means { pass, pool, idle }: Means,
) -> Result<Slice, ServeError> {
    let (store, usage, leave) = (store.clone(), usage.clone(), leave.clone());
    let (parts, mut arriving) = mpsc::channel(PARTS_AHEAD);
    let (opened, opening) = tokio::sync::oneshot::channel();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let reading = open(store.as_ref(), &usage, &leave, hash, span);
        let (reader, range, charge) = match reading {
            Ok(reading) => reading,
            Err(error) => return drop(opened.send(Err(error))),
        };
        let len = proof::encoded_len(reader.piece_len(), &range);
        if opened.send(Ok(len)).is_err() {
            return;
        }
        let receiver = Receiver { parts, pool, runtime, idle };
        read(reader.as_ref(), range, len, charge, &receiver);
        drop(pass);
    });
    let len = opening.await.map_err(|error| anyhow::anyhow!("reading ended early: {error}"))??;
    let first = match arriving.recv().await {
        Some(part) => part?,
        None => return Err(anyhow::anyhow!("piece {hash}: nothing was read").into()),
    };
    let body = if first.len() as u64 == len {
        Body::from(first)
    } else {
        Body::from_stream(stream::unfold((Some(first), arriving), |(first, mut arriving)| async move {
            let part = match first {
                Some(first) => Ok(first),
                None => arriving.recv().await?,
            };
            Some((part, (None, arriving)))
        }))
    };
    Ok(Slice { len, body })
}

type Reading = (Box<dyn PieceReader>, Range<u64>, Charge);

/// Finds the piece and sets the bytes aside under its order.
fn open(
    store: &dyn PieceStore,
    usage: &Usage,
    leave: &Leave,
    hash: PieceHash,
    span: Span,
) -> Result<Reading, ServeError> {
    let reader = store.read(hash)?;
    let piece_len = reader.piece_len();
    let range = span.start..span.end.unwrap_or(piece_len);
    if range.start >= range.end || range.end > piece_len {
        return Err(ReadError::BadRange { hash, range, piece_len }.into());
    }
    let charge = usage.charge(leave, range.end - range.start)?;
    Ok((reader, range, charge))
}

/// Where the parts of a slice go.
struct Receiver {
    parts: mpsc::Sender<Result<Bytes, ReadError>>,
    pool: Pool,
    runtime: Handle,
    idle: Duration,
}

impl Receiver {
    /// Hands a part over; waits for a slow reader, but not for one that takes nothing at all.
    fn take(&self, part: Result<Bytes, ReadError>) -> io::Result<()> {
        let part = match self.parts.try_send(part) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(mpsc::error::TrySendError::Full(part)) => part,
        };
        let sent =
            self.runtime.block_on(async { tokio::time::timeout(self.idle, self.parts.send(part)).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Reads the slice to its end, or until the reader leaves or the piece proves to be damaged.
fn read(reader: &dyn PieceReader, range: Range<u64>, len: u64, mut charge: Charge, receiver: &Receiver) {
    let mut hand_over = |part: Bytes| {
        let part_len = part.len() as u64;
        metrics::counter!("pinstripe_piece_bytes_sent_total").increment(part_len);
        // Proofs are not paid: the charge ends with the bytes that were set aside.
        charge.served(part_len);
        receiver.take(Ok(part))
    };
    let outcome = if len <= AT_ONCE_BYTES {
        reader.slice_to_bytes(range).and_then(|slice| hand_over(slice).map_err(ReadError::Sink))
    } else {
        read_parts(reader, range, &receiver.pool, &mut hand_over)
    };
    let outcome = match outcome {
        Ok(()) => "given",
        Err(ReadError::Sink(error)) => {
            tracing::debug!(piece = %reader.meta().hash, %error, "reader left");
            "left"
        }
        Err(error) => {
            tracing::warn!(piece = %reader.meta().hash, %error, "slice not given");
            // Before it is said: whoever asks again at once has all that the order allows.
            drop(charge);
            // Nobody listens any more when the reader has left too.
            let _ = receiver.take(Err(error));
            "failed"
        }
    };
    metrics::counter!("pinstripe_slices_total", "outcome" => outcome).increment(1);
}

/// Hands a long slice over in parts of about [`PART_BYTES`].
fn read_parts(
    reader: &dyn PieceReader,
    range: Range<u64>,
    pool: &Pool,
    hand_over: &mut dyn FnMut(Bytes) -> io::Result<()>,
) -> Result<(), ReadError> {
    let fresh = || pool.take(PART_BYTES + STEP_BYTES_MAX);
    let mut part = fresh();
    reader.slice(range, &mut |step| {
        part.vec().extend_from_slice(&step);
        if part.as_ref().len() < PART_BYTES {
            return Ok(());
        }
        hand_over(std::mem::replace(&mut part, fresh()).freeze())
    })?;
    if part.as_ref().is_empty() { Ok(()) } else { hand_over(part.freeze()).map_err(ReadError::Sink) }
}
