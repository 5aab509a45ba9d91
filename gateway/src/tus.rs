//! Uploads that come in several requests (tus 1.0.0): begun by one, gone on with by others, perhaps at other gateways, and
//! pinned when the last byte is there. What HTTP has to do with it is in `routes/tus`.
//!
//! The bytes go the way of all uploads, as a long upload that lasts over the requests. A request claims the upload
//! (`claim`), takes its builder up where the one before left it, and records how far it has come, at its end and now and
//! then (`write`). So a request that is cut off keeps what came, and a gateway that dies loses what came since it last
//! recorded. Nothing of an upload is kept in memory between requests.

mod checksum;
mod claim;
mod config;
mod error;
mod finish;
mod import;
mod join;
mod metadata;
mod repeat;
pub(crate) mod right;
mod write;

use store::{NewTusUpload, TusBegun, TusKind, TusUpload};

pub use self::config::TusConfig;
pub(crate) use self::{
    checksum::{ALGORITHMS, Checksum},
    error::TusError,
    finish::Said,
    import::Import,
    join::join,
    metadata::Metadata,
    write::{Piece, write},
};
use self::{
    claim::Claim,
    finish::{finish, is_to_be_finished},
    import::profile,
    repeat::repeat,
};
use crate::{app::Gateway, upload::UploadError};

/// Length of an upload's id in hex digits: 128 random bits.
const ID_LEN: usize = 32;

/// An upload that a client begins.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    pub(crate) kind: TusKind,
    /// Of a final one: what it is put together of, as the client said it.
    pub(crate) parts: String,
    pub(crate) metadata: Metadata,
    pub(crate) length: Option<u64>,
    pub(crate) import: Import,
    /// What is said of the file, where it is not only its name in the metadata.
    pub(crate) said: Option<Said>,
    /// Whether requests are kept whole or not at all, and one that is repeated is known again.
    pub(crate) whole_pieces: bool,
}

impl Beginning {
    /// As tus itself has it: the metadata say everything.
    pub(crate) fn of(kind: TusKind, metadata: Metadata, length: Option<u64>) -> Result<Self, TusError> {
        let import = Import::own(metadata.get("hash").unwrap_or_default())?;
        let parts = String::new();
        Ok(Self { kind, parts, metadata, length, import, said: None, whole_pieces: false })
    }
}

/// Begins an upload. What its length says can be refused is refused here, before any byte of it is sent.
pub(crate) async fn begin(
    gateway: &Gateway,
    account: &str,
    beginning: Beginning,
) -> Result<TusUpload, TusError> {
    let Beginning { kind, parts, metadata, length, import, said, whole_pieces } = beginning;
    let (profile, hash) = import.names();
    if let Some(length) = length {
        gateway.refuse_length(account, length).await?;
    }
    let now = gateway.clock.now();
    let new = NewTusUpload {
        id: random_name(gateway),
        account: account.to_string(),
        kind,
        parts,
        metadata: metadata.into_text(),
        profile: profile.to_string(),
        hash,
        notes: said.map(|said| said.to_text()).unwrap_or_default(),
        whole_pieces,
        length_bytes: length,
        due: now + gateway.config.tus.expiry,
    };
    let account_max = gateway.config.tus.account_max;
    match gateway.db.create_tus_upload(&new, account_max, now).await? {
        TusBegun::Yes => {}
        TusBegun::TooMany => return Err(TusError::TooMany(account_max)),
        TusBegun::QuotaExceeded => return Err(UploadError::QuotaExceeded.into()),
    }
    let NewTusUpload { id, account, parts, metadata, profile, hash, notes, due, .. } = new;
    Ok(TusUpload {
        id,
        account,
        kind,
        parts,
        metadata,
        profile,
        hash,
        notes,
        whole_pieces,
        length_bytes: length,
        offset_bytes: 0,
        root: None,
        created: now,
        due,
        finished: None,
    })
}

/// An upload of this account.
pub(crate) async fn find(gateway: &Gateway, account: &str, id: &str) -> Result<TusUpload, TusError> {
    let is_id = id.len() == ID_LEN && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let upload = if is_id { gateway.db.tus_upload(id).await? } else { None };
    let upload = upload.filter(|upload| upload.account == account).ok_or(TusError::Unknown)?;
    if upload.due <= gateway.clock.now() { Err(TusError::Expired) } else { Ok(upload) }
}

/// How an upload stands. One whose bytes are all there and that is not pinned, because its gateway died in between or the
/// account had no room, is pinned now: a client that sees all its bytes here takes it for done.
pub(crate) async fn look(gateway: &Gateway, account: &str, id: &str) -> Result<TusUpload, TusError> {
    let upload = find(gateway, account, id).await?;
    if is_to_be_finished(&upload) { finish(gateway, upload).await } else { Ok(upload) }
}

/// Ends an upload, whatever it has come to. A file that it became stays.
pub(crate) async fn remove(gateway: &Gateway, account: &str, id: &str) -> Result<(), TusError> {
    find(gateway, account, id).await?;
    let (claim, _) = Claim::take(gateway, id).await?;
    let removed = gateway.db.remove_tus_upload(id).await;
    claim.release().await;
    if removed? { Ok(()) } else { Err(TusError::Unknown) }
}

fn random_name(gateway: &Gateway) -> String {
    data_encoding::HEXLOWER.encode(&gateway.dice.bytes::<{ ID_LEN / 2 }>())
}
