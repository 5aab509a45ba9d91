//! Audits: what a node is asked, what it answers, and what follows from the answer.
//!
//! A monitor sends one [`Batch`] of challenges per visit. All that is random in it is one nonce: which chunk
//! of a piece is asked for follows from nonce, hash and length, so a node cannot know it beforehand and both
//! sides compute the same. The node answers each challenge with a proof ([`crate::proof`]) or with what is
//! wrong. [`judge`] turns a visit into an [`Outcome`]: only a failed verdict costs a pin. What verdicts do to
//! a node's standing is in [`crate::reputation`].

use std::ops::Range;

use crate::{
    ids::PieceHash,
    proof::{self, CHUNK_LEN, ReadAt},
};

mod containment;
mod frame;

pub use containment::{AuditRules, Containment, WholeCheck};
pub use frame::{
    Answer, Answers, Batch, CHALLENGES_MAX, FrameError, PIECE_LEN_MAX, PROOF_LEN_MAX, decode_answers,
};

/// One piece that a node must prove to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The piece.
    pub hash: PieceHash,
    /// Its length in bytes, 1..=[`PIECE_LEN_MAX`].
    pub piece_len: u64,
}

/// Why a piece counts as lost by its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The proof does not fit the piece's hash: the node lied, or serves what it has not checked.
    WrongBytes,
    /// The node says that it does not have the piece.
    NotFound,
    /// The node says that its copy has gone bad. The pin is lost like with any fault, but the node's score
    /// suffers less than by a lie ([`crate::reputation::ReputationRules::admitted_weight`]), so that
    /// scrubbing and owning up pays.
    Admitted,
    /// The node took the connection and then did not answer in time, again and again.
    TimedOut,
}

/// What one challenge came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The node has the piece.
    Passed,
    /// The node does not have the piece. Its pin is lost.
    Failed(Fault),
    /// Nothing is known. Costs nothing but the score for unknowns.
    Unknown,
}

/// How a visit went, as far as the connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// No connection: refused, unreachable, no such host, handshake failed.
    Unreachable,
    /// Connected, but no complete answer in time.
    TimedOut,
    /// Connected, but the connection broke.
    Broken,
    /// An HTTP status other than 200.
    Status(u16),
    /// The body of a 200.
    Body(&'a [u8]),
}

/// What a visit came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node was not there. This never costs what a wrong answer costs.
    Offline,
    /// The node stalled. Its pieces are checked again one by one ([`Containment`]); until then nothing is
    /// held against it.
    Contained,
    /// Something else went wrong, perhaps on our side.
    Unknown,
    /// One verdict per challenge, in their order.
    Answered(Vec<Verdict>),
}

impl Challenge {
    /// The chunk that this challenge asks for: 1 KiB at a multiple of 1 KiB, less at the end of the piece.
    pub fn range(&self, nonce: &[u8; 32]) -> Range<u64> {
        let mut hasher = blake3::Hasher::new_keyed(nonce);
        hasher.update(&self.hash.0).update(&self.piece_len.to_le_bytes());
        let mut random = [0; 8];
        random.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        // The high half of the product is uniform in 0..chunks, but for a bias of chunks / 2^64.
        let chunks = self.piece_len.div_ceil(CHUNK_LEN);
        let product = u128::from(u64::from_le_bytes(random)) * u128::from(chunks);
        let start = u64::try_from(product >> 64).unwrap_or(0) * CHUNK_LEN;
        start..self.piece_len.min(start + CHUNK_LEN)
    }

    /// Checks an answer. Never panics, whatever the node sent.
    pub fn verdict(&self, nonce: &[u8; 32], answer: &Answer<'_>) -> Verdict {
        match answer {
            Answer::Proof(slice) => {
                let range = self.range(nonce);
                let mut chunk = [0; CHUNK];
                let len = usize::try_from(range.end - range.start).unwrap_or(CHUNK).min(CHUNK);
                match proof::verify_slice_into(self.hash, self.piece_len, range, *slice, &mut chunk[..len]) {
                    Ok(()) => Verdict::Passed,
                    Err(_) => Verdict::Failed(Fault::WrongBytes),
                }
            }
            Answer::NotFound => Verdict::Failed(Fault::NotFound),
            Answer::Corrupt => Verdict::Failed(Fault::Admitted),
            Answer::Error => Verdict::Unknown,
        }
    }
}

const CHUNK: usize = 1 << 10;

impl Answers {
    /// Answers a challenge from a stored piece and its outboard; a copy that has gone bad is found here and
    /// admitted.
    ///
    /// Returns the error behind an answer other than a proof, for the node's log.
    pub fn answer(
        &mut self,
        nonce: &[u8; 32],
        challenge: &Challenge,
        data: impl ReadAt,
        outboard: impl ReadAt,
    ) -> Result<(), proof::EncodeError> {
        let range = challenge.range(nonce);
        let mut slice = Vec::with_capacity(PROOF_LEN_MAX);
        match proof::encode_slice(data, outboard, challenge.hash, challenge.piece_len, &range, &mut slice) {
            Ok(()) => {
                self.push(&Answer::Proof(&slice));
                Ok(())
            }
            Err(error) => {
                let unread = matches!(error, proof::EncodeError::Read(_) | proof::EncodeError::Write(_));
                self.push(if unread { &Answer::Error } else { &Answer::Corrupt });
                Err(error)
            }
        }
    }
}

/// Judges a visit. An answer that is not of the agreed form says nothing about any piece, so it is unknown:
/// the node may run another version. (It can hide no loss behind that for long; unknowns suspend.)
pub fn judge(batch: &Batch, reply: Reply<'_>) -> Outcome {
    match reply {
        Reply::Unreachable => Outcome::Offline,
        Reply::TimedOut => Outcome::Contained,
        Reply::Broken | Reply::Status(_) => Outcome::Unknown,
        Reply::Body(body) => match decode_answers(body, batch.challenges.len()) {
            Ok(answers) => {
                let pairs = batch.challenges.iter().zip(&answers);
                Outcome::Answered(
                    pairs.map(|(challenge, answer)| challenge.verdict(&batch.nonce, answer)).collect(),
                )
            }
            Err(_) => Outcome::Unknown,
        },
    }
}

#[cfg(test)]
mod tests;
