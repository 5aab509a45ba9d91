//! The bytes of a batch of challenges and of its answers.
//!
//! - Request: `paq1`, nonce (32), count (2), then per challenge hash (32) and piece length (4).
//! - Response: `par1`, count (2), then per answer a tag (1) and, after tag 0, length (2) and bytes of the
//!   proof.
//!
//! Numbers are little-endian. Parsers account for every byte, allocate no more than what has arrived, and
//! never panic.

use super::Challenge;
use crate::{ids::PieceHash, piece::SEGMENT_MAX, proof::CHUNK_LEN};

/// Most challenges of one batch.
pub const CHALLENGES_MAX: usize = 1024;
/// Longest piece: a whole segment (when one piece is enough to rebuild it).
pub const PIECE_LEN_MAX: u64 = SEGMENT_MAX;
/// Longest proof of one chunk: the chunk, and two hashes on each of the 16 levels above it in the longest
/// piece.
pub const PROOF_LEN_MAX: usize = 1024 + 16 * 64;
const _: () = assert!(PIECE_LEN_MAX / CHUNK_LEN <= 1 << 16);

const REQUEST: [u8; 4] = *b"paq1";
const RESPONSE: [u8; 4] = *b"par1";
const CHALLENGE_LEN: usize = 32 + 4;

const PROOF: u8 = 0;
const NOT_FOUND: u8 = 1;
const CORRUPT: u8 = 2;
const ERROR: u8 = 3;

/// One visit's challenges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Fresh random bytes; with it, each challenge's range is known.
    pub nonce: [u8; 32],
    /// At most [`CHALLENGES_MAX`].
    pub challenges: Vec<Challenge>,
}

/// What a node answers to one challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The Bao slice for the range of the challenge.
    Proof(&'a [u8]),
    /// It does not have the piece.
    NotFound,
    /// Its copy has gone bad.
    Corrupt,
    /// It could not read the piece just now.
    Error,
}

/// A body that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not a body of this kind or version.
    #[error("not an audit body of version 1")]
    Magic,
    /// It ends too early, or goes on too long.
    #[error("audit body of the wrong length")]
    Length,
    /// More challenges than [`CHALLENGES_MAX`], or not as many answers as challenges.
    #[error("audit body with {0} entries")]
    Count(usize),
    /// An impossible value.
    #[error("entry {0} of the audit body is malformed")]
    Entry(usize),
}

impl Batch {
    /// The body of the request. Its BLAKE3 hash goes into the order, as [`crate::order::Action::Audit`].
    ///
    /// Fails when there are too many challenges or a piece is longer than any can be.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let mut body = Vec::with_capacity(4 + 32 + 2 + self.challenges.len() * CHALLENGE_LEN);
        body.extend_from_slice(&REQUEST);
        body.extend_from_slice(&self.nonce);
        body.extend_from_slice(&count(self.challenges.len())?.to_le_bytes());
        for (index, challenge) in self.challenges.iter().enumerate() {
            let len = u32::try_from(challenge.piece_len).map_err(|_| FrameError::Entry(index))?;
            if !(1..=PIECE_LEN_MAX).contains(&challenge.piece_len) {
                return Err(FrameError::Entry(index));
            }
            body.extend_from_slice(&challenge.hash.0);
            body.extend_from_slice(&len.to_le_bytes());
        }
        Ok(body)
    }

    /// Reads the body of a request.
    pub fn decode(body: &[u8]) -> Result<Self, FrameError> {
        let mut body = Reader::new(body, REQUEST)?;
        let nonce = body.array()?;
        let count = body.count()?;
        if count > CHALLENGES_MAX {
            return Err(FrameError::Count(count));
        }
        let mut challenges = Vec::with_capacity(count.min(body.rest.len() / CHALLENGE_LEN));
        for index in 0..count {
            let hash = PieceHash(body.array()?);
            let piece_len = u64::from(u32::from_le_bytes(body.array()?));
            if !(1..=PIECE_LEN_MAX).contains(&piece_len) {
                return Err(FrameError::Entry(index));
            }
            challenges.push(Challenge { hash, piece_len });
        }
        body.end()?;
        Ok(Self { nonce, challenges })
    }

    /// Longest body that a request can have: what a node reads at most.
    pub const fn body_len_max() -> usize {
        4 + 32 + 2 + CHALLENGES_MAX * CHALLENGE_LEN
    }

    /// Longest body that the answers to this batch can have: what a monitor reads at most, and what the order
    /// allows.
    pub fn answers_len_max(&self) -> usize {
        4 + 2 + self.challenges.len() * (1 + 2 + PROOF_LEN_MAX)
    }
}

/// The body of a response, made one answer after the other in the order of the challenges.
#[derive(Debug, Clone)]
pub struct Answers(Vec<u8>);

impl Answers {
    /// For a batch of `count` challenges, each of which must get its answer.
    pub fn new(count: usize) -> Result<Self, FrameError> {
        let mut body = Vec::with_capacity(4 + 2 + count.min(CHALLENGES_MAX) * (PROOF_LEN_MAX / 2));
        body.extend_from_slice(&RESPONSE);
        body.extend_from_slice(&self::count(count)?.to_le_bytes());
        Ok(Self(body))
    }

    /// Adds the answer to the next challenge. A proof that is too long to be one is sent as
    /// [`Answer::Error`].
    pub fn push(&mut self, answer: &Answer<'_>) {
        match answer {
            Answer::Proof(slice) => match u16::try_from(slice.len()) {
                Ok(len) if slice.len() <= PROOF_LEN_MAX => {
                    self.0.push(PROOF);
                    self.0.extend_from_slice(&len.to_le_bytes());
                    self.0.extend_from_slice(slice);
                }
                _ => self.0.push(ERROR),
            },
            Answer::NotFound => self.0.push(NOT_FOUND),
            Answer::Corrupt => self.0.push(CORRUPT),
            Answer::Error => self.0.push(ERROR),
        }
    }

    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        self.0
    }
}

/// Reads the body of a response to a batch of `expected` challenges. The proofs stay where they are.
pub fn decode_answers(body: &[u8], expected: usize) -> Result<Vec<Answer<'_>>, FrameError> {
    let mut body = Reader::new(body, RESPONSE)?;
    let count = body.count()?;
    if count != expected || count > CHALLENGES_MAX {
        return Err(FrameError::Count(count));
    }
    let mut answers = Vec::with_capacity(count.min(body.rest.len()));
    for index in 0..count {
        let [tag] = body.array()?;
        answers.push(match tag {
            PROOF => {
                let len = usize::from(u16::from_le_bytes(body.array()?));
                if len > PROOF_LEN_MAX {
                    return Err(FrameError::Entry(index));
                }
                Answer::Proof(body.take(len)?)
            }
            NOT_FOUND => Answer::NotFound,
            CORRUPT => Answer::Corrupt,
            ERROR => Answer::Error,
            _ => return Err(FrameError::Entry(index)),
        });
    }
    body.end()?;
    Ok(answers)
}

fn count(len: usize) -> Result<u16, FrameError> {
    if len > CHALLENGES_MAX {
        return Err(FrameError::Count(len));
    }
    u16::try_from(len).map_err(|_| FrameError::Count(len))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(body: &'a [u8], magic: [u8; 4]) -> Result<Self, FrameError> {
        body.strip_prefix(&magic).map(|rest| Self { rest }).ok_or(FrameError::Magic)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(FrameError::Length)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(FrameError::Length)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn count(&mut self) -> Result<usize, FrameError> {
        self.array().map(|bytes| usize::from(u16::from_le_bytes(bytes)))
    }

    fn end(&self) -> Result<(), FrameError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FrameError::Length) }
    }
}
