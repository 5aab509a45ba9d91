//! Rebuilding metadata from what nodes hold. What is found is put down in tables of its own first, so that a recovery takes no
//! memory for it and goes on where it was killed; from there it gets into the tables that everybody uses, and only what is
//! missing there.

mod pins;
mod segments;

use std::collections::BTreeMap;

use erasure::Scheme;
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    time::UnixMillis,
};
use sqlx::QueryBuilder;

use crate::{
    Db, NewNode, StoreError,
    db::{read, write},
    pin_log::GONE,
    rows::{parse, runs, size, small, sql},
};

pub use pins::{Adopted, FoundPin, PinsTodo};
pub use segments::{FoundKind, FoundSegment, Mended};

/// Who gets what no record says whose it is.
pub const RECOVERED_ACCOUNT: &str = "recovered";

/// A piece that a node says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundPiece {
    /// Who holds it.
    pub node: NodeId,
    /// BLAKE3 of its bytes.
    pub hash: PieceHash,
    /// Its segment.
    pub segment: SegmentId,
    /// Which piece of it.
    pub index: u8,
    /// The segment's coding.
    pub scheme: Scheme,
    /// The segment's length.
    pub segment_bytes: u64,
    /// When it was stored.
    pub stored: UnixMillis,
}

/// When a change was made; of one that is the end of a pin later than all that is said of it.
fn changed_at(id: &str) -> i64 {
    if id.ends_with(GONE) {
        return i64::MAX;
    }
    id.get(..16).and_then(|at| i64::from_str_radix(at, 16).ok()).unwrap_or(0)
}

impl Db {
    /// Begins a recovery, or goes on with one: nothing is collected from now on, and what the database knows to have changed
    /// is set beside what records say. Gives the time up to which the database knows what happened: when somebody last
    /// watched it before it was lost or set back, 0 if nobody can say.
    pub async fn begin_recovery(&self, now: UnixMillis) -> Result<UnixMillis, StoreError> {
        const PAGE: &str = "SELECT id, pin_id, cid FROM pin_changes WHERE id > $1 ORDER BY id LIMIT 1000";
        const AGAIN: &str = "DELETE FROM found_segments WHERE kind = 'unread'";
        const BEGUN: &str =
            "INSERT INTO recovery (id, backup_ms) VALUES ('recovery', $1) ON CONFLICT (id) DO NOTHING";
        const BACKUP: &str = "SELECT backup_ms FROM recovery WHERE id = 'recovery'";
        // Before the hold, which is a sign of life in a database that has none.
        let watched = self.watched_until().await?;
        self.hold_collection(now, "a recovery has begun and is not done").await?;
        let (backup,): (i64,) = write!(self, tx => {
            sqlx::query(AGAIN).execute(&mut *tx).await?;
            sqlx::query(BEGUN).bind(watched.0).execute(&mut *tx).await?;
            sqlx::query_as(BACKUP).fetch_one(&mut *tx).await?
        })?;
        let mut after = String::new();
        loop {
            let rows: Vec<(String, String, String)> =
                read!(self, pool => sqlx::query_as(PAGE).bind(&after).fetch_all(pool).await)?;
            let Some((last, ..)) = rows.last() else { return Ok(UnixMillis(backup)) };
            after.clone_from(last);
            // The last of several changes of one pin.
            let changes: BTreeMap<String, (i64, String)> =
                rows.into_iter().map(|(id, pin, cid)| (pin, (changed_at(&id), cid))).collect();
            let changes: Vec<(String, (i64, String))> = changes.into_iter().collect();
            write!(self, tx => {
                for part in runs(&changes) {
                    let mut query = QueryBuilder::new("INSERT INTO found_changes (pin_id, at_us, cid) ");
                    query.push_values(part, |mut row, (pin, (at, cid))| {
                        row.push_bind(pin.clone()).push_bind(*at).push_bind(cid.clone());
                    });
                    query.push(
                        " ON CONFLICT (pin_id) DO UPDATE SET at_us = CASE WHEN found_changes.at_us < excluded.at_us \
                         THEN excluded.at_us ELSE found_changes.at_us END",
                    );
                    query.build().execute(&mut *tx).await?;
                }
            })?;
        }
    }

    /// Forgets what a node was found to hold.
    pub async fn forget_found(&self, node: NodeId) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM found_pieces WHERE node_id = $1";
        write!(self, tx => {
            sqlx::query(SQL).bind(node.to_string()).execute(&mut *tx).await?;
        })
    }

    /// Puts down what a node holds.
    pub async fn add_found(&self, pieces: &[FoundPiece]) -> Result<(), StoreError> {
        write!(self, tx => {
            for part in runs(pieces) {
                let mut query = QueryBuilder::new(
                    "INSERT INTO found_pieces (segment_id, piece_index, node_id, hash, scheme, length_bytes, stored_ms) ",
                );
                query.push_values(part, |mut row, piece| {
                    row.push_bind(piece.segment.to_string())
                        .push_bind(i64::from(piece.index))
                        .push_bind(piece.node.to_string())
                        .push_bind(piece.hash.to_string())
                        .push_bind(piece.scheme.to_string())
                        .push_bind(sql(piece.segment_bytes))
                        .push_bind(piece.stored.0);
                });
                query.push(" ON CONFLICT (segment_id, piece_index, node_id, hash) DO NOTHING");
                query.build().execute(&mut *tx).await?;
            }
        })
    }

    /// Segments of which pieces were found, in order, behind `after`.
    pub async fn found_after(
        &self,
        after: Option<SegmentId>,
        limit: u32,
    ) -> Result<Vec<SegmentId>, StoreError> {
        const SQL: &str =
            "SELECT DISTINCT segment_id FROM found_pieces WHERE segment_id > $1 ORDER BY segment_id LIMIT $2";
        let after = after.map_or_else(String::new, |id| id.to_string());
        let rows: Vec<(String,)> = read!(self, pool => {
            sqlx::query_as(SQL).bind(&after).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.iter().map(|(id,)| parse("segment id", id)).collect()
    }

    /// What was found of a segment, at most four pieces of each node: it has one, and perhaps an older one that it moved.
    pub async fn found_pieces(&self, segment: SegmentId) -> Result<Vec<FoundPiece>, StoreError> {
        const SQL: &str = "SELECT n.piece_index, n.node_id, n.hash, n.scheme, n.length_bytes, n.stored_ms FROM \
             (SELECT piece_index, node_id, hash, scheme, length_bytes, stored_ms, ROW_NUMBER() OVER \
             (PARTITION BY node_id ORDER BY stored_ms DESC, piece_index, hash) AS place FROM found_pieces \
             WHERE segment_id = $1) n WHERE n.place <= 4 ORDER BY n.piece_index, n.node_id";
        let rows: Vec<(i64, String, String, String, i64, i64)> = read!(self, pool => {
            sqlx::query_as(SQL).bind(segment.to_string()).fetch_all(pool).await
        })?;
        rows.into_iter()
            .map(|(index, node, hash, scheme, length, stored)| {
                Ok(FoundPiece {
                    node: parse("node id", &node)?,
                    hash: parse("piece hash", &hash)?,
                    segment,
                    index: small("piece index", index)?,
                    scheme: parse("scheme", &scheme)?,
                    segment_bytes: size("segment length", length)?,
                    stored: UnixMillis(stored),
                })
            })
            .collect()
    }

    /// Makes a node known again that was enrolled before, unless it is known; `true`: it is new here.
    pub async fn readmit(
        &self,
        node: &NewNode,
        operator: &str,
        enrolled: UnixMillis,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO nodes (id, url, operator, address, region, country, latitude, longitude, \
             version, capacity_bytes, used_bytes, free_bytes, piece_count, enrolled_ms, heartbeat_ms, contact_ms, \
             standing, reputation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $10, 0, $11, $12, $12, $13, $14) \
             ON CONFLICT (id) DO NOTHING";
        write!(self, tx => {
            sqlx::query(SQL)
                .bind(node.id.to_string())
                .bind(&node.url)
                .bind(operator)
                .bind(&node.address)
                .bind(&node.region)
                .bind(&node.country)
                .bind(node.latitude)
                .bind(node.longitude)
                .bind(&node.version)
                .bind(sql(node.capacity_bytes))
                .bind(enrolled.0)
                .bind(now.0)
                .bind(&node.standing)
                .bind(&node.reputation)
                .execute(&mut *tx)
                .await?
                .rows_affected() > 0
        })
    }
}
