//! Backups made with PostgreSQL's own tools hold everything, also when they were made while something was written.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{
    engines::{postgres_url, with_postgres},
    fixtures::{account, cid, enrol_nodes, segment_id, store_file, used},
};
use crate::{Db, DbOptions};

/// Where the tools are: on the path, or where Debian puts them.
fn tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| PathBuf::from(name))
}

fn call(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The URL of another database of the same server.
fn url_of(url: &str, database: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = base.rsplit_once('/').expect("a url with a database");
    if query.is_empty() { format!("{server}/{database}") } else { format!("{server}/{database}?{query}") }
}

fn dump(url: &str, schema: &str, to: &Path) {
    let file = format!("--file={}", to.display());
    call(
        Command::new(tool("pg_dump"))
            .args(["--format=custom", &format!("--schema={schema}"), &format!("--dbname={url}")])
            .arg(file),
    );
}

async fn dumped_and_restored(db: Db) {
    let Db::Postgres { pool, .. } = &db else { panic!("a case for PostgreSQL") };
    let url = postgres_url().expect("a server");
    let (schema,): (String,) =
        sqlx::query_as("SELECT CAST(current_schema() AS TEXT)").fetch_one(pool).await.expect("schema");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("network.dump");
    account(&db, "a", 1_000).await;
    enrol_nodes(&db, 3).await;
    for number in 0..20 {
        store_file(&db, "a", number, 10, number).await;
    }
    // Uploads go on while it is dumped: the dump is of one moment.
    let writing = async {
        for number in 20..60 {
            store_file(&db, "a", number, 10, number).await;
        }
    };
    let (from, to, what) = (url.clone(), file.clone(), schema.clone());
    let dumping = tokio::task::spawn_blocking(move || dump(&from, &what, &to));
    let ((), dumped) = tokio::join!(writing, dumping);
    dumped.expect("dumped");

    let name = format!("restored_{schema}");
    let mut admin = PgConnection::connect(&url).await.expect("connect");
    let create = format!("CREATE DATABASE {name}");
    sqlx::query(AssertSqlSafe(create)).execute(&mut admin).await.expect("create database");
    let new = url_of(&url, &name);
    let into = format!("--dbname={new}");
    call(Command::new(tool("pg_restore")).args(["--no-owner", "--exit-on-error", &into]).arg(&file));

    let separator = if new.contains('?') { '&' } else { '?' };
    let restored = Db::open(&DbOptions::new(format!("{new}{separator}options[search_path]={schema}"))).await;
    let restored = restored.expect("open what was restored");
    restored.migrate().await.expect("it is of this version");
    let pins = restored.pins("a", None, 100).await.expect("pins").pins;
    assert!((20..=60).contains(&pins.len()), "{}", pins.len());
    // A pin never without what it needs.
    assert_eq!(used(&restored, "a").await, 10 * pins.len() as u64);
    for number in 0..20 {
        assert!(pins.iter().any(|pin| pin.cid == cid(number)));
    }
    for pin in &pins {
        let located = restored.locate(std::slice::from_ref(&pin.cid)).await.expect("locate");
        assert_eq!((located.blocks.len(), located.segments.len()), (1, 1), "{}", pin.cid);
    }
    assert!(restored.root_segments(&cid(3)).await.expect("segments").contains(&segment_id(3)));
    assert_eq!(restored.nodes().await.expect("nodes").len(), 3);
    restored.close().await;
    let drop = format!("DROP DATABASE {name}");
    sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await.expect("drop database");
}

#[test]
fn a_dump_made_while_files_come_is_whole() {
    with_postgres(|db| Box::pin(dumped_and_restored(db)));
}
