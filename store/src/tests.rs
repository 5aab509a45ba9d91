//! One suite for both engines: every case runs on a fresh SQLite file, and on a fresh PostgreSQL schema when
//! `TEST_POSTGRES_URL` names a database in which schemas may be created.

mod engines;
mod fixtures;
mod own_server;

mod accounts;
mod backup;
mod claims;
mod collection;
mod commit;
mod contention;
mod events;
mod forget;
mod futures;
mod large;
mod ledger;
mod lifecycle;
mod long_uploads;
mod lookup;
mod migrations;
mod monitors;
mod network_state;
mod nodes;
mod pieces;
mod pin_log;
mod pin_notes;
mod pin_states;
mod pins;
mod plans;
mod postgres;
mod recover;
mod repairs;
mod rows;
mod schema;
mod sqlite;
mod tus_uploads;
mod whole;
