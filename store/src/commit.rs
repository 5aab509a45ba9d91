//! Making uploads durable: segments, pieces, blocks, roots and pins of several uploads in one transaction.

use std::collections::HashSet;

use content::Cid;
use erasure::Scheme;
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    time::UnixMillis,
};
use sqlx::QueryBuilder;

use crate::{
    Db, StoreError,
    db::write,
    rows::{ROWS_PER_STATEMENT, sql},
};

/// A segment whose pieces are durable on enough nodes.
#[derive(Clone, Debug)]
pub struct NewSegment {
    /// Its name.
    pub id: SegmentId,
    /// Its coding.
    pub scheme: Scheme,
    /// Its length in bytes.
    pub length_bytes: u64,
    /// All `total` pieces in order of index.
    pub pieces: Vec<NewPiece>,
}

/// One piece of a [`NewSegment`].
#[derive(Clone, Copy, Debug)]
pub struct NewPiece {
    /// BLAKE3 of its bytes.
    pub hash: PieceHash,
    /// Where it is durable; `None` while it is on no node yet.
    pub node: Option<NodeId>,
}

/// Where a block lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockAt {
    /// The block.
    pub cid: Cid,
    /// The segment that holds it.
    pub segment: SegmentId,
    /// Where its bytes start in the segment.
    pub offset_bytes: u64,
    /// How many bytes it has.
    pub length_bytes: u64,
}

/// A finished upload: all its blocks are in durable segments.
#[derive(Clone, Debug)]
pub struct UploadMetadata {
    /// Whose pin it becomes.
    pub account: String,
    /// Name of the pin.
    pub name: String,
    /// Root CID.
    pub root: Cid,
    /// Bytes of the files in it.
    pub size_bytes: u64,
    /// Bytes of all its blocks, shared ones counted each time they occur.
    pub dag_size_bytes: u64,
    /// When the pin ends by itself.
    pub expires: Option<UnixMillis>,
    /// Blocks that were stored for this upload.
    pub blocks: Vec<BlockAt>,
    /// Every segment that holds a block of it, earlier ones included.
    pub segments: Vec<SegmentId>,
}

/// What became of one upload of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// A new pin.
    Created,
    /// The account had this pin already; nothing is counted twice.
    AlreadyPinned,
    /// The account's quota does not allow it; nothing of it was recorded.
    QuotaExceeded,
    /// A segment that it relies on was collected or lost meanwhile; nothing of it was recorded.
    SegmentGone,
}

const UPSERT_PIN: &str = "INSERT INTO pins (account_id, cid, name, size_bytes, created_ms, expires_ms) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account_id, cid) DO NOTHING";
const TOUCH_PIN: &str = "UPDATE pins SET name = CASE WHEN $3 = '' THEN name ELSE $3 END, expires_ms = $4 \
     WHERE account_id = $1 AND cid = $2";
const CHARGE: &str = "UPDATE accounts SET used_bytes = used_bytes + $2 \
     WHERE id = $1 AND used_bytes + $2 <= quota_bytes";
const REVIVE: &str = "UPDATE segments SET state = 'live' WHERE id = $1 AND state <> 'lost'";
const DROP_PIN: &str = "DELETE FROM pins WHERE account_id = $1 AND cid = $2";

/// Inserts segments as pending, and their pieces.
macro_rules! insert_segments {
    ($tx:ident, $segments:expr, $now:expr, $lease:expr) => {
        for part in $segments.chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new(
                "INSERT INTO segments (id, codec, needed, total, length_bytes, piece_bytes, state, created_ms, due_ms) ",
            );
            query.push_values(part, |mut row, segment: &NewSegment| {
                row.push_bind(segment.id.to_string())
                    .push_bind(segment.scheme.codec().to_string())
                    .push_bind(i64::from(segment.scheme.needed()))
                    .push_bind(i64::from(segment.scheme.total()))
                    .push_bind(sql(segment.length_bytes))
                    .push_bind(sql(segment.scheme.layout(segment.length_bytes).piece_len()))
                    .push_bind("pending")
                    .push_bind($now.0)
                    .push_bind($lease.0);
            });
            query.build().execute(&mut *$tx).await?;
        }
        let pieces: Vec<(SegmentId, usize, NewPiece)> = $segments
            .iter()
            .flat_map(|segment| segment.pieces.iter().enumerate().map(|(index, piece)| (segment.id, index, *piece)))
            .collect();
        for part in pieces.chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new(
                "INSERT INTO pieces (segment_id, piece_index, hash, node_id, stored_ms, verified_ms) ",
            );
            query.push_values(part, |mut row, (segment, index, piece): &(SegmentId, usize, NewPiece)| {
                row.push_bind(segment.to_string())
                    .push_bind(sql(*index as u64))
                    .push_bind(piece.hash.to_string())
                    .push_bind(piece.node.map(|node| node.to_string()))
                    .push_bind($now.0)
                    .push_bind($now.0);
            });
            query.build().execute(&mut *$tx).await?;
        }
    };
}

/// Makes one upload's segments live and its pin stand; gives the outcome. A refused upload undoes its own pin.
macro_rules! commit_upload {
    ($tx:ident, $upload:expr, $now:expr, $revived:ident) => {{
        let upload: &UploadMetadata = $upload;
        let mut gone = false;
        for segment in &upload.segments {
            if $revived.contains(segment) {
                continue;
            }
            let done = sqlx::query(REVIVE).bind(segment.to_string()).execute(&mut *$tx).await?;
            if done.rows_affected() == 0 {
                gone = true;
                break;
            }
            $revived.insert(*segment);
        }
        if gone {
            Committed::SegmentGone
        } else {
            let expires = upload.expires.map(|expires| expires.0);
            let root = upload.root.to_string();
            let size = sql(upload.size_bytes);
            let inserted = sqlx::query(UPSERT_PIN)
                .bind(&upload.account)
                .bind(&root)
                .bind(&upload.name)
                .bind(size)
                .bind($now.0)
                .bind(expires)
                .execute(&mut *$tx)
                .await?;
            if inserted.rows_affected() == 0 {
                sqlx::query(TOUCH_PIN)
                    .bind(&upload.account)
                    .bind(&root)
                    .bind(&upload.name)
                    .bind(expires)
                    .execute(&mut *$tx)
                    .await?;
                Committed::AlreadyPinned
            } else {
                let charged = sqlx::query(CHARGE).bind(&upload.account).bind(size).execute(&mut *$tx).await?;
                if charged.rows_affected() == 0 {
                    sqlx::query(DROP_PIN).bind(&upload.account).bind(&root).execute(&mut *$tx).await?;
                    Committed::QuotaExceeded
                } else {
                    Committed::Created
                }
            }
        }
    }};
}

/// Inserts roots, their segments and the new blocks of accepted uploads.
macro_rules! insert_graphs {
    ($tx:ident, $accepted:expr, $now:expr) => {{
        let accepted: Vec<&UploadMetadata> = $accepted;
        for part in accepted.chunks(ROWS_PER_STATEMENT) {
            let mut query =
                QueryBuilder::new("INSERT INTO roots (cid, size_bytes, dag_size_bytes, created_ms) ");
            query.push_values(part, |mut row, upload: &&UploadMetadata| {
                row.push_bind(upload.root.to_string())
                    .push_bind(sql(upload.size_bytes))
                    .push_bind(sql(upload.dag_size_bytes))
                    .push_bind($now.0);
            });
            query.push(" ON CONFLICT (cid) DO NOTHING");
            query.build().execute(&mut *$tx).await?;
        }
        let links: Vec<(String, SegmentId)> = accepted
            .iter()
            .flat_map(|upload| upload.segments.iter().map(|segment| (upload.root.to_string(), *segment)))
            .collect();
        for part in links.chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new("INSERT INTO root_segments (cid, segment_id) ");
            query.push_values(part, |mut row, (cid, segment): &(String, SegmentId)| {
                row.push_bind(cid.clone()).push_bind(segment.to_string());
            });
            query.push(" ON CONFLICT (cid, segment_id) DO NOTHING");
            query.build().execute(&mut *$tx).await?;
        }
        let blocks: Vec<&BlockAt> = accepted.iter().flat_map(|upload| &upload.blocks).collect();
        for part in blocks.chunks(ROWS_PER_STATEMENT) {
            let mut query =
                QueryBuilder::new("INSERT INTO blocks (cid, segment_id, offset_bytes, length_bytes) ");
            query.push_values(part, |mut row, block: &&BlockAt| {
                row.push_bind(block.cid.to_string())
                    .push_bind(block.segment.to_string())
                    .push_bind(sql(block.offset_bytes))
                    .push_bind(sql(block.length_bytes));
            });
            query.push(" ON CONFLICT (cid, segment_id) DO NOTHING");
            query.build().execute(&mut *$tx).await?;
        }
    }};
}

impl Db {
    /// Records new segments and finished uploads in one transaction. Segments that no upload of this call needs wait as
    /// `pending` until `lease`. Gives one outcome per upload, in order.
    pub async fn commit(
        &self,
        segments: &[NewSegment],
        uploads: &[UploadMetadata],
        now: UnixMillis,
        lease: UnixMillis,
    ) -> Result<Vec<Committed>, StoreError> {
        write!(self, tx => {
            insert_segments!(tx, segments, now, lease);
            let mut outcomes = Vec::with_capacity(uploads.len());
            let mut revived: HashSet<SegmentId> = HashSet::new();
            for upload in uploads {
                outcomes.push(commit_upload!(tx, upload, now, revived));
            }
            let accepted: Vec<&UploadMetadata> = uploads
                .iter()
                .zip(&outcomes)
                .filter(|(_, outcome)| matches!(outcome, Committed::Created | Committed::AlreadyPinned))
                .map(|(upload, _)| upload)
                .collect();
            insert_graphs!(tx, accepted, now);
            outcomes
        })
    }

    /// Keeps pending segments of uploads in progress from being collected.
    pub async fn extend_leases(&self, segments: &[SegmentId], lease: UnixMillis) -> Result<(), StoreError> {
        if segments.is_empty() {
            return Ok(());
        }
        write!(self, tx => {
            for part in segments.chunks(ROWS_PER_STATEMENT) {
                let mut query = QueryBuilder::new("UPDATE segments SET due_ms = ");
                query.push_bind(lease.0).push(" WHERE state = 'pending' AND id IN (");
                let mut ids = query.separated(", ");
                for segment in part {
                    ids.push_bind(segment.to_string());
                }
                query.push(")");
                query.build().execute(&mut *tx).await?;
            }
        })
    }
}
