//! How a database is opened: which one, how many connections, how long anything may take. Opens nothing.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::StoreError;

/// The database of a process that is told of none.
pub const DATABASE_URL_DEFAULT: &str = "sqlite://pinstripe.db";

/// The `[database]` section: bounds of what one process asks of its database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Connections for reading (and, on PostgreSQL, for everything).
    pub connections_max: u32,
    /// How long to wait for a connection or for SQLite's write lock. A server that is away is waited for as long.
    #[serde(with = "humantime_serde")]
    pub wait_max: Duration,
    /// PostgreSQL only: how long one statement may run until the server cancels it, and how long a transaction may stand
    /// still until the server ends its connection.
    #[serde(with = "humantime_serde")]
    pub statement_max: Duration,
    /// PostgreSQL only: how long one call may take on this side, with the wait for a connection, until it is given up: a host that
    /// disappears without a word cancels nothing.
    #[serde(with = "humantime_serde")]
    pub call_max: Duration,
    /// PostgreSQL only: how often what can be run again without doing it twice is: a transaction that gave way to another one,
    /// or whose connection broke before it was committed.
    pub retries_max: u32,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            connections_max: 8,
            wait_max: Duration::from_secs(10),
            statement_max: Duration::from_secs(30),
            call_max: Duration::from_secs(45),
            retries_max: 5,
        }
    }
}

impl DatabaseConfig {
    /// Every problem found, each naming its key; with those of where the database is said to be.
    pub fn problems(&self, url: &str, url_file: Option<&Path>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, problem: &str| {
            if !fine {
                problems.push(problem.to_string());
            }
        };
        check(
            url_file.is_none() || url == DATABASE_URL_DEFAULT,
            "database_url, database_url_file: give one of the two",
        );
        check(
            url.starts_with("sqlite:") || url.starts_with("postgres://") || url.starts_with("postgresql://"),
            "database_url: must begin with sqlite: or postgres://",
        );
        check((1..=10_000).contains(&self.connections_max), "database.connections_max: must be in 1..=10000");
        check(!self.wait_max.is_zero(), "database.wait_max: must not be 0");
        // The server counts in milliseconds and takes 0 for "no limit".
        check(self.statement_max >= Duration::from_millis(1), "database.statement_max: must be at least 1ms");
        check(
            self.call_max >= self.statement_max,
            "database.call_max: must be at least database.statement_max, so that the server gives up first",
        );
        check(self.retries_max <= 100, "database.retries_max: must be at most 100");
        problems
    }
}

/// How to open a database.
#[derive(Debug, Clone)]
pub struct DbOptions {
    /// `sqlite://path/to/file`, `sqlite::memory:` or `postgres://...`.
    pub url: String,
    /// SQLite only: whether a commit waits for the disk. Off only where losing the last commits is fine (simulations).
    pub durable: bool,
    /// Bounds.
    pub config: DatabaseConfig,
}

impl DbOptions {
    /// Durable, with the bounds that are the default.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), durable: true, config: DatabaseConfig::default() }
    }

    /// The database that `url` names, or the first line of `url_file` if there is one: a URL with a password is better off in
    /// a file of its own.
    pub fn configured(
        url: &str,
        url_file: Option<&Path>,
        config: &DatabaseConfig,
    ) -> Result<Self, StoreError> {
        let url = match url_file {
            None => url.to_string(),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| StoreError::UrlFile { file: file.to_path_buf(), error })?;
                text.lines().next().unwrap_or_default().trim().to_string()
            }
        };
        Ok(Self { url, durable: true, config: config.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn all_problems_are_listed_and_the_defaults_have_none() {
        let config = DatabaseConfig::default();
        assert_eq!(config.problems(DATABASE_URL_DEFAULT, None), Vec::<String>::new());
        assert_eq!(config.problems(DATABASE_URL_DEFAULT, Some(Path::new("url"))), Vec::<String>::new());
        let wrong = DatabaseConfig {
            connections_max: 0,
            wait_max: Duration::ZERO,
            statement_max: Duration::from_micros(9),
            call_max: Duration::from_micros(8),
            retries_max: 101,
        };
        let problems = wrong.problems("mysql://x", Some(Path::new("url")));
        assert_eq!(problems.len(), 7, "{problems:?}");
    }

    #[test]
    fn a_file_holds_the_url() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"postgres://u:p@host/db \nmore\n").expect("write");
        let config = DatabaseConfig { retries_max: 7, ..DatabaseConfig::default() };
        let options = DbOptions::configured(DATABASE_URL_DEFAULT, Some(file.path()), &config).expect("read");
        assert_eq!((options.url.as_str(), options.config), ("postgres://u:p@host/db", config));
        let missing = Path::new("/nowhere/database.url");
        let error = DbOptions::configured(DATABASE_URL_DEFAULT, Some(missing), &DatabaseConfig::default());
        assert!(error.expect_err("no such file").to_string().contains("/nowhere/database.url"));
    }
}
