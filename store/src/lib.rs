//! The only SQL of the project: metadata of accounts, pins, blocks, segments, pieces and nodes, on SQLite or PostgreSQL.
//!
//! One text serves both engines (see `db`): `$1` binds, TEXT, BIGINT, DOUBLE PRECISION, `ON CONFLICT`, `RETURNING`.
//! One file per family of tables; every function is one short transaction.

mod accounts;
mod commit;
mod db;
mod events;
mod forget;
mod ledger;
mod long_uploads;
mod lookup;
mod monitors;
mod network_state;
mod nodes;
mod pieces;
mod pin_groups;
mod pin_log;
mod pin_notes;
mod pin_search;
mod pins;
mod recover;
mod repairs;
mod rows;
mod schedule;
mod schema;
mod segments;
mod tallies;
mod tus_uploads;
mod unpins;
mod visits;
mod waiting_pins;

pub use accounts::{Account, ApiKey, InviteError, NewApiKey};
pub use commit::{Beside, BlockAt, Claim, Committed, NewPiece, NewSegment, Outcome, UploadMetadata};
pub use db::{DATABASE_URL_DEFAULT, DatabaseConfig, Db, DbOptions, StoreError};
pub use events::Event;
pub use ledger::{Earning, LedgerKind, LedgerLine, Passed};
pub use long_uploads::UploadPart;
pub use lookup::{BlockFound, Located, SegmentInfo, SegmentPiece};
pub use monitors::MonitorSign;
pub use network_state::{Held, Watch};
pub use nodes::{Heartbeat, NewNode, NodeRow};
pub use pieces::{HeldPiece, PieceSlot};
pub use pin_groups::{GroupFilter, PinGroup};
pub use pin_log::{LogPart, LogRules};
pub use pin_notes::{Described, PinChange, PinKind};
pub use pin_search::{GroupTest, MetaCompare, MetaTest, NameMatch, PinDetails, PinFilter, PinsFound};
pub use pins::{Pin, PinCursor, PinPage, PinState};
pub use recover::{
    Adopted, FoundKind, FoundPiece, FoundPin, FoundSegment, Mended, PinsTodo, RECOVERED_ACCOUNT,
};
pub use repairs::RepairJob;
pub use schema::PendingMigration;
pub use segments::SegmentState;
pub use tallies::Tallies;
pub use tus_uploads::{
    ClaimedTus, NewTusUpload, TusBegun, TusClaim, TusKind, TusPiece, TusProgress, TusRecorded, TusUpload,
};
pub use visits::Visit;
pub use waiting_pins::{PinJob, WaitingPin};

#[cfg(test)]
mod tests;
