//! Life and death of a process: tasks are spawned here, the first signal asks them to stop after a pause in which balancers hear
//! of it; further ones, or the end of the grace period, end the process without them.

use std::{future::Future, process::ExitCode, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Owns the tasks of a process and the token that asks them to stop.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// Cancelled when the process shall stop: finish what is begun, begin nothing.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Cancelled when the process was asked to stop, which is some time before it does: it is not ready any more.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Runs a task that is waited for at the end.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits for SIGINT or SIGTERM (or for the stop token), goes on for `drain_delay`, asks the tasks to stop and waits for
    /// them, at most `grace` long. Failure when tasks were still running then, or a second SIGINT came.
    pub async fn run(self, drain_delay: Duration, grace: Duration) -> anyhow::Result<ExitCode> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("stopping on interrupt"),
            _ = terminate.recv() => tracing::info!("stopping on request"),
            () = self.stop.cancelled() => {}
        }
        self.draining.cancel();
        tokio::select! {
            () = tokio::time::sleep(drain_delay) => {}
            _ = interrupt.recv() => tracing::info!("second signal, stopping without delay"),
            _ = terminate.recv() => tracing::info!("second signal, stopping without delay"),
        }
        self.stop.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => { tracing::warn!("one more signal, leaving at once"); Ok(ExitCode::FAILURE) }
            _ = terminate.recv() => { tracing::warn!("one more signal, leaving at once"); Ok(ExitCode::FAILURE) }
            () = tokio::time::sleep(grace) => {
                tracing::warn!(tasks = self.tasks.len(), "tasks still running after the grace period");
                Ok(ExitCode::FAILURE)
            }
        }
    }

    /// Asks all tasks to stop and waits for them.
    pub async fn shut_down(&self) {
        self.draining.cancel();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Makes a panic anywhere end the process: a broken invariant is met with a fresh start from durable state.
pub fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        std::process::abort();
    }));
}
