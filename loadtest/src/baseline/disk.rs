//! The disk by itself: large files written and synced, small records appended and synced.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{load::Latencies, pattern::Pattern};

/// Bytes between two syncs: about what a node stores of one segment at a time.
const SYNC_EVERY: u64 = 8 << 20;
const RECORD: usize = 4 << 10;

/// Writes `bytes` bytes into files that are synced one after another; gives 10^9 bytes a second.
pub(crate) async fn write_and_sync(dir: &Path, bytes: u64) -> anyhow::Result<f64> {
    let dir = dir.to_path_buf();
    tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let mut names = Vec::new();
        for number in 0..bytes.div_ceil(SYNC_EVERY) {
            let name = dir.join(format!("baseline-{number}"));
            let mut file = File::create(&name)?;
            names.push(Remove(name));
            for slice in Pattern::new(SYNC_EVERY.min(bytes - number * SYNC_EVERY)).slices() {
                file.write_all(&slice)?;
            }
            file.sync_data()?;
        }
        Ok(bytes as f64 / 1e9 / started.elapsed().as_secs_f64())
    })
    .await
    .context("disk baseline")?
}

/// Appends records of 4 KiB and syncs each, for `time`.
pub(crate) async fn append_and_sync(dir: &Path, time: Duration) -> anyhow::Result<Latencies> {
    let name = dir.join("baseline-append");
    tokio::task::spawn_blocking(move || {
        let mut file = File::create(&name)?;
        let _remove = Remove(name);
        let record = vec![7; RECORD];
        let (mut latencies, started) = (Latencies::new(), Instant::now());
        while started.elapsed() < time {
            let begun = Instant::now();
            file.write_all(&record)?;
            file.sync_data()?;
            latencies.add(begun.elapsed());
        }
        Ok(latencies)
    })
    .await
    .context("disk baseline")?
}

/// Removes a file at the end, whatever happened.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
