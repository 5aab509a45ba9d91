//! The upload flow: a body becomes blocks (`ingest`), blocks of all uploads share segments (`packer`, `packing`), full or
//! ripe segments are coded and spread (`seal`) while there is memory for them (`room`), and metadata is recorded in groups
//! (`commit`).
//!
//! Memory is bounded by `coding_bytes` (segments in work with their pieces), `segment_bytes` (the open segment),
//! `ingest_bytes` (leaves being filled, hashed or waiting), and 128 KiB for each of `uploads_max` uploads, or a leaf
//! of 1 MiB where its client is slow.

mod commit;
mod ingest;
mod log;
mod packer;
mod packing;
mod room;
mod seal;
mod segment;
mod slots;

use axum::http::StatusCode;
use content::Cid;
use protocol::time::UnixMillis;
use service::http::error::ApiError;
use store::{Beside, Claim};

pub(crate) use commit::Outcomes;
pub(crate) use ingest::{Ingest, IngestParts};
pub use log::{PinLogConfig, WritePinLog};
pub(crate) use packer::{Packer, Settlement, UploadHandle};
#[cfg(test)]
pub(crate) use packing::InHand;
pub(crate) use packing::new_id;
pub(crate) use room::Room;
pub(crate) use seal::Sealer;
pub(crate) use slots::{UploadSlot, UploadSlots};

/// What an upload becomes when it is finished.
#[derive(Clone, Debug)]
pub(crate) struct PinRequest {
    /// The name of a pin that waits for it; otherwise one is drawn when the upload ends.
    pub(crate) waiting: Option<String>,
    pub(crate) claim: Claim,
    pub(crate) beside: Option<Beside>,
    pub(crate) account: String,
    pub(crate) name: String,
    pub(crate) root: Cid,
    pub(crate) size_bytes: u64,
    pub(crate) dag_size_bytes: u64,
    pub(crate) expires: Option<UnixMillis>,
}

impl PinRequest {
    /// The same, but only held until then.
    pub(crate) fn held(self, until: UnixMillis) -> Self {
        Self { claim: Claim::Hold, expires: Some(until), ..self }
    }
}

/// Why an upload failed. Clone, because one lost segment fails every upload in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadError {
    /// The body is longer than allowed.
    #[error("the body is longer than the {0} bytes allowed for one upload")]
    BodyTooLarge(u64),
    /// The body ended early: the client went away or lied about its length.
    #[error("the body ended before it was complete: {0}")]
    BodyIncomplete(String),
    /// Not a form, or a form without files.
    #[error("{0}")]
    BadForm(String),
    /// An archive that cannot be unpacked.
    #[error("{0}")]
    BadArchive(String),
    /// Archives that are read whole have no room just now.
    #[error("there is no room for another archive just now, please try again")]
    SpoolFull,
    /// The gateway's disk failed.
    #[error("the archive could not be put down here, please try again")]
    SpoolFailed,
    /// A CAR with a root of which blocks are missing, here too.
    #[error("{0}")]
    IncompleteDag(String),
    /// CARs of more blocks and links, and directories of more names, than allowed.
    #[error("more than {0} blocks, links and names in uploads at once; try a smaller one, or later")]
    TooManyBlocks(u32),
    /// More entries than allowed.
    #[error("more than {0} files in one upload")]
    TooManyFiles(usize),
    /// A file name that cannot stand in a directory.
    #[error("{0}")]
    BadPath(String),
    /// A parameter that is not understood.
    #[error("{0}")]
    BadParameter(String),
    /// The root is on a denylist.
    #[error("{0} is on a denylist here and is not taken")]
    Denied(Cid),
    /// The account's quota is used up.
    #[error("the account's quota does not allow this upload")]
    QuotaExceeded,
    /// Too many uploads at once.
    #[error("too many uploads are in progress")]
    Busy,
    /// Fewer nodes than a segment needs.
    #[error("only {usable} storage nodes are usable and {needed} are needed")]
    TooFewNodes { usable: usize, needed: usize },
    /// Enough nodes, but not enough with space.
    #[error("the storage nodes have no space left")]
    NoSpace,
    /// Pieces could not be made durable on enough nodes.
    #[error("the upload could not be stored: {0}")]
    NotStored(String),
    /// The database did not record it.
    #[error("the metadata store is unavailable")]
    StoreUnavailable,
    /// The pin that it was for was removed meanwhile.
    #[error("the pin was removed meanwhile")]
    Withdrawn,
    /// A block that was stored already went away meanwhile.
    #[error("stored blocks changed while this was uploaded, please try again")]
    TryAgain,
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let (status, reason, retry_after_secs) = match &error {
            UploadError::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", None),
            UploadError::BodyIncomplete(_) => (StatusCode::BAD_REQUEST, "body_incomplete", None),
            UploadError::BadForm(_) => (StatusCode::BAD_REQUEST, "bad_form", None),
            UploadError::BadArchive(_) => (StatusCode::BAD_REQUEST, "bad_archive", None),
            UploadError::SpoolFull => (StatusCode::SERVICE_UNAVAILABLE, "spool_full", Some(10)),
            UploadError::SpoolFailed => (StatusCode::SERVICE_UNAVAILABLE, "spool_failed", Some(10)),
            UploadError::IncompleteDag(_) => (StatusCode::UNPROCESSABLE_ENTITY, "incomplete_dag", None),
            UploadError::TooManyBlocks(_) => (StatusCode::SERVICE_UNAVAILABLE, "too_many_blocks", Some(30)),
            UploadError::TooManyFiles(_) => (StatusCode::BAD_REQUEST, "too_many_files", None),
            UploadError::BadPath(_) => (StatusCode::BAD_REQUEST, "bad_path", None),
            UploadError::BadParameter(_) => (StatusCode::BAD_REQUEST, "bad_parameter", None),
            UploadError::Denied(_) => (StatusCode::FORBIDDEN, "denied", None),
            UploadError::QuotaExceeded => (StatusCode::FORBIDDEN, "quota_exceeded", None),
            UploadError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", Some(1)),
            UploadError::TooFewNodes { .. } => (StatusCode::SERVICE_UNAVAILABLE, "too_few_nodes", Some(30)),
            UploadError::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "no_space", None),
            UploadError::NotStored(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_stored", Some(5)),
            UploadError::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", Some(5)),
            UploadError::Withdrawn => (StatusCode::CONFLICT, "withdrawn", None),
            UploadError::TryAgain => (StatusCode::SERVICE_UNAVAILABLE, "try_again", Some(1)),
        };
        Self { status, reason, details: error.to_string(), retry_after_secs }
    }
}
