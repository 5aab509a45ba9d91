//! What can be wrong with a request of tus, apart from what can be wrong with any upload.

use axum::http::StatusCode;
use content::unixfs::file::StateError;
use service::http::error::ApiError;
use store::StoreError;

use crate::{notes::NotesError, upload::UploadError};

/// Why a request of tus is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TusError {
    /// No such upload, or another account's.
    #[error("this account has no such upload")]
    Unknown,
    /// Its time is over.
    #[error("the upload did not go on in time and is over")]
    Expired,
    /// Another request writes.
    #[error("another request writes to this upload")]
    Locked,
    /// The request goes on elsewhere than where the upload is.
    #[error("the upload goes on at byte {expected}, not {given}")]
    Offset { expected: u64, given: u64 },
    /// More bytes than the upload has.
    #[error("the upload ends at byte {0}, and more was sent")]
    TooLong(u64),
    /// A length that cannot be.
    #[error("{0}")]
    BadLength(String),
    /// What was sent is not what the client hashed.
    #[error("the bytes do not have the announced checksum; nothing of this request was kept")]
    Checksum,
    /// A header that is not understood.
    #[error("{0}")]
    BadHeader(String),
    /// Parts that cannot be put together.
    #[error("{0}")]
    BadParts(String),
    /// Bytes for an upload that is put together of others.
    #[error("an upload that is put together of others takes no bytes")]
    IsFinal,
    /// Too many uploads that are not finished.
    #[error("the account has {0} uploads that are not finished; finish or delete some")]
    TooMany(u64),
    /// What is recorded of the upload makes no sense.
    #[error("the builder of upload {0} cannot be gone on with: {1}")]
    Damaged(String, StateError),
    /// A profile that this gateway does not know.
    #[error("upload {0} has the unknown import profile {1:?}")]
    UnknownProfile(String, String),
    /// What is to be said of it makes no sense.
    #[error("the notes of upload {0} cannot be read: {1}")]
    BadNotes(String, serde_json::Error),
    /// What was to be said of it is not said.
    #[error(transparent)]
    Notes(#[from] NotesError),
    /// A task of ours ended early.
    #[error("the request was broken off")]
    Broken,
    /// As for any upload.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<TusError> for ApiError {
    fn from(error: TusError) -> Self {
        let (status, reason) = match error {
            TusError::Unknown => (StatusCode::NOT_FOUND, "unknown_upload"),
            TusError::Expired => (StatusCode::GONE, "upload_expired"),
            TusError::Locked => (StatusCode::LOCKED, "upload_locked"),
            TusError::Offset { .. } => (StatusCode::CONFLICT, "offset_mismatch"),
            TusError::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            TusError::BadLength(_) => (StatusCode::BAD_REQUEST, "bad_length"),
            TusError::Checksum => (CHECKSUM_MISMATCH, "checksum_mismatch"),
            TusError::BadHeader(_) => (StatusCode::BAD_REQUEST, "bad_header"),
            TusError::BadParts(_) => (StatusCode::BAD_REQUEST, "bad_parts"),
            TusError::IsFinal => (StatusCode::FORBIDDEN, "final_upload"),
            TusError::TooMany(_) => (StatusCode::FORBIDDEN, "too_many_uploads"),
            TusError::Damaged(..)
            | TusError::UnknownProfile(..)
            | TusError::BadNotes(..)
            | TusError::Broken => return Self::internal(&error.into()),
            TusError::Notes(error) => return error.into(),
            TusError::Upload(error) => return error.into(),
            TusError::Store(StoreError::Database(error)) => {
                tracing::error!(%error, "the metadata store failed");
                return UploadError::StoreUnavailable.into();
            }
            TusError::Store(error) => return Self::internal(&error.into()),
        };
        Self::new(status, reason, error)
    }
}

/// What tus has for it.
static CHECKSUM_MISMATCH: StatusCode = match StatusCode::from_u16(460) {
    Ok(status) => status,
    Err(_) => unreachable!(),
};
