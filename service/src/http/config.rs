//! The `[http]` section of every process: what a listener takes, and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `[http]` section of every process. The bounds hold for each listener by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Connections open at once. When there are as many, the one that has had no request in progress for longest makes
    /// room for a new one; when all are busy, new ones wait in the listen queue of the system.
    pub connections_max: usize,
    /// Connections of one client at once: an address, or a /64 of IPv6. Further ones are closed. Trusted proxies may have
    /// as many as there are.
    pub connections_per_client_max: usize,
    /// Requests in progress at once, over all connections; further ones get 503. Only HTTP/2 has more than one on a
    /// connection.
    pub requests_max: usize,
    /// Requests of one client in progress at once, over all its connections; further ones get 429. Trusted proxies may have as
    /// many as there are.
    pub requests_per_client_max: usize,
    /// Requests in progress on one HTTP/2 connection.
    pub streams_max: u32,
    /// Bytes of one request's body that may come over HTTP/2 ahead of what is read of it; four times that on one connection.
    pub window_bytes: u32,
    /// Requests that a client may give up on one HTTP/2 connection, beyond those that it takes the answers of; then the
    /// connection is closed.
    pub resets_max: u32,
    /// How often a silent HTTP/2 connection is asked whether it is there; each question waits as long again for the answer.
    #[serde(with = "humantime_serde")]
    pub ping_every: Duration,
    /// How long a TLS handshake may take.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// How long a client may take to send the head of a request, idle time between requests included.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// How long a client may take to send a body that is read whole, such as JSON. Uploads have rules of their own.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// How long a client may take nothing of an answer before its connection, or its request, is given up.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// How long a client that was answered before it had sent its whole request may go on sending, unheard, until its
    /// connection is closed. Closing it at once may lose the answer.
    #[serde(with = "humantime_serde")]
    pub linger_timeout: Duration,
    /// How long a process that was asked to stop goes on taking requests, saying that it is not ready: balancers need some
    /// seconds to hear of it.
    #[serde(with = "humantime_serde")]
    pub drain_delay: Duration,
    /// How long requests in progress may go on after that.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            connections_per_client_max: 1024,
            requests_max: 4096,
            requests_per_client_max: 1024,
            streams_max: 100,
            window_bytes: 256 << 10,
            resets_max: 200,
            ping_every: Duration::from_secs(20),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_mins(1),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_mins(1),
            linger_timeout: Duration::from_secs(10),
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(20),
        }
    }
}

/// Connections of listeners for operators, at most.
const OPERATORS_CONNECTIONS_MAX: usize = 256;
/// The window that every HTTP/2 connection begins with (RFC 9113, 6.9.2), which nobody can make smaller at once.
const WINDOW_MIN: u32 = 65_535;
/// The largest window there is (RFC 9113, 6.9.1).
pub(super) const WINDOW_MAX: u32 = (1 << 31) - 1;

impl HttpConfig {
    /// The same for a listener that only operators reach.
    #[must_use]
    pub fn for_operators(&self) -> Self {
        Self { connections_max: self.connections_max.min(OPERATORS_CONNECTIONS_MAX), ..self.clone() }
    }

    /// What is wrong with the section, each with its key.
    pub fn problems(&self) -> Vec<String> {
        let counts = [
            ("connections_max", self.connections_max),
            ("connections_per_client_max", self.connections_per_client_max),
            ("requests_max", self.requests_max),
            ("requests_per_client_max", self.requests_per_client_max),
            ("streams_max", self.streams_max as usize),
        ];
        let spans = [
            ("ping_every", self.ping_every),
            ("handshake_timeout", self.handshake_timeout),
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("write_timeout", self.write_timeout),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name);
        let spans = spans.into_iter().filter(|(_, span)| span.is_zero()).map(|(name, _)| name);
        let mut problems: Vec<String> =
            counts.chain(spans).map(|name| format!("http.{name}: must not be 0")).collect();
        if !(WINDOW_MIN..=WINDOW_MAX).contains(&self.window_bytes) {
            problems.push(format!("http.window_bytes: must be in {WINDOW_MIN}..={WINDOW_MAX}"));
        }
        problems
    }
}
