//! Making and removing pins, whichever surface it came by: what is denied, counted and forgotten about roots is the same for
//! all of them.

use content::Cid;
use protocol::time::UnixMillis;
use store::StoreError;

use crate::{
    app::Gateway,
    upload::{Outcomes, PinRequest, UploadError, UploadHandle},
};

impl Gateway {
    /// Waits until all blocks of an upload are durable and the pins are recorded that may be: one outcome for each, in order.
    pub(crate) async fn pin(
        &self,
        upload: UploadHandle,
        pins: Vec<PinRequest>,
    ) -> Result<Outcomes, UploadError> {
        let denylist = self.blocks.denylist();
        if let Some(pin) = pins.iter().find(|pin| denylist.denied(&pin.root).is_some()) {
            return Err(UploadError::Denied(pin.root.clone()));
        }
        let roots: Vec<(Cid, u64)> = pins.iter().map(|pin| (pin.root.clone(), pin.size_bytes)).collect();
        let outcomes = upload.finish(pins).await?;
        metrics::counter!("pinstripe_uploads_total").increment(u64::from(outcomes.iter().any(Result::is_ok)));
        for ((root, size_bytes), _) in roots.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()) {
            metrics::counter!("pinstripe_uploaded_bytes_total").increment(*size_bytes);
            // It may have been said a moment ago that it is not here.
            self.known_roots.invalidate(root);
        }
        Ok(outcomes)
    }

    /// Removes whatever an account has of a root; `false`: it has nothing.
    pub(crate) async fn unpin(&self, account: &str, root: &Cid) -> Result<bool, StoreError> {
        let removed = self.db.unpin(account, root, self.collect_after()).await?;
        self.known_roots.invalidate(root);
        Ok(removed)
    }

    /// Removes one pin of an account; `false`: there is none.
    pub(crate) async fn unpin_one(&self, account: &str, id: &str) -> Result<bool, StoreError> {
        let removed = self.db.unpin_one(account, id, self.collect_after()).await?;
        if let Some(root) = &removed {
            self.known_roots.invalidate(root);
        }
        Ok(removed.is_some())
    }

    /// Until when blocks are kept that were stored without being pinned.
    pub(crate) fn hold_until(&self) -> UnixMillis {
        self.clock.now() + self.config.uploads.hold
    }

    /// From when on segments may be collected that nobody needs from now on.
    pub(crate) fn collect_after(&self) -> UnixMillis {
        self.clock.now() + self.config.uploads.orphan_delay
    }
}
