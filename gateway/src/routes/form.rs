//! The two shapes of an upload's body: raw bytes, or a form with one or more files.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    extract::{FromRequest as _, Multipart, Request},
    http::header,
};
use bytes::Bytes;
use content::unixfs::{
    Target,
    directory::FinishedDirectory,
    profile::Profile,
    tree::{TreeBuilder, TreeError},
};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::{
    app::Gateway,
    config::UploadsConfig,
    upload::{Ingest, UploadError, UploadHandle},
};

/// What was uploaded.
pub(super) struct Uploaded {
    pub(super) root: Target,
    pub(super) size_bytes: u64,
    /// The name that the form gave it.
    pub(super) name: String,
}

/// Counts the bytes of one upload against its limits.
struct Intake<'g> {
    gateway: &'g Gateway,
    upload: &'g UploadHandle,
    profile: Profile,
    taken: u64,
    /// How long the client was waited for.
    waited: Duration,
}

/// Takes the whole body in.
pub(super) async fn take(
    gateway: &Gateway,
    upload: &UploadHandle,
    profile: Profile,
    request: Request,
) -> Result<Uploaded, UploadError> {
    let mut intake = Intake { gateway, upload, profile, taken: 0, waited: Duration::ZERO };
    if is_form(&request) {
        let form = Multipart::from_request(request, &()).await;
        let form = form.map_err(|error| UploadError::BadForm(error.body_text()))?;
        return intake.form(form).await;
    }
    intake.raw(request.into_body()).await
}

fn is_form(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"))
}

impl Intake<'_> {
    async fn raw(&mut self, body: Body) -> Result<Uploaded, UploadError> {
        let mut ingest = Ingest::new(self.upload, self.gateway.ingest.clone(), self.profile);
        let mut body: BodyDataStream = body.into_data_stream();
        loop {
            let next = self.in_time(ingest.wait(body.next())).await?;
            let Some(next) = next else { break };
            let bytes = next.map_err(|error| UploadError::BodyIncomplete(error.to_string()))?;
            self.count(&bytes)?;
            ingest.write(bytes).await?;
        }
        let file = ingest.finish().await?;
        Ok(Uploaded { root: file.target(), size_bytes: file.size_bytes, name: String::new() })
    }

    async fn form(&mut self, mut form: Multipart) -> Result<Uploaded, UploadError> {
        let mut files: Vec<(String, Target)> = Vec::new();
        let mut size_bytes: u64 = 0;
        loop {
            let next = self.in_time(form.next_field()).await?;
            let Some(mut field) = next.map_err(|error| form_error(&error))? else { break };
            let is_file = field.name() == Some("file");
            let path = field.file_name().unwrap_or_default().to_string();
            if !is_file {
                while let Some(bytes) =
                    self.in_time(field.chunk()).await?.map_err(|error| form_error(&error))?
                {
                    self.count(&bytes)?;
                }
                continue;
            }
            if files.len() >= self.gateway.config.uploads.files_max {
                let max = self.gateway.config.uploads.files_max;
                return Err(UploadError::BadForm(format!("more than {max} files in one upload")));
            }
            let mut ingest = Ingest::new(self.upload, self.gateway.ingest.clone(), self.profile);
            loop {
                let next = self.in_time(ingest.wait(field.chunk())).await?;
                let Some(bytes) = next.map_err(|error| form_error(&error))? else { break };
                self.count(&bytes)?;
                ingest.write(bytes).await?;
            }
            let file = ingest.finish().await?;
            size_bytes += file.size_bytes;
            files.push((path, file.target()));
        }
        self.assemble(files, size_bytes).await
    }

    /// One plain file is itself; several files, or names with folders in them, are a directory. A folder that holds
    /// everything gives the upload its name and is not wrapped in another one.
    async fn assemble(
        &self,
        mut files: Vec<(String, Target)>,
        size_bytes: u64,
    ) -> Result<Uploaded, UploadError> {
        if files.is_empty() {
            return Err(UploadError::BadForm("the form has no field named 'file'".into()));
        }
        if files.len() == 1 && !files[0].0.contains('/') {
            let (name, root) = files.swap_remove(0);
            return Ok(Uploaded { root, size_bytes, name });
        }
        let top = common_folder(&files);
        let (profile, prefix) = (self.profile, top.as_ref().map_or(0, |top| top.len() + 1));
        // Hashing the shards of a large directory takes a second.
        let built = tokio::task::spawn_blocking(move || directory(profile, files, prefix)).await;
        let directory = built.map_err(|error| UploadError::NotStored(error.to_string()))??;
        for block in directory.blocks {
            self.upload.add(block, None).await?;
        }
        Ok(Uploaded { root: directory.root, size_bytes, name: top.unwrap_or_default() })
    }

    fn count(&mut self, bytes: &Bytes) -> Result<(), UploadError> {
        self.taken += bytes.len() as u64;
        let max = self.gateway.config.uploads.size_max;
        if self.taken > max { Err(UploadError::BodyTooLarge(max)) } else { Ok(()) }
    }

    /// What the client sends next, unless it stops or has become slower than it may be. Only waiting for it counts, not
    /// what is done with its bytes.
    async fn in_time<T>(&mut self, next: impl Future<Output = T>) -> Result<T, UploadError> {
        let UploadsConfig { idle_timeout: idle, rate_min, .. } = self.gateway.config.uploads;
        let stalled = |_| UploadError::BodyIncomplete(format!("nothing came for {} s", idle.as_secs()));
        let since = Instant::now();
        let next = tokio::time::timeout(idle, next).await.map_err(stalled)?;
        self.waited += since.elapsed();
        let due = self.waited.saturating_sub(idle).as_secs().saturating_mul(rate_min);
        if self.taken < due {
            return Err(UploadError::BodyIncomplete(format!("slower than {rate_min} bytes a second")));
        }
        Ok(next)
    }
}

/// The blocks of a directory of files whose paths have so many bytes in front that are left out.
fn directory(
    profile: Profile,
    files: Vec<(String, Target)>,
    prefix: usize,
) -> Result<FinishedDirectory, UploadError> {
    let mut tree = TreeBuilder::new(profile);
    for (path, target) in files {
        tree.add(&path[prefix..], target).map_err(|error| bad_path(&path, error))?;
    }
    tree.finish().map_err(|error| UploadError::BadPath(error.to_string()))
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

/// The folder that all paths start with, if there is one.
fn common_folder(files: &[(String, Target)]) -> Option<String> {
    let (top, _) = files.first()?.0.split_once('/')?;
    let all = files.iter().all(|(path, _)| path.split_once('/').is_some_and(|(first, _)| first == top));
    (all && !top.is_empty()).then(|| top.to_string())
}

fn form_error(error: &axum::extract::multipart::MultipartError) -> UploadError {
    let text = error.body_text();
    // The parser says it this way when the connection ends inside the form.
    if text.contains("incomplete") || text.contains("Error parsing `multipart/form-data` request") {
        UploadError::BodyIncomplete(text)
    } else {
        UploadError::BadForm(text)
    }
}
