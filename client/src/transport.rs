//! How requests leave this process: over HTTP, or (in a simulation) straight into another part's router.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use service::{http::error::ErrorBody, traces::Span};

use crate::body::SyncBody;

/// What is read of the body of a refusal.
const REFUSAL_MAX: usize = 64 << 10;

/// Why no answer came. The difference decides who is blamed: see `protocol::audit`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No connection: refused, unreachable, unknown name, or no answer to the attempt in time.
    #[error("could not connect: {0}")]
    Connect(String),
    /// Connected, but the answer did not come in time.
    #[error("timed out")]
    Timeout,
    /// The connection broke, or what came was not HTTP.
    #[error("connection broke: {0}")]
    Broken(String),
}

impl SendError {
    /// One word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "no_connection",
            Self::Timeout => "timed_out",
            Self::Broken(_) => "broken_off",
        }
    }
}

/// Why a call did not give what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer came.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The other side refused, with the reason it gave.
    #[error("answered {status} {reason}: {details}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Its machine-readable reason, or empty.
        reason: String,
        /// For people.
        details: String,
    },
    /// The answer is not what it must be: unparsable, too long, or bytes that do not verify.
    #[error("bad answer: {0}")]
    BadAnswer(String),
}

/// A network in memory that takes a request to whoever listens at its URL.
pub trait Network: Send + Sync {
    /// Delivers a request and gives the answer.
    fn send(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, SendError>> + Send + '_>>;
}

/// How long the outgoing side waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For a connection.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// For the next bytes of an answer.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// For a whole small call: status, heartbeat, delete.
    #[serde(with = "humantime_serde")]
    pub call: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), idle: Duration::from_secs(15), call: Duration::from_secs(10) }
    }
}

/// The way out of this process.
#[derive(Clone)]
pub enum Transport {
    /// HTTP/1.1 over TCP with kept-alive connections.
    Http {
        /// The connection pool.
        client: reqwest::Client,
        /// Waiting times.
        timeouts: Timeouts,
    },
    /// In memory.
    InProcess(Arc<dyn Network>),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http { .. } => "Transport::Http",
            Self::InProcess(_) => "Transport::InProcess",
        })
    }
}

impl Transport {
    /// A pool of HTTP connections.
    pub fn http(timeouts: Timeouts) -> Result<Self, reqwest::Error> {
        // The second installation of the same provider fails harmlessly: several parts of one process come here.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .tcp_nodelay(true)
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.idle)
            .pool_idle_timeout(Duration::from_secs(50))
            .pool_max_idle_per_host(64)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self::Http { client, timeouts })
    }

    /// How long a small call may take as a whole.
    pub fn call_timeout(&self) -> Duration {
        match self {
            Self::Http { timeouts, .. } => timeouts.call,
            Self::InProcess(_) => Duration::from_mins(1),
        }
    }

    /// Sends a request; `timeout` bounds the whole exchange, body included, on a real network.
    pub async fn send(
        &self,
        request: Request<Body>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, SendError> {
        let span = Span::client(request.method(), request.uri());
        let mut request = request;
        span.inject(request.headers_mut());
        let outcome = span.within(self.send_untraced(request, timeout)).await;
        match &outcome {
            Ok(response) => span.answered(response.status()),
            Err(error) => span.failed(error.kind()),
        }
        outcome
    }

    async fn send_untraced(
        &self,
        request: Request<Body>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, SendError> {
        match self {
            Self::InProcess(network) => network.send(request).await,
            Self::Http { client, .. } => {
                let (parts, body) = request.into_parts();
                let mut builder = client
                    .request(parts.method, parts.uri.to_string())
                    .headers(parts.headers)
                    .body(reqwest::Body::wrap(SyncBody::new(body)));
                if let Some(timeout) = timeout {
                    builder = builder.timeout(timeout);
                }
                let response = builder.send().await.map_err(|error| send_error(&error))?;
                let response: Response<reqwest::Body> = response.into();
                Ok(response.map(Body::new))
            }
        }
    }

    /// Sends a request and reads the whole answer, at most `bytes_max` long; anything but success becomes an error.
    pub async fn call(
        &self,
        request: Request<Body>,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Bytes, CallError> {
        self.open(request, timeout).await?.collect(bytes_max).await
    }

    /// Sends a request and gives the answer to be read as it comes; anything but success becomes an error.
    pub async fn open(&self, request: Request<Body>, timeout: Duration) -> Result<Answer, CallError> {
        let response = self.send(request, Some(timeout)).await?;
        let status = response.status();
        let answer = Answer(response.into_body());
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.collect(REFUSAL_MAX).await?;
        let error = serde_json::from_slice::<ErrorBody>(&body).map(|body| body.error);
        let (reason, details) = match error {
            Ok(error) => (error.reason, error.details),
            Err(_) => (String::new(), String::from_utf8_lossy(&body).chars().take(200).collect()),
        };
        Err(CallError::Refused { status, reason, details })
    }

    /// [`Transport::call`] for JSON answers.
    pub async fn call_json<T: DeserializeOwned>(
        &self,
        request: Request<Body>,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<T, CallError> {
        let body = self.call(request, timeout, bytes_max).await?;
        serde_json::from_slice(&body).map_err(|error| CallError::BadAnswer(error.to_string()))
    }
}

/// The body of a successful answer.
#[derive(Debug)]
pub struct Answer(Body);

impl Answer {
    /// The next bytes, as they come; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        while let Some(frame) = self.0.frame().await {
            let frame = frame.map_err(|error| body_error(&error))?;
            // What is no data is trailers, which say nothing here.
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// All of it, at most `bytes_max` long.
    pub async fn collect(self, bytes_max: usize) -> Result<Bytes, CallError> {
        match Limited::new(self.0, bytes_max).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(CallError::BadAnswer(format!("longer than {bytes_max} bytes")))
            }
            Err(error) => Err(body_error(error.as_ref()).into()),
        }
    }
}

/// What went wrong while a body was read.
fn body_error(error: &(dyn std::error::Error + 'static)) -> SendError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return send_error(error);
        }
        cause = error.source();
    }
    SendError::Broken(error.to_string())
}

fn send_error(error: &reqwest::Error) -> SendError {
    if error.is_connect() {
        SendError::Connect(chain(error))
    } else if error.is_timeout() {
        SendError::Timeout
    } else {
        SendError::Broken(chain(error))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
