//! Uploads that come in several requests: how far each has come, and which request writes to it. Their blocks are those of
//! the long upload of the same id.
//!
//! What is recorded of an upload never runs ahead of what is durable: an offset is written together with the builder's
//! state at that offset, after the blocks up to there, and by nobody but the request that holds the upload's claim.

mod upload;

use data_encoding::BASE64;
use protocol::time::UnixMillis;
use sqlx::QueryBuilder;

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{ROWS_PER_STATEMENT, push_list, runs, size, sql},
};
pub use upload::{
    ClaimedTus, NewTusUpload, TusBegun, TusClaim, TusKind, TusPiece, TusProgress, TusRecorded, TusUpload,
};
use upload::{TusRow, upload};

/// Builder, tail, and the last request's offset and hash.
type ProgressRow = (String, String, Option<i64>, Option<String>);

/// What a [`TusUpload`] is read from. A macro, because statements are put together while this is compiled.
macro_rules! columns {
    () => {
        "id, account_id, kind, parts, metadata, profile, hash, notes, whole_pieces, length_bytes, \
         offset_bytes, root, dag_size_bytes, created_ms, due_ms, finished_ms"
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
/// Uploads whose time is over by `$1`, the longest first, unless somebody writes to them.
pub(crate) const OVER: &str = "SELECT id FROM tus_uploads WHERE due_ms <= $1 AND claimed_until_ms <= $1 \
     ORDER BY due_ms LIMIT $2";
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
        const INSERT: &str = "INSERT INTO tus_uploads (id, account_id, kind, parts, metadata, profile, hash, \
             notes, whole_pieces, length_bytes, offset_bytes, dag_size_bytes, created_ms, due_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, $11, $12)";
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
                    .bind(&new.profile)
                    .bind(&new.hash)
                    .bind(&new.notes)
                    .bind(new.whole_pieces)
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
        const PROGRESS: &str =
            "SELECT builder, tail, piece_offset, piece_hash FROM tus_progress WHERE upload_id = $1";
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
                let found: Option<ProgressRow> =
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
        let (builder, tail, piece_offset, piece_hash) = progress.unwrap_or_default();
        let (builder, tail) = (bytes("builder state", &builder)?, bytes("tail", &tail)?);
        let piece = match piece_offset.zip(piece_hash) {
            Some((offset, hash)) => Some(TusPiece { offset_bytes: size("piece offset", offset)?, hash }),
            None => None,
        };
        Ok(TusClaim::Claimed(Box::new(ClaimedTus { upload: upload(row)?, builder, tail, piece })))
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
        const KEEP: &str = "INSERT INTO tus_progress (upload_id, builder, tail, piece_offset, piece_hash) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (upload_id) DO UPDATE SET builder = excluded.builder, \
             tail = excluded.tail, piece_offset = excluded.piece_offset, piece_hash = excluded.piece_hash";
        let (builder, tail) = (BASE64.encode(&progress.builder), BASE64.encode(&progress.tail));
        let piece = progress.piece.as_ref();
        // As it is written, so that the pin has the same version.
        let root = progress.root.as_ref().map(|(root, _)| root.as_written().to_string());
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
                sqlx::query(KEEP)
                    .bind(id)
                    .bind(&builder)
                    .bind(&tail)
                    .bind(piece.map(|piece| sql(piece.offset_bytes)))
                    .bind(piece.map(|piece| piece.hash.as_str()))
                    .execute(&mut *tx)
                    .await?;
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
