//! What the same machine does in the same minute without Pinstripe: the ground that every figure stands on.

pub(crate) mod disk;
pub(crate) mod ingest;
pub(crate) mod server;
pub(crate) mod sqlite;
