//! The server on real sockets: clients that are slow, greedy or hostile, and honest ones beside them. Short ways to run one
//! are here.

mod drain;
mod floods;
mod http2;
mod slow;
mod tls;

use std::{path::Path, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, Uri},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::stream;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::http::tls::TlsConfig;

/// A server until it is stopped.
struct Running {
    address: SocketAddr,
    counts: Arc<Counts>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Running {
    async fn start(config: HttpConfig) -> Self {
        Self::serve(Server::bind(([127, 0, 0, 1], 0).into(), config).await.unwrap(), router())
    }

    fn serve(server: Server, router: Router) -> Self {
        let (address, counts) = (server.local_addr().unwrap(), server.counts());
        let stop = CancellationToken::new();
        let served = tokio::spawn(server.serve(router, stop.clone()));
        Self { address, counts, stop, served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What an honest client gets on a connection of its own.
    async fn ask(&self, path: &str) -> String {
        let mut client = self.connect().await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn until(&self, is_so: impl Fn(&Counts) -> bool) {
        until(|| is_so(&self.counts)).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.served.await.unwrap();
    }
}

/// Waits until something is so.
async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it comes about within 30 s");
}

/// `/` greets, `/endless` never ends, `/count` counts the bytes of a body, `/full` takes none.
fn router() -> Router {
    let count = async |body: Body| {
        let bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(|_| StatusCode::BAD_REQUEST)?;
        Ok::<_, StatusCode>(bytes.len().to_string())
    };
    let endless = async || {
        Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[7; 16 << 10]))))
    };
    Router::new()
        .route("/", get(async || "hello"))
        .route("/endless", get(endless))
        .route("/count", post(count))
        .route("/full", post(async || (StatusCode::INSUFFICIENT_STORAGE, "full")))
        .route(
            "/host",
            get(async |headers: HeaderMap, uri: Uri| format!("{} {uri}", headers["host"].to_str().unwrap())),
        )
        .route("/large", get(async || format!("{}y", "x".repeat(4_999_999))))
        .route("/hang", get(async || std::future::pending::<()>().await))
}

/// A certificate for `name` and its key, in files.
fn write_certificate(dir: &Path, name: &str) -> (TlsConfig, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_string()]).unwrap();
    let config = TlsConfig {
        cert_file: Some(dir.join("cert.pem")),
        key_file: Some(dir.join("key.pem")),
        ..TlsConfig::default()
    };
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    (config, made.cert.pem().into_bytes())
}

/// A TLS connection to someone who must show this certificate.
async fn connect_tls(
    address: SocketAddr,
    name: &str,
    pem: &[u8],
    alpn: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_string()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A server with TLS, and the certificate that it shows to those who ask for `localhost`.
async fn start_tls(config: HttpConfig) -> (Running, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let (tls, pem) = write_certificate(dir.path(), "localhost");
    let server = Server::bind(([127, 0, 0, 1], 0).into(), config).await.unwrap();
    (Running::serve(server.with_tls(Tls::open(&tls).unwrap()), router()), pem)
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_its_whole_body_before_it_reads() {
    let (server, pem) = start_tls(HttpConfig::default()).await;
    let plain = Running::start(HttpConfig::default()).await;
    let body = vec![7; 32 << 20];
    let head = format!("POST /full HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut client = plain.connect().await;
    let mut over_tls = connect_tls(server.address, "localhost", &pem, b"http/1.1").await.unwrap();
    let mut answers = [String::new(), String::new()];
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&body).await.unwrap();
    client.read_to_string(&mut answers[0]).await.unwrap();
    over_tls.write_all(head.as_bytes()).await.unwrap();
    over_tls.write_all(&body).await.unwrap();
    over_tls.read_to_string(&mut answers[1]).await.unwrap();
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 507 ") && answer.ends_with("full"), "{answer}");
    }
    drop((client, over_tls));
    plain.stop().await;
    server.stop().await;
}
