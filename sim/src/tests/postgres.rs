//! The network on the other engine: what holds on SQLite holds on PostgreSQL.

use std::{io::Write as _, path::Path, process::Command};

use crate::scenario;

const DAYS: u64 = 5;

/// Creates or drops a database with one of the server's own programs.
fn administer(program: &str, options: &[&str], url: &str, database: &str) {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration but their variables")]
    let programs = std::env::var("TEST_POSTGRES_BIN").unwrap_or_default();
    let status = Command::new(Path::new(&programs).join(program))
        .args(options)
        .arg(format!("--maintenance-db={url}"))
        .arg(database)
        .status()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program}: {status}");
}

#[test]
fn five_days_on_postgres() {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration but their variables")]
    let Ok(url) = std::env::var("TEST_POSTGRES_URL") else {
        writeln!(std::io::stderr(), "\n*** TEST_POSTGRES_URL is not set: this test is SKIPPED ***\n")
            .unwrap();
        return;
    };
    let name = format!("sim_{}", std::process::id());
    administer("createdb", &[], &url, &name);
    let (server, _) = url.rsplit_once('/').expect("the URL names a database");
    let database = format!("{server}/{name}");
    let outcome = scenario::runtime().unwrap().block_on(scenario::run_on(31, DAYS, false, Some(database)));
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
    // The network that is gone may not have closed its last connections.
    administer("dropdb", &["--force"], &url, &name);
}
