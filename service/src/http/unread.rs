//! Whether a connection's last request has a body that was not read to its end.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};

/// The mark that a body and its connection share.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Whether some of the last body may still be on its way.
    pub(super) fn is_some(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The body of a request that begins, watched.
    pub(super) fn watch<B: Body>(&self, body: B) -> Watched<B> {
        let unread = self.clone();
        unread.0.store(!body.is_end_stream(), Ordering::Relaxed);
        Watched { body, unread }
    }
}

#[cfg(test)]
impl From<bool> for Unread {
    fn from(unread: bool) -> Self {
        Self(Arc::new(AtomicBool::new(unread)))
    }
}

/// A body that says when it has been read to its end.
pub(super) struct Watched<B> {
    body: B,
    unread: Unread,
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || this.body.is_end_stream() {
            this.unread.0.store(false, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
