//! The end of an upload: it becomes a pin as every upload does.

use store::TusUpload;

use super::{Metadata, TusError};
use crate::{
    app::Gateway,
    upload::{PinRequest, UploadError, pin_name},
};

/// Pins an upload whose bytes are all there. May be done twice, by several requests at once as well.
pub(super) async fn finish(gateway: &Gateway, upload: TusUpload) -> Result<TusUpload, TusError> {
    let pinned = pin(gateway, &upload).await;
    let Some(now) = gateway.db.tus_upload(&upload.id).await? else {
        return pinned.and(Err(TusError::Unknown));
    };
    // Another request may have done it meanwhile, and then this one may have failed.
    if now.finished.is_some() { Ok(now) } else { pinned.and(Err(UploadError::TryAgain.into())) }
}

async fn pin(gateway: &Gateway, upload: &TusUpload) -> Result<(), TusError> {
    let Some((root, dag_size_bytes)) = upload.root.clone() else { return Ok(()) };
    if gateway.blocks.denylist().denied(&root).is_some() {
        return Err(UploadError::Denied(root).into());
    }
    let request = PinRequest {
        waiting: None,
        claim: store::Claim::Pin,
        beside: None,
        account: upload.account.clone(),
        name: pin_name(Metadata::parse(&upload.metadata)?.name()),
        root: root.clone(),
        size_bytes: upload.offset_bytes,
        dag_size_bytes,
        expires: None,
    };
    let handle = gateway.packer.begin_long(upload.id.clone()).await?;
    handle.rely_on(gateway.db.long_upload_segments(&upload.id).await?).await?;
    for outcome in handle.finish(vec![request]).await? {
        outcome?;
    }
    gateway.known_roots.invalidate(&root);
    metrics::counter!("uploads_total").increment(1);
    metrics::counter!("uploaded_bytes_total").increment(upload.offset_bytes);
    Ok(())
}
