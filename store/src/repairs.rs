//! The repair queue: segments that need pieces rebuilt, most urgent first, each in work at one monitor at a time.

use protocol::{ids::SegmentId, time::UnixMillis};
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{ROWS_PER_STATEMENT, parse, push_list, size},
};

/// A claimed repair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RepairJob {
    /// The segment.
    pub segment: SegmentId,
    /// How often it was tried before.
    pub attempts: u32,
}

/// Repairs that nobody has in work, the most urgent first.
pub(crate) fn due_repairs<DB: Database>(now: UnixMillis, limit: u32) -> QueryBuilder<DB>
where
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new("SELECT segment_id, attempts FROM repairs WHERE not_before_ms <= ");
    query.push_bind(now.0).push(" AND claimed_until_ms <= ").push_bind(now.0);
    query.push(" ORDER BY urgency_days, segment_id LIMIT ").push_bind(i64::from(limit));
    query
}

impl Db {
    /// Queues a segment, or updates its urgency (expected days to loss; smaller goes first) when it is queued already.
    pub async fn queue_repair(
        &self,
        segment: SegmentId,
        urgency_days: f64,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO repairs (segment_id, urgency_days, queued_ms, not_before_ms, attempts, \
             claimed_until_ms) VALUES ($1, $2, $3, 0, 0, 0) \
             ON CONFLICT (segment_id) DO UPDATE SET urgency_days = excluded.urgency_days";
        write!(self, tx => {
            sqlx::query(SQL).bind(segment.to_string()).bind(urgency_days).bind(now.0).execute(&mut *tx).await?;
        })
    }

    /// Claims the most urgent repairs for `holder` until `until`. No two claims of one segment overlap in time.
    pub async fn claim_repairs(
        &self,
        holder: &str,
        now: UnixMillis,
        until: UnixMillis,
        limit: u32,
    ) -> Result<Vec<RepairJob>, StoreError> {
        let rows: Vec<(String, i64)> = write!(self, tx => {
            let mut due = due_repairs(now, limit);
            due.push(self.skip_locked());
            let rows: Vec<(String, i64)> = due.build_query_as().fetch_all(&mut *tx).await?;
            let segments: Vec<&str> = rows.iter().map(|(segment, _)| segment.as_str()).collect();
            for part in segments.chunks(ROWS_PER_STATEMENT) {
                let mut claim = QueryBuilder::new("UPDATE repairs SET claimed_by = ");
                claim.push_bind(holder.to_string()).push(", claimed_until_ms = ").push_bind(until.0);
                claim.push(" WHERE segment_id IN ");
                push_list(&mut claim, part);
                claim.build().execute(&mut *tx).await?;
            }
            rows
        })?;
        rows.iter()
            .map(|(segment, attempts)| {
                Ok(RepairJob {
                    segment: parse("segment id", segment)?,
                    attempts: u32::try_from(*attempts).unwrap_or(u32::MAX),
                })
            })
            .collect()
    }

    /// Takes a repair off the queue.
    pub async fn finish_repair(&self, segment: SegmentId) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM repairs WHERE segment_id = $1";
        write!(self, tx => {
            sqlx::query(SQL).bind(segment.to_string()).execute(&mut *tx).await?;
        })
    }

    /// Gives a repair back to the queue, not to be tried again before `not_before`.
    pub async fn postpone_repair(
        &self,
        segment: SegmentId,
        not_before: UnixMillis,
    ) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE repairs SET not_before_ms = $2, attempts = attempts + 1, claimed_until_ms = 0, \
             claimed_by = NULL WHERE segment_id = $1";
        write!(self, tx => {
            sqlx::query(SQL).bind(segment.to_string()).bind(not_before.0).execute(&mut *tx).await?;
        })
    }

    /// How many repairs are queued.
    pub async fn repairs_waiting(&self) -> Result<u64, StoreError> {
        let (count,): (i64,) =
            read!(self, pool => sqlx::query_as("SELECT COUNT(*) FROM repairs").fetch_one(pool).await)?;
        size("repair count", count)
    }
}
