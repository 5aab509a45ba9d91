//! Tar archives, unpacked while they arrive. Entries keep their names; owners, modes and times are no part of the content.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio_tar::{Archive, EntryType};
use tokio_util::io::StreamReader;

use super::{
    Entry, Folder, Intake, Root, Shape, Source, Uploaded,
    folder::{clean, is_hidden},
};
use crate::upload::UploadError;

/// Bytes of names and attributes in front of one entry, at most: the reader of archives keeps them in memory.
const HEAD_MAX: u64 = 1 << 20;
/// Bytes taken from an entry at once.
const READ_BYTES: usize = 128 << 10;

/// What is known of a body from outside, while an archive reads it.
#[derive(Debug, Default)]
struct Meter {
    /// Bytes that it may still give.
    left: AtomicU64,
    /// Whether its end was seen.
    ended: AtomicBool,
}

/// A body that gives so many bytes and then fails, until it may give more.
struct Metered<R> {
    inner: R,
    meter: Arc<Meter>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Metered<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let read = (buf.filled().len() - before) as u64;
        let left = self.meter.left.load(Ordering::Relaxed);
        if read == 0 && buf.remaining() > 0 {
            self.meter.ended.store(true, Ordering::Relaxed);
        }
        if read > left {
            return Poll::Ready(Err(io::Error::other(format!(
                "names and attributes of more than {HEAD_MAX} bytes in front of an entry"
            ))));
        }
        self.meter.left.store(left - read, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// The body failed, not what is in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BodyFailed(String);

struct EntrySource<'a, R: AsyncRead + Unpin> {
    entry: &'a mut R,
    /// Bytes that are due.
    left: u64,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin + Send> Source for EntrySource<'_, R> {
    async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        self.buffer.reserve(READ_BYTES);
        let read = self.entry.read_buf(&mut self.buffer).await.map_err(|error| archive_error(&error))?;
        if read == 0 && self.left > 0 {
            return Err(UploadError::BodyIncomplete("the archive ends inside an entry".into()));
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok((read > 0).then(|| self.buffer.split().freeze()))
    }
}

impl Intake {
    /// The directory of all entries.
    pub(super) async fn tar(&mut self, body: Body, shape: &Shape) -> Result<Uploaded, UploadError> {
        let bytes = body.into_data_stream().map_err(|error| io::Error::other(BodyFailed(error.to_string())));
        let meter = Arc::new(Meter::default());
        let mut archive = Archive::new(Metered { inner: StreamReader::new(bytes), meter: meter.clone() });
        let mut entries = archive.entries().map_err(|error| archive_error(&error))?;
        let (mut folder, mut left_out) = (Folder::default(), 0);
        // What hard links may lead to.
        let mut files: HashMap<String, Root> = HashMap::new();
        loop {
            meter.left.store(HEAD_MAX, Ordering::Relaxed);
            let Some(entry) = self.pace.wait(entries.next()).await? else { break };
            let mut entry = entry.map_err(|error| archive_error(&error))?;
            meter.left.store(u64::MAX, Ordering::Relaxed);
            self.count_entry()?;
            let kind = entry.header().entry_type();
            let path = path_text(&entry.path_bytes().map_err(|error| archive_error(&error))?)?;
            let link = entry.link_name_bytes().map_err(|error| archive_error(&error))?;
            let link = link.map(|link| path_text(&link)).transpose()?;
            let length = entry.effective_size();
            let mut source = EntrySource { entry: &mut entry, left: length, buffer: BytesMut::new() };
            let path = clean(&path);
            let hidden = !shape.hidden.unwrap_or(false) && is_hidden(path);
            if hidden || path.is_empty() {
                left_out += usize::from(hidden);
                self.skip(&mut source).await?;
                continue;
            }
            let entry = match kind {
                EntryType::GNUSparse => {
                    return Err(UploadError::BadArchive(format!(
                        "{path:?} is a sparse file, which is not unpacked"
                    )));
                }
                EntryType::Regular | EntryType::Continuous => {
                    let file = self.file(&mut source).await?;
                    files.insert(path.to_string(), file.clone());
                    Entry::File(file)
                }
                EntryType::Link => {
                    let to = link.unwrap_or_default();
                    let file = files.get(clean(&to)).ok_or_else(|| {
                        UploadError::BadArchive(format!(
                            "{path:?} is a hard link to {to:?}, which was not there before"
                        ))
                    })?;
                    Entry::File(file.clone())
                }
                EntryType::Symlink => Entry::Link(link.unwrap_or_default()),
                EntryType::Directory => Entry::Directory,
                _ => {
                    return Err(UploadError::BadArchive(format!(
                        "{path:?} is neither a file, a directory nor a link"
                    )));
                }
            };
            self.keep(&mut folder, path.to_string(), entry)?;
        }
        if meter.ended.load(Ordering::Relaxed) {
            // Two blocks of zeros are the end; without them it may have been cut off between two entries.
            return Err(UploadError::BodyIncomplete("the archive has no end".into()));
        }
        meter.left.store(u64::MAX, Ordering::Relaxed);
        drop(entries);
        if let Ok(mut padding) = archive.into_inner() {
            self.skip(&mut EntrySource { entry: &mut padding, left: 0, buffer: BytesMut::new() }).await?;
        }
        self.unpacked(folder, shape, left_out).await
    }
}

fn path_text(bytes: &[u8]) -> Result<String, UploadError> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| UploadError::BadPath("a name in the archive is not UTF-8".into()))?;
    Ok(text.to_string())
}

fn archive_error(error: &io::Error) -> UploadError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<BodyFailed>()) {
        Some(failed) => UploadError::BodyIncomplete(failed.to_string()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            UploadError::BodyIncomplete("the archive ends too early".into())
        }
        None => UploadError::BadArchive(format!("the archive cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parts of a path without the dots in front and the slashes behind.
    fn slow(path: &str) -> String {
        let mut parts: Vec<&str> = path.split('/').collect();
        while parts.len() > 1 && parts[0] == "." {
            parts.remove(0);
        }
        while parts.last() == Some(&"") {
            parts.pop();
        }
        if parts == ["."] { String::new() } else { parts.join("/") }
    }

    proptest! {
        #[test]
        fn paths_lose_what_stands_for_nothing_and_no_more(path in prop_oneof!["[./a]{0,9}", any::<String>()]) {
            prop_assert_eq!(clean(&path), slow(&path));
        }
    }
}
