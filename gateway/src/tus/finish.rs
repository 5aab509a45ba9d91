//! The end of an upload: it becomes a pin as every upload does, and what was to be said of that is said. Only then is it
//! called finished to anybody.

use content::unixfs::Target;
use serde::{Deserialize, Serialize};
use store::{PinChange, PinKind, TusKind, TusUpload};

use super::{Metadata, TusError};
use crate::{
    app::Gateway,
    intake::Root,
    notes::{Notes, NotesError, describe_upload},
    upload::UploadError,
};

/// What is to be said of the file that an upload becomes. It is checked before the upload begins, and kept with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) notes: Notes,
    pub(crate) mime_type: String,
}

impl Said {
    /// As it is kept.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts under texts are JSON")
    }

    /// What is still to be said.
    fn of(upload: &TusUpload) -> Result<Option<Self>, TusError> {
        if upload.notes.is_empty() {
            return Ok(None);
        }
        let said = serde_json::from_str(&upload.notes);
        said.map(Some).map_err(|error| TusError::BadNotes(upload.id.clone(), error))
    }
}

/// Whether all bytes of an upload are there, and something is left to be done with it: because its gateway died in between,
/// or because it could not be done.
pub(super) fn is_to_be_finished(upload: &TusUpload) -> bool {
    let is_left = upload.finished.is_none() || !upload.notes.is_empty();
    upload.root.is_some() && is_left && upload.kind != TusKind::Partial
}

/// Pins an upload whose bytes are all there. May be done twice, by several requests at once as well.
pub(super) async fn finish(gateway: &Gateway, upload: TusUpload) -> Result<TusUpload, TusError> {
    let pinned = if upload.finished.is_some() { Ok(()) } else { pin(gateway, &upload).await };
    let Some(now) = gateway.db.tus_upload(&upload.id).await? else {
        return pinned.and(Err(TusError::Unknown));
    };
    // Another request may have done it meanwhile, and then this one may have failed.
    if now.finished.is_none() {
        return pinned.and(Err(UploadError::TryAgain.into()));
    }
    describe(gateway, &now).await?;
    Ok(now)
}

async fn pin(gateway: &Gateway, upload: &TusUpload) -> Result<(), TusError> {
    let Some((root, dag_size_bytes)) = upload.root.clone() else { return Ok(()) };
    let target = Target { cid: root, dag_size_bytes };
    let (name, expires) = match Said::of(upload)? {
        Some(Said { notes, .. }) => (notes.name.unwrap_or_default(), notes.expires),
        None => (Metadata::parse(&upload.metadata)?.name().to_string(), None),
    };
    let request = Root { target, size_bytes: upload.offset_bytes }.pin(&upload.account, &name, expires);
    let handle = gateway.packer.begin_long(upload.id.clone()).await?;
    handle.rely_on(gateway.db.long_upload_segments(&upload.id).await?).await?;
    for outcome in gateway.pin(handle, vec![request]).await? {
        outcome?;
    }
    Ok(())
}

/// Says what is still to be said of an upload's pin.
async fn describe(gateway: &Gateway, upload: &TusUpload) -> Result<(), TusError> {
    let (Some(Said { notes, mime_type }), Some((root, _))) = (Said::of(upload)?, &upload.root) else {
        return Ok(());
    };
    // Who has unpinned it meanwhile wants nothing said of it.
    let Some(pin) = gateway.db.pin(&upload.account, root).await? else { return Ok(()) };
    let change = notes.change(PinKind { mime_type, files: 1 });
    match describe_upload(gateway, upload, &pin.id, &change).await {
        // Its group was deleted while the bytes came, and files stay when that happens.
        Err(NotesError::UnknownGroup(_)) => {
            let change = PinChange { group: None, ..change };
            Ok(describe_upload(gateway, upload, &pin.id, &change).await?)
        }
        described => Ok(described?),
    }
}
