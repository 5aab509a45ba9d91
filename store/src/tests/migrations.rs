//! The rules for migrations: a file that was merged stays as it is, and from 0009 on nothing is taken away that running
//! processes of the version before still use. CONTRIBUTING.md says the rules.

use std::collections::HashSet;

use data_encoding::HEXLOWER;

use crate::schema::{CREATE_INDEX, all_migrations, indexes_of};

/// Files as they were merged: the first bytes of the SHA-384 that databases keep of each. A new file adds its line.
const MERGED: [(i64, &str); 13] = [
    (1, "785e70ceaf6cbb6c"),
    (2, "08c5a83287e05fdf"),
    (3, "87f806826aef9804"),
    (4, "be63d407fa3693e6"),
    (5, "18a06eff8f86f701"),
    (6, "4cae13be8d9b9d12"),
    (7, "a8ea139bfa40ce10"),
    (8, "9c29a93bf981bd03"),
    (9, "92545211399fc2b9"),
    (10, "893aff5e24678c7e"),
    (12, "d3cb6e0bfeab8f1d"),
    (13, "3b01e921e77d9339"),
    (14, "3a3c5402e032a323"),
];

/// The first migration under these rules.
const FIRST: i64 = 9;

/// Says since which version nothing uses what the file takes away, and why it may.
const CONTRACT: &str = "-- contract: since ";

/// A file without comments, in capitals, its words one space apart.
fn statements(sql: &str) -> Vec<String> {
    let code: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let words = |statement: &str| statement.to_uppercase().split_whitespace().collect::<Vec<_>>().join(" ");
    code.join(" ").split(';').map(words).filter(|statement| !statement.is_empty()).collect()
}

/// What not every engine and cluster has.
const OF_ONE_ENGINE: [&str; 9] =
    ["SERIAL", "BIGSERIAL", "SEQUENCE", "TRIGGER", "NOW", "BYTEA", "JSONB", "TIMESTAMPTZ", "UUID"];

/// What is wrong with a migration.
fn problems(sql: &str, no_transaction: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let contracts = sql.lines().any(|line| line.starts_with(CONTRACT) && line.len() > CONTRACT.len());
    let mut own: HashSet<String> = HashSet::new();
    for statement in statements(sql) {
        let words: Vec<&str> =
            statement.split(|character: char| !character.is_alphanumeric() && character != '_').collect();
        let takes_away = ["DROP", "RENAME", "TRUNCATE"].iter().any(|word| words.contains(word))
            || statement.contains("ALTER COLUMN")
            || statement.contains("SET NOT NULL");
        if takes_away && !contracts {
            problems.push(format!("takes away what running processes may use: {statement}"));
        }
        let adds_column = statement.starts_with("ALTER TABLE") && statement.contains(" ADD ");
        if adds_column && statement.contains("NOT NULL") && !statement.contains("DEFAULT") {
            problems.push(format!("older processes cannot fill this column: {statement}"));
        }
        if let Some(table) = statement.strip_prefix("CREATE TABLE ") {
            own.insert(table.split([' ', '(']).next().unwrap_or_default().to_string());
        }
        let index = statement.starts_with("CREATE INDEX") || statement.starts_with("CREATE UNIQUE INDEX");
        if index {
            let table =
                statement.split(" ON ").nth(1).and_then(|on| on.split([' ', '(']).next()).unwrap_or_default();
            if !no_transaction && !own.contains(table) {
                problems.push(format!("keeps writers out of {table} while it reads all of it: {statement}"));
            }
        }
        if no_transaction && !statement.starts_with(CREATE_INDEX.trim()) {
            problems.push(format!("may be left half made: {statement}"));
        }
        if OF_ONE_ENGINE.iter().any(|word| words.contains(word)) {
            problems.push(format!("is not for both engines and every cluster: {statement}"));
        }
    }
    problems
}

#[test]
fn merged_migrations_stay_as_they_are() {
    let found: Vec<(i64, String)> = all_migrations()
        .iter()
        .map(|migration| (migration.version, HEXLOWER.encode(&migration.checksum[..8])))
        .collect();
    let merged: Vec<(i64, String)> =
        MERGED.iter().map(|(version, sum)| (*version, (*sum).to_string())).collect();
    assert_eq!(found, merged, "add a line for a new file; an old one never changes");
}

#[test]
fn migrations_take_nothing_away_from_running_processes() {
    for migration in all_migrations().iter().filter(|migration| migration.version >= FIRST) {
        let sql = migration.sql.as_str();
        let found = problems(sql, migration.no_tx);
        assert!(found.is_empty(), "migration {}: {found:#?}", migration.version);
        if migration.no_tx {
            assert_eq!(indexes_of(sql).len(), statements(sql).len(), "migration {}", migration.version);
        }
    }
}

#[test]
fn what_takes_away_is_seen() {
    let wrong = [
        "DROP TABLE pins;",
        "ALTER TABLE pins RENAME COLUMN cid TO root;",
        "ALTER TABLE pins ADD COLUMN a TEXT NOT NULL;",
        "CREATE INDEX pins_by_a ON pins (a);",
        "CREATE TABLE a (id BIGSERIAL PRIMARY KEY, at SERIAL);",
        "-- contract: since \nDROP TABLE pins;",
    ];
    for sql in wrong {
        assert_eq!(problems(sql, false).len(), 1, "{sql}");
    }
    assert_eq!(
        problems("CREATE INDEX IF NOT EXISTS a ON b (c);\nALTER TABLE b ADD COLUMN d TEXT;", true).len(),
        1
    );
    let fine = [
        "-- DROP nothing\nALTER TABLE pins ADD COLUMN a TEXT NOT NULL DEFAULT '';",
        "CREATE TABLE a (id TEXT PRIMARY KEY, b BIGINT NOT NULL);\nCREATE INDEX a_by_b ON a (b);",
        "-- contract: since 0.9, nothing reads them\nDROP INDEX pins_by_a;",
    ];
    for sql in fine {
        assert_eq!(problems(sql, false), Vec::<String>::new(), "{sql}");
    }
    assert!(problems("CREATE INDEX IF NOT EXISTS a ON b (c);", true).is_empty());
}
