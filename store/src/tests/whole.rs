//! What hangs together between the tables, asked of the tables themselves.

use crate::{Db, db::read};

/// What must hold between the tables at every moment.
pub(super) async fn assert_whole(db: &Db) {
    for (what, sql) in [
        (
            "accounts are charged for their pins and nothing else",
            "SELECT COUNT(*) FROM accounts a WHERE a.used_bytes <> \
             (SELECT CAST(COALESCE(SUM(p.size_bytes), 0) AS BIGINT) FROM \
             (SELECT DISTINCT account_id, cid, size_bytes, CASE state WHEN 'held' THEN id ELSE '' END FROM pins \
             WHERE state IN ('pinned', 'held')) p WHERE p.account_id = a.id)",
        ),
        ("no account is over its quota", "SELECT COUNT(*) FROM accounts WHERE used_bytes > quota_bytes"),
        (
            "every stored pin has its root",
            "SELECT COUNT(*) FROM pins WHERE state IN ('pinned', 'held') AND cid NOT IN (SELECT cid FROM roots)",
        ),
        (
            "what waits to be fetched has a job, and nothing else has",
            "SELECT (SELECT COUNT(*) FROM pins WHERE state IN ('queued', 'pinning') \
             AND id NOT IN (SELECT pin_id FROM pin_jobs)) + (SELECT COUNT(*) FROM pin_jobs WHERE pin_id NOT IN \
             (SELECT id FROM pins WHERE state IN ('queued', 'pinning')))",
        ),
        ("metadata has its pin", "SELECT COUNT(*) FROM pin_meta WHERE pin_id NOT IN (SELECT id FROM pins)"),
        (
            "every root is pinned, by as many as it says",
            "SELECT COUNT(*) FROM roots r WHERE r.pins = 0 OR r.pins <> \
             (SELECT COUNT(*) FROM pins p WHERE p.cid = r.cid AND p.state IN ('pinned', 'held'))",
        ),
        (
            "every root lies in some segment",
            "SELECT COUNT(*) FROM roots WHERE cid NOT IN (SELECT cid FROM root_segments)",
        ),
        (
            "only roots keep segments",
            "SELECT COUNT(*) FROM root_segments WHERE cid NOT IN (SELECT cid FROM roots)",
        ),
        (
            "what a root needs is kept",
            "SELECT COUNT(*) FROM root_segments l WHERE NOT EXISTS \
             (SELECT 1 FROM segments s WHERE s.id = l.segment_id AND s.state IN ('live', 'lost'))",
        ),
        (
            "nothing is kept that no root needs",
            "SELECT COUNT(*) FROM segments WHERE state = 'live' \
             AND id NOT IN (SELECT segment_id FROM root_segments)",
        ),
        (
            "every piece has its segment",
            "SELECT COUNT(*) FROM pieces WHERE segment_id NOT IN (SELECT id FROM segments)",
        ),
        (
            "every block has its segment",
            "SELECT COUNT(*) FROM blocks WHERE segment_id NOT IN (SELECT id FROM segments)",
        ),
    ] {
        let broken: (i64,) = read!(db, pool => sqlx::query_as(sql).fetch_one(pool).await).expect(what);
        assert_eq!(broken.0, 0, "{what}");
    }
}
