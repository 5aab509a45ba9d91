//! Uploads that come in several requests: how far each has come, and which request writes to it. Their blocks are those of
//! the long upload of the same id.
//!
//! What is recorded of an upload never runs ahead of what is durable: an offset is written together with the builder's
//! state at that offset, after the blocks up to there, and by nobody but the request that holds the upload's claim.

use std::str::FromStr;

use content::Cid;
use data_encoding::BASE64;
use protocol::{ids::SegmentId, time::UnixMillis};
use sqlx::QueryBuilder;

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{ROWS_PER_STATEMENT, millis, parse, push_list, runs, size, sql},
};

/// What an upload is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TusKind {
    /// It becomes a file.
    Plain,
    /// It becomes part of another one.
    Partial,
    /// It is put together of others.
    Final,
}

impl TusKind {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Partial => "partial",
            Self::Final => "final",
        }
    }
}

impl FromStr for TusKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Plain, Self::Partial, Self::Final].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// An upload that begins.
#[derive(Clone, Debug)]
pub struct NewTusUpload {
    /// Its name, which nobody can guess; that of its long upload too.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// What it is for.
    pub kind: TusKind,
    /// Of a final one: what it is put together of, as the client said it.
    pub parts: String,
    /// What the client said of it, as it said it.
    pub metadata: String,
    /// Hash function of its blocks.
    pub hash: String,
    /// Its length, if it is known.
    pub length_bytes: Option<u64>,
    /// When it ends unless it goes on.
    pub due: UnixMillis,
}

/// An upload as it is recorded, but for its builder and tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TusUpload {
    /// Its name.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// What it is for.
    pub kind: TusKind,
    /// Of a final one: what it is put together of, as the client said it.
    pub parts: String,
    /// What the client said of it, as it said it.
    pub metadata: String,
    /// Hash function of its blocks.
    pub hash: String,
    /// Its length, if it is known.
    pub length_bytes: Option<u64>,
    /// Bytes that are durable.
    pub offset_bytes: u64,
    /// Its root and the bytes of all blocks under it, once all its bytes are durable.
    pub root: Option<(Cid, u64)>,
    /// When it began.
    pub created: UnixMillis,
    /// When it ends unless it goes on.
    pub due: UnixMillis,
    /// When it was pinned; of a partial one, when all its bytes were there.
    pub finished: Option<UnixMillis>,
}

/// An upload that a request may write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedTus {
    /// The upload.
    pub upload: TusUpload,
    /// State of its builder; empty when there is none yet.
    pub builder: Vec<u8>,
    /// The bytes behind its last whole leaf.
    pub tail: Vec<u8>,
}

/// Whether an upload could begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TusBegun {
    /// It did.
    Yes,
    /// Too many of the account are not finished.
    TooMany,
    /// The account has no room for it and for those that are not finished.
    QuotaExceeded,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TusClaim {
    /// The upload is the caller's to write to.
    Claimed(Box<ClaimedTus>),
    /// Another request writes. It is told that this one wants to.
    Held,
    /// There is no such upload, or its time is over.
    Unknown,
}

/// How far an upload has come.
#[derive(Clone, Debug, Default)]
pub struct TusProgress {
    /// Bytes that are durable with what is in here.
    pub offset_bytes: u64,
    /// The upload's length, if it is known by now.
    pub length_bytes: Option<u64>,
    /// State of the builder.
    pub builder: Vec<u8>,
    /// The bytes behind its last whole leaf.
    pub tail: Vec<u8>,
    /// Segments with blocks of it, those that are recorded with earlier progress need not be among them.
    pub segments: Vec<SegmentId>,
    /// Its root and the bytes of all blocks under it, once all is there.
    pub root: Option<(Cid, u64)>,
}

/// What became of progress that was to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TusRecorded {
    /// It is recorded.
    Yes,
    /// The upload is another request's by now, or it is gone.
    ClaimLost,
    /// A segment was collected or lost meanwhile.
    SegmentGone,
}

type TusRow = (
    String,
    String,
    String,
    String,
    String,
    String,
    Option<i64>,
    i64,
    Option<String>,
    i64,
    i64,
    i64,
    Option<i64>,
);

/// What a [`TusUpload`] is read from. A macro, because statements are put together while this is compiled.
macro_rules! columns {
    () => {
        "id, account_id, kind, parts, metadata, hash, length_bytes, offset_bytes, root, dag_size_bytes, \
         created_ms, due_ms, finished_ms"
    };
}

pub(crate) const SHOW: &str = concat!("SELECT ", columns!(), " FROM tus_uploads WHERE id = $1");
/// How many uploads of account `$1` are not finished by `$2`, and how many bytes they and finished parts are or will be.
/// What is put together of parts has the bytes of these.
pub(crate) const OPEN: &str = "SELECT COALESCE(SUM(CASE WHEN finished_ms IS NULL THEN 1 ELSE 0 END), 0), \
     CAST(COALESCE(SUM(CASE WHEN kind = 'final' OR (finished_ms IS NOT NULL AND kind = 'plain') THEN 0 \
     WHEN length_bytes > offset_bytes THEN length_bytes ELSE offset_bytes END), 0) AS BIGINT) \
     FROM tus_uploads WHERE account_id = $1 AND due_ms > $2";
const FREE: &str = "SELECT quota_bytes - used_bytes FROM accounts WHERE id = $1";
/// Uploads whose time is over by `$1`, unless somebody writes to them.
pub(crate) const OVER: &str =
    "SELECT id FROM tus_uploads WHERE due_ms <= $1 AND claimed_until_ms <= $1 LIMIT $2";
const CLAIM: &str = concat!(
    "UPDATE tus_uploads SET claim = $2, claimed_until_ms = $4, wanted_ms = 0 \
     WHERE id = $1 AND due_ms > $3 AND claimed_until_ms <= $3 RETURNING ",
    columns!()
);

/// Locks segments and keeps them from being collected before `lease`; gives how many of them there still are.
macro_rules! keep_segments {
    ($db:expr, $tx:ident, $segments:expr, $lease:expr) => {{
        let mut found = 0;
        for part in $segments.chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new("SELECT id FROM segments WHERE state <> 'lost' AND id IN ");
            push_list(&mut query, part);
            query.push(" ORDER BY id").push($db.for_update());
            let rows: Vec<(String,)> = query.build_query_as().fetch_all(&mut *$tx).await?;
            found += rows.len();
            // Moved, so that a collector that waits for these rows looks at them again.
            let mut query = QueryBuilder::new("UPDATE segments SET due_ms = ");
            query.push_bind($lease.0).push(" WHERE due_ms < ").push_bind($lease.0).push(" AND id IN ");
            push_list(&mut query, part);
            query.build().execute(&mut *$tx).await?;
        }
        found
    }};
}

fn upload(row: TusRow) -> Result<TusUpload, StoreError> {
    let (id, account, kind, parts, metadata, hash, length, offset, root, dag_size, created, due, finished) =
        row;
    let root = match root {
        Some(root) => Some((parse("upload root", &root)?, size("dag size", dag_size)?)),
        None => None,
    };
    Ok(TusUpload {
        id,
        account,
        kind: parse("upload kind", &kind)?,
        parts,
        metadata,
        hash,
        length_bytes: length.map(|length| size("upload length", length)).transpose()?,
        offset_bytes: size("upload offset", offset)?,
        root,
        created: UnixMillis(created),
        due: UnixMillis(due),
        finished: millis(finished),
    })
}

fn bytes(what: &'static str, text: &str) -> Result<Vec<u8>, StoreError> {
    BASE64.decode(text.as_bytes()).map_err(|error| StoreError::Malformed { what, value: error.to_string() })
}

impl Db {
    /// Begins an upload, if the account has fewer than `account_max` that are not finished, and room for them and this one.
    /// Several that begin at the same moment may be a few more.
    pub async fn create_tus_upload(
        &self,
        new: &NewTusUpload,
        account_max: u64,
        now: UnixMillis,
    ) -> Result<TusBegun, StoreError> {
        const INSERT: &str = "INSERT INTO tus_uploads (id, account_id, kind, parts, metadata, hash, length_bytes, \
             offset_bytes, dag_size_bytes, created_ms, due_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, $8, $9)";
        const LONG: &str = "INSERT INTO long_uploads (id, due_ms) VALUES ($1, $2)";
        write!(self, tx => {
            let (open, open_bytes): (i64, i64) =
                sqlx::query_as(OPEN).bind(&new.account).bind(now.0).fetch_one(&mut *tx).await?;
            let free: Option<(i64,)> = sqlx::query_as(FREE).bind(&new.account).fetch_optional(&mut *tx).await?;
            let wanted = if new.kind == TusKind::Final { 0 } else { sql(new.length_bytes.unwrap_or(0)) };
            let outcome = if open >= sql(account_max) {
                TusBegun::TooMany
            } else if free.is_none_or(|(free,)| open_bytes.saturating_add(wanted) > free) {
                TusBegun::QuotaExceeded
            } else {
                TusBegun::Yes
            };
            if outcome == TusBegun::Yes {
                sqlx::query(LONG).bind(&new.id).bind(new.due.0).execute(&mut *tx).await?;
                sqlx::query(INSERT)
                    .bind(&new.id)
                    .bind(&new.account)
                    .bind(new.kind.as_str())
                    .bind(&new.parts)
                    .bind(&new.metadata)
                    .bind(&new.hash)
                    .bind(new.length_bytes.map(sql))
                    .bind(now.0)
                    .bind(new.due.0)
                    .execute(&mut *tx)
                    .await?;
            }
            outcome
        })
    }

    /// One upload.
    pub async fn tus_upload(&self, id: &str) -> Result<Option<TusUpload>, StoreError> {
        let row: Option<TusRow> =
            read!(self, pool => sqlx::query_as(SHOW).bind(id).fetch_optional(pool).await)?;
        row.map(upload).transpose()
    }

    /// Makes an upload the caller's to write to until `until`, under a name of the caller's that is used once.
    pub async fn claim_tus_upload(
        &self,
        id: &str,
        claim: &str,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Result<TusClaim, StoreError> {
        const WANT: &str = "UPDATE tus_uploads SET wanted_ms = $2 WHERE id = $1 AND due_ms > $2";
        const PROGRESS: &str = "SELECT builder, tail FROM tus_progress WHERE upload_id = $1";
        let (row, progress, is_held) = write!(self, tx => {
            let row: Option<TusRow> = sqlx::query_as(CLAIM)
                .bind(id)
                .bind(claim)
                .bind(now.0)
                .bind(until.0)
                .fetch_optional(&mut *tx)
                .await?;
            let (mut progress, mut is_held) = (None, false);
            if row.is_some() {
                let found: Option<(String, String)> =
                    sqlx::query_as(PROGRESS).bind(id).fetch_optional(&mut *tx).await?;
                progress = found;
            } else {
                is_held = sqlx::query(WANT).bind(id).bind(now.0).execute(&mut *tx).await?.rows_affected() > 0;
            }
            (row, progress, is_held)
        })?;
        let Some(row) = row else {
            return Ok(if is_held { TusClaim::Held } else { TusClaim::Unknown });
        };
        let (builder, tail) = progress.unwrap_or_default();
        let (builder, tail) = (bytes("builder state", &builder)?, bytes("tail", &tail)?);
        Ok(TusClaim::Claimed(Box::new(ClaimedTus { upload: upload(row)?, builder, tail })))
    }

    /// A sign of life from the request that writes: its claim holds until `until`. Gives when another request last wanted
    /// to write; `None` when the claim is lost.
    pub async fn hold_tus_upload(
        &self,
        id: &str,
        claim: &str,
        until: UnixMillis,
    ) -> Result<Option<UnixMillis>, StoreError> {
        const SQL: &str = "UPDATE tus_uploads SET claimed_until_ms = $3 WHERE id = $1 AND claim = $2 \
             AND claimed_until_ms > 0 RETURNING wanted_ms";
        let row: Option<(i64,)> = write!(self, tx => {
            sqlx::query_as(SQL).bind(id).bind(claim).bind(until.0).fetch_optional(&mut *tx).await?
        })?;
        Ok(row.map(|(wanted,)| UnixMillis(wanted)))
    }

    /// Gives a claim up.
    pub async fn release_tus_upload(&self, id: &str, claim: &str) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE tus_uploads SET claimed_until_ms = 0 WHERE id = $1 AND claim = $2";
        write!(self, tx => {
            sqlx::query(SQL).bind(id).bind(claim).execute(&mut *tx).await?;
        })
    }

    /// Records how far an upload has come, whose blocks up to there are recorded already. It ends at `due` unless it goes
    /// on; nobody collects its new segments before `lease`, nor while it lasts.
    pub async fn record_tus_progress(
        &self,
        id: &str,
        claim: &str,
        progress: &TusProgress,
        now: UnixMillis,
        lease: UnixMillis,
        due: UnixMillis,
    ) -> Result<TusRecorded, StoreError> {
        const RENEW: &str = "UPDATE long_uploads SET due_ms = CASE WHEN due_ms < $2 THEN $2 ELSE due_ms END \
             WHERE id = $1 AND due_ms > 0 AND finished_ms IS NULL";
        // A partial one is finished with its last byte, any other one when it is pinned.
        const RECORD: &str = "UPDATE tus_uploads SET offset_bytes = $3, length_bytes = $4, root = $5, \
             dag_size_bytes = $6, due_ms = $7, finished_ms = CASE WHEN $5 IS NOT NULL AND kind = 'partial' \
             THEN CAST($8 AS BIGINT) ELSE NULL END WHERE id = $1 AND claim = $2 AND claimed_until_ms > 0 \
             AND finished_ms IS NULL";
        const KEEP: &str = "INSERT INTO tus_progress (upload_id, builder, tail) VALUES ($1, $2, $3) \
             ON CONFLICT (upload_id) DO UPDATE SET builder = excluded.builder, tail = excluded.tail";
        let (builder, tail) = (BASE64.encode(&progress.builder), BASE64.encode(&progress.tail));
        let root = progress.root.as_ref().map(|(root, _)| root.to_string());
        let dag_size = progress.root.as_ref().map_or(0, |(_, size)| sql(*size));
        let mut segments = progress.segments.clone();
        segments.sort_unstable();
        segments.dedup();
        write!(self, tx => {
            let found = keep_segments!(self, tx, segments, lease);
            let lasts = sqlx::query(RENEW).bind(id).bind(due.0).execute(&mut *tx).await?.rows_affected() > 0;
            let mut outcome = TusRecorded::Yes;
            if found < segments.len() {
                outcome = TusRecorded::SegmentGone;
            } else if !lasts {
                outcome = TusRecorded::ClaimLost;
            }
            if outcome == TusRecorded::Yes {
                let recorded = sqlx::query(RECORD)
                    .bind(id)
                    .bind(claim)
                    .bind(sql(progress.offset_bytes))
                    .bind(progress.length_bytes.map(sql))
                    .bind(&root)
                    .bind(dag_size)
                    .bind(due.0)
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await?
                    .rows_affected();
                if recorded == 0 {
                    outcome = TusRecorded::ClaimLost;
                }
            }
            if outcome == TusRecorded::Yes {
                sqlx::query(KEEP).bind(id).bind(&builder).bind(&tail).execute(&mut *tx).await?;
                for part in runs(&segments) {
                    let mut query = QueryBuilder::new("INSERT INTO long_upload_segments (upload_id, segment_id) ");
                    query.push_values(part, |mut row, segment| {
                        row.push_bind(id.to_string()).push_bind(segment.to_string());
                    });
                    query.push(" ON CONFLICT (upload_id, segment_id) DO NOTHING");
                    query.build().execute(&mut *tx).await?;
                }
            }
            outcome
        })
    }

    /// Has uploads last until `due` at least; `false` when one of them is gone.
    pub async fn extend_tus_uploads(&self, ids: &[String], due: UnixMillis) -> Result<bool, StoreError> {
        const EXTEND: &str = "UPDATE tus_uploads SET due_ms = CASE WHEN due_ms < $2 THEN $2 ELSE due_ms END \
             WHERE id = $1";
        const EXTEND_LONG: &str = "UPDATE long_uploads SET due_ms = CASE WHEN due_ms < $2 THEN $2 ELSE due_ms END \
             WHERE id = $1 AND due_ms > 0";
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        write!(self, tx => {
            let mut all = true;
            for id in &ids {
                for sql in [EXTEND_LONG, EXTEND] {
                    all &= sqlx::query(sql).bind(id).bind(due.0).execute(&mut *tx).await?.rows_affected() > 0;
                }
            }
            all
        })
    }

    /// Ends an upload and forgets it. What it stored is cleared away with its long upload, unless that is finished.
    pub async fn remove_tus_upload(&self, id: &str) -> Result<bool, StoreError> {
        const GIVE_UP: &str = "UPDATE long_uploads SET due_ms = 0 WHERE id = $1 AND finished_ms IS NULL";
        const DELETE: &str = "DELETE FROM tus_uploads WHERE id = $1";
        write!(self, tx => {
            sqlx::query(GIVE_UP).bind(id).execute(&mut *tx).await?;
            let gone = sqlx::query(DELETE).bind(id).execute(&mut *tx).await?.rows_affected() > 0;
            sqlx::query(FORGET_PROGRESS).bind(id).execute(&mut *tx).await?;
            gone
        })
    }

    /// Forgets up to `limit` uploads whose time is over by `now`; `true` when there may be more. What they stored is
    /// cleared away with their long uploads.
    pub async fn clear_tus_uploads(&self, now: UnixMillis, limit: u32) -> Result<bool, StoreError> {
        // Asked again: the upload may have gone on since.
        const DELETE: &str =
            "DELETE FROM tus_uploads WHERE id = $1 AND due_ms <= $2 AND claimed_until_ms <= $2";
        let over: Vec<(String,)> = read!(self, pool => {
            sqlx::query_as(OVER).bind(now.0).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        for (id,) in &over {
            write!(self, tx => {
                let gone = sqlx::query(DELETE).bind(id).bind(now.0).execute(&mut *tx).await?.rows_affected() > 0;
                if gone {
                    sqlx::query(FORGET_PROGRESS).bind(id).execute(&mut *tx).await?;
                }
            })?;
        }
        Ok(over.len() >= limit as usize)
    }
}

const FORGET_PROGRESS: &str = "DELETE FROM tus_progress WHERE upload_id = $1";
