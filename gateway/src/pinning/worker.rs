//! Fetching the pins that wait, one at a time by each worker.

use std::{sync::Arc, time::Duration};

use service::job::{Job, Progress as Step};
use store::PinJob;
use tokio_util::sync::CancellationToken;

use super::{
    dag::{Dag, Failure},
    stored::Progress,
};
use crate::app::Gateway;

/// The job that fetches pins. A gateway runs several.
pub struct FetchPins {
    gateway: Gateway,
    stop: CancellationToken,
}

impl Job for FetchPins {
    const NAME: &'static str = "fetch_pins";

    async fn step(&self) -> anyhow::Result<Step> {
        let now = self.gateway.clock.now();
        let until = now + self.gateway.config.pins.lease;
        let Some(job) = self.gateway.db.claim_pin_jobs(now, until, 1).await?.pop() else {
            return Ok(Step::Idle);
        };
        self.fetch(job).await?;
        Ok(Step::More)
    }
}

impl FetchPins {
    pub(crate) fn new(gateway: Gateway, stop: CancellationToken) -> Self {
        Self { gateway, stop }
    }

    /// Fetches one pin while its claim is renewed, and records what became of it.
    async fn fetch(&self, mut job: PinJob) -> anyhow::Result<()> {
        let (db, config) = (&self.gateway.db, &self.gateway.config.pins);
        let progress = Arc::new(Progress::default());
        let wanted = job.clone();
        let attempt = self.attempt(&wanted, progress.clone());
        tokio::pin!(attempt);
        let outcome = loop {
            tokio::select! {
                outcome = &mut attempt => break outcome,
                () = self.stop.cancelled() => {
                    let now = self.gateway.clock.now();
                    return Ok(db.put_back_pin_job(&job, now, "the gateway that fetched it was stopped").await?);
                }
                () = tokio::time::sleep(config.lease / 3) => {
                    let until = self.gateway.clock.now() + config.lease;
                    match db.keep_pin_job(&mut job, until, Some(&progress.text())).await {
                        Ok(true) => {}
                        Ok(false) => {
                            tracing::info!(pin = %job.pin, "a pin that was being fetched is not wanted any more");
                            return Ok(());
                        }
                        Err(error) => tracing::warn!(pin = %job.pin, %error, "could not renew a claim"),
                    }
                }
            }
        };
        let label = match &outcome {
            Ok(()) => "pinned",
            Err(Failure::ForGood(_)) => "failed",
            Err(Failure::ForNow(_)) => "put_back",
            Err(Failure::Withdrawn) => "withdrawn",
        };
        metrics::counter!("pinstripe_pins_fetched_total", "outcome" => label).increment(1);
        match outcome {
            Ok(()) | Err(Failure::Withdrawn) => Ok(()),
            Err(Failure::ForGood(info)) => self.fail(&job, &info).await,
            Err(Failure::ForNow(info)) => {
                let next = self.gateway.clock.now()
                    + pause(config.retry_pause, config.retry_pause_max, job.attempts);
                if next > job.deadline {
                    return self.fail(&job, &info).await;
                }
                Ok(db.put_back_pin_job(&job, next, &info).await?)
            }
        }
    }

    async fn fail(&self, job: &PinJob, info: &str) -> anyhow::Result<()> {
        tracing::info!(pin = %job.pin, cid = %job.cid, error = %info, "a pin failed");
        Ok(self.gateway.db.fail_pin_job(job, info).await?)
    }

    async fn attempt(&self, job: &PinJob, progress: Arc<Progress>) -> Result<(), Failure> {
        let dag = Dag {
            account: &job.account,
            cid: &job.cid,
            origins: &job.origins,
            name: &job.name,
            waiting: &job.pin,
        };
        dag.pin(&self.gateway, progress).await
    }
}

/// How long to wait after a try.
fn pause(first: Duration, longest: Duration, tries_before: u64) -> Duration {
    let doubled = u32::try_from(tries_before).ok().and_then(|tries| 2_u32.checked_pow(tries));
    doubled.map_or(longest, |times| first.saturating_mul(times)).min(longest)
}

impl Gateway {
    /// One of the jobs that fetch pins; when `stop` says so it gives back what it fetches.
    pub fn fetch_pins(&self, stop: CancellationToken) -> FetchPins {
        FetchPins::new(self.clone(), stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let (first, longest) = (Duration::from_secs(15), Duration::from_mins(10));
        let pauses = [0, 1, 2, 5, 6, 31, 32, u64::MAX].map(|tries| pause(first, longest, tries).as_secs());
        assert_eq!(pauses, [15, 30, 60, 480, 600, 600, 600, 600]);
    }
}
