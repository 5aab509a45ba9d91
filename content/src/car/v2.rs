//! What version 2 puts in front of a CAR of version 1: where that begins, where it ends, and where the index is.

use super::CarError;

/// The first bytes of every CAR of version 2: a header of version 1 with another version and no roots.
pub(super) const PRAGMA: [u8; 11] = *b"\x0a\xa1\x67version\x02";

/// Length of the header behind it: 16 bytes of characteristics, of which none is defined, and three numbers.
pub(super) const HEADER_LEN: usize = 40;

/// Where things are in the file, in bytes from its start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) data_at: u64,
    pub(super) data_end: u64,
    /// `None` when there is no index.
    pub(super) index_at: Option<u64>,
}

/// Decodes the header, which is [`HEADER_LEN`] long. Unknown characteristics are passed over: the data is a CAR of version
/// 1 whatever they say. A file that its writer did not finish has zeros here and is refused.
pub(super) fn decode(bytes: &[u8]) -> Result<Header, CarError> {
    let number = |at| {
        let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>);
        bytes.map(|bytes| u64::from_le_bytes(*bytes)).ok_or(CarError::Header)
    };
    let (data_at, data_len, index_at) = (number(16)?, number(24)?, number(32)?);
    let wrong = CarError::Layout { data_at, data_len, index_at };
    let data_end = data_at.checked_add(data_len).ok_or(wrong.clone())?;
    if data_at < (PRAGMA.len() + HEADER_LEN) as u64 || data_len == 0 {
        return Err(wrong);
    }
    match index_at {
        0 => Ok(Header { data_at, data_end, index_at: None }),
        _ if index_at < data_end => Err(wrong),
        _ => Ok(Header { data_at, data_end, index_at: Some(index_at) }),
    }
}
