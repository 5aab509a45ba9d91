//! Zip archives. What is in one is said at its end, so it is put down on the gateway's disk first (`spool`), its directory is
//! read (`directory`), and then its entries are unpacked one by one (`unpack`).

mod directory;
#[cfg(test)]
mod tests;
mod unpack;

use axum::body::Body;
use bytes::Bytes;
use content::unixfs::directory::SYMLINK_MAX;
use tokio::{sync::mpsc, task::JoinHandle};

use self::{
    directory::{Directory, Kind, ZipError},
    unpack::{Totals, Unpacked, totals, unpack},
};
use super::{
    Entry, Folder, Intake, Pace, Shape, Source, Uploaded,
    folder::{clean, is_hidden},
    spool::spool_failed,
};
use crate::upload::UploadError;

/// Chunks that are unpacked ahead.
const AHEAD: usize = 2;
/// Folder in which macOS keeps what is no content.
const MACOS_EXTRAS: &str = "__MACOSX";

/// An archive that is being unpacked.
struct Unpacking {
    coming: mpsc::Receiver<Unpacked>,
    thread: Option<JoinHandle<Result<(), ZipError>>>,
}

impl Unpacking {
    fn start(directory: Directory, keep_hidden: bool) -> Self {
        let (out, coming) = mpsc::channel(AHEAD);
        let thread =
            tokio::task::spawn_blocking(move || unpack(&directory, |path| is_kept(path, keep_hidden), &out));
        Self { coming, thread: Some(thread) }
    }

    async fn next(&mut self) -> Result<Option<Unpacked>, UploadError> {
        if let Some(next) = self.coming.recv().await {
            return Ok(Some(next));
        }
        match self.thread.take() {
            Some(thread) => ended(thread.await).map(|()| None),
            None => Ok(None),
        }
    }
}

/// Bytes of the entry that was last given out.
impl Source for Unpacking {
    async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        match Self::next(self).await? {
            Some(Unpacked::Bytes(bytes)) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }
}

impl Intake {
    /// The directory of all entries.
    pub(super) async fn zip(&mut self, body: Body, shape: &Shape) -> Result<Uploaded, UploadError> {
        let spooled = self.spool(body).await?;
        let _place = self.gateway.spool.unpacker().await?;
        let keep_hidden = shape.hidden.unwrap_or(false);
        let (archive, files_max) = (spooled.0.clone(), self.gateway.config.uploads.files_max);
        let opened = tokio::task::spawn_blocking(move || {
            let directory = Directory::open(archive)?;
            let totals = totals(&directory, files_max, |path| is_kept(path, keep_hidden))?;
            Ok((directory, totals))
        });
        let (directory, Totals { entries, bytes, left_out }) = ended(opened.await)?;
        if entries > files_max {
            return Err(UploadError::TooManyFiles(files_max));
        }
        self.gateway.refuse_about(&self.account, bytes).await?;
        // From here on what is unpacked counts, not what came.
        self.pace = Pace::new(&self.gateway.config.uploads);
        let mut unpacking = Unpacking::start(directory, keep_hidden);
        let mut folder = Folder::default();
        while let Some(next) = Unpacking::next(&mut unpacking).await? {
            let Unpacked::Entry { path, kind } = next else { continue };
            let path = clean(&path).to_string();
            self.count_entry()?;
            let entry = match kind {
                Kind::File => Entry::File(self.file(&mut unpacking).await?),
                Kind::Link => Entry::Link(self.text(&mut unpacking, SYMLINK_MAX).await?),
                Kind::Directory => {
                    self.skip(&mut unpacking).await?;
                    Entry::Directory
                }
                Kind::Special => {
                    return Err(UploadError::BadArchive(format!(
                        "{path:?} is neither a file, a directory nor a link"
                    )));
                }
            };
            if !path.is_empty() {
                self.keep(&mut folder, path, entry)?;
            }
        }
        self.unpacked(folder, shape, left_out).await
    }
}

fn is_kept(path: &str, keep_hidden: bool) -> bool {
    keep_hidden || !(is_hidden(clean(path)) || path.split('/').next() == Some(MACOS_EXTRAS))
}

/// What a thread came to that read an archive.
fn ended<T>(thread: Result<Result<T, ZipError>, tokio::task::JoinError>) -> Result<T, UploadError> {
    match thread {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(ZipError::Disk(error))) => Err(spool_failed(&error)),
        Ok(Err(error @ ZipError::Bad(_))) => {
            Err(UploadError::BadArchive(format!("the archive cannot be unpacked: {error}")))
        }
        Err(error) => Err(UploadError::NotStored(error.to_string())),
    }
}
