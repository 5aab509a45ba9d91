//! Pieces that nodes hold and need no longer hold: told to them when they can be reached.

use protocol::{
    ids::{NodeId, PieceHash},
    time::UnixMillis,
    unpin::PieceUnpin,
};
use sqlx::QueryBuilder;

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{ROWS_PER_STATEMENT, parse, push_list, size},
};

/// Removes one queued piece of a node.
pub(crate) const FORGET_UNPIN: &str = "DELETE FROM unpins WHERE node_id = $1 AND hash = $2";

/// Queues (node, hash) pairs inside a transaction; what is queued already is queued from now on. In order of their keys, so that
/// two that queue the same do not wait for each other crosswise.
macro_rules! queue_unpins {
    ($tx:ident, $held:expr, $now:expr) => {
        let mut held = $held.to_vec();
        held.sort_unstable();
        for part in $crate::rows::runs(&held) {
            let mut query = QueryBuilder::new("INSERT INTO unpins (node_id, hash, queued_ms) ");
            query.push_values(part, |mut row, (node, hash)| {
                row.push_bind(node.to_string()).push_bind(hash.to_string()).push_bind($now.0);
            });
            query.push(" ON CONFLICT (node_id, hash) DO UPDATE SET queued_ms = excluded.queued_ms");
            query.build().execute(&mut *$tx).await?;
        }
    };
}

pub(crate) use queue_unpins;

/// What node `$1` may drop.
pub(crate) const QUEUED: &str = "SELECT u.hash, u.queued_ms FROM unpins u WHERE u.node_id = $1 AND NOT EXISTS \
     (SELECT 1 FROM pieces p WHERE p.node_id = u.node_id AND p.hash = u.hash) ORDER BY u.hash LIMIT $2";

impl Db {
    /// Pieces that a node may drop, and since when: queued, and not recorded as held there for any segment.
    pub async fn queued_unpins(&self, node: NodeId, limit: u32) -> Result<Vec<PieceUnpin>, StoreError> {
        let rows: Vec<(String, i64)> = read!(self, pool => {
            sqlx::query_as(QUEUED).bind(node.to_string()).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        let read = |(hash, queued): &(String, i64)| {
            Ok(PieceUnpin { hash: parse("piece hash", hash)?, stored_before: UnixMillis(*queued) })
        };
        rows.iter().map(read).collect()
    }

    /// Queues pieces that a node holds and should not.
    pub async fn queue_unpins(
        &self,
        node: NodeId,
        hashes: &[PieceHash],
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if hashes.is_empty() {
            return Ok(());
        }
        let held: Vec<(NodeId, PieceHash)> = hashes.iter().map(|hash| (node, *hash)).collect();
        write!(self, tx => {
            queue_unpins!(tx, held, now);
        })
    }

    /// Forgets queued pieces once the node has dropped them. What was queued again meanwhile stays queued.
    pub async fn finish_unpins(&self, node: NodeId, unpins: &[PieceUnpin]) -> Result<(), StoreError> {
        let Some(latest) = unpins.iter().map(|unpin| unpin.stored_before).max() else { return Ok(()) };
        let hashes: Vec<PieceHash> = unpins.iter().map(|unpin| unpin.hash).collect();
        write!(self, tx => {
            for part in hashes.chunks(ROWS_PER_STATEMENT) {
                let mut query = QueryBuilder::new("DELETE FROM unpins WHERE node_id = ");
                query.push_bind(node.to_string()).push(" AND hash IN ");
                push_list(&mut query, part);
                query.push(" AND queued_ms <= ").push_bind(latest.0);
                query.build().execute(&mut *tx).await?;
            }
        })
    }

    /// How many pieces wait to be dropped, over all nodes.
    pub async fn unpins_waiting(&self) -> Result<u64, StoreError> {
        let (count,): (i64,) =
            read!(self, pool => sqlx::query_as("SELECT COUNT(*) FROM unpins").fetch_one(pool).await)?;
        size("unpin count", count)
    }
}
