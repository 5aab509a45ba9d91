//! The HTTP server of every process: a listener with bounds, its connections, and draining on stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use super::{config::HttpConfig, connections::Counts};
use super::{
    connection::{self, Shared},
    connections::{Connections, Place},
    observe::observed_behind,
    tls::Tls,
};

/// A bound listener, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    name: &'static str,
    config: HttpConfig,
    tls: Option<Tls>,
    trusted_proxies: Vec<IpNet>,
    counts: Arc<Counts>,
}

impl Server {
    /// Binds the address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, config: HttpConfig) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
        let (tls, trusted_proxies, counts) = (None, Vec::new(), Arc::default());
        Ok(Self { listener, name: "public", config, tls, trusted_proxies, counts })
    }

    /// The same with another name in metrics than `public`.
    #[must_use]
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The same with TLS, if there is a certificate.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// The same with networks of proxies, from which any number of connections may come.
    #[must_use]
    pub fn trusting(self, proxies: &[IpNet]) -> Self {
        Self { trusted_proxies: proxies.to_vec(), ..self }
    }

    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What becomes of its connections.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Serves until `stop`, then lets requests in progress finish for at most the drain time.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let Self { listener, name, config, tls, trusted_proxies, counts } = self;
        let drain = config.drain;
        let router = observed_behind(router, name, &trusted_proxies);
        let places = Connections::new(name, &config, trusted_proxies, counts);
        let requests = Arc::new(Semaphore::new(config.requests_max));
        let connections = TaskTracker::new();
        let end = CancellationToken::new();
        let shared =
            Shared { router, config, tls, connections: places.clone(), requests, stop: stop.clone() };
        let shared = Arc::new(shared);
        let _end = end.clone().drop_guard();
        while let Some((stream, peer, place)) = accept(&listener, &places, &stop).await {
            let (shared, end) = (shared.clone(), end.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = connection::serve(shared, stream, peer, place) => {}
                    () = end.cancelled() => {}
                }
            });
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(drain, connections.wait()).await.is_err() {
            tracing::warn!(
                listener = name,
                connections = connections.len(),
                "connections still open after draining"
            );
        }
    }
}

/// The next connection that may be served; `None` at the stop.
async fn accept(
    listener: &TcpListener,
    places: &Connections,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, Place)> {
    let next = async {
        loop {
            match listener.accept().await {
                // Whoever has too many has this one closed at once.
                Ok((stream, peer)) => match places.place(peer).await {
                    Ok(place) => return (stream, peer, place),
                    Err(_) => drop(stream),
                },
                Err(error) => {
                    // A client that left at once, or too many open files: neither ends the server, and whoever does nothing with
                    // a connection keeps nobody out.
                    let is_out_of_files = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
                    if is_out_of_files && places.make_room() {
                        tracing::warn!(%error, "could not accept a connection, and closed an idle one");
                    } else {
                        tracing::warn!(%error, "could not accept a connection");
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    };
    tokio::select! {
        next = next => Some(next),
        () = stop.cancelled() => None,
    }
}

#[cfg(test)]
mod tests;
