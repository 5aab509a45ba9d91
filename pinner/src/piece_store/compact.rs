//! Giving space back: what a mostly dead log still holds is appended again, then the log is removed.
//!
//! Runs inside the writer between groups, a bounded number of bytes at a time, so it needs no locks and nobody can
//! change a piece under it. Every piece is hashed on the way: damage is found here too.

use protocol::ids::PieceHash;

use super::{
    CompactProgress,
    errors::StoreError,
    ledger::{Entry, Kind, Ledger},
    record::{Body, Record},
    scan::{Found, Scan},
    writer::{Group, Writer},
};

/// The log that is being emptied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Victim {
    log: u32,
    at: u64,
}

/// The most that one step moves, whatever its budget: it holds up the puts.
const STEP_BYTES_MAX: u64 = 64 << 20;

/// How many index entries are looked at in one go when pieces of an unreadable stretch are searched.
const PAGE: usize = 1024;

impl Writer {
    /// Moves up to about `budget_bytes` out of the log with the most dead bytes.
    pub(super) fn compact(&mut self, budget_bytes: u64) -> Result<CompactProgress, StoreError> {
        let mut progress = CompactProgress::default();
        let Some(mut victim) = self.victim.or_else(|| self.pick()) else { return Ok(progress) };
        let shared = std::sync::Arc::clone(&self.shared);
        let mut scan = Scan::new(&shared.logs, victim.log, victim.at)?;
        self.ready_log()?;
        let mut group = Group::default();
        let mut finished = true;
        while let Some(found) = scan.as_mut().map_or(Ok(None), Scan::next_record)? {
            progress.read_bytes += found.record.len_in_log();
            self.carry(&mut group, &found, victim.log)?;
            if progress.read_bytes >= budget_bytes.clamp(1, STEP_BYTES_MAX) {
                finished = false;
                break;
            }
        }
        // Until the copies are durable the log is taken up again from where this step began.
        self.victim = Some(victim);
        self.commit(group)?;
        progress.more = true;
        if let (Some(scan), false) = (&scan, finished) {
            victim.at = scan.position();
            self.victim = Some(victim);
            return Ok(progress);
        }
        self.victim = None;
        progress.freed_bytes = self.remove_log(victim.log)?;
        Ok(progress)
    }

    /// The log with the most dead bytes among those that are dead enough and no longer written.
    fn pick(&self) -> Option<Victim> {
        let active = self.active_log();
        let share = self.shared.config.compact_dead_share;
        let worst = self.shared.index.ledger(|ledger| {
            let dead = |usage: &super::ledger::LogUsage| usage.total.saturating_sub(usage.live);
            let sealed = ledger.logs.iter().filter(|(log, _)| Some(**log) != active);
            let due = sealed
                .filter(|(_, usage)| usage.live == 0 || dead(usage) as f64 >= usage.total as f64 * share);
            due.max_by_key(|(_, usage)| dead(usage)).map(|(log, _)| *log)
        });
        worst.map(|log| Victim { log, at: 0 })
    }

    /// Appends again what is still needed of one record.
    fn carry(&mut self, group: &mut Group, found: &Found, victim: u32) -> Result<(), StoreError> {
        let hash = found.record.body.hash();
        let before = self.known(group, &hash)?;
        let current = before.filter(|entry| entry.place == found.place);
        match found.record.body {
            Body::Small(_) => {
                let Some(entry) = current else { return Ok(()) };
                if entry.corrupt || !found.content_is_sound() {
                    self.give_up(group, hash, entry);
                } else {
                    self.plan(group, found.record, &found.content, before);
                }
            }
            Body::Large(_) => {
                let Some(entry) = current else { return Ok(()) };
                self.plan(group, found.record, &[], before);
                if entry.corrupt {
                    // The record alone would make the piece good again.
                    let record = Record { body: Body::Corrupt(hash), ..found.record };
                    let before = self.known(group, &hash)?;
                    self.plan(group, record, &[], before);
                }
            }
            Body::Lost(_) if current.is_some() => self.plan(group, found.record, &[], before),
            Body::Corrupt(_) if before.is_some_and(|entry| entry.corrupt && entry.kind != Kind::Lost) => {
                self.plan(group, found.record, &[], before);
            }
            Body::Delete { dead_log, .. } => {
                let is_needed = |ledger: &Ledger| dead_log != victim && ledger.logs.contains_key(&dead_log);
                if before.is_none() && self.shared.index.ledger(is_needed) {
                    self.plan(group, found.record, &[], None);
                }
            }
            Body::Lost(_) | Body::Corrupt(_) | Body::Footer(_) => {}
        }
        Ok(())
    }

    fn give_up(&mut self, group: &mut Group, hash: PieceHash, entry: Entry) {
        if !entry.corrupt {
            tracing::error!(piece = %hash, "piece is damaged");
        }
        let record = Record { body: Body::Lost(hash), data_len: entry.data_len, stored_at: entry.stored_at };
        self.plan(group, record, &[], Some(entry));
    }

    /// Removes a log that nothing needs any more, and returns its length.
    fn remove_log(&mut self, log: u32) -> Result<u64, StoreError> {
        if self.shared.index.ledger(|ledger| ledger.live_of_pieces(log)) > 0 {
            self.give_up_stranded(log)?;
        }
        let total = self.shared.index.ledger(|ledger| ledger.logs.get(&log).map_or(0, |usage| usage.total));
        // The copies must be in the index file before the log goes: after a crash only later records are replayed.
        self.checkpoint_now()?;
        self.shared.logs.remove(log)?;
        self.shared.index.change_ledger(|ledger| ledger.forget_log(log));
        Ok(total)
    }

    /// Gives up the pieces whose records in `log` can no longer be read.
    fn give_up_stranded(&mut self, log: u32) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.shared.index.list(after, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            self.ready_log()?;
            let mut group = Group::default();
            for (hash, entry) in page.iter().filter(|(_, entry)| entry.place.log == log) {
                tracing::error!(piece = %hash, "record of the piece is damaged");
                if entry.kind == Kind::Large {
                    self.restore_large(&mut group, *hash, *entry);
                } else {
                    self.give_up(&mut group, *hash, *entry);
                }
            }
            self.commit(group)?;
        }
    }

    /// The record of a large piece can be written anew from the footer of its file.
    fn restore_large(&mut self, group: &mut Group, hash: PieceHash, entry: Entry) {
        let footer = self.shared.large.footer_of_file(&self.shared.large.path(&hash), &hash);
        match footer {
            Some(Record { body: Body::Footer(meta), data_len, .. }) if !entry.corrupt => {
                // The piece may have been ordered here again since the file was written.
                let record = Record { body: Body::Large(meta), data_len, stored_at: entry.stored_at };
                self.plan(group, record, &[], Some(entry));
            }
            _ => self.give_up(group, hash, entry),
        }
    }
}
