//! Requests in progress on a connection: how many, since when there is none, and how many of them were given up.
//!
//! A request is in progress from its head until its answer is sent, or given up.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::Instant,
};

/// So many requests are never in progress: the mark of a connection that is being closed.
const RETIRED: usize = usize::MAX / 2;

/// Bytes of an answer over HTTP/2 that are handed over at once: what a client must take of it within the time in which it may
/// take nothing.
const PART_MAX: usize = 64 << 10;

/// What happens on one connection.
pub(super) struct Activity {
    in_progress: AtomicUsize,
    idle_since: Mutex<Instant>,
    /// Bytes wait until the client takes them.
    is_writing: AtomicBool,
    answered: AtomicU32,
    given_up: AtomicU32,
    answers: Mutex<Vec<Weak<Held>>>,
    gave_up: Notify,
    /// Room for requests of this client on all its connections; without, there is always some.
    of_client: Option<Arc<Semaphore>>,
    /// Called when the last request in progress is over.
    idle: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activity").field("in_progress", &self.in_progress).finish_non_exhaustive()
    }
}

impl Activity {
    pub(super) fn new(of_client: Option<Arc<Semaphore>>, idle: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            in_progress: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            is_writing: AtomicBool::new(false),
            answered: AtomicU32::new(0),
            given_up: AtomicU32::new(0),
            answers: Mutex::default(),
            gave_up: Notify::new(),
            of_client,
            idle: Box::new(idle),
        }
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> InProgress {
        self.in_progress.fetch_add(1, Ordering::AcqRel);
        InProgress { activity: self.clone(), answered: false, permits: [None, None] }
    }

    /// Whether the end of an answer waits until the client takes it.
    pub(super) fn set_writing(&self, is_writing: bool) {
        self.is_writing.store(is_writing, Ordering::Relaxed);
    }

    /// For how long there has been no request in progress; `None` while there is one, or the end of its answer waits.
    pub(super) fn idle_for(&self, now: Instant) -> Option<Duration> {
        let since = *self.idle_since.lock();
        if self.is_writing.load(Ordering::Relaxed) {
            return None;
        }
        (self.in_progress.load(Ordering::Acquire) == 0).then(|| now.saturating_duration_since(since))
    }

    /// Marks the connection as being closed, unless a request is in progress.
    pub(super) fn retire(&self) -> bool {
        self.in_progress.compare_exchange(0, RETIRED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Until the client gives up a request. Safe to drop.
    pub(super) async fn gives_up(&self) {
        self.gave_up.notified().await;
    }

    /// Requests that the client gave up, beyond those that it took the answers of.
    pub(super) fn given_up(&self) -> u32 {
        self.given_up.load(Ordering::Relaxed).saturating_sub(self.answered.load(Ordering::Relaxed))
    }

    /// Lets go of answers of which the client has taken nothing for `patience`, and says of how many. What they hold is
    /// free again; the client gets an error should it ask for the rest.
    pub(super) fn give_up_stalled(&self, now: Instant, patience: Duration) -> u64 {
        let mut stalled = 0;
        self.answers.lock().retain(|answer| {
            let Some(answer) = answer.upgrade() else { return false };
            let is_stalled = answer.give_up_if_stalled(now, patience);
            stalled += u64::from(is_stalled);
            !is_stalled
        });
        stalled
    }

    fn end(&self, answered: bool) {
        let counter = if answered { &self.answered } else { &self.given_up };
        counter.fetch_add(1, Ordering::Relaxed);
        if !answered {
            self.gave_up.notify_one();
        }
        // Before the count falls: whoever sees no request sees since when.
        *self.idle_since.lock() = Instant::now();
        if self.in_progress.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.idle)();
        }
    }
}

/// One request in progress, until it is dropped.
#[derive(Debug)]
pub(super) struct InProgress {
    activity: Arc<Activity>,
    answered: bool,
    permits: [Option<OwnedSemaphorePermit>; 2],
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// Too many requests are in progress.
    Busy,
    /// Too many are of this client.
    Greedy,
}

impl InProgress {
    /// Takes a place among all requests, and among those of the client, for as long.
    pub(super) fn take_place(&mut self, of_all: &Arc<Semaphore>) -> Result<(), NoRoom> {
        let of_client = self.activity.of_client.clone().map(Semaphore::try_acquire_owned).transpose();
        let of_client = of_client.map_err(|_: TryAcquireError| NoRoom::Greedy)?;
        let of_all = of_all.clone().try_acquire_owned().map_err(|_| NoRoom::Busy)?;
        self.permits = [of_client, Some(of_all)];
        Ok(())
    }

    /// The body of this request's answer. With `watched` the connection looks after it: over HTTP/2 a client can stop taking
    /// one answer while the connection goes on.
    pub(super) fn answer(self, body: Body, watched: bool) -> Answer {
        let activity = self.activity.clone();
        let part_max = if watched { PART_MAX } else { usize::MAX };
        let state = State {
            going: Some((body, self)),
            rest: Bytes::new(),
            part_max,
            given: Some(Instant::now()),
            finished: false,
        };
        let held = Arc::new(Held(Mutex::new(state)));
        if watched {
            let mut answers = activity.answers.lock();
            answers.retain(|answer| answer.strong_count() > 0);
            answers.push(Arc::downgrade(&held));
        }
        Answer(held)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.permits = [None, None];
        self.activity.end(self.answered);
    }
}

/// The body of an answer; its request is in progress until it is sent, given up or dropped.
#[derive(Debug)]
pub(super) struct Answer(Arc<Held>);

#[derive(Debug)]
struct Held(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Nothing once all is sent or given up.
    going: Option<(Body, InProgress)>,
    /// What came of the body and was not handed over yet.
    rest: Bytes,
    part_max: usize,
    /// Since when the client could have asked for more; `None` while it is we who are waited for.
    given: Option<Instant>,
    finished: bool,
}

impl State {
    /// Whether there is nothing left to hand over.
    fn is_at_end(&self) -> bool {
        let is_end = |(body, _): &(Body, _)| http_body::Body::is_end_stream(body);
        self.rest.is_empty() && self.going.as_ref().is_some_and(is_end)
    }

    fn finish(&mut self) {
        if let Some((_, in_progress)) = &mut self.going {
            in_progress.answered = true;
        }
        self.going = None;
        self.finished = true;
    }
}

impl Held {
    fn give_up_if_stalled(&self, now: Instant, patience: Duration) -> bool {
        let mut state = self.0.lock();
        let stalled = state.given.is_some_and(|given| now.saturating_duration_since(given) >= patience);
        let going = if stalled { state.going.take() } else { None };
        if stalled {
            state.rest = Bytes::new();
        }
        drop(state);
        going.is_some()
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut guard = self.0.0.lock();
        let state = &mut *guard;
        if state.finished {
            return Poll::Ready(None);
        }
        let Some((body, _)) = &mut state.going else {
            return Poll::Ready(Some(Err(axum::Error::new(
                "given up: the client took nothing for too long",
            ))));
        };
        let mut polled = if state.rest.is_empty() {
            Pin::new(&mut *body).poll_frame(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(mem::take(&mut state.rest)))))
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(data) = frame.data_mut()
            && data.len() > state.part_max
        {
            state.rest = data.split_off(state.part_max);
        }
        let is_end = state.is_at_end();
        match &polled {
            Poll::Pending => state.given = None,
            Poll::Ready(None) => state.finish(),
            Poll::Ready(Some(Ok(_))) if is_end => state.finish(),
            Poll::Ready(Some(Ok(_))) => state.given = Some(Instant::now()),
            Poll::Ready(Some(Err(_))) => state.going = None,
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.0.lock();
        state.finished || state.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.0.0.lock();
        match &state.going {
            Some((body, _)) => {
                let (hint, rest) = (body.size_hint(), state.rest.len() as u64);
                let mut whole = SizeHint::new();
                whole.set_lower(hint.lower().saturating_add(rest));
                if let Some(upper) = hint.upper() {
                    whole.set_upper(upper.saturating_add(rest));
                }
                whole
            }
            None if state.finished => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        // An answer without a body is never asked for one.
        if state.is_at_end() {
            state.finish();
        }
    }
}
