//! What becomes of each upload of a commit, worked out from what the database knows. Never touches the database.

use std::collections::{HashMap, HashSet};

use protocol::{
    ids::SegmentId,
    time::{UnixMicros, UnixMillis},
};

use super::{Claim, Committed, Outcome, UploadMetadata};
use crate::{PinState, SegmentState, pin_log::Change};

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
    /// Bytes that it may still pin; less than none when its quota was lowered.
    pub(super) free_bytes: i128,
    /// Roots of this commit that it has pinned, each with its newest pin and the bytes that it counts.
    pub(super) pins: HashMap<String, (String, u64)>,
    /// Roots of this commit that it holds, each with the newest hold, what that counts and when it ends.
    pub(super) holds: HashMap<String, (String, u64, UnixMillis)>,
    /// Roots of this commit beside which something is kept that ends by itself.
    pub(super) fading: HashSet<String>,
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
    /// Pins that wait to be fetched, of those that uploads are for.
    pub(super) waiting: HashSet<String>,
    /// What is kept beside roots, of what uploads bring.
    pub(super) beside: HashSet<String>,
}

/// One outcome per upload, in order: an earlier upload of the same call uses up quota before a later one. Pins are made
/// from `now` on, each a microsecond after the one before.
pub(super) fn decide(drafts: &[Draft<'_>], mut known: Known, now: UnixMicros) -> Vec<Outcome> {
    let mut created = now;
    let mut outcome = |draft: &Draft<'_>| {
        let outcome = judge(draft, &mut known, created).unwrap_or_else(|committed| Outcome {
            committed,
            pin: String::new(),
            created,
            size_bytes: 0,
            charged_bytes: 0,
            instead_of: None,
            keeps_beside: false,
            has_beside: false,
        });
        created.0 += i64::from(outcome.committed == Committed::Created);
        outcome
    };
    drafts.iter().map(&mut outcome).collect()
}

fn judge(draft: &Draft<'_>, known: &mut Known, created: UnixMicros) -> Result<Outcome, Committed> {
    let upload = draft.upload;
    let readable = |id| known.segments.get(id).is_some_and(|state| *state != SegmentState::Lost);
    let is_recorded = |upload| known.long_uploads.contains(upload);
    if !upload.segments.iter().all(readable) || !upload.recorded.iter().all(is_recorded) {
        return Err(Committed::SegmentGone);
    }
    if upload.claim == Claim::Waiting && !known.waiting.contains(&upload.pin) {
        return Err(Committed::Withdrawn);
    }
    let account = known.accounts.get_mut(&upload.account).ok_or(Committed::QuotaExceeded)?;
    let pinned = account.pins.get(&draft.root).cloned();
    let old = match upload.claim {
        Claim::Pin => pinned.clone(),
        Claim::Hold => {
            let held = account.holds.get(&draft.root);
            pinned.clone().or_else(|| held.map(|(hold, bytes, _)| (hold.clone(), *bytes)))
        }
        Claim::Another | Claim::Waiting => None,
    };
    let committed = if old.is_some() { Committed::AlreadyPinned } else { Committed::Created };
    // Further pins of a root cost nothing, and count what the first one counts, so that the last one gives it back.
    let size_bytes =
        pinned.as_ref().or(old.as_ref()).map_or(upload.size_bytes, |(_, size_bytes)| *size_bytes);
    let pin = old.as_ref().map_or(&upload.pin, |(pin, _)| pin).clone();
    let beside = upload.beside.as_ref().filter(|beside| !known.beside.contains(&beside.id));
    let own_bytes = if pinned.is_some() || old.is_some() { 0 } else { size_bytes };
    let charged_bytes = own_bytes.saturating_add(beside.map_or(0, |beside| beside.bytes));
    // What is held until then is not to go before.
    let outlasts = |ends: &UnixMillis| upload.expires.is_none_or(|expires| expires >= *ends);
    let is_pin = upload.claim != Claim::Hold;
    let hold = account.holds.get(&draft.root).filter(|(.., ends)| is_pin && old.is_none() && outlasts(ends));
    let instead_of = hold.map(|(hold, bytes, _)| (hold.clone(), *bytes));
    let given_back = instead_of.as_ref().map_or(0, |(_, bytes)| *bytes);
    let net_bytes = i128::from(charged_bytes) - i128::from(given_back);
    if net_bytes > 0 && net_bytes > account.free_bytes {
        return Err(Committed::QuotaExceeded);
    }
    account.free_bytes -= net_bytes;

    if instead_of.is_some() {
        account.holds.remove(&draft.root);
    }
    if old.is_none() && is_pin {
        account.pins.insert(draft.root.clone(), (pin.clone(), size_bytes));
    } else if old.is_none() {
        let ends = upload.expires.unwrap_or(UnixMillis(i64::MAX));
        account.holds.insert(draft.root.clone(), (pin.clone(), size_bytes, ends));
    }
    let keeps_beside = account.fading.contains(&draft.root);
    // It is one only once.
    known.waiting.remove(&upload.pin);
    known.beside.extend(beside.map(|beside| beside.id.clone()));
    let has_beside = beside.is_some();
    Ok(Outcome { committed, pin, created, size_bytes, charged_bytes, instead_of, keeps_beside, has_beside })
}

/// The uploads whose pins stand.
pub(super) fn accepted<'a, 'b>(drafts: &'a [Draft<'b>], outcomes: &[Outcome]) -> Vec<&'a Draft<'b>> {
    let stands =
        |outcome: &Outcome| matches!(outcome.committed, Committed::Created | Committed::AlreadyPinned);
    drafts.iter().zip(outcomes).filter(|(_, outcome)| stands(outcome)).map(|(draft, _)| draft).collect()
}

/// What the commit does to pins, for the network's log: (what, pin, account, root). What an upload did not become is gone too,
/// for the notes of a segment may say that it is there.
pub(super) fn changes(drafts: &[Draft<'_>], outcomes: &[Outcome]) -> Vec<(Change, String, String, String)> {
    let mut changes = Vec::new();
    for (draft, outcome) in drafts.iter().zip(outcomes) {
        let upload = draft.upload;
        let mut change = |what, pin: &str| {
            changes.push((what, pin.to_string(), upload.account.clone(), draft.root.clone()));
        };
        match outcome.committed {
            Committed::Created => change(Change::Is(None), &outcome.pin),
            Committed::AlreadyPinned => {
                change(Change::Is(Some(upload.expires.map_or(0, |expires| expires.0))), &outcome.pin);
            }
            Committed::QuotaExceeded | Committed::SegmentGone | Committed::Withdrawn => {}
        }
        if outcome.pin != upload.pin {
            change(Change::Gone, &upload.pin);
        }
        if let Some((hold, _)) = &outcome.instead_of {
            change(Change::Gone, hold);
        }
        if let Some(beside) = upload.beside.as_ref().filter(|_| outcome.has_beside) {
            change(Change::Is(None), &beside.id);
        }
    }
    changes
}

/// A row of a pin or a hold.
pub(super) struct NewPin<'a> {
    pub(super) draft: &'a Draft<'a>,
    pub(super) id: &'a str,
    pub(super) state: PinState,
    pub(super) size_bytes: u64,
    pub(super) created: UnixMicros,
    pub(super) expires: Option<UnixMillis>,
}

impl<'a> NewPin<'a> {
    /// What an upload was accepted as.
    pub(super) fn of(draft: &'a Draft<'a>, outcome: &'a Outcome) -> Self {
        let is_hold = draft.upload.claim == Claim::Hold;
        Self {
            draft,
            id: &outcome.pin,
            state: if is_hold { PinState::Held } else { PinState::Pinned },
            size_bytes: outcome.size_bytes,
            created: outcome.created,
            expires: draft.upload.expires,
        }
    }

    /// What is kept beside its root. It ends with the root's pins, or when a hold does.
    pub(super) fn beside(draft: &'a Draft<'a>, outcome: &'a Outcome) -> Option<Self> {
        let beside = draft.upload.beside.as_ref()?;
        let expires = draft.upload.expires.filter(|_| draft.upload.claim == Claim::Hold);
        let (id, size_bytes) = (beside.id.as_str(), beside.bytes);
        Some(Self { draft, id, state: PinState::Held, size_bytes, created: outcome.created, expires })
    }
}
