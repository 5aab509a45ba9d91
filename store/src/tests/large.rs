//! Ten million rows, and everything that the store does: the server itself reports how it went about each statement. None
//! may read a large table from end to end, nor more pages than a bounded step needs, whatever the clock says.
//!
//! A new function of the store cannot be forgotten: the source is searched for them, and each must be run here (`drive`) or
//! stand in `NOT_HOT` with a reason.

mod drive;
mod plans;

use std::{collections::BTreeSet, path::Path};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::task::JoinSet;

use super::engines::postgres_url;
use crate::{Db, DbOptions};
use plans::Plans;

/// Why what only a recovery runs may read whole tables.
const RECOVERY: &str = "for `pinstripe recover`, which goes through everything";

/// Functions that may read whole tables, or touch none of them.
const NOT_HOT: [(&str, &str); 39] = [
    ("open", "opens"),
    ("close", "closes"),
    ("ping", "reads nothing"),
    ("reach", "reads nothing"),
    ("migrate", "once for each version"),
    ("pending_migrations", "at the start, of a few rows"),
    ("check_schema", "at the start, of a few rows"),
    ("segment_counts", "a gauge, every few minutes"),
    ("repairs_waiting", "a gauge, every few minutes"),
    ("unpins_waiting", "a gauge, every few minutes"),
    ("waiting_pins", "a gauge, every few minutes"),
    ("long_uploads", "a count for tests"),
    ("holdings", "a count for people"),
    ("find_blocks", "what it runs is run by `locate`"),
    ("pin_changes", "a count for tests"),
    ("add_found", RECOVERY),
    ("begin_recovery", RECOVERY),
    ("complete_segment", RECOVERY),
    ("drop_pin", RECOVERY),
    ("end_recovery", RECOVERY),
    ("forget_found", RECOVERY),
    ("found_after", RECOVERY),
    ("found_kind", RECOVERY),
    ("found_pieces", RECOVERY),
    ("found_pins", RECOVERY),
    ("incomplete_roots", RECOVERY),
    ("may_have_more", RECOVERY),
    ("measure_under", RECOVERY),
    ("mend_segment", RECOVERY),
    ("mistaken_adoptions", RECOVERY),
    ("note_incomplete", RECOVERY),
    ("note_known_segment", RECOVERY),
    ("relink_root", RECOVERY),
    ("release_collection", RECOVERY),
    ("restore_pin", RECOVERY),
    ("restore_segment", RECOVERY),
    ("skip_segment", RECOVERY),
    ("unclaimed_roots", RECOVERY),
    ("unread_under", RECOVERY),
];

/// Statements a connection prepares are planned for their values the first five times, and may be planned for any values
/// afterwards: with so many rounds both are seen.
const ROUNDS: u32 = 8;

/// At once; the tables do not depend on each other.
const FILLERS: usize = 3;

/// Tables without keys and indexes, then rows, then keys and indexes: several times as fast as row by row.
async fn fill(url: &str) {
    const TABLES: &str = "SELECT tablename::text FROM pg_tables \
         WHERE schemaname = current_schema() AND tablename NOT LIKE '\\_%'";
    const KEYS: &str = "SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint \
         WHERE contype = 'p' AND connamespace = current_schema()::regnamespace";
    const INDEXES: &str = "SELECT indexname::text, indexdef FROM pg_indexes WHERE schemaname = current_schema() \
         AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE contype = 'p')";
    let mut connection = PgConnection::connect(url).await.expect("connect");
    connection.execute("SET statement_timeout = 0").await.expect("set");
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut connection).await.expect("tables");
    let keys: Vec<(String, String, String)> =
        sqlx::query_as(KEYS).fetch_all(&mut connection).await.expect("keys");
    let indexes: Vec<(String, String)> =
        sqlx::query_as(INDEXES).fetch_all(&mut connection).await.expect("indexes");
    let mut before: Vec<String> =
        tables.iter().map(|table| format!("ALTER TABLE {table} SET UNLOGGED")).collect();
    before.extend(keys.iter().map(|(table, key, _)| format!("ALTER TABLE {table} DROP CONSTRAINT {key}")));
    before.extend(indexes.iter().map(|(index, _)| format!("DROP INDEX {index}")));
    let rows = include_str!("large/fill.sql").split(';').map(|sql| format!("{sql};"));
    let (functions, rows): (Vec<String>, Vec<String>) = rows.partition(|sql| sql.contains("CREATE FUNCTION"));
    before.extend(functions);
    for sql in before {
        connection.execute(AssertSqlSafe(sql)).await.expect("empty");
    }
    all_of(url, rows).await;
    // Keys first, table by table: two on one table would wait for each other.
    let keys =
        keys.into_iter().map(|(table, key, what)| format!("ALTER TABLE {table} ADD CONSTRAINT {key} {what}"));
    all_of(url, keys.collect()).await;
    all_of(url, indexes.into_iter().map(|(_, sql)| sql).collect()).await;
    // Not the whole database: that would wait for the locks of other tests.
    let analyze = format!("ANALYZE {}", tables.join(", "));
    connection.execute(AssertSqlSafe(analyze)).await.expect("analyze");
}

/// Runs statements, a few at once.
async fn all_of(url: &str, statements: Vec<String>) {
    let mut tasks = JoinSet::new();
    for lane in 0..FILLERS {
        let mine: Vec<String> = statements.iter().skip(lane).step_by(FILLERS).cloned().collect();
        let url = url.to_string();
        tasks.spawn(async move {
            let mut connection = PgConnection::connect(&url).await.expect("connect");
            connection
                .execute("SET statement_timeout = 0; SET maintenance_work_mem = '256MB'")
                .await
                .expect("set");
            for sql in mine {
                connection.execute(AssertSqlSafe(sql)).await.expect("fill");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("filled");
    }
}

#[test]
fn no_statement_reads_a_large_table_of_ten_million_rows_from_end_to_end() {
    const ROWS: i64 = 10_000_000;
    let Some(url) = postgres_url() else { return };
    let plans = Plans::default();
    // What the server says is heard on this thread alone.
    let _listening = plans.listen();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut admin = PgConnection::connect(&url).await.expect("connect");
        let schema = format!("large_{}", std::process::id());
        admin.execute(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).await.expect("create");
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}options[search_path]={schema}");
        let db = Db::open(&DbOptions::new(&url)).await.expect("open");
        db.migrate().await.expect("migrate");
        fill(&url).await;
        db.close().await;
        let (rows,): (i64,) = sqlx::query_as(
            "SELECT CAST(SUM(reltuples) AS BIGINT) FROM pg_class WHERE relkind = 'r' AND relnamespace = $1::regnamespace",
        )
        .bind(&schema)
        .fetch_one(&mut admin)
        .await
        .expect("count");
        assert!(rows >= ROWS, "{rows} rows");

        // One connection, so that statements are prepared once and run again.
        let mut options = DbOptions::new(format!("{url}{}", plans::EXPLAINED));
        options.config.connections_max = 1;
        let db = Db::open(&options).await.expect("open");
        for round in 0..ROUNDS {
            drive::everything(&db, &plans, round).await;
        }
        db.close().await;
        admin.execute(AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"))).await.expect("drop");
    });
    let wrong = plans.wrong();
    assert!(wrong.is_empty(), "{} statements:\n{}", wrong.len(), wrong.join("\n"));
    let driven = plans.driven();
    let known: BTreeSet<String> = NOT_HOT.iter().map(|(name, _)| (*name).to_string()).collect();
    let functions = functions(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let forgotten: Vec<&String> =
        functions.iter().filter(|name| !driven.contains(*name) && !known.contains(*name)).collect();
    assert!(forgotten.is_empty(), "run these in `drive.rs`: {forgotten:?}");
}

/// The names of all functions by which the store is used.
fn functions(dir: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).expect("the source").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() && !entry.ends_with("tests") {
            names.extend(functions(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&entry).expect("a file");
            let declared = text.lines().filter_map(|line| line.trim().strip_prefix("pub async fn "));
            names.extend(declared.filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_string));
        }
    }
    names
}
