//! Opening the database, and the two macros that run one SQL text on either engine.
//!
//! # Order of locks
//!
//! On PostgreSQL a transaction that changes several kinds of rows locks them in this order, and rows of one kind in
//! order of their keys: accounts, roots, segments, pieces, all else. What depends on other rows (is this the last pin, the
//! last root of a segment?) is asked in a statement of its own after the lock is held, because a statement that waited for
//! a lock still sees the other tables as they were before it waited. A cycle of locks that comes about all the same is cut
//! by the server, and the transaction that gave way is run again.

mod deadline;
mod options;
pub(crate) mod retry;

use std::{path::PathBuf, str::FromStr as _, time::Duration};

use sqlx::{
    Connection as _, PgConnection, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use self::{
    deadline::Deadline,
    retry::{is_busy, pause_before},
};

pub use options::{DATABASE_URL_DEFAULT, DatabaseConfig, DbOptions};

/// Memory for the pages that SQLite's writer works on.
const WRITER_CACHE_KIB: u32 = 16 * 1024;

/// How many pages of 4 KiB SQLite's log may hold until a commit copies them into the file. A commit of 64 small uploads
/// changes about 350; at the default of 1000 every third one pays for a copy and another wait for the disk.
const CHECKPOINT_PAGES: u32 = 4_000;

/// How long connections may take to end when a process does.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// How long the try may take that finds out why there is no connection to begin with.
const LAST_TRY_MAX: Duration = Duration::from_secs(2);

/// How often a file of SQLite is opened and migrated, about a second in all: what fails may be another process's doing.
pub(crate) const START_TRIES: u32 = 20;

/// A database that could not be used, or held what cannot be.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine refused or could not be reached.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("database migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The schema lacks what this version of the program needs.
    #[error(
        "the database's schema is at version {found} and this program needs {needed}: run `pinstripe migrate`"
    )]
    SchemaTooOld {
        /// The newest migration that the database has; 0 without any.
        found: i64,
        /// The newest one that the program brings.
        needed: i64,
    },
    /// The file that should hold the database's URL could not be read.
    #[error("read the database's URL from {}: {error}", .file.display())]
    UrlFile {
        /// Which file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A stored value does not have the form it must have.
    #[error("database holds a malformed {what}: {value}")]
    Malformed {
        /// Which value.
        what: &'static str,
        /// Its text.
        value: String,
    },
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
    Postgres {
        /// Its connections.
        pool: PgPool,
        /// How often what failed without having happened is run again.
        retries_max: u32,
        /// How long each try may take.
        deadline: Deadline,
    },
}

/// Runs an expression, a read of some kind, with the read pool of either engine. On PostgreSQL it may run several times.
macro_rules! read {
    ($db:expr, $pool:ident => $body:expr) => {
        match $db {
            $crate::Db::Sqlite { read: $pool, .. } => $body,
            $crate::Db::Postgres { pool: $pool, retries_max, deadline } => {
                let mut tries: u32 = 0;
                loop {
                    let outcome: Result<_, sqlx::Error> = deadline.bound(Box::pin(async { $body })).await;
                    match outcome {
                        Err(error)
                            if tries < *retries_max
                                && $crate::db::retry::may_run_again(
                                    &error,
                                    $crate::db::retry::Stage::Open,
                                ) =>
                        {
                            tries += 1;
                            $crate::db::retry::pause_before(tries).await;
                        }
                        outcome => break outcome,
                    }
                }
            }
        }
    };
}

/// Runs a block in a write transaction of either engine and commits it when the block gives no error. On PostgreSQL the
/// block may run several times, so it changes nothing outside itself.
///
/// SQLite takes its write lock at the beginning: a plain BEGIN that reads first and writes later fails under load.
macro_rules! write {
    ($db:expr, $tx:ident => $body:expr) => {
        match $db {
            $crate::Db::Sqlite { write, .. } => {
                let outcome: Result<_, $crate::StoreError> = async {
                    let mut $tx = write.begin_with("BEGIN IMMEDIATE").await?;
                    let outcome = $body;
                    $tx.commit().await?;
                    Ok(outcome)
                }
                .await;
                outcome
            }
            $crate::Db::Postgres { pool, retries_max, deadline } => {
                let mut tries: u32 = 0;
                loop {
                    let mut stage = $crate::db::retry::Stage::Open;
                    let outcome: Result<_, $crate::StoreError> = deadline
                        .bound(Box::pin(async {
                            let mut $tx = pool.begin().await?;
                            let outcome = $body;
                            stage = $crate::db::retry::Stage::Committing;
                            $tx.commit().await?;
                            Ok(outcome)
                        }))
                        .await;
                    match outcome {
                        Err(error) if tries < *retries_max && error.may_run_again(stage) => {
                            tries += 1;
                            $crate::db::retry::pause_before(tries).await;
                        }
                        outcome => break outcome,
                    }
                }
            }
        }
    };
}

pub(crate) use {read, write};

impl StoreError {
    /// Whether the database could not be reached, or went away.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Database(error) if retry::is_unreachable(error))
    }

    /// Whether all connections were in use for too long.
    pub fn is_crowded(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolTimedOut))
    }

    /// Whether what failed at this stage did certainly not happen, and may succeed now.
    pub(crate) fn may_run_again(&self, stage: retry::Stage) -> bool {
        matches!(self, Self::Database(error) if retry::may_run_again(error, stage))
    }
}

/// What is wrong with a server that gives no connection, as one more try finds; the pool only says that it waited for long.
async fn why_no_connection(connect: &PgConnectOptions) -> sqlx::Error {
    match tokio::time::timeout(LAST_TRY_MAX, PgConnection::connect_with(connect)).await {
        Ok(Err(error)) => error,
        Ok(Ok(_)) | Err(_) => sqlx::Error::PoolTimedOut,
    }
}

impl Db {
    /// Opens the database; a missing SQLite file is created.
    pub async fn open(options: &DbOptions) -> Result<Self, StoreError> {
        let config = &options.config;
        if options.url.starts_with("postgres") {
            let statement_ms = config.statement_max.as_millis().max(1);
            let connect = PgConnectOptions::from_str(&options.url)?.options([
                ("statement_timeout", statement_ms.to_string()),
                // The locks of a process that was cut off in the middle of a transaction end with it.
                ("idle_in_transaction_session_timeout", statement_ms.to_string()),
            ]);
            let pool =
                PgPoolOptions::new().max_connections(config.connections_max).acquire_timeout(config.wait_max);
            let deadline = Deadline::new(config.call_max);
            let pool = match deadline.watch(pool).connect_with(connect.clone()).await {
                Err(sqlx::Error::PoolTimedOut) => return Err(why_no_connection(&connect).await.into()),
                opened => opened?,
            };
            return Ok(Self::Postgres { pool, retries_max: config.retries_max, deadline });
        }
        let synchronous = if options.durable { SqliteSynchronous::Full } else { SqliteSynchronous::Off };
        let connect = SqliteConnectOptions::from_str(&options.url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .busy_timeout(config.wait_max)
            .pragma("temp_store", "memory")
            .statement_cache_capacity(256);
        // Hashes are random, so the writer comes back to pages all over the file; readers have the system's cache.
        let writer = connect
            .clone()
            .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string());
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(config.wait_max)
        };
        // Making a new file a WAL one waits for no lock: another process that does it at this moment makes it fail.
        let mut tries = 0;
        let write = loop {
            match pool(1).connect_with(writer.clone()).await {
                Err(error) if tries < START_TRIES && is_busy(&error) => {
                    tries += 1;
                    pause_before(tries).await;
                }
                opened => break opened?,
            }
        };
        // A database in memory belongs to one connection.
        let in_memory = options.url.contains(":memory:");
        let read = if in_memory {
            write.clone()
        } else {
            pool(config.connections_max).connect_with(connect).await?
        };
        Ok(Self::Sqlite { write, read })
    }

    /// Whether rows that a transaction has read must be locked before it changes them. SQLite has one writer at a time.
    pub(crate) fn locks_rows(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// What ends a SELECT whose rows the transaction goes on to change.
    pub(crate) fn for_update(&self) -> &'static str {
        if self.locks_rows() { " FOR UPDATE" } else { "" }
    }

    /// What ends a SELECT that claims rows: those that another claim holds are passed over, not waited for.
    pub(crate) fn skip_locked(&self) -> &'static str {
        if self.locks_rows() { " FOR UPDATE SKIP LOCKED" } else { "" }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        read!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Whether the database takes a new connection and answers on it. On SQLite there is nothing to be reached.
    pub async fn reach(&self) -> Result<(), StoreError> {
        let Self::Postgres { pool, .. } = self else { return self.ping().await };
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
        connection.ping().await?;
        Ok(connection.close().await?)
    }

    /// Closes all connections. One that stands still is not waited for without end.
    pub async fn close(&self) {
        let close = async {
            match self {
                Self::Sqlite { write, read } => {
                    read.close().await;
                    write.close().await;
                }
                Self::Postgres { pool, .. } => pool.close().await,
            }
        };
        if tokio::time::timeout(CLOSE_MAX, close).await.is_err() {
            tracing::warn!("left with connections to the database that did not end");
        }
    }
}
