//! What Kubo's `add` makes of a form: every part under its own name, and each name at the top a root of its own, unless a
//! directory is put around them.

use std::collections::HashMap;

use axum::extract::Request;
use content::unixfs::Target;
use percent_encoding::percent_decode_str;

use super::{Entry, Folder, Intake, Root, form::form_of};
use crate::upload::UploadError;

/// Pins that one upload becomes, at most.
const ROOTS_MAX: usize = 1_000;

/// What was added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Added {
    /// Everything that has a name: files in the order in which they came, links, then directories, children before
    /// parents. The directory around everything, if that was asked for, is the last and has no name.
    pub(crate) entries: Vec<(String, Target)>,
    /// What is to be pinned.
    pub(crate) roots: Vec<Root>,
}

impl Intake {
    /// Takes in all parts of a form that are files, directories or links. Names are percent-encoded in these forms; a file
    /// without one is named by its CID.
    pub(crate) async fn several(&mut self, request: Request, wrap: bool) -> Result<Added, UploadError> {
        let mut form = form_of(request).await?;
        let mut folder = Folder::default();
        while let Some(mut field) = self.next_field(&mut form).await? {
            self.count_entry()?;
            let name = field.file_name().unwrap_or_default().to_string();
            let name = percent_decode_str(&name).decode_utf8();
            let name =
                name.map_err(|_| UploadError::BadPath("a name that is not UTF-8".into()))?.into_owned();
            if let Some(progress) = &mut self.progress {
                progress.begin(name.trim_matches('/'));
            }
            let entry = self.entry(&mut field).await?;
            let name = match (name.trim_start_matches('/').trim_end_matches('/'), &entry) {
                ("", Entry::File(file)) => file.target.cid.as_written().to_string(),
                (name, _) => name.to_string(),
            };
            self.keep(&mut folder, name, entry)?;
        }
        if folder.is_empty() {
            return Err(UploadError::BadForm("the form has no files".into()));
        }
        self.added(folder, wrap).await
    }

    async fn added(&mut self, folder: Folder, wrap: bool) -> Result<Added, UploadError> {
        let size_bytes = folder.size_bytes();
        // Where bytes lie, for the roots: files below a name at the top.
        let files: Vec<(String, Root)> = folder
            .entries()
            .iter()
            .filter_map(|(path, entry)| match entry {
                Entry::File(file) => Some((path.clone(), file.clone())),
                Entry::Directory | Entry::Link(_) => None,
            })
            .collect();
        let mut tree = self.tree(folder).await?;
        if !wrap {
            tree.blocks.truncate(tree.blocks.len() - tree.root_blocks);
        }
        self.add(tree.blocks).await?;
        let mut added = Added::default();
        let named = files.iter().map(|(path, file)| (path, &file.target));
        let made = tree.symlinks.iter().chain(&tree.directories).map(|(path, target)| (path, target));
        added.entries = named.chain(made).map(|(path, target)| (path.clone(), target.clone())).collect();
        if wrap {
            added.roots.push(Root { target: tree.root.clone(), size_bytes });
            added.entries.push((String::new(), tree.root));
            return Ok(added);
        }
        let mut sizes: HashMap<&str, u64> = HashMap::new();
        for (path, file) in &files {
            let top = path.split('/').next().unwrap_or_default();
            let size = sizes.entry(top).or_default();
            *size = size.saturating_add(file.size_bytes);
        }
        let tops = added.entries.iter().filter(|(path, _)| !path.contains('/'));
        added.roots = tops
            .map(|(path, target)| Root {
                target: target.clone(),
                size_bytes: sizes.get(path.as_str()).copied().unwrap_or(0),
            })
            .collect();
        if added.roots.len() > ROOTS_MAX {
            return Err(UploadError::BadParameter(format!(
                "more than {ROOTS_MAX} names that are in no folder: ask for wrap-with-directory"
            )));
        }
        Ok(added)
    }
}
