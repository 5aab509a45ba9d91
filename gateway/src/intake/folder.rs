//! The directory that the entries of a form or an archive make.

#[cfg(test)]
mod tests;

use content::unixfs::{
    directory::check_name,
    profile::Profile,
    tree::{FinishedTree, TreeBuilder, TreeError},
};

use super::Root;
use crate::upload::UploadError;

/// One entry of a directory.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    File(Root),
    Directory,
    /// A symbolic link with its target, which is kept as it is and never followed.
    Link(String),
}

impl Entry {
    /// Bytes of a file.
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::File(file) => file.size_bytes,
            Self::Directory | Self::Link(_) => 0,
        }
    }
}

/// Entries by the paths under which they were sent.
#[derive(Debug, Default)]
pub(super) struct Folder {
    entries: Vec<(String, Entry)>,
    /// Bytes in front of each path that are left out.
    prefix: usize,
}

impl Folder {
    /// Memory that an entry takes beside its name.
    pub(super) const ENTRY_BYTES: usize = size_of::<(String, Entry)>();

    pub(super) fn add(&mut self, path: String, entry: Entry) {
        self.entries.push((path, entry));
    }

    /// The only entry, if it is a file with a plain name.
    pub(super) fn single_file(&self) -> Option<(&str, &Root)> {
        match &self.entries[..] {
            [(name, Entry::File(file))] if !name.contains('/') => Some((name, file)),
            _ => None,
        }
    }

    /// Takes the folder that holds everything away, if there is one, and gives its name.
    pub(super) fn unwrap(&mut self) -> Option<String> {
        let top = |path: &str, entry: &Entry| match path.split_once('/') {
            Some((top, _)) => Some(top.to_string()),
            None => matches!(entry, Entry::Directory).then(|| path.to_string()),
        };
        let (path, entry) = self.entries.first()?;
        let name = top(path, entry).filter(|name| check_name(name).is_ok())?;
        let all = self.entries.iter().all(|(path, entry)| top(path, entry).as_ref() == Some(&name));
        // Where nothing but folders was sent, an empty one is left.
        self.entries.retain(|(path, _)| !all || path.contains('/'));
        self.prefix = if all { name.len() + 1 } else { 0 };
        all.then_some(name)
    }

    /// Bytes of all files.
    pub(super) fn size_bytes(&self) -> u64 {
        self.entries.iter().map(|(_, entry)| entry.size_bytes()).fold(0, u64::saturating_add)
    }

    /// All entries by their paths.
    pub(super) fn entries(&self) -> &[(String, Entry)] {
        &self.entries
    }

    /// Whether nothing was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The blocks of the directory.
    pub(super) fn build(self, profile: Profile) -> Result<FinishedTree, UploadError> {
        let mut tree = TreeBuilder::new(profile);
        for (sent, entry) in self.entries {
            let path = &sent[self.prefix..];
            let added = match entry {
                Entry::File(file) => tree.add(path, file.target),
                Entry::Directory => tree.add_directory(path),
                Entry::Link(target) => tree.add_symlink(path, &target),
            };
            added.map_err(|error| bad_path(&sent, error))?;
        }
        tree.finish().map_err(|error| UploadError::BadPath(error.to_string()))
    }
}

/// Whether a path, or a folder on it, has a name that begins with a dot. `.` and `..` are no names.
pub(super) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with('.') && name != "." && name != "..")
}

/// A path as archives of a folder have it, `./a/b` or `a/b/`, without what stands for nothing.
pub(super) fn clean(path: &str) -> &str {
    let mut path = path;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    let path = path.trim_end_matches('/');
    if path == "." { "" } else { path }
}

/// Names the path as it was sent: whoever sent it knows nothing of a folder that was left out.
fn bad_path(sent: &str, error: TreeError) -> UploadError {
    let error = match error {
        TreeError::Name { source, .. } => TreeError::Name { path: sent.to_string(), source },
        TreeError::Duplicate(_) => TreeError::Duplicate(sent.to_string()),
        other => other,
    };
    UploadError::BadPath(error.to_string())
}
