//! Whether anything may be dropped. A database that was set back, or begun anew, does not know what nodes hold for good reason;
//! until somebody has looked (`pinstripe recover`) nothing is collected, no node is told to drop anything, and none is blamed
//! for what it has no longer.

use std::time::Duration;

use parking_lot::Mutex;
use protocol::{ids::NodeId, time::UnixMillis};
use store::{MonitorSign, StoreError, Watch};

use crate::{
    events::{Kind, Note},
    monitor::Inner,
};

/// What this monitor says of itself is written down this far apart, at least, unless it changes.
const SIGN_EVERY: Duration = Duration::from_secs(5);

/// What this monitor remembers of its signs of life.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    last: Mutex<Option<UnixMillis>>,
    /// When it said something of itself, in time that never jumps, and whether its breaker was open.
    signed: Mutex<Option<(Duration, bool)>>,
}

impl Inner {
    /// Gives a sign of life, and says how things are.
    pub(crate) async fn watch(&self) -> anyhow::Result<Watch> {
        let own = *self.beats.last.lock();
        let watch = self.db.beat(own, self.clock.now(), self.config.safety.away_max).await?;
        *self.beats.last.lock() = Some(watch.beat);
        if let Some(held) = watch.held.as_ref().filter(|_| watch.is_new) {
            self.note(vec![Note::new(Kind::CollectionHeld, said(&held.why))]).await;
        }
        metrics::gauge!("pinstripe_collection_held").set(if watch.held.is_some() { 1.0 } else { 0.0 });
        // Nothing depends on it.
        if let Err(error) = self.sign().await {
            tracing::warn!(%error, "this monitor could not say how it is");
        }
        Ok(watch)
    }

    /// Says of this monitor what people who ask a gateway want to know.
    async fn sign(&self) -> Result<(), StoreError> {
        let (now, hold) = (self.clock.monotonic(), self.rounds.open());
        let is_said = |(at, was_open): (Duration, bool)| {
            was_open == hold.is_some() && now.saturating_sub(at) < SIGN_EVERY
        };
        if self.beats.signed.lock().is_some_and(is_said) {
            return Ok(());
        }
        let (seen, breaker) = (self.clock.now(), hold.map(|hold| hold.to_string()));
        self.db.sign_monitor(&MonitorSign { id: self.id.clone(), seen, breaker }).await?;
        *self.beats.signed.lock() = Some((now, hold.is_some()));
        Ok(())
    }

    /// Whether nothing may be dropped.
    pub(crate) async fn is_held(&self) -> anyhow::Result<bool> {
        Ok(self.watch().await?.held.is_some())
    }

    /// Notes that a node holds pieces which the database does not know, from a time when nobody watched.
    pub(crate) async fn doubt(&self, node: NodeId, pieces: usize) {
        let details = format!(
            "{pieces} unknown pieces from a time when nobody watched; they are kept until {} after it: if the database is an \
             older one, run `pinstripe recover` before",
            humantime_serde::re::humantime::format_duration(self.config.safety.doubt_kept)
        );
        self.note(vec![Note::node(Kind::PiecesDoubtful, node, details)]).await;
    }
}

fn said(why: &str) -> String {
    format!("nothing is collected until `pinstripe recover` has run: {why}")
}
