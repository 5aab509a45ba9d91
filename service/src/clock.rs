//! Where the time of day comes from. Everything that decides by time takes a [`Clock`], so that a simulation can move it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

use protocol::time::UnixMillis;

/// A source of the time of day.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until it is moved.
    Sim(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn sim(start: UnixMillis) -> Self {
        Self::Sim(Arc::new(AtomicI64::new(start.0)))
    }

    /// The time now.
    pub fn now(&self) -> UnixMillis {
        match self {
            Self::System => system_now(),
            Self::Sim(now) => UnixMillis(now.load(Ordering::SeqCst)),
        }
    }

    /// For measuring how long something takes: never jumps with the time of day. Only differences mean anything. In a
    /// simulation it moves with [`Clock::now`], so that how fast the machine is decides nothing.
    pub fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        match self {
            Self::System => START.get_or_init(Instant::now).elapsed(),
            Self::Sim(_) => self.now().since(UnixMillis(0)),
        }
    }

    /// Moves a simulated clock forward; the machine's clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Self::Sim(now) = self {
            now.store((UnixMillis(now.load(Ordering::SeqCst)) + by).0, Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
fn system_now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
