//! Forms: one or more parts called `file`, whose file names may have folders in them.

use axum::extract::{
    FromRequest as _, Multipart, Request,
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

/// The form that a request is.
pub(super) async fn form_of(request: Request) -> Result<Multipart, UploadError> {
    let form = Multipart::from_request(request, &()).await;
    form.map_err(|error| UploadError::BadForm(error.body_text()))
}

impl Intake {
    /// One plain file is itself; several files, or names with folders in them, are a directory. A folder that holds
    /// everything gives the upload its name and is not wrapped in another one, unless that is asked for.
    pub(super) async fn form(&mut self, mut form: Multipart, shape: &Shape) -> Result<Uploaded, UploadError> {
        let (mut folder, mut left_out) = (Folder::default(), 0);
        while let Some(mut field) = self.next_field(&mut form).await? {
            if field.name() != Some("file") {
                self.skip(&mut field).await?;
                continue;
            }
            self.count_entry()?;
            let path = path_of(&field);
            if shape.hidden == Some(false) && is_hidden(&path) {
                left_out += 1;
                self.skip(&mut field).await?;
                continue;
            }
            let entry = self.entry(&mut field).await?;
            self.keep(&mut folder, path, entry)?;
        }
        if folder.is_empty() {
            return Err(UploadError::BadForm("the form has no field named 'file'".into()));
        }
        let (root, name) = self.rooted(folder, shape.wrap).await?;
        Ok(Uploaded { roots: vec![root], name, left_out })
    }

    /// What is to be pinned of all files, and its name.
    pub(super) async fn rooted(
        &mut self,
        mut folder: Folder,
        wrap: bool,
    ) -> Result<(Root, String), UploadError> {
        if let Some((name, root)) = folder.single_file().filter(|_| !wrap) {
            return Ok((root.clone(), name.to_string()));
        }
        let name = if wrap { None } else { folder.unwrap() };
        Ok((self.directory(folder).await?, name.unwrap_or_default()))
    }

    pub(super) async fn next_field<'f>(
        &mut self,
        form: &'f mut Multipart,
    ) -> Result<Option<Field<'f>>, UploadError> {
        self.pace.wait(form.next_field()).await?.map_err(|error| form_error(&error))
    }

    /// What a part is.
    pub(super) async fn entry(&mut self, field: &mut Field<'_>) -> Result<Entry, UploadError> {
        Ok(match field.content_type() {
            Some(DIRECTORY_TYPE) => {
                self.skip(field).await?;
                Entry::Directory
            }
            Some(SYMLINK_TYPE) => Entry::Link(self.text(field, SYMLINK_MAX).await?),
            _ => Entry::File(self.file(field).await?),
        })
    }
}

/// The path that a part's file name is. Browsers and newer clients write three characters of it in other ways (WHATWG HTML,
/// "multipart form data"), and nothing else: a `%` stays one.
pub(super) fn path_of(field: &Field<'_>) -> String {
    unescaped(field.file_name().unwrap_or_default())
}

/// No replacement makes another one possible: what is put in has no `%` and no digit.
fn unescaped(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_characters_of_names_are_escaped_and_no_others() {
        for (sent, meant) in [
            ("plain.txt", "plain.txt"),
            ("say %22hi%22.txt", "say \"hi\".txt"),
            ("two%0D%0Alines", "two\r\nlines"),
            ("50%.txt", "50%.txt"),
            ("a%20b%2Fc%41", "a%20b%2Fc%41"),
            ("%2522", "%2522"),
            ("%0d%0a", "%0d%0a"),
            ("%%222", "%\"2"),
            ("%0%0AD", "%0\nD"),
            ("site/%22%22/%22", "site/\"\"/\""),
            ("caf\u{e9}%22", "caf\u{e9}\""),
            ("%2", "%2"),
        ] {
            assert_eq!(unescaped(sent), meant, "{sent}");
        }
    }
}
