//! What only SQLite can get wrong: two processes at one file, and a database in memory.

use tokio::task::JoinSet;

use super::{
    engines::sqlite_options,
    fixtures::{NOW, account, cid, later, segment, store_file, upload, used},
};
use crate::{Committed, Db, DbOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_commit_to_one_file_without_errors() {
    const COMMITS: u32 = 64;
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Two handles share nothing but the file, as two processes do.
    let mut options = sqlite_options(&dir);
    options.durable = true;
    let handles = [Db::open(&options).await.expect("open"), Db::open(&options).await.expect("open")];
    handles[0].migrate().await.expect("migrate");
    account(&handles[0], "a", 1_000).await;
    let mut tasks = JoinSet::new();
    for number in 0..COMMITS {
        let db = handles[number as usize % 2].clone();
        tasks.spawn(async move {
            let upload = upload("a", number, 2, &[number]);
            db.commit(&[segment(number)], &[], &[upload], NOW, later(1)).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        assert_eq!(done.expect("no panic").expect("no error")[0].committed, Committed::Created);
    }
    assert_eq!(used(&handles[1], "a").await, 2 * u64::from(COMMITS));
    let cids: Vec<_> = (0..COMMITS).map(cid).collect();
    assert_eq!(handles[0].find_blocks(&cids, false).await.expect("blocks").len(), COMMITS as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_may_open_and_migrate_a_new_file_at_once() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut tasks = JoinSet::new();
        for _ in 0..6 {
            let options = sqlite_options(&dir);
            tasks.spawn(async move {
                let db = Db::open(&options).await.expect("open");
                db.migrate().await.expect("migrate");
                db.ping().await.expect("ping");
                db.close().await;
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("no panic");
        }
        let db = Db::open(&sqlite_options(&dir)).await.expect("open");
        db.migrate().await.expect("a migrated file is left alone");
        account(&db, "a", 10).await;
    }
}

#[tokio::test]
async fn a_database_in_memory_is_one_database() {
    let db = Db::open(&DbOptions::new("sqlite::memory:")).await.expect("open");
    db.migrate().await.expect("migrate");
    account(&db, "a", 10).await;
    store_file(&db, "a", 1, 5, 1).await;
    assert_eq!(used(&db, "a").await, 5);
    assert!(db.pin("a", &cid(1)).await.expect("pin").is_some());
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = sqlite_options(&dir);
    let db = Db::open(&options).await.expect("open");
    db.migrate().await.expect("migrate");
    account(&db, "a", 10).await;
    store_file(&db, "a", 1, 5, 1).await;
    db.close().await;
    db.ping().await.expect_err("closed");
    let db = Db::open(&options).await.expect("open");
    assert_eq!(used(&db, "a").await, 5);
}
