//! The end of an upload: it becomes a pin as every upload does.

use content::unixfs::Target;
use store::TusUpload;

use super::{Metadata, TusError};
use crate::{app::Gateway, intake::Root, upload::UploadError};

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
    let target = Target { cid: root, dag_size_bytes };
    let name = Metadata::parse(&upload.metadata)?.name().to_string();
    let request = Root { target, size_bytes: upload.offset_bytes }.pin(&upload.account, &name, None);
    let handle = gateway.packer.begin_long(upload.id.clone()).await?;
    handle.rely_on(gateway.db.long_upload_segments(&upload.id).await?).await?;
    for outcome in gateway.pin(handle, vec![request]).await? {
        outcome?;
    }
    Ok(())
}
