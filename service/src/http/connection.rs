//! One connection: the TLS handshake, then HTTP/1.1 or HTTP/2 until it ends, is stopped, or has to make room.
//!
//! HTTP/2 is spoken over TLS only, by those who ask for it in the handshake (ALPN). What a connection can make the process
//! hold: 64 KiB read ahead over HTTP/1.1; over HTTP/2 `window_bytes` of each body and four times that of all, [`HEADERS_MAX`] of headers for each stream, and
//! [`SEND_BUFFER_MAX`] and one part of the answer for each stream.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, StatusCode, Uri, header},
    response::IntoResponse as _,
};
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    client_address::PeerAddr,
    config::HttpConfig,
    connections::{Connections, Place},
    error::ApiError,
    in_progress::{Activity, Answer, NoRoom},
    patient::Patient,
    tls::Tls,
    unread::Unread,
};

/// What is read ahead of an HTTP/1.1 connection, at most. It would grow to six times as much for every upload.
const READ_BUFFER_MAX: usize = 64 << 10;
/// Bytes of the headers of one request over HTTP/2, names and values and 32 for each (RFC 9113, 6.5.2), at most. It also bounds
/// how many CONTINUATION frames are read.
const HEADERS_MAX: u32 = 32 << 10;
/// Bytes of one answer over HTTP/2 that wait to be sent, beyond the part that was asked for last.
const SEND_BUFFER_MAX: usize = 64 << 10;
/// Streams that were reset before they were looked at, at most; then the connection is closed (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;
/// Streams that were reset for errors of the client's, at most; then the connection is closed.
const LOCAL_RESETS_MAX: usize = 100;
/// ALPN's name of HTTP/2 (RFC 9113, 3.1).
const H2: &[u8] = b"h2";

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) config: HttpConfig,
    pub(super) tls: Option<Tls>,
    pub(super) connections: Connections,
    pub(super) requests: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

/// Serves a connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, place: Place) {
    // Without this, small answers wait for the peer's delayed acknowledgement: 40 ms on every one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set nodelay");
    }
    let outcome = tokio::select! {
        biased;
        () = place.evicted.cancelled() => Err(io::Error::other("had to make room").into()),
        outcome = talk(&shared, stream, peer, &place.activity) => outcome,
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, error, "connection ended with an error");
    }
}

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn talk(
    shared: &Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    activity: &Arc<Activity>,
) -> Outcome {
    let Some(tls) = &shared.tls else { return http1(shared, stream, peer, activity).await };
    let handshake = tls.acceptor().accept(stream);
    let stream = tokio::time::timeout(shared.config.handshake_timeout, handshake).await??;
    match stream.get_ref().1.alpn_protocol() {
        Some(H2) => http2(shared, stream, peer, activity).await,
        _ => http1(shared, stream, peer, activity).await,
    }
}

async fn http1<S>(shared: &Arc<Shared>, stream: S, peer: SocketAddr, activity: &Arc<Activity>) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = &shared.config;
    let unread = Unread::default();
    let watched = unread.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let request = request.map(|body| Body::new(watched.watch(body)));
        answer(shared.clone(), request, peer, activity.clone(), false)
    });
    let stream =
        Patient::new(stream, config.write_timeout, config.linger_timeout, unread).telling(activity.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(READ_BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        outcome = connection.as_mut() => outcome?,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
    }
    Ok(())
}

async fn http2<S>(shared: &Arc<Shared>, stream: S, peer: SocketAddr, activity: &Arc<Activity>) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = &shared.config;
    let (theirs, ours) = (shared.clone(), activity.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        answer(theirs.clone(), like_http1(request.map(Body::new)), peer, ours.clone(), true)
    });
    // A refused body costs the stream and not the connection, so nothing has to be heard out at the end.
    let stream = Patient::new(stream, config.write_timeout, Duration::ZERO, Unread::default())
        .telling(activity.clone());
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams_max)
        .max_header_list_size(HEADERS_MAX)
        .initial_stream_window_size(config.window_bytes)
        // Wider than a stream's, so that one body that nobody reads for a while holds up none of the others.
        .initial_connection_window_size(config.window_bytes.saturating_mul(4).min(super::config::WINDOW_MAX))
        .max_send_buf_size(SEND_BUFFER_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        .keep_alive_interval(config.ping_every)
        .keep_alive_timeout(config.ping_every)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut looks = tokio::time::interval(look_every(config));
    // Once it was asked to end, when it is no longer waited for.
    let mut ending: Option<Instant> = None;
    loop {
        tokio::select! {
            outcome = connection.as_mut() => return Ok(outcome?),
            () = shared.stop.cancelled(), if ending.is_none() => {
                connection.as_mut().graceful_shutdown();
                ending = Some(Instant::now() + config.drain);
            }
            () = activity.gives_up() => look_after(shared, activity, Instant::now())?,
            now = looks.tick() => {
                // A request may have been on its way when an idle connection was asked to end: it is answered.
                let waits = shared.stop.is_cancelled() || activity.idle_for(now).is_some();
                if waits && ending.is_some_and(|end| end <= now) {
                    return Err(io::Error::from(io::ErrorKind::TimedOut).into());
                }
                look_after(shared, activity, now)?;
                if ending.is_none() && activity.idle_for(now).is_some_and(|time| time >= config.header_timeout) {
                    connection.as_mut().graceful_shutdown();
                    ending = Some(now + config.linger_timeout);
                }
            }
        }
    }
}

/// A request as it would have come over HTTP/1.1, where the host stands in a header of its own: handlers look for it there.
fn like_http1(mut request: Request<Body>) -> Request<Body> {
    let parts = request.uri().clone().into_parts();
    if let Some(authority) = parts.authority
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some(path) = parts.path_and_query {
        *request.uri_mut() = Uri::from(path);
    }
    request
}

/// How often a connection is looked after: four times in the shortest of the times that it looks at.
fn look_every(config: &HttpConfig) -> Duration {
    (config.header_timeout.min(config.write_timeout) / 4)
        .clamp(Duration::from_millis(10), Duration::from_secs(5))
}

/// Gives up answers that stand still, and the whole connection when its client gives up too many.
fn look_after(shared: &Shared, activity: &Activity, now: Instant) -> io::Result<()> {
    let counts = shared.connections.counts();
    let stalled = activity.give_up_stalled(now, shared.config.write_timeout);
    counts.stalled.fetch_add(stalled, Ordering::Relaxed);
    metrics::counter!("pinstripe_http_answers_stalled_total").increment(stalled);
    if activity.given_up() > shared.config.resets_max {
        counts.flooding.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("pinstripe_http_connections_flooding_total").increment(1);
        return Err(io::Error::other("the client gives up too many requests"));
    }
    Ok(())
}

/// Answers one request, which is in progress until its answer is sent.
async fn answer(
    shared: Arc<Shared>,
    mut request: Request<Body>,
    peer: SocketAddr,
    activity: Arc<Activity>,
    watched: bool,
) -> Result<Response<Answer>, Infallible> {
    let mut in_progress = activity.begin();
    let response = match in_progress.take_place(&shared.requests) {
        Ok(()) => {
            request.extensions_mut().insert(PeerAddr(peer));
            let Ok(response) = shared.router.clone().oneshot(request).await;
            response
        }
        Err(no_room) => refusal(&shared, no_room).into_response(),
    };
    Ok(response.map(|body| in_progress.answer(body, watched)))
}

fn refusal(shared: &Shared, no_room: NoRoom) -> ApiError {
    let counts = shared.connections.counts();
    match no_room {
        NoRoom::Busy => {
            counts.busy.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("pinstripe_http_requests_busy_total").increment(1);
            ApiError::unavailable("busy", "too many requests are in progress", 1)
        }
        NoRoom::Greedy => {
            counts.greedy.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("pinstripe_http_requests_greedy_total").increment(1);
            let details = "too many requests of this address are in progress";
            let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_in_progress", details);
            ApiError { retry_after_secs: Some(1), ..error }
        }
    }
}
