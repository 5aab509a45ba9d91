//! Finding bytes: from CIDs to blocks in segments, from segments to the nodes that hold their pieces.

use std::collections::{HashMap, HashSet};

use content::Cid;
use erasure::Scheme;
use protocol::ids::{NodeId, PieceHash, SegmentId};
use sqlx::QueryBuilder;

use crate::{
    BlockAt, Db, StoreError,
    db::read,
    rows::{ROWS_PER_STATEMENT, parse, scheme, size, small},
};

/// Blocks that were found, and the segments they lie in.
#[derive(Clone, Debug, Default)]
pub struct Located {
    /// One place per block, in no order; blocks that are not stored are missing.
    pub blocks: Vec<BlockAt>,
    /// Every segment named by `blocks`.
    pub segments: Vec<SegmentInfo>,
}

/// A segment and where its pieces are.
#[derive(Clone, Debug)]
pub struct SegmentInfo {
    /// Its name.
    pub id: SegmentId,
    /// Its coding.
    pub scheme: Scheme,
    /// Its length in bytes.
    pub length_bytes: u64,
    /// Whether enough pieces are left to read it, as far as is known.
    pub lost: bool,
    /// All its pieces by index.
    pub pieces: Vec<SegmentPiece>,
}

/// One piece of a [`SegmentInfo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentPiece {
    /// Which piece.
    pub index: u8,
    /// BLAKE3 of its bytes.
    pub hash: PieceHash,
    /// Who holds it; `None` when nobody does.
    pub node: Option<NodeId>,
}

type BlockRow = (String, String, i64, i64, String);
type SegmentRow = (String, String, i64, i64, i64, String);
type PieceRow = (String, i64, String, Option<String>);

impl Db {
    /// Which of these blocks are stored for some pinned root, and where. A block in a lost segment is given only when it
    /// lies nowhere else and `lost_too` asks for it.
    pub async fn find_blocks(&self, cids: &[Cid], lost_too: bool) -> Result<Vec<BlockAt>, StoreError> {
        let mut found: HashMap<Cid, (BlockAt, bool)> = HashMap::new();
        for part in cids.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<BlockRow> = read!(self, pool => {
                let mut query = QueryBuilder::new(
                    "SELECT b.cid, b.segment_id, b.offset_bytes, b.length_bytes, s.state FROM blocks b \
                     JOIN segments s ON s.id = b.segment_id WHERE s.state IN ('live', 'lost') AND b.cid IN (",
                );
                let mut list = query.separated(", ");
                for cid in part {
                    list.push_bind(cid.to_string());
                }
                query.push(")");
                query.build_query_as().fetch_all(pool).await
            })?;
            for (cid, segment, offset, length, state) in rows {
                let lost = state == "lost";
                let block = BlockAt {
                    cid: parse("block cid", &cid)?,
                    segment: parse("segment id", &segment)?,
                    offset_bytes: size("block offset", offset)?,
                    length_bytes: size("block length", length)?,
                };
                let better = found.get(&block.cid).is_none_or(|(_, known_lost)| *known_lost && !lost);
                if better && (!lost || lost_too) {
                    found.insert(block.cid.clone(), (block, lost));
                }
            }
        }
        Ok(found.into_values().map(|(block, _)| block).collect())
    }

    /// Finds blocks and the holders of all pieces that can rebuild them.
    pub async fn locate(&self, cids: &[Cid]) -> Result<Located, StoreError> {
        let blocks = self.find_blocks(cids, true).await?;
        let ids: HashSet<SegmentId> = blocks.iter().map(|block| block.segment).collect();
        let segments = self.segments_info(&ids.into_iter().collect::<Vec<_>>()).await?;
        Ok(Located { blocks, segments })
    }

    /// Segments with their pieces; unknown ones are missing from the answer.
    pub async fn segments_info(&self, ids: &[SegmentId]) -> Result<Vec<SegmentInfo>, StoreError> {
        let mut segments: HashMap<String, SegmentInfo> = HashMap::new();
        for part in ids.chunks(ROWS_PER_STATEMENT) {
            let (rows, pieces): (Vec<SegmentRow>, Vec<PieceRow>) = read!(self, pool => {
                let mut query = QueryBuilder::new(
                    "SELECT id, codec, needed, total, length_bytes, state FROM segments WHERE id IN (",
                );
                let mut list = query.separated(", ");
                for id in part {
                    list.push_bind(id.to_string());
                }
                query.push(")");
                let rows = query.build_query_as().fetch_all(pool).await?;
                let mut query = QueryBuilder::new(
                    "SELECT segment_id, piece_index, hash, node_id FROM pieces WHERE segment_id IN (",
                );
                let mut list = query.separated(", ");
                for id in part {
                    list.push_bind(id.to_string());
                }
                query.push(") ORDER BY segment_id, piece_index");
                let pieces = query.build_query_as().fetch_all(pool).await?;
                Ok::<_, StoreError>((rows, pieces))
            })?;
            for (id, codec, needed, total, length, state) in rows {
                let info = SegmentInfo {
                    id: parse("segment id", &id)?,
                    scheme: scheme(&codec, needed, total)?,
                    length_bytes: size("segment length", length)?,
                    lost: state == "lost",
                    pieces: Vec::new(),
                };
                segments.insert(id, info);
            }
            for (segment, index, hash, node) in pieces {
                let Some(info) = segments.get_mut(&segment) else { continue };
                info.pieces.push(SegmentPiece {
                    index: small("piece index", index)?,
                    hash: parse("piece hash", &hash)?,
                    node: node.map(|node| parse("node id", &node)).transpose()?,
                });
            }
        }
        Ok(segments.into_values().collect())
    }

    /// The segments that a pinned root's blocks lie in.
    pub async fn root_segments(&self, root: &Cid) -> Result<Vec<SegmentId>, StoreError> {
        const SQL: &str = "SELECT segment_id FROM root_segments WHERE cid = $1 ORDER BY segment_id";
        let rows: Vec<(String,)> =
            read!(self, pool => sqlx::query_as(SQL).bind(root.to_string()).fetch_all(pool).await)?;
        rows.iter().map(|(id,)| parse("segment id", id)).collect()
    }
}
