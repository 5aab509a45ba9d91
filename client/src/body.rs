//! A request body made of slices that lie apart in memory, sent without copying them together.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

/// Slices sent one after another; the total length is known, so the request carries it.
#[derive(Debug, Clone, Default)]
pub struct Chunks {
    left: VecDeque<Bytes>,
    bytes_left: u64,
}

impl Chunks {
    /// Total length in bytes.
    pub fn len(&self) -> u64 {
        self.bytes_left
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes_left == 0
    }
}

impl FromIterator<Bytes> for Chunks {
    fn from_iter<I: IntoIterator<Item = Bytes>>(slices: I) -> Self {
        let left: VecDeque<Bytes> = slices.into_iter().filter(|slice| !slice.is_empty()).collect();
        let bytes_left = left.iter().map(|slice| slice.len() as u64).sum();
        Self { left, bytes_left }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.left.pop_front();
        if let Some(slice) = &next {
            self.bytes_left -= slice.len() as u64;
        }
        Poll::Ready(next.map(|slice| Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left)
    }
}

/// A body that may be shared between threads, as reqwest demands although it never polls one from two.
pub(crate) struct SyncBody(Mutex<axum::body::Body>);

impl SyncBody {
    pub(crate) fn new(body: axum::body::Body) -> Self {
        Self(Mutex::new(body))
    }
}

impl Body for SyncBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(self.0.get_mut()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}
