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
    rows::{ROWS_PER_STATEMENT, parse, push_list},
};

impl Db {
    /// Sets when a node's visit is due next, whoever claimed it: earlier than claimed, or again soon after one that failed.
    pub async fn schedule_visit(&self, id: NodeId, visit: Visit, at: UnixMillis) -> Result<(), StoreError> {
        write!(self, tx => {
            let mut query = QueryBuilder::new("UPDATE nodes SET ");
            query.push(visit.column()).push(" = ").push_bind(at.0).push(" WHERE id = ").push_bind(id.to_string());
            query.build().execute(&mut *tx).await?;
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
                let mut query = QueryBuilder::new("SELECT id, state FROM segments WHERE id IN ");
                push_list(&mut query, part);
                query.build_query_as().fetch_all(pool).await
            })?;
            for (id, state) in rows {
                states.insert(parse("segment id", &id)?, parse("segment state", &state)?);
            }
        }
        Ok(states)
    }
}
