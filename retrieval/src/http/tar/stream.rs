//! The entries of a TAR archive, one after another.
//!
//! Names come from whoever made the directories and may be anything. In an archive they would lead wherever the one who
//! unpacks it can write, so no path leads out of the archive. A name may have slashes in it only in archives without
//! symbolic links: otherwise a path could run through a link that the archive itself brings.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use content::{
    Block, Cid, dagpb,
    unixfs::{
        Data,
        walk::{self, Kind, kind},
    },
};
use futures_util::{Stream, StreamExt as _, stream};

use super::{
    super::{
        ahead::Ahead,
        descent::{Descent, Next, Waiting},
    },
    header::{END, EntryKind, header, padding},
};
use crate::{
    blocks::Blocks,
    error::ReadError,
    file_stream::stream_file,
    resolve::{Resolved, Way},
};

/// Longest path in an archive, `PATH_MAX` of Linux.
const PATH_MAX: usize = 4096;

type FileBytes = Pin<Box<dyn Stream<Item = Result<Bytes, ReadError>> + Send>>;

/// Something to put into the archive.
#[derive(Clone, Debug)]
struct Entry {
    cid: Cid,
    /// Its path in the archive; of a shard that of its directory.
    path: Arc<str>,
    is_shard: bool,
    below: u64,
}

impl Waiting for Entry {
    fn bytes(&self) -> usize {
        size_of::<Self>() + if self.is_shard { 0 } else { self.path.len() }
    }
}

pub(super) struct TarStream {
    ahead: Ahead,
    /// How the root was reached.
    way: Way,
    descent: Descent<Entry, Entry>,
    /// What is sent before anything else.
    ready: Option<Bytes>,
    file: Option<(FileBytes, u64)>,
    rules: NameRules,
    is_ended: bool,
}

impl TarStream {
    /// An archive of what a path leads to, under this name.
    pub(super) fn new(blocks: Blocks, resolved: &Resolved, name: &str) -> Result<Self, ReadError> {
        let root = &resolved.block;
        let mut tar = Self {
            ahead: Ahead::new(blocks),
            way: resolved.way.clone(),
            descent: Descent::new(),
            ready: None,
            file: None,
            rules: NameRules::default(),
            is_ended: false,
        };
        let path = tar.rules.join("", name)?;
        let entry = Entry { cid: root.cid.clone(), path: path.into(), is_shard: false, below: 0 };
        tar.put(&entry, root)?;
        Ok(tar)
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static {
        stream::try_unfold(self, |mut tar| async move { Ok(tar.next().await?.map(|bytes| (bytes, tar))) })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(bytes) = self.ready.take() {
                return Ok(Some(bytes));
            }
            if let Some((bytes, size)) = &mut self.file {
                if let Some(part) = bytes.next().await {
                    return part.map(Some);
                }
                self.ready = Some(Bytes::from(vec![0; padding(*size)])).filter(|zeros| !zeros.is_empty());
                self.file = None;
                continue;
            }
            if self.is_ended {
                return Ok(None);
            }
            match self.descent.next() {
                Next::Visit(entry) => {
                    let upcoming = self.descent.upcoming().map(|entry| (&entry.cid, entry.below));
                    let block = self.ahead.take(&entry.cid, upcoming).await?;
                    self.put(&entry, &block)?;
                }
                Next::Reload(directory) => {
                    let block = self.ahead.blocks.get(&directory.cid).await?;
                    let entries = self.rules.entries(&directory, &block)?;
                    self.descent.resume(entries);
                }
                Next::End => {
                    self.is_ended = true;
                    self.ready = Some(Bytes::from_static(&END));
                }
            }
        }
    }

    /// Begins an entry.
    fn put(&mut self, entry: &Entry, block: &Block) -> Result<(), ReadError> {
        if let Some((_, below)) = entry.path.split_once('/').filter(|_| !entry.is_shard) {
            self.way.permit(&self.ahead.blocks, below)?;
        }
        let (mode, mtime) = times(block);
        let mut head = |kind| self.ready = Some(header(&entry.path, kind, mode, mtime).into());
        match kind(block)? {
            Kind::Directory | Kind::HamtShard => {
                if !entry.is_shard {
                    head(EntryKind::Directory);
                }
                let entries = self.rules.entries(entry, block)?;
                self.descent.enter(entry.clone(), entries)?;
            }
            _ if entry.is_shard => return Err(ReadError::NotADirectory(entry.cid.clone())),
            Kind::Raw { size_bytes: size } | Kind::File { size_bytes: size } => {
                head(EntryKind::File { size });
                let bytes = stream_file(self.ahead.blocks.clone(), block.clone(), 0..size);
                self.file = Some((Box::pin(bytes), size));
            }
            Kind::Symlink(target) => {
                if target.is_empty() || target.len() > PATH_MAX || target.contains('\0') {
                    return Err(ReadError::NoArchive(format!("{} links to nowhere", entry.path)));
                }
                head(EntryKind::Symlink { target });
                self.rules.note_symlink()?;
            }
        }
        Ok(())
    }
}

/// Mode and time of a node, as far as it has them.
fn times(block: &Block) -> (Option<u32>, u64) {
    if block.cid.codec() != content::Codec::DagPb {
        return (None, 0);
    }
    let outline = dagpb::outline(&block.bytes).ok();
    let data = outline.and_then(|outline| outline.data).and_then(|data| Data::decode(data).ok());
    let mtime = data.as_ref().and_then(|data| data.mtime).map_or(0, |mtime| mtime.seconds);
    (data.and_then(|data| data.mode), u64::try_from(mtime).unwrap_or(0))
}

/// Which names may stand in this archive.
#[derive(Debug, Default)]
struct NameRules {
    has_symlinks: bool,
    has_slashes: bool,
}

impl NameRules {
    /// The entries of a directory with their paths.
    fn entries(&mut self, directory: &Entry, block: &Block) -> Result<Vec<Entry>, ReadError> {
        let listing = walk::list(block)?;
        let mut entries = Vec::with_capacity(listing.entries.len() + listing.shards.len());
        for entry in listing.entries {
            let path = self.join(&directory.path, entry.name)?.into();
            let below = entry.target.dag_size_bytes;
            entries.push(Entry { cid: entry.target.cid, path, is_shard: false, below });
        }
        for cid in listing.shards {
            entries.push(Entry { cid, path: directory.path.clone(), is_shard: true, below: 0 });
        }
        Ok(entries)
    }

    /// The path of a name below a directory, whose own path has the name of the root at its front.
    fn join(&mut self, directory: &str, name: &str) -> Result<String, ReadError> {
        let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
        let within = parts.len().min(1);
        for part in name.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.len() > within => drop(parts.pop()),
                ".." => {
                    let reason = "relative UnixFS paths outside the root are not allowed";
                    return Err(ReadError::NoArchive(format!("{name:?}: {reason}")));
                }
                part => parts.push(part),
            }
        }
        let path = parts.join("/");
        if path == directory
            || path.len() > PATH_MAX
            || path.contains('\0')
            || parts.len() <= within && within > 0
        {
            return Err(ReadError::NoArchive(format!("{name:?} cannot be a name in an archive")));
        }
        if name.contains('/') || name == ".." {
            self.has_slashes = true;
            self.check()?;
        }
        Ok(path)
    }

    fn note_symlink(&mut self) -> Result<(), ReadError> {
        self.has_symlinks = true;
        self.check()
    }

    fn check(&self) -> Result<(), ReadError> {
        if self.has_symlinks && self.has_slashes {
            let reason = "an archive cannot have both symbolic links and names with slashes";
            return Err(ReadError::NoArchive(reason.into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_archive() {
        let join = |directory: &str, name: &str| NameRules::default().join(directory, name).ok();
        assert_eq!(join("", "root").as_deref(), Some("root"));
        assert_eq!(join("root", "a").as_deref(), Some("root/a"));
        assert_eq!(join("root/a/b", "../file").as_deref(), Some("root/a/file"));
        assert_eq!(join("root/a", "x/./y//z").as_deref(), Some("root/a/x/y/z"));
        for (directory, name) in [
            ("root", "../foo"),
            ("root", ".."),
            ("root/a", "../../x"),
            ("root", ""),
            ("root", "."),
            ("root/a", ".."),
            ("root", "/"),
            ("root", "a\0b"),
            ("", ".."),
            ("", "../x"),
            ("root/a", "../a"),
            ("root", "a/.."),
        ] {
            assert_eq!(join(directory, name), None, "{directory} {name}");
        }
        assert_eq!(join("root", "/etc/passwd").as_deref(), Some("root/etc/passwd"));
        assert_eq!(join("root", &"x".repeat(5000)), None);
    }
}
