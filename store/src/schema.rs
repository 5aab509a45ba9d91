//! Bringing the schema up to date beside running processes, and asking how far it is. `migrations/` has the rules for what
//! a migration may do (CONTRIBUTING.md, and `tests/migrations.rs`).
//!
//! Each migration is one transaction together with the row that says that it was made, so that a process that dies in the
//! middle leaves all of it or nothing. Those that only make indexes on tables that are in use are the exception: on PostgreSQL
//! a transaction would keep writers out for as long as it takes to read the table, so each index is made `CONCURRENTLY`,
//! and one that was left half made is dropped first.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool,
    migrate::{Migrate as _, MigrateError, Migration, Migrator},
};

use crate::{
    Db, StoreError,
    db::{
        START_TRIES, read,
        retry::{is_locked, pause_before},
    },
};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Where it is written down which migrations were made.
const TABLE: &str = "_sqlx_migrations";

/// A change of the schema that a database does not have yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingMigration {
    /// Its number.
    pub version: i64,
    /// What it is about, from the file's name.
    pub description: String,
}

/// The migrations up to `last`. Those of newer programs are none of our business: versions mix while an update is under way.
fn migrations_up_to(last: i64) -> Migrator {
    let known = MIGRATIONS.iter().filter(|migration| migration.version <= last).cloned().collect();
    let mut migrator = Migrator::with_migrations(known);
    migrator.set_ignore_missing(true);
    migrator
}

impl Db {
    /// Brings the schema up to date. Several processes may do so at once, and any process may use the database meanwhile.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.migrate_to(i64::MAX).await
    }

    /// Makes the migrations up to this version.
    pub(crate) async fn migrate_to(&self, last: i64) -> Result<(), StoreError> {
        let migrations = migrations_up_to(last);
        match self {
            Self::Sqlite { write, .. } => {
                // Migrations of SQLite take no lock against another process: whoever comes second fails on a table that
                // exists, and finds the work done when it looks again.
                let mut connection = write.acquire().await?;
                let mut tries = 0;
                while let Err(error) = migrations.run_direct(None, &mut *connection, false).await {
                    tries += 1;
                    if tries == START_TRIES {
                        return Err(error.into());
                    }
                    pause_before(tries).await;
                }
                Ok(())
            }
            Self::Postgres { pool, .. } => {
                let turn = wait_for_turn(pool).await?;
                let mut connection = patient(pool).await?;
                migrate_postgres(&mut connection, &migrations).await?;
                connection.close().await?;
                turn.close().await?;
                Ok(())
            }
        }
    }

    /// What [`Db::migrate`] would do, in order.
    pub async fn pending_migrations(&self) -> Result<Vec<PendingMigration>, StoreError> {
        let made: HashSet<i64> = self.made_migrations().await?.into_iter().collect();
        let pending = MIGRATIONS.iter().filter(|migration| !made.contains(&migration.version));
        Ok(pending
            .map(|migration| PendingMigration {
                version: migration.version,
                description: migration.description.to_string(),
            })
            .collect())
    }

    /// Whether this program can work with the schema: it has all that the program needs, or more.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let Some(newest) = self.pending_migrations().await?.pop() else { return Ok(()) };
        let found = self.made_migrations().await?.into_iter().max().unwrap_or(0);
        Err(StoreError::SchemaTooOld { found, needed: newest.version })
    }

    /// The migrations that the database has, in order.
    pub(crate) async fn made_migrations(&self) -> Result<Vec<i64>, StoreError> {
        const SQL: &str = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
        let rows: Result<Vec<(i64,)>, sqlx::Error> =
            read!(self, pool => sqlx::query_as(SQL).fetch_all(pool).await);
        match rows {
            Ok(rows) => Ok(rows.into_iter().map(|(version,)| version).collect()),
            // A new database.
            Err(error) if is_missing_table(&error) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// `undefined_table` of PostgreSQL; SQLite has no code for it.
fn is_missing_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().is_some_and(|code| code == "42P01") || error.message().starts_with("no such table")
    })
}

/// A connection of its own whose statements may take as long as they need.
async fn patient(pool: &PgPool) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    connection.execute("SET statement_timeout = 0").await?;
    connection.execute("SET idle_in_transaction_session_timeout = 0").await?;
    Ok(connection)
}

/// Waits until nobody else migrates. The turn is a locked row, which every cluster has (not all have advisory locks), and
/// ends with the connection that is given back, so that whoever dies holds nobody up.
async fn wait_for_turn(pool: &PgPool) -> Result<PgConnection, sqlx::Error> {
    const MAKE: [&str; 2] = [
        "CREATE TABLE IF NOT EXISTS schema_turn (id BIGINT PRIMARY KEY)",
        "INSERT INTO schema_turn (id) VALUES (1) ON CONFLICT (id) DO NOTHING",
    ];
    let mut connection = patient(pool).await?;
    for sql in MAKE {
        let mut tries = 0;
        // Two that create one table at the same moment may both find that it is not there.
        while let Err(error) = connection.execute(sql).await {
            tries += 1;
            if tries == START_TRIES {
                return Err(error);
            }
            pause_before(tries).await;
        }
    }
    connection.execute("BEGIN").await?;
    connection.execute("SELECT id FROM schema_turn WHERE id = 1 FOR UPDATE").await?;
    Ok(connection)
}

async fn migrate_postgres(connection: &mut PgConnection, migrations: &Migrator) -> Result<(), StoreError> {
    connection.ensure_migrations_table(TABLE).await?;
    let made: BTreeMap<i64, _> = connection
        .list_applied_migrations(TABLE)
        .await?
        .into_iter()
        .map(|migration| (migration.version, migration.checksum))
        .collect();
    // Nobody is kept out of a database that nobody uses yet.
    let is_new = made.is_empty();
    for migration in migrations.iter() {
        match made.get(&migration.version) {
            Some(checksum) if *checksum == migration.checksum => {}
            Some(_) => return Err(MigrateError::VersionMismatch(migration.version).into()),
            None if migration.no_tx && !is_new => make_indexes(connection, migration).await?,
            None => apply(connection, migration).await?,
        }
        if !made.contains_key(&migration.version) {
            tracing::info!(version = migration.version, description = %migration.description, "schema changed");
        }
    }
    Ok(())
}

/// Makes a migration in a transaction. While it waits for a lock on a table all others wait behind it, so that it lets them by
/// again and again.
async fn apply(connection: &mut PgConnection, migration: &Migration) -> Result<(), StoreError> {
    connection.execute("SET lock_timeout = '1s'").await?;
    let mut tries = 0;
    while let Err(error) = connection.apply(TABLE, migration).await {
        tries += 1;
        let is_locked = matches!(&error, MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
            if is_locked(error));
        if !is_locked || tries == LOCK_TRIES {
            return Err(error.into());
        }
        // How long it took is written down after it was made.
        let made = connection.list_applied_migrations(TABLE).await?;
        if made.iter().any(|made| made.version == migration.version) {
            break;
        }
        tracing::warn!(
            version = migration.version,
            tries,
            "somebody uses a table that is to be changed; trying again"
        );
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    connection.execute("SET lock_timeout = 0").await?;
    Ok(())
}

/// Makes the indexes of a migration without keeping writers out, and writes it down. What of it is there already stays.
async fn make_indexes(connection: &mut PgConnection, migration: &Migration) -> Result<(), StoreError> {
    const HALF_MADE: &str = "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         WHERE c.relname = $1 AND NOT i.indisvalid AND pg_table_is_visible(c.oid)";
    for Index { name, rest } in indexes_of(migration.sql.as_str()) {
        let half_made = sqlx::query(HALF_MADE).bind(name).fetch_optional(&mut *connection).await?;
        if half_made.is_some() {
            let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
            connection.execute(AssertSqlSafe(drop)).await?;
        }
        let make = format!("CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} {rest}");
        connection.execute(AssertSqlSafe(make)).await?;
    }
    connection.skip(TABLE, migration).await?;
    Ok(())
}

/// How often a migration asks for the lock on a table that somebody uses, and how long it lets others by in between: five
/// minutes in all.
const LOCK_TRIES: u32 = 150;
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// An index of a migration that makes nothing else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Index<'a> {
    pub(crate) name: &'a str,
    /// What follows the name: `ON table (columns)`.
    rest: &'a str,
}

/// The form that all statements of such a migration have.
pub(crate) const CREATE_INDEX: &str = "CREATE INDEX IF NOT EXISTS ";

/// The indexes that such a migration makes. Comments stand before statements, and nothing but a statement's end is a semicolon.
pub(crate) fn indexes_of(sql: &str) -> Vec<Index<'_>> {
    sql.split(';')
        .filter_map(|statement| {
            let at = statement.find(CREATE_INDEX)?;
            let (name, rest) =
                statement.get(at + CREATE_INDEX.len()..)?.trim().split_once(char::is_whitespace)?;
            Some(Index { name, rest })
        })
        .collect()
}

/// All migrations, for tests of what they hold.
#[cfg(test)]
pub(crate) fn all_migrations() -> &'static Migrator {
    &MIGRATIONS
}
