//! What becomes of each upload of a commit, worked out from what the database knows. Never touches the database.

use std::collections::{HashMap, HashSet};

use protocol::{ids::SegmentId, time::UnixMicros};

use super::{Committed, Outcome, UploadMetadata};
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
    /// Roots of this commit that it has pinned, each with its newest pin.
    pub(super) pins: HashMap<String, String>,
}

/// What was read of the rows that decide, all of them locked.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// By id; an account that does not exist is missing.
    pub(super) accounts: HashMap<String, AccountState>,
    /// Every segment that an upload names; one that does not exist is missing.
    pub(super) segments: HashMap<SegmentId, SegmentState>,
    /// Long uploads that may be finished, or were.
    pub(super) long_uploads: HashSet<String>,
}

/// One outcome per upload, in order: an earlier upload of the same call uses up quota before a later one. Pins are made
/// from `now` on, each a microsecond after the one before.
pub(super) fn decide(drafts: &[Draft<'_>], mut known: Known, now: UnixMicros) -> Vec<Outcome> {
    let mut created = now;
    let mut outcome = |draft: &Draft<'_>| {
        let committed = judge(draft, &mut known);
        let pins = known.accounts.get(&draft.upload.account).map(|account| &account.pins);
        let pin = pins.and_then(|pins| pins.get(&draft.root)).cloned().unwrap_or_default();
        let outcome = Outcome { committed, pin, created };
        created.0 += i64::from(committed == Committed::Created);
        outcome
    };
    drafts.iter().map(&mut outcome).collect()
}

fn judge(draft: &Draft<'_>, known: &mut Known) -> Committed {
    let readable = |id| known.segments.get(id).is_some_and(|state| *state != SegmentState::Lost);
    let is_recorded = |upload| known.long_uploads.contains(upload);
    if !draft.upload.segments.iter().all(readable) || !draft.upload.recorded.iter().all(is_recorded) {
        return Committed::SegmentGone;
    }
    let Some(account) = known.accounts.get_mut(&draft.upload.account) else {
        return Committed::QuotaExceeded;
    };
    if account.pins.contains_key(&draft.root) {
        return Committed::AlreadyPinned;
    }
    let Some(left) = account.free_bytes.checked_sub(draft.upload.size_bytes) else {
        return Committed::QuotaExceeded;
    };
    account.free_bytes = left;
    account.pins.insert(draft.root.clone(), draft.upload.pin.clone());
    Committed::Created
}

/// The uploads whose pins stand.
pub(super) fn accepted<'a, 'b>(drafts: &'a [Draft<'b>], outcomes: &[Outcome]) -> Vec<&'a Draft<'b>> {
    let stands =
        |outcome: &Outcome| matches!(outcome.committed, Committed::Created | Committed::AlreadyPinned);
    drafts.iter().zip(outcomes).filter(|(_, outcome)| stands(outcome)).map(|(draft, _)| draft).collect()
}
