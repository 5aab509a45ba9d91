//! Requests that are repeated although all their bytes were taken, because the answer was lost. Clients of Pinata's repeat
//! them as they were and never ask how far the upload is.

use axum::body::Body;
use futures_util::TryStreamExt as _;
use store::{TusPiece, TusUpload};

use super::{Claim, TusError};
use crate::{app::Gateway, intake::Pace, upload::UploadError};

/// Reads a request that begins where the last one that was taken began. If it brings the same bytes these are durable, and
/// the upload is as that one left it.
pub(super) async fn repeat(
    gateway: &Gateway,
    claim: &Claim,
    upload: TusUpload,
    last: &TusPiece,
    body: Body,
) -> Result<TusUpload, TusError> {
    let other = TusError::Offset { expected: upload.offset_bytes, given: last.offset_bytes };
    let mut body = body.into_data_stream();
    let mut pace = Pace::new(&gateway.config.uploads);
    let mut digest = blake3::Hasher::new();
    let mut left = upload.offset_bytes.saturating_sub(last.offset_bytes);
    loop {
        let next = tokio::select! {
            biased;
            next = pace.wait(body.try_next()) => next?,
            () = claim.should_end() => return Err(TusError::Locked),
        };
        let next = next.map_err(|error| UploadError::BodyIncomplete(error.to_string()))?;
        let Some(bytes) = next else { break };
        pace.count(bytes.len())?;
        let Some(rest) = left.checked_sub(bytes.len() as u64) else { return Err(other) };
        left = rest;
        digest.update(&bytes);
    }
    if digest.finalize().to_hex().as_str() == last.hash { Ok(upload) } else { Err(other) }
}
