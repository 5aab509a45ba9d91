//! TLS of a listener: a certificate and its key from files, taken anew when they change. Connections that are open keep
//! what they began with. Files that do not fit never take the place of those that did.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

use crate::{
    job::{Job, Progress},
    watched_files::{LoadError, Reload, WatchedFiles},
};

/// Bytes of a file with certificates or a key, at most. A chain has some 6 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The `[tls]` section of gateways and nodes. Without files there is no TLS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and those between it and its authority, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
    /// How often it is looked whether the files have changed.
    #[serde(with = "humantime_serde")]
    pub reload_every: Duration,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { cert_file: None, key_file: None, reload_every: Duration::from_secs(30) }
    }
}

impl TlsConfig {
    /// What is wrong with the section, each with its key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => problems.push("tls.key_file: must be set too when cert_file is".into()),
            (None, Some(_)) => problems.push("tls.cert_file: must be set too when key_file is".into()),
            _ => {}
        }
        if self.reload_every.is_zero() {
            problems.push("tls.reload_every: must not be 0".into());
        }
        problems
    }
}

/// Why files do not make a TLS listener. Nothing of the key is in the text.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, not readable, or holds something else.
    #[error(transparent)]
    File(#[from] LoadError<&'static str>),
    /// The key is not the certificate's, or of a kind that is not known.
    #[error("{cert} and {key} do not make a certificate: {cause}")]
    Unfit {
        /// The file with the certificate.
        cert: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// What is wrong.
        cause: rustls::Error,
    },
    /// Files were changed while they were read.
    #[error("the files are being written")]
    BeingWritten,
}

/// A certificate in use; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: WatchedFiles,
    current: ArcSwap<ServerConfig>,
}

/// One of the two files, read.
enum Part {
    Chain(Vec<CertificateDer<'static>>),
    Key(PrivateKeyDer<'static>),
}

impl Tls {
    /// Reads the files; `None` when none are named. Blocks.
    pub fn open(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) else { return Ok(None) };
        let files = WatchedFiles::new(vec![cert.clone(), key.clone()], FILE_BYTES_MAX);
        let server = load(&files)?.ok_or(TlsError::BeingWritten)?;
        Ok(Some(Self(Arc::new(Inner { files, current: ArcSwap::from_pointee(server) }))))
    }

    /// Takes the files anew if they have changed; on an error the old certificate stays. Blocks.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let server = load(&self.0.files)?;
        let is_new = server.is_some();
        if let Some(server) = server {
            self.0.current.store(Arc::new(server));
        }
        Ok(is_new)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current.load_full())
    }
}

/// What the files make, if they are others than last time.
fn load(files: &WatchedFiles) -> Result<Option<ServerConfig>, TlsError> {
    let mut parts = Vec::new();
    let is_key = |path: &Path| files.paths().last().is_some_and(|key| key == path);
    let read = |path: &Path, bytes: Vec<u8>| if is_key(path) { read_key(&bytes) } else { read_chain(&bytes) };
    if files.reload(read, |read| parts = read)? != Reload::Loaded {
        return Ok(None);
    }
    let (mut chain, mut key) = (Vec::new(), None);
    for part in parts {
        match part {
            Part::Chain(certificates) => chain = certificates,
            Part::Key(read) => key = Some(read),
        }
    }
    let unfit =
        |cause| TlsError::Unfit { cert: files.paths()[0].clone(), key: files.paths()[1].clone(), cause };
    let key = key.ok_or_else(|| unfit(rustls::Error::General("the same file twice".into())))?;
    server(chain, key).map(Some).map_err(unfit)
}

fn read_chain(pem: &[u8]) -> Result<Part, &'static str> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_| "is no PEM")?;
    if chain.is_empty() { Err("holds no certificate") } else { Ok(Part::Chain(chain)) }
}

fn read_key(pem: &[u8]) -> Result<Part, &'static str> {
    PrivateKeyDer::from_pem_slice(pem).map(Part::Key).map_err(|_| "holds no private key in PEM")
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut server = builder.with_no_client_auth().with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Kept by clients instead of in memory here.
    server.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(server)
}

/// Job: takes certificates anew when their files change.
pub struct TlsReload(pub Tls);

impl Job for TlsReload {
    const NAME: &'static str = "reload_tls";

    async fn step(&self) -> anyhow::Result<Progress> {
        let tls = self.0.clone();
        let reloaded = tokio::task::spawn_blocking(move || tls.reload()).await?;
        if reloaded.inspect_err(|_| metrics::counter!("pinstripe_tls_reload_failures_total").increment(1))? {
            tracing::info!("took a new certificate");
        }
        Ok(Progress::Idle)
    }
}
