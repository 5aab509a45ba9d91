//! What a monitor plans with: moving a node's next visit, walks in progress, the states of given segments.

use std::collections::HashMap;

use protocol::{
    ids::{NodeId, SegmentId},
    time::UnixMillis,
};
use sqlx::QueryBuilder;

use crate::{
    Db, SegmentState, StoreError, Visit,
    db::{read, write},
    rows::{ROWS_PER_STATEMENT, parse},
};

impl Db {
    /// Sets when a node's visit is due next, whoever claimed it: earlier than claimed, or again soon after one that failed.
    pub async fn schedule_visit(&self, id: NodeId, visit: Visit, at: UnixMillis) -> Result<(), StoreError> {
        let sql = match visit {
            Visit::Probe => "UPDATE nodes SET probe_ms = $2 WHERE id = $1",
            Visit::Audit => "UPDATE nodes SET audit_ms = $2 WHERE id = $1",
            Visit::Reconcile => "UPDATE nodes SET reconcile_ms = $2 WHERE id = $1",
        };
        write!(self, tx => {
            sqlx::query(sql).bind(id.to_string()).bind(at.0).execute(&mut *tx).await?;
        })
    }

    /// All walks over nodes' pieces that have begun: see [`Db::set_sweep_cursor`].
    pub async fn sweep_cursors(&self) -> Result<HashMap<NodeId, String>, StoreError> {
        const SQL: &str = "SELECT id, sweep_cursor FROM nodes WHERE sweep_cursor IS NOT NULL";
        let rows: Vec<(String, String)> = read!(self, pool => sqlx::query_as(SQL).fetch_all(pool).await)?;
        rows.into_iter().map(|(id, cursor)| Ok((parse("node id", &id)?, cursor))).collect()
    }

    /// Where these segments are in their lives; those that are gone are missing from the answer.
    pub async fn segment_states(
        &self,
        ids: &[SegmentId],
    ) -> Result<HashMap<SegmentId, SegmentState>, StoreError> {
        let mut states = HashMap::with_capacity(ids.len());
        for part in ids.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<(String, String)> = read!(self, pool => {
                let mut query = QueryBuilder::new("SELECT id, state FROM segments WHERE id IN (");
                let mut list = query.separated(", ");
                for id in part {
                    list.push_bind(id.to_string());
                }
                query.push(")");
                query.build_query_as().fetch_all(pool).await
            })?;
            for (id, state) in rows {
                states.insert(parse("segment id", &id)?, parse("segment state", &state)?);
            }
        }
        Ok(states)
    }
}
