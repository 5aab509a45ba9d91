//! What is known of the database itself: whether somebody watched all the time, or whether it may have been set back. While
//! that is in doubt nothing is collected, so that nodes are never told to drop what the database only does not know.

use std::time::Duration;

use protocol::time::UnixMillis;

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::text,
};

/// Signs of life are written down this far apart, at least.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// Without a sign of life for longer than this, what nodes hold from that time is not taken for rubbish.
const GAP_MIN: Duration = Duration::from_mins(1);
/// How long the time before a database was begun is remembered: every node's pieces were compared by then.
const BIRTH_KEPT: Duration = Duration::from_hours(72);

/// Why nothing is collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Since when.
    pub since: UnixMillis,
    /// For people.
    pub why: String,
}

/// What monitors go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// The last sign of life, which is this one or was a moment ago.
    pub beat: UnixMillis,
    /// Set while nothing is collected.
    pub held: Option<Held>,
    /// Whether that began with this call.
    pub is_new: bool,
    /// From when to when nobody watched.
    pub gap: Option<(UnixMillis, UnixMillis)>,
}

/// beat, gap from, gap to, held, why.
type Row = (i64, i64, i64, Option<i64>, String);

const STATE: &str =
    "SELECT beat_ms, gap_from_ms, gap_to_ms, held_ms, held_why FROM network_state WHERE id = 'network'";
const WRITE: &str = "INSERT INTO network_state (id, beat_ms, gap_from_ms, gap_to_ms, held_ms, held_why) \
     VALUES ('network', $1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE SET beat_ms = excluded.beat_ms, \
     gap_from_ms = excluded.gap_from_ms, gap_to_ms = excluded.gap_to_ms, held_ms = excluded.held_ms, \
     held_why = excluded.held_why";

fn watch((beat, from, to, held, why): &Row) -> Watch {
    Watch {
        beat: UnixMillis(*beat),
        held: held.map(|since| Held { since: UnixMillis(since), why: why.clone() }),
        is_new: false,
        gap: (to > from).then_some((UnixMillis(*from), UnixMillis(*to))),
    }
}

/// What becomes of the state with a sign of life. `own`: the last one of the process that gives it.
fn after(row: Row, own: Option<UnixMillis>, now: UnixMillis, away_max: Duration) -> (Row, bool) {
    let (beat, mut from, mut to, mut held, mut why) = row;
    let away = now.since(UnixMillis(beat));
    let doubt = match own {
        Some(own) if beat < own.0 => Some("the database was set back while monitors ran".to_string()),
        None if away > away_max => Some(format!("no monitor watched for {} s", away.as_secs())),
        _ => None,
    };
    let is_birth = from == 0 && to > 0 && now.since(UnixMillis(to)) < BIRTH_KEPT;
    if doubt.is_some() || (own.is_none() && away > GAP_MIN && !is_birth) {
        // What an earlier gap left to be compared is not forgotten for a later one.
        let earlier = to > from && from > 0 && now.since(UnixMillis(to)) < BIRTH_KEPT;
        (from, to) = (if earlier { from.min(beat) } else { beat }, now.0);
    }
    let is_new = doubt.is_some() && held.is_none();
    if let Some(doubt) = doubt.filter(|_| is_new) {
        (held, why) = (Some(now.0), doubt);
    }
    ((beat.max(now.0), from, to, held, why), is_new)
}

/// Lets things be collected again: nothing is in doubt any more, a recovery is over, and all pins are written into the log anew.
macro_rules! end_doubt {
    ($tx:ident, $now:expr) => {
        // A sign of life of a monitor whose clock is ahead stays: without it, its next one would look like a database set back.
        const RELEASE: &str = "INSERT INTO network_state (id, beat_ms, gap_from_ms, gap_to_ms, held_ms, held_why, \
             stand_in_ms) VALUES ('network', $1, 0, 0, NULL, '', $1) ON CONFLICT (id) DO UPDATE SET gap_from_ms = 0, \
             gap_to_ms = 0, held_ms = NULL, held_why = '', stand_in_ms = excluded.stand_in_ms, \
             beat_ms = CASE WHEN network_state.beat_ms > excluded.beat_ms \
             THEN network_state.beat_ms ELSE excluded.beat_ms END";
        const FORGET: [&str; 9] = [
            "DELETE FROM found_pieces",
            "DELETE FROM found_segments",
            "DELETE FROM found_links",
            "DELETE FROM found_pins",
            "DELETE FROM found_log",
            "DELETE FROM found_changes",
            "DELETE FROM found_incomplete",
            "DELETE FROM recovery",
            "UPDATE pin_log SET sweep_us = 0, sweep_cursor = '', swept_us = 0 WHERE id = 'log'",
        ];
        for sql in FORGET {
            sqlx::query(sql).execute(&mut *$tx).await?;
        }
        sqlx::query(RELEASE).bind($now.0).execute(&mut *$tx).await?;
    };
}
pub(crate) use end_doubt;

impl Db {
    /// A sign of life of a monitor, which gave its last one at `own`. Nothing is collected from now on if the database has
    /// gone back since, or if a monitor starts and none gave a sign for longer than `away_max`.
    pub async fn beat(
        &self,
        own: Option<UnixMillis>,
        now: UnixMillis,
        away_max: Duration,
    ) -> Result<Watch, StoreError> {
        // Databases from before there was this row are known by their segments.
        const IS_OLD: &str = "SELECT id FROM segments ORDER BY id LIMIT 1";
        let row: Option<Row> = read!(self, pool => sqlx::query_as(STATE).fetch_optional(pool).await)?;
        if let Some(row) = row
            .as_ref()
            .filter(|row| own.is_some_and(|own| row.0 >= own.0) && now.since(UnixMillis(row.0)) < BEAT_EVERY)
        {
            return Ok(watch(row));
        }
        write!(self, tx => {
            let row: Option<Row> = {
                let mut query = sqlx::QueryBuilder::new(STATE);
                query.push(self.for_update());
                query.build_query_as().fetch_optional(&mut *tx).await?
            };
            let (row, is_new) = match row {
                Some(row) => after(row, own, now, away_max),
                None if own.is_some() => {
                    let why = "the database was replaced while monitors ran".to_string();
                    ((now.0, 0, now.0, Some(now.0), why), true)
                }
                None => {
                    let old: Option<(String,)> = sqlx::query_as(IS_OLD).fetch_optional(&mut *tx).await?;
                    // What nodes hold from before there was a database is not rubbish to it.
                    ((now.0, 0, if old.is_some() { 0 } else { now.0 }, None, String::new()), false)
                }
            };
            sqlx::query(WRITE)
                .bind(row.0)
                .bind(row.1)
                .bind(row.2)
                .bind(row.3)
                .bind(text(&row.4))
                .execute(&mut *tx)
                .await?;
            Watch { is_new, ..watch(&row) }
        })
    }

    /// Whether nothing is collected, and why.
    pub async fn held(&self) -> Result<Option<Held>, StoreError> {
        Ok(self.last_watch().await?.and_then(|watch| watch.held))
    }

    /// What was last written down; nothing in a database in which no monitor ever worked and no recovery. When a monitor gave
    /// its last sign of life is [`Db::monitor_seen`].
    pub async fn last_watch(&self) -> Result<Option<Watch>, StoreError> {
        let row: Option<Row> = read!(self, pool => sqlx::query_as(STATE).fetch_optional(pool).await)?;
        Ok(row.as_ref().map(watch))
    }

    /// Has nothing be collected from now on; `false` when that is so already.
    pub async fn hold_collection(&self, now: UnixMillis, why: &str) -> Result<bool, StoreError> {
        const HOLD: &str = "INSERT INTO network_state (id, beat_ms, gap_from_ms, gap_to_ms, held_ms, held_why, \
             stand_in_ms) VALUES ('network', $1, 0, $1, $1, $2, $1) ON CONFLICT (id) DO UPDATE SET held_ms = excluded.held_ms, \
             held_why = excluded.held_why WHERE network_state.held_ms IS NULL";
        write!(self, tx => {
            sqlx::query(HOLD).bind(now.0).bind(text(why)).execute(&mut *tx).await?.rows_affected() > 0
        })
    }

    /// Lets things be collected again, and forgets what a recovery has found: whoever calls this knows that the database lacks
    /// nothing.
    pub async fn release_collection(&self, now: UnixMillis) -> Result<(), StoreError> {
        write!(self, tx => {
            end_doubt!(tx, now);
        })
    }

    /// Until when somebody watched without a gap: the last sign of life, or the one before the gap that is remembered. 0:
    /// nobody ever did.
    pub(crate) async fn watched_until(&self) -> Result<UnixMillis, StoreError> {
        let row: Option<Row> = read!(self, pool => sqlx::query_as(STATE).fetch_optional(pool).await)?;
        // A gap from long ago was looked into at its time.
        let is_recent =
            |watch: &Watch, to: UnixMillis| watch.held.is_some() || watch.beat.since(to) < BIRTH_KEPT;
        let until = row.as_ref().map(watch).map_or(UnixMillis(0), |watch| match watch.gap {
            Some((from, to)) if is_recent(&watch, to) => from.min(watch.beat),
            _ => watch.beat,
        });
        Ok(until)
    }
}
