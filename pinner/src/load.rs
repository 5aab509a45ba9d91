//! How much goes on at once: a bounded number of places for each kind of request, and how many are taken.

use std::sync::Arc;

use service::http::error::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::LimitsConfig;

/// Kinds of requests that have places of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A piece being taken.
    Put,
    /// A slice being given.
    Get,
    /// A batch of challenges being answered.
    Audit,
    /// Pieces being deleted or listed.
    Collect,
    /// Content being served.
    Content,
    /// Questions about places being answered.
    Places,
}

impl Kind {
    /// Its name in metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Audit => "audit",
            Self::Collect => "collect",
            Self::Content => "content",
            Self::Places => "places",
        }
    }
}

/// All places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests at once, try again in a second")]
pub(crate) struct Busy;

impl From<Busy> for ApiError {
    fn from(busy: Busy) -> Self {
        Self::unavailable("busy", busy, 1)
    }
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    _place: OwnedSemaphorePermit,
}

/// The places of a node; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    places: Arc<[(Arc<Semaphore>, usize); 6]>,
}

impl Load {
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        let maxima = [
            limits.puts_max,
            limits.gets_max,
            limits.audits_max,
            limits.collects_max,
            limits.content_max,
            limits.places_max,
        ];
        let places = maxima.map(|max| {
            let max = max.min(Semaphore::MAX_PERMITS);
            (Arc::new(Semaphore::new(max)), max)
        });
        Self { places: Arc::new(places) }
    }

    /// Takes a place, or says that there is none: callers go elsewhere rather than wait here.
    pub(crate) fn enter(&self, kind: Kind) -> Result<Pass, Busy> {
        let place = self.places[kind as usize].0.clone().try_acquire_owned().map_err(|_| {
            metrics::counter!("pinstripe_requests_busy_total", "kind" => kind.name()).increment(1);
            Busy
        })?;
        Ok(Pass { _place: place })
    }

    /// Requests in progress.
    pub(crate) fn in_flight(&self) -> u32 {
        let taken = self.places.iter().map(|(places, max)| max - places.available_permits().min(*max));
        u32::try_from(taken.sum::<usize>()).unwrap_or(u32::MAX)
    }
}
