//! Forms that say behind their files how these are to be imported, as Pinata's clients send them.
//!
//! Small files are held back until the form has ended. Larger ones are imported as is guessed; where the guess was wrong
//! they are read back and imported again, which takes as long again and, meanwhile, the account's quota twice.

use std::collections::BTreeMap;

use axum::extract::{Request, multipart::Field};
use bytes::Bytes;
use content::unixfs::profile::{CidVersion, Profile};
use futures_util::{Stream, TryStreamExt as _};
use protocol::time::UnixMillis;
use retrieval::{ReadError, resolve, stream_file};
use store::Committed;

use super::{
    Entry, Folder, Intake, Root, Source,
    form::{form_of, path_of},
};
use crate::{app::Gateway, upload::UploadError};

/// Bytes of files and names that are held back, at most: one chunk.
const HELD_BACK_MAX: usize = 256 << 10;
/// Bytes of all fields that are no files, at most.
const FIELDS_BYTES_MAX: usize = 64 << 10;
/// Memory of an entry that is held back, beside its bytes.
const HELD_BYTES: usize = 64;

/// Fields that are no files.
pub(crate) type Fields = BTreeMap<String, String>;

/// What the fields say so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The version of the CID.
    pub(crate) version: Option<CidVersion>,
    /// Keep a directory around what was sent.
    pub(crate) wrap: bool,
}

/// What is to be known before the form comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// The version that is probably asked for.
    pub(crate) guess: CidVersion,
    /// The version when the form does not say.
    pub(crate) default: CidVersion,
    /// Bytes of all files, at most.
    pub(crate) size_max: Option<u64>,
    /// Reads the fields.
    pub(crate) said: fn(&Fields) -> Result<Said, UploadError>,
}

/// A form that was taken in whole and is not pinned yet.
pub(crate) struct Late {
    pub(crate) intake: Intake,
    pub(crate) root: Root,
    /// The name of the file, or of the folder that holds everything.
    pub(crate) name: String,
    /// The media type that the form gives its only file.
    pub(crate) mime_type: Option<String>,
    pub(crate) is_directory: bool,
    /// How many files there are.
    pub(crate) files: u64,
    pub(crate) version: CidVersion,
    pub(crate) fields: Fields,
    /// What is kept until this is pinned.
    pub(crate) first: Option<Kept>,
}

/// A first import that was not what was asked for.
pub(crate) struct Kept {
    gateway: Gateway,
    account: String,
    pin: String,
    until: UnixMillis,
}

impl Kept {
    /// Lets it go. If that fails it ends by itself.
    pub(crate) async fn release(self) {
        let Self { gateway, account, pin, until } = self;
        let due = gateway.collect_after();
        if let Err(error) = gateway.db.expire_pin(&account, &pin, until, due).await {
            tracing::warn!(%error, "what was imported again is kept until it expires");
        }
    }
}

/// Bytes that are there, then those that are still to come, counted.
struct Rest<'a, 'b> {
    front: std::vec::IntoIter<Bytes>,
    field: &'a mut Field<'b>,
    limit: &'a mut Limit,
}

impl Source for Rest<'_, '_> {
    async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        if let Some(bytes) = self.front.next() {
            return Ok(Some(bytes));
        }
        let bytes = self.field.next().await?;
        if let Some(bytes) = &bytes {
            self.limit.take(bytes.len())?;
        }
        Ok(bytes)
    }
}

/// How many bytes files may have.
struct Limit {
    max: Option<u64>,
    taken: u64,
}

impl Limit {
    fn take(&mut self, bytes: usize) -> Result<(), UploadError> {
        self.taken += bytes as u64;
        self.max.filter(|max| self.taken > *max).map_or(Ok(()), |max| Err(UploadError::BodyTooLarge(max)))
    }
}

/// Bytes that are all there.
struct Whole(Option<Bytes>);

impl Source for Whole {
    async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        Ok(self.0.take())
    }
}

/// Bytes that are stored here.
struct Stored<S>(S);

impl<S: Stream<Item = Result<Bytes, ReadError>> + Unpin + Send> Source for Stored<S> {
    async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        self.0.try_next().await.map_err(|error| read_failed(&error))
    }
}

fn read_failed(error: &ReadError) -> UploadError {
    UploadError::NotStored(format!("it could not be read back to be imported anew: {error}"))
}

/// As Kubo imports files under this version.
pub(crate) fn kubo_profile(version: CidVersion) -> Profile {
    match version {
        CidVersion::V0 => Profile::UNIXFS_V0_2015,
        CidVersion::V1 => Profile::KUBO_V1,
    }
}

/// A form on its way in.
struct LateForm {
    intake: Intake,
    expected: Expected,
    /// What files are imported under from now on; `None`: they are held back.
    begun: Option<CidVersion>,
    held: Vec<(String, Bytes)>,
    held_bytes: usize,
    folder: Folder,
    files: u64,
    mime_type: Option<String>,
    fields: Fields,
    fields_bytes: usize,
    limit: Limit,
}

impl Intake {
    /// Takes a whole form in.
    pub(crate) async fn late(
        gateway: &Gateway,
        account: &str,
        request: Request,
        expected: Expected,
    ) -> Result<Late, UploadError> {
        let mut form = form_of(request).await?;
        let intake = Self::begin(gateway, account, kubo_profile(expected.guess)).await?;
        let mut late = LateForm {
            intake,
            expected,
            begun: None,
            held: Vec::new(),
            held_bytes: 0,
            folder: Folder::default(),
            files: 0,
            mime_type: None,
            fields: Fields::new(),
            fields_bytes: 0,
            limit: Limit { max: expected.size_max, taken: 0 },
        };
        while let Some(mut field) = late.intake.next_field(&mut form).await? {
            if field.name() == Some("file") {
                late.file(&mut field).await?;
            } else {
                late.field(&mut field).await?;
            }
        }
        late.finish(gateway, account).await
    }

    /// One file that is all there.
    pub(crate) async fn whole(&mut self, bytes: Bytes) -> Result<Root, UploadError> {
        self.file(&mut Whole(Some(bytes))).await
    }
}

impl LateForm {
    async fn field(&mut self, field: &mut Field<'_>) -> Result<(), UploadError> {
        let name = field.name().unwrap_or_default().to_string();
        self.fields_bytes += HELD_BYTES + name.len();
        let mut text = Vec::new();
        while let Some(bytes) = self.intake.pace.wait(field.next()).await?? {
            self.intake.pace.count(bytes.len())?;
            self.fields_bytes += bytes.len();
            if self.fields_bytes > FIELDS_BYTES_MAX {
                break;
            }
            text.extend_from_slice(&bytes);
        }
        if self.fields_bytes > FIELDS_BYTES_MAX {
            let message = format!("the fields beside the files have more than {FIELDS_BYTES_MAX} bytes");
            return Err(UploadError::BadForm(message));
        }
        let text = String::from_utf8(text)
            .map_err(|_| UploadError::BadForm(format!("the field {name:?} is not UTF-8")))?;
        self.fields.insert(name, text);
        Ok(())
    }

    async fn file(&mut self, field: &mut Field<'_>) -> Result<(), UploadError> {
        self.intake.count_entry()?;
        self.files += 1;
        let path = path_of(field);
        self.mime_type = field.content_type().map(str::to_string);
        let mut front = Vec::new();
        if self.begun.is_none() {
            self.held_bytes += path.len() + HELD_BYTES;
            loop {
                if self.held_bytes > HELD_BACK_MAX {
                    let version = (self.expected.said)(&self.fields)?.version;
                    self.begin(version.unwrap_or(self.expected.guess)).await?;
                    break;
                }
                let Some(bytes) = self.intake.pace.wait(field.next()).await?? else {
                    self.held.push((path, front.concat::<u8>().into()));
                    return Ok(());
                };
                self.limit.take(bytes.len())?;
                self.held_bytes += bytes.len();
                front.push(bytes);
            }
        }
        let mut rest = Rest { front: front.into_iter(), field, limit: &mut self.limit };
        let root = self.intake.file(&mut rest).await?;
        self.intake.keep(&mut self.folder, path, Entry::File(root))
    }

    /// Imports what was held back.
    async fn begin(&mut self, version: CidVersion) -> Result<(), UploadError> {
        self.begun = Some(version);
        self.intake.profile = kubo_profile(version);
        for (path, bytes) in std::mem::take(&mut self.held) {
            let root = self.intake.whole(bytes).await?;
            self.intake.keep(&mut self.folder, path, Entry::File(root))?;
        }
        Ok(())
    }

    async fn finish(mut self, gateway: &Gateway, account: &str) -> Result<Late, UploadError> {
        if self.files == 0 {
            return Err(UploadError::BadForm("the form has no field named 'file'".into()));
        }
        let said = (self.expected.said)(&self.fields)?;
        let version = said.version.unwrap_or(self.expected.default);
        let mut first = None;
        match self.begun {
            None => self.begin(version).await?,
            Some(begun) if begun == version => {}
            Some(_) => {
                let import = (self.intake, self.folder);
                (self.intake, self.folder, first) = again(gateway, account, import, version).await?;
            }
        }
        let is_directory = said.wrap || self.folder.single_file().is_none();
        let (root, name) = self.intake.rooted(self.folder, said.wrap).await?;
        let Self { intake, files, mime_type, fields, .. } = self;
        Ok(Late { intake, root, name, mime_type, is_directory, files, version, fields, first })
    }
}

/// Reads all files back and imports them under another version.
async fn again(
    gateway: &Gateway,
    account: &str,
    (mut before, folder): (Intake, Folder),
    version: CidVersion,
) -> Result<(Intake, Folder, Option<Kept>), UploadError> {
    let files: Vec<(String, Root)> = folder
        .entries()
        .iter()
        .filter_map(|(path, entry)| match entry {
            Entry::File(file) => Some((path.clone(), file.clone())),
            Entry::Directory | Entry::Link(_) => None,
        })
        .collect();
    let (root, _) = before.rooted(folder, false).await?;
    let until = gateway.hold_until();
    let hold = root.pin(account, "", None).held(until);
    let outcome = before.finish(vec![hold]).await?.pop().unwrap_or(Err(UploadError::TryAgain))?;
    // What the account had before is not this upload's to let go.
    let first = (outcome.committed == Committed::Created).then(|| Kept {
        gateway: gateway.clone(),
        account: account.to_string(),
        pin: outcome.pin,
        until,
    });
    let mut intake = Intake::begin(gateway, account, kubo_profile(version)).await?;
    let mut folder = Folder::default();
    for (path, file) in files {
        intake.count_entry()?;
        let resolved = resolve(&gateway.blocks, &file.target.cid, &[]).await;
        let block = resolved.map_err(|error| read_failed(&error))?.block;
        let bytes = stream_file(gateway.blocks.clone(), block, 0..file.size_bytes);
        let root = intake.file(&mut Stored(Box::pin(bytes))).await?;
        intake.keep(&mut folder, path, Entry::File(root))?;
    }
    Ok((intake, folder, first))
}
