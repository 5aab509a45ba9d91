//! A block: bytes with the CID that names them, the unit that is stored, sent and verified.
//!
//! A `Block` does not by itself promise that its bytes were checked: [`Block::verified`] is the way in for
//! bytes that somebody else sent. Nothing here looks inside the bytes.

use bytes::Bytes;

use crate::cid::{Cid, Codec, HashFn, VerifyError};

/// Largest block in bytes: 2 MiB, what every IPFS implementation must be able to read and none should exceed.
pub const BLOCK_MAX: usize = 2 * 1024 * 1024;

/// Bytes with their name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The name.
    pub cid: Cid,
    /// The bytes, at most [`BLOCK_MAX`].
    pub bytes: Bytes,
}

/// Why bytes are not an acceptable block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// More bytes than [`BLOCK_MAX`].
    #[error("block {cid} has {len} bytes, more than 2 MiB")]
    TooLarge {
        /// The name it came under.
        cid: Cid,
        /// Its length.
        len: usize,
    },
    /// The bytes are not what the CID names, or that cannot be told.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl Block {
    /// Names `bytes`. The caller keeps them within [`BLOCK_MAX`].
    #[must_use]
    pub fn of(codec: Codec, hash_fn: HashFn, bytes: Bytes) -> Self {
        debug_assert!(bytes.len() <= BLOCK_MAX, "our own blocks are within the limit");
        Self { cid: Cid::of(codec, hash_fn, &bytes), bytes }
    }

    /// Accepts bytes from elsewhere: checks their size, then their hash.
    pub fn verified(cid: Cid, bytes: Bytes) -> Result<Self, BlockError> {
        if bytes.len() > BLOCK_MAX {
            return Err(BlockError::TooLarge { cid, len: bytes.len() });
        }
        cid.verify(&bytes)?;
        Ok(Self { cid, bytes })
    }

    /// The block, if anybody has to store it: `None` when its CID carries it.
    #[must_use]
    pub fn to_store(self) -> Option<Self> {
        (!self.cid.is_identity()).then_some(self)
    }

    /// The block that an identity CID carries within itself; `None` for any other CID.
    #[must_use]
    pub fn from_identity(cid: Cid) -> Option<Self> {
        let bytes = Bytes::copy_from_slice(cid.identity_bytes()?);
        Some(Self { cid, bytes })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{BLOCK_MAX, Block, BlockError};
    use crate::cid::{Cid, Codec, HashFn};

    #[test]
    fn only_the_named_bytes_are_verified() {
        let block = Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::from_static(b"hello"));
        assert_eq!(Block::verified(block.cid.clone(), block.bytes.clone()), Ok(block.clone()));
        let wrong = Block::verified(block.cid, Bytes::from_static(b"hellp"));
        assert!(matches!(wrong, Err(BlockError::Verify(_))));
    }

    #[test]
    fn size_is_checked_before_the_hash() {
        let bytes = Bytes::from(vec![0; BLOCK_MAX + 1]);
        let cid = Cid::of(Codec::Raw, HashFn::Blake3, &bytes);
        assert_eq!(
            Block::verified(cid.clone(), bytes),
            Err(BlockError::TooLarge { cid, len: BLOCK_MAX + 1 })
        );
    }

    #[test]
    fn identity_needs_no_store() {
        let cid = Cid::identity(Codec::Raw, b"tiny").unwrap();
        let carried = Block::from_identity(cid).unwrap();
        assert_eq!(carried.bytes, "tiny");
        assert_eq!(carried.to_store(), None);
        assert!(Block::from_identity(Cid::of(Codec::Raw, HashFn::Sha2_256, b"x")).is_none());
    }
}
