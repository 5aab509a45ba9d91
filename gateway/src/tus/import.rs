//! How the bytes of an upload become blocks: import profiles, by the names under which uploads remember them.

use content::{
    HashFn,
    unixfs::profile::{CidVersion, Parameters, Profile},
};
use store::TusUpload;

use super::TusError;
use crate::{intake::kubo_profile, upload::UploadError};

/// An import profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Import {
    /// That of `POST /v1/files`, with any hash function.
    Own(HashFn),
    /// Kubo's, under this version of CIDs.
    Kubo(CidVersion),
}

const OWN: &str = "unixfs-v1-2025";
const KUBO_V0: &str = "unixfs-v0-2015";
const KUBO_V1: &str = "kubo-v1";

impl Import {
    /// Our own, with the hash function of this name; none is the usual one.
    pub(crate) fn own(hash: &str) -> Result<Self, TusError> {
        let hash_fn = if hash.is_empty() { Ok(HashFn::Sha2_256) } else { hash.parse() };
        hash_fn.map(Self::Own).map_err(|_| {
            UploadError::BadParameter(format!("hash: {hash:?} is not a known hash function")).into()
        })
    }

    /// Its name and that of its hash function.
    pub(super) fn names(self) -> (&'static str, String) {
        match self {
            Self::Own(hash_fn) => (OWN, hash_fn.to_string()),
            Self::Kubo(CidVersion::V0) => (KUBO_V0, HashFn::Sha2_256.to_string()),
            Self::Kubo(CidVersion::V1) => (KUBO_V1, HashFn::Sha2_256.to_string()),
        }
    }

    fn of(upload: &TusUpload) -> Result<Self, TusError> {
        match upload.profile.as_str() {
            OWN => Self::own(&upload.hash),
            KUBO_V0 => Ok(Self::Kubo(CidVersion::V0)),
            KUBO_V1 => Ok(Self::Kubo(CidVersion::V1)),
            other => Err(TusError::UnknownProfile(upload.id.clone(), other.to_string())),
        }
    }
}

/// The profile of an upload.
pub(super) fn profile(upload: &TusUpload) -> Result<Profile, TusError> {
    match Import::of(upload)? {
        Import::Kubo(version) => Ok(kubo_profile(version)),
        Import::Own(hash_fn) => {
            let parameters = Profile::UNIXFS_V1_2025.parameters();
            let profile = Profile::new(Parameters { hash_fn, ..parameters });
            profile.map_err(|error| UploadError::BadParameter(format!("hash: {error}")).into())
        }
    }
}
