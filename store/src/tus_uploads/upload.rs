//! Uploads that come in several requests, as callers see them and as they are read from the database. Runs no statement.

use std::str::FromStr;

use content::Cid;
use protocol::{ids::SegmentId, time::UnixMillis};

use crate::{
    StoreError,
    rows::{millis, parse, size},
};

/// What an upload is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TusKind {
    /// It becomes a file.
    Plain,
    /// It becomes part of another one.
    Partial,
    /// It is put together of others.
    Final,
}

impl TusKind {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Partial => "partial",
            Self::Final => "final",
        }
    }
}

impl FromStr for TusKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Plain, Self::Partial, Self::Final].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// An upload that begins.
#[derive(Clone, Debug)]
pub struct NewTusUpload {
    /// Its name, which nobody can guess; that of its long upload too.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// What it is for.
    pub kind: TusKind,
    /// Of a final one: what it is put together of, as the client said it.
    pub parts: String,
    /// What the client said of it, as it said it.
    pub metadata: String,
    /// Name of its import profile, as far as the caller has one.
    pub profile: String,
    /// Hash function of its blocks.
    pub hash: String,
    /// What is to be said of the pin that it becomes, in the caller's words; empty: nothing.
    pub notes: String,
    /// Whether a request's bytes are kept all or not at all.
    pub whole_pieces: bool,
    /// Its length, if it is known.
    pub length_bytes: Option<u64>,
    /// When it ends unless it goes on.
    pub due: UnixMillis,
}

/// An upload as it is recorded, but for its builder and tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TusUpload {
    /// Its name.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// What it is for.
    pub kind: TusKind,
    /// Of a final one: what it is put together of, as the client said it.
    pub parts: String,
    /// What the client said of it, as it said it.
    pub metadata: String,
    /// Name of its import profile.
    pub profile: String,
    /// Hash function of its blocks.
    pub hash: String,
    /// What is still to be said of the pin that it becomes; empty when nothing is.
    pub notes: String,
    /// Whether a request's bytes are kept all or not at all.
    pub whole_pieces: bool,
    /// Its length, if it is known.
    pub length_bytes: Option<u64>,
    /// Bytes that are durable.
    pub offset_bytes: u64,
    /// Its root and the bytes of all blocks under it, once all its bytes are durable.
    pub root: Option<(Cid, u64)>,
    /// When it began.
    pub created: UnixMillis,
    /// When it ends unless it goes on.
    pub due: UnixMillis,
    /// When it was pinned; of a partial one, when all its bytes were there.
    pub finished: Option<UnixMillis>,
}

/// An upload that a request may write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedTus {
    /// The upload.
    pub upload: TusUpload,
    /// State of its builder; empty when there is none yet.
    pub builder: Vec<u8>,
    /// The bytes behind its last whole leaf.
    pub tail: Vec<u8>,
    /// The last request, if it was taken whole.
    pub piece: Option<TusPiece>,
}

/// What one request has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TusPiece {
    /// Where in the upload it began.
    pub offset_bytes: u64,
    /// BLAKE3 of its bytes in hex, or another name that other bytes do not have.
    pub hash: String,
}

/// Whether an upload could begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TusBegun {
    /// It did.
    Yes,
    /// Too many of the account are not finished.
    TooMany,
    /// The account has no room for it and for those that are not finished.
    QuotaExceeded,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TusClaim {
    /// The upload is the caller's to write to.
    Claimed(Box<ClaimedTus>),
    /// Another request writes. It is told that this one wants to.
    Held,
    /// There is no such upload, or its time is over.
    Unknown,
}

/// How far an upload has come.
#[derive(Clone, Debug, Default)]
pub struct TusProgress {
    /// Bytes that are durable with what is in here.
    pub offset_bytes: u64,
    /// The upload's length, if it is known by now.
    pub length_bytes: Option<u64>,
    /// State of the builder.
    pub builder: Vec<u8>,
    /// The bytes behind its last whole leaf.
    pub tail: Vec<u8>,
    /// Segments with blocks of it, those that are recorded with earlier progress need not be among them.
    pub segments: Vec<SegmentId>,
    /// Its root and the bytes of all blocks under it, once all is there.
    pub root: Option<(Cid, u64)>,
    /// The request that brought it here, if that was taken whole.
    pub piece: Option<TusPiece>,
}

/// What became of progress that was to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TusRecorded {
    /// It is recorded.
    Yes,
    /// The upload is another request's by now, or it is gone.
    ClaimLost,
    /// A segment was collected or lost meanwhile.
    SegmentGone,
}

/// The columns of an upload.
pub(super) type TusRow = (
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    bool,
    Option<i64>,
    i64,
    Option<String>,
    i64,
    i64,
    i64,
    Option<i64>,
);

/// Reads one.
pub(super) fn upload(row: TusRow) -> Result<TusUpload, StoreError> {
    let (
        id,
        account,
        kind,
        parts,
        metadata,
        profile,
        hash,
        notes,
        whole_pieces,
        length,
        offset,
        root,
        dag_size,
        created,
        due,
        finished,
    ) = row;
    let root = match root {
        Some(root) => Some((parse("upload root", &root)?, size("dag size", dag_size)?)),
        None => None,
    };
    Ok(TusUpload {
        id,
        account,
        kind: parse("upload kind", &kind)?,
        parts,
        metadata,
        profile,
        hash,
        notes,
        whole_pieces,
        length_bytes: length.map(|length| size("upload length", length)).transpose()?,
        offset_bytes: size("upload offset", offset)?,
        root,
        created: UnixMillis(created),
        due: UnixMillis(due),
        finished: millis(finished),
    })
}
