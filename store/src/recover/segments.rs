//! Segments that were found: known ones are brought up to date, others are recorded with what is in them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use content::Cid;
use protocol::{
    ids::{NodeId, SegmentId},
    record::Record,
    time::UnixMillis,
};
use sqlx::QueryBuilder;

use super::FoundPiece;
use crate::{
    BlockAt, Db, NewSegment, SegmentState, StoreError,
    commit::insert_segment_rows,
    db::{read, write},
    rows::{parse, runs, small, sql},
    segments::NOT_LOST,
};

/// A segment that was read from its pieces.
#[derive(Clone, Debug)]
pub struct FoundSegment {
    /// Its coding and pieces, with those nodes that hold them.
    pub segment: NewSegment,
    /// Its blocks, but for its record.
    pub blocks: Vec<BlockAt>,
    /// Which block links which.
    pub links: Vec<(Cid, Cid)>,
    /// Its record.
    pub record: Option<(Cid, Record)>,
}

/// How much of a segment a recovery has put down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundKind {
    /// All of it.
    Whole,
    /// What its blocks link; which blocks it has was known.
    Links,
}

/// What was changed of a known segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Pieces that are at another node than was recorded, or at one again.
    pub moved: u64,
    /// Pieces whose node says that it has them not.
    pub missing: u64,
}

/// Writes down what a record says of pins.
macro_rules! add_record {
    ($tx:ident, $record:expr, $is_known:expr) => {
        let record: &Record = $record;
        let seq = record.log.map(|place| place.seq.0);
        let mut rows: BTreeMap<(String, i64), FoundRow> = BTreeMap::new();
        for pin in &record.pins {
            let root = pin.root.to_string();
            let id = pin.id.clone().unwrap_or_else(|| format!("{}.{root}", pin.account));
            let row = FoundRow {
                is_gone: false,
                account: pin.account.clone(),
                root,
                is_v0: pin.root.as_written().is_v0(),
                has_id: pin.id.is_some(),
                created: pin.created.0,
                expires: pin.expires.map(|at| at.0),
                is_held: pin.held,
                sizes: pin.sizes,
            };
            rows.insert((id, seq.unwrap_or(pin.created.0)), row);
        }
        for gone in &record.gone {
            let (account, root) = (gone.account.clone(), gone.root.to_string());
            rows.insert((gone.id.clone(), seq.unwrap_or(0)), FoundRow { is_gone: true, account, root, ..FoundRow::default() });
        }
        let rows: Vec<((String, i64), FoundRow)> = rows.into_iter().collect();
        for part in runs(&rows) {
            let mut query = QueryBuilder::new(
                "INSERT INTO found_pins (pin_id, seq_us, is_note, is_known, is_gone, account_id, cid, is_v0, has_id, \
                 created_us, expires_ms, is_held, size_bytes, dag_bytes) ",
            );
            query.push_values(part, |mut to, ((id, seq), row)| {
                to.push_bind(id.clone())
                    .push_bind(*seq)
                    .push_bind(record.log.is_none())
                    .push_bind($is_known)
                    .push_bind(row.is_gone)
                    .push_bind(row.account.clone())
                    .push_bind(row.root.clone())
                    .push_bind(row.is_v0)
                    .push_bind(row.has_id)
                    .push_bind(row.created)
                    .push_bind(row.expires)
                    .push_bind(row.is_held)
                    .push_bind(row.sizes.map(|(size, _)| sql(size)))
                    .push_bind(row.sizes.map(|(_, dag)| sql(dag)));
            });
            // Once a part of the log was found unknown it is, though a recovery has recorded it since.
            query.push(" ON CONFLICT (pin_id, seq_us, is_note) DO NOTHING");
            query.build().execute(&mut *$tx).await?;
        }
        if let Some(place) = record.log {
            const PLACE: &str = "INSERT INTO found_log (seq_us, from_us) VALUES ($1, $2) ON CONFLICT (seq_us) DO NOTHING";
            sqlx::query(PLACE).bind(place.seq.0).bind(place.from.0).execute(&mut *$tx).await?;
        }
    };
}

/// Inserts those of the blocks that are not there; gives how many these are.
macro_rules! insert_found_blocks {
    ($tx:ident, $blocks:expr) => {{
        let mut added: u64 = 0;
        for part in runs(&$blocks) {
            let mut query =
                QueryBuilder::new("INSERT INTO blocks (cid, segment_id, offset_bytes, length_bytes) ");
            query.push_values(part, |mut row, block: &BlockAt| {
                row.push_bind(block.cid.to_string())
                    .push_bind(block.segment.to_string())
                    .push_bind(sql(block.offset_bytes))
                    .push_bind(sql(block.length_bytes));
            });
            query.push(" ON CONFLICT (cid, segment_id) DO NOTHING");
            added += query.build().execute(&mut *$tx).await?.rows_affected();
        }
        added
    }};
}

macro_rules! add_links {
    ($tx:ident, $links:expr) => {
        let links: Vec<&(Cid, Cid)> = $links.iter().collect::<BTreeSet<_>>().into_iter().collect();
        for part in runs(&links) {
            let mut query = QueryBuilder::new("INSERT INTO found_links (parent, child) ");
            query.push_values(part, |mut row, (parent, child)| {
                row.push_bind(parent.to_string()).push_bind(child.to_string());
            });
            query.push(" ON CONFLICT (parent, child) DO NOTHING");
            query.build().execute(&mut *$tx).await?;
        }
    };
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "columns of one row")]
struct FoundRow {
    is_gone: bool,
    account: String,
    root: String,
    is_v0: bool,
    has_id: bool,
    created: i64,
    expires: Option<i64>,
    is_held: bool,
    sizes: Option<(u64, u64)>,
}

const KIND: &str = "INSERT INTO found_segments (id, kind) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind";

impl Db {
    /// Records a segment that the database does not know, with its blocks, until `due` or until a pin needs it. `false`: it
    /// is known after all.
    pub async fn restore_segment(
        &self,
        found: &FoundSegment,
        now: UnixMillis,
        due: UnixMillis,
    ) -> Result<bool, StoreError> {
        const KNOWN: &str = "SELECT id FROM segments WHERE id = $1";
        const NAME: &str = "INSERT INTO pin_log_segments (segment_id, seq_us) VALUES ($1, $2) ON CONFLICT (segment_id) DO NOTHING";
        const LINK: &str = "INSERT INTO root_segments (cid, segment_id) VALUES ($1, $2) ON CONFLICT (cid, segment_id) DO NOTHING";
        let (segments, id) = ([found.segment.clone()], found.segment.id.to_string());
        let log = found.record.as_ref().and_then(|(cid, record)| Some((cid, record.log?)));
        write!(self, tx => {
            let known: Option<(String,)> = sqlx::query_as(KNOWN).bind(&id).fetch_optional(&mut *tx).await?;
            let is_new = known.is_none();
            if is_new {
                let state = if log.is_some() { SegmentState::Live } else { SegmentState::Pending };
                insert_segment_rows!(tx, &segments, |_: &NewSegment| state, now, due);
                insert_found_blocks!(tx, found.blocks);
                add_links!(tx, found.links);
                if let Some((_, record)) = &found.record {
                    add_record!(tx, record, false);
                }
                if let Some((cid, place)) = log {
                    sqlx::query(NAME).bind(&id).bind(place.seq.0).execute(&mut *tx).await?;
                    sqlx::query(LINK).bind(cid.to_string()).bind(&id).execute(&mut *tx).await?;
                }
                sqlx::query(KIND).bind(&id).bind("restored").execute(&mut *tx).await?;
            }
            is_new
        })
    }

    /// Whether a segment that the database knows may have blocks that it does not know: uploads that were not finished then have
    /// left no blocks in it. So it is of those that wait for their uploads, and of those recorded after `since`.
    pub async fn may_have_more(&self, segment: SegmentId, since: UnixMillis) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT id FROM segments WHERE id = $1 AND (state = $2 OR created_ms >= $3)";
        let row: Option<(String,)> = read!(self, pool => {
            sqlx::query_as(SQL)
                .bind(segment.to_string())
                .bind(SegmentState::Pending.as_str())
                .bind(since.0)
                .fetch_optional(pool)
                .await
        })?;
        Ok(row.is_some())
    }

    /// Adds to a known segment the blocks of it that the database does not know, and puts down its links and its record.
    /// Which state the segment is in is decided by the pins that need it.
    pub async fn complete_segment(&self, found: &FoundSegment) -> Result<u64, StoreError> {
        write!(self, tx => {
            let added = insert_found_blocks!(tx, found.blocks);
            add_links!(tx, found.links);
            if let Some((_, record)) = &found.record {
                add_record!(tx, record, record.log.is_some());
            }
            sqlx::query(KIND).bind(found.segment.id.to_string()).bind("completed").execute(&mut *tx).await?;
            added
        })
    }

    /// Puts down what links and records a segment has that the database knew before.
    pub async fn note_known_segment(&self, found: &FoundSegment) -> Result<(), StoreError> {
        let log = found.record.as_ref().filter(|(_, record)| record.log.is_some());
        write!(self, tx => {
            add_links!(tx, found.links);
            if let Some((_, record)) = log {
                add_record!(tx, record, true);
            }
            sqlx::query(KIND).bind(found.segment.id.to_string()).bind("scanned").execute(&mut *tx).await?;
        })
    }

    /// Notes that a known segment could not be read.
    pub async fn skip_segment(&self, segment: SegmentId) -> Result<(), StoreError> {
        write!(self, tx => {
            sqlx::query(KIND).bind(segment.to_string()).bind("unread").execute(&mut *tx).await?;
        })
    }

    /// What this recovery has done with a segment.
    pub async fn found_kind(&self, segment: SegmentId) -> Result<Option<FoundKind>, StoreError> {
        const SQL: &str = "SELECT kind FROM found_segments WHERE id = $1";
        let row: Option<(String,)> =
            read!(self, pool => sqlx::query_as(SQL).bind(segment.to_string()).fetch_optional(pool).await)?;
        Ok(row.and_then(|(kind,)| match kind.as_str() {
            "restored" | "completed" => Some(FoundKind::Whole),
            "scanned" => Some(FoundKind::Links),
            _ => None,
        }))
    }

    /// Brings a known segment's pieces to where they were found. What nodes that were not asked hold stays as it is, unless
    /// the piece was found elsewhere.
    pub async fn mend_segment(
        &self,
        id: SegmentId,
        found: &[FoundPiece],
        asked: &HashSet<NodeId>,
        now: UnixMillis,
    ) -> Result<Mended, StoreError> {
        const LOCK: &str = "SELECT needed FROM segments WHERE id = $1";
        const PIECES: &str =
            "SELECT piece_index, hash, node_id FROM pieces WHERE segment_id = $1 ORDER BY piece_index";
        const MOVE: &str = "UPDATE pieces SET node_id = $3, stored_ms = $4, verified_ms = $4 \
             WHERE segment_id = $1 AND piece_index = $2";
        const MISS: &str = "UPDATE pieces SET node_id = NULL WHERE segment_id = $1 AND piece_index = $2";
        let text = id.to_string();
        write!(self, tx => {
            let mut query = QueryBuilder::new(LOCK);
            query.push(self.for_update());
            let needed: Option<(i64,)> = query.build_query_as().bind(&text).fetch_optional(&mut *tx).await?;
            let rows: Vec<(i64, String, Option<String>)> =
                sqlx::query_as(PIECES).bind(&text).fetch_all(&mut *tx).await?;
            let mut mended = Mended::default();
            let mut taken: HashSet<NodeId> = HashSet::new();
            let mut homeless = Vec::new();
            for (index, hash, node) in rows {
                let (index, node) = (small("piece index", index)?, node.map(|node| parse("node id", &node)).transpose()?);
                let is_it = |piece: &&FoundPiece| piece.index == index && piece.hash.to_string() == hash;
                let stays = node.is_some_and(|node| {
                    let has = found.iter().any(|piece| is_it(&piece) && piece.node == node);
                    let elsewhere = found.iter().any(|piece| is_it(&piece));
                    has || (!asked.contains(&node) && !elsewhere)
                });
                match node.filter(|_| stays) {
                    Some(node) => drop(taken.insert(node)),
                    None => homeless.push((index, hash, node)),
                }
            }
            for (index, hash, was) in homeless {
                let is_it = |piece: &&FoundPiece| piece.index == index && piece.hash.to_string() == hash;
                let home = found.iter().filter(is_it).map(|piece| piece.node).find(|node| !taken.contains(node));
                if let Some(home) = home {
                    taken.insert(home);
                    mended.moved += 1;
                    sqlx::query(MOVE)
                        .bind(&text)
                        .bind(i64::from(index))
                        .bind(home.to_string())
                        .bind(now.0)
                        .execute(&mut *tx)
                        .await?;
                } else if was.is_some() {
                    mended.missing += 1;
                    sqlx::query(MISS).bind(&text).bind(i64::from(index)).execute(&mut *tx).await?;
                }
            }
            if needed.is_some_and(|(needed,)| sql(taken.len() as u64) >= needed) {
                sqlx::query(NOT_LOST).bind(&text).execute(&mut *tx).await?;
            }
            mended
        })
    }
}
