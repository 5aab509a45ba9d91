//! Names of things: fixed-size byte strings that print as lower-case hex, and short text names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A name that is not the right number of hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hex digits for a {what}")]
pub struct ParseIdError {
    what: &'static str,
    expected: usize,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length of the name in bytes.
            pub const LEN: usize = $len;

            /// The bytes of the name.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let error = ParseIdError { what: $what, expected: 2 * $len };
                let mut bytes = [0; $len];
                if text.len() != 2 * $len {
                    return Err(error);
                }
                match data_encoding::HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut bytes) {
                    Ok(_) => Ok(Self(bytes)),
                    Err(_) => Err(error),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id! {
    /// Name of a piece: the BLAKE3 hash of its bytes.
    PieceHash, 32, "piece hash"
}
hex_id! {
    /// Name of a storage node: its ed25519 public key.
    NodeId, 32, "node id"
}
hex_id! {
    /// Name of a segment: 128 random bits, drawn when it is sealed.
    SegmentId, 16, "segment id"
}
hex_id! {
    /// Name of one order or ticket: 128 random bits, so that it is settled at most once.
    Serial, 16, "serial"
}

impl PieceHash {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse() {
        let id = SegmentId([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("AB".repeat(16).parse(), Ok(id));
        assert!("ab".parse::<SegmentId>().is_err());
        assert!("zz".repeat(16).parse::<SegmentId>().is_err());
        assert!("é".repeat(16).parse::<SegmentId>().is_err());
    }
}
