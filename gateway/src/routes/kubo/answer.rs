//! Answers as Kubo gives them: lines of JSON, and errors with a message.

use std::io;

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use retrieval::ReadError;
use serde::Serialize;
use serde_json::{Value, json};
use service::{http::error::ApiError, traces::here};
use store::StoreError;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::{auth::AuthError, database::store_failed, upload::UploadError};

/// A command that was refused or failed. Kubo says 500 of everything; here the status says what it is.
#[derive(Debug)]
pub(super) struct RpcError {
    status: StatusCode,
    message: String,
    retry_after_secs: Option<u32>,
}

impl RpcError {
    /// An argument that is missing or makes no sense.
    pub(super) fn argument(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Nothing of that name.
    pub(super) fn not_found(message: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Something that cannot be pinned because not all of it is here, unless the cause is another one.
    pub(super) fn not_stored(why: Self) -> Self {
        match why.status {
            StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => Self::not_found(format!(
                "{}; this command does not look for it elsewhere, POST /psa/pins does",
                why.message
            )),
            _ => why,
        }
    }

    /// Too much is asked for at once.
    pub(super) fn busy(message: impl ToString) -> Self {
        Self { retry_after_secs: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// A command that there is none of here.
    pub(super) fn no_command(message: impl ToString) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// What should not happen.
    pub(super) fn failed(message: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// What Kubo's clients know as an error.
    pub(super) fn json(&self) -> Value {
        json!({ "Message": self.message, "Code": 0, "Type": "error" })
    }

    fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string(), retry_after_secs: None }
    }
}

impl From<ApiError> for RpcError {
    fn from(error: ApiError) -> Self {
        let ApiError { status, details, retry_after_secs, .. } = error;
        Self { status, message: details, retry_after_secs }
    }
}

impl From<AuthError> for RpcError {
    fn from(error: AuthError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<UploadError> for RpcError {
    fn from(error: UploadError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        store_failed(error).into()
    }
}

impl From<ReadError> for RpcError {
    fn from(error: ReadError) -> Self {
        let status = match &error {
            ReadError::Denied(..) => StatusCode::GONE,
            ReadError::NotFound(_) | ReadError::NoLink { .. } => StatusCode::NOT_FOUND,
            ReadError::NotADirectory(_)
            | ReadError::NotALink(_)
            | ReadError::Malformed(_)
            | ReadError::BadData(..)
            | ReadError::UnsupportedHash(_)
            | ReadError::TooLarge(_)
            | ReadError::NoArchive(_) => StatusCode::BAD_REQUEST,
            ReadError::Unlocated(_) | ReadError::Unavailable(_) | ReadError::TooSlow => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let retry_after_secs = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5);
        Self { retry_after_secs, ..Self::new(status, error) }
    }
}

impl IntoResponse for RpcError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.json())).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_secs {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Lines that wait to be sent, at most.
const LINES_WAITING_MAX: usize = 64;

/// Where lines of an answer go. They are gone with whoever waits for them, as is the task that sends them.
#[derive(Clone)]
pub(super) struct LineSender(mpsc::Sender<Result<Value, RpcError>>);

impl LineSender {
    /// Sends a line when there is room for it.
    pub(super) async fn send(&self, line: Value) {
        let _ = self.0.send(Ok(line)).await;
    }

    /// Sends a line if there is room for it.
    pub(super) fn send_if_read(&self, line: Value) {
        let _ = self.0.try_send(Ok(line));
    }
}

/// Lines that come one after another, from a task that ends when nobody waits for them any more. As long as there is no
/// line, an error has a status. After that it is a line of its own, and the connection is broken off: clients that do
/// not know such lines must not take the answer for whole.
pub(super) async fn lines_as_they_come<W>(work: impl FnOnce(LineSender) -> W) -> Result<Response, RpcError>
where
    W: Future<Output = Result<(), RpcError>> + Send + 'static,
{
    let (sender, mut lines) = mpsc::channel(LINES_WAITING_MAX);
    let work = work(LineSender(sender.clone()));
    let task = AbortOnDropHandle::new(tokio::spawn(here().carry(async move {
        if let Err(error) = work.await {
            let _ = sender.send(Err(error)).await;
        }
    })));
    let first = lines.recv().await.transpose()?;
    let first = stream::iter(first.map(|line| Ok(text(&[line]))));
    let rest = stream::unfold(State::Open(lines, task), async |state| match state {
        State::Open(mut lines, task) => match lines.recv().await? {
            Ok(line) => Some((Ok(text(&[line])), State::Open(lines, task))),
            Err(error) => Some((Ok(text(&[error.json()])), State::Broken(error.message))),
        },
        State::Broken(message) => {
            // So that the connection is flushed first: what is still in it when the body fails is thrown away.
            tokio::task::yield_now().await;
            Some((Err(io::Error::other(message)), State::Over))
        }
        State::Over => None,
    });
    Ok(json_lines(Body::from_stream(first.chain(rest))))
}

/// An answer that is being sent.
enum State {
    Open(Lines, AbortOnDropHandle<()>),
    /// The line of the error was the last.
    Broken(String),
    Over,
}

/// Where lines come from.
type Lines = mpsc::Receiver<Result<Value, RpcError>>;

/// One line.
pub(super) fn line(value: &impl Serialize) -> Response {
    lines(&[value])
}

/// Lines that are all there.
pub(super) fn lines(values: &[impl Serialize]) -> Response {
    json_lines(Body::from(text(values)))
}

fn text(values: &[impl Serialize]) -> Bytes {
    let mut text = Vec::new();
    for value in values {
        // Maps with string keys and plain values cannot fail to become JSON.
        if serde_json::to_writer(&mut text, value).is_ok() {
            text.push(b'\n');
        }
    }
    Bytes::from(text)
}

fn json_lines(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert("x-chunked-output", header::HeaderValue::from_static("1"));
    response
}
