//! Taking a piece: the body is handed to the store as it arrives, and the answer means that the piece is durable.
//!
//! A sender that stops or crawls is cut off, so that it holds neither space nor a place among the puts. Sending the same
//! piece again is fine: the store keeps it once.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use protocol::{ids::PieceHash, order::Order, piece::PieceMeta};
use service::http::error::ApiError;
use tokio::time::{Instant, timeout_at};

use crate::{
    config::LimitsConfig,
    piece_store::{PieceStore, PutError, PutPiece, Stored},
};

/// Why a piece was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] PutError),
    /// The announced length is not the piece's.
    #[error("piece {hash} has {piece_len} bytes, {announced} were announced")]
    Announced {
        /// The piece.
        hash: PieceHash,
        /// Its length.
        piece_len: u64,
        /// What the request says.
        announced: u64,
    },
    /// The order allows fewer bytes than the piece has.
    #[error("order allows {bytes_max} bytes, piece {hash} has {piece_len}")]
    OverOrder {
        /// The piece.
        hash: PieceHash,
        /// Its length.
        piece_len: u64,
        /// What the order allows.
        bytes_max: u64,
    },
    /// The sender is too slow.
    #[error("piece {0} arrived too slowly")]
    TooSlow(PieceHash),
    /// The sender went away.
    #[error("piece {0} broke off")]
    BrokenOff(PieceHash),
}

impl From<AcceptError> for ApiError {
    fn from(error: AcceptError) -> Self {
        let (status, reason) = match &error {
            AcceptError::Announced { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "wrong_length"),
            AcceptError::OverOrder { .. } => (StatusCode::FORBIDDEN, "order_refused"),
            AcceptError::TooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            AcceptError::BrokenOff(_) => (StatusCode::BAD_REQUEST, "broken_off"),
            AcceptError::Store(error) => match error {
                PutError::NoSpace { .. } => (StatusCode::INSUFFICIENT_STORAGE, "no_space"),
                PutError::WrongHash { .. } => (StatusCode::CONFLICT, "wrong_hash"),
                PutError::WrongLength { .. } | PutError::BadLength { .. } => {
                    (StatusCode::UNPROCESSABLE_ENTITY, "wrong_length")
                }
                PutError::Busy => return Self::unavailable("busy", error, 1),
                PutError::Closed => return Self::unavailable("stopping", error, 5),
                PutError::Failed(source) => {
                    return Self::internal(&anyhow::anyhow!("store a piece: {source}"));
                }
            },
        };
        Self::new(status, reason, error)
    }
}

/// Takes the piece that `meta` describes from the body of a request.
pub(crate) async fn accept(
    store: &dyn PieceStore,
    limits: &LimitsConfig,
    (order, meta): (&Order, PieceMeta),
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Stored, AcceptError> {
    let taken = match begin(store, order, meta, headers) {
        Ok(put) => receive(put, meta, limits, &mut body).await,
        Err(error) => Err(error),
    };
    match &taken {
        Ok(stored) => {
            let outcome = if *stored == Stored::New { "new" } else { "held" };
            metrics::counter!("pinstripe_pieces_put_total", "outcome" => outcome).increment(1);
            metrics::counter!("pinstripe_piece_bytes_received_total").increment(meta.piece_len());
        }
        Err(error) => {
            metrics::counter!("pinstripe_pieces_put_total", "outcome" => "refused").increment(1);
            tracing::info!(piece = %meta.hash, segment = %meta.segment, %error, "piece not taken");
            // Who went away or fell silent does not wait for a reason.
            if !matches!(error, AcceptError::TooSlow(_) | AcceptError::BrokenOff(_)) {
                drain(body, meta.piece_len()).await;
            }
        }
    }
    taken
}

/// Everything that can be refused before a byte of the body is read.
fn begin(
    store: &dyn PieceStore,
    order: &Order,
    meta: PieceMeta,
    headers: &HeaderMap,
) -> Result<Box<dyn PutPiece>, AcceptError> {
    let (hash, piece_len) = (meta.hash, meta.piece_len());
    if piece_len > order.bytes_max {
        return Err(AcceptError::OverOrder { hash, piece_len, bytes_max: order.bytes_max });
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match announced {
        Some(announced) if announced != piece_len => {
            Err(AcceptError::Announced { hash, piece_len, announced })
        }
        // By the clock of the network, which is also the one by which pieces are given up.
        _ => Ok(store.put(meta, order.issued)?),
    }
}

async fn receive(
    mut put: Box<dyn PutPiece>,
    meta: PieceMeta,
    limits: &LimitsConfig,
    body: &mut Body,
) -> Result<Stored, AcceptError> {
    // Even at the lowest rate the last byte is here by then.
    let at_lowest_rate = Duration::from_secs(meta.piece_len() / limits.put_rate_min.0.max(1));
    let last = Instant::now() + limits.idle + at_lowest_rate;
    while let Some(bytes) = next_bytes(body, last.min(Instant::now() + limits.idle), meta.hash).await? {
        put.write(bytes).await?;
    }
    Ok(put.finish().await?)
}

async fn next_bytes(
    body: &mut Body,
    deadline: Instant,
    hash: PieceHash,
) -> Result<Option<Bytes>, AcceptError> {
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| AcceptError::TooSlow(hash))?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(AcceptError::BrokenOff(hash)),
            Some(Ok(frame)) => {
                // Trailers say nothing about a piece.
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// How long a refused sender may go on sending.
const DRAIN: Duration = Duration::from_secs(2);

/// Reads what is left of a refused piece. Closing the connection on a sender that is still writing would reset it, and the
/// reason of the refusal could be lost: a full node would look like a broken one.
pub(crate) async fn drain(mut body: Body, bytes_max: u64) {
    let read = async {
        let mut left = bytes_max;
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len) as u64;
            match left.checked_sub(len) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whoever is not done by then gets the reset.
    let _ = tokio::time::timeout(DRAIN, read).await;
}
