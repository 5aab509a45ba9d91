//! Which node holds which piece.

use std::collections::HashSet;

use erasure::Scheme;
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    time::UnixMillis,
};
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{ROWS_PER_STATEMENT, parse, push_list, runs, scheme, size, small},
    unpins::{FORGET_UNPIN, queue_unpins},
};

/// The name of a piece's place: a segment and an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PieceSlot {
    /// The segment.
    pub segment: SegmentId,
    /// Which piece of it.
    pub index: u8,
}

/// A piece that a node is recorded to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldPiece {
    /// Its place.
    pub slot: PieceSlot,
    /// BLAKE3 of its bytes.
    pub hash: PieceHash,
    /// Coding of the segment.
    pub scheme: Scheme,
    /// Length of the segment.
    pub segment_bytes: u64,
    /// Length of the piece.
    pub piece_bytes: u64,
    /// When it was stored.
    pub stored: UnixMillis,
    /// When it last passed an audit (at first: when it was stored). It has earned until then.
    pub verified: UnixMillis,
}

type HeldRow = (String, i64, String, String, i64, i64, i64, i64, i64, i64);

/// Pieces of node `$1` from hash `$2` on.
pub(crate) const HELD_FROM: &str = "SELECT p.segment_id, p.piece_index, p.hash, s.codec, s.needed, s.total, s.length_bytes, \
     s.piece_bytes, p.stored_ms, p.verified_ms FROM pieces p JOIN segments s ON s.id = p.segment_id \
     WHERE p.node_id = $1 AND p.hash >= $2 ORDER BY p.hash LIMIT $3";

/// Who lost pieces of segment `$1` after `$2`.
pub(crate) const LOSERS: &str = "SELECT lost_by FROM pieces WHERE segment_id = $1 AND lost_ms > $2";

/// Takes these places away from a node, which is remembered with each.
pub(crate) fn take_away<DB: Database>(
    node: NodeId,
    pieces: &[(PieceSlot, PieceHash)],
    now: UnixMillis,
) -> QueryBuilder<DB>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new("UPDATE pieces SET node_id = NULL, lost_by = node_id, lost_ms = ");
    query.push_bind(now.0).push(" WHERE node_id = ").push_bind(node.to_string());
    query.push(" AND (segment_id, piece_index) IN (");
    query.push_values(pieces, |mut row, (slot, _)| {
        row.push_bind(slot.segment.to_string()).push_bind(i64::from(slot.index));
    });
    query.push(")");
    query
}

impl Db {
    /// Pieces of a node in order of hash, from `from` on. Hashes are random, so a run from a random point is a fair sample.
    pub async fn held_pieces(
        &self,
        node: NodeId,
        from: PieceHash,
        limit: u32,
    ) -> Result<Vec<HeldPiece>, StoreError> {
        let rows: Vec<HeldRow> = read!(self, pool => {
            sqlx::query_as(HELD_FROM)
                .bind(node.to_string())
                .bind(from.to_string())
                .bind(i64::from(limit))
                .fetch_all(pool)
                .await
        })?;
        rows.into_iter()
            .map(|(segment, index, hash, codec, needed, total, length, piece, stored, verified)| {
                Ok(HeldPiece {
                    slot: PieceSlot {
                        segment: parse("segment id", &segment)?,
                        index: small("piece index", index)?,
                    },
                    hash: parse("piece hash", &hash)?,
                    scheme: scheme(&codec, needed, total)?,
                    segment_bytes: size("segment length", length)?,
                    piece_bytes: size("piece length", piece)?,
                    stored: UnixMillis(stored),
                    verified: UnixMillis(verified),
                })
            })
            .collect()
    }

    /// Which of these hashes the node is recorded to hold.
    pub async fn known_pieces(
        &self,
        node: NodeId,
        hashes: &[PieceHash],
    ) -> Result<HashSet<PieceHash>, StoreError> {
        let mut known = HashSet::new();
        for part in hashes.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<(String,)> = read!(self, pool => {
                let mut query = QueryBuilder::new("SELECT hash FROM pieces WHERE node_id = ");
                query.push_bind(node.to_string()).push(" AND hash IN ");
                push_list(&mut query, part);
                query.build_query_as().fetch_all(pool).await
            })?;
            for (hash,) in rows {
                known.insert(parse("piece hash", &hash)?);
            }
        }
        Ok(known)
    }

    /// Records that a piece is now on `to`, if it is still where the caller believed (`from`; `None`: nowhere). The old
    /// holder is told to drop its copy. `false`: somebody else changed it meanwhile, the segment is gone, or `to` holds
    /// another piece of it, which would be lost together with this one.
    pub async fn move_piece(
        &self,
        slot: PieceSlot,
        hash: PieceHash,
        from: Option<NodeId>,
        to: NodeId,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        // Moves of one segment's pieces take turns, so that two of them do not choose one node.
        const LOCK: &str = "SELECT id FROM segments WHERE id = $1 FOR UPDATE";
        const CROWDED: &str = "SELECT piece_index FROM pieces \
             WHERE segment_id = $1 AND piece_index <> $2 AND node_id = $3 LIMIT 1";
        const TAKE: &str = "UPDATE pieces SET node_id = $3, stored_ms = $4, verified_ms = $4 \
             WHERE segment_id = $1 AND piece_index = $2 AND node_id IS NULL";
        const SWAP: &str = "UPDATE pieces SET node_id = $3, stored_ms = $4, verified_ms = $4 \
             WHERE segment_id = $1 AND piece_index = $2 AND node_id = $5";
        let segment = slot.segment.to_string();
        let index = i64::from(slot.index);
        write!(self, tx => {
            if self.locks_rows() {
                sqlx::query(LOCK).bind(&segment).execute(&mut *tx).await?;
            }
            let crowded = sqlx::query(CROWDED)
                .bind(&segment)
                .bind(index)
                .bind(to.to_string())
                .fetch_optional(&mut *tx)
                .await?;
            let update = sqlx::query(if from.is_some() { SWAP } else { TAKE })
                .bind(&segment)
                .bind(index)
                .bind(to.to_string())
                .bind(now.0);
            let update = match from {
                Some(from) => update.bind(from.to_string()),
                None => update,
            };
            let moved = crowded.is_none() && update.execute(&mut *tx).await?.rows_affected() > 0;
            if moved {
                sqlx::query(FORGET_UNPIN).bind(to.to_string()).bind(hash.to_string()).execute(&mut *tx).await?;
                // A piece that is stored anew where it was is not to be dropped there.
                if let Some(from) = from.filter(|from| *from != to) {
                    queue_unpins!(tx, [(from, hash)], now);
                }
            }
            moved
        })
    }

    /// Takes pieces away from a node that failed to prove them; it earns nothing more for them and may drop them.
    /// Gives how many were still recorded there.
    pub async fn lose_pieces(
        &self,
        node: NodeId,
        pieces: &[(PieceSlot, PieceHash)],
        now: UnixMillis,
    ) -> Result<u64, StoreError> {
        let held: Vec<(NodeId, PieceHash)> = pieces.iter().map(|(_, hash)| (node, *hash)).collect();
        write!(self, tx => {
            let mut lost = 0;
            for part in runs(pieces) {
                lost += take_away(node, part, now).build().execute(&mut *tx).await?.rows_affected();
            }
            queue_unpins!(tx, held, now);
            lost
        })
    }

    /// Nodes that lost a piece of this segment after `since`; of several that lost the same one, only the last is known.
    pub async fn losers_of(
        &self,
        segment: SegmentId,
        since: UnixMillis,
    ) -> Result<HashSet<NodeId>, StoreError> {
        let rows: Vec<(String,)> = read!(self, pool => {
            sqlx::query_as(LOSERS).bind(segment.to_string()).bind(since.0).fetch_all(pool).await
        })?;
        rows.iter().map(|(node,)| parse("node id", node)).collect()
    }

    /// How many pieces a node is recorded to hold, and their bytes.
    pub async fn holdings(&self, node: NodeId) -> Result<(u64, u64), StoreError> {
        const SQL: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(s.piece_bytes), 0) AS BIGINT) FROM pieces p \
             JOIN segments s ON s.id = p.segment_id WHERE p.node_id = $1";
        let (pieces, bytes): (i64, i64) =
            read!(self, pool => sqlx::query_as(SQL).bind(node.to_string()).fetch_one(pool).await)?;
        Ok((size("piece count", pieces)?, size("piece bytes", bytes)?))
    }
}
