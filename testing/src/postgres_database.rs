//! An empty PostgreSQL database of a test's own, on the server that `TEST_POSTGRES_URL` names.

use std::{
    hash::{BuildHasher as _, RandomState},
    io::Write as _,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// A database that was made for one test; it goes with this value.
pub struct PostgresDatabase {
    server: String,
    name: String,
}

impl PostgresDatabase {
    /// Makes an empty database. `None`, and a word about it, when `TEST_POSTGRES_URL` names no server.
    ///
    /// # Panics
    /// When the server's `createdb` cannot make one.
    pub fn create() -> Option<Self> {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let Some(server) = variable("TEST_POSTGRES_URL") else {
            // Past the test runner's capture, so that nobody takes a skipped test for a passed one.
            let _ =
                writeln!(std::io::stderr(), "\n*** TEST_POSTGRES_URL is not set: a test is SKIPPED ***\n");
            return None;
        };
        // Some of it at random: a test that failed leaves its database to be looked at, and numbers of processes come again.
        let number = (std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
        let name = format!("test_{:016x}", RandomState::new().hash_one(number));
        administer("createdb", &server, &[&name]);
        Some(Self { server, name })
    }

    /// `postgres://...` of the database.
    pub fn url(&self) -> String {
        let (server, rest) = self.server.rsplit_once('/').expect("the URL names a database");
        let parameters =
            rest.split_once('?').map_or(String::new(), |(_, parameters)| format!("?{parameters}"));
        format!("{server}/{}{parameters}", self.name)
    }
}

impl PostgresDatabase {
    /// Backs it up into a file, as an operator does while everything runs.
    ///
    /// # Panics
    /// When the server's `pg_dump` cannot.
    pub fn dump(&self, to: &Path) {
        let (from, to) = (format!("--dbname={}", self.url()), format!("--file={}", to.display()));
        call("pg_dump", &["--format=custom", &from, &to]);
    }

    /// Puts a backup in its place. Whoever is connected is thrown out.
    ///
    /// # Panics
    /// When one of the server's programs cannot.
    pub fn restore(&self, dump: &Path) {
        administer("dropdb", &self.server, &["--force", &self.name]);
        administer("createdb", &self.server, &[&self.name]);
        let to = format!("--dbname={}", self.url());
        call("pg_restore", &["--no-owner", &to, &dump.display().to_string()]);
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        // Whoever is connected still was killed, or belongs to a test that failed.
        if !std::thread::panicking() {
            administer("dropdb", &self.server, &["--force", "--if-exists", &self.name]);
        }
    }
}

/// Runs one of the server's own programs on the server itself.
fn administer(program: &str, server: &str, arguments: &[&str]) {
    let server = format!("--maintenance-db={server}");
    call(program, &[&[server.as_str()], arguments].concat());
}

/// Runs one of the server's own programs.
fn call(program: &str, arguments: &[&str]) {
    let programs = variable("TEST_POSTGRES_BIN").unwrap_or_default();
    let status = Command::new(Path::new(&programs).join(program))
        .args(arguments)
        .status()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program}: {status}");
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration but their variables")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
