//! A plain axum server in a process of its own that answers from memory: the same client, the same loopback, nothing
//! behind it.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use content::{Cid, Codec, HashFn};
use futures_util::{StreamExt as _, stream};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{pattern::Pattern, process};

const LEAF: u64 = 1 << 20;
/// Leaves hashed ahead of the reader.
const AHEAD: usize = 4;
/// Longest streamed answer.
const STREAM_MAX: u64 = 4 << 30;

/// A running baseline server.
#[derive(Debug)]
pub(crate) struct BaselineServer {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl BaselineServer {
    /// Starts this program again as a server.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command.arg("--serve-baseline").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = process::spawn(command)?;
        let output = process.stdout.take().context("output of the baseline server")?;
        let line = BufReader::new(output).lines().next_line().await?.unwrap_or_default();
        let address = line.parse().with_context(|| format!("the baseline server said {line:?}"))?;
        Ok(Self { process, address })
    }

    pub(crate) async fn end(mut self) {
        process::end(&mut self.process, Duration::from_secs(1)).await;
    }

    /// A field of its memory, in bytes.
    pub(crate) fn memory(&self, field: &str) -> Option<u64> {
        process::memory(self.process.id()?, field)
    }

    /// Processor seconds used up to now.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.process.id().map_or(0.0, process::cpu_seconds)
    }
}

/// Serves until the process is ended.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let (small, large): (Bytes, Bytes) =
        (Pattern::new(1 << 10).whole().into(), Pattern::new(LEAF).whole().into());
    let router = Router::new()
        .route("/empty", get(async || StatusCode::OK))
        .route("/redirect", get(redirect))
        .route("/small", get(async move || small.clone()))
        .route("/large", get(async move || large.clone()))
        .route("/hashed/{bytes}", get(hashed));
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

async fn redirect() -> Response {
    let location = HeaderValue::from_static("http://127.0.0.1:1/ipfs/bafy?ticket=0");
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
}

/// Copies as many bytes and hashes each leaf as a verified read must, some leaves ahead on blocking threads.
async fn hashed(Path(bytes): Path<u64>) -> Response {
    if bytes > STREAM_MAX {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let source: Bytes = Pattern::new(LEAF).whole().into();
    let leaves = stream::iter(0..bytes.div_ceil(LEAF)).map(move |leaf| {
        let take = usize::try_from((bytes - leaf * LEAF).min(LEAF)).unwrap_or(0);
        let source = source.clone();
        tokio::task::spawn_blocking(move || {
            let copy = Bytes::copy_from_slice(&source[..take]);
            std::hint::black_box(Cid::of(Codec::Raw, HashFn::Sha2_256, &copy));
            copy
        })
    });
    let body = Body::from_stream(leaves.buffered(AHEAD));
    ([(header::CONTENT_LENGTH, HeaderValue::from(bytes))], body).into_response()
}
