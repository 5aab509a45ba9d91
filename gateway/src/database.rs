//! Whether the database answers. Readers wait for it only a little and then go on with what is known without it. Once a
//! question has failed it is known to be away: then nobody waits, one question in the background finds out when it is back,
//! and who cannot do without it is told to come back.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use service::{clock::Clock, http::error::ApiError};
use store::{Db, StoreError};
use tokio::task::JoinHandle;

use crate::config::DirectoryConfig;

/// What whoever needs the database is told.
pub(crate) const DATABASE_AWAY: &str = "the metadata store does not answer";
/// Seconds after which it makes sense to ask again.
const RETRY_AFTER_SECS: u32 = 5;

/// 503 when the database does not answer; 500 when it answers nonsense.
pub(crate) fn store_failed(error: StoreError) -> ApiError {
    match error {
        StoreError::Database(error) => {
            tracing::error!(%error, "the metadata store failed");
            ApiError::unavailable("store_unavailable", DATABASE_AWAY, RETRY_AFTER_SECS)
        }
        StoreError::Migrate(_)
        | StoreError::SchemaTooOld { .. }
        | StoreError::UrlFile { .. }
        | StoreError::Malformed { .. } => ApiError::internal(&error.into()),
    }
}

/// Shared by all who ask; cheap to clone.
#[derive(Clone)]
pub(crate) struct DatabaseWatch {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Clock,
    patience: Duration,
    retry_every: Duration,
    /// `None` while it answers.
    absence: Mutex<Option<Absence>>,
}

#[derive(Clone, Copy)]
struct Absence {
    /// A question failed; otherwise one only took long.
    has_failed: bool,
    /// When it was last asked in the background, or what is wrong was noticed, in time that never jumps.
    asked: Duration,
    /// Whether that question is still open.
    is_open: bool,
}

/// Why there is no answer.
pub(crate) enum NoAnswer<T> {
    /// The database is known to be away, and was not asked.
    Away,
    /// It is known to be slow, and was not asked.
    Slow,
    /// It answered with an error, or could not be reached.
    Failed(StoreError),
    /// It takes long. The question goes on, also if nobody waits for it any more.
    Late(JoinHandle<Result<T, StoreError>>),
}

impl<T> From<NoAnswer<T>> for ApiError {
    fn from(none: NoAnswer<T>) -> Self {
        match none {
            NoAnswer::Failed(error) => store_failed(error),
            NoAnswer::Away | NoAnswer::Slow | NoAnswer::Late(_) => {
                Self::unavailable("store_unavailable", DATABASE_AWAY, RETRY_AFTER_SECS)
            }
        }
    }
}

impl DatabaseWatch {
    pub(crate) fn new(db: Db, clock: Clock, config: &DirectoryConfig) -> Self {
        metrics::gauge!("pinstripe_database_away").set(0.0);
        let (patience, retry_every) = (config.patience, config.retry_every);
        let inner = Inner { db, clock, patience, retry_every, absence: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Asks for somebody who can look elsewhere: the database is waited for no longer than a reader should wait, and not asked
    /// while it is known to be slow. A question that takes longer goes on.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, NoAnswer<T>> {
        match self.absence() {
            Some(Absence { has_failed: true, .. }) => return Err(NoAnswer::Away),
            Some(Absence { has_failed: false, .. }) => return Err(NoAnswer::Slow),
            None => {}
        }
        let mut question = Box::pin(question);
        if let Ok(answer) = tokio::time::timeout(self.inner.patience, &mut question).await {
            return self.noted(answer).map_err(NoAnswer::Failed);
        }
        self.note_absent(false, "it takes too long");
        let watch = self.clone();
        Err(NoAnswer::Late(tokio::spawn(async move { watch.noted(question.await) })))
    }

    /// Asks for somebody who has nowhere else to look, or looks there already, and waits until the database answers or fails;
    /// while it is known to be away it is not asked.
    pub(crate) async fn wait_for<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, NoAnswer<T>> {
        if self.is_away() {
            return Err(NoAnswer::Away);
        }
        self.noted(question.await).map_err(NoAnswer::Failed)
    }

    /// 503 while the database is known to be away.
    pub(crate) fn present(&self) -> Result<(), ApiError> {
        if self.is_away() { Err(NoAnswer::<()>::Away.into()) } else { Ok(()) }
    }

    fn is_away(&self) -> bool {
        self.absence().is_some_and(|absence| absence.has_failed)
    }

    /// What is wrong with the database, if anything. Sees to it that it is asked again in the background now and then.
    fn absence(&self) -> Option<Absence> {
        let mut state = self.inner.absence.lock();
        let absence = state.as_mut()?;
        let now = self.inner.clock.monotonic();
        if !absence.is_open && now.saturating_sub(absence.asked) >= self.inner.retry_every {
            (absence.asked, absence.is_open) = (now, true);
            let watch = self.clone();
            tokio::spawn(async move { watch.ask_again().await });
        }
        Some(*absence)
    }

    async fn ask_again(&self) {
        // Whoever waits for a connection of the pool waits for those that are dead to be found so.
        let reached = tokio::time::timeout(self.inner.patience * 2, self.inner.db.reach()).await;
        let is_there = if let Ok(answer) = reached {
            self.noted(answer).is_ok()
        } else {
            self.note_absent(true, "it takes no connection");
            false
        };
        if let Some(absence) = self.inner.absence.lock().as_mut().filter(|_| !is_there) {
            absence.is_open = false;
        }
    }

    fn noted<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        match &answer {
            Ok(_) => self.note_present(),
            Err(error) if error.is_unreachable() => self.note_absent(true, &error.to_string()),
            Err(error) if error.is_crowded() => self.note_absent(false, &error.to_string()),
            // It is there, and something else is wrong.
            Err(_) => {}
        }
        answer
    }

    fn note_absent(&self, has_failed: bool, why: &str) {
        let mut state = self.inner.absence.lock();
        if let Some(absence) = state.as_mut() {
            absence.has_failed |= has_failed;
            return;
        }
        if has_failed {
            tracing::error!(reason = why, "the database is away: going on with what is known without it");
        } else {
            tracing::warn!(reason = why, "the database is slow: others are asked beside it");
        }
        metrics::gauge!("pinstripe_database_away").set(1.0);
        *state = Some(Absence { has_failed, asked: self.inner.clock.monotonic(), is_open: false });
    }

    fn note_present(&self) {
        if self.inner.absence.lock().take().is_some() {
            tracing::warn!("the database answers again");
            metrics::gauge!("pinstripe_database_away").set(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::time::UnixMillis;
    use store::DbOptions;

    use super::*;

    async fn watch() -> DatabaseWatch {
        let db = Db::open(&DbOptions::new("sqlite::memory:")).await.expect("a database in memory");
        let config = DirectoryConfig { patience: Duration::from_millis(20), ..DirectoryConfig::default() };
        DatabaseWatch::new(db, Clock::sim(UnixMillis(0)), &config)
    }

    fn failure() -> StoreError {
        StoreError::Database(std::io::Error::other("refused").into())
    }

    /// Waits until it is known to be there again; whoever asks sees to it that it is asked.
    async fn until_back(watch: &DatabaseWatch) {
        while watch.is_away() {
            watch.inner.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_database_that_is_away_and_it_is_found_again() {
        let watch = watch().await;
        assert_eq!(watch.ask(async { Ok(7) }).await.ok(), Some(7));
        let failed = watch.ask(async { Err::<(), _>(failure()) }).await;
        assert!(matches!(failed, Err(NoAnswer::Failed(_))));
        // Asked again only after a while, whatever happens meanwhile.
        for _ in 0..3 {
            assert!(matches!(watch.ask(async { Ok(1) }).await, Err(NoAnswer::Away)));
            assert!(watch.present().is_err_and(|error| error.retry_after_secs.is_some()));
        }
        until_back(&watch).await;
        assert_eq!(watch.ask(async { Ok(8) }).await.ok(), Some(8));
    }

    #[tokio::test]
    async fn a_slow_answer_is_not_waited_for_and_counts_when_it_comes() {
        let watch = watch().await;
        let (answer, slow) = tokio::sync::oneshot::channel();
        let late = watch.ask(async { slow.await.map_err(|_| failure()) }).await;
        let Err(NoAnswer::Late(late)) = late else { panic!("it cannot have answered") };
        // Readers look elsewhere; who cannot still asks.
        assert!(matches!(watch.ask(async { Ok(1) }).await, Err(NoAnswer::Slow)));
        assert!(watch.present().is_ok());
        answer.send(9).expect("it is still waited for");
        assert_eq!(late.await.expect("nobody ends it").ok(), Some(9));
        assert_eq!(watch.ask(async { Ok(2) }).await.ok(), Some(2), "it is there");
    }

    #[tokio::test]
    async fn what_is_slow_is_away_once_it_fails() {
        let watch = watch().await;
        let late = watch.ask(std::future::pending::<Result<(), _>>()).await;
        assert!(matches!(late, Err(NoAnswer::Late(_))));
        assert!(watch.wait_for(async { Err::<(), _>(failure()) }).await.is_err());
        assert!(watch.present().is_err());
        assert!(matches!(watch.ask(async { Ok(1) }).await, Err(NoAnswer::Away)));
    }

    #[tokio::test]
    async fn it_stays_away_while_it_does_not_answer() {
        let watch = watch().await;
        watch.inner.db.close().await;
        let closed = watch.inner.db.clone();
        assert!(matches!(watch.ask(async move { closed.ping().await }).await, Err(NoAnswer::Failed(_))));
        for _ in 0..5 {
            watch.inner.clock.advance(Duration::from_secs(2));
            assert!(watch.is_away());
            tokio::task::yield_now().await;
        }
        let error: ApiError = watch.wait_for(async { Ok(1) }).await.map(drop).expect_err("it is away").into();
        assert_eq!((error.status.as_u16(), error.reason), (503, "store_unavailable"));
    }

    #[tokio::test]
    async fn nonsense_in_the_database_does_not_make_it_away() {
        let watch = watch().await;
        let malformed = || StoreError::Malformed { what: "thing", value: "nonsense".into() };
        let asked = watch.ask(async move { Err::<(), _>(malformed()) }).await;
        assert!(matches!(asked, Err(NoAnswer::Failed(_))));
        assert!(!watch.is_away());
    }
}
