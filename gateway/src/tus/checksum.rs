//! `Upload-Checksum`: the hash that a client has of what it sends in one request. The functions are those that clients have;
//! nothing here relies on them being hard to collide.

use data_encoding::BASE64;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use super::TusError;

/// The hash functions by their names, as `Tus-Checksum-Algorithm` has them.
pub(crate) const ALGORITHMS: &str = "sha1,sha256,sha512,md5";

/// A hash that bytes must have, and what was hashed so far.
#[derive(Clone)]
pub(crate) struct Checksum {
    expected: Vec<u8>,
    hasher: Hasher,
}

#[derive(Clone)]
enum Hasher {
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Checksum {
    /// Reads the header: a name and a hash in base64.
    pub(crate) fn parse(text: &str) -> Result<Self, TusError> {
        let bad = |why: &str| TusError::BadHeader(format!("Upload-Checksum: {why}"));
        let (name, hash) = text.trim().split_once(' ').ok_or_else(|| bad("a name and a hash are needed"))?;
        let hasher = match name {
            "md5" => Hasher::Md5(Md5::new()),
            "sha1" => Hasher::Sha1(Sha1::new()),
            "sha256" => Hasher::Sha256(Sha256::new()),
            "sha512" => Hasher::Sha512(Sha512::new()),
            _ => return Err(bad(&format!("only {ALGORITHMS} are known"))),
        };
        let expected = BASE64.decode(hash.trim().as_bytes()).map_err(|_| bad("the hash is not base64"))?;
        Ok(Self { expected, hasher })
    }

    /// Hashes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.hasher {
            Hasher::Md5(hasher) => hasher.update(bytes),
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Whether the bytes had the hash.
    pub(crate) fn holds(self) -> bool {
        let expected = &self.expected[..];
        match self.hasher {
            Hasher::Md5(hasher) => hasher.finalize()[..] == *expected,
            Hasher::Sha1(hasher) => hasher.finalize()[..] == *expected,
            Hasher::Sha256(hasher) => hasher.finalize()[..] == *expected,
            Hasher::Sha512(hasher) => hasher.finalize()[..] == *expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of "abc", as RFC 1321 and FIPS 180 have it.
    const ABC: [(&str, &str); 4] = [
        ("md5", "900150983cd24fb0d6963f7d28e17f72"),
        ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "sha512",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ];

    #[test]
    fn hashes_of_known_bytes() {
        for (name, hex) in ABC {
            let hash = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
            let header = format!("{name} {}", BASE64.encode(&hash));
            let check = |parts: &[&[u8]]| {
                let mut checksum = Checksum::parse(&header).unwrap();
                for part in parts {
                    checksum.update(part);
                }
                checksum.holds()
            };
            assert!(check(&[b"a", b"", b"bc"]), "{name}");
            assert!(!check(&[b"abd"]) && !check(&[]), "{name}");
            assert!(ALGORITHMS.split(',').any(|known| known == name));
        }
        for bad in ["", "sha1", "crc32 AAAA", "sha1 ?", "SHA1 AAAA"] {
            assert!(Checksum::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), name in "md5|sha1|sha256|sha512|crc32") {
            let _ = Checksum::parse(&text);
            if let Ok(checksum) = Checksum::parse(&format!("{name} {text}")) {
                let _ = checksum.holds();
            }
        }
    }
}
