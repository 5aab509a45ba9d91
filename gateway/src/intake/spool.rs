//! A body on the gateway's disk, for archives that are read from their ends. The file has no name, so nothing of it is left
//! when the process ends, however it ends.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::body::{Body, HttpBody as _};
use tokio::{
    io::{AsyncWriteExt as _, BufWriter},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{Intake, Source as _};
use crate::{config::UploadsConfig, upload::UploadError};

/// Bytes by which room on the disk is counted.
const UNIT: u64 = 1 << 20;
/// Bytes written at once.
const WRITE_BYTES: usize = 128 << 10;

/// Where bodies are put down, and the room for them.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    room: Arc<Semaphore>,
    /// How many are unpacked at once.
    unpackers: Arc<Semaphore>,
}

/// A body that is wholly there. Its room is given back with its last reader.
#[derive(Debug)]
pub(super) struct Spooled {
    file: File,
    pub(super) bytes: u64,
    is_abandoned: AtomicBool,
    _room: OwnedSemaphorePermit,
}

/// Whoever the body was put down for. Without him readers on other threads come to an end.
pub(super) struct SpooledFor(pub(super) Arc<Spooled>);

impl Drop for SpooledFor {
    fn drop(&mut self) {
        self.0.is_abandoned.store(true, Ordering::Relaxed);
    }
}

impl Spool {
    pub(crate) fn new(config: &UploadsConfig) -> Self {
        let units = usize::try_from(config.spool_bytes / UNIT).unwrap_or(usize::MAX);
        let units = units.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            dir: config.spool_dir.clone().unwrap_or_else(std::env::temp_dir),
            bytes_max: units as u64 * UNIT,
            room: Arc::new(Semaphore::new(units)),
            unpackers: Arc::new(Semaphore::new(config.unpackers_max)),
        }
    }

    /// Waits for a place among those who unpack.
    pub(super) async fn unpacker(&self) -> Result<OwnedSemaphorePermit, UploadError> {
        self.unpackers.clone().acquire_owned().await.map_err(|_| UploadError::SpoolFull)
    }

    async fn create(&self) -> io::Result<File> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || tempfile::tempfile_in(dir)).await.map_err(io::Error::other)?
    }

    /// Room for so many bytes.
    fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, UploadError> {
        if bytes > self.bytes_max {
            return Err(UploadError::BodyTooLarge(self.bytes_max));
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| UploadError::SpoolFull)?;
        self.room.clone().try_acquire_many_owned(units).map_err(|_| UploadError::SpoolFull)
    }

    /// Takes all room.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> OwnedSemaphorePermit {
        self.take(self.room.available_permits() as u64 * UNIT).unwrap()
    }

    /// Whether nobody has any of it.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.room.available_permits() as u64 * UNIT == self.bytes_max
    }
}

impl Spooled {
    /// Bytes from a place on, at most as many as there is room for.
    pub(super) fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if self.is_abandoned.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        self.file.read_at(buf, at)
    }

    /// So many bytes.
    pub(super) fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, at)
    }

    /// Bytes as if they had been put down.
    #[cfg(test)]
    pub(super) fn of(bytes: &[u8]) -> Arc<Self> {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (bytes, is_abandoned) = (bytes.len() as u64, AtomicBool::new(false));
        Arc::new(Self { file, bytes, is_abandoned, _room: room })
    }
}

impl Intake {
    /// Puts a body down whole. Room for one whose length is announced is taken before any of it is read.
    pub(super) async fn spool(&mut self, body: Body) -> Result<SpooledFor, UploadError> {
        let spool = self.gateway.spool.clone();
        let mut reserved = body.size_hint().exact().unwrap_or(UNIT);
        let mut room = spool.take(reserved)?;
        let file = spool.create().await.map_err(|error| spool_failed(&error))?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(WRITE_BYTES);
        let mut out = BufWriter::with_capacity(WRITE_BYTES, file);
        let mut body = body.into_data_stream();
        let mut bytes = 0;
        while let Some(next) = self.pace.wait(body.next()).await?? {
            self.pace.count(next.len())?;
            bytes += next.len() as u64;
            if bytes > reserved {
                let more = (bytes - reserved).next_multiple_of(UNIT);
                if reserved + more > spool.bytes_max {
                    return Err(UploadError::BodyTooLarge(spool.bytes_max));
                }
                room.merge(spool.take(more)?);
                reserved += more;
            }
            out.write_all(&next).await.map_err(|error| spool_failed(&error))?;
        }
        out.flush().await.map_err(|error| spool_failed(&error))?;
        let file = out.into_inner().into_std().await;
        let is_abandoned = AtomicBool::new(false);
        Ok(SpooledFor(Arc::new(Spooled { file, bytes, is_abandoned, _room: room })))
    }
}

/// The gateway's own disk fails: its operator is told, the client that it may try again.
pub(super) fn spool_failed(error: &io::Error) -> UploadError {
    tracing::error!(%error, "the spool of uploads fails");
    UploadError::SpoolFailed
}
