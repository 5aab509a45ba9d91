//! Writing the network's log of pins: what changed since its last part becomes a segment of its own, stored as others are. One
//! gateway at a time does this, for all.
//!
//! Nothing is lost by a gateway that dies in between: the changes stay in the database until the segment is recorded with
//! them gone, in one transaction.

use std::time::Duration;

use protocol::ids::SegmentId;
use serde::{Deserialize, Serialize};
use service::job::{Job, Progress};
use store::{LogPart, LogRules};

use super::{seal::Sealed, segment};
use crate::app::Gateway;

/// Most changes and pins in one part: they must fit into a block, with CIDs of any length.
const BATCH_MAX: u32 = 3_000;

/// The `[pin_log]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PinLogConfig {
    /// How often it is looked whether there is something to write.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// Changes and pins in one part, at most.
    pub batch: u32,
    /// How long after the last part changes wait for others.
    #[serde(with = "humantime_serde")]
    pub wait_max: Duration,
    /// Shortest time before a part that is not full.
    #[serde(with = "humantime_serde")]
    pub pause_min: Duration,
    /// How often all pins are written down anew, after which older parts are let go.
    #[serde(with = "humantime_serde")]
    pub sweep_every: Duration,
    /// How long a gateway may take to store a part before another one takes over.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
}

impl Default for PinLogConfig {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            batch: BATCH_MAX,
            wait_max: Duration::from_mins(5),
            pause_min: Duration::from_mins(1),
            sweep_every: Duration::from_hours(30 * 24),
            lease: Duration::from_mins(2),
        }
    }
}

impl PinLogConfig {
    /// What is wrong with it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(1..=BATCH_MAX).contains(&self.batch) {
            problems.push(format!("pin_log.batch: must be in 1..={BATCH_MAX}"));
        }
        if self.every.is_zero() || self.lease.is_zero() {
            problems.push("pin_log: every and lease must not be 0".into());
        }
        problems
    }

    fn rules(&self) -> LogRules {
        let Self { batch, wait_max, pause_min, sweep_every, .. } = *self;
        LogRules { batch, wait_max, pause_min, sweep_every }
    }
}

/// The job that writes the log.
pub struct WritePinLog {
    pub(crate) gateway: Gateway,
}

impl Job for WritePinLog {
    const NAME: &'static str = "write_pin_log";

    async fn step(&self) -> anyhow::Result<Progress> {
        let gateway = &self.gateway;
        let config = &gateway.config.pin_log;
        let now = gateway.clock.now();
        let part = gateway.db.claim_pin_log(&config.rules(), now, now + config.lease).await?;
        let Some(part) = part else { return Ok(Progress::Idle) };
        if let Err(error) = self.write(&part).await {
            gateway.db.give_up_pin_log(&part).await?;
            return Err(error);
        }
        Ok(Progress::More)
    }
}

impl WritePinLog {
    async fn write(&self, part: &LogPart) -> anyhow::Result<()> {
        let gateway = &self.gateway;
        let sealer = &gateway.sealer;
        let id = SegmentId(gateway.dice.bytes());
        let (buffer, record) =
            segment::of_record(id, sealer.pool.take(0), &part.record, gateway.signer.key());
        let room = sealer.room.take(sealer.coded_bytes(buffer.as_ref().len())).await;
        let mut sealed: Sealed = sealer.seal(id, buffer, room).await?;
        // Nobody waits, so that those that come late are waited for. What has not come then is repaired.
        let late = async {
            while let Some(stored) = sealed.rest.next().await {
                sealed.segment.pieces[usize::from(stored.index)].node = Some(stored.node);
            }
        };
        let _ = tokio::time::timeout(gateway.config.pin_log.lease / 4, late).await;
        let now = gateway.clock.now();
        let due = now + gateway.config.uploads.orphan_delay;
        let (pins, gone) = (part.record.pins.len(), part.record.gone.len());
        if gateway.db.commit_pin_log(part, &sealed.segment, &record, now, due).await? {
            metrics::counter!("pinstripe_pin_log_parts_total").increment(1);
            tracing::debug!(segment = %id, pins, gone, "a part of the log of pins is stored");
        } else {
            tracing::warn!(segment = %id, "another gateway has written the log of pins meanwhile");
        }
        Ok(())
    }
}
