//! Orders: signed, short-lived leave to do one thing with pieces on one node.
//!
//! The network (a gateway or a monitor, holding the network key) signs; the node checks before it takes, gives or
//! deletes anything; the node hands redeemed orders back to be paid. What an order allows is fixed by its
//! [`Action`]; batches are named by the BLAKE3 hash of the request body, so that an order cannot be moved to another one.

use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::{
    ids::{NodeId, PieceHash, Serial},
    piece::{PIECE_META_LEN, PieceMeta},
    time::UnixMillis,
    token::{self, TokenError},
};

const DOMAIN: &str = "pinstripe order v1";
/// Node, serial, issued, expires, limit.
const FIXED_LEN: usize = 32 + 16 + 8 + 8 + 8;

/// What bytes are read for; what the node is paid for them follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// For a reader, through a gateway or another node.
    Read,
    /// To rebuild other pieces.
    Repair,
    /// To check a whole piece after an audit that stalled.
    Audit,
}

/// What an order allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Store this piece.
    Put(PieceMeta),
    /// Read ranges of this piece.
    Get(PieceHash, Purpose),
    /// Answer the batch of challenges whose request body has this BLAKE3 hash.
    Audit([u8; 32]),
    /// Delete the batch of pieces ([`crate::unpin::PieceUnpin`]) whose request body has this BLAKE3 hash.
    Delete([u8; 32]),
    /// List the pieces that the node holds.
    List,
    /// Tell the [`Places`](crate::places::Places) that it keeps of the blocks named in the request body that has this BLAKE3
    /// hash.
    Places([u8; 32]),
}

/// Leave to do one [`Action`] on one node, up to a number of bytes, until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The node that may act on it.
    pub node: NodeId,
    /// Unique; an order is settled at most once.
    pub serial: Serial,
    /// When it was made. The hour of this instant is the window in which it is settled.
    pub issued: UnixMillis,
    /// From when on it is refused.
    pub expires: UnixMillis,
    /// How many bytes of pieces may move under it, in all its uses together.
    pub bytes_max: u64,
    /// What it allows.
    pub action: Action,
}

/// Why a node refuses an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Malformed, or not signed by the network.
    #[error("order refused: {0}")]
    Token(#[from] TokenError),
    /// It was made for another node.
    #[error("order is for node {0}")]
    WrongNode(NodeId),
    /// It has expired.
    #[error("order expired at {0}")]
    Expired(UnixMillis),
    /// Its time of issue lies too far ahead of this node's clock.
    #[error("order is dated {0}, ahead of this node's clock")]
    FromTheFuture(UnixMillis),
    /// It allows something else than what was asked for.
    #[error("order does not allow this request")]
    WrongAction,
}

/// How far a node's clock may lag behind the signer's.
pub const CLOCK_SKEW_MAX: std::time::Duration = std::time::Duration::from_mins(10);

impl Order {
    /// The signed, printable form.
    pub fn sign(&self, key: &SigningKey) -> String {
        let mut payload = Vec::with_capacity(FIXED_LEN + 1 + PIECE_META_LEN + token::SIGNATURE_LEN);
        payload.extend_from_slice(&self.node.0);
        payload.extend_from_slice(&self.serial.0);
        payload.extend_from_slice(&self.issued.0.to_le_bytes());
        payload.extend_from_slice(&self.expires.0.to_le_bytes());
        payload.extend_from_slice(&self.bytes_max.to_le_bytes());
        match &self.action {
            Action::Put(meta) => {
                payload.push(0);
                payload.extend_from_slice(&meta.encode());
            }
            Action::Get(hash, purpose) => {
                payload.push(match purpose {
                    Purpose::Read => 1,
                    Purpose::Repair => 5,
                    Purpose::Audit => 6,
                });
                payload.extend_from_slice(&hash.0);
            }
            Action::Audit(digest) => {
                payload.push(2);
                payload.extend_from_slice(digest);
            }
            Action::Delete(digest) => {
                payload.push(3);
                payload.extend_from_slice(digest);
            }
            Action::List => payload.push(4),
            Action::Places(digest) => {
                payload.push(7);
                payload.extend_from_slice(digest);
            }
        }
        token::sign(key, DOMAIN, &payload)
    }

    /// Checks the signature only; [`Order::check`] checks node and times.
    pub fn verify(key: &VerifyingKey, token: &str) -> Result<Self, TokenError> {
        let payload = token::verify(key, DOMAIN, token)?;
        Self::decode(&payload).ok_or(TokenError::Malformed)
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let (fixed, rest) = payload.split_at_checked(FIXED_LEN)?;
        let (tag, rest) = rest.split_first()?;
        let action = match tag {
            0 => Action::Put(PieceMeta::decode(rest.try_into().ok()?).ok()?),
            1 => Action::Get(PieceHash(rest.try_into().ok()?), Purpose::Read),
            2 => Action::Audit(rest.try_into().ok()?),
            3 => Action::Delete(rest.try_into().ok()?),
            4 if rest.is_empty() => Action::List,
            5 => Action::Get(PieceHash(rest.try_into().ok()?), Purpose::Repair),
            6 => Action::Get(PieceHash(rest.try_into().ok()?), Purpose::Audit),
            7 => Action::Places(rest.try_into().ok()?),
            _ => return None,
        };
        let number = |at: usize| fixed[at..at + 8].try_into().map(i64::from_le_bytes).ok();
        Some(Self {
            node: NodeId(fixed[..32].try_into().ok()?),
            serial: Serial(fixed[32..48].try_into().ok()?),
            issued: UnixMillis(number(48)?),
            expires: UnixMillis(number(56)?),
            bytes_max: u64::from_le_bytes(fixed[64..72].try_into().ok()?),
            action,
        })
    }

    /// Checks that this order is for `node` and valid at `now`.
    pub fn check(&self, node: NodeId, now: UnixMillis) -> Result<(), OrderError> {
        if self.node != node {
            return Err(OrderError::WrongNode(self.node));
        }
        if now >= self.expires {
            return Err(OrderError::Expired(self.expires));
        }
        if self.issued > now + CLOCK_SKEW_MAX {
            return Err(OrderError::FromTheFuture(self.issued));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
