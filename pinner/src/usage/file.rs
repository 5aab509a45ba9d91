//! The file of counts: one line for each order and ticket, by the hour in which it was issued.
//!
//! Every change is one transaction of an embedded database, so the file is whole after any crash. A damaged file is put
//! aside: what it held is lost, but the node goes on.

use std::{fs, path::Path, sync::Arc};

use anyhow::Context as _;
use protocol::{
    api::RedeemEntry,
    ids::Serial,
    time::{HOUR_MS, UnixMillis},
};
use redb::{Database, ReadableDatabase as _, ReadableTable, TableDefinition, backends::InMemoryBackend};

/// (hour, serial) -> (issued, expires, most bytes, bytes, token).
type LineKey<'a> = (i64, &'a [u8; 16]);
type LineValue<'a> = (i64, i64, u64, u64, &'a str);
const LINES: TableDefinition<'_, LineKey<'_>, LineValue<'_>> = TableDefinition::new("lines");
/// Hour -> number of its lines.
const HOURS: TableDefinition<'_, i64, u64> = TableDefinition::new("hours");

const FIRST: &[u8; 16] = &[0; 16];
const LAST: &[u8; 16] = &[0xff; 16];
/// Memory for pages of the file.
const CACHE_BYTES: usize = 1 << 20;

/// One order or ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) issued: UnixMillis,
    pub(super) expires: UnixMillis,
    pub(super) bytes_max: u64,
    /// Bytes served until now.
    pub(super) bytes: u64,
    pub(super) token: Arc<str>,
}

#[derive(Debug)]
pub(super) struct UsageFile {
    database: Database,
    /// Lines of one hour that are handed in.
    redeemed_max: usize,
}

impl UsageFile {
    pub(super) fn open(path: &Path, redeemed_max: usize) -> anyhow::Result<Self> {
        let create = || Database::builder().set_cache_size(CACHE_BYTES).create(path);
        let database = match create() {
            Ok(database) => database,
            Err(error @ redb::DatabaseError::DatabaseAlreadyOpen) => {
                return Err(error).context("open the counts");
            }
            Err(error) => {
                let aside = path.with_extension("damaged");
                tracing::error!(%error, path = %aside.display(), "counts of served bytes cannot be read, starting anew");
                fs::rename(path, &aside).context("put damaged counts aside")?;
                create().context("make a file for counts")?
            }
        };
        Self::new(database, redeemed_max)
    }

    pub(super) fn in_memory(redeemed_max: usize) -> anyhow::Result<Self> {
        let builder = &mut Database::builder();
        let database = builder.set_cache_size(CACHE_BYTES).create_with_backend(InMemoryBackend::new())?;
        Self::new(database, redeemed_max)
    }

    fn new(database: Database, redeemed_max: usize) -> anyhow::Result<Self> {
        let made = database.begin_write()?;
        made.open_table(LINES)?;
        made.open_table(HOURS)?;
        made.commit()?;
        Ok(Self { database, redeemed_max })
    }

    /// Writes counts down; a count that the file knows never gets smaller.
    pub(super) fn record(&self, lines: &[(Serial, Line)]) -> anyhow::Result<()> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(LINES)?;
            let mut hours = write.open_table(HOURS)?;
            for (serial, line) in lines {
                let hour = line.issued.hour().0;
                let key = (hour, &serial.0);
                let known = table.get(key)?.map(|known| known.value().3);
                let bytes = known.unwrap_or(0).max(line.bytes);
                table.insert(key, (line.issued.0, line.expires.0, line.bytes_max, bytes, &*line.token))?;
                if known.is_none() {
                    let count = hours.get(hour)?.map_or(0, |count| count.value());
                    hours.insert(hour, count + 1)?;
                }
            }
            // A quarter of slack, so that a full hour is not sorted with every write.
            let limit = (self.redeemed_max + self.redeemed_max / 4) as u64;
            let mut crowded = Vec::new();
            for found in hours.iter()? {
                let (hour, count) = found?;
                crowded.extend((count.value() > limit).then(|| hour.value()));
            }
            for hour in crowded {
                let left = keep_largest(&mut table, hour, self.redeemed_max)?;
                hours.insert(hour, left)?;
            }
        }
        write.commit().context("write counts down")
    }

    /// Lines that are still valid at `now`, at most `max`: those of this hour and the one before. Orders and tickets that
    /// live longer are counted from zero after a restart; the larger count stands in the file.
    pub(super) fn valid(&self, now: UnixMillis, max: usize) -> anyhow::Result<Vec<(Serial, Line)>> {
        let read = self.database.begin_read()?;
        let table = read.open_table(LINES)?;
        let mut valid = Vec::new();
        for found in table.range((now.hour().0 - HOUR_MS, FIRST)..)? {
            let (key, value) = found?;
            let (issued, expires, bytes_max, bytes, token) = value.value();
            if expires > now.0 && valid.len() < max {
                let (issued, expires) = (UnixMillis(issued), UnixMillis(expires));
                let line = Line { issued, expires, bytes_max, bytes, token: token.into() };
                valid.push((Serial(*key.value().1), line));
            }
        }
        Ok(valid)
    }

    pub(super) fn hours(&self, before: UnixMillis) -> anyhow::Result<Vec<UnixMillis>> {
        let read = self.database.begin_read()?;
        let hours = read.open_table(HOURS)?;
        let hours = hours.range(..before.0)?.map(|found| found.map(|(hour, _)| UnixMillis(hour.value())));
        Ok(hours.collect::<Result<_, _>>()?)
    }

    pub(super) fn hour(&self, hour: UnixMillis) -> anyhow::Result<Vec<RedeemEntry>> {
        let read = self.database.begin_read()?;
        let table = read.open_table(LINES)?;
        let mut entries = Vec::new();
        for found in table.range((hour.0, FIRST)..=(hour.0, LAST))? {
            let (_, value) = found?;
            let (_, _, _, bytes, token) = value.value();
            entries.push(RedeemEntry { token: token.to_string(), bytes });
        }
        if entries.len() > self.redeemed_max {
            entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.bytes));
            entries.truncate(self.redeemed_max);
        }
        Ok(entries)
    }

    pub(super) fn forget_hour(&self, hour: UnixMillis) -> anyhow::Result<()> {
        let write = self.database.begin_write()?;
        write.open_table(LINES)?.retain_in((hour.0, FIRST)..=(hour.0, LAST), |_, _| false)?;
        write.open_table(HOURS)?.remove(hour.0)?;
        write.commit().context("forget an hour of counts")
    }
}

/// Drops the smallest lines of an hour until `max` are left; gives how many are left.
fn keep_largest(
    table: &mut redb::Table<'_, LineKey<'static>, LineValue<'static>>,
    hour: i64,
    max: usize,
) -> anyhow::Result<u64> {
    let mut lines = Vec::new();
    for found in table.range((hour, FIRST)..=(hour, LAST))? {
        let (key, value) = found?;
        lines.push((value.value().3, *key.value().1));
    }
    if lines.len() <= max {
        return Ok(lines.len() as u64);
    }
    lines.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    for (_, serial) in lines.split_off(max) {
        table.remove((hour, &serial))?;
    }
    Ok(max as u64)
}
