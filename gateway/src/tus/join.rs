//! Uploads put together into one. Leaves are cut anew, since those of a part begin where the part does: the parts' bytes are
//! read back and taken in once more, in order, as if a client sent them.

use futures_util::TryStreamExt as _;
use retrieval::{ReadError, stream_file};
use service::traces::here;
use store::{TusKind, TusProgress, TusUpload};

use super::{Beginning, Claim, Metadata, TusError, begin, find, finish, profile, write::record};
use crate::{
    app::Gateway,
    upload::{Ingest, UploadError},
};

/// Puts finished partial uploads together, and pins what they become. Goes on when the client goes away. The parts stay
/// until their time is over.
pub(crate) async fn join(
    gateway: &Gateway,
    account: &str,
    metadata: Metadata,
    said: String,
    ids: &[String],
) -> Result<TusUpload, TusError> {
    let parts_max = gateway.config.tus.parts_max;
    if ids.is_empty() || ids.len() > parts_max {
        return Err(TusError::BadParts(format!(
            "{} uploads to be put together, not 1 to {parts_max}",
            ids.len()
        )));
    }
    let mut parts = Vec::with_capacity(ids.len());
    for id in ids {
        let part = find(gateway, account, id).await?;
        if part.kind != TusKind::Partial || part.finished.is_none() {
            return Err(TusError::BadParts(format!("upload {id} is not a partial one that is finished")));
        }
        parts.push(part);
    }
    let length = parts.iter().map(|part| part.offset_bytes).fold(0, u64::saturating_add);
    let slot = gateway.uploads.take(account)?;
    let beginning = Beginning::of(TusKind::Final, metadata, Some(length))?;
    let beginning = Beginning { parts: said, ..beginning };
    let upload = begin(gateway, account, beginning).await?;
    let gateway = gateway.clone();
    let task = tokio::spawn(here().carry(async move {
        let _slot = slot;
        let id = upload.id.clone();
        let joined = join_parts(&gateway, upload, &parts).await;
        if joined.is_err()
            && let Err(error) = gateway.db.remove_tus_upload(&id).await
        {
            // It is over by itself some time.
            tracing::warn!(%error, "could not forget an upload whose parts could not be put together");
        }
        joined
    }));
    task.await.map_err(|_| TusError::Broken)?
}

async fn join_parts(
    gateway: &Gateway,
    upload: TusUpload,
    parts: &[TusUpload],
) -> Result<TusUpload, TusError> {
    let mut ids: Vec<String> = parts.iter().map(|part| part.id.clone()).collect();
    ids.dedup();
    let due = gateway.clock.now() + gateway.config.tus.expiry;
    if !gateway.db.extend_tus_uploads(&ids, due).await? {
        return Err(TusError::Expired);
    }
    let (claim, claimed) = Claim::take(gateway, &upload.id).await?;
    let joined = join_claimed(gateway, &claim, claimed.upload, parts).await;
    claim.release().await;
    finish(gateway, joined?).await
}

async fn join_claimed(
    gateway: &Gateway,
    claim: &Claim,
    mut upload: TusUpload,
    parts: &[TusUpload],
) -> Result<TusUpload, TusError> {
    let handle = gateway.packer.begin_long(upload.id.clone()).await?;
    let mut ingest = Ingest::new(&handle, gateway.ingest.clone(), profile(&upload)?);
    for part in parts {
        let Some((root, _)) = &part.root else { continue };
        let blocks = gateway.unfinished.clone();
        let block = blocks.get(root).await.map_err(unread)?;
        let mut bytes = Box::pin(stream_file(blocks, block, 0..part.offset_bytes));
        while let Some(bytes) = bytes.try_next().await.map_err(unread)? {
            if claim.is_lost() {
                return Err(TusError::Locked);
            }
            upload.offset_bytes += bytes.len() as u64;
            ingest.write(bytes).await?;
        }
    }
    let file = ingest.finish().await?;
    let progress = TusProgress {
        offset_bytes: upload.offset_bytes,
        length_bytes: upload.length_bytes,
        root: Some((file.root, file.dag_size_bytes)),
        ..TusProgress::default()
    };
    record(gateway, claim, &mut upload, progress, handle.settle().await?).await?;
    Ok(upload)
}

fn unread(error: ReadError) -> TusError {
    tracing::warn!(%error, "could not read part of an upload back");
    match error {
        ReadError::Denied(cid, _) => UploadError::Denied(cid).into(),
        _ => UploadError::TryAgain.into(),
    }
}
