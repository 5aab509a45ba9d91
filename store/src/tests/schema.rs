//! Bringing the schema up to date while others do so too, use the database, or are killed in the middle of it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use super::{
    engines::{with_empty_postgres, with_empty_sqlite},
    fixtures::{NOW, account, node_id, used},
};
use crate::{Db, Earning, LedgerKind, StoreError};

/// Before any index was made beside running processes.
const OLD: i64 = 9;

fn pool(db: &Db) -> &PgPool {
    let Db::Postgres { pool, .. } = db else { panic!("a case for PostgreSQL") };
    pool
}

/// Tables, columns and valid indexes, as the server lists them.
async fn shape(db: &Db) -> BTreeSet<String> {
    const COLUMNS: &str = "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable \
         FROM information_schema.columns WHERE table_schema = current_schema()";
    const INDEXES: &str = "SELECT indexname || ' ' || replace(indexdef, current_schema() || '.', '') \
         FROM pg_indexes WHERE schemaname = current_schema() AND indexname NOT IN \
         (SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace)";
    let mut shape = BTreeSet::new();
    for sql in [COLUMNS, INDEXES] {
        let rows: Vec<(String,)> = sqlx::query_as(sql).fetch_all(pool(db)).await.expect("the catalogue");
        shape.extend(rows.into_iter().map(|(line,)| line));
    }
    shape
}

/// What all migrations give in a database that nobody uses.
fn whole_shape() -> BTreeSet<String> {
    let (send, receive) = std::sync::mpsc::channel();
    with_empty_postgres(move |db| {
        let send = send.clone();
        Box::pin(async move {
            db.migrate().await.expect("migrate");
            send.send(shape(&db).await).expect("somebody waits");
        })
    });
    receive.recv().unwrap_or_default()
}

/// Whoever waits for a lock on a table has all others wait behind it, however short what they want.
#[test]
fn a_migration_lets_others_by_while_somebody_uses_a_table_for_long() {
    // Whoever writes down that it was made; the server's own chores may wait for the table too.
    const WAITING: &str = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
         WHERE NOT l.granted AND l.mode = 'RowExclusiveLock' \
         AND c.relname = '_sqlx_migrations' AND c.relnamespace = current_schema()::regnamespace";
    with_empty_postgres(|db| {
        Box::pin(async move {
            db.migrate_to(OLD).await.expect("migrate");
            let mut user = pool(&db).acquire().await.expect("a connection");
            let mut used = user.begin().await.expect("begin");
            sqlx::query("LOCK TABLE _sqlx_migrations IN SHARE MODE").execute(&mut *used).await.expect("lock");
            let migration = tokio::spawn({
                let db = db.clone();
                async move { db.migrate().await }
            });
            let waits = async |wanted: bool| {
                loop {
                    let (count,): (i64,) =
                        sqlx::query_as(WAITING).fetch_one(pool(&db)).await.expect("the locks");
                    if (count > 0) == wanted {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            waits(true).await;
            waits(false).await;
            assert!(!migration.is_finished(), "it tries again");
            used.commit().await.expect("commit");
            migration.await.expect("no panic").expect("migrate");
            db.check_schema().await.expect("all is there");
        })
    });
}

async fn refused(db: &Db, found: i64) {
    let error = db.check_schema().await.expect_err("too old");
    assert!(matches!(error, StoreError::SchemaTooOld { found: version, .. } if version == found), "{error}");
    assert!(error.to_string().contains("pinstripe migrate"), "{error}");
}

async fn an_old_schema_is_refused_and_a_newer_one_is_not(db: Db) {
    refused(&db, 0).await;
    let all = db.pending_migrations().await.expect("pending").len();
    db.migrate_to(OLD).await.expect("migrate");
    refused(&db, OLD).await;
    let pending = db.pending_migrations().await.expect("pending");
    assert!(pending.len() < all && pending.iter().all(|migration| migration.version > OLD), "{pending:?}");
    db.migrate().await.expect("migrate");
    db.check_schema().await.expect("all is there");
    assert_eq!(db.pending_migrations().await.expect("pending"), []);
    // A program that knows fewer of them, beside newer ones.
    db.migrate_to(OLD).await.expect("nothing to do");
    db.check_schema().await.expect("all is there");
}

#[test]
fn on_sqlite_an_old_schema_is_refused_and_a_newer_one_is_not() {
    with_empty_sqlite(|db| Box::pin(an_old_schema_is_refused_and_a_newer_one_is_not(db)));
}

#[test]
fn on_postgres_an_old_schema_is_refused_and_a_newer_one_is_not() {
    with_empty_postgres(|db| Box::pin(an_old_schema_is_refused_and_a_newer_one_is_not(db)));
}

#[test]
fn many_migrate_one_database_at_once() {
    let whole = whole_shape();
    with_empty_postgres(move |db| {
        let whole = whole.clone();
        Box::pin(async move {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..6 {
                let db = db.clone();
                tasks.spawn(async move { db.migrate().await });
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("no panic").expect("migrate");
            }
            assert_eq!(shape(&db).await, whole);
        })
    });
}

/// A connection in another one's way, and the other one, which is killed when it waits.
async fn kill_a_migration(db: &Db, in_the_way: &str, waiting: &str) {
    const KILL: &str = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE query LIKE $1 AND $2 = ANY (pg_blocking_pids(pid))";
    let mut other = PgConnection::connect_with(&pool(db).connect_options()).await.expect("connect");
    let (me,): (i32,) = sqlx::query_as("SELECT pg_backend_pid()").fetch_one(&mut other).await.expect("pid");
    let mut transaction = other.begin().await.expect("begin");
    sqlx::query(AssertSqlSafe(in_the_way.to_string())).execute(&mut *transaction).await.expect("lock");
    let migration = tokio::spawn({
        let db = db.clone();
        async move { db.migrate().await }
    });
    loop {
        let killed: (i64,) =
            sqlx::query_as(KILL).bind(waiting).bind(me).fetch_one(pool(db)).await.expect("look for it");
        if killed.0 > 0 {
            break;
        }
        assert!(!migration.is_finished(), "it did not wait for anybody");
        tokio::task::yield_now().await;
    }
    migration.await.expect("no panic").expect_err("it was killed");
    transaction.rollback().await.expect("get out of the way");
}

#[test]
fn a_migration_that_was_killed_in_a_transaction_is_made_by_the_next_run() {
    let whole = whole_shape();
    with_empty_postgres(move |db| {
        let whole = whole.clone();
        Box::pin(async move {
            db.migrate_to(4).await.expect("migrate");
            // The fifth adds columns to it.
            kill_a_migration(&db, "LOCK TABLE pins IN ACCESS SHARE MODE", "%ALTER TABLE%").await;
            assert_eq!(db.made_migrations().await.expect("made"), [1, 2, 3, 4]);
            db.migrate().await.expect("migrate");
            assert_eq!(shape(&db).await, whole);
        })
    });
}

#[test]
fn an_index_that_was_left_half_made_is_made_anew() {
    let whole = whole_shape();
    with_empty_postgres(move |db| {
        let whole = whole.clone();
        Box::pin(async move {
            const HALF_MADE: &str = "SELECT COUNT(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                 WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace";
            db.migrate_to(OLD).await.expect("migrate");
            // Writers are not kept out, but waited for.
            kill_a_migration(&db, "UPDATE ledger SET micros = 0", "%CREATE INDEX CONCURRENTLY%").await;
            let half_made: (i64,) =
                sqlx::query_as(HALF_MADE).fetch_one(pool(&db)).await.expect("the catalogue");
            assert!(half_made.0 > 0, "the index was begun");
            db.migrate().await.expect("migrate");
            assert_eq!(shape(&db).await, whole);
        })
    });
}

#[test]
fn processes_work_on_while_indexes_are_made() {
    with_empty_postgres(|db| {
        Box::pin(async move {
            db.migrate_to(OLD).await.expect("migrate");
            account(&db, "a", 9).await;
            let stop = Arc::new(AtomicBool::new(false));
            let work = tokio::spawn({
                let (db, stop) = (db.clone(), stop.clone());
                async move {
                    let mut hour = NOW.hour();
                    while !stop.load(Ordering::Relaxed) {
                        let one = [Earning { kind: LedgerKind::Egress, quantity: 1 }];
                        db.settle_window(node_id(1), hour, &one, NOW, |_, carry| (1, carry))
                            .await
                            .expect("settle");
                        hour = hour + Duration::from_hours(1);
                    }
                    hour
                }
            });
            db.migrate().await.expect("migrate");
            stop.store(true, Ordering::Relaxed);
            let until = work.await.expect("no statement failed");
            let hours = until.since(NOW.hour()).as_secs() / 3600;
            assert_eq!(db.earned(node_id(1)).await.expect("earned"), [("egress".to_string(), hours)]);
            assert_eq!(used(&db, "a").await, 0);
        })
    });
}
