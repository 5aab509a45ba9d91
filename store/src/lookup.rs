//! Finding bytes: from CIDs to blocks in segments, from segments to the nodes that hold their pieces.

use std::collections::{HashMap, HashSet};

use content::Cid;
use erasure::Scheme;
use protocol::ids::{NodeId, PieceHash, SegmentId};
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::{
    BlockAt, Db, SegmentState, StoreError,
    db::read,
    rows::{ROWS_PER_STATEMENT, parse, push_list, scheme, size, small},
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

/// A block that is stored, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFound {
    /// Where it lies.
    pub at: BlockAt,
    /// `None`: everybody may use it; otherwise this long upload in progress.
    pub upload: Option<String>,
}

/// Block, segment, offset, length, state, long upload, when that was finished.
type BlockRow = (String, String, i64, i64, String, Option<String>, Option<i64>);
/// A row of a block.
struct Place {
    at: BlockAt,
    state: SegmentState,
    /// The long upload in progress whose it is.
    upload: Option<String>,
}

type SegmentRow = (String, String, i64, i64, i64, String, i64, String, Option<String>);

/// Every place of these blocks.
pub(crate) fn places_of<DB: Database>(cids: &[Cid]) -> QueryBuilder<DB>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new(
        "SELECT b.cid, b.segment_id, b.offset_bytes, b.length_bytes, s.state, b.upload_id, u.finished_ms \
         FROM blocks b JOIN segments s ON s.id = b.segment_id LEFT JOIN long_uploads u ON u.id = b.upload_id \
         WHERE b.cid IN ",
    );
    push_list(&mut query, cids);
    query
}

/// Every piece of these segments, each with its segment.
pub(crate) fn pieces_of<DB: Database>(ids: &[SegmentId]) -> QueryBuilder<DB>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new(
        "SELECT s.id, s.codec, s.needed, s.total, s.length_bytes, s.state, p.piece_index, p.hash, p.node_id \
         FROM segments s JOIN pieces p ON p.segment_id = s.id WHERE s.id IN ",
    );
    push_list(&mut query, ids);
    query.push(" ORDER BY s.id, p.piece_index");
    query
}

impl Db {
    /// Which of these blocks are stored for some pinned root, and where. A block in a lost segment is given only when it
    /// lies nowhere else and `lost_too` asks for it.
    pub async fn find_blocks(&self, cids: &[Cid], lost_too: bool) -> Result<Vec<BlockAt>, StoreError> {
        let mut found: HashMap<Cid, (BlockAt, bool)> = HashMap::new();
        for Place { at: block, state, upload } in self.places(cids).await? {
            let lost = match state {
                SegmentState::Live => false,
                SegmentState::Lost if lost_too => true,
                SegmentState::Lost | SegmentState::Pending | SegmentState::Orphaned => continue,
            };
            if upload.is_some() {
                continue;
            }
            // The smallest name wins, so that all readers go to the same segment and share its cached ranges.
            let rank = |lost: bool, block: &BlockAt| (lost, block.segment);
            let better =
                found.get(&block.cid).is_none_or(|(known, was)| rank(lost, &block) < rank(*was, known));
            if better {
                found.insert(block.cid.clone(), (block, lost));
            }
        }
        Ok(found.into_values().map(|(block, _)| block).collect())
    }

    /// Which of these blocks need not be stored again, and where they are: those of pinned roots, and those of long uploads
    /// in progress, which only the upload itself may rely on. A block may be found several times.
    pub async fn find_stored(&self, cids: &[Cid]) -> Result<Vec<BlockFound>, StoreError> {
        let usable = |place: &Place| match place.state {
            SegmentState::Live => true,
            SegmentState::Pending => place.upload.is_some(),
            SegmentState::Orphaned | SegmentState::Lost => false,
        };
        let places = self.places(cids).await?.into_iter().filter(usable);
        Ok(places.map(|Place { at, upload, .. }| BlockFound { at, upload }).collect())
    }

    /// Finds blocks as [`Db::locate`] does, and those that only an upload in progress may use so far. For reading what an
    /// upload in several requests has stored, never for readers: nobody may see it yet.
    pub async fn locate_unfinished(&self, cids: &[Cid]) -> Result<Located, StoreError> {
        let mut found: HashMap<Cid, Place> = HashMap::new();
        for place in self.places(cids).await? {
            // What everybody may use does not go when an upload is given up.
            let rank = |place: &Place| (place.upload.is_some(), place.state != SegmentState::Live);
            let better = found.get(&place.at.cid).is_none_or(|known| rank(&place) < rank(known));
            if place.state != SegmentState::Lost && better {
                found.insert(place.at.cid.clone(), place);
            }
        }
        let blocks: Vec<BlockAt> = found.into_values().map(|place| place.at).collect();
        let ids: HashSet<SegmentId> = blocks.iter().map(|block| block.segment).collect();
        let segments = self.segments_info(&ids.into_iter().collect::<Vec<_>>()).await?;
        Ok(Located { blocks, segments })
    }

    async fn places(&self, cids: &[Cid]) -> Result<Vec<Place>, StoreError> {
        let mut places = Vec::new();
        for part in cids.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<BlockRow> = read!(self, pool => {
                places_of(part).build_query_as().fetch_all(pool).await
            })?;
            for (cid, segment, offset, length, state, upload, finished) in rows {
                let at = BlockAt {
                    cid: parse("block cid", &cid)?,
                    segment: parse("segment id", &segment)?,
                    offset_bytes: size("block offset", offset)?,
                    length_bytes: size("block length", length)?,
                };
                let state = parse("segment state", &state)?;
                places.push(Place { at, state, upload: upload.filter(|_| finished.is_none()) });
            }
        }
        Ok(places)
    }

    /// Finds blocks and the holders of all pieces that can rebuild them.
    pub async fn locate(&self, cids: &[Cid]) -> Result<Located, StoreError> {
        let blocks = self.find_blocks(cids, true).await?;
        let ids: HashSet<SegmentId> = blocks.iter().map(|block| block.segment).collect();
        let segments = self.segments_info(&ids.into_iter().collect::<Vec<_>>()).await?;
        Ok(Located { blocks, segments })
    }

    /// Segments with their pieces, in no order; unknown ones are missing from the answer.
    pub async fn segments_info(&self, ids: &[SegmentId]) -> Result<Vec<SegmentInfo>, StoreError> {
        let mut segments: HashMap<String, SegmentInfo> = HashMap::new();
        for part in ids.chunks(ROWS_PER_STATEMENT) {
            // One statement, so that a segment that is collected meanwhile is there with all its pieces or not at all.
            let rows: Vec<SegmentRow> = read!(self, pool => {
                pieces_of(part).build_query_as().fetch_all(pool).await
            })?;
            for (id, codec, needed, total, length, state, index, hash, node) in rows {
                let piece = SegmentPiece {
                    index: small("piece index", index)?,
                    hash: parse("piece hash", &hash)?,
                    node: node.map(|node| parse("node id", &node)).transpose()?,
                };
                if let Some(info) = segments.get_mut(&id) {
                    info.pieces.push(piece);
                    continue;
                }
                let info = SegmentInfo {
                    id: parse("segment id", &id)?,
                    scheme: scheme(&codec, needed, total)?,
                    length_bytes: size("segment length", length)?,
                    lost: state == SegmentState::Lost.as_str(),
                    pieces: vec![piece],
                };
                segments.insert(id, info);
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
