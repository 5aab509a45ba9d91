//! The content identifier: the public name of a block and the check that bytes are what was asked for.
//!
//! A [`Cid`] is always version 1 inside. Version 0 (`Qm...`) is read everywhere and becomes its version 1
//! twin, so two names of one block compare equal. That it was written as version 0 is remembered beside the
//! name, for answers that must repeat what was asked or linked and for imports under old profiles
//! ([`Cid::as_written`]); nothing else writes version 0. Next in the flow: [`crate::block`].

mod binary;
mod hash;
mod ipld;
#[cfg(test)]
mod tests;
mod text;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU8;
use std::str::FromStr;
use std::sync::Arc;

pub(crate) use self::binary::Checked;
use self::binary::pack;
pub use self::hash::{Codec, HashFn, UnknownHashFn};
pub use self::ipld::DigestOver64;
use crate::varint::{self, VarintError};

/// Longest digest accepted. IPIP-0512 fixes it for identity CIDs; no hash function in use comes near.
pub const DIGEST_MAX: usize = 128;

/// Longest CID in bytes: version, two codes of at most nine bytes (multiformats limits varints so), the
/// digest's length and the digest.
pub const CID_BYTES_MAX: usize = 1 + 9 + 9 + 2 + DIGEST_MAX;

/// How many bytes a CID holds inline: a 32-byte digest under any code in use, in 40 bytes of memory.
const INLINE_MAX: usize = 39;

/// Set in the length of a CID that was written as version 0. Its bytes are those of version 1.
const WRITTEN_V0: u8 = 0x80;

/// Longest label of a domain name (RFC 1035, 2.3.4).
const LABEL_MAX: usize = 63;

/// A content identifier, canonical version 1.
///
/// It holds its own binary form, so giving it costs nothing; `Ord`, `Eq` and `Hash` are those of that form.
/// Cloning copies 40 bytes for every CID in ordinary use; only long digests (sha2-512, identity) are shared on
/// the heap. It is not `Copy` because identity CIDs go to 128 bytes of data, and 150 bytes in every link, error
/// and map would be paid for all. `Display` and serde use base32 in lower case.
#[derive(Clone)]
pub struct Cid(Repr);

#[derive(Clone)]
enum Repr {
    /// The length is never zero, which leaves that value to tell the variants apart: the bytes stay aligned,
    /// and moving a CID is three wide copies. Its highest bit is [`WRITTEN_V0`].
    Inline {
        bytes: [u8; INLINE_MAX],
        len: NonZeroU8,
    },
    Shared(Arc<[u8]>),
}

/// Why something is not a CID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidError {
    /// The text is empty or longer than any CID.
    #[error("a cid of {0} characters is impossible")]
    Length(usize),
    /// The text is in no known base, or breaks the rules of its base.
    #[error("the cid is not valid multibase text")]
    Base,
    /// The version is not 1 (or, where version 0 is welcome, 0).
    #[error("cid version {0} is unknown")]
    Version(u64),
    /// The version, a code or the length is not a proper varint.
    #[error("the cid is malformed: {0}")]
    Varint(#[from] VarintError),
    /// A code takes more than nine bytes.
    #[error("the cid has a code above 2^63")]
    Code,
    /// The digest is shorter than the multihash says.
    #[error("the cid holds {found} digest bytes where it announces {announced}")]
    DigestLength {
        /// Length the multihash announces.
        announced: u64,
        /// Bytes that are there.
        found: usize,
    },
    /// Bytes follow the CID.
    #[error("{0} bytes follow the cid")]
    Excess(usize),
    /// The digest is longer than [`DIGEST_MAX`].
    #[error("a digest of {0} bytes is longer than 128")]
    DigestTooLong(u64),
}

/// Why bytes are not the block a CID names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The bytes hash to something else.
    #[error("the bytes do not hash to {0}")]
    Mismatch(Cid),
    /// The hash function cannot be computed here, so nothing can be said.
    #[error("{cid} uses hash function {code:#x}, which cannot be verified")]
    UnknownHash {
        /// The CID.
        cid: Cid,
        /// Its multihash code.
        code: u64,
    },
    /// The digest is cut short (or longer than the function gives), so it proves too little.
    #[error("{cid} has a digest of {len} bytes, which its hash function does not produce")]
    DigestLength {
        /// The CID.
        cid: Cid,
        /// Length of its digest.
        len: usize,
    },
}

impl Cid {
    /// Names `bytes`: hashes them with `hash_fn` and says they are encoded as `codec`.
    #[must_use]
    pub fn of(codec: Codec, hash_fn: HashFn, bytes: &[u8]) -> Self {
        pack(codec.code(), hash_fn.code(), hash_fn.digest(bytes).as_ref())
    }

    /// Names a block whose SHA-256 was computed elsewhere, for callers that hash many leaves at once.
    #[must_use]
    pub fn from_sha2_256(codec: Codec, digest: [u8; 32]) -> Self {
        pack(codec.code(), HashFn::Sha2_256.code(), &digest)
    }

    /// A CID that carries `bytes` themselves. An error when they are more than [`DIGEST_MAX`].
    pub fn identity(codec: Codec, bytes: &[u8]) -> Result<Self, CidError> {
        if bytes.len() > DIGEST_MAX {
            return Err(CidError::DigestTooLong(bytes.len() as u64));
        }
        Ok(pack(codec.code(), hash::IDENTITY, bytes))
    }

    /// Reads the binary form, version 1 or 0, which must fill `bytes` exactly.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        Ok(Checked::front(bytes)?.alone(bytes)?.keep())
    }

    /// Reads the binary form, version 1 or 0, at the front of `bytes`; returns it with the bytes it takes
    /// there (34 for version 0, whatever the length of its twin).
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), CidError> {
        let checked = Checked::front(bytes)?;
        Ok((checked.keep(), checked.len()))
    }

    /// The binary form: version, codec, multihash. 36 bytes for sha2-256 and blake3.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { bytes, len } => &bytes[..usize::from(len.get() & !WRITTEN_V0)],
            Repr::Shared(bytes) => bytes,
        }
    }

    /// The CID as whoever named or linked it wrote it: version 0 or 1. Both compare equal.
    #[inline]
    #[must_use]
    pub fn as_written(&self) -> AsWritten<'_> {
        AsWritten(self)
    }

    /// The CID as a label of a domain name, which is at most 63 characters of either case: base32, or base36
    /// when that is too long; `None` when both are.
    #[must_use]
    pub fn dns_label(&self) -> Option<String> {
        let base32 = self.to_string();
        if base32.len() <= LABEL_MAX {
            return Some(base32);
        }
        // Base36 saves only a few characters and its encoder is quadratic.
        (base32.len() <= LABEL_MAX + 3).then(|| text::base36(self.as_bytes()))
    }

    /// How the block is encoded.
    #[must_use]
    pub fn codec(&self) -> Codec {
        Codec::from(self.parts().0)
    }

    /// Multihash code of the hash function, whether or not it is known here.
    #[must_use]
    pub fn hash_code(&self) -> u64 {
        self.parts().1
    }

    /// The hash function, if it is one that [`Cid::verify`] can compute. `None` for identity too.
    #[must_use]
    pub fn hash_fn(&self) -> Option<HashFn> {
        HashFn::from_code(self.hash_code())
    }

    /// The digest alone.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        self.parts().2
    }

    /// The multihash: function, length and digest without version and codec. Blocks of different codecs over
    /// the same bytes share it, so denylists and block stores key on it.
    #[must_use]
    pub fn multihash(&self) -> &[u8] {
        &self.as_bytes()[1 + varint::len(self.parts().0)..]
    }

    /// The multihash in base58, as version 0 writes it: the name that denylists hash.
    #[must_use]
    pub fn multihash_base58(&self) -> String {
        text::base58(self.multihash())
    }

    /// Reads a bare multihash in base58, of any hash function, as the name of a raw block. Those of sha2-256 look like CIDs
    /// of version 0, which are dag-pb: use this only where the codec makes no difference.
    pub fn from_multihash_base58(text: &str) -> Result<Self, CidError> {
        text::parse_multihash(text)
    }

    /// Whether the CID carries its data itself.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.hash_code() == hash::IDENTITY
    }

    /// The data that an identity CID carries.
    #[must_use]
    pub fn identity_bytes(&self) -> Option<&[u8]> {
        let (_, code, digest) = self.parts();
        (code == hash::IDENTITY).then_some(digest)
    }

    /// Checks that `bytes` are the block this CID names.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), VerifyError> {
        let (_, code, digest) = self.parts();
        if code == hash::IDENTITY {
            return if digest == bytes { Ok(()) } else { Err(VerifyError::Mismatch(self.clone())) };
        }
        let hash_fn = HashFn::from_code(code).ok_or(VerifyError::UnknownHash { cid: self.clone(), code })?;
        // A digest cut to a few bytes would match almost anything.
        if digest.len() != hash_fn.digest_len() {
            return Err(VerifyError::DigestLength { cid: self.clone(), len: digest.len() });
        }
        if hash_fn.digest(bytes).as_ref() == digest {
            Ok(())
        } else {
            Err(VerifyError::Mismatch(self.clone()))
        }
    }

    fn from_v1_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        Ok(Checked::front_v1(bytes)?.alone(bytes)?.keep())
    }

    /// Keeps a binary form that was checked.
    fn copy_of(whole: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        let len = u8::try_from(whole.len()).ok().and_then(NonZeroU8::new);
        match (len, bytes.get_mut(..whole.len())) {
            (Some(len), Some(inline)) => {
                inline.copy_from_slice(whole);
                Self(Repr::Inline { bytes, len })
            }
            _ => Self(Repr::Shared(Arc::from(whole))),
        }
    }

    /// Has it written as version 0, which only dag-pb under sha2-256 can be.
    #[inline]
    pub(crate) fn written_v0(mut self) -> Self {
        if let Repr::Inline { len, .. } = &mut self.0 {
            *len |= WRITTEN_V0;
        }
        self
    }

    /// Codec, multihash code and digest.
    #[inline]
    fn parts(&self) -> (u64, u64, &[u8]) {
        let bytes = self.as_bytes();
        let mut at = 1;
        let mut next = || {
            let (value, len) = varint::read(&bytes[at..]).expect("checked when the cid was made");
            at += len;
            value
        };
        let (codec, code, _digest_len) = (next(), next(), next());
        (codec, code, &bytes[at..])
    }
}

/// A CID in the version it was written in: base58 and the bare multihash for version 0, else as always.
#[derive(Clone, Copy)]
pub struct AsWritten<'a>(&'a Cid);

impl<'a> AsWritten<'a> {
    /// The binary form.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        if self.is_v0() { self.0.multihash() } else { self.0.as_bytes() }
    }

    /// Whether it was written as version 0.
    #[must_use]
    pub fn is_v0(self) -> bool {
        matches!(self.0.0, Repr::Inline { len, .. } if len.get() & WRITTEN_V0 != 0)
    }
}

impl fmt::Display for AsWritten<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_v0() { f.pad(&text::base58(self.bytes())) } else { fmt::Display::fmt(self.0, f) }
    }
}

impl fmt::Debug for AsWritten<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cid {
    type Err = CidError;

    fn from_str(text: &str) -> Result<Self, CidError> {
        text::parse(text)
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(text::Base32::of(self.as_bytes()).as_str())
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Cid {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Cid {}

impl PartialOrd for Cid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cid {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Cid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl serde::Serialize for Cid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text::Base32::of(self.as_bytes()).as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Cid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Cid;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a cid")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Cid, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}
