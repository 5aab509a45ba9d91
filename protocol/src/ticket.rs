//! Tickets: leave for one reader to fetch one file or directory from one node, which is paid for the bytes it
//! sends.
//!
//! A gateway that redirects a read signs a ticket and puts it into the URL; the node checks it and keeps it
//! with the bytes it sent, to be settled like an order. Tickets are short because they ride in URLs: the
//! node's name is signed but not sent, since whoever checks a ticket knows which node it was shown to. A
//! ticket of a SHA-256 CID has 176 letters.

use std::time::Duration;

use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::{
    ids::{NodeId, Serial},
    order::CLOCK_SKEW_MAX,
    time::UnixMillis,
    token::{self, TokenError},
};

const DOMAIN: &str = "pinstripe ticket v1";
/// Serial, issued, lifetime, limit.
const FIXED_LEN: usize = 16 + 6 + 4 + 6;
/// Largest value of the six-byte numbers.
const SIX_BYTES_MAX: u64 = (1 << 48) - 1;

/// Longest CID in bytes that a ticket takes: version, codec, a hash of up to 64 bytes and its header.
pub const CID_LEN_MAX: usize = 80;

/// Leave to read what lies under one CID from one node, up to a number of bytes, until a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The node that may act on it.
    pub node: NodeId,
    /// Unique; a ticket is settled at most once.
    pub serial: Serial,
    /// When it was made. The hour of this instant is the window in which it is settled.
    pub issued: UnixMillis,
    /// From when on it is refused; at most [`LIFETIME_MAX`] after `issued`.
    pub expires: UnixMillis,
    /// How many bytes are paid under it, in all its uses together; at most 2^48 - 1.
    pub bytes_max: u64,
    /// The bytes of the CID, 1..=[`CID_LEN_MAX`] of them.
    pub cid: Vec<u8>,
}

/// Longest time that a ticket can be valid: 49 days.
pub const LIFETIME_MAX: Duration = Duration::from_millis(u32::MAX as u64);

/// Why a node refuses a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Malformed, or not signed by the network for this node.
    #[error("ticket refused: {0}")]
    Token(#[from] TokenError),
    /// It has expired.
    #[error("ticket expired at {0}")]
    Expired(UnixMillis),
    /// Its time of issue lies too far ahead of this node's clock.
    #[error("ticket is dated {0}, ahead of this node's clock")]
    FromTheFuture(UnixMillis),
    /// It is for another CID.
    #[error("ticket is for another cid")]
    WrongCid,
}

impl Ticket {
    /// The signed, printable form.
    ///
    /// Numbers beyond what the form can hold are signed as the most it can hold: such a ticket allows less,
    /// never more. A CID that is empty or too long makes a ticket that nobody accepts.
    pub fn sign(&self, key: &SigningKey) -> String {
        let issued = u64::try_from(self.issued.0).unwrap_or(0).min(SIX_BYTES_MAX);
        let lifetime = u32::try_from(self.expires.since(self.issued).as_millis()).unwrap_or(u32::MAX);
        let mut payload = Vec::with_capacity(FIXED_LEN + self.cid.len() + token::SIGNATURE_LEN);
        payload.extend_from_slice(&self.serial.0);
        payload.extend_from_slice(&issued.to_le_bytes()[..6]);
        payload.extend_from_slice(&lifetime.to_le_bytes());
        payload.extend_from_slice(&self.bytes_max.min(SIX_BYTES_MAX).to_le_bytes()[..6]);
        payload.extend_from_slice(&self.cid);
        token::sign(key, &domain(self.node), &payload)
    }

    /// Checks that this is a ticket for `node`; [`Ticket::check`] checks time and CID.
    pub fn verify(key: &VerifyingKey, node: NodeId, token: &str) -> Result<Self, TokenError> {
        let payload = token::verify(key, &domain(node), token)?;
        Self::decode(node, &payload).ok_or(TokenError::Malformed)
    }

    fn decode(node: NodeId, payload: &[u8]) -> Option<Self> {
        let (fixed, cid) = payload.split_at_checked(FIXED_LEN)?;
        if cid.is_empty() || cid.len() > CID_LEN_MAX {
            return None;
        }
        let six = |at: usize| {
            let mut bytes = [0; 8];
            bytes[..6].copy_from_slice(&fixed[at..at + 6]);
            u64::from_le_bytes(bytes)
        };
        let issued = UnixMillis(i64::try_from(six(16)).ok()?);
        let lifetime = u32::from_le_bytes(fixed[22..26].try_into().ok()?);
        Some(Self {
            node,
            serial: Serial(fixed[..16].try_into().ok()?),
            issued,
            expires: issued + Duration::from_millis(lifetime.into()),
            bytes_max: six(26),
            cid: cid.to_vec(),
        })
    }

    /// Checks that this ticket is for what is under `cid` and valid at `now`.
    pub fn check(&self, cid: &[u8], now: UnixMillis) -> Result<(), TicketError> {
        if self.cid != cid {
            return Err(TicketError::WrongCid);
        }
        if now >= self.expires {
            return Err(TicketError::Expired(self.expires));
        }
        if self.issued > now + CLOCK_SKEW_MAX {
            return Err(TicketError::FromTheFuture(self.issued));
        }
        Ok(())
    }
}

fn domain(node: NodeId) -> String {
    format!("{DOMAIN} {node}")
}

#[cfg(test)]
mod tests;
