//! What nodes earned. Every micro-unit is booked once: storage when a piece passes an audit, traffic when a window of
//! redeemed orders is settled.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use protocol::{ids::NodeId, time::UnixMillis};
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::{
    Db, StoreError,
    db::{read, write},
    pieces::PieceSlot,
    rows::{parse, runs, size, sql},
};

/// What an amount was earned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LedgerKind {
    /// Byte-seconds of proven pieces.
    Storage,
    /// Bytes served to readers.
    Egress,
    /// Bytes served to repairs.
    RepairEgress,
    /// Bytes served to audits.
    AuditEgress,
}

impl LedgerKind {
    /// Its name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Egress => "egress",
            Self::RepairEgress => "repair_egress",
            Self::AuditEgress => "audit_egress",
        }
    }
}

/// A quantity to be booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earning {
    /// What it was earned with.
    pub kind: LedgerKind,
    /// Byte-seconds or bytes.
    pub quantity: u64,
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLine {
    /// Who earned it.
    pub node: NodeId,
    /// Start of the hour; of lines that are older than the monitors keep hours, start of the day that they add up.
    pub hour: UnixMillis,
    /// Name of the [`LedgerKind`].
    pub kind: String,
    /// Byte-seconds or bytes.
    pub quantity: u64,
    /// Micro-units of money.
    pub micros: u64,
}

/// A piece that passed an audit: where, when it had last been verified, and its length in bytes.
pub type Passed = (PieceSlot, UnixMillis, u64);

/// What a passed audit proves: the piece was held from one moment to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    from: UnixMillis,
    until: UnixMillis,
    byte_seconds: u64,
}

impl Span {
    /// What is left of a second stays with the piece, to be booked next time.
    pub(crate) fn of((_, verified, bytes): &Passed, now: UnixMillis) -> Self {
        let seconds = now.since(*verified).as_secs();
        let until = *verified + Duration::from_secs(seconds);
        Self { from: *verified, until, byte_seconds: bytes.saturating_mul(seconds) }
    }
}

pub(crate) fn place(slot: PieceSlot) -> (String, i64) {
    (slot.segment.to_string(), i64::from(slot.index))
}

/// Moves the pieces of these spans to their ends, those that are still at their starts; gives their places.
pub(crate) fn prove_spans<DB: Database>(node: NodeId, spans: &[((String, i64), Span)]) -> QueryBuilder<DB>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query =
        QueryBuilder::new("WITH spans (node_id, segment_id, piece_index, from_ms, until_ms) AS (");
    query.push_values(spans, |mut row, ((segment, index), span)| {
        row.push_bind(node.to_string())
            .push_bind(segment.clone())
            .push_bind(*index)
            .push_bind(span.from.0)
            .push_bind(span.until.0);
    });
    query.push(
        ") UPDATE pieces SET verified_ms = spans.until_ms FROM spans \
         WHERE pieces.segment_id = spans.segment_id AND pieces.piece_index = spans.piece_index \
         AND pieces.node_id = spans.node_id AND pieces.verified_ms = spans.from_ms \
         RETURNING pieces.segment_id, pieces.piece_index",
    );
    query
}

// The no-op update takes the row's lock on PostgreSQL, so that two bookings never start from the same carry.
const LOCK_CARRY: &str = "INSERT INTO ledger_carry (node_id, kind, carry) VALUES ($1, $2, 0) \
     ON CONFLICT (node_id, kind) DO UPDATE SET carry = ledger_carry.carry RETURNING carry";
const SET_CARRY: &str = "UPDATE ledger_carry SET carry = $3 WHERE node_id = $1 AND kind = $2";
/// Adds to a line of the ledger.
pub(crate) const BOOK: &str = "INSERT INTO ledger (node_id, hour_ms, kind, quantity, micros) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (node_id, hour_ms, kind) DO UPDATE SET quantity = ledger.quantity + excluded.quantity, \
     micros = ledger.micros + excluded.micros";

/// Books one earning inside a transaction. `amount` turns (quantity, carry) into (micro-units, new carry).
macro_rules! book {
    ($tx:ident, $node:expr, $hour:expr, $earning:expr, $amount:expr) => {{
        let earning: Earning = $earning;
        let node = $node.to_string();
        let (carry,): (i64,) =
            sqlx::query_as(LOCK_CARRY).bind(&node).bind(earning.kind.name()).fetch_one(&mut *$tx).await?;
        let (micros, carry) = $amount(earning, size("carry", carry)?);
        sqlx::query(SET_CARRY)
            .bind(&node)
            .bind(earning.kind.name())
            .bind(sql(carry))
            .execute(&mut *$tx)
            .await?;
        sqlx::query(BOOK)
            .bind(&node)
            .bind($hour.0)
            .bind(earning.kind.name())
            .bind(sql(earning.quantity))
            .bind(sql(micros))
            .execute(&mut *$tx)
            .await?;
    }};
}

impl Db {
    /// Records passed audits of a node and books the storage they prove: each piece's bytes times the seconds since it
    /// was last verified. A piece that another monitor verified meanwhile, or that was lost, earns nothing here.
    /// Gives the byte-seconds booked.
    pub async fn record_passed(
        &self,
        node: NodeId,
        passed: &[Passed],
        now: UnixMillis,
        amount: impl Fn(Earning, u64) -> (u64, u64) + Send + Sync,
    ) -> Result<u64, StoreError> {
        // One claim per piece: a second one of the same call finds the first one's mark, as another monitor's would.
        let spans: BTreeMap<(String, i64), Span> =
            passed.iter().rev().map(|passed| (place(passed.0), Span::of(passed, now))).collect();
        let spans: Vec<((String, i64), Span)> = spans.into_iter().collect();
        write!(self, tx => {
            let mut byte_seconds: u64 = 0;
            for part in runs(&spans) {
                let proven: Vec<(String, i64)> = prove_spans(node, part).build_query_as().fetch_all(&mut *tx).await?;
                let proven: HashSet<(String, i64)> = proven.into_iter().collect();
                for (_, span) in part.iter().filter(|(place, _)| proven.contains(place)) {
                    byte_seconds = byte_seconds.saturating_add(span.byte_seconds);
                }
            }
            if byte_seconds > 0 {
                let earning = Earning { kind: LedgerKind::Storage, quantity: byte_seconds };
                book!(tx, node, now.hour(), earning, amount);
            }
            byte_seconds
        })
    }

    /// Books the traffic of one window of redeemed orders; `false` when that window of that node was settled before, or is so
    /// old that nobody knows any more whether it was ([`Db::trim_settlements`]).
    pub async fn settle_window(
        &self,
        node: NodeId,
        hour: UnixMillis,
        earnings: &[Earning],
        now: UnixMillis,
        amount: impl Fn(Earning, u64) -> (u64, u64) + Send + Sync,
    ) -> Result<bool, StoreError> {
        const SETTLE: &str = "INSERT INTO settlements (node_id, hour_ms, settled_ms) VALUES ($1, $2, $3) \
             ON CONFLICT (node_id, hour_ms) DO NOTHING";
        // Locked, so that hours are not closed, and what was settled forgotten, between this question and the insertion.
        const CLOSED: &str = "SELECT before_ms FROM settled_hours WHERE id = 1";
        // Every booking of a node locks its carries in one order.
        let mut earnings = earnings.to_vec();
        earnings.sort_by_key(|earning| earning.kind.name());
        write!(self, tx => {
            let (closed,): (i64,) = {
                let mut query = QueryBuilder::new(CLOSED);
                query.push(if self.locks_rows() { " FOR SHARE" } else { "" });
                query.build_query_as().fetch_one(&mut *tx).await?
            };
            let first = hour.0 >= closed && sqlx::query(SETTLE)
                .bind(node.to_string())
                .bind(hour.0)
                .bind(now.0)
                .execute(&mut *tx)
                .await?
                .rows_affected() > 0;
            if first {
                for earning in &earnings {
                    book!(tx, node, hour, *earning, amount);
                }
            }
            first
        })
    }

    /// A node's ledger, latest hour first.
    pub async fn ledger(&self, node: NodeId, limit: u32) -> Result<Vec<LedgerLine>, StoreError> {
        const SQL: &str = "SELECT node_id, hour_ms, kind, quantity, micros FROM ledger WHERE node_id = $1 \
             ORDER BY hour_ms DESC, kind LIMIT $2";
        let rows: Vec<(String, i64, String, i64, i64)> = read!(self, pool => {
            sqlx::query_as(SQL).bind(node.to_string()).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.into_iter()
            .map(|(node, hour, kind, quantity, micros)| {
                Ok(LedgerLine {
                    node: parse("node id", &node)?,
                    hour: UnixMillis(hour),
                    kind,
                    quantity: size("ledger quantity", quantity)?,
                    micros: size("ledger amount", micros)?,
                })
            })
            .collect()
    }

    /// All that a node has earned, in micro-units, by kind.
    pub async fn earned(&self, node: NodeId) -> Result<Vec<(String, u64)>, StoreError> {
        const SQL: &str = "SELECT kind, CAST(SUM(micros) AS BIGINT) FROM ledger WHERE node_id = $1 \
             GROUP BY kind ORDER BY kind";
        let rows: Vec<(String, i64)> =
            read!(self, pool => sqlx::query_as(SQL).bind(node.to_string()).fetch_all(pool).await)?;
        rows.into_iter().map(|(kind, micros)| Ok((kind, size("ledger amount", micros)?))).collect()
    }
}
