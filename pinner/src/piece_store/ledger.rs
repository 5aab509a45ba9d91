//! What the index says about a piece, and the exact counters that follow from it. Pure: no disk, no clock.
//!
//! Every change of the index comes from one record of a log. [`Entry::after`] says what the record makes of a piece,
//! [`Ledger::apply`] counts it; live operation, replay after a crash and a full rebuild all go through these two.

use std::collections::BTreeMap;

use bao_tree::blake3;
use protocol::{ids::PieceHash, time::UnixMillis};

use super::record::{Body, HEADER_LEN, Place, Record, outboard_len};

/// Where the bytes of a piece are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In the log, behind the record's header.
    Small,
    /// In a file of its own.
    Large,
    /// Nowhere: they were damaged and have been given up.
    Lost,
}

/// What the index knows of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Its latest record.
    pub(super) place: Place,
    /// Length of the piece in bytes.
    pub(super) data_len: u32,
    pub(super) stored_at: UnixMillis,
    /// It must not be served.
    pub(super) corrupt: bool,
    /// That it is corrupt has been reported.
    pub(super) reported: bool,
}

/// Length of [`Entry::encode`].
pub(super) const ENTRY_LEN: usize = 25;

impl Entry {
    /// What is known of a piece after `record` at `place`, given what was known before.
    pub(super) fn after(record: &Record, place: Place, before: Option<Self>) -> Option<Self> {
        let entry = |kind, corrupt| {
            let Record { data_len, stored_at, .. } = *record;
            Some(Self { kind, place, data_len, stored_at, corrupt, reported: false })
        };
        match (record.body, before) {
            (Body::Small(_), _) => entry(Kind::Small, false),
            (Body::Large(_), _) => entry(Kind::Large, false),
            (Body::Delete { .. }, _) => None,
            (Body::Corrupt(_), Some(before)) => Some(Self { corrupt: true, reported: false, ..before }),
            (Body::Lost(_), Some(before)) => {
                let reported = before.corrupt && before.reported;
                entry(Kind::Lost, true).map(|entry| Self { reported, ..entry })
            }
            (Body::Corrupt(_) | Body::Lost(_), None) => entry(Kind::Lost, true),
            (Body::Footer(_), before) => before,
        }
    }

    /// Bytes of a log that this piece keeps alive.
    pub(super) fn log_bytes(&self) -> u64 {
        HEADER_LEN as u64 + if self.kind == Kind::Small { self.stored_bytes() } else { 0 }
    }

    /// Bytes of a file of its own.
    pub(super) fn file_bytes(&self) -> u64 {
        if self.kind == Kind::Large { self.stored_bytes() + HEADER_LEN as u64 } else { 0 }
    }

    /// Bytes on disk, outboard and headers included.
    pub(super) fn used_bytes(&self) -> u64 {
        self.log_bytes() + self.file_bytes()
    }

    fn stored_bytes(&self) -> u64 {
        u64::from(self.data_len) + u64::from(outboard_len(self.data_len))
    }

    /// Fixed-size form for the index file. Its last four bytes are a checksum over the piece's name and the rest:
    /// the index file has none that are checked when it is read.
    pub(super) fn encode(&self, hash: &PieceHash) -> [u8; ENTRY_LEN] {
        let mut out = [0; ENTRY_LEN];
        out[..4].copy_from_slice(&self.place.log.to_le_bytes());
        out[4..8].copy_from_slice(&self.place.offset.to_le_bytes());
        out[8..12].copy_from_slice(&self.data_len.to_le_bytes());
        out[12..20].copy_from_slice(&self.stored_at.0.to_le_bytes());
        let kind = match self.kind {
            Kind::Small => 0,
            Kind::Large => 1,
            Kind::Lost => 2,
        };
        out[20] = kind | u8::from(self.corrupt) << 2 | u8::from(self.reported) << 3;
        let check = checksum(hash, &out[..21]);
        out[21..].copy_from_slice(&check);
        out
    }

    /// Reads [`Entry::encode`] back; `None` if the checksum does not fit.
    pub(super) fn decode(hash: &PieceHash, bytes: &[u8; ENTRY_LEN]) -> Option<Self> {
        if bytes[21..] != checksum(hash, &bytes[..21]) {
            return None;
        }
        let number = |at: usize| bytes[at..].first_chunk().copied().map(u32::from_le_bytes);
        let kind = match bytes[20] & 3 {
            0 => Kind::Small,
            1 => Kind::Large,
            2 => Kind::Lost,
            _ => return None,
        };
        Some(Self {
            kind,
            place: Place { log: number(0)?, offset: number(4)? },
            data_len: number(8)?,
            stored_at: UnixMillis(i64::from_le_bytes(*bytes[12..].first_chunk()?)),
            corrupt: bytes[20] & 4 != 0,
            reported: bytes[20] & 8 != 0,
        })
    }
}

fn checksum(hash: &PieceHash, bytes: &[u8]) -> [u8; 4] {
    let mut out = [0; 4];
    blake3::Hasher::new().update(&hash.0).update(bytes).finalize_xof().fill(&mut out);
    out
}

/// Bytes of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogUsage {
    /// Length of the log.
    pub(super) total: u64,
    /// Bytes of records that are still needed.
    pub(super) live: u64,
}

/// The counters of a store and the point of the logs up to which they are complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// Pieces, corrupt ones included.
    pub(super) pieces: u64,
    /// Pieces that must not be served.
    pub(super) corrupt: u64,
    /// Bytes of the live records of pieces and of their files.
    pub(super) used: u64,
    /// Bytes of files of their own; part of `used`.
    pub(super) files: u64,
    pub(super) logs: BTreeMap<u32, LogUsage>,
    /// How many delete records in log `.1` take back records of log `.0`: they are needed while that log exists.
    pub(super) tombs: BTreeMap<(u32, u32), u64>,
    /// End of the last record that is counted.
    pub(super) end: Place,
}

impl Ledger {
    /// Counts `record` at `place`, which turned `before` into `after`.
    pub(super) fn apply(
        &mut self,
        record: &Record,
        place: Place,
        before: Option<&Entry>,
        after: Option<&Entry>,
    ) {
        self.extend_to(place.log, u64::from(place.offset) + record.len_in_log());
        if let Some(entry) = before {
            self.pieces -= 1;
            self.corrupt -= u64::from(entry.corrupt);
            self.used -= entry.used_bytes();
            self.files -= entry.file_bytes();
            self.change_live(entry.place.log, |live| live.saturating_sub(entry.log_bytes()));
        }
        if let Some(entry) = after {
            self.pieces += 1;
            self.corrupt += u64::from(entry.corrupt);
            self.used += entry.used_bytes();
            self.files += entry.file_bytes();
            self.change_live(entry.place.log, |live| live + entry.log_bytes());
        }
        if let Body::Delete { dead_log, .. } = record.body
            && dead_log != place.log
            && self.logs.contains_key(&dead_log)
        {
            *self.tombs.entry((dead_log, place.log)).or_default() += 1;
            self.change_live(place.log, |live| live + HEADER_LEN as u64);
        }
    }

    /// Notes that `log` reaches to `end`. What no record accounts for is dead.
    pub(super) fn extend_to(&mut self, log: u32, end: u64) {
        let usage = self.logs.entry(log).or_default();
        usage.total = usage.total.max(end);
        self.end = self.end.max(Place { log, offset: u32::try_from(end).unwrap_or(u32::MAX) });
    }

    /// Takes a log out that has been removed, and with it the need for the records that take back its records.
    pub(super) fn forget_log(&mut self, log: u32) {
        self.logs.remove(&log);
        let gone: Vec<_> =
            self.tombs.keys().copied().filter(|&(dead, holder)| dead == log || holder == log).collect();
        for key in gone {
            let count = self.tombs.remove(&key).unwrap_or(0);
            self.change_live(key.1, |live| live.saturating_sub(count * HEADER_LEN as u64));
        }
    }

    /// Bytes of a log that pieces keep alive, leaving out the delete records in it.
    pub(super) fn live_of_pieces(&self, log: u32) -> u64 {
        let tombs: u64 =
            self.tombs.iter().filter(|((_, holder), _)| *holder == log).map(|(_, count)| count).sum();
        let live = self.logs.get(&log).map_or(0, |usage| usage.live);
        live.saturating_sub(tombs * HEADER_LEN as u64)
    }

    fn change_live(&mut self, log: u32, change: impl FnOnce(u64) -> u64) {
        if let Some(usage) = self.logs.get_mut(&log) {
            usage.live = change(usage.live);
        }
    }

    /// Bytes of all logs.
    pub(super) fn log_bytes(&self) -> u64 {
        self.logs.values().map(|usage| usage.total).sum()
    }

    /// Bytes of the logs that no piece needs.
    pub(super) fn dead_bytes(&self) -> u64 {
        self.log_bytes().saturating_sub(self.used - self.files)
    }

    /// Bytes of all logs and files.
    pub(super) fn occupied_bytes(&self) -> u64 {
        self.log_bytes() + self.files
    }

    /// The form in which the index file keeps it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        for number in [self.pieces, self.corrupt, self.used, self.files] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.end.log.to_le_bytes());
        out.extend_from_slice(&self.end.offset.to_le_bytes());
        out.extend_from_slice(&(self.logs.len() as u64).to_le_bytes());
        for (log, usage) in &self.logs {
            out.extend_from_slice(&log.to_le_bytes());
            out.extend_from_slice(&usage.total.to_le_bytes());
            out.extend_from_slice(&usage.live.to_le_bytes());
        }
        for ((dead, holder), count) in &self.tombs {
            out.extend_from_slice(&dead.to_le_bytes());
            out.extend_from_slice(&holder.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
        let check = blake3::hash(&out);
        out.extend_from_slice(check.as_bytes());
        out
    }

    /// Reads [`Ledger::encode`] back; `None` if the bytes are damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, check) = bytes.split_last_chunk::<32>()?;
        if blake3::hash(bytes) != *check || *bytes.first()? != 1 {
            return None;
        }
        let mut rest = Fields(&bytes[1..]);
        let mut ledger = Self {
            pieces: rest.u64()?,
            corrupt: rest.u64()?,
            used: rest.u64()?,
            files: rest.u64()?,
            end: Place { log: rest.u32()?, offset: rest.u32()? },
            ..Self::default()
        };
        for _ in 0..rest.u64()? {
            let log = rest.u32()?;
            ledger.logs.insert(log, LogUsage { total: rest.u64()?, live: rest.u64()? });
        }
        while !rest.0.is_empty() {
            ledger.tombs.insert((rest.u32()?, rest.u32()?), rest.u64()?);
        }
        Some(ledger)
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }

    fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }
}
