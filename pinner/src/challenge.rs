//! Answering a batch of challenges: one proof each, or what is wrong with the piece.

use std::sync::Arc;

use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::future::try_join_all;
use protocol::{
    audit::{Answer, Answers, Batch, Challenge, FrameError},
    proof,
};
use service::http::error::ApiError;

use crate::{
    disk::blocking,
    piece_store::{PieceStore, ReadError},
};

/// Threads that read for one batch: a disk with several requests at hand serves them in its own order.
const READERS: usize = 4;

/// Why a batch is not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChallengeError {
    /// The body is no batch.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The answers would be longer than the order allows.
    #[error("order allows {bytes_max} bytes, the answers have {answers_len}")]
    OverOrder {
        /// What the order allows.
        bytes_max: u64,
        /// Length of the answers.
        answers_len: u64,
    },
    /// Something of ours failed.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl From<ChallengeError> for ApiError {
    fn from(error: ChallengeError) -> Self {
        match error {
            ChallengeError::Frame(error) => Self::bad_request("bad_batch", error),
            ChallengeError::OverOrder { .. } => Self::new(StatusCode::FORBIDDEN, "order_refused", error),
            ChallengeError::Internal(error) => Self::internal(&error),
        }
    }
}

/// What was found for one challenge.
enum Finding {
    Proof(Bytes),
    NotFound,
    Corrupt,
    Error,
}

/// The body that answers the batch in `body`, if it stays within `bytes_max`.
pub(crate) async fn answer(
    store: &Arc<dyn PieceStore>,
    body: &[u8],
    bytes_max: u64,
) -> Result<Vec<u8>, ChallengeError> {
    let batch = Batch::decode(body)?;
    let answers_len = answers_len(&batch);
    if answers_len > bytes_max {
        return Err(ChallengeError::OverOrder { bytes_max, answers_len });
    }
    let share = batch.challenges.len().div_ceil(READERS).max(1);
    let readers = batch.challenges.chunks(share).map(|challenges| {
        let (store, nonce, challenges) = (store.clone(), batch.nonce, challenges.to_vec());
        blocking(move || -> Vec<Finding> {
            challenges.iter().map(|challenge| find(store.as_ref(), &nonce, challenge)).collect()
        })
    });
    let mut answers = Answers::new(batch.challenges.len())?;
    for finding in try_join_all(readers).await?.iter().flatten() {
        let (answer, label) = match finding {
            Finding::Proof(slice) => (Answer::Proof(slice), "proof"),
            Finding::NotFound => (Answer::NotFound, "not_found"),
            Finding::Corrupt => (Answer::Corrupt, "corrupt"),
            Finding::Error => (Answer::Error, "error"),
        };
        answers.push(&answer);
        metrics::counter!("pinstripe_challenges_total", "answer" => label).increment(1);
    }
    Ok(answers.into_body())
}

/// Length of the body when every challenge gets its proof: magic, count, and for each one a tag, a length and the slice.
fn answers_len(batch: &Batch) -> u64 {
    let proofs = batch.challenges.iter().map(|challenge| {
        let range = challenge.range(&batch.nonce);
        3 + proof::encoded_len(challenge.piece_len, &range)
    });
    6 + proofs.sum::<u64>()
}

fn find(store: &dyn PieceStore, nonce: &[u8; 32], challenge: &Challenge) -> Finding {
    let slice = store.read(challenge.hash).and_then(|reader| {
        if reader.piece_len() == challenge.piece_len {
            return reader.slice_to_bytes(challenge.range(nonce)).map(Some);
        }
        // The asker has the piece's length wrong. A proof for another length would look like a lie.
        tracing::warn!(piece = %challenge.hash, bytes = reader.piece_len(), expected_bytes = challenge.piece_len, "challenge with another length");
        Ok(None)
    });
    match slice {
        Ok(Some(slice)) => Finding::Proof(slice),
        Ok(None) => Finding::Error,
        Err(ReadError::NotFound(_)) => Finding::NotFound,
        Err(error @ ReadError::Corrupt(_)) => {
            tracing::warn!(piece = %challenge.hash, %error, "damage found by an audit");
            Finding::Corrupt
        }
        Err(error) => {
            tracing::error!(piece = %challenge.hash, %error, "challenge could not be answered");
            Finding::Error
        }
    }
}
