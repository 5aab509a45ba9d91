//! The fixed 96-byte headers on a node's disk: before every record of a log, and at the end of every large file.
//!
//! ```text
//!  0  magic "PnRc"      4  version    5  kind       6  zero
//!  8  body, 60 bytes: PieceMeta; or piece hash, log of the killed record, zeros
//! 68  data_len u32     72  outboard_len u32     76  stored_at i64, unix milliseconds
//! 84  checksum: first 12 bytes of BLAKE3(salt, place, bytes 0..84)
//! ```
//! Numbers are little-endian. The checksum binds a header to its store (the salt is drawn when the store is made), and
//! to its place, so that neither the content of a piece nor a stale block of the disk can pass for a record.

use bao_tree::blake3;
use protocol::{
    ids::PieceHash,
    piece::{PIECE_META_LEN, PieceMeta},
    time::UnixMillis,
};

use super::{PIECE_LEN_MAX, proof};

/// Length of a header in bytes.
pub(super) const HEADER_LEN: usize = 96;
pub(super) const MAGIC: [u8; 4] = *b"PnRc";
const VERSION: u8 = 1;
const CHECKED: usize = 84;

/// Random bytes that mark the headers of one store.
pub(super) type Salt = [u8; 16];

/// Where a record starts: the number of the log and the offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) log: u32,
    pub(super) offset: u32,
}

/// The place that the footers of large files are bound to; no log has this number.
pub(super) const FOOTER_PLACE: Place = Place { log: u32::MAX, offset: u32::MAX };

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// The piece itself follows: data, then outboard.
    Small(PieceMeta),
    /// The piece lies in a file of its own.
    Large(PieceMeta),
    /// This is the footer of such a file.
    Footer(PieceMeta),
    /// The piece was deleted; the record it takes back lies in this log.
    Delete { hash: PieceHash, dead_log: u32 },
    /// The piece was found damaged; its bytes are left where they are.
    Corrupt(PieceHash),
    /// The piece was found damaged and its bytes are gone.
    Lost(PieceHash),
}

/// One header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) body: Body,
    /// Length of the piece in bytes (0 for [`Body::Delete`]).
    pub(super) data_len: u32,
    pub(super) stored_at: UnixMillis,
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Self::Small(_) => 1,
            Self::Large(_) => 2,
            Self::Footer(_) => 3,
            Self::Delete { .. } => 4,
            Self::Corrupt(_) => 5,
            Self::Lost(_) => 6,
        }
    }

    /// The piece that the record is about.
    pub(super) fn hash(&self) -> PieceHash {
        match self {
            Self::Small(meta) | Self::Large(meta) | Self::Footer(meta) => meta.hash,
            Self::Delete { hash, .. } | Self::Corrupt(hash) | Self::Lost(hash) => *hash,
        }
    }
}

impl Record {
    /// Bytes that the record takes in a log, header included.
    pub(super) fn len_in_log(&self) -> u64 {
        match self.body {
            Body::Small(_) => {
                HEADER_LEN as u64 + u64::from(self.data_len) + u64::from(outboard_len(self.data_len))
            }
            _ => HEADER_LEN as u64,
        }
    }

    /// The header, bound to `place`.
    pub(super) fn encode(&self, salt: &Salt, place: Place) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[5] = self.body.kind();
        match &self.body {
            Body::Small(meta) | Body::Large(meta) | Body::Footer(meta) => {
                out[8..8 + PIECE_META_LEN].copy_from_slice(&meta.encode());
            }
            Body::Delete { hash, dead_log } => {
                out[8..40].copy_from_slice(&hash.0);
                out[40..44].copy_from_slice(&dead_log.to_le_bytes());
            }
            Body::Corrupt(hash) | Body::Lost(hash) => out[8..40].copy_from_slice(&hash.0),
        }
        out[68..72].copy_from_slice(&self.data_len.to_le_bytes());
        out[72..76].copy_from_slice(&outboard_len(self.data_len).to_le_bytes());
        out[76..84].copy_from_slice(&self.stored_at.0.to_le_bytes());
        let check = checksum(salt, place, &out[..CHECKED]);
        out[CHECKED..].copy_from_slice(&check);
        out
    }

    /// Reads [`Record::encode`] back; `None` if it is not a header of this store at this place.
    pub(super) fn decode(bytes: &[u8; HEADER_LEN], salt: &Salt, place: Place) -> Option<Self> {
        if bytes[..4] != MAGIC || bytes[4] != VERSION {
            return None;
        }
        if bytes[CHECKED..] != checksum(salt, place, &bytes[..CHECKED]) {
            return None;
        }
        let body = bytes[8..68].first_chunk::<PIECE_META_LEN>()?;
        let hash = PieceHash(*body.first_chunk()?);
        let meta = || PieceMeta::decode(body).ok();
        let body = match bytes[5] {
            1 => Body::Small(meta()?),
            2 => Body::Large(meta()?),
            3 => Body::Footer(meta()?),
            4 => Body::Delete { hash, dead_log: u32_at(bytes, 40)? },
            5 => Body::Corrupt(hash),
            6 => Body::Lost(hash),
            _ => return None,
        };
        let data_len = u32_at(bytes, 68)?;
        let has_data = !matches!(body, Body::Delete { .. });
        if u64::from(data_len) > PIECE_LEN_MAX
            || (has_data && data_len == 0)
            || u32_at(bytes, 72)? != outboard_len(data_len)
        {
            return None;
        }
        let stored_at = i64::from_le_bytes(*bytes[76..84].first_chunk()?);
        Some(Self { body, data_len, stored_at: UnixMillis(stored_at) })
    }
}

/// Length of the outboard of a piece of at most [`PIECE_LEN_MAX`] bytes.
pub(super) fn outboard_len(data_len: u32) -> u32 {
    if data_len == 0 {
        0
    } else {
        u32::try_from(proof::outboard_len(u64::from(data_len))).unwrap_or(u32::MAX)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn checksum(salt: &Salt, place: Place, bytes: &[u8]) -> [u8; HEADER_LEN - CHECKED] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(salt).update(&place.log.to_le_bytes()).update(&place.offset.to_le_bytes()).update(bytes);
    let mut out = [0; HEADER_LEN - CHECKED];
    hasher.finalize_xof().fill(&mut out);
    out
}
