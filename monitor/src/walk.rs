//! The walk over all segments, a page at a time: finds what sweeps and audits did not bring up, such as pieces that
//! nodes owned up to have lost, and nodes that have become spare.

use std::sync::Arc;

use parking_lot::Mutex;
use protocol::{ids::SegmentId, time::UnixMillis};
use service::job::{Job, Progress};

use crate::monitor::Inner;

/// The job that walks.
#[derive(Debug)]
pub struct Walk {
    inner: Arc<Inner>,
    state: Mutex<State>,
}

/// Where this monitor's walk stands. Begun anew after a restart.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    after: Option<SegmentId>,
    begun: Option<UnixMillis>,
}

impl Job for Walk {
    const NAME: &'static str = "walk";

    /// One page. It never says that there is more: the pause between steps is the pace.
    async fn step(&self) -> anyhow::Result<Progress> {
        let now = self.inner.clock.now();
        let config = &self.inner.config.sweep;
        let mut state = *self.state.lock();
        if state.after.is_none() && state.begun.is_some_and(|begun| now.since(begun) < config.walk_every) {
            return Ok(Progress::Idle);
        }
        if state.after.is_none() {
            state.begun = Some(now);
        }
        let page = self.inner.db.segments_after(state.after, config.walk_page).await?;
        let full = page.len() >= config.walk_page as usize;
        let ids: Vec<SegmentId> = page.iter().map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            let network = self.inner.network().await?;
            self.inner.assess(&ids, &network).await?;
        }
        state.after = ids.last().copied().filter(|_| full);
        *self.state.lock() = state;
        Ok(Progress::Idle)
    }
}

impl Walk {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, state: Mutex::default() }
    }
}
