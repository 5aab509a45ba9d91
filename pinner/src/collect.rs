//! Deleting pieces that nothing refers to any more, and listing what is held so that the network can find them.

use std::sync::Arc;

use protocol::{
    api::{InventoryPage, InventoryPiece, ListedPiece},
    ids::PieceHash,
    unpin::PieceUnpin,
};
use service::http::error::ApiError;

use crate::{
    disk::blocking,
    piece_store::{Described, Inventory, Listed, PieceStore, StoreError},
};

/// Pieces in one deletion, at most.
pub(crate) const DELETE_MAX: usize = 10_000;

/// Why pieces are not deleted or listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// The body is not rows of unpins.
    #[error("a body of {bytes} bytes is not 1 to {DELETE_MAX} unpins of {} bytes", PieceUnpin::LEN)]
    Body {
        /// Its length.
        bytes: usize,
    },
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of ours failed.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl From<CollectError> for ApiError {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::Body { .. } => Self::bad_request("bad_body", error),
            CollectError::Store(error @ StoreError::Busy) => Self::unavailable("busy", error, 1),
            CollectError::Store(error @ StoreError::Closed) => Self::unavailable("stopping", error, 5),
            CollectError::Store(error) => {
                Self::internal(&anyhow::Error::new(error).context("collect pieces"))
            }
            CollectError::Internal(error) => Self::internal(&error),
        }
    }
}

/// Deletes the pieces that the unpins in `body` name; gives how many were here. Those that were not are fine, and those
/// that were ordered here again since they were given up stay.
pub(crate) async fn delete(store: &Arc<dyn PieceStore>, body: &[u8]) -> Result<usize, CollectError> {
    let unpins = PieceUnpin::decode_batch(body).filter(|unpins| (1..=DELETE_MAX).contains(&unpins.len()));
    let unpins = unpins.ok_or(CollectError::Body { bytes: body.len() })?;
    let asked = unpins.len();
    let deleted = store.delete(unpins).await?;
    tracing::info!(pieces = asked, deleted, "pieces deleted");
    metrics::counter!("pinstripe_pieces_deleted_total").increment(deleted as u64);
    Ok(deleted)
}

/// Up to `limit` pieces behind `after`. Damaged ones are listed too: they take up space until they are deleted.
pub(crate) async fn list(
    store: &Arc<dyn PieceStore>,
    after: Option<PieceHash>,
    limit: usize,
) -> Result<Vec<ListedPiece>, CollectError> {
    let store = store.clone();
    let listed = blocking(move || store.list(after, limit)).await??;
    let line =
        |piece: Listed| ListedPiece { hash: piece.hash, stored: piece.stored_at, bytes: piece.piece_len };
    Ok(listed.into_iter().map(line).collect())
}

/// What up to `limit` pieces behind `after` are parts of.
pub(crate) async fn inventory(
    store: &Arc<dyn PieceStore>,
    after: Option<PieceHash>,
    limit: usize,
) -> Result<InventoryPage, CollectError> {
    let store = store.clone();
    let Inventory { pieces, last } = blocking(move || store.inventory(after, limit)).await??;
    let line = |Described { meta, stored_at, corrupt }: Described| InventoryPiece {
        hash: meta.hash,
        segment: meta.segment,
        index: meta.index,
        scheme: meta.scheme.to_string(),
        segment_bytes: meta.segment_len,
        stored: stored_at,
        corrupt,
    };
    Ok(InventoryPage { pieces: pieces.into_iter().map(line).collect(), next: last, receipt: None })
}
