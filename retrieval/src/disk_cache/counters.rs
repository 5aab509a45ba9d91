//! What happened in the cache, counted for [`DiskCacheStats`](super::DiskCacheStats) and as metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A block was found, verified and given out.
    Hit,
    /// A block was not there.
    Miss,
    /// A block could not be read or was not what its CID names, and was dropped.
    Corrupt,
    /// An offered block was written.
    Admitted,
    /// An offered block was not worth a write, or can never be verified.
    Rejected,
    /// An offered block found the queue full, or caching paused.
    Dropped,
    /// An offered block could not be written.
    Failed,
    /// A block that had been read was copied out of the oldest file.
    Carried,
}

/// One counter for every [`Event`].
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; 8]);

impl Counters {
    /// Counts one event.
    pub(super) fn count(&self, event: Event) {
        self.0[event as usize].fetch_add(1, Ordering::Relaxed);
        match event {
            Event::Hit => metrics::counter!("pinstripe_disk_cache_reads_total", "outcome" => "hit"),
            Event::Miss => metrics::counter!("pinstripe_disk_cache_reads_total", "outcome" => "miss"),
            Event::Corrupt => metrics::counter!("pinstripe_disk_cache_reads_total", "outcome" => "corrupt"),
            Event::Admitted => {
                metrics::counter!("pinstripe_disk_cache_offers_total", "outcome" => "admitted")
            }
            Event::Rejected => {
                metrics::counter!("pinstripe_disk_cache_offers_total", "outcome" => "rejected")
            }
            Event::Dropped => metrics::counter!("pinstripe_disk_cache_offers_total", "outcome" => "dropped"),
            Event::Failed => metrics::counter!("pinstripe_disk_cache_offers_total", "outcome" => "failed"),
            Event::Carried => metrics::counter!("pinstripe_disk_cache_carried_total"),
        }
        .increment(1);
    }

    /// How often it happened.
    pub(super) fn get(&self, event: Event) -> u64 {
        self.0[event as usize].load(Ordering::Relaxed)
    }
}
