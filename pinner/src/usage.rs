//! Counting what was served, to be paid: bytes for each order and ticket.
//!
//! Counts live in memory while their order is valid and are written to a file every few seconds; an hour that is over is
//! read back from the file and handed in by [`crate::redeem`]. What a reader did not take is not counted. Both places are
//! bounded: what does not fit is served all the same, but unpaid. The smallest go first.

use std::{collections::HashMap, path::Path, sync::Arc};

use parking_lot::Mutex;
use protocol::{api::RedeemEntry, ids::Serial, time::UnixMillis};

mod file;
#[cfg(test)]
mod tests;

use file::{Line, UsageFile};

use crate::config::UsageConfig;

/// Leave to read something, by an order or a ticket; it is what gets paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The name of the order or ticket.
    pub serial: Serial,
    /// When it was made; its hour is the window in which it is settled.
    pub issued: UnixMillis,
    /// From when on it is refused.
    pub expires: UnixMillis,
    /// How many bytes are paid under it.
    pub bytes_max: u64,
    /// The signed form, which is handed in.
    pub token: Arc<str>,
}

/// More is asked for than an order allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} bytes are wanted, {left} are left")]
pub struct Exhausted {
    /// What is left.
    pub left: u64,
    /// What was wanted.
    pub wanted: u64,
}

/// The counts of a node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Usage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    entries: Mutex<HashMap<Serial, Entry>>,
    file: UsageFile,
    counted_max: usize,
}

#[derive(Debug)]
struct Entry {
    issued: UnixMillis,
    expires: UnixMillis,
    bytes_max: u64,
    /// Bytes served, and bytes promised to readers that are being served.
    used: u64,
    /// The promised part of `used`.
    promised: u64,
    /// The part of `used` that the file knows.
    written: u64,
    /// Requests being served under it.
    open: u32,
    /// Absent when the file has it.
    token: Option<Arc<str>>,
}

impl Entry {
    fn served(&self) -> u64 {
        self.used - self.promised
    }

    fn is_written(&self) -> bool {
        self.served() <= self.written
    }
}

impl Usage {
    /// Counts kept in `file`, which is made if it is missing. What is still valid at `now` is counted on. Blocks on the disk.
    pub fn open(file: &Path, config: &UsageConfig, now: UnixMillis) -> anyhow::Result<Self> {
        let file = UsageFile::open(file, config.redeemed_max)?;
        let mut entries = HashMap::new();
        for (serial, line) in file.valid(now, config.counted_max)? {
            let Line { issued, expires, bytes_max, bytes, .. } = line;
            let entry = Entry {
                issued,
                expires,
                bytes_max,
                used: bytes,
                promised: 0,
                written: bytes,
                open: 0,
                token: None,
            };
            entries.insert(serial, entry);
        }
        Ok(Self {
            inner: Arc::new(Inner { entries: Mutex::new(entries), file, counted_max: config.counted_max }),
        })
    }

    /// Counts that are forgotten at the end of the process.
    pub fn in_memory(config: &UsageConfig) -> anyhow::Result<Self> {
        let file = UsageFile::in_memory(config.redeemed_max)?;
        Ok(Self {
            inner: Arc::new(Inner { entries: Mutex::default(), file, counted_max: config.counted_max }),
        })
    }

    /// Sets `bytes` of an order aside for a reader. What the charge is not told to be served is given back at its end.
    pub fn charge(&self, leave: &Leave, bytes: u64) -> Result<Charge, Exhausted> {
        let over = |left: u64| Exhausted { left, wanted: bytes };
        if bytes > leave.bytes_max {
            return Err(over(leave.bytes_max));
        }
        let mut entries = self.inner.entries.lock();
        let Some(entry) = entry(&mut entries, leave, self.inner.counted_max) else {
            return Ok(Charge { usage: None, serial: leave.serial, promised: Some(bytes), unsettled: 0 });
        };
        let left = entry.bytes_max.saturating_sub(entry.used);
        if bytes > left {
            return Err(over(left));
        }
        entry.used += bytes;
        entry.promised += bytes;
        entry.open += 1;
        Ok(Charge { usage: Some(self.clone()), serial: leave.serial, promised: Some(bytes), unsettled: 0 })
    }

    /// Counts what a reader will be served under a ticket, up to what the ticket pays.
    pub fn meter(&self, leave: &Leave) -> Charge {
        let mut entries = self.inner.entries.lock();
        let usage = entry(&mut entries, leave, self.inner.counted_max).map(|entry| {
            entry.open += 1;
            self.clone()
        });
        Charge { usage, serial: leave.serial, promised: None, unsettled: 0 }
    }

    /// Whether a ticket pays for anything more.
    pub fn is_exhausted(&self, leave: &Leave) -> bool {
        let entries = self.inner.entries.lock();
        entries.get(&leave.serial).map_or(0, |entry| entry.used) >= leave.bytes_max
    }

    /// Writes down what was counted since the last time and forgets what cannot be used any more. Blocks on the disk.
    pub fn flush(&self, now: UnixMillis) -> anyhow::Result<()> {
        let lines: Vec<(Serial, Line)> = {
            let entries = self.inner.entries.lock();
            let unwritten = entries.iter().filter(|(_, entry)| !entry.is_written());
            unwritten.filter_map(|(serial, entry)| Some((*serial, line(entry)?))).collect()
        };
        if !lines.is_empty() {
            self.inner.file.record(&lines)?;
        }
        let mut entries = self.inner.entries.lock();
        for (serial, line) in &lines {
            if let Some(entry) = entries.get_mut(serial) {
                entry.written = entry.written.max(line.bytes);
                if entry.open == 0 && entry.is_written() {
                    entry.token = None;
                }
            }
        }
        entries.retain(|_, entry| entry.open > 0 || !entry.is_written() || entry.expires > now);
        metrics::gauge!("pinstripe_usage_counted").set(entries.len() as f64);
        Ok(())
    }

    /// Hours that are written down and lie before `before`, oldest first. Blocks on the disk.
    pub fn hours(&self, before: UnixMillis) -> anyhow::Result<Vec<UnixMillis>> {
        self.inner.file.hours(before)
    }

    /// What was served under the orders and tickets of an hour, the largest ones. Blocks on the disk.
    pub fn hour(&self, hour: UnixMillis) -> anyhow::Result<Vec<RedeemEntry>> {
        self.inner.file.hour(hour)
    }

    /// Forgets an hour that has been handed in. Blocks on the disk.
    pub fn forget_hour(&self, hour: UnixMillis) -> anyhow::Result<()> {
        self.inner.file.forget_hour(hour)
    }

    fn change(&self, serial: Serial, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.inner.entries.lock().get_mut(&serial) {
            change(entry);
        }
    }
}

/// The entry to count under; `None` when there is no room for another one.
fn entry<'a>(
    entries: &'a mut HashMap<Serial, Entry>,
    leave: &Leave,
    counted_max: usize,
) -> Option<&'a mut Entry> {
    if entries.len() >= counted_max && !entries.contains_key(&leave.serial) {
        metrics::counter!("pinstripe_usage_uncounted_total").increment(1);
        return None;
    }
    let Leave { issued, expires, bytes_max, .. } = *leave;
    let entry = entries.entry(leave.serial).or_insert(Entry {
        issued,
        expires,
        bytes_max,
        used: 0,
        promised: 0,
        written: 0,
        open: 0,
        token: None,
    });
    entry.token = Some(leave.token.clone());
    Some(entry)
}

fn line(entry: &Entry) -> Option<Line> {
    Some(Line {
        issued: entry.issued,
        expires: entry.expires,
        bytes_max: entry.bytes_max,
        bytes: entry.served(),
        token: entry.token.clone()?,
    })
}

/// A reader being served. Dropping it ends the count.
#[derive(Debug)]
pub struct Charge {
    /// `None` when this is not counted.
    usage: Option<Usage>,
    serial: Serial,
    /// What is set aside and not settled yet; `None` under a ticket.
    promised: Option<u64>,
    unsettled: u64,
}

/// How much of a long download may be served before it is counted.
const UNSETTLED_MAX: u64 = 4 << 20;

impl Charge {
    /// The reader is given `bytes` more. When that is all that was set aside, it is counted at once: a reader that has
    /// everything finds it counted.
    pub fn served(&mut self, bytes: u64) {
        self.unsettled = self.unsettled.saturating_add(bytes);
        let is_all = self.promised.is_some_and(|promised| self.unsettled >= promised);
        if is_all || self.unsettled >= UNSETTLED_MAX {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let bytes = std::mem::take(&mut self.unsettled);
        let Some(usage) = &self.usage else { return };
        match &mut self.promised {
            Some(promised) => {
                let bytes = bytes.min(*promised);
                *promised -= bytes;
                usage.change(self.serial, |entry| entry.promised -= bytes);
            }
            None => usage.change(self.serial, |entry| {
                entry.used = entry.used.saturating_add(bytes).min(entry.bytes_max);
            }),
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.settle();
        let rest = self.promised.unwrap_or(0);
        if let Some(usage) = &self.usage {
            usage.change(self.serial, |entry| {
                entry.used -= rest;
                entry.promised -= rest;
                entry.open -= 1;
            });
        }
    }
}
