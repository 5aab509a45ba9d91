//! No statement of a hot path reads a whole table. SQLite is asked how it would go about each.

use protocol::time::UnixMillis;
use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite, SqlitePool};

use super::{
    engines::with_sqlite,
    fixtures::{NOW, account, cid, commit, later, node_id, piece_hash, segment, segment_id, slot, upload},
};
use crate::{
    Db, PinFilter, PinState, Visit,
    forget::{OLD_EVENTS, OLD_HOURS, OLD_SETTLEMENTS},
    ledger,
    long_uploads::{DONE, SOME_BLOCKS},
    lookup::{pieces_of, places_of},
    pieces::{HELD_FROM, LOSERS, take_away},
    pin_groups::LEAVE,
    pin_search::matching,
    pins::{DELETE_EXPIRED, DELETE_OF_ROOT, DISCOUNT, EXPIRED, NEWEST, ORPHAN, PAGE, STILL_PINNED, UNLINK},
    repairs::due_repairs,
    segments::COLLECTABLE,
    tallies::TALLIES,
    tus_uploads::{OPEN, OVER, SHOW},
    unpins::QUEUED,
    visits::due_visits,
    waiting_pins::DUE,
};

/// The plan's lines, such as `SEARCH pins USING INDEX pins_by_time (account_id=?)`.
async fn plan(pool: &SqlitePool, sql: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(explain).fetch_all(pool).await.expect("a valid statement");
    rows.into_iter().map(|(_, _, _, line)| line).collect()
}

fn text(query: QueryBuilder<Sqlite>) -> String {
    query.into_string()
}

/// A search for all that waits, newest first.
fn waiting(start: &str) -> String {
    let states = vec![PinState::Queued, PinState::Pinning];
    let query = matching(start, "a", &PinFilter { states, ..PinFilter::default() });
    text(query) + " ORDER BY p.created_us DESC, p.id DESC LIMIT 9"
}

fn hot_statements() -> Vec<(&'static str, String)> {
    let spans = [(ledger::place(slot(1, 0)), ledger::Span::of(&(slot(1, 0), NOW, 1), later(9)))];
    let spans = [spans.clone(), spans].concat();
    let due = |visit| text(due_visits(visit, NOW, 9));
    vec![
        ("find_blocks", text(places_of(&[cid(1), cid(2), cid(3)]))),
        ("segments_info", text(pieces_of(&[segment_id(1), segment_id(2)]))),
        ("clear_long_upload", DONE.to_string()),
        ("clear_long_upload: blocks", SOME_BLOCKS.to_string()),
        ("tus_upload", SHOW.to_string()),
        ("trim_events", OLD_EVENTS.to_string()),
        ("trim_settlements", OLD_SETTLEMENTS.to_string()),
        ("roll_up_ledger", OLD_HOURS.to_string()),
        ("create_tus_upload", OPEN.to_string()),
        ("clear_tus_uploads", OVER.to_string()),
        ("held_pieces", HELD_FROM.to_string()),
        ("claim_visits probe", due(Visit::Probe)),
        ("claim_visits audit", due(Visit::Audit)),
        ("claim_visits reconcile", due(Visit::Reconcile)),
        ("claim_repairs", text(due_repairs(UnixMillis(0), 9))),
        ("queued_unpins", QUEUED.to_string()),
        ("pins", PAGE.to_string()),
        ("expired_pins", EXPIRED.to_string()),
        ("collectable_segments", COLLECTABLE.to_string()),
        ("tallies", TALLIES.to_string()),
        ("pin", NEWEST.to_string()),
        ("unpin: pins", DELETE_OF_ROOT.to_string()),
        ("unpin: expired", DELETE_EXPIRED.to_string()),
        ("unpin: others", STILL_PINNED.to_string()),
        ("unpin: root", DISCOUNT.to_string()),
        ("unpin: segments", ORPHAN.to_string()),
        ("unpin: links", UNLINK.to_string()),
        ("lose_pieces", text(take_away(node_id(1), &[(slot(1, 0), piece_hash(1, 0)); 3], NOW))),
        ("claim_pin_jobs", DUE.to_string()),
        ("find_pins", waiting("SELECT p.id FROM pins p")),
        ("remove_group", LEAVE.to_string()),
        ("losers_of", LOSERS.to_string()),
        ("record_passed", text(ledger::prove_spans(node_id(1), &spans))),
        (
            "commit: pins",
            "SELECT account_id, cid, id, state FROM pins WHERE state IN ('pinned', 'held') \
             AND (account_id, cid) IN (VALUES ($1, $2), ($3, $4))"
                .to_string(),
        ),
    ]
}

/// Whether a line of a plan reads one of our tables, or a whole index of it, from end to end.
fn reads_all(line: &str) -> bool {
    const TABLES: [&str; 23] = [
        "events",
        "ledger",
        "settlements",
        "long_uploads",
        "j",
        "pin_jobs",
        "pins",
        "p",
        "roots",
        "r",
        "root_segments",
        "o",
        "segments",
        "s",
        "pieces",
        "blocks",
        "b",
        "nodes",
        "repairs",
        "unpins",
        "tus_uploads",
        "long_upload_segments",
        "u",
    ];
    let mut words = line.split(' ');
    let scan = words.next() == Some("SCAN");
    // A queue is read along the index that orders it, and left after the first few rows.
    scan && words.next().is_some_and(|table| TABLES.contains(&table))
        && !line.ends_with("repairs_by_urgency")
        && !line.ends_with("pin_jobs_by_time")
}

/// What is read along a key and left at a LIMIT, or is what such a part of the statement gave.
const LEFT_EARLY: [(&str, &str); 3] = [
    ("tallies", "SCAN repairs USING COVERING INDEX sqlite_autoindex_repairs_1"),
    ("tallies", "SCAN unpins USING COVERING INDEX sqlite_autoindex_unpins_1"),
    ("tallies", "SCAN b"),
];

async fn assert_no_scans(db: Db) {
    let Db::Sqlite { read, .. } = &db else { panic!("a case for SQLite") };
    for (name, sql) in hot_statements() {
        let plan = plan(read, &sql).await;
        assert!(!plan.is_empty(), "{name} has no plan");
        let whole = |line: &&String| reads_all(line) && !LEFT_EARLY.contains(&(name, line.as_str()));
        assert!(!plan.iter().any(|line| whole(&line)), "{name} reads a whole table: {plan:#?}");
        let sorts = plan.iter().any(|line| line.contains("TEMP B-TREE FOR ORDER BY"));
        // Only few pins of an account wait.
        assert!(!sorts || ["segments_info", "find_pins"].contains(&name), "{name} sorts: {plan:#?}");
    }
}

#[test]
fn hot_statements_use_indexes() {
    with_sqlite(|db| Box::pin(assert_no_scans(db)));
}

/// The planner chooses otherwise once it has counted the rows.
#[test]
fn hot_statements_use_indexes_of_a_filled_and_analyzed_database() {
    with_sqlite(|db| {
        Box::pin(async move {
            account(&db, "a", 1 << 30).await;
            let segments: Vec<_> = (0..300).map(segment).collect();
            let uploads: Vec<_> = (0..2_000).map(|root| upload("a", root, 1, &[root % 300])).collect();
            commit(&db, &segments, &uploads).await;
            let hashes: Vec<_> = (0..500).map(|number| piece_hash(number, 9)).collect();
            db.queue_unpins(node_id(1), &hashes, NOW).await.expect("queue");
            let Db::Sqlite { write, .. } = &db else { panic!("a case for SQLite") };
            sqlx::query("ANALYZE").execute(write).await.expect("analyze");
            assert_no_scans(db).await;
        })
    });
}

#[test]
fn a_scan_is_seen() {
    assert!(reads_all("SCAN pins"));
    assert!(reads_all("SCAN s USING COVERING INDEX segments_due"));
    assert!(!reads_all("SCAN 2-ROW VALUES CLAUSE"));
    assert!(!reads_all("SEARCH pins USING INDEX pins_by_time (account_id=?)"));
}
