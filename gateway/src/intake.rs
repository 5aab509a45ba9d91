//! Taking an upload in, whatever surface it came by: bytes are counted and waited for in time (`pace`), files become blocks,
//! names become directories (`folder`). What the bytes are packed in is read by one file each: `form`, `late`, `tar`,
//! `zip`, `car`.

mod blocks;
mod car;
mod dag;
mod folder;
mod form;
mod late;
mod pace;
mod progress;
mod reserve;
mod several;
mod spool;
mod tar;
mod zip;

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::header,
};
use bytes::Bytes;
use content::{
    Block,
    unixfs::{Target, profile::Profile, tree::FinishedTree},
};
use futures_util::TryStreamExt as _;
use protocol::time::UnixMillis;
use store::{Beside, Claim};

use crate::{
    app::Gateway,
    upload::{Ingest, Outcomes, PinRequest, UploadError, UploadHandle, UploadSlot},
};
pub(crate) use blocks::{DagStat, Put};
pub(crate) use car::Imported;
use folder::{Entry, Folder};
pub(crate) use late::{Expected, Fields, Late, Said, kubo_profile};
pub(crate) use pace::Pace;
pub(crate) use progress::Progress;
use reserve::{PLACE_BYTES, Reserved};
pub(crate) use several::Added;
pub(crate) use spool::Spool;

/// One upload on its way in. Dropping it gives it up.
pub(crate) struct Intake {
    gateway: Gateway,
    account: String,
    upload: UploadHandle,
    profile: Profile,
    pace: Pace,
    progress: Option<Progress>,
    /// Files and other entries so far.
    entries: usize,
    /// Room for their names.
    names: Reserved,
    names_bytes: usize,
    /// What came that no root needs.
    beside: Option<BesideRoots>,
    _slot: UploadSlot,
}

/// Blocks that came with a CAR and that none of its roots needs.
struct BesideRoots {
    bytes: u64,
    /// A hash over the names of all blocks of the CAR, in order.
    digest: blake3::Hash,
}

/// What a request's body is, and what is to become of the names in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// The body is an archive of files.
    pub(crate) unpack: Option<Packed>,
    /// Keep a directory around what was sent, even around one file.
    pub(crate) wrap: bool,
    /// Whether names that begin with a dot are kept. When nothing is asked for, those of forms are, as the client chose
    /// them one by one, and those of archives are not, as the import profile has it.
    pub(crate) hidden: Option<bool>,
}

/// Archives that are unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packed {
    /// POSIX ustar or pax, or GNU tar, not compressed.
    Tar,
    /// Zip, stored or deflated.
    Zip,
    /// A CAR of version 1 or 2, whose roots are pinned.
    Car,
}

/// Something that is pinned.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// It, as something to link to.
    pub(crate) target: Target,
    /// Bytes of the files in it.
    pub(crate) size_bytes: u64,
}

/// Length of a pin's name in characters, at most.
pub(crate) const NAME_MAX: usize = 255;

/// A pin's name as it is stored: what the database does not take, and what is too long, is left out.
pub(crate) fn pin_name(name: &str) -> String {
    name.chars().filter(|c| *c != '\0').take(NAME_MAX).collect()
}

impl Root {
    /// The pin that it is to become.
    pub(crate) fn pin(self, account: &str, name: &str, expires: Option<UnixMillis>) -> PinRequest {
        PinRequest {
            waiting: None,
            claim: Claim::Pin,
            beside: None,
            account: account.to_string(),
            name: pin_name(name),
            root: self.target.cid,
            size_bytes: self.size_bytes,
            dag_size_bytes: self.target.dag_size_bytes,
            expires,
        }
    }
}

/// What was uploaded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uploaded {
    /// What is to be pinned: one root, or all those of a CAR.
    pub(crate) roots: Vec<Root>,
    /// The name that it brought with it.
    pub(crate) name: String,
    /// Entries that were left out because their names begin with a dot.
    pub(crate) left_out: usize,
}

/// Where the bytes of one file come from.
pub(crate) trait Source: Send {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, UploadError>> + Send;
}

impl Source for BodyDataStream {
    async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        self.try_next().await.map_err(|error| UploadError::BodyIncomplete(error.to_string()))
    }
}

impl Intake {
    /// Takes a place among the uploads.
    pub(crate) async fn begin(
        gateway: &Gateway,
        account: &str,
        profile: Profile,
    ) -> Result<Self, UploadError> {
        let slot = gateway.uploads.take(account)?;
        let upload = gateway.packer.begin().await?;
        Ok(Self::new(gateway, account, upload, profile, slot))
    }

    /// The same, but nothing is stored, and it cannot be finished: for whoever wants only to know names.
    pub(crate) fn hash_only(gateway: &Gateway, account: &str, profile: Profile) -> Result<Self, UploadError> {
        let slot = gateway.uploads.take(account)?;
        Ok(Self::new(gateway, account, UploadHandle::unstored(), profile, slot))
    }

    fn new(
        gateway: &Gateway,
        account: &str,
        upload: UploadHandle,
        profile: Profile,
        slot: UploadSlot,
    ) -> Self {
        let pace = Pace::new(&gateway.config.uploads);
        let names = Reserved::new(gateway);
        Self {
            gateway: gateway.clone(),
            account: account.to_string(),
            upload,
            profile,
            pace,
            progress: None,
            entries: 0,
            names,
            names_bytes: 0,
            beside: None,
            _slot: slot,
        }
    }

    /// Tells how much of each file has come while it is taken in.
    pub(crate) fn report(&mut self, progress: Progress) {
        self.progress = Some(progress);
    }

    /// Takes the whole body of a request in.
    pub(crate) async fn request(&mut self, request: Request, shape: &Shape) -> Result<Uploaded, UploadError> {
        let form = is_form(&request);
        match shape.unpack {
            Some(_) if form => Err(UploadError::BadParameter("unpack: a form is no archive".into())),
            Some(Packed::Tar) => self.tar(request.into_body(), shape).await,
            Some(Packed::Zip) => self.zip(request.into_body(), shape).await,
            Some(Packed::Car) => self.car(request.into_body()).await,
            None if form => {
                let form = form::form_of(request).await?;
                self.form(form, shape).await
            }
            None => self.body(request.into_body()).await,
        }
    }

    /// One file that is the whole body.
    async fn body(&mut self, body: Body) -> Result<Uploaded, UploadError> {
        let root = self.file(&mut body.into_data_stream()).await?;
        Ok(Uploaded { roots: vec![root], ..Uploaded::default() })
    }

    /// One file.
    async fn file(&mut self, source: &mut impl Source) -> Result<Root, UploadError> {
        let mut ingest = Ingest::new(&self.upload, self.gateway.ingest.clone(), self.profile);
        while let Some(bytes) = self.pace.wait(ingest.wait(source.next())).await?? {
            self.pace.count(bytes.len())?;
            if let Some(progress) = &mut self.progress {
                progress.count(bytes.len());
            }
            ingest.write(bytes).await?;
        }
        let file = ingest.finish().await?;
        if let Some(progress) = &mut self.progress {
            progress.end();
        }
        Ok(Root { target: file.target(), size_bytes: file.size_bytes })
    }

    /// Reads what nobody needs.
    async fn skip(&mut self, source: &mut impl Source) -> Result<(), UploadError> {
        while let Some(bytes) = self.pace.wait(source.next()).await?? {
            self.pace.count(bytes.len())?;
        }
        Ok(())
    }

    /// A text of at most so many bytes.
    async fn text(&mut self, source: &mut impl Source, max: usize) -> Result<String, UploadError> {
        let mut text = Vec::new();
        while let Some(bytes) = self.pace.wait(source.next()).await?? {
            self.pace.count(bytes.len())?;
            if text.len() + bytes.len() > max {
                return Err(UploadError::BadPath(format!("a symbolic link of more than {max} bytes")));
            }
            text.extend_from_slice(&bytes);
        }
        String::from_utf8(text).map_err(|_| UploadError::BadPath("a symbolic link that is not UTF-8".into()))
    }

    /// Counts an entry before it is taken in.
    fn count_entry(&mut self) -> Result<(), UploadError> {
        self.entries += 1;
        let max = self.gateway.config.uploads.files_max;
        if self.entries > max { Err(UploadError::TooManyFiles(max)) } else { Ok(()) }
    }

    /// Adds an entry to a directory, if there is room for its name.
    fn keep(&mut self, folder: &mut Folder, path: String, entry: Entry) -> Result<(), UploadError> {
        self.names_bytes += path.len() + Folder::ENTRY_BYTES;
        self.names.reach(self.names_bytes.div_ceil(PLACE_BYTES))?;
        folder.add(path, entry);
        Ok(())
    }

    /// Makes the directory of all entries.
    async fn directory(&mut self, folder: Folder) -> Result<Root, UploadError> {
        let size_bytes = folder.size_bytes();
        let tree = self.tree(folder).await?;
        self.add(tree.blocks).await?;
        Ok(Root { target: tree.root, size_bytes })
    }

    /// What an archive becomes. A folder that holds everything gives the upload its name and is not wrapped in another one,
    /// unless that is asked for.
    async fn unpacked(
        &mut self,
        mut folder: Folder,
        shape: &Shape,
        left_out: usize,
    ) -> Result<Uploaded, UploadError> {
        let name = if shape.wrap { None } else { folder.unwrap() };
        let root = self.directory(folder).await?;
        Ok(Uploaded { roots: vec![root], name: name.unwrap_or_default(), left_out })
    }

    async fn tree(&self, folder: Folder) -> Result<FinishedTree, UploadError> {
        let profile = self.profile;
        // Hashing the shards of a large directory takes a second.
        let built = tokio::task::spawn_blocking(move || folder.build(profile)).await;
        built.map_err(|error| UploadError::NotStored(error.to_string()))?
    }

    /// Adds blocks that were made here.
    async fn add(&mut self, blocks: Vec<Block>) -> Result<(), UploadError> {
        for block in blocks {
            self.upload.add(block, None).await?;
        }
        Ok(())
    }

    /// Waits until everything is durable and the pins are recorded that may be: one outcome for each, in order.
    pub(crate) async fn finish(self, mut pins: Vec<PinRequest>) -> Result<Outcomes, UploadError> {
        // What came beside the roots is kept with each of them, so it is paid for with each: it stays as long as any does.
        for pin in &mut pins {
            pin.beside = self.beside.as_ref().map(|beside| {
                let name =
                    [pin.account.as_bytes(), &[0], pin.root.as_bytes(), beside.digest.as_bytes()].concat();
                Beside::new(blake3::hash(&name).to_hex(), beside.bytes)
            });
        }
        self.gateway.pin(self.upload, pins).await
    }
}

fn is_form(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"))
}
