//! The child processes of a network on this machine. They end when this process does, however it ends.

use std::{collections::BTreeMap, fs::File, path::Path, process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::process::{Child, Command};

/// How long the children may take to end once they were asked to.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Running children by name.
#[derive(Default)]
pub(super) struct Children {
    running: BTreeMap<String, Child>,
}

impl Children {
    /// Starts this program again as `pinstripe SUBCOMMAND --config FILE`, with its output in `log`.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        subcommand: &str,
        config: &Path,
        log: &Path,
    ) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("find this program")?;
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        command
            .arg(subcommand)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C in the terminal reaches this process alone, which then ends the children in order.
            .process_group(0)
            .kill_on_drop(true);
        end_with_parent(&mut command);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        self.running.insert(name.to_string(), child);
        Ok(())
    }

    /// Process id of a child that runs.
    pub(super) fn pid(&self, name: &str) -> Option<u32> {
        self.running.get(name).and_then(Child::id)
    }

    /// Children that ended since the last call, with how they did.
    pub(super) fn ended(&mut self) -> Vec<(String, String)> {
        let mut ended = Vec::new();
        for (name, child) in &mut self.running {
            if let Ok(Some(status)) = child.try_wait() {
                ended.push((name.clone(), status.to_string()));
            }
        }
        for (name, _) in &ended {
            self.running.remove(name);
        }
        ended
    }

    /// Asks all children to end, then makes them.
    pub(super) async fn stop(&mut self) {
        for child in self.running.values() {
            terminate(child);
        }
        let all = async {
            for child in self.running.values_mut() {
                let _ = child.wait().await;
            }
        };
        if tokio::time::timeout(STOP_MAX, all).await.is_err() {
            for child in self.running.values_mut() {
                let _ = child.kill().await;
            }
        }
        self.running.clear();
    }
}

fn terminate(child: &Child) {
    let Some(pid) = child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) else { return };
    // SAFETY: kill has no memory effects; the child has not been waited for, so the id is still its own.
    unsafe {
        libc::kill(pid, libc::SIGTERM);
    }
}

/// On Linux the kernel ends the child when this process dies, even by SIGKILL.
fn end_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: prctl is async-signal-safe and touches nothing of the parent's memory.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}
