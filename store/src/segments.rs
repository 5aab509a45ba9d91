//! Life of segments: walking over them, losing and finding them, collecting what nobody needs.

use std::str::FromStr;

use protocol::{ids::SegmentId, time::UnixMillis};
use sqlx::QueryBuilder;

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{parse, size},
    unpins::queue_unpins,
};

/// A lost segment can be read again. The root that needed it may be gone by now.
pub(crate) const NOT_LOST: &str = "UPDATE segments SET state = CASE WHEN EXISTS \
     (SELECT 1 FROM root_segments o WHERE o.segment_id = segments.id) THEN 'live' ELSE 'orphaned' END \
     WHERE id = $1 AND state = 'lost'";

/// Where a segment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Its upload is in progress.
    Pending,
    /// Some pinned root needs it.
    Live,
    /// No pinned root needs it; it is collected when its time has come.
    Orphaned,
    /// Too few pieces are left to read it. It stays so when no pinned root needs it any more, and is collected then.
    Lost,
}

impl SegmentState {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Live => "live",
            Self::Orphaned => "orphaned",
            Self::Lost => "lost",
        }
    }
}

impl FromStr for SegmentState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Pending, Self::Live, Self::Orphaned, Self::Lost]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// Segments that no pinned root and no upload in several requests needs by `$1`.
pub(crate) const COLLECTABLE: &str = "SELECT id FROM segments WHERE state IN ('pending', 'orphaned', 'lost') \
     AND due_ms <= $1 AND NOT EXISTS (SELECT 1 FROM root_segments o WHERE o.segment_id = segments.id) \
     AND NOT EXISTS (SELECT 1 FROM long_upload_segments u WHERE u.segment_id = segments.id) LIMIT $2";

impl Db {
    /// Segment names in order, behind `after`, for walks over everything.
    pub async fn segments_after(
        &self,
        after: Option<SegmentId>,
        limit: u32,
    ) -> Result<Vec<(SegmentId, SegmentState)>, StoreError> {
        const SQL: &str = "SELECT id, state FROM segments WHERE id > $1 ORDER BY id LIMIT $2";
        let after = after.map_or_else(String::new, |id| id.to_string());
        let rows: Vec<(String, String)> = read!(self, pool => {
            sqlx::query_as(SQL).bind(&after).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.iter()
            .map(|(id, state)| Ok((parse("segment id", id)?, parse("segment state", state)?)))
            .collect()
    }

    /// Records that a live segment cannot be read any more, or that a lost one can again; `false`: nothing changed.
    pub async fn set_lost(&self, id: SegmentId, lost: bool) -> Result<bool, StoreError> {
        const LOCK: &str = "SELECT id FROM segments WHERE id = $1 FOR UPDATE";
        // Never to be collected, until no root needs it: whoever looks for what is due does not come by it each time.
        const LOSE: &str = "UPDATE segments SET state = 'lost', due_ms = 9223372036854775807 \
             WHERE id = $1 AND state = 'live'";
        let sql = if lost { LOSE } else { NOT_LOST };
        let id = id.to_string();
        write!(self, tx => {
            if self.locks_rows() {
                sqlx::query(LOCK).bind(&id).execute(&mut *tx).await?;
            }
            sqlx::query(sql).bind(&id).execute(&mut *tx).await?.rows_affected() > 0
        })
    }

    /// Segments that nobody needs and whose time has come.
    pub async fn collectable_segments(
        &self,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<SegmentId>, StoreError> {
        let rows: Vec<(String,)> = read!(self, pool => {
            sqlx::query_as(COLLECTABLE).bind(now.0).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.iter().map(|(id,)| parse("segment id", id)).collect()
    }

    /// Removes a segment with all that hangs on it, if it is still collectable; its pieces are queued to be dropped.
    pub async fn collect_segment(&self, id: SegmentId, now: UnixMillis) -> Result<bool, StoreError> {
        // No root can come to need a lost segment, so that those it has may be counted in the same statement. An upload that
        // comes to need one moves its time as well.
        const DELETE: &str = "DELETE FROM segments WHERE id = $1 AND due_ms <= $2 \
             AND state IN ('pending', 'orphaned', 'lost') \
             AND NOT EXISTS (SELECT 1 FROM root_segments o WHERE o.segment_id = segments.id) \
             AND NOT EXISTS (SELECT 1 FROM long_upload_segments u WHERE u.segment_id = segments.id)";
        // What it returns is what was there when it went: a piece that was moved a moment ago is dropped where it is now.
        const PIECES: &str = "DELETE FROM pieces WHERE segment_id = $1 RETURNING node_id, hash";
        let id = id.to_string();
        write!(self, tx => {
            let deleted = sqlx::query(DELETE).bind(&id).bind(now.0).execute(&mut *tx).await?.rows_affected() > 0;
            if deleted {
                let pieces: Vec<(Option<String>, String)> =
                    sqlx::query_as(PIECES).bind(&id).fetch_all(&mut *tx).await?;
                let held: Vec<(String, String)> =
                    pieces.into_iter().filter_map(|(node, hash)| Some((node?, hash))).collect();
                queue_unpins!(tx, held, now);
                for sql in [
                    "DELETE FROM blocks WHERE segment_id = $1",
                    "DELETE FROM repairs WHERE segment_id = $1",
                    "DELETE FROM root_segments WHERE segment_id = $1",
                ] {
                    sqlx::query(sql).bind(&id).execute(&mut *tx).await?;
                }
            }
            deleted
        })
    }

    /// How many segments there are in each state: (pending, live, orphaned, lost).
    pub async fn segment_counts(&self) -> Result<[u64; 4], StoreError> {
        const SQL: &str = "SELECT state, COUNT(*) FROM segments GROUP BY state";
        let rows: Vec<(String, i64)> = read!(self, pool => sqlx::query_as(SQL).fetch_all(pool).await)?;
        let mut counts = [0; 4];
        for (state, count) in rows {
            let slot = match parse("segment state", &state)? {
                SegmentState::Pending => 0,
                SegmentState::Live => 1,
                SegmentState::Orphaned => 2,
                SegmentState::Lost => 3,
            };
            counts[slot] = size("segment count", count)?;
        }
        Ok(counts)
    }
}
