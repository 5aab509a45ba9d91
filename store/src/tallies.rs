//! How much there is of what people look at, counted no further than they want to know.

use crate::{Db, SegmentState, StoreError, db::read, rows::size};

/// In the order of indexes, so that no more is read than is counted.
pub(crate) const TALLIES: &str = "\
    SELECT 'pending' AS what, COUNT(*) AS number FROM \
    (SELECT due_ms FROM segments WHERE state = 'pending' ORDER BY due_ms LIMIT $1) AS a \
    UNION ALL SELECT 'live', COUNT(*) FROM \
    (SELECT due_ms FROM segments WHERE state = 'live' ORDER BY due_ms LIMIT $1) AS b \
    UNION ALL SELECT 'orphaned', COUNT(*) FROM \
    (SELECT due_ms FROM segments WHERE state = 'orphaned' ORDER BY due_ms LIMIT $1) AS c \
    UNION ALL SELECT 'lost', COUNT(*) FROM \
    (SELECT due_ms FROM segments WHERE state = 'lost' ORDER BY due_ms LIMIT $1) AS d \
    UNION ALL SELECT 'repairs', COUNT(*) FROM (SELECT segment_id FROM repairs ORDER BY segment_id LIMIT $1) AS e \
    UNION ALL SELECT 'unpins', COUNT(*) FROM (SELECT node_id FROM unpins ORDER BY node_id, hash LIMIT $1) AS f";

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Segments being uploaded.
    pub pending: u64,
    /// Segments that somebody needs.
    pub live: u64,
    /// Segments that nobody needs any more.
    pub orphaned: u64,
    /// Segments that cannot be read.
    pub lost: u64,
    /// Segments that wait for repair.
    pub repairs: u64,
    /// Pieces that nodes are to be told to drop.
    pub unpins: u64,
}

impl Db {
    /// Counts each, up to `at_most`.
    pub async fn tallies(&self, at_most: u32) -> Result<Tallies, StoreError> {
        let rows: Vec<(String, i64)> =
            read!(self, pool => sqlx::query_as(TALLIES).bind(i64::from(at_most)).fetch_all(pool).await)?;
        let mut tallies = Tallies::default();
        for (what, number) in rows {
            let number = size("count", number)?;
            let state = what.parse::<SegmentState>();
            *match (state, what.as_str()) {
                (Ok(SegmentState::Pending), _) => &mut tallies.pending,
                (Ok(SegmentState::Live), _) => &mut tallies.live,
                (Ok(SegmentState::Orphaned), _) => &mut tallies.orphaned,
                (Ok(SegmentState::Lost), _) => &mut tallies.lost,
                (_, "repairs") => &mut tallies.repairs,
                _ => &mut tallies.unpins,
            } = number;
        }
        Ok(tallies)
    }
}
