//! The network's log of pins: what became of them goes into segments of its own, so that pins can be rebuilt from the nodes
//! alone. Whoever changes a pin writes its name down in the same transaction (`note_changes!`); one gateway at a time takes
//! what has gathered, reads how those pins are now, and writes that into a segment.
//!
//! Now and then all pins are written down anew, a batch with each part, so that older parts can go.

use content::Cid;
use protocol::{
    ids::SegmentId,
    record::{GoneRecord, LOG_OVERLAP_US, LogPlace, PinRecord, Record},
    time::{UnixMicros, UnixMillis},
};
use sqlx::QueryBuilder;
use std::{collections::BTreeMap, time::Duration};

use crate::{
    Db, NewSegment, SegmentState, StoreError,
    commit::insert_segment_rows,
    db::{read, write},
    pins::cid_of,
    rows::{ROWS_PER_STATEMENT, millis, parse, push_list, size, sql},
};

/// What happened to a pin, for the name of its row in the table of changes: of one pin, two that happen in the same
/// microsecond are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was made, or its end was moved to then.
    Is(Option<i64>),
    /// It is no more.
    Gone,
}

/// Ends the names of changes that are ends of pins.
pub(crate) const GONE: &str = "-gone";

/// The name of a change's row; `at` is the time of the change or one that follows from it.
pub(crate) fn change_id(at: UnixMicros, change: Change, pin: &str) -> String {
    let at = u64::try_from(at.0).unwrap_or(0);
    match change {
        Change::Is(None) => format!("{at:016x}-{pin}"),
        Change::Is(Some(expires)) => format!("{at:016x}-{pin}-{expires}"),
        Change::Gone => format!("{at:016x}-{pin}{GONE}"),
    }
}

/// Writes changes (what, pin, account, root) down inside the transaction that makes them.
macro_rules! note_changes {
    ($tx:ident, $changes:expr, $now:expr) => {
        for part in $crate::rows::runs(&$changes) {
            let mut query = sqlx::QueryBuilder::new("INSERT INTO pin_changes (id, pin_id, account_id, cid) ");
            query.push_values(part, |mut row, (change, pin, account, root)| {
                row.push_bind($crate::pin_log::change_id($now, *change, pin))
                    .push_bind(pin.to_string())
                    .push_bind(account.to_string())
                    .push_bind(root.to_string());
            });
            query.push(" ON CONFLICT (id) DO NOTHING");
            query.build().execute(&mut *$tx).await?;
        }
    };
}
pub(crate) use note_changes;

/// When a part of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRules {
    /// Changes and pins in one part, at most.
    pub batch: u32,
    /// How long after the last part changes wait for others.
    pub wait_max: Duration,
    /// Shortest time before a part that is not full.
    pub pause_min: Duration,
    /// How often all pins are written down anew.
    pub sweep_every: Duration,
}

/// A part of the log that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// What stands in it.
    pub record: Record,
    /// Its place.
    pub place: LogPlace,
    /// Changes that are in it.
    changes: Vec<String>,
    /// How far all pins are written down anew with it: since when, and up to which; `None`: that is not going on.
    sweep: Option<(UnixMicros, String)>,
    /// Whether that is the last of them.
    ends_sweep: bool,
}

#[derive(Clone, sqlx::FromRow)]
struct LogRow {
    seq_us: i64,
    from_us: i64,
    sweep_us: i64,
    sweep_cursor: String,
    swept_us: i64,
    written_ms: i64,
    claimed_until_ms: i64,
    /// Not 0 while it is in doubt whether the database is an older one.
    doubts: i64,
}

/// Why a part is to be written.
enum Due {
    /// Its changes fill it.
    Full,
    /// It is time for it.
    Time,
}

const LOG: &str = "SELECT seq_us, from_us, sweep_us, sweep_cursor, swept_us, written_ms, claimed_until_ms, \
     (SELECT COUNT(*) FROM recovery) + (SELECT COUNT(*) FROM network_state WHERE held_ms IS NOT NULL) AS doubts \
     FROM pin_log WHERE id = 'log'";
pub(crate) const WAITING: &str = "SELECT id, pin_id, account_id, cid FROM pin_changes ORDER BY id LIMIT $1";
/// Stored pins behind `$1`.
pub(crate) const NEXT: &str =
    "SELECT id FROM pins WHERE id > $1 AND state IN ('pinned', 'held') ORDER BY id LIMIT $2";
const CLAIM: &str = "UPDATE pin_log SET seq_us = $1, claimed_until_ms = $2 WHERE id = 'log'";

const NOTHING: &str = "UPDATE pin_log SET claimed_until_ms = 0, sweep_us = 0, sweep_cursor = '', swept_us = $1 \
     WHERE id = 'log'";

/// Id, account, root, version 0, size, created, expires, state, size of the DAG.
type StateRow = (String, String, String, bool, i64, i64, Option<i64>, String, Option<i64>);

fn record(
    (id, account, root, is_v0, bytes, created, expires, state, dag): StateRow,
) -> Result<PinRecord, StoreError> {
    let size_bytes = size("pin size", bytes)?;
    let dag_bytes = dag.map_or(Ok(size_bytes), |dag| size("dag size", dag))?;
    Ok(PinRecord {
        id: Some(id),
        root: cid_of(&root, is_v0)?,
        account,
        created: UnixMicros(created),
        expires: millis(expires),
        held: state == "held",
        sizes: Some((size_bytes, dag_bytes)),
    })
}

impl Db {
    /// Takes what is to be written into the log, until `until`, unless another gateway does or it is not time yet.
    pub async fn claim_pin_log(
        &self,
        rules: &LogRules,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Result<Option<LogPart>, StoreError> {
        // Mostly there is nothing to do, which takes no lock.
        let row: LogRow = read!(self, pool => sqlx::query_as(LOG).fetch_one(pool).await)?;
        let pause_min = match self.log_is_due(&row, rules, now).await? {
            None => return Ok(None),
            Some(Due::Full) => Duration::ZERO,
            Some(Due::Time) => rules.pause_min.max(Duration::from_millis(1)),
        };
        write!(self, tx => {
            let row: LogRow = {
                let mut query = QueryBuilder::new(LOG);
                query.push(self.for_update());
                query.build_query_as().fetch_one(&mut *tx).await?
            };
            if row.claimed_until_ms > now.0 || now.0 < row.written_ms + millis_of(pause_min) {
                None
            } else {
                let seq = UnixMicros(now.micros().0.max(row.seq_us + 1));
                let changes: Vec<(String, String, String, String)> =
                    sqlx::query_as(WAITING).bind(i64::from(rules.batch)).fetch_all(&mut *tx).await?;
                let room = rules.batch as usize - changes.len().min(rules.batch as usize);
                // What an older database says of pins it knows must not look newer than what the log says of them.
                let goes_on = row.sweep_us > 0 && row.doubts == 0;
                let mut sweep = goes_on.then(|| (UnixMicros(row.sweep_us), row.sweep_cursor.clone()));
                if sweep.is_none() && sweep_is_due(&row, rules, now) {
                    sweep = Some((seq, String::new()));
                }
                let mut swept: Vec<(String,)> = Vec::new();
                if let Some((_, cursor)) = sweep.as_ref().filter(|_| room > 0) {
                    swept = sqlx::query_as(NEXT).bind(cursor).bind(sql(room as u64)).fetch_all(&mut *tx).await?;
                }
                let ends_sweep = sweep.is_some() && swept.len() < room;
                if let (Some((_, cursor)), Some((last,))) = (&mut sweep, swept.last()) {
                    cursor.clone_from(last);
                }
                let from = match &sweep {
                    Some((since, _)) if ends_sweep => UnixMicros((since.0 - LOG_OVERLAP_US).max(row.from_us)),
                    _ => UnixMicros(row.from_us),
                };
                // The state is read behind the changes: whatever changes after this has a row that is not in here.
                let mut ids: Vec<&String> =
                    changes.iter().map(|(_, pin, ..)| pin).chain(swept.iter().map(|(pin,)| pin)).collect();
                ids.sort_unstable();
                ids.dedup();
                let mut pins: BTreeMap<String, PinRecord> = BTreeMap::new();
                for part in ids.chunks(ROWS_PER_STATEMENT) {
                    let mut query = QueryBuilder::new(
                        "SELECT p.id, p.account_id, p.cid, p.is_v0, p.size_bytes, p.created_us, p.expires_ms, p.state, \
                         r.dag_size_bytes FROM pins p LEFT JOIN roots r ON r.cid = p.cid \
                         WHERE p.state IN ('pinned', 'held') AND p.id IN ",
                    );
                    push_list(&mut query, part);
                    let rows: Vec<StateRow> = query.build_query_as().fetch_all(&mut *tx).await?;
                    for row in rows {
                        pins.insert(row.0.clone(), record(row)?);
                    }
                }
                let mut gone: BTreeMap<&String, GoneRecord> = BTreeMap::new();
                for (_, pin, account, root) in &changes {
                    // A pin whose end was moved and that went since has another row, which says whose it was.
                    if !pins.contains_key(pin) && !root.is_empty() {
                        let root: Cid = parse("pin cid", root)?;
                        gone.insert(pin, GoneRecord { id: pin.clone(), account: account.clone(), root });
                    }
                }
                let place = LogPlace { seq, from };
                let gone = gone.into_values().collect();
                let record = Record { log: Some(place), pins: pins.into_values().collect(), gone };
                let is_nothing = changes.is_empty() && record.pins.is_empty();
                if is_nothing && ends_sweep {
                    // There is no pin at all.
                    sqlx::query(NOTHING).bind(seq.0).execute(&mut *tx).await?;
                    None
                } else if is_nothing || (pause_min.is_zero() && room > 0) {
                    // Another gateway has taken what filled it.
                    None
                } else {
                    sqlx::query(CLAIM).bind(seq.0).bind(until.0).execute(&mut *tx).await?;
                    let changes = changes.into_iter().map(|(id, ..)| id).collect();
                    Some(LogPart { record, place, changes, sweep, ends_sweep })
                }
            }
        })
    }

    async fn log_is_due(
        &self,
        row: &LogRow,
        rules: &LogRules,
        now: UnixMillis,
    ) -> Result<Option<Due>, StoreError> {
        const SOME: &str = "SELECT id FROM pin_changes ORDER BY id LIMIT 1 OFFSET $1";
        if row.claimed_until_ms > now.0 {
            return Ok(None);
        }
        let is_there = async |offset: u32| -> Result<bool, StoreError> {
            let row: Option<(String,)> = read!(self, pool => {
                sqlx::query_as(SOME).bind(i64::from(offset)).fetch_optional(pool).await
            })?;
            Ok(row.is_some())
        };
        // However many pins change, the log keeps up with them.
        if is_there(rules.batch.saturating_sub(1)).await? {
            return Ok(Some(Due::Full));
        }
        let since = now.since(UnixMillis(row.written_ms));
        let is_time = since >= rules.pause_min
            && ((row.sweep_us > 0 && row.doubts == 0)
                || sweep_is_due(row, rules, now)
                || (since >= rules.wait_max && is_there(0).await?));
        Ok(is_time.then_some(Due::Time))
    }

    /// Records that a part of the log is stored, and lets go of parts that count no more, which may be collected from `due`
    /// on. `false`: another gateway has taken over; nothing is recorded, and what was stored is dropped as an orphan.
    pub async fn commit_pin_log(
        &self,
        part: &LogPart,
        segment: &NewSegment,
        record: &Cid,
        now: UnixMillis,
        due: UnixMillis,
    ) -> Result<bool, StoreError> {
        const DONE: &str = "UPDATE pin_log SET claimed_until_ms = 0, written_ms = $2, from_us = $3, sweep_us = $4, \
             sweep_cursor = $5, swept_us = $6 WHERE id = 'log' AND seq_us = $1 AND claimed_until_ms > 0";
        const SWEPT: &str = "SELECT swept_us FROM pin_log WHERE id = 'log'";
        const NAME: &str = "INSERT INTO pin_log_segments (segment_id, seq_us) VALUES ($1, $2)";
        const LINK: &str = "INSERT INTO root_segments (cid, segment_id) VALUES ($1, $2)";
        const OLD: &str = "DELETE FROM pin_log_segments WHERE seq_us < $1 RETURNING segment_id";
        let segments = [segment.clone()];
        write!(self, tx => {
            let (swept,): (i64,) = sqlx::query_as(SWEPT).fetch_one(&mut *tx).await?;
            let sweep = part.sweep.as_ref().filter(|_| !part.ends_sweep);
            let swept = match &part.sweep {
                Some((since, _)) if part.ends_sweep => since.0,
                _ => swept,
            };
            let mine = sqlx::query(DONE)
                .bind(part.place.seq.0)
                .bind(now.0)
                .bind(part.place.from.0)
                .bind(sweep.map_or(0, |(since, _)| since.0))
                .bind(sweep.map_or("", |(_, cursor)| cursor.as_str()))
                .bind(swept)
                .execute(&mut *tx)
                .await?
                .rows_affected() > 0;
            if mine {
                insert_segment_rows!(tx, &segments, |_| SegmentState::Live, now, due);
                sqlx::query(NAME).bind(segment.id.to_string()).bind(part.place.seq.0).execute(&mut *tx).await?;
                sqlx::query(LINK).bind(record.to_string()).bind(segment.id.to_string()).execute(&mut *tx).await?;
                for ids in part.changes.chunks(ROWS_PER_STATEMENT) {
                    let mut query = QueryBuilder::new("DELETE FROM pin_changes WHERE id IN ");
                    push_list(&mut query, ids);
                    query.build().execute(&mut *tx).await?;
                }
                let old: Vec<(String,)> = sqlx::query_as(OLD).bind(part.place.from.0).fetch_all(&mut *tx).await?;
                let mut old: Vec<String> = old.into_iter().map(|(id,)| id).collect();
                old.sort_unstable();
                for ids in old.chunks(ROWS_PER_STATEMENT) {
                    let mut query = QueryBuilder::new("DELETE FROM root_segments WHERE segment_id IN ");
                    push_list(&mut query, ids);
                    query.build().execute(&mut *tx).await?;
                    let mut query = QueryBuilder::new("UPDATE segments SET state = 'orphaned', due_ms = ");
                    query.push_bind(due.0).push(" WHERE state = 'live' AND id IN ");
                    push_list(&mut query, ids);
                    query.build().execute(&mut *tx).await?;
                }
            }
            mine
        })
    }

    /// Gives a part of the log up that could not be stored.
    pub async fn give_up_pin_log(&self, part: &LogPart) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE pin_log SET claimed_until_ms = 0 WHERE id = 'log' AND seq_us = $1";
        write!(self, tx => {
            sqlx::query(SQL).bind(part.place.seq.0).execute(&mut *tx).await?;
        })
    }

    /// Segments with parts of the log that this database knows, behind `after`.
    pub async fn pin_log_segments(
        &self,
        after: Option<SegmentId>,
        limit: u32,
    ) -> Result<Vec<SegmentId>, StoreError> {
        const SQL: &str =
            "SELECT segment_id FROM pin_log_segments WHERE segment_id > $1 ORDER BY segment_id LIMIT $2";
        let after = after.map_or_else(String::new, |id| id.to_string());
        let rows: Vec<(String,)> = read!(self, pool => {
            sqlx::query_as(SQL).bind(&after).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.iter().map(|(id,)| parse("segment id", id)).collect()
    }

    /// How many changes wait to be written into the log.
    pub async fn pin_changes(&self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM pin_changes";
        let (count,): (i64,) = read!(self, pool => sqlx::query_as(SQL).fetch_one(pool).await)?;
        size("change count", count)
    }
}

/// The first is due at once.
fn sweep_is_due(row: &LogRow, rules: &LogRules, now: UnixMillis) -> bool {
    row.doubts == 0 && row.sweep_us == 0 && now.since(UnixMicros(row.swept_us).millis()) >= rules.sweep_every
}

fn millis_of(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
