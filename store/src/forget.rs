//! What grows with time, kept small in bounded steps: old decisions and settlements are forgotten, and lines of the ledger
//! that are of hours are added up by days. No sum changes by it, and nothing is paid twice.

use std::collections::BTreeMap;

use protocol::time::UnixMillis;
use sqlx::QueryBuilder;

use crate::{Db, StoreError, db::write, ledger::BOOK, rows::runs};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Decisions before `$1`.
pub(crate) const OLD_EVENTS: &str = "SELECT id FROM events WHERE at_ms < $1 ORDER BY at_ms LIMIT $2";

/// Settlements of hours before `$1`.
pub(crate) const OLD_SETTLEMENTS: &str =
    "SELECT node_id, hour_ms FROM settlements WHERE hour_ms < $1 ORDER BY hour_ms, node_id LIMIT $2";

/// Lines before `$1` that are of hours. A line stays one of an hour when 24 like it might not fit a number: 3e17
/// byte-seconds in an hour are 83 TB. The index `ledger_by_hour` has the same conditions.
pub(crate) const OLD_HOURS: &str = "SELECT node_id, hour_ms, kind FROM ledger \
     WHERE hour_ms < $1 AND hour_ms % 86400000 <> 0 AND quantity < 300000000000000000 \
     ORDER BY hour_ms, node_id, kind LIMIT $2";

/// The key of a line: node, hour, kind.
type Key = (String, i64, String);
/// A line: its key, quantity, amount.
type Line = (String, i64, String, i64, i64);

impl Db {
    /// Forgets up to `limit` decisions older than `before`; gives how many.
    pub async fn trim_events(&self, before: UnixMillis, limit: u32) -> Result<u64, StoreError> {
        write!(self, tx => {
            let mut query = QueryBuilder::new("DELETE FROM events WHERE id IN (");
            query.push(OLD_EVENTS).push(")");
            query.build().bind(before.0).bind(i64::from(limit)).execute(&mut *tx).await?.rows_affected()
        })
    }

    /// Forgets up to `limit` settlements of hours before `before`, which nobody can settle any more; gives how many.
    pub async fn trim_settlements(&self, before: UnixMillis, limit: u32) -> Result<u64, StoreError> {
        // First of all, and waiting for every settlement that is under way: see `Db::settle_window`.
        const CLOSE: &str = "UPDATE settled_hours SET before_ms = $1 WHERE id = 1 AND before_ms < $1";
        const CLOSED: &str = "SELECT before_ms FROM settled_hours WHERE id = 1";
        write!(self, tx => {
            sqlx::query(CLOSE).bind(before.hour().0).execute(&mut *tx).await?;
            let (closed,): (i64,) = sqlx::query_as(CLOSED).fetch_one(&mut *tx).await?;
            let mut query = QueryBuilder::new("DELETE FROM settlements WHERE (node_id, hour_ms) IN (");
            query.push(OLD_SETTLEMENTS).push(")");
            query.build().bind(closed).bind(i64::from(limit)).execute(&mut *tx).await?.rows_affected()
        })
    }

    /// Adds up to `limit` lines of the ledger that are of hours before the day of `before` to those of their days, which are
    /// the lines of the days' first hours; gives how many.
    pub async fn roll_up_ledger(&self, before: UnixMillis, limit: u32) -> Result<u64, StoreError> {
        const OF_DAY: &str = "SELECT quantity FROM ledger WHERE node_id = $1 AND hour_ms = $2 AND kind = $3";
        let before = before.0.div_euclid(DAY_MS) * DAY_MS;
        write!(self, tx => {
            let old: Vec<Key> = {
                let mut query = QueryBuilder::new(OLD_HOURS);
                query.push(self.skip_locked());
                query.build_query_as().bind(before).bind(i64::from(limit)).fetch_all(&mut *tx).await?
            };
            let mut days: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
            for line in old {
                let day = line.1.div_euclid(DAY_MS) * DAY_MS;
                days.entry((line.0.clone(), day, line.2.clone())).or_default().push(line);
            }
            let mut rolled = 0;
            for ((node, day, kind), lines) in days {
                let mut query = QueryBuilder::new(OF_DAY);
                query.push(self.for_update());
                let of_day: Option<(i64,)> =
                    query.build_query_as().bind(&node).bind(day).bind(&kind).fetch_optional(&mut *tx).await?;
                // A first hour so full that the others do not fit on top of it.
                if of_day.is_some_and(|(quantity,)| quantity > i64::MAX / 4) {
                    continue;
                }
                let taken: Vec<Line> = {
                    let mut taken = Vec::new();
                    for part in runs(&lines) {
                        let mut query = QueryBuilder::new("DELETE FROM ledger WHERE (node_id, hour_ms, kind) IN (");
                        query.push_values(part, |mut row, (node, hour, kind)| {
                            row.push_bind(node.clone()).push_bind(*hour).push_bind(kind.clone());
                        });
                        query.push(") RETURNING node_id, hour_ms, kind, quantity, micros");
                        let some: Vec<Line> = query.build_query_as().fetch_all(&mut *tx).await?;
                        taken.extend(some);
                    }
                    taken
                };
                let sums = taken.iter().fold((0, 0), |sums: (i64, i64), line| (sums.0 + line.3, sums.1 + line.4));
                sqlx::query(BOOK).bind(&node).bind(day).bind(&kind).bind(sums.0).bind(sums.1).execute(&mut *tx).await?;
                rolled += taken.len() as u64;
            }
            rolled
        })
    }
}
