//! Which monitor visits which node when: claims on recurring visits, and how far walks over a gone node have come.

use protocol::{ids::NodeId, time::UnixMillis};
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{ROWS_PER_STATEMENT, parse, push_list},
};

/// The recurring visits to a node. Each is claimed by moving its time forward, so that several monitors share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Is it reachable?
    Probe,
    /// Challenges.
    Audit,
    /// Comparing its list of pieces with ours.
    Reconcile,
}

impl Visit {
    /// The column that holds when a node's next visit of this kind is due.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Probe => "probe_ms",
            Self::Audit => "audit_ms",
            Self::Reconcile => "reconcile_ms",
        }
    }
}

/// Nodes whose visit is due, the longest due first.
pub(crate) fn due_visits<DB: Database>(visit: Visit, now: UnixMillis, limit: u32) -> QueryBuilder<DB>
where
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let column = visit.column();
    let mut query = QueryBuilder::new("SELECT id FROM nodes WHERE ");
    query.push(column).push(" <= ").push_bind(now.0);
    query.push(" ORDER BY ").push(column).push(", id LIMIT ").push_bind(i64::from(limit));
    query
}

impl Db {
    /// Claims up to `limit` nodes whose visit is due, the longest due first, and sets their next one to `next`. No two
    /// callers get the same node.
    pub async fn claim_visits(
        &self,
        visit: Visit,
        now: UnixMillis,
        next: UnixMillis,
        limit: u32,
    ) -> Result<Vec<NodeId>, StoreError> {
        let claimed: Vec<(String,)> = write!(self, tx => {
            let mut due = due_visits(visit, now, limit);
            due.push(self.skip_locked());
            let rows: Vec<(String,)> = due.build_query_as().fetch_all(&mut *tx).await?;
            let ids: Vec<&str> = rows.iter().map(|(id,)| id.as_str()).collect();
            for part in ids.chunks(ROWS_PER_STATEMENT) {
                let mut claim = QueryBuilder::new("UPDATE nodes SET ");
                claim.push(visit.column()).push(" = ").push_bind(next.0).push(" WHERE id IN ");
                push_list(&mut claim, part);
                claim.build().execute(&mut *tx).await?;
            }
            rows
        })?;
        claimed.iter().map(|(id,)| parse("node id", id)).collect()
    }

    /// How far the walk over a gone node's pieces has come; see [`Db::set_sweep_cursor`].
    pub async fn sweep_cursor(&self, id: NodeId) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT sweep_cursor FROM nodes WHERE id = $1";
        let row: Option<(Option<String>,)> =
            read!(self, pool => sqlx::query_as(SQL).bind(id.to_string()).fetch_optional(pool).await)?;
        Ok(row.and_then(|(cursor,)| cursor))
    }

    /// Remembers how far the walk over a gone node's pieces has come (`None`: not begun).
    pub async fn set_sweep_cursor(&self, id: NodeId, cursor: Option<&str>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE nodes SET sweep_cursor = $2 WHERE id = $1";
        write!(self, tx => {
            sqlx::query(SQL).bind(id.to_string()).bind(cursor).execute(&mut *tx).await?;
        })
    }
}
