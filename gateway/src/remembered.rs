//! An answer that many ask for and that costs something to find out: one asks, the others wait for the same, and it is
//! remembered for a moment. What went wrong is not remembered.

use std::time::Duration;

use moka::future::Cache;
use service::{clock::Clock, traces::here};
use store::StoreError;
use tokio::time::timeout;

/// How long an answer is good for.
const KEPT: Duration = Duration::from_secs(5);
/// A question is given up after this: until then no other is asked.
const ASKED_MAX: Duration = Duration::from_mins(1);

/// Why an answer is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotKnown {
    /// Whoever asked did not want to wait longer.
    #[error("it took too long")]
    Late,
    /// The question failed.
    #[error("the database could not say it")]
    Failed,
}

/// The last answer, or the question that is open.
pub(crate) struct Remembered<T> {
    clock: Clock,
    last: Cache<(), Answer<T>>,
}

#[derive(Clone)]
struct Answer<T> {
    /// When it came, in time that never jumps.
    at: Duration,
    said: Result<T, NotKnown>,
}

impl<T: Clone + Send + Sync + 'static> Remembered<T> {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, last: Cache::new(1) }
    }

    /// The answer, waited for no longer than `within`. A question that takes longer goes on, and whoever comes later waits for
    /// that one.
    pub(crate) async fn get(
        &self,
        within: Duration,
        question: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, NotKnown> {
        let (last, clock) = (self.last.clone(), self.clock.clone());
        // A task of its own: whoever asked first may leave before the answer is there.
        let answer = tokio::spawn(here().carry(async move {
            let now = clock.monotonic();
            let is_over = |answer: &Answer<T>| answer.said.is_err() || now.saturating_sub(answer.at) >= KEPT;
            let ask = async {
                let said = match timeout(ASKED_MAX, question).await {
                    Ok(Ok(said)) => Ok(said),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "the database could not say how things are");
                        Err(NotKnown::Failed)
                    }
                    Err(_) => Err(NotKnown::Late),
                };
                Answer { at: clock.monotonic(), said }
            };
            last.entry(()).or_insert_with_if(ask, is_over).await.into_value().said
        }));
        match timeout(within, answer).await {
            Ok(said) => said.unwrap_or(Err(NotKnown::Failed)),
            Err(_) => Err(NotKnown::Late),
        }
    }

    /// Has the next one ask again.
    #[cfg(test)]
    pub(crate) async fn forget(&self) {
        self.last.invalidate(&()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use protocol::time::UnixMillis;
    use tokio::sync::oneshot;

    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    fn remembered() -> (Arc<Remembered<u32>>, Clock) {
        let clock = Clock::sim(UnixMillis(1_000_000));
        (Arc::new(Remembered::new(clock.clone())), clock)
    }

    fn failure() -> StoreError {
        StoreError::Database(std::io::Error::other("refused").into())
    }

    #[tokio::test(start_paused = true)]
    async fn one_asks_and_all_who_come_meanwhile_and_soon_after_get_the_same() {
        let (remembered, clock) = remembered();
        let asked = Arc::<AtomicU32>::default();
        let (tell, told) = oneshot::channel();
        let mut told = Some(told);
        let mut waiting = Vec::new();
        for _ in 0..5 {
            let (remembered, asked, told) = (remembered.clone(), asked.clone(), told.take());
            waiting.push(tokio::spawn(async move {
                let question = async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    told.expect("only the first is asked").await.map_err(|_| failure())
                };
                remembered.get(LONG, question).await
            }));
            // Each is waiting before the next one comes.
            tokio::task::yield_now().await;
        }
        tell.send(7).expect("it is waited for");
        for one in waiting {
            assert_eq!(one.await.expect("it ends"), Ok(7));
        }
        clock.advance(KEPT.checked_sub(Duration::from_millis(1)).expect("longer"));
        assert_eq!(remembered.get(LONG, async { Ok(8) }).await, Ok(7), "remembered");
        clock.advance(Duration::from_millis(1));
        assert_eq!(remembered.get(LONG, async { Ok(9) }).await, Ok(9), "asked anew");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_takes_long_goes_on_and_is_not_asked_twice() {
        let (remembered, _) = remembered();
        let (tell, told) = oneshot::channel();
        let within = Duration::from_secs(1);
        let slow = async { told.await.map_err(|_| failure()) };
        assert_eq!(remembered.get(within, slow).await, Err(NotKnown::Late));
        assert_eq!(remembered.get(within, async { Ok(2) }).await, Err(NotKnown::Late));
        tell.send(1).expect("it goes on");
        assert_eq!(remembered.get(within, async { Ok(3) }).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_ends_is_given_up_and_failures_are_not_remembered() {
        let (remembered, _) = remembered();
        assert_eq!(remembered.get(LONG, std::future::pending()).await, Err(NotKnown::Late));
        assert_eq!(remembered.get(LONG, async { Err(failure()) }).await, Err(NotKnown::Failed));
        assert_eq!(remembered.get(LONG, async { Ok(4) }).await, Ok(4));
    }
}
