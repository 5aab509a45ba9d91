//! Uploads of more blocks than a gateway remembers. Their blocks are recorded as they become durable, which readers and
//! other uploads do not see, and finishing one is one row whatever its size. What is left of finished and of given up
//! ones is cleared away little by little.
//!
//! Those that come in several requests (`tus_uploads`) also name the segments that they rely on, which stay while they last.

use protocol::{ids::SegmentId, time::UnixMillis};
use sqlx::QueryBuilder;

use crate::{
    BlockAt, Db, StoreError,
    db::{read, write},
    rows::{ROWS_PER_STATEMENT, parse, push_list, size},
};

/// Blocks of a long upload that have become durable.
#[derive(Clone, Debug)]
pub struct UploadPart {
    /// Its name, drawn by whoever takes it in.
    pub upload: String,
    /// Whether it is the first part. An upload that was given up meanwhile is not begun again by a later one.
    pub is_first: bool,
    /// The blocks, in segments that are recorded before or in the same call.
    pub blocks: Vec<BlockAt>,
}

/// The upload that was finished first, and the one whose time has been over for longest by `$1`. Each along its own index.
pub(crate) const DONE: &str = "SELECT id FROM (SELECT id FROM long_uploads WHERE finished_ms IS NOT NULL \
     ORDER BY finished_ms LIMIT 1) finished UNION ALL SELECT id FROM (SELECT id FROM long_uploads WHERE due_ms <= $1 \
     ORDER BY due_ms LIMIT 1) late";
pub(crate) const SOME_BLOCKS: &str = "SELECT cid, segment_id FROM blocks WHERE upload_id = $1 LIMIT $2";

impl Db {
    /// Keeps segments and long uploads in progress from being collected before `lease`.
    pub async fn extend_leases(
        &self,
        segments: &[SegmentId],
        uploads: &[String],
        lease: UnixMillis,
    ) -> Result<(), StoreError> {
        if segments.is_empty() && uploads.is_empty() {
            return Ok(());
        }
        write!(self, tx => {
            for part in segments.chunks(ROWS_PER_STATEMENT) {
                let mut query = QueryBuilder::new("UPDATE segments SET due_ms = ");
                query.push_bind(lease.0).push(" WHERE state = 'pending' AND due_ms < ").push_bind(lease.0);
                query.push(" AND id IN ");
                push_list(&mut query, part);
                query.build().execute(&mut *tx).await?;
            }
            for part in uploads.chunks(ROWS_PER_STATEMENT) {
                let mut query = QueryBuilder::new("UPDATE long_uploads SET due_ms = ");
                query.push_bind(lease.0).push(" WHERE due_ms > 0 AND due_ms < ").push_bind(lease.0);
                query.push(" AND id IN ");
                push_list(&mut query, part);
                query.build().execute(&mut *tx).await?;
            }
        })
    }

    /// Clears away what is left of up to `limit` blocks of one long upload that is finished or was given up by `now`: its
    /// blocks become like those of other uploads, or go. `false`: there is none.
    pub async fn clear_long_upload(&self, now: UnixMillis, limit: u32) -> Result<bool, StoreError> {
        const FORGET: [&str; 2] = [
            "DELETE FROM long_upload_segments WHERE upload_id = $1",
            "DELETE FROM long_uploads WHERE id = $1",
        ];
        // Whether it is finished is asked again: its gateway may have finished it since. From here on it may not.
        const GIVE_UP: &str = "UPDATE long_uploads SET due_ms = 0 WHERE id = $1 AND finished_ms IS NULL";
        const STATE: &str = "SELECT finished_ms FROM long_uploads WHERE id = $1 AND \
             (finished_ms IS NOT NULL OR due_ms <= $2)";
        let done: Vec<(String,)> =
            read!(self, pool => sqlx::query_as(DONE).bind(now.0).fetch_all(pool).await)?;
        let Some((id,)) = done.into_iter().next() else { return Ok(false) };
        write!(self, tx => {
            let state: Option<(Option<i64>,)> = {
                let mut query = QueryBuilder::new(STATE);
                query.push(self.for_update());
                query.build_query_as().bind(&id).bind(now.0).fetch_optional(&mut *tx).await?
            };
            if let Some((finished,)) = state {
                sqlx::query(GIVE_UP).bind(&id).execute(&mut *tx).await?;
                let rows: Vec<(String, String)> =
                    sqlx::query_as(SOME_BLOCKS).bind(&id).bind(i64::from(limit)).fetch_all(&mut *tx).await?;
                if rows.is_empty() {
                    for sql in FORGET {
                        sqlx::query(sql).bind(&id).execute(&mut *tx).await?;
                    }
                }
                for part in rows.chunks(ROWS_PER_STATEMENT) {
                    let verb = if finished.is_some() {
                        "UPDATE blocks SET upload_id = NULL WHERE (cid, segment_id) IN ("
                    } else {
                        "DELETE FROM blocks WHERE (cid, segment_id) IN ("
                    };
                    let mut query = QueryBuilder::new(verb);
                    query.push_values(part, |mut row, (cid, segment)| {
                        row.push_bind(cid.clone()).push_bind(segment.clone());
                    });
                    query.push(")");
                    query.build().execute(&mut *tx).await?;
                }
            }
        })?;
        Ok(true)
    }

    /// The segments that a long upload in several requests relies on, as far as they are recorded.
    pub async fn long_upload_segments(&self, upload: &str) -> Result<Vec<SegmentId>, StoreError> {
        const SQL: &str =
            "SELECT segment_id FROM long_upload_segments WHERE upload_id = $1 ORDER BY segment_id";
        let rows: Vec<(String,)> =
            read!(self, pool => sqlx::query_as(SQL).bind(upload).fetch_all(pool).await)?;
        rows.iter().map(|(id,)| parse("segment id", id)).collect()
    }

    /// How many long uploads are recorded, finished or not.
    pub async fn long_uploads(&self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM long_uploads";
        let (count,): (i64,) = read!(self, pool => sqlx::query_as(SQL).fetch_one(pool).await)?;
        size("upload count", count)
    }
}
