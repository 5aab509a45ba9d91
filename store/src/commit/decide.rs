//! What becomes of each upload of a commit, worked out from what the database knows. Never touches the database.

use std::collections::{HashMap, HashSet};

use protocol::ids::SegmentId;

use super::{Committed, UploadMetadata};
use crate::SegmentState;

/// An upload with its root as the database spells it.
pub(super) struct Draft<'a> {
    /// The upload.
    pub(super) upload: &'a UploadMetadata,
    /// Its root CID in base32.
    pub(super) root: String,
}

impl<'a> Draft<'a> {
    /// Spells the root once for all statements.
    pub(super) fn new(upload: &'a UploadMetadata) -> Self {
        Self { upload, root: upload.root.to_string() }
    }
}

/// An account as far as a commit cares.
#[derive(Clone, Debug, Default)]
pub(super) struct AccountState {
    /// Bytes that it may still pin.
    pub(super) free_bytes: u64,
    /// Roots of this commit that it has pinned.
    pub(super) pins: HashSet<String>,
}

/// What was read of the rows that decide, all of them locked.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// By id; an account that does not exist is missing.
    pub(super) accounts: HashMap<String, AccountState>,
    /// Every segment that an upload names; one that does not exist is missing.
    pub(super) segments: HashMap<SegmentId, SegmentState>,
}

/// One outcome per upload, in order: an earlier upload of the same call uses up quota before a later one.
pub(super) fn decide(drafts: &[Draft<'_>], mut known: Known) -> Vec<Committed> {
    drafts.iter().map(|draft| judge(draft, &mut known)).collect()
}

fn judge(draft: &Draft<'_>, known: &mut Known) -> Committed {
    let readable = |id| known.segments.get(id).is_some_and(|state| *state != SegmentState::Lost);
    if !draft.upload.segments.iter().all(readable) {
        return Committed::SegmentGone;
    }
    let Some(account) = known.accounts.get_mut(&draft.upload.account) else {
        return Committed::QuotaExceeded;
    };
    if account.pins.contains(&draft.root) {
        return Committed::AlreadyPinned;
    }
    let Some(left) = account.free_bytes.checked_sub(draft.upload.size_bytes) else {
        return Committed::QuotaExceeded;
    };
    account.free_bytes = left;
    account.pins.insert(draft.root.clone());
    Committed::Created
}

/// The uploads whose pins stand.
pub(super) fn accepted<'a, 'b>(drafts: &'a [Draft<'b>], outcomes: &[Committed]) -> Vec<&'a Draft<'b>> {
    let stands = |outcome| matches!(outcome, Committed::Created | Committed::AlreadyPinned);
    drafts.iter().zip(outcomes).filter(|(_, outcome)| stands(**outcome)).map(|(draft, _)| draft).collect()
}
