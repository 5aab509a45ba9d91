//! Room for what an upload must remember until its end: blocks and links of a CAR, names of a directory. All uploads share it
//! (`uploads.dag_nodes_max`), so that none of them can fill the gateway's memory by itself or together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{app::Gateway, upload::UploadError};

/// By how much room grows, at least.
const STEP: usize = 1_024;
/// Bytes of memory that one place stands for.
pub(super) const PLACE_BYTES: usize = 160;

/// The places that one upload has taken; given back when it is dropped.
pub(super) struct Reserved {
    room: Arc<Semaphore>,
    places: usize,
    permit: Option<OwnedSemaphorePermit>,
    max: u32,
}

impl Reserved {
    pub(super) fn new(gateway: &Gateway) -> Self {
        let max = gateway.config.uploads.dag_nodes_max;
        Self { room: gateway.ingest.dag_room.clone(), places: 0, permit: None, max }
    }

    /// Most places over all uploads.
    pub(super) fn max(&self) -> u32 {
        self.max
    }

    /// Takes room until it has so many places.
    pub(super) fn reach(&mut self, places: usize) -> Result<(), UploadError> {
        if places <= self.places {
            return Ok(());
        }
        let more = (places - self.places).next_multiple_of(STEP);
        let taken =
            u32::try_from(more).ok().and_then(|more| self.room.clone().try_acquire_many_owned(more).ok());
        let taken = taken.ok_or(UploadError::TooManyBlocks(self.max))?;
        match &mut self.permit {
            Some(permit) => permit.merge(taken),
            None => self.permit = Some(taken),
        }
        self.places += more;
        Ok(())
    }
}
