//! Forms: one or more parts called `file`, whose file names may have folders in them.

use axum::extract::{
    Multipart,
    multipart::{Field, MultipartError},
};
use bytes::Bytes;
use content::unixfs::directory::SYMLINK_MAX;

use super::{Entry, Folder, Intake, Root, Shape, Source, Uploaded, folder::is_hidden};
use crate::upload::UploadError;

/// Parts of this type are empty directories, as Kubo's API has it.
const DIRECTORY_TYPE: &str = "application/x-directory";
/// Parts of this type are symbolic links, and what they hold is the link's target.
const SYMLINK_TYPE: &str = "application/symlink";

impl Source for Field<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        self.chunk().await.map_err(|error| form_error(&error))
    }
}

impl Intake {
    /// One plain file is itself; several files, or names with folders in them, are a directory. A folder that holds
    /// everything gives the upload its name and is not wrapped in another one, unless that is asked for.
    pub(super) async fn form(&mut self, mut form: Multipart, shape: &Shape) -> Result<Uploaded, UploadError> {
        let (mut folder, mut size_bytes, mut left_out) = (Folder::default(), 0, 0);
        loop {
            let next = self.pace.wait(form.next_field()).await?;
            let Some(mut field) = next.map_err(|error| form_error(&error))? else { break };
            if field.name() != Some("file") {
                self.skip(&mut field).await?;
                continue;
            }
            self.count_entry()?;
            let path = field.file_name().unwrap_or_default().to_string();
            if shape.hidden == Some(false) && is_hidden(&path) {
                left_out += 1;
                self.skip(&mut field).await?;
                continue;
            }
            let entry = match field.content_type() {
                Some(DIRECTORY_TYPE) => {
                    self.skip(&mut field).await?;
                    Entry::Directory
                }
                Some(SYMLINK_TYPE) => Entry::Link(self.text(&mut field, SYMLINK_MAX).await?),
                _ => {
                    let file = self.file(&mut field).await?;
                    size_bytes += file.size_bytes;
                    Entry::File(file.target())
                }
            };
            folder.add(path, entry);
        }
        if folder.is_empty() {
            return Err(UploadError::BadForm("the form has no field named 'file'".into()));
        }
        if let Some((name, root)) = folder.single_file().filter(|_| !shape.wrap) {
            let (root, name) = (Root { target: root.clone(), size_bytes }, name.to_string());
            return Ok(Uploaded { roots: vec![root], name, left_out });
        }
        let name = if shape.wrap { None } else { folder.unwrap() };
        let root = Root { target: self.directory(folder).await?, size_bytes };
        Ok(Uploaded { roots: vec![root], name: name.unwrap_or_default(), left_out })
    }
}

fn form_error(error: &MultipartError) -> UploadError {
    let text = error.body_text();
    // The parser says it this way when the connection ends inside the form.
    if text.contains("incomplete") || text.contains("Error parsing `multipart/form-data` request") {
        UploadError::BodyIncomplete(text)
    } else {
        UploadError::BadForm(text)
    }
}
