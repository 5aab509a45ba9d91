//! The way of a form or a text to a pin with all that is said of it.

use axum::extract::Request;
use content::unixfs::profile::CidVersion;
use service::http::error::ApiError;
use store::{Committed, PinDetails, PinFilter, PinKind};

use crate::{
    app::Gateway,
    database::store_failed,
    intake::{Expected, Intake, Late, Root},
    notes::{Notes, check_group, describe, mime_type},
    routes::files::refuse_early,
    upload::UploadError,
};

/// A file that is pinned.
pub(super) struct Pinned {
    /// It, as all lists show it.
    pub(super) details: PinDetails,
    /// Its CID as this upload gives it.
    pub(super) cid: String,
    /// Whether the account had it before.
    pub(super) duplicate: bool,
}

/// Takes a form in. Nothing is pinned yet.
pub(super) async fn form(
    gateway: &Gateway,
    account: &str,
    request: Request,
    expected: Expected,
) -> Result<Late, ApiError> {
    refuse_early(gateway, account, request.headers()).await?;
    Ok(Intake::late(gateway, account, request, expected).await?)
}

/// Pins what a form has brought.
pub(super) async fn pin_form(
    gateway: &Gateway,
    account: &str,
    late: Late,
    notes: Notes,
) -> Result<Pinned, ApiError> {
    let kind = PinKind { mime_type: type_of(&late), files: late.files };
    let Late { intake, root, name, first, .. } = late;
    let notes = Notes { name: notes.name.or(Some(name)), ..notes };
    let pinned = pin(gateway, account, intake, root, notes, kind).await;
    if let Some(first) = first {
        first.release().await;
    }
    pinned
}

/// The media type of what a form has brought.
pub(super) fn type_of(late: &Late) -> String {
    if late.is_directory { "directory".into() } else { mime_type(late.mime_type.as_deref(), &late.name) }
}

/// Pins a root. What is said of it is recorded after it and before anybody is told: an upload whose answer never came
/// may have left a pin without its metadata, and repeating it adds that.
pub(super) async fn pin(
    gateway: &Gateway,
    account: &str,
    intake: Intake,
    root: Root,
    notes: Notes,
    kind: PinKind,
) -> Result<Pinned, ApiError> {
    if let Some(group) = &notes.group {
        check_group(gateway, account, group).await?;
    }
    let request = root.pin(account, notes.name.as_deref().unwrap_or_default(), notes.expires);
    let cid = request.root.as_written().to_string();
    let outcome = intake.finish(vec![request]).await?.pop().unwrap_or(Err(UploadError::TryAgain))?;
    describe(gateway, account, &outcome.pin, &notes.change(kind)).await?;
    let details = find(gateway, account, &outcome.pin).await?.ok_or(UploadError::TryAgain)?;
    let duplicate = outcome.committed == Committed::AlreadyPinned;
    Ok(Pinned { details, cid, duplicate })
}

/// A pin by its id.
pub(super) async fn find(gateway: &Gateway, account: &str, id: &str) -> Result<Option<PinDetails>, ApiError> {
    let filter = PinFilter { ids: vec![id.to_string()], ..PinFilter::default() };
    Ok(gateway.db.find_pins(account, &filter, 1).await.map_err(store_failed)?.pins.pop())
}

/// The version that a form asks for.
pub(super) fn version(text: &str) -> Result<CidVersion, UploadError> {
    match text.trim_matches(['"', ' ']) {
        "0" | "v0" => Ok(CidVersion::V0),
        "1" | "v1" => Ok(CidVersion::V1),
        other => Err(UploadError::BadParameter(format!("CID version {other:?} is neither 0 nor 1"))),
    }
}
