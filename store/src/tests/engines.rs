//! A fresh database of either engine for one case.

use std::{
    io::Write as _,
    pin::Pin,
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{Db, DbOptions};

/// Makes two tests of each case `async fn case(db: Db)`: one for each engine.
macro_rules! both_engines {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $case() {
                $crate::tests::engines::with_sqlite(|db| Box::pin(super::$case(db)));
            })*
        }
        mod on_postgres {
            $(#[test]
            fn $case() {
                $crate::tests::engines::with_postgres(|db| Box::pin(super::$case(db)));
            })*
        }
    };
}
pub(super) use both_engines;

/// A case under way. Boxed, and run by plain functions, so that what is around the cases is compiled once.
pub(super) type Running = Pin<Box<dyn Future<Output = ()>>>;

/// How to open a new SQLite file in `dir`. Not durable: no test here pulls the plug.
pub(super) fn sqlite_options(dir: &tempfile::TempDir) -> DbOptions {
    let mut options = DbOptions::new(format!("sqlite://{}", dir.path().join("test.db").display()));
    options.durable = false;
    options
}

/// The schema first, then the case.
fn migrated(case: fn(Db) -> Running) -> impl FnOnce(Db) -> Running {
    move |db| {
        Box::pin(async move {
            db.migrate().await.expect("migrate");
            case(db).await;
        })
    }
}

pub(super) fn with_sqlite(case: fn(Db) -> Running) {
    with_empty_sqlite(migrated(case));
}

/// A new SQLite file without any table.
pub(super) fn with_empty_sqlite(case: impl FnOnce(Db) -> Running) {
    block_on(async {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let db = Db::open(&sqlite_options(&dir)).await.expect("open");
        case(db.clone()).await;
        db.close().await;
    });
}

pub(super) fn with_postgres(case: fn(Db) -> Running) {
    with_empty_postgres(migrated(case));
}

/// A schema of its own without any table; it stays behind for inspection when the case fails.
pub(super) fn with_empty_postgres(case: impl FnOnce(Db) -> Running) {
    static SCHEMAS: AtomicU32 = AtomicU32::new(0);
    let Some(url) = postgres_url() else { return };
    let schema = format!("case_{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::Relaxed));
    block_on(async {
        let mut admin = PgConnection::connect(&url).await.expect("connect to TEST_POSTGRES_URL");
        let create = format!("CREATE SCHEMA {schema}");
        sqlx::query(AssertSqlSafe(create)).execute(&mut admin).await.expect("create schema");

        let separator = if url.contains('?') { '&' } else { '?' };
        let mut options = DbOptions::new(format!("{url}{separator}options[search_path]={schema}"));
        options.config.connections_max = 16;
        let db = Db::open(&options).await.expect("open");
        case(db.clone()).await;
        db.close().await;

        let drop = format!("DROP SCHEMA {schema} CASCADE");
        sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await.expect("drop schema");
    });
}

pub(super) fn block_on(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(work);
}

/// The database for tests, unless none is given. That is written past the test runner's capture, so that nobody takes
/// the skipped half of the suite for a passed one.
pub(super) fn postgres_url() -> Option<String> {
    static WARNING: Once = Once::new();
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration but this variable")]
    let url = std::env::var("TEST_POSTGRES_URL").ok();
    if url.is_none() {
        WARNING.call_once(|| {
            writeln!(
                std::io::stderr(),
                "\n*** TEST_POSTGRES_URL is not set: every on_postgres test of the store is SKIPPED ***\n"
            )
            .ok();
        });
    }
    url
}
