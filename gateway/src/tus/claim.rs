//! Who writes to an upload: one request at a time, over all gateways. A claim is kept up by signs of life in the database and
//! ends by itself when its gateway dies.

use std::time::Duration;

use protocol::time::UnixMillis;
use store::{ClaimedTus, TusClaim};
use tokio::{sync::watch, task::AbortHandle, time::Instant};

use super::{TusError, random_name};
use crate::app::Gateway;

/// Signs of life in the time that a claim holds without one.
const SIGNS: u32 = 3;
/// How often a request that waits for a claim asks for it, in the time that one holds.
const TRIES: u32 = 24;

/// An upload that this request writes to.
pub(super) struct Claim {
    gateway: Gateway,
    upload: String,
    name: String,
    held: watch::Receiver<Held>,
    keeper: AbortHandle,
}

/// A claim as it was last seen.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    is_lost: bool,
    /// When another request last wanted it.
    wanted: UnixMillis,
}

impl Claim {
    /// Claims an upload. When another request holds it, that one is told, and waited for as long as a claim without signs of
    /// life holds: what a dead gateway left behind is over by then, and a client whose connection broke gets what the
    /// gateway still took for its own.
    pub(super) async fn take(gateway: &Gateway, upload: &str) -> Result<(Self, ClaimedTus), TusError> {
        let (name, lease) = (random_name(gateway), gateway.config.tus.claim);
        let patient_until = Instant::now() + lease;
        loop {
            let is_last_try = Instant::now() >= patient_until;
            let now = gateway.clock.now();
            match gateway.db.claim_tus_upload(upload, &name, now, now + lease).await? {
                TusClaim::Claimed(claimed) => return Ok((Self::keep(gateway, upload, name), *claimed)),
                TusClaim::Unknown => return Err(TusError::Unknown),
                TusClaim::Held if is_last_try => return Err(TusError::Locked),
                TusClaim::Held => tokio::time::sleep(lease / TRIES).await,
            }
        }
    }

    fn keep(gateway: &Gateway, upload: &str, name: String) -> Self {
        let (seen, held) = watch::channel(Held::default());
        let keeper = keep_up(gateway.clone(), upload.to_string(), name.clone(), seen);
        let keeper = tokio::spawn(keeper).abort_handle();
        Self { gateway: gateway.clone(), upload: upload.to_string(), name, held, keeper }
    }

    /// What the claim is called in the database.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether another request has taken the upload over, because this one gave no signs of life.
    pub(super) fn is_lost(&self) -> bool {
        self.held.borrow().is_lost
    }

    /// Waits until this request should leave the upload to another one: it has lost it, or its client has sent nothing for
    /// a while and somebody wants to go on.
    pub(super) async fn should_end(&self) {
        let lease = self.gateway.config.tus.claim;
        let mut held = self.held.clone();
        let is_lost = async { held.wait_for(|held| held.is_lost).await.map(drop) };
        if tokio::time::timeout(lease / SIGNS, is_lost).await.is_ok() {
            return;
        }
        let is_wanted = |wanted: UnixMillis| self.gateway.clock.now().since(wanted) < lease;
        // When nobody keeps it up any more it is lost too.
        let _ = held.wait_for(|held| held.is_lost || is_wanted(held.wanted)).await;
    }

    /// Lets others write.
    pub(super) async fn release(self) {
        self.keeper.abort();
        if let Err(error) = self.gateway.db.release_tus_upload(&self.upload, &self.name).await {
            // It ends by itself in a moment.
            tracing::warn!(%error, "could not give up the claim on an upload");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep_up(gateway: Gateway, upload: String, name: String, seen: watch::Sender<Held>) {
    let lease: Duration = gateway.config.tus.claim;
    loop {
        tokio::time::sleep(lease / SIGNS).await;
        let until = gateway.clock.now() + lease;
        match gateway.db.hold_tus_upload(&upload, &name, until).await {
            Ok(Some(wanted)) => drop(seen.send_replace(Held { is_lost: false, wanted })),
            Ok(None) => {
                seen.send_modify(|held| held.is_lost = true);
                return;
            }
            Err(error) => tracing::warn!(%error, "could not keep up the claim on an upload"),
        }
    }
}
