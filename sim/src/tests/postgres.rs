//! The network on the other engine: what holds on SQLite holds on PostgreSQL.

use testing::PostgresDatabase;

use crate::scenario;

const DAYS: u64 = 5;

#[test]
fn five_days_on_postgres() {
    let Some(database) = PostgresDatabase::create() else { return };
    let outcome =
        scenario::runtime().unwrap().block_on(scenario::run_on(31, DAYS, false, Some(database.url())));
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}
