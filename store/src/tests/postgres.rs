//! What only PostgreSQL can get wrong: transactions that wait for each other, and statements that run too long.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::{sync::Barrier, task::JoinSet};

use super::{
    engines::{block_on, postgres_url, with_postgres},
    fixtures::{account, used},
    own_server::OwnServer,
};
use crate::{
    Db, DbOptions, StoreError,
    db::{read, retry::Stage, write},
};

const CHARGE: &str = "UPDATE accounts SET used_bytes = used_bytes + 1 WHERE id = $1";

/// Charges two accounts in this order, and on its first try meets the other caller in the middle.
async fn charge(db: &Db, accounts: [&str; 2], middle: &Barrier, tries: &AtomicU32) -> Result<(), StoreError> {
    write!(db, tx => {
        sqlx::query(CHARGE).bind(accounts[0]).execute(&mut *tx).await?;
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            middle.wait().await;
        }
        sqlx::query(CHARGE).bind(accounts[1]).execute(&mut *tx).await?;
    })
}

/// Two transactions that lock two rows crosswise; gives their outcomes and how often their bodies ran.
async fn cross(db: &Db) -> ([Result<(), StoreError>; 2], u32) {
    let middle = Barrier::new(2);
    let tries = [AtomicU32::new(0), AtomicU32::new(0)];
    let (one, other) =
        tokio::join!(charge(db, ["a", "b"], &middle, &tries[0]), charge(db, ["b", "a"], &middle, &tries[1]));
    ([one, other], tries.iter().map(|tries| tries.load(Ordering::Relaxed)).sum())
}

#[test]
fn a_transaction_that_gave_way_is_run_again() {
    with_postgres(|db| {
        Box::pin(async move {
            account(&db, "a", 9).await;
            account(&db, "b", 9).await;
            let (outcomes, tries) = cross(&db).await;
            for outcome in outcomes {
                outcome.expect("the one that gave way came through at last");
            }
            assert!(tries > 2, "the server cut a cycle of locks");
            assert_eq!((used(&db, "a").await, used(&db, "b").await), (2, 2), "each was run to its end once");
        })
    });
}

#[test]
fn it_is_not_run_again_more_often_than_allowed() {
    with_postgres(|db| {
        Box::pin(async move {
            account(&db, "a", 9).await;
            account(&db, "b", 9).await;
            let Db::Postgres { pool, deadline, .. } = &db else { panic!("a case for PostgreSQL") };
            let (pool, deadline) = (pool.clone(), deadline.clone());
            let (outcomes, tries) = cross(&Db::Postgres { pool, retries_max: 0, deadline }).await;
            assert_eq!(tries, 2);
            let failed: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
            assert_eq!(failed.len(), 1);
            assert!(failed[0].may_run_again(Stage::Committing), "{}", failed[0]);
            assert_eq!((used(&db, "a").await, used(&db, "b").await), (1, 1));
        })
    });
}

#[tokio::test]
async fn a_statement_that_runs_too_long_is_cancelled() {
    let Some(url) = postgres_url() else { return };
    let mut options = DbOptions::new(url);
    options.config.statement_max = Duration::from_millis(50);
    let db = Db::open(&options).await.expect("open");
    let Db::Postgres { pool, .. } = &db else { panic!("a case for PostgreSQL") };
    let error: StoreError =
        sqlx::query("SELECT pg_sleep(600)").execute(pool).await.expect_err("cancelled").into();
    assert!(error.to_string().contains("statement timeout"), "{error}");
    assert!(!error.may_run_again(Stage::Open));
}

/// A host that is gone answers nothing, and neither does a server that is busy with a statement.
#[tokio::test]
async fn a_call_that_nobody_answers_is_given_up_and_keeps_no_connection() {
    let Some(url) = postgres_url() else { return };
    let mut options = DbOptions::new(url);
    options.config.connections_max = 1;
    options.config.wait_max = Duration::from_secs(60);
    options.config.statement_max = Duration::from_secs(60);
    options.config.call_max = Duration::from_secs(5);
    let db = Db::open(&options).await.expect("open");
    let silent: Result<(), sqlx::Error> =
        read!(&db, pool => sqlx::query("SELECT pg_sleep(600)").execute(pool).await.map(drop));
    let error: StoreError = silent.expect_err("given up").into();
    assert!(error.to_string().contains("did not answer within 5 s"), "{error}");
    assert!(!error.may_run_again(Stage::Open), "that would take as long again");
    db.ping().await.expect("its connection has made room for another");
    let silent: Result<(), StoreError> = async {
        write!(&db, tx => {
            sqlx::query("SELECT pg_sleep(600)").execute(&mut *tx).await?;
        })
    }
    .await;
    silent.expect_err("given up");
    db.ping().await.expect("so has that of a transaction");
    db.close().await;
}

/// Whether it answers, and how it fails if it does not.
async fn read_and_write(db: &Db) -> Result<(), StoreError> {
    db.set_quota("a", 9).await?;
    db.account("a").await?.expect("it is there");
    Ok(())
}

/// Eight callers, none of whom may fail.
async fn all_at_once(db: &Db) {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let db = db.clone();
        tasks.spawn(async move { read_and_write(&db).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic").expect("it works");
    }
}

#[test]
fn a_server_that_is_started_again_is_found_again() {
    let Some(server) = OwnServer::start() else { return };
    block_on(async {
        let db = Db::open(&server.options()).await.expect("open");
        db.migrate().await.expect("migrate");
        account(&db, "a", 9).await;
        // Several connections, which do not know yet that the server is going to be another one.
        all_at_once(&db).await;
        server.kill();
        server.start_again();
        // Dead connections are noticed, and what was not done is done again.
        all_at_once(&db).await;
        db.close().await;
    });
}

#[test]
fn a_server_that_is_away_fails_calls_in_time_and_is_found_when_it_is_back() {
    let Some(server) = OwnServer::start() else { return };
    block_on(async {
        let mut options = server.options();
        options.config.wait_max = Duration::from_millis(300);
        let db = Db::open(&options).await.expect("open");
        db.migrate().await.expect("migrate");
        account(&db, "a", 9).await;
        server.kill();
        for _ in 0..3 {
            read_and_write(&db).await.expect_err("it is away");
            db.ping().await.expect_err("it is away");
        }
        server.start_again();
        read_and_write(&db).await.expect("it is back");
        assert_eq!(used(&db, "a").await, 0);
        db.close().await;
    });
}

#[test]
fn a_transaction_whose_connection_breaks_is_run_again_whole_and_once() {
    const BREAK: &str = "SELECT pg_terminate_backend(pg_backend_pid())";
    with_postgres(|db| {
        Box::pin(async move {
            account(&db, "a", 9).await;
            let tries = AtomicU32::new(0);
            let charged: Result<(), StoreError> = async {
                write!(&db, tx => {
                    sqlx::query(CHARGE).bind("a").execute(&mut *tx).await?;
                    if tries.fetch_add(1, Ordering::Relaxed) < 2 {
                        sqlx::query(BREAK).execute(&mut *tx).await?;
                    }
                })
            }
            .await;
            charged.expect("the third try came through");
            assert_eq!((tries.into_inner(), used(&db, "a").await), (3, 1));
        })
    });
}

#[test]
fn a_server_that_is_not_there_is_said_to_refuse() {
    block_on(async {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = nobody.local_addr().expect("its address");
        drop(nobody);
        let mut options = DbOptions::new(format!("postgres://somebody:word@{address}/none"));
        options.config.wait_max = Duration::from_millis(50);
        let error = Db::open(&options).await.expect_err("nobody listens there");
        assert!(error.is_unreachable() && error.to_string().contains("refused"), "{error}");
        assert!(!error.to_string().contains("word"), "{error}");
    });
}
