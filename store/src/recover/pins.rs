//! Pins that records name, and roots that none names.

use content::Cid;
use protocol::{
    ids::SegmentId,
    record::LOG_OVERLAP_US,
    time::{UnixMicros, UnixMillis},
};
use sqlx::QueryBuilder;

use super::RECOVERED_ACCOUNT;
use crate::{
    Db, PinState, StoreError,
    db::{read, write},
    network_state::end_doubt,
    pin_log::{Change, note_changes},
    pins::STILL_PINNED,
    rows::{millis, parse, push_list, size, sql},
};

/// What is to be done about a pin that records name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "columns of one row")]
pub struct FoundPin {
    /// Its name.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Its root, as the database spells it.
    pub root: String,
    /// Whether it was given as one of version 0.
    pub is_v0: bool,
    /// When it was made.
    pub created: UnixMicros,
    /// When it ends.
    pub expires: Option<UnixMillis>,
    /// Whether it is only held.
    pub held: bool,
    /// Bytes that it counts, and bytes under its root, if that is known.
    pub sizes: Option<(u64, u64)>,
    /// It went after the database was backed up.
    pub is_gone: bool,
    /// It stands in notes alone.
    pub is_note: bool,
}

/// A page of pins that records name.
#[derive(Clone, Debug, Default)]
pub struct PinsTodo {
    /// Those about which there is something to do.
    pub pins: Vec<FoundPin>,
    /// Where the next page starts; `None` behind the last one.
    pub next: Option<String>,
}

/// A root that no record named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Its CID, as the database spells it.
    pub root: String,
}

#[derive(Clone, sqlx::FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "columns of one row")]
struct Row {
    pin_id: String,
    seq_us: i64,
    is_note: bool,
    is_known: bool,
    is_gone: bool,
    account_id: String,
    cid: String,
    is_v0: bool,
    has_id: bool,
    created_us: i64,
    expires_ms: Option<i64>,
    is_held: bool,
    size_bytes: Option<i64>,
    dag_bytes: Option<i64>,
    /// When the database knows that it changed.
    at_us: Option<i64>,
}

/// Has root `$1` need all segments in which what is known to be under it lies (of several with the same block one may turn out
/// bad), and lets everybody read that: a pin says that its upload was finished, though an older database may say that it goes on.
macro_rules! link_root {
    ($tx:ident, $root:expr) => {
        const LINK: &str = concat!(
            "INSERT INTO root_segments (cid, segment_id) ",
            under!(),
            "SELECT DISTINCT CAST($1 AS TEXT), b.segment_id FROM under u JOIN blocks b ON b.cid = u.cid \
             JOIN segments s ON s.id = b.segment_id WHERE s.state <> 'lost' OR NOT EXISTS (SELECT 1 FROM blocks o \
             JOIN segments t ON t.id = o.segment_id AND t.state <> 'lost' WHERE o.cid = u.cid) \
             ON CONFLICT (cid, segment_id) DO NOTHING"
        );
        const WAKE: &str = "UPDATE segments SET state = 'live' WHERE state IN ('pending', 'orphaned') \
             AND id IN (SELECT segment_id FROM root_segments WHERE cid = $1)";
        const FINISHED: &str = concat!(
            under!(),
            "UPDATE blocks SET upload_id = NULL WHERE upload_id IS NOT NULL AND cid IN (SELECT u.cid FROM under u)"
        );
        for sql in [LINK, WAKE, FINISHED] {
            sqlx::query(sql).bind($root).execute(&mut *$tx).await?;
        }
    };
}

/// What is under root `$1`, itself included.
macro_rules! under {
    () => {
        "WITH RECURSIVE under (cid) AS (SELECT CAST($1 AS TEXT) UNION \
         SELECT l.child FROM found_links l JOIN under u ON l.parent = u.cid) "
    };
}

fn found(row: Row) -> Result<FoundPin, StoreError> {
    let sizes = match (row.size_bytes, row.dag_bytes) {
        (Some(bytes), Some(dag)) => Some((size("pin size", bytes)?, size("dag size", dag)?)),
        _ => None,
    };
    Ok(FoundPin {
        id: row.pin_id,
        account: row.account_id,
        root: row.cid,
        is_v0: row.is_v0,
        created: UnixMicros(row.created_us),
        expires: millis(row.expires_ms),
        held: row.is_held,
        sizes,
        is_gone: row.is_gone,
        is_note: row.is_note,
    })
}

impl Db {
    /// Pins that records name behind `after`, in the order of their names, as the last word about each has it.
    pub async fn found_pins(&self, after: &str, limit: u32) -> Result<PinsTodo, StoreError> {
        const IDS: &str = "SELECT DISTINCT pin_id FROM found_pins WHERE pin_id > $1 ORDER BY pin_id LIMIT $2";
        const FROM: &str = "SELECT COALESCE(MAX(from_us), 0) FROM found_log";
        const ROWS: &str = "SELECT f.pin_id, f.seq_us, f.is_note, f.is_known, f.is_gone, f.account_id, f.cid, f.is_v0, \
             f.has_id, f.created_us, f.expires_ms, f.is_held, f.size_bytes, f.dag_bytes, c.at_us FROM found_pins f \
             LEFT JOIN found_changes c ON c.pin_id = f.pin_id WHERE f.pin_id IN ";
        const NAMED: &str = "SELECT pin_id FROM found_pins WHERE cid = $1 AND account_id = $2 AND is_note = FALSE \
             AND seq_us >= $3 LIMIT 1";
        let ids: Vec<(String,)> = read!(self, pool => {
            sqlx::query_as(IDS).bind(after).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        let ids: Vec<String> = ids.into_iter().map(|(id,)| id).collect();
        let Some(next) = ids.last().cloned() else { return Ok(PinsTodo::default()) };
        let (from,): (i64,) = read!(self, pool => sqlx::query_as(FROM).fetch_one(pool).await)?;
        let rows: Vec<Row> = read!(self, pool => {
            let mut query = QueryBuilder::new(ROWS);
            push_list(&mut query, &ids);
            // Of one pin the notes come first, then the log in its order.
            query.push(" ORDER BY f.pin_id, CASE WHEN f.is_note THEN 0 ELSE 1 END, f.seq_us");
            query.build_query_as().fetch_all(pool).await
        })?;
        // Notes from before all pins were last written anew are in the log, or of pins that are gone.
        let notes_from = if from > 0 { from.saturating_add(LOG_OVERLAP_US) } else { 0 };
        let counts = |row: &&Row| if row.is_note { row.created_us >= notes_from } else { row.seq_us >= from };
        let mut pins = Vec::new();
        for about in rows.chunk_by(|one, other| one.pin_id == other.pin_id) {
            let Some(last) = about.iter().rfind(counts).cloned() else { continue };
            let is_older = last.at_us.is_some_and(|at| at > last.seq_us);
            if last.is_known || is_older {
                continue;
            }
            if last.is_note && !last.has_id {
                // Notes without names: whatever the log says of the root and the account is newer.
                let named: Option<(String,)> = read!(self, pool => {
                    let query = sqlx::query_as(NAMED).bind(&last.cid).bind(&last.account_id).bind(from);
                    query.fetch_optional(pool).await
                })?;
                if named.is_some() {
                    continue;
                }
            }
            pins.push(found(last)?);
        }
        Ok(PinsTodo { pins, next: Some(next) })
    }

    /// Segments that this recovery has not read and that hold blocks under a root, so that more may be under it than is known.
    pub async fn unread_under(&self, root: &str, limit: u32) -> Result<Vec<SegmentId>, StoreError> {
        const SQL: &str = concat!(
            under!(),
            "SELECT DISTINCT b.segment_id FROM under u JOIN blocks b ON b.cid = u.cid \
             WHERE NOT EXISTS (SELECT 1 FROM found_segments f WHERE f.id = b.segment_id) \
             AND EXISTS (SELECT 1 FROM found_pieces p WHERE p.segment_id = b.segment_id) LIMIT $2"
        );
        let rows: Vec<(String,)> = read!(self, pool => {
            sqlx::query_as(SQL).bind(root).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.iter().map(|(id,)| parse("segment id", id)).collect()
    }

    /// How many blocks under a root lie nowhere where this recovery has read them, so that more may be missing under them; and the
    /// bytes of all that are known, each counted once.
    pub async fn measure_under(&self, root: &str) -> Result<(u64, u64), StoreError> {
        const SQL: &str = concat!(
            under!(),
            "SELECT CAST(COALESCE(SUM(CASE WHEN n.is_read THEN 0 ELSE 1 END), 0) AS BIGINT), \
             CAST(COALESCE(SUM(n.bytes), 0) AS BIGINT) FROM (SELECT u.cid, \
             (SELECT MAX(b.length_bytes) FROM blocks b WHERE b.cid = u.cid) AS bytes, \
             EXISTS (SELECT 1 FROM blocks b JOIN segments s ON s.id = b.segment_id AND s.state <> 'lost' \
             JOIN found_segments f ON f.id = b.segment_id AND f.kind <> 'unread' WHERE b.cid = u.cid) AS is_read \
             FROM under u) n"
        );
        let (missing, bytes): (i64, i64) =
            read!(self, pool => sqlx::query_as(SQL).bind(root).fetch_one(pool).await)?;
        Ok((size("block count", missing)?, size("dag size", bytes)?))
    }

    /// Makes a pin again, unless it is there, and has its root need the segments in which what is known to be under it lies.
    /// `true`: it is new.
    pub async fn restore_pin(
        &self,
        pin: &FoundPin,
        sizes: (u64, u64),
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        const ACCOUNT: &str = "INSERT INTO accounts (id, name, quota_bytes, created_ms) VALUES ($1, 'recovered', $2, $3) \
             ON CONFLICT (id) DO NOTHING";
        const LOCK: &str = "SELECT id FROM accounts WHERE id = $1";
        const INSERT: &str = "INSERT INTO pins (id, account_id, cid, is_v0, name, size_bytes, created_us, expires_ms, state) \
             VALUES ($1, $2, $3, $4, '', $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING";
        const END: &str = "UPDATE pins SET expires_ms = $2 WHERE id = $1 AND state = $3";
        const CHARGE: &str = "UPDATE accounts SET used_bytes = used_bytes + $2 WHERE id = $1";
        const ROOT: &str = "INSERT INTO roots (cid, size_bytes, dag_size_bytes, created_ms, pins) VALUES ($1, $2, $3, $4, 1) \
             ON CONFLICT (cid) DO UPDATE SET pins = roots.pins + 1";
        let state = if pin.held { PinState::Held } else { PinState::Pinned };
        write!(self, tx => {
            sqlx::query(ACCOUNT).bind(&pin.account).bind(i64::MAX).bind(now.0).execute(&mut *tx).await?;
            let mut query = QueryBuilder::new(LOCK);
            query.push(self.for_update());
            let _locked: Option<(String,)> = query.build_query_as().bind(&pin.account).fetch_optional(&mut *tx).await?;
            let other: Option<(String,)> =
                sqlx::query_as(STILL_PINNED).bind(&pin.account).bind(&pin.root).fetch_optional(&mut *tx).await?;
            let is_new = sqlx::query(INSERT)
                .bind(&pin.id)
                .bind(&pin.account)
                .bind(&pin.root)
                .bind(pin.is_v0)
                .bind(sql(sizes.0))
                .bind(pin.created.0)
                .bind(pin.expires.map(|at| at.0))
                .bind(state.as_str())
                .execute(&mut *tx)
                .await?
                .rows_affected() > 0;
            if !is_new && !pin.is_note {
                // The log knows of a later end than an old database.
                sqlx::query(END).bind(&pin.id).bind(pin.expires.map(|at| at.0)).bind(state.as_str()).execute(&mut *tx).await?;
            }
            if is_new {
                // An account pays for a root once, and for each thing that it holds.
                if pin.held || other.is_none() {
                    sqlx::query(CHARGE).bind(&pin.account).bind(sql(sizes.0)).execute(&mut *tx).await?;
                }
                sqlx::query(ROOT)
                    .bind(&pin.root)
                    .bind(sql(sizes.0))
                    .bind(sql(sizes.1))
                    .bind(pin.created.millis().0)
                    .execute(&mut *tx)
                    .await?;
                if pin.is_note {
                    let change = [(Change::Is(None), pin.id.as_str(), pin.account.as_str(), pin.root.as_str())];
                    note_changes!(tx, change, now.micros());
                }
            }
            link_root!(tx, &pin.root);
            is_new
        })
    }

    /// Notes whether blocks are missing under a root: a later run looks again.
    pub async fn note_incomplete(&self, root: &str, is_incomplete: bool) -> Result<(), StoreError> {
        let sql = if is_incomplete {
            "INSERT INTO found_incomplete (cid) VALUES ($1) ON CONFLICT (cid) DO NOTHING"
        } else {
            "DELETE FROM found_incomplete WHERE cid = $1"
        };
        write!(self, tx => {
            sqlx::query(sql).bind(root).execute(&mut *tx).await?;
        })
    }

    /// Roots under which blocks were missing, behind `after`.
    pub async fn incomplete_roots(&self, after: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        const SQL: &str = "SELECT cid FROM found_incomplete WHERE cid > $1 ORDER BY cid LIMIT $2";
        let rows: Vec<(String,)> = read!(self, pool => {
            sqlx::query_as(SQL).bind(after).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(|(root,)| root).collect())
    }

    /// Has a root need the segments in which what is known to be under it lies, if it is pinned still. `false`: it is not.
    pub async fn relink_root(&self, root: &str) -> Result<bool, StoreError> {
        const PINNED: &str = "SELECT cid FROM roots WHERE cid = $1";
        write!(self, tx => {
            let mut query = QueryBuilder::new(PINNED);
            query.push(self.for_update());
            let pinned: Option<(String,)> = query.build_query_as().bind(root).fetch_optional(&mut *tx).await?;
            if pinned.is_some() {
                link_root!(tx, root);
            }
            pinned.is_some()
        })
    }

    /// Blocks of segments that were restored to which nothing leads, behind `after`: no block links them, no pin is of them,
    /// and nobody removed one.
    pub async fn unclaimed_roots(&self, after: &str, limit: u32) -> Result<Vec<Adopted>, StoreError> {
        const SQL: &str = "SELECT DISTINCT b.cid FROM blocks b JOIN found_segments f ON f.id = b.segment_id AND f.kind = 'restored' \
             WHERE b.cid > $1 AND NOT EXISTS (SELECT 1 FROM found_links l WHERE l.child = b.cid) \
             AND NOT EXISTS (SELECT 1 FROM roots r WHERE r.cid = b.cid) \
             AND NOT EXISTS (SELECT 1 FROM found_pins g WHERE g.cid = b.cid AND g.is_gone = TRUE) \
             AND NOT EXISTS (SELECT 1 FROM found_changes c WHERE c.cid = b.cid AND c.at_us = $3) ORDER BY b.cid LIMIT $2";
        let rows: Vec<(String,)> = read!(self, pool => {
            sqlx::query_as(SQL).bind(after).bind(i64::from(limit)).bind(i64::MAX).fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(|(root,)| Adopted { root }).collect())
    }

    /// Pins that an earlier run made of roots to which nothing led then, and that lie under others as is known by now. What else is
    /// pinned in that account somebody has pinned there.
    pub async fn mistaken_adoptions(&self, after: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        const SQL: &str = "SELECT p.id FROM pins p WHERE p.id > $1 AND p.account_id = $2 AND p.id = p.account_id || '.' || p.cid \
             AND EXISTS (SELECT 1 FROM found_links l WHERE l.child = p.cid) ORDER BY p.id LIMIT $3";
        let rows: Vec<(String,)> = read!(self, pool => {
            sqlx::query_as(SQL)
                .bind(after)
                .bind(RECOVERED_ACCOUNT)
                .bind(i64::from(limit))
                .fetch_all(pool)
                .await
        })?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Ends a recovery: restored segments that no pin needs are orphans from now on, and the log goes on behind what was found
    /// of it. `all`: nothing is left to be found, so that what was put down goes, and things are collected again.
    pub async fn end_recovery(&self, all: bool, now: UnixMillis, due: UnixMillis) -> Result<u64, StoreError> {
        const ORPHANS: &str = "UPDATE segments SET state = 'orphaned', due_ms = $1 WHERE state = 'pending' \
             AND id IN (SELECT id FROM found_segments WHERE kind = 'restored') \
             AND NOT EXISTS (SELECT 1 FROM root_segments o WHERE o.segment_id = segments.id)";
        const LAST: &str = "SELECT COALESCE(MAX(seq_us), 0), COALESCE(MAX(from_us), 0) FROM found_log";
        const GO_ON: &str = "UPDATE pin_log SET seq_us = CASE WHEN seq_us < $1 THEN $1 ELSE seq_us END, \
             from_us = CASE WHEN from_us < $2 THEN $2 ELSE from_us END WHERE id = 'log'";
        write!(self, tx => {
            let orphans = sqlx::query(ORPHANS).bind(due.0).execute(&mut *tx).await?.rows_affected();
            let (seq, from): (i64, i64) = sqlx::query_as(LAST).fetch_one(&mut *tx).await?;
            sqlx::query(GO_ON).bind(seq).bind(from).execute(&mut *tx).await?;
            if all {
                end_doubt!(tx, now);
            }
            orphans
        })
    }
}

impl FoundPin {
    /// A pin of a root that no record names.
    pub fn adopted(root: &Adopted, now: UnixMicros) -> Self {
        Self {
            id: format!("{RECOVERED_ACCOUNT}.{}", root.root),
            account: RECOVERED_ACCOUNT.into(),
            root: root.root.clone(),
            is_v0: false,
            created: now,
            expires: None,
            held: false,
            sizes: None,
            is_gone: false,
            is_note: true,
        }
    }

    /// Its root.
    pub fn cid(&self) -> Result<Cid, StoreError> {
        parse("pin cid", &self.root)
    }
}
