//! What was decided and why: a log for operators, trimmed by age (`forget`).

use protocol::{
    ids::{NodeId, SegmentId},
    time::UnixMillis,
};

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{parse, text},
};

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: UnixMillis,
    /// `snake_case` kind, such as `node_offline`, `piece_lost`, `segment_repaired`.
    pub kind: String,
    /// The node it is about.
    pub node: Option<NodeId>,
    /// The segment it is about.
    pub segment: Option<SegmentId>,
    /// For people.
    pub details: String,
}

type EventRow = (i64, String, Option<String>, Option<String>, String);

impl Db {
    /// Records decisions under random names, one per event.
    pub async fn record_events(&self, events: &[(String, Event)]) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO events (id, at_ms, kind, node_id, segment_id, details) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
        if events.is_empty() {
            return Ok(());
        }
        write!(self, tx => {
            for (id, event) in events {
                sqlx::query(SQL)
                    .bind(id)
                    .bind(event.at.0)
                    .bind(&event.kind)
                    .bind(event.node.map(|node| node.to_string()))
                    .bind(event.segment.map(|segment| segment.to_string()))
                    .bind(text(&event.details))
                    .execute(&mut *tx)
                    .await?;
            }
        })
    }

    /// The latest decisions, newest first.
    pub async fn recent_events(&self, limit: u32) -> Result<Vec<Event>, StoreError> {
        const SQL: &str = "SELECT at_ms, kind, node_id, segment_id, details FROM events \
             ORDER BY at_ms DESC, id LIMIT $1";
        let rows: Vec<EventRow> =
            read!(self, pool => sqlx::query_as(SQL).bind(i64::from(limit)).fetch_all(pool).await)?;
        rows.into_iter()
            .map(|(at, kind, node, segment, details)| {
                Ok(Event {
                    at: UnixMillis(at),
                    kind,
                    node: node.map(|node| parse("node id", &node)).transpose()?,
                    segment: segment.map(|segment| parse("segment id", &segment)).transpose()?,
                    details,
                })
            })
            .collect()
    }
}
