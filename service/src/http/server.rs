//! The HTTP/1.1 server of every process: bounded connections, header timeout, no Nagle delay, draining on stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{client_address::PeerAddr, patient::Patient, unread::Unread};

/// What is read ahead of a connection, at most. It would grow to six times as much for every upload.
const READ_BUFFER_MAX: usize = 64 << 10;

/// The `[http]` section of every process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Connections open at once; further ones wait in the listen queue of the system.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request, idle time between requests included.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// How long a client may take nothing of an answer before its connection is closed.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// How long a client that was answered before it had sent its whole request may go on sending, unheard, until its
    /// connection is closed. Closing it at once may lose the answer.
    #[serde(with = "humantime_serde")]
    pub linger_timeout: Duration,
    /// How long requests in progress may go on once the process was asked to stop.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            header_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_mins(1),
            linger_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(20),
        }
    }
}

/// A bound listener, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    config: HttpConfig,
}

impl Server {
    /// Binds the address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, config: HttpConfig) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
        Ok(Self { listener, config })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then lets requests in progress finish for at most the drain time.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.config.connections_max));
        let connections = TaskTracker::new();
        while let Some((stream, peer, slot)) = self.accept(&slots, &stop).await {
            let (router, stop, config) = (router.clone(), stop.clone(), self.config.clone());
            connections.spawn(async move {
                serve_connection(stream, peer, router, stop, &config).await;
                drop(slot);
            });
        }
        drop(self.listener);
        connections.close();
        if tokio::time::timeout(self.config.drain, connections.wait()).await.is_err() {
            tracing::warn!(open = connections.len(), "connections still open after draining");
        }
    }

    async fn accept(
        &self,
        slots: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot.ok()?,
            () = stop.cancelled() => return None,
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return None,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => return Some((stream, peer, slot)),
                    Err(error) => {
                        // Out of file descriptors, or a client that left at once: neither ends the server.
                        tracing::warn!(%error, "could not accept a connection");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
    config: &HttpConfig,
) {
    // Without this, small answers wait for the peer's delayed acknowledgement: 40 ms on every one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set nodelay");
    }
    let unread = Unread::default();
    let watched = unread.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(PeerAddr(peer));
        router.clone().oneshot(request.map(|body| Body::new(watched.watch(body))))
    });
    let stream = Patient::new(stream, config.write_timeout, config.linger_timeout, unread);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(READ_BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "connection ended with an error");
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, routing::post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_refusal_reaches_a_client_that_sends_its_whole_body_before_it_reads() {
        let server = Server::bind(([127, 0, 0, 1], 0).into(), HttpConfig::default()).await.unwrap();
        let address = server.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", post(async || (StatusCode::INSUFFICIENT_STORAGE, "full")));
        let served = tokio::spawn(server.serve(router, stop.clone()));

        let mut client = TcpStream::connect(address).await.unwrap();
        let body = vec![7; 32 << 20];
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&body).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 507 ") && answer.ends_with("full"), "{answer}");

        drop(client);
        stop.cancel();
        served.await.unwrap();
    }
}
