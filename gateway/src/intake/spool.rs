//! A body on the gateway's disk, for archives that are read from their ends. The file has no name, so nothing of it is left
//! when the process ends, however it ends.

use std::{fs::File, io, path::PathBuf, sync::Arc};

use axum::body::Body;
use tokio::{
    io::{AsyncWriteExt as _, BufWriter},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{Intake, Source as _};
use crate::{config::UploadsConfig, upload::UploadError};

/// Bytes by which room on the disk is counted.
const UNIT: u64 = 1 << 20;
/// Bytes written at once.
const WRITE_BYTES: usize = 512 << 10;

/// Where bodies are put down, and the room for them.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    room: Arc<Semaphore>,
}

/// A body that is wholly there. Its room is given back when it is dropped.
pub(super) struct Spooled {
    pub(super) file: Arc<File>,
    pub(super) bytes: u64,
    pub(super) room: OwnedSemaphorePermit,
}

impl Spool {
    pub(crate) fn new(config: &UploadsConfig) -> Self {
        let bytes_max = config.spool_bytes;
        let units = usize::try_from(bytes_max / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let dir = config.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
        Self { dir, bytes_max, room: Arc::new(Semaphore::new(units)) }
    }

    async fn create(&self) -> io::Result<File> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || tempfile::tempfile_in(dir)).await.map_err(io::Error::other)?
    }

    /// Takes all room.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> OwnedSemaphorePermit {
        let units = u32::try_from(self.room.available_permits()).unwrap();
        self.room.clone().try_acquire_many_owned(units).unwrap()
    }

    fn take(&self) -> Result<OwnedSemaphorePermit, UploadError> {
        self.room.clone().try_acquire_owned().map_err(|_| UploadError::SpoolFull)
    }
}

impl Intake {
    /// Puts a body down whole.
    pub(super) async fn spool(&mut self, body: Body) -> Result<Spooled, UploadError> {
        let spool = self.gateway.spool.clone();
        let mut room = spool.take()?;
        let file = spool.create().await.map_err(|error| spool_failed(&error))?;
        let mut out = BufWriter::with_capacity(WRITE_BYTES, tokio::fs::File::from_std(file));
        let mut body = body.into_data_stream();
        let mut bytes = 0;
        while let Some(next) = self.pace.wait(body.next()).await?? {
            self.pace.count(next.len())?;
            bytes += next.len() as u64;
            if bytes > spool.bytes_max {
                return Err(UploadError::BodyTooLarge(spool.bytes_max));
            }
            while bytes > room.num_permits() as u64 * UNIT {
                room.merge(spool.take()?);
            }
            out.write_all(&next).await.map_err(|error| spool_failed(&error))?;
        }
        out.flush().await.map_err(|error| spool_failed(&error))?;
        let file = Arc::new(out.into_inner().into_std().await);
        Ok(Spooled { file, bytes, room })
    }
}

/// The gateway's own disk fails: its operator is told, the client that it may try again.
pub(super) fn spool_failed(error: &io::Error) -> UploadError {
    tracing::error!(%error, "the spool of uploads fails");
    UploadError::SpoolFailed
}
