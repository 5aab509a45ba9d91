//! Opening the database, and the two macros that run one SQL text on either engine.

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    PgPool, SqlitePool,
    migrate::Migrator,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// A database that could not be used, or held what cannot be.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine refused or could not be reached.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("database migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored value does not have the form it must have.
    #[error("database holds a malformed {what}: {value}")]
    Malformed {
        /// Which value.
        what: &'static str,
        /// Its text.
        value: String,
    },
}

/// How to open a database.
#[derive(Debug, Clone)]
pub struct DbOptions {
    /// `sqlite://path/to/file`, `sqlite::memory:` or `postgres://...`.
    pub url: String,
    /// Connections for reading (and, on PostgreSQL, for everything).
    pub connections_max: u32,
    /// How long to wait for a connection or for SQLite's write lock.
    pub wait_max: Duration,
    /// SQLite only: whether a commit waits for the disk. Off only where losing the last commits is fine (simulations).
    pub durable: bool,
}

impl DbOptions {
    /// Durable, 8 connections, 10 s.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), connections_max: 8, wait_max: Duration::from_secs(10), durable: true }
    }
}

/// A handle on the database; cheap to clone.
#[derive(Clone, Debug)]
pub enum Db {
    /// One file, one writer at a time.
    Sqlite {
        /// A single connection: SQLite has one write lock, and waiting for it in the pool's queue is fair, which
        /// waiting in SQLite's busy loop is not.
        write: SqlitePool,
        /// Readers, which WAL lets run beside the writer.
        read: SqlitePool,
    },
    /// A server or a compatible cluster.
    Postgres(PgPool),
}

/// Runs an expression with the read pool of either engine.
macro_rules! read {
    ($db:expr, $pool:ident => $body:expr) => {
        match $db {
            $crate::Db::Sqlite { read: $pool, .. } => $body,
            $crate::Db::Postgres($pool) => $body,
        }
    };
}

/// Runs a block in a write transaction of either engine and commits it when the block gives `Ok`.
///
/// SQLite takes its write lock at the beginning: a plain BEGIN that reads first and writes later fails under load.
macro_rules! write {
    ($db:expr, $tx:ident => $body:expr) => {
        match $db {
            $crate::Db::Sqlite { write, .. } => {
                let mut $tx = write.begin_with("BEGIN IMMEDIATE").await?;
                let outcome = $body;
                $tx.commit().await?;
                Ok(outcome)
            }
            $crate::Db::Postgres(pool) => {
                let mut $tx = pool.begin().await?;
                let outcome = $body;
                $tx.commit().await?;
                Ok(outcome)
            }
        }
    };
}

pub(crate) use {read, write};

impl Db {
    /// Opens the database; a missing SQLite file is created.
    pub async fn open(options: &DbOptions) -> Result<Self, StoreError> {
        if options.url.starts_with("postgres") {
            let pool = PgPoolOptions::new()
                .max_connections(options.connections_max)
                .acquire_timeout(options.wait_max)
                .connect(&options.url)
                .await?;
            return Ok(Self::Postgres(pool));
        }
        let synchronous = if options.durable { SqliteSynchronous::Full } else { SqliteSynchronous::Off };
        let connect = SqliteConnectOptions::from_str(&options.url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .busy_timeout(options.wait_max)
            .pragma("temp_store", "memory")
            .statement_cache_capacity(256);
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(options.wait_max)
        };
        let write = pool(1).connect_with(connect.clone()).await?;
        // A database in memory belongs to one connection.
        let in_memory = options.url.contains(":memory:");
        let read = if in_memory {
            write.clone()
        } else {
            pool(options.connections_max).connect_with(connect).await?
        };
        Ok(Self::Sqlite { write, read })
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { write, .. } => MIGRATIONS.run(write).await?,
            Self::Postgres(pool) => MIGRATIONS.run(pool).await?,
        }
        Ok(())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        read!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}
