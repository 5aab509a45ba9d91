//! Processes as `/proc` shows them, and the few signals that a load test sends. It touches no process but those it is
//! given by id.

use std::{fs, time::Duration};

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

/// Ticks a second in `/proc/PID/stat`: `USER_HZ`, which is 100 on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time that a process has used so far, in seconds, with all its threads; 0 when it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    ticks(&stat).map_or(0.0, |ticks| ticks as f64 / TICKS_PER_SECOND)
}

/// User and system time: fields 14 and 15. The second field is a name in brackets that may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// A field of `/proc/PID/status` that is given in KiB, such as `VmHWM` (the peak) or `VmRSS`, in bytes.
pub(crate) fn memory(pid: u32, field: &str) -> Option<u64> {
    field_bytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, field)
}

fn field_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Sets `VmHWM` back to what the process has now, so that the next peak is that of the work measured next.
pub(crate) fn reset_peak(pid: u32) -> anyhow::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").with_context(|| format!("reset the peak of {pid}"))
}

/// Starts a child that ends when this process does, however it ends.
///
/// To be called from the main thread: the kernel watches the thread that started a child, not the process.
pub(crate) fn spawn(mut command: Command) -> anyhow::Result<Child> {
    // SAFETY: prctl is async-signal-safe and touches nothing of the parent's memory.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) == -1 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    // A Ctrl-C in the terminal reaches this process alone, which then ends its children in order.
    command.process_group(0).kill_on_drop(true);
    command.spawn().with_context(|| format!("start {}", command.as_std().get_program().display()))
}

/// Asks a child to end, and makes it when it does not within `patience`.
pub(crate) async fn end(child: &mut Child, patience: Duration) {
    if let Some(pid) = child.id() {
        // It has not been waited for, so the id is still its own.
        let _ = signal(pid, libc::SIGTERM);
    }
    if tokio::time::timeout(patience, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// Kills a process of the network under test at once, as a power cut would.
pub(crate) fn kill(pid: u32) -> anyhow::Result<()> {
    signal(pid, libc::SIGKILL)
}

fn signal(pid: u32, signal: libc::c_int) -> anyhow::Result<()> {
    let id = libc::pid_t::try_from(pid).ok().filter(|id| *id > 1);
    let id = id.with_context(|| format!("{pid} is no process id"))?;
    // SAFETY: kill has no memory effects, and the id is positive: it names one process and no group.
    if unsafe { libc::kill(id, signal) } == -1 {
        bail!("signal {signal} to {pid}: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0";
        assert_eq!(ticks(stat), Some(400));
        assert_eq!(ticks("42 (x"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(
            (field_bytes(status, "VmHWM"), field_bytes(status, "VmRSS")),
            (Some(2 << 20), Some(1 << 20))
        );
        assert_eq!(field_bytes(status, "Vm"), None);
    }

    #[test]
    fn this_process_is_there() {
        assert!(memory(std::process::id(), "VmHWM").unwrap() > 0);
        assert_eq!(memory(u32::MAX, "VmHWM"), None);
    }
}
