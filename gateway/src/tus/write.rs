//! One request's bytes: from where the upload stands, as far as they come.

use axum::body::Body;
use content::unixfs::file::FileBuilder;
use futures_util::TryStreamExt as _;
use service::traces::here;
use store::{ClaimedTus, TusKind, TusPiece, TusProgress, TusRecorded, TusUpload};
use tokio::task::JoinHandle;

use super::{Checksum, Claim, TusError, finish, is_to_be_finished, profile, repeat};
use crate::{
    app::Gateway,
    intake::Pace,
    upload::{Ingest, Settlement, UploadError, UploadHandle},
};

/// What a request says of the bytes that it brings.
pub(crate) struct Piece {
    /// Where in the upload they begin.
    pub(crate) offset: u64,
    /// The upload's length, if this request says it.
    pub(crate) length: Option<u64>,
    /// How many they are, if that is announced.
    pub(crate) content_length: Option<u64>,
    /// What they hash to.
    pub(crate) checksum: Option<Checksum>,
    /// Whether they are kept all or not at all, and known again when the request is repeated.
    pub(crate) is_whole: bool,
}

impl Piece {
    /// No bytes, for a new upload that has none.
    pub(crate) fn empty() -> Self {
        Self { offset: 0, length: None, content_length: Some(0), checksum: None, is_whole: false }
    }
}

/// Takes a request's bytes in, and pins the upload if they are its last. Goes on when the client goes away, and keeps what
/// had come.
pub(crate) async fn write(
    gateway: &Gateway,
    upload: TusUpload,
    piece: Piece,
    body: Body,
) -> Result<TusUpload, TusError> {
    if upload.kind == TusKind::Final {
        return Err(TusError::IsFinal);
    }
    let slot = gateway.uploads.take(&upload.account)?;
    let (gateway, id) = (gateway.clone(), upload.id);
    let task = tokio::spawn(here().carry(async move {
        let _slot = slot;
        let (claim, claimed) = Claim::take(&gateway, &id).await?;
        let written = write_claimed(&gateway, &claim, claimed, piece, body).await;
        claim.release().await;
        let upload = written?;
        if is_to_be_finished(&upload) { finish(&gateway, upload).await } else { Ok(upload) }
    }));
    task.await.map_err(|_| TusError::Broken)?
}

async fn write_claimed(
    gateway: &Gateway,
    claim: &Claim,
    ClaimedTus { upload, builder, tail, piece: last }: ClaimedTus,
    piece: Piece,
    body: Body,
) -> Result<TusUpload, TusError> {
    let Piece { offset, length, content_length, checksum, is_whole } = piece;
    if let Some(last) =
        last.filter(|last| is_whole && offset < upload.offset_bytes && last.offset_bytes == offset)
    {
        return repeat(gateway, claim, upload, &last, body).await;
    }
    if offset != upload.offset_bytes {
        return Err(TusError::Offset { expected: upload.offset_bytes, given: offset });
    }
    let is_news = length.is_some() && upload.length_bytes.is_none();
    let length = agreed_length(gateway, &upload, length).await?;
    let end = length.unwrap_or(gateway.config.uploads.size_max);
    if content_length.is_some_and(|announced| announced > end.saturating_sub(offset)) {
        return Err(too_long(gateway, length));
    }
    if upload.root.is_some() {
        return Ok(upload);
    }
    let builder = restore(&upload, &builder, &tail)?;
    let handle = gateway.packer.begin_long(upload.id.clone()).await?;
    let mut taking = Taking {
        gateway,
        claim,
        handle: &handle,
        ingest: Ingest::resume(&handle, gateway.ingest.clone(), builder, &tail),
        upload: TusUpload { length_bytes: length, ..upload },
        end,
        checksum,
        digest: is_whole.then(blake3::Hasher::new),
        noted_bytes: offset,
        under_way: None,
    };
    drop(tail);
    let mut outcome = taking.body(body).await?;
    let Taking { ingest, mut upload, checksum, digest, under_way, .. } = taking;
    // A part of what was hashed cannot be told from something else, nor can a request of which only a part was kept be
    // repeated by a client that does not ask how much.
    if let Some(cut) = outcome.take_if(|_| checksum.is_some() || is_whole) {
        return Err(cut.into());
    }
    if checksum.is_some_and(|checksum| !checksum.holds()) {
        return Err(TusError::Checksum);
    }
    if let Some(under_way) = under_way {
        under_way.await.map_err(|_| TusError::Broken)??;
    }
    let is_complete = upload.length_bytes == Some(upload.offset_bytes);
    if is_complete || is_news || upload.offset_bytes > offset {
        let mut progress = last_progress(ingest, &mut upload, is_complete).await?;
        let hash = digest.map(|digest| digest.finalize().to_hex().to_string());
        progress.piece = hash.map(|hash| TusPiece { offset_bytes: offset, hash });
        record(gateway, claim, &mut upload, progress, handle.settle().await?).await?;
    }
    match outcome {
        Some(cut) if !is_complete => Err(cut.into()),
        _ => Ok(upload),
    }
}

/// The length that an upload has or gets.
async fn agreed_length(
    gateway: &Gateway,
    upload: &TusUpload,
    said: Option<u64>,
) -> Result<Option<u64>, TusError> {
    match (upload.length_bytes, said) {
        (known, None) => Ok(known),
        (Some(known), Some(said)) if known != said => {
            Err(TusError::BadLength(format!("the upload's length is {known}, not {said}")))
        }
        (Some(known), Some(_)) => Ok(Some(known)),
        (None, Some(said)) if said < upload.offset_bytes => Err(TusError::BadLength(format!(
            "the upload has {} bytes already, more than {said}",
            upload.offset_bytes
        ))),
        (None, Some(said)) => {
            gateway.refuse_length(&upload.account, said).await?;
            Ok(Some(said))
        }
    }
}

fn too_long(gateway: &Gateway, length: Option<u64>) -> TusError {
    match length {
        Some(length) => TusError::TooLong(length),
        None => UploadError::BodyTooLarge(gateway.config.uploads.size_max).into(),
    }
}

/// The builder as the request before left it.
fn restore(upload: &TusUpload, state: &[u8], tail: &[u8]) -> Result<FileBuilder, TusError> {
    let damaged = |error| TusError::Damaged(upload.id.clone(), error);
    let profile = profile(upload)?;
    let builder = if state.is_empty() {
        FileBuilder::new(profile)
    } else {
        FileBuilder::from_state(profile, state).map_err(damaged)?
    };
    let adds_up = builder.size_bytes().saturating_add(tail.len() as u64) == upload.offset_bytes;
    let is_leaf = tail.len() < profile.chunk_bytes();
    if adds_up && is_leaf { Ok(builder) } else { Err(damaged(content::unixfs::file::StateError::Length)) }
}

/// A request's bytes being taken in.
struct Taking<'t> {
    gateway: &'t Gateway,
    claim: &'t Claim,
    handle: &'t UploadHandle,
    ingest: Ingest<'t>,
    /// With the offset behind the bytes so far.
    upload: TusUpload,
    /// Where the upload ends at the latest.
    end: u64,
    checksum: Option<Checksum>,
    /// Of a request that is kept whole, its bytes so far.
    digest: Option<blake3::Hasher>,
    /// How far was last recorded, or is being recorded.
    noted_bytes: u64,
    under_way: Option<JoinHandle<Result<(), TusError>>>,
}

impl Taking<'_> {
    /// Takes bytes in to the end of the body, or until it is cut off, which is not an error but what is given back.
    async fn body(&mut self, body: Body) -> Result<Option<UploadError>, TusError> {
        let mut body = body.into_data_stream();
        let mut pace = Pace::new(&self.gateway.config.uploads);
        loop {
            let next = self.ingest.wait(body.try_next());
            let next = tokio::select! {
                biased;
                next = pace.wait(next) => next,
                () = self.claim.should_end() => {
                    return Ok(Some(UploadError::BodyIncomplete("another request goes on with this upload".into())));
                }
            };
            let bytes = match next {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Ok(Some(UploadError::BodyIncomplete(error.to_string()))),
                Err(slow) => return Ok(Some(slow)),
            };
            pace.count(bytes.len())?;
            let offset = self.upload.offset_bytes.saturating_add(bytes.len() as u64);
            if offset > self.end {
                return Err(too_long(self.gateway, self.upload.length_bytes));
            }
            if let Some(checksum) = &mut self.checksum {
                checksum.update(&bytes);
            }
            if let Some(digest) = &mut self.digest {
                digest.update(&bytes);
            }
            self.ingest.write(bytes).await?;
            self.upload.offset_bytes = offset;
            self.note().await?;
        }
    }

    /// Has it recorded how far the upload has come, if that was long ago; without waiting for it. Bytes that are still to be
    /// checked, or kept only all together, are not recorded.
    async fn note(&mut self) -> Result<(), TusError> {
        if let Some(under_way) = self.under_way.take_if(|under_way| under_way.is_finished()) {
            under_way.await.map_err(|_| TusError::Broken)??;
        }
        let placed_bytes = self.ingest.builder().size_bytes();
        let is_due = placed_bytes >= self.noted_bytes.saturating_add(self.gateway.config.tus.progress_bytes);
        let is_early = self.checksum.is_some() || self.digest.is_some();
        if !is_due || self.under_way.is_some() || is_early {
            return Ok(());
        }
        let progress = TusProgress {
            offset_bytes: placed_bytes,
            length_bytes: self.upload.length_bytes,
            builder: self.ingest.builder().state(),
            ..TusProgress::default()
        };
        self.noted_bytes = placed_bytes;
        let settlement = self.handle.settle().await?;
        let (gateway, id, claim) =
            (self.gateway.clone(), self.upload.id.clone(), self.claim.name().to_string());
        self.under_way =
            Some(tokio::spawn(async move { settle(&gateway, &id, &claim, progress, settlement).await }));
        Ok(())
    }
}

/// What the next request needs to know, or the root when there is none to come.
async fn last_progress(
    ingest: Ingest<'_>,
    upload: &mut TusUpload,
    is_complete: bool,
) -> Result<TusProgress, TusError> {
    let mut progress = TusProgress {
        offset_bytes: upload.offset_bytes,
        length_bytes: upload.length_bytes,
        ..TusProgress::default()
    };
    if is_complete {
        let file = ingest.finish().await?;
        progress.root = Some((file.root, file.dag_size_bytes));
    } else {
        let (builder, tail) = ingest.pause().await?;
        (progress.builder, progress.tail) = (builder.state(), tail);
    }
    Ok(progress)
}

/// Records the last progress of a request.
pub(super) async fn record(
    gateway: &Gateway,
    claim: &Claim,
    upload: &mut TusUpload,
    progress: TusProgress,
    settlement: Settlement,
) -> Result<(), TusError> {
    upload.root.clone_from(&progress.root);
    settle(gateway, &upload.id, claim.name(), progress, settlement).await?;
    let now = gateway.clock.now();
    upload.due = now + gateway.config.tus.expiry;
    if upload.kind == TusKind::Partial && upload.root.is_some() {
        upload.finished = Some(now);
    }
    Ok(())
}

/// Waits for blocks to be durable and records how far the upload has come with them.
async fn settle(
    gateway: &Gateway,
    id: &str,
    claim: &str,
    mut progress: TusProgress,
    settlement: Settlement,
) -> Result<(), TusError> {
    progress.segments = settlement.wait().await?;
    let now = gateway.clock.now();
    let (lease, due) = (now + gateway.config.uploads.lease, now + gateway.config.tus.expiry);
    match gateway.db.record_tus_progress(id, claim, &progress, now, lease, due).await? {
        TusRecorded::Yes => Ok(()),
        TusRecorded::ClaimLost => Err(TusError::Locked),
        TusRecorded::SegmentGone => Err(UploadError::TryAgain.into()),
    }
}
