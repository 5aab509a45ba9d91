//! Making uploads durable: segments, pieces, blocks, roots and pins of several uploads in one transaction.
//!
//! The rows that decide are locked and read first (`lock`), what becomes of each upload is worked out without the database
//! (`decide`), and then everything is written in few statements of many rows (`insert`).

mod decide;
mod insert;
mod lock;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    pin::Pin,
    sync::Arc,
};

use content::Cid;
use erasure::Scheme;
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    time::{UnixMicros, UnixMillis},
};
use sqlx::QueryBuilder;

use crate::{
    Db, PinState, SegmentState, StoreError, UploadPart,
    db::write,
    pin_log::{Change, note_changes},
    rows::{ROWS_PER_STATEMENT, folded, parse, push_list, runs, size, sql, text},
};
use decide::{AccountState, Draft, Known, NewPin, accepted, changes, decide};
pub(crate) use insert::insert_segment_rows;
use insert::{insert_blocks, insert_parts, insert_pins, insert_roots, insert_segments, release_lost};
use lock::lock_known;

/// A segment whose pieces are durable on enough nodes.
#[derive(Clone, Debug)]
pub struct NewSegment {
    /// Its name.
    pub id: SegmentId,
    /// Its coding.
    pub scheme: Scheme,
    /// Its length in bytes.
    pub length_bytes: u64,
    /// All `total` pieces in order of index.
    pub pieces: Vec<NewPiece>,
}

/// One piece of a [`NewSegment`].
#[derive(Clone, Copy, Debug)]
pub struct NewPiece {
    /// BLAKE3 of its bytes.
    pub hash: PieceHash,
    /// Where it is durable; `None` while it is on no node yet.
    pub node: Option<NodeId>,
}

/// Where a block lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockAt {
    /// The block.
    pub cid: Cid,
    /// The segment that holds it.
    pub segment: SegmentId,
    /// Where its bytes start in the segment.
    pub offset_bytes: u64,
    /// How many bytes it has.
    pub length_bytes: u64,
}

/// A finished upload: all its blocks are in durable segments. One that has several roots is given once for each.
#[derive(Clone, Debug)]
pub struct UploadMetadata {
    /// Name of the pin in the network, if it becomes a new one; drawn once.
    pub pin: String,
    /// Whose pin it becomes.
    pub account: String,
    /// Name of the pin.
    pub name: String,
    /// Root CID.
    pub root: Cid,
    /// Bytes of the files in it.
    pub size_bytes: u64,
    /// Bytes of all its blocks, shared ones counted each time they occur.
    pub dag_size_bytes: u64,
    /// When the pin ends by itself.
    pub expires: Option<UnixMillis>,
    /// What it is to become.
    pub claim: Claim,
    /// What is kept with it that the root does not need. It ends with the account's last pin of the root.
    pub beside: Option<Beside>,
    /// Blocks that were stored for this upload, but for those that were recorded before.
    pub blocks: Arc<[BlockAt]>,
    /// The long upload under which blocks of it were recorded before.
    pub recorded: Option<String>,
    /// Every segment that holds a block of it, earlier ones included.
    pub segments: Vec<SegmentId>,
}

/// What an upload becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Claim {
    /// A pin of the root, unless the account has one: then that one serves. A new pin takes the place of a hold of the root
    /// that ends before it does.
    #[default]
    Pin,
    /// A pin of its own, whatever pins of the root the account has.
    Another,
    /// The pin of that name that waits to be fetched, as long as it is there.
    Waiting,
    /// Kept until it expires without being listed. A pin or an older hold of the root serves.
    Hold,
}

/// Blocks of an upload that its root does not need, which are kept with it nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    pub(crate) id: String,
    pub(crate) bytes: u64,
}

impl Beside {
    /// Begins the ids of rows in `pins` that are of this kind.
    pub(crate) const PREFIX: &str = "beside-";

    /// So many bytes under a name that the same blocks of the same account always have, and others never: they are charged
    /// once.
    pub fn new(name: impl std::fmt::Display, bytes: u64) -> Self {
        Self { id: format!("{}{name}", Self::PREFIX), bytes }
    }
}

/// An upload's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub committed: Committed,
    /// The account's pin of its root, which may be an older one; means nothing when the upload was refused.
    pub pin: String,
    /// When that pin was made, if this upload made it.
    pub created: UnixMicros,
    /// Bytes that this pin counts.
    pub size_bytes: u64,
    /// What the account was charged now.
    pub charged_bytes: u64,
    /// The account's hold whose place the pin took, and what it counted: that was given back.
    pub instead_of: Option<(String, u64)>,
    /// Whether something is kept beside the root that would have ended by itself: it stays as long as this does.
    pub keeps_beside: bool,
    /// Whether what is kept beside the root was charged now.
    pub has_beside: bool,
}

/// What became of one upload of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// A new pin.
    Created,
    /// The account had this pin already; nothing is counted twice.
    AlreadyPinned,
    /// The account's quota does not allow it; nothing of it was recorded.
    QuotaExceeded,
    /// A segment that it relies on was collected or lost meanwhile; nothing of it was recorded.
    SegmentGone,
    /// The pin that waited for it was removed meanwhile; nothing of it was recorded.
    Withdrawn,
}

impl Db {
    /// Records new segments, parts of long uploads and finished uploads in one transaction. Segments that no accepted upload of this call needs
    /// wait as `pending` until `lease`. Gives one outcome per upload, in order.
    ///
    /// An accepted upload names all segments its root needs, so a lost one that an earlier upload of the same root relied
    /// on is let go.
    pub async fn commit(
        &self,
        segments: &[NewSegment],
        parts: &[UploadPart],
        uploads: &[UploadMetadata],
        now: UnixMillis,
        lease: UnixMillis,
    ) -> Result<Vec<Outcome>, StoreError> {
        self.commit_all(segments, parts, uploads, now, lease).await
    }

    // A plain function, because the body of an async one is compiled anew in every place that calls it, and this is a
    // large one.
    fn commit_all<'a>(
        &'a self,
        segments: &'a [NewSegment],
        parts: &'a [UploadPart],
        uploads: &'a [UploadMetadata],
        now: UnixMillis,
        lease: UnixMillis,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Outcome>, StoreError>> + Send + 'a>> {
        Box::pin(async move {
            let drafts: Vec<Draft<'_>> = uploads.iter().map(Draft::new).collect();
            write!(self, tx => {
                let (known, old_roots) = lock_known!(self, tx, segments, drafts);
                let outcomes = decide(&drafts, known.clone(), now.micros());
                let standing = accepted(&drafts, &outcomes);
                insert_segments!(tx, segments, standing, known, now, lease);
                let mut changes = changes(&drafts, &outcomes);
                insert_pins!(tx, drafts, outcomes, changes);
                note_changes!(tx, changes, now.micros());
                insert_roots!(tx, drafts, outcomes, standing, now);
                insert_parts!(tx, parts, lease);
                insert_blocks!(tx, standing, now);
                release_lost!(self, tx, standing, old_roots, lease);
                outcomes
            })
        })
    }
}
