//! Who this node is: its key, the mark on its piece store, and the network that it belongs to.
//!
//! All of it lives in small files that are written whole or not at all. The node never goes on with a piece store that is
//! another node's, nor with an empty directory where its own store used to be: answering "not found" for pieces that are
//! merely unmounted would cost it every one of them.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::Context as _;
use ed25519_dalek::{
    SigningKey, VerifyingKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding},
};
use parking_lot::RwLock;
use protocol::{ids::NodeId, receipt::Receipt};
use service::dice::Dice;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// The node's secret key, in the data directory.
const KEY_FILE: &str = "identity.key";
/// The node's id, in the directory of the pieces.
const MARK_FILE: &str = "node-id";
/// Says that the directory of the pieces has been marked, in the data directory.
const MARKED_FILE: &str = "pieces-marked";
/// The key that orders are checked with, in the data directory.
const NETWORK_FILE: &str = "network.key";
/// The network's receipt of enrolment, in the data directory.
const RECEIPT_FILE: &str = "receipt";

/// Why a node does not start with what it found on disk.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The store belongs to somebody else.
    #[error("piece store {dir} belongs to node {found}, this is node {id}: is the right disk mounted?")]
    OtherNode {
        /// Directory of the store.
        dir: String,
        /// Whose it is.
        found: String,
        /// Who we are.
        id: NodeId,
    },
    /// The store was there before and is gone.
    #[error("piece store {dir} of node {id} has no {MARK_FILE} file any more: is its disk mounted?")]
    StoreGone {
        /// Directory of the store.
        dir: String,
        /// Who we are.
        id: NodeId,
    },
    /// There is a store but no key.
    #[error(
        "piece store {dir} is in use by a node whose {KEY_FILE} is missing: is the data directory mounted?"
    )]
    KeyGone {
        /// Directory of the store.
        dir: String,
    },
    /// A file does not hold what it should.
    #[error("{file} does not hold {what}")]
    Malformed {
        /// The file.
        file: String,
        /// What it should hold.
        what: &'static str,
    },
    /// A file cannot be read or written.
    #[error("cannot access {file}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The id that belongs to a key.
pub fn node_id(key: &SigningKey) -> NodeId {
    NodeId(key.verifying_key().to_bytes())
}

/// Reads the node's key, or makes one at the first start, and checks that the directory of the pieces is this node's.
pub fn open(data_dir: &Path, pieces_dir: &Path, dice: &Dice) -> Result<SigningKey, IdentityError> {
    for dir in [data_dir, pieces_dir] {
        fs::create_dir_all(dir).map_err(|source| io_error(dir, source))?;
    }
    let (key_file, marked_file) = (data_dir.join(KEY_FILE), data_dir.join(MARKED_FILE));
    let mark = read(&pieces_dir.join(MARK_FILE))?;
    let was_marked = read(&marked_file)?.is_some();
    let dir = || pieces_dir.display().to_string();
    let key = match read(&key_file)? {
        Some(text) => parse_key(&key_file, &text)?,
        None if mark.is_some() || was_marked => return Err(IdentityError::KeyGone { dir: dir() }),
        None => make_key(&key_file, dice)?,
    };
    let id = node_id(&key);
    match mark {
        Some(found) if found.trim() == id.to_string() => {}
        Some(found) => {
            return Err(IdentityError::OtherNode { dir: dir(), found: found.trim().to_string(), id });
        }
        None if was_marked => return Err(IdentityError::StoreGone { dir: dir(), id }),
        None => write_file(&pieces_dir.join(MARK_FILE), format!("{id}\n").as_bytes(), 0o644)?,
    }
    if !was_marked {
        // After the mark itself: a start that is cut off in between is repeated, not refused.
        write_file(&marked_file, format!("{}\n", dir()).as_bytes(), 0o644)?;
    }
    Ok(key)
}

/// PKCS#8 in PEM, or 64 hex digits.
fn parse_key(file: &Path, text: &str) -> Result<SigningKey, IdentityError> {
    if let Ok(mode) = fs::metadata(file).map(|found| found.permissions().mode())
        && mode & 0o077 != 0
    {
        tracing::warn!(path = %file.display(), "the node's key can be read by others than its owner");
    }
    let malformed = || IdentityError::Malformed {
        file: file.display().to_string(),
        what: "an ed25519 key (pkcs#8 pem or hex)",
    };
    let text = text.trim();
    if text.starts_with("-----BEGIN") {
        return SigningKey::from_pkcs8_pem(text).map_err(|_| malformed());
    }
    let secret: NodeId = text.parse().map_err(|_| malformed())?;
    Ok(SigningKey::from_bytes(&secret.0))
}

fn make_key(file: &Path, dice: &Dice) -> Result<SigningKey, IdentityError> {
    let secret = Zeroizing::new(dice.bytes::<32>());
    let key = SigningKey::from_bytes(&secret);
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| io_error(file, io::Error::other(error.to_string())))?;
    write_file(file, pem.as_bytes(), 0o600)?;
    tracing::info!(node = %node_id(&key), "made a new identity");
    Ok(key)
}

/// The network's public key: unknown until a gateway admits the node, then the same for ever.
#[derive(Debug, Default)]
pub struct NetworkKey {
    key: OnceLock<VerifyingKey>,
    /// `None` in memory only.
    file: Option<PathBuf>,
    receipt: RwLock<Option<String>>,
}

/// The gateway works for another network than the one this node belongs to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the gateway's network key {offered} is not {known}, which this node trusts; to change networks, delete {file}"
)]
pub struct OtherNetwork {
    offered: NodeId,
    known: NodeId,
    file: String,
}

impl NetworkKey {
    /// A key that is forgotten at the end of the process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// The key kept in the data directory, if a gateway ever told one.
    pub fn open(data_dir: &Path) -> Result<Self, IdentityError> {
        let file = data_dir.join(NETWORK_FILE);
        let key = OnceLock::new();
        if let Some(text) = read(&file)? {
            let malformed = || IdentityError::Malformed {
                file: file.display().to_string(),
                what: "an ed25519 public key in hex",
            };
            let bytes: NodeId = text.trim().parse().map_err(|_| malformed())?;
            let known = VerifyingKey::from_bytes(&bytes.0).map_err(|_| malformed())?;
            key.get_or_init(|| known);
        }
        let receipt = read(&data_dir.join(RECEIPT_FILE))?.map(|text| text.trim().to_string());
        Ok(Self { key, file: Some(file), receipt: RwLock::new(receipt) })
    }

    /// The key, once it is known.
    pub fn get(&self) -> Option<&VerifyingKey> {
        self.key.get()
    }

    /// The receipt of this node's enrolment, if it was given one.
    pub fn receipt(&self) -> Option<String> {
        self.receipt.read().clone()
    }

    /// Keeps a receipt, over restarts too, if it is this node's and signed with the key that is known.
    pub fn keep_receipt(&self, node: NodeId, receipt: &str) -> anyhow::Result<()> {
        let key = self.get().context("no network is known")?;
        Receipt::verify(key, node, receipt).context("check the receipt of enrolment")?;
        if let Some(file) = &self.file {
            let text = format!("{receipt}\n");
            write_file(&file.with_file_name(RECEIPT_FILE), text.as_bytes(), 0o644)
                .context("keep the receipt")?;
        }
        *self.receipt.write() = Some(receipt.to_string());
        Ok(())
    }

    /// Trusts the first key that is offered, for good; any other one is refused with [`OtherNetwork`].
    pub fn learn(&self, offered: VerifyingKey) -> anyhow::Result<()> {
        if self.key.get().is_none()
            && let Some(file) = &self.file
        {
            let text = format!("{}\n", NodeId(offered.to_bytes()));
            write_file(file, text.as_bytes(), 0o644).context("keep the network key")?;
        }
        let known = self.key.get_or_init(|| offered);
        if *known == offered {
            return Ok(());
        }
        let file = self.file.as_deref().unwrap_or(Path::new(NETWORK_FILE)).display().to_string();
        let (offered, known) = (NodeId(offered.to_bytes()), NodeId(known.to_bytes()));
        Err(OtherNetwork { offered, known, file }.into())
    }
}

fn io_error(file: &Path, source: io::Error) -> IdentityError {
    IdentityError::Io { file: file.display().to_string(), source }
}

/// The text of a file; `None` when there is none.
fn read(file: &Path) -> Result<Option<String>, IdentityError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(file, error)),
    }
}

/// Writes a small file so that, whatever happens, either all of it is there or nothing.
fn write_file(file: &Path, bytes: &[u8], mode: u32) -> Result<(), IdentityError> {
    let write = || {
        let tmp = file.with_extension("tmp");
        let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&tmp)?;
        // A leftover of an interrupted start keeps its old mode otherwise.
        out.set_permissions(fs::Permissions::from_mode(mode))?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&tmp, file)?;
        fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| io_error(file, source))
}
