//! To and from the CID type of the IPLD crates, for data that they decode (dag-cbor, dag-json).

use ::cid::multihash::Multihash;

use super::{Cid, pack};

/// A digest that the IPLD crates have no room for: more than 64 bytes, which only identity CIDs reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} has a digest longer than 64 bytes")]
pub struct DigestOver64(pub Cid);

impl From<::cid::Cid> for Cid {
    fn from(cid: ::cid::Cid) -> Self {
        let multihash = cid.hash();
        pack(cid.codec(), multihash.code(), multihash.digest())
    }
}

impl TryFrom<Cid> for ::cid::Cid {
    type Error = DigestOver64;

    fn try_from(cid: Cid) -> Result<Self, DigestOver64> {
        let multihash =
            Multihash::wrap(cid.hash_code(), cid.digest()).map_err(|_| DigestOver64(cid.clone()))?;
        Ok(Self::new_v1(cid.codec().code(), multihash))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cid, Codec, HashFn};

    #[test]
    fn there_and_back() {
        for hash_fn in [HashFn::Sha2_256, HashFn::Sha2_512, HashFn::Blake3] {
            let cid = Cid::of(Codec::DagCbor, hash_fn, b"x");
            let theirs = ::cid::Cid::try_from(cid.clone()).unwrap();
            assert_eq!(theirs.to_string(), cid.to_string());
            assert_eq!(Cid::from(theirs), cid);
        }
    }

    #[test]
    fn version_0_becomes_version_1() {
        let v0: ::cid::Cid = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn".parse().unwrap();
        assert_eq!(Cid::from(v0).to_string(), v0.into_v1().unwrap().to_string());
    }

    #[test]
    fn long_identities_do_not_fit() {
        let cid = Cid::identity(Codec::Raw, &[7; 65]).unwrap();
        assert!(::cid::Cid::try_from(cid).is_err());
    }
}
