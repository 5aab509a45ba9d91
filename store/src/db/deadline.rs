//! An end to calls of PostgreSQL that nobody answers. A host that disappears without a word leaves connections on which nothing
//! comes any more, and the server's own limits with them; TCP gives such up after a quarter of an hour.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection as _, PgConnection, postgres::PgPoolOptions};
use tokio::time::Instant;

/// How long a connection may take to answer before it is thrown away, once a call was given up.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// For how long connections are looked at after that. The one that it is about comes back at once.
const WATCH: Duration = Duration::from_secs(60);

/// One try of a call.
pub(crate) type Call<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Has connections looked at when a call is left before its end.
struct Watch<'a> {
    deadline: &'a Deadline,
    is_over: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.deadline.watch_connections();
        }
    }
}

/// How long calls may take; cheap to clone.
#[derive(Clone, Debug)]
pub struct Deadline {
    call_max: Duration,
    begun: Instant,
    /// Until when connections are looked at, in milliseconds since `begun`.
    watch_until: Arc<AtomicU64>,
}

impl Deadline {
    /// For calls of at most that long, each try for itself.
    pub(crate) fn new(call_max: Duration) -> Self {
        Self { call_max, begun: Instant::now(), watch_until: Arc::default() }
    }

    /// What the call gives, or an error when that takes too long. The call is boxed so that this is compiled once for each kind
    /// of outcome, and not in every place that calls the database.
    pub(crate) async fn bound<T, E: From<sqlx::Error>>(&self, mut call: Call<'_, T, E>) -> Result<T, E> {
        // Whoever waits may leave in the middle, and has the call dropped where it stands.
        let mut watch = Watch { deadline: self, is_over: false };
        let outcome = tokio::select! {
            biased;
            outcome = &mut call => outcome,
            () = tokio::time::sleep(self.call_max) => {
                self.watch_connections();
                let what = format!("the database did not answer within {} s", self.call_max.as_secs_f32());
                Err(E::from(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, what))))
            }
        };
        watch.is_over = true;
        outcome
    }

    /// From now on, and before the connection of a call that is given up goes back to the pool, which happens when the call is
    /// dropped.
    fn watch_connections(&self) {
        self.watch_until.store(self.millis(Instant::now() + WATCH), Ordering::SeqCst);
    }

    /// A pool that throws connections away which do not answer after a call was given up: otherwise they would be waited for,
    /// and keep their places.
    pub(crate) fn watch(&self, pool: PgPoolOptions) -> PgPoolOptions {
        let this = self.clone();
        pool.after_release(move |connection, _| {
            let is_watched = this.millis(Instant::now()) < this.watch_until.load(Ordering::SeqCst);
            Box::pin(async move {
                if is_watched && !answers(connection).await {
                    return Err(io::Error::from(io::ErrorKind::TimedOut).into());
                }
                Ok(true)
            })
        })
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }
}

async fn answers(connection: &mut PgConnection) -> bool {
    matches!(tokio::time::timeout(ANSWER_MAX, connection.ping()).await, Ok(Ok(())))
}
