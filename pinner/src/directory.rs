//! What gateways told this node of where blocks are, kept for gateways whose database is away: signed statements
//! ([`Places`]) in two files of half the directory's size (`log`), the older of which goes as a whole.
//!
//! It is a cache: nothing is synced, nothing is written while somebody waits, damage is a miss, and a directory that cannot
//! be used is done without. Statements are checked before they are kept; whoever gets one checks it again.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use content::Cid;
use parking_lot::Mutex;
use protocol::{places::Places, time::UnixMillis};
use service::{
    clock::Clock,
    job::{Job, Progress},
};

use self::log::{Log, Record};
use crate::{config::DirectoryConfig, disk::blocking, identity::NetworkKey};

mod log;
#[cfg(test)]
mod tests;

/// Letters of statements that wait to be written, at most.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Letters of statements in one answer, at most.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// A statement that says nothing new is written again after this share of the time that statements are kept.
const AGAIN_SHARE: u32 = 24;

/// The statements of one node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: DirectoryConfig,
    /// `None`: nothing is kept.
    log: Option<Mutex<Log>>,
    waiting: Mutex<Waiting>,
}

/// Statements as gateways told them, not checked yet.
#[derive(Debug, Default)]
struct Waiting {
    told: Vec<String>,
    bytes: usize,
}

impl Directory {
    /// Statements kept in `dir`, which is made if it is missing. What is damaged there is left away. Blocks on the disk.
    pub fn open(dir: &Path, config: &DirectoryConfig) -> Self {
        if config.bytes_max.0 == 0 {
            return Self::with(None, config);
        }
        let log = Log::open(dir, config.bytes_max.0, config.blocks_max).inspect_err(|error| {
            tracing::error!(path = %dir.display(), %error, "running without a directory of places");
        });
        Self::with(log.ok(), config)
    }

    /// Statements that are forgotten at the end of the process.
    pub fn in_memory(config: &DirectoryConfig) -> Self {
        Self::with(Some(Log::in_memory(config.bytes_max.0, config.blocks_max)), config)
    }

    fn with(log: Option<Log>, config: &DirectoryConfig) -> Self {
        let inner = Inner { config: config.clone(), log: log.map(Mutex::new), waiting: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Takes a statement to be checked and written later; drops it when too many wait.
    pub(crate) fn offer(&self, told: &str) {
        if self.inner.log.is_none() {
            return;
        }
        let mut waiting = self.inner.waiting.lock();
        let bytes = waiting.bytes.saturating_add(told.len());
        if bytes > WAITING_BYTES_MAX {
            count("dropped");
            return;
        }
        waiting.bytes = bytes;
        waiting.told.push(told.to_string());
    }

    /// The statements in which these blocks are, each once, none of them too old. Blocks on the disk.
    pub(crate) fn find(&self, cids: &[Cid], now: UnixMillis) -> Vec<String> {
        let Some(log) = &self.inner.log else { return Vec::new() };
        let mut seen = HashSet::new();
        let (mut found, mut bytes) = (Vec::new(), 0);
        for cid in cids {
            let Some(place) = log.lock().place(key_of(cid)).filter(|place| seen.insert(*place)) else {
                continue;
            };
            // Not under the lock: a slow disk holds up nobody who is told where blocks are.
            let reader = log.lock().reader(place);
            let record = reader.and_then(log::Reader::read);
            let Some(Record { time, text, .. }) = record else {
                log.lock().forget(place);
                count("damaged");
                continue;
            };
            if now.since(time) > self.inner.config.age_max {
                continue;
            }
            bytes += text.len();
            if bytes > ANSWER_BYTES_MAX {
                break;
            }
            found.push(text);
        }
        found
    }

    /// Checks what waits, keeps what is new, and drops what is too old. Blocks on the disk.
    fn write(&self, network: &NetworkKey, now: UnixMillis) {
        let Some(log) = &self.inner.log else { return };
        let Waiting { told, .. } = std::mem::take(&mut *self.inner.waiting.lock());
        if let Some(network) = network.get() {
            for text in told {
                let outcome = match Places::verify(network, &text) {
                    Ok(places) if self.is_usable(&places, now) => self.keep(log, network, &places, text),
                    Ok(_) | Err(_) => "refused",
                };
                count(outcome);
            }
        }
        let mut log = log.lock();
        log.drop_older_than(now - self.inner.config.age_max);
        metrics::gauge!("pinstripe_directory_bytes").set(log.bytes() as f64);
        metrics::gauge!("pinstripe_directory_blocks").set(log.blocks() as f64);
    }

    fn is_usable(&self, places: &Places, now: UnixMillis) -> bool {
        let is_young = now.since(places.time) <= self.inner.config.age_max;
        is_young && !places.is_from_the_future(now) && !places.blocks.is_empty()
    }

    fn keep(
        &self,
        log: &Mutex<Log>,
        network: &ed25519_dalek::VerifyingKey,
        places: &Places,
        text: String,
    ) -> &'static str {
        let keys: Vec<u64> = places.blocks.iter().map(|block| key_of(&block.cid)).collect();
        let again = self.inner.config.age_max / AGAIN_SHARE;
        // Popular content is asked for every few minutes: what is known is not written each time.
        let reader = {
            let log = log.lock();
            log.place_of_all(&keys).and_then(|place| log.reader(place))
        };
        let known = reader.and_then(log::Reader::read);
        let known = known.and_then(|known| Places::verify(network, &known.text).ok());
        if known.is_some_and(|known| says_as_much(&known, places, again)) {
            return "known";
        }
        let record = Record { time: places.time, keys, text };
        match log.lock().append(&record) {
            Ok(true) => "kept",
            Ok(false) => "dropped",
            Err(error) => {
                tracing::warn!(%error, "a statement about places could not be written");
                "failed"
            }
        }
    }
}

/// Whether nothing is missing without the newer statement: it is about the same pieces and no further blocks, and hardly
/// younger; or it is older.
fn says_as_much(known: &Places, newer: &Places, again: Duration) -> bool {
    let is_same = known.segment == newer.segment && known.pieces == newer.pieces;
    let has_all = newer.blocks.iter().all(|block| known.blocks.contains(block));
    has_all && (newer.time < known.time || (is_same && newer.time.since(known.time) < again))
}

/// What stands for a block in the index. Two blocks with the same one take each other's place, which is a miss.
fn key_of(cid: &Cid) -> u64 {
    let hash = blake3::hash(cid.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("32 bytes begin with 8");
    u64::from_le_bytes(*first)
}

fn count(outcome: &'static str) {
    metrics::counter!("pinstripe_directory_statements_total", "outcome" => outcome).increment(1);
}

/// The job that writes down what this node was told.
#[derive(Debug)]
pub struct WriteDirectory {
    pub(crate) directory: Directory,
    pub(crate) network: Arc<NetworkKey>,
    pub(crate) clock: Clock,
}

impl Job for WriteDirectory {
    const NAME: &'static str = "write_directory";

    async fn step(&self) -> anyhow::Result<Progress> {
        let (directory, network, now) = (self.directory.clone(), self.network.clone(), self.clock.now());
        blocking(move || directory.write(&network, now)).await?;
        Ok(Progress::Idle)
    }
}
