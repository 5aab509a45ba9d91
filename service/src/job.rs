//! Background work: a job is a bounded, idempotent step; one loop runs them all.

use std::{future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::traces::Span;

/// What a step left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do at once.
    More,
    /// Nothing to do until the next interval.
    Idle,
}

/// A piece of background work. Steps are never interrupted; only the pause between them is.
pub trait Job: Send + Sync + 'static {
    /// Name in logs and metrics.
    const NAME: &'static str;

    /// Does one bounded unit of work.
    fn step(&self) -> impl Future<Output = anyhow::Result<Progress>> + Send;
}

/// Runs a job until asked to stop: again at once while it has more, otherwise after `every`.
pub async fn run<J: Job>(job: J, every: Duration, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let span = Span::step(J::NAME);
        let outcome = span.within(job.step()).await;
        metrics::counter!("pinstripe_task_steps_total", "task" => J::NAME, "outcome" => label(&outcome))
            .increment(1);
        match outcome {
            Ok(Progress::More) => span.end_step(false),
            Ok(Progress::Idle) => {
                span.end_step(true);
                pause(every, &stop).await;
            }
            Err(error) => {
                let error = format!("{error:#}");
                span.enter(|| tracing::error!(task = J::NAME, error, "job step failed"));
                span.failed("step failed");
                span.end_step(false);
                pause(every, &stop).await;
            }
        }
    }
}

fn label(outcome: &anyhow::Result<Progress>) -> &'static str {
    match outcome {
        Ok(Progress::More) => "more",
        Ok(Progress::Idle) => "idle",
        Err(_) => "error",
    }
}

async fn pause(every: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(every) => {}
    }
}
