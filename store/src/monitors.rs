//! What each monitor says of itself, for people who look from elsewhere. Nothing is decided by it: whether the database was
//! watched is `network_state`.

use protocol::time::UnixMillis;
use sqlx::QueryBuilder;

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::text,
};

/// A monitor's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorSign {
    /// Its name, which is a new one with each start.
    pub id: String,
    /// When it said this.
    pub seen: UnixMillis,
    /// Why it holds consequences back, if it does.
    pub breaker: Option<String>,
}

/// Names of monitors that were last seen before `$1`.
const OLD_MONITORS: &str = "SELECT id FROM monitors WHERE seen_ms < $1 ORDER BY id LIMIT $2";

impl Db {
    /// Writes down what a monitor says, in the place of what it said before.
    pub async fn sign_monitor(&self, sign: &MonitorSign) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO monitors (id, seen_ms, breaker) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms, breaker = excluded.breaker";
        write!(self, tx => {
            sqlx::query(SQL)
                .bind(&sign.id)
                .bind(sign.seen.0)
                .bind(sign.breaker.as_deref().map(text))
                .execute(&mut *tx)
                .await?;
        })
    }

    /// What monitors said last, the latest first.
    pub async fn monitors(&self, limit: u32) -> Result<Vec<MonitorSign>, StoreError> {
        const SQL: &str = "SELECT id, seen_ms, breaker FROM monitors ORDER BY seen_ms DESC, id LIMIT $1";
        let rows: Vec<(String, i64, Option<String>)> =
            read!(self, pool => sqlx::query_as(SQL).bind(i64::from(limit)).fetch_all(pool).await)?;
        let sign = |(id, seen, breaker)| MonitorSign { id, seen: UnixMillis(seen), breaker };
        Ok(rows.into_iter().map(sign).collect())
    }

    /// When any monitor gave its last sign of life; nothing in a database in which none ever worked, or none did since
    /// a recovery there.
    pub async fn monitor_seen(&self) -> Result<Option<UnixMillis>, StoreError> {
        // Monitors of versions before 14 of the schema only write the second.
        const SQL: &str = "SELECT MAX(seen_ms) FROM (SELECT seen_ms FROM monitors UNION ALL \
             SELECT beat_ms FROM network_state WHERE beat_ms > stand_in_ms) AS signs";
        let (seen,): (Option<i64>,) = read!(self, pool => sqlx::query_as(SQL).fetch_one(pool).await)?;
        Ok(seen.map(UnixMillis))
    }

    /// Forgets up to `limit` monitors that were last seen before `before`; gives how many.
    pub async fn trim_monitors(&self, before: UnixMillis, limit: u32) -> Result<u64, StoreError> {
        write!(self, tx => {
            let mut query = QueryBuilder::new("DELETE FROM monitors WHERE id IN (");
            query.push(OLD_MONITORS).push(")");
            query.build().bind(before.0).bind(i64::from(limit)).execute(&mut *tx).await?.rows_affected()
        })
    }
}
