//! One durable row after another in SQLite, set as the network's database is: write-ahead log, synced at every commit.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

/// Rows a second.
pub(crate) async fn inserts(dir: &Path, time: Duration) -> anyhow::Result<f64> {
    let path = dir.join("baseline.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::query("CREATE TABLE rows (name TEXT PRIMARY KEY, bytes BLOB NOT NULL)")
        .execute(&mut connection)
        .await?;
    let (started, mut rows) = (Instant::now(), 0_u64);
    while started.elapsed() < time {
        sqlx::query("INSERT INTO rows (name, bytes) VALUES (?, ?)")
            .bind(blake3::hash(&rows.to_le_bytes()).to_hex().as_str())
            .bind(&[7_u8; 100][..])
            .execute(&mut connection)
            .await?;
        rows += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    connection.close().await?;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    Ok(rows as f64 / seconds)
}
