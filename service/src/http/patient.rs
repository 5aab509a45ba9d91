//! A connection whose peer must take something of what is sent now and then: one that stands still would keep its buffers
//! and its place for ever. And one that does not throw away an answer by closing on a peer that still sends.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{in_progress::Activity, unread::Unread};

/// A stream whose writes fail when none gets on for a time. Reading waits as long as it likes.
///
/// Closing a socket with bytes in it that nobody read makes the system send a reset, which may overtake the answer. So
/// when a request was answered before its body had come, what still comes is thrown away for a while after the
/// last byte was sent, until the peer has read the answer and closes its side.
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    linger: Duration,
    unread: Unread,
    /// Who wants to know whether bytes wait.
    activity: Option<Arc<Activity>>,
    /// When the write that waits is given up.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Our side is closed; when the other side's is waited for no longer.
    closing: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration, linger: Duration, unread: Unread) -> Self {
        Self { stream, patience, linger, unread, activity: None, waiting: None, closing: None }
    }

    /// The same, telling whether bytes wait until the client takes them.
    pub(super) fn telling(self, activity: Arc<Activity>) -> Self {
        Self { activity: Some(activity), ..self }
    }

    fn tell(&self, is_writing: bool) {
        if let Some(activity) = &self.activity {
            activity.set_writing(is_writing);
        }
    }

    /// What a write came to, or the end of patience with those that came to nothing.
    fn judge<T>(&mut self, outcome: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            if self.waiting.take().is_some() {
                self.tell(false);
            }
            return outcome;
        }
        if self.waiting.is_none() {
            self.tell(true);
        }
        let deadline = Instant::now() + self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> Patient<S> {
    /// Throws away what comes until the peer closes its side or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = Instant::now() + self.linger;
        let closing = self.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut waste = [MaybeUninit::uninit(); 8 << 10];
        loop {
            let mut waste = ReadBuf::uninit(&mut waste);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut waste)) {
                Ok(()) if !waste.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.judge(outcome, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.judge(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_flush(cx);
        this.judge(outcome, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_none() {
            let outcome = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.judge(outcome, cx))?;
            if !this.unread.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_is_given_up_and_a_slow_one_is_not() {
        let (near, mut far) = tokio::io::duplex(1000);
        let mut near = Patient::new(near, Duration::from_mins(1), Duration::ZERO, Unread::default());
        let writer = tokio::spawn(async move {
            let outcome = near.write_all(&vec![7; 100_000]).await;
            (outcome, Instant::now())
        });
        // Slow, but it gets on: 500 bytes every 50 s.
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            far.read_exact(&mut [0; 500]).await.unwrap();
        }
        let stopped = Instant::now();
        let (outcome, failed) = writer.await.unwrap();
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let waited = failed - stopped;
        assert!(waited >= Duration::from_secs(59) && waited < Duration::from_secs(62), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_sent_after_an_early_answer_is_taken_for_a_while() {
        for (unread, sends, taken) in [(true, 2, 2), (false, 2, 0), (true, 100, 3)] {
            let (near, mut far) = tokio::io::duplex(1000);
            let unread = Unread::from(unread);
            let mut near = Patient::new(near, Duration::from_mins(1), Duration::from_secs(10), unread);
            let closer = tokio::spawn(async move { near.shutdown().await });
            let mut sent = 0;
            for _ in 0..sends {
                tokio::time::sleep(Duration::from_secs(3)).await;
                if far.write_all(&[7; 1000]).await.is_err() {
                    break;
                }
                sent += 1;
            }
            assert_eq!(sent, taken);
            drop(far);
            closer.await.unwrap().unwrap();
        }
    }
}
