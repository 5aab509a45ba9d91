//! Joining the network: the node tells a gateway where it is, the gateway calls it back there and admits it.
//!
//! Done at every start, because the address may have changed, and again when gateways do not know the node any more. A
//! node that was admitted before works without: it trusts the network key that it has.

use std::{sync::Arc, time::Duration};

use client::CallError;
use ed25519_dalek::VerifyingKey;
use parking_lot::Mutex;
use protocol::{api::EnrolRequest, ids::NodeId, time::UnixMillis};
use rand::RngExt as _;
use service::{
    clock::Clock,
    dice::Dice,
    job::{Job, Progress},
};

use crate::{gateways::Gateways, identity::NetworkKey};

/// First and longest pause between attempts.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// Whether gateways know this node; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission(Arc<std::sync::atomic::AtomicBool>);

impl Admission {
    pub(crate) fn is_admitted(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Acquire)
    }

    pub(crate) fn set(&self, admitted: bool) {
        self.0.store(admitted, std::sync::atomic::Ordering::Release);
    }
}

/// The job that enrols; a step is at most one attempt.
#[derive(Debug)]
pub struct Enrol {
    gateways: Gateways,
    network: Arc<NetworkKey>,
    admission: Admission,
    node: NodeId,
    request: EnrolRequest,
    clock: Clock,
    dice: Dice,
    attempts: Mutex<Attempts>,
}

#[derive(Debug, Default)]
struct Attempts {
    failed: u32,
    /// No attempt before this.
    next: UnixMillis,
}

impl Enrol {
    pub(crate) fn new(
        gateways: Gateways,
        network: Arc<NetworkKey>,
        admission: Admission,
        node: NodeId,
        request: EnrolRequest,
        clock: Clock,
        dice: Dice,
    ) -> Self {
        Self { gateways, network, admission, node, request, clock, dice, attempts: Mutex::default() }
    }

    async fn attempt(&self) -> anyhow::Result<()> {
        let answer = self
            .gateways
            .ask(|gateway, key| {
                let request = EnrolRequest { receipt: self.network.receipt(), ..self.request.clone() };
                async move { gateway.enrol(&key, &request).await }
            })
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(CallError::Refused { status, reason, details }) if status.is_client_error() => {
                tracing::error!(%status, reason, details, "not admitted to the network");
                return Err(anyhow::anyhow!("refused: {status} {reason}"));
            }
            Err(error) => {
                tracing::warn!(%error, "no gateway to enrol with yet");
                return Err(error.into());
            }
        };
        let named: Option<NodeId> = answer.network_key.parse().ok();
        let offered = named.and_then(|name| VerifyingKey::from_bytes(&name.0).ok());
        let offered = offered
            .ok_or_else(|| anyhow::anyhow!("gateway told no usable network key: {:?}", answer.network_key))?;
        let network = self.network.clone();
        crate::disk::blocking(move || network.learn(offered)).await?.inspect_err(|error| {
            tracing::error!(error = format!("{error:#}"), "network key refused");
        })?;
        if let Some(receipt) = answer.receipt {
            let (network, node) = (self.network.clone(), self.node);
            let kept = crate::disk::blocking(move || network.keep_receipt(node, &receipt)).await?;
            // It serves only when the network has lost its database.
            if let Err(error) = kept {
                tracing::warn!(error = format!("{error:#}"), "receipt of enrolment not kept");
            }
        }
        tracing::info!(region = answer.region, url = self.request.url, "admitted to the network");
        Ok(())
    }
}

impl Job for Enrol {
    const NAME: &'static str = "enrol";

    /// Never fails: a failed attempt is logged where it is understood, and followed by a longer pause.
    async fn step(&self) -> anyhow::Result<Progress> {
        let now = self.clock.now();
        if self.admission.is_admitted() || now < self.attempts.lock().next {
            return Ok(Progress::Idle);
        }
        let outcome = self.attempt().await;
        let mut attempts = self.attempts.lock();
        if outcome.is_ok() {
            *attempts = Attempts::default();
            self.admission.set(true);
            return Ok(Progress::Idle);
        }
        let pause = PAUSE_MIN.saturating_mul(1 << attempts.failed.min(10)).min(PAUSE_MAX);
        // A fleet that lost its gateway shall not come back all at once.
        let jitter = self.dice.rng().random_range(0.75..1.25);
        attempts.failed = attempts.failed.saturating_add(1);
        attempts.next = self.clock.now() + pause.mul_f64(jitter);
        Ok(Progress::Idle)
    }
}
