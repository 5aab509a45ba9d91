//! Handing in what was served, one hour at a time, to be paid.
//!
//! An hour is settled at most once, by whichever gateway takes it first; it is kept here until a gateway has answered, so
//! a lost answer costs nothing: the repetition is told that the hour was settled before.

use std::time::Duration;

use protocol::{
    api::RedeemRequest,
    time::{HOUR_MS, UnixMillis},
};
use service::{
    clock::Clock,
    job::{Job, Progress},
};

use crate::{
    config::UsageConfig,
    disk::blocking,
    gateways::{Gateways, is_unable},
    usage::Usage,
};

/// The job that hands in; a step hands in every hour that is due.
#[derive(Debug)]
pub struct Redeem {
    gateways: Gateways,
    usage: Usage,
    clock: Clock,
    grace: Duration,
    keep: Duration,
}

impl Redeem {
    pub(crate) fn new(gateways: Gateways, usage: Usage, clock: Clock, config: &UsageConfig) -> Self {
        Self { gateways, usage, clock, grace: config.redeem_grace, keep: config.keep }
    }

    /// Hours that ended at least the grace time ago, oldest first.
    async fn due(&self, now: UnixMillis) -> anyhow::Result<Vec<UnixMillis>> {
        let before = UnixMillis((now - self.grace).0.saturating_sub(HOUR_MS).saturating_add(1));
        let usage = self.usage.clone();
        blocking(move || {
            usage.flush(now)?;
            usage.hours(before)
        })
        .await?
    }

    async fn forget(&self, hour: UnixMillis) -> anyhow::Result<()> {
        let usage = self.usage.clone();
        blocking(move || usage.forget_hour(hour)).await?
    }

    /// Hands in one hour; `false` when no gateway can take anything just now.
    async fn hand_in(&self, hour: UnixMillis, now: UnixMillis) -> anyhow::Result<bool> {
        let usage = self.usage.clone();
        let entries = blocking(move || usage.hour(hour)).await??;
        let (count, bytes) = (entries.len(), entries.iter().map(|entry| entry.bytes).sum::<u64>());
        let request = std::sync::Arc::new(RedeemRequest { hour, entries });
        let answer = self
            .gateways
            .ask(|gateway, key| {
                let request = request.clone();
                async move { gateway.redeem(&key, &request).await }
            })
            .await;
        match answer {
            Ok(answer) => {
                let (settled, refused) = (answer.settled, answer.refused);
                tracing::info!(%hour, entries = count, bytes, settled, refused, "hour of traffic handed in");
                metrics::counter!("pinstripe_redeemed_bytes_total").increment(bytes);
                self.forget(hour).await?;
                Ok(true)
            }
            Err(error) if now.since(hour) > self.keep => {
                tracing::error!(%hour, entries = count, bytes, %error, "hour of traffic given up, no gateway took it");
                self.forget(hour).await?;
                Ok(!is_unable(&error))
            }
            Err(error) => {
                tracing::warn!(%hour, entries = count, bytes, %error, "hour of traffic not taken");
                // One hour that is refused shall not hold up the others.
                Ok(!is_unable(&error))
            }
        }
    }
}

impl Job for Redeem {
    const NAME: &'static str = "redeem";

    async fn step(&self) -> anyhow::Result<Progress> {
        let now = self.clock.now();
        for hour in self.due(now).await? {
            if !self.hand_in(hour, now).await? {
                break;
            }
        }
        Ok(Progress::Idle)
    }
}

/// The job that writes counts down.
#[derive(Debug)]
pub struct FlushUsage {
    usage: Usage,
    clock: Clock,
}

impl FlushUsage {
    pub(crate) fn new(usage: Usage, clock: Clock) -> Self {
        Self { usage, clock }
    }
}

impl Job for FlushUsage {
    const NAME: &'static str = "flush_usage";

    async fn step(&self) -> anyhow::Result<Progress> {
        let (usage, now) = (self.usage.clone(), self.clock.now());
        blocking(move || usage.flush(now)).await??;
        Ok(Progress::Idle)
    }
}
