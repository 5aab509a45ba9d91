//! Random histories of commits, removals, losses and collections, compared step by step with a slow model of what they
//! mean.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::{
    engines::sqlite_options,
    fixtures::{NOW, account, cid, later, segment, segment_id, upload},
};
use crate::{Committed, Db, SegmentState, UploadMetadata};

const ACCOUNTS: [&str; 2] = ["a", "b"];
const QUOTA_BYTES: u64 = 40;
const ROOTS: u32 = 6;
const SEGMENTS: u32 = 8;

/// (account, root, segments)
type Upload = (usize, u32, BTreeSet<u32>);

#[derive(Clone, Debug)]
enum Step {
    /// New segments and uploads.
    Commit(BTreeSet<u32>, Vec<Upload>),
    Unpin(usize, u32),
    SetLost(u32, bool),
    Collect(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some_segments = || vec(0..SEGMENTS, 1..3).prop_map(BTreeSet::from_iter);
    let uploads = vec((0..ACCOUNTS.len(), 0..ROOTS, some_segments()), 0..5);
    let step = prop_oneof![
        4 => (some_segments(), uploads).prop_map(|(segments, uploads)| Step::Commit(segments, uploads)),
        3 => (0..ACCOUNTS.len(), 0..ROOTS).prop_map(|(account, root)| Step::Unpin(account, root)),
        1 => (0..SEGMENTS, any::<bool>()).prop_map(|(segment, lost)| Step::SetLost(segment, lost)),
        1 => (0..SEGMENTS).prop_map(Step::Collect),
    ];
    vec(step, 1..25)
}

/// What the tables mean, one upload at a time.
#[derive(Default)]
struct Model {
    pins: BTreeSet<(usize, u32)>,
    links: BTreeMap<u32, BTreeSet<u32>>,
    segments: BTreeMap<u32, SegmentState>,
}

fn size(root: u32) -> u64 {
    u64::from(root) * 3 + 1
}

impl Model {
    fn used(&self, account: usize) -> u64 {
        self.pins.iter().filter(|(owner, _)| *owner == account).map(|(_, root)| size(*root)).sum()
    }

    fn needed(&self, segment: u32) -> bool {
        self.links.values().any(|segments| segments.contains(&segment))
    }

    fn commit(&mut self, new: &BTreeSet<u32>, uploads: &[Upload]) -> Vec<Committed> {
        self.segments.extend(new.iter().map(|segment| (*segment, SegmentState::Pending)));
        uploads.iter().map(|upload| self.accept(upload)).collect()
    }

    fn accept(&mut self, (account, root, segments): &Upload) -> Committed {
        let lost = |segment: &u32| matches!(self.segments.get(segment), None | Some(SegmentState::Lost));
        if segments.iter().any(lost) {
            return Committed::SegmentGone;
        }
        let pinned = self.pins.contains(&(*account, *root));
        if !pinned && self.used(*account) + size(*root) > QUOTA_BYTES {
            return Committed::QuotaExceeded;
        }
        self.pins.insert((*account, *root));
        let links = self.links.entry(*root).or_default();
        links.retain(|link| self.segments[link] != SegmentState::Lost);
        links.extend(segments);
        for segment in segments {
            self.segments.insert(*segment, SegmentState::Live);
        }
        if pinned { Committed::AlreadyPinned } else { Committed::Created }
    }

    fn unpin(&mut self, account: usize, root: u32) -> bool {
        if !self.pins.remove(&(account, root)) {
            return false;
        }
        if !self.pins.iter().any(|(_, pinned)| *pinned == root) {
            for segment in self.links.remove(&root).unwrap_or_default() {
                if !self.needed(segment) {
                    self.swap(segment, SegmentState::Live, SegmentState::Orphaned);
                }
            }
        }
        true
    }

    fn swap(&mut self, segment: u32, from: SegmentState, to: SegmentState) -> bool {
        let is = self.segments.get(&segment) == Some(&from);
        if is {
            self.segments.insert(segment, to);
        }
        is
    }

    fn collect(&mut self, segment: u32) -> bool {
        let unneeded = match self.segments.get(&segment) {
            Some(SegmentState::Pending | SegmentState::Orphaned) => true,
            Some(SegmentState::Lost) => !self.needed(segment),
            Some(SegmentState::Live) | None => false,
        };
        if unneeded {
            self.segments.remove(&segment);
        }
        unneeded
    }
}

/// Takes one step in both and compares what they answer.
async fn take(db: &Db, model: &mut Model, step: &Step) {
    match step {
        Step::Commit(segments, uploads) => {
            let new: BTreeSet<u32> =
                segments.iter().copied().filter(|segment| !model.segments.contains_key(segment)).collect();
            let brought: Vec<_> = new.iter().map(|number| segment(*number)).collect();
            let sent: Vec<UploadMetadata> = uploads
                .iter()
                .map(|(account, root, segments)| {
                    let segments: Vec<u32> = segments.iter().copied().collect();
                    upload(ACCOUNTS[*account], *root, size(*root), &segments)
                })
                .collect();
            let outcomes = db.commit(&brought, &[], &sent, NOW, later(1)).await.expect("commit");
            let outcomes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.committed).collect();
            assert_eq!(outcomes, model.commit(&new, uploads));
        }
        Step::Unpin(account, root) => {
            let removed = db.unpin(ACCOUNTS[*account], &cid(*root), later(1)).await.expect("unpin");
            assert_eq!(removed, model.unpin(*account, *root));
        }
        Step::SetLost(segment, lost) => {
            let changed = db.set_lost(segment_id(*segment), *lost).await.expect("set lost");
            let found = if model.needed(*segment) { SegmentState::Live } else { SegmentState::Orphaned };
            let (from, to) =
                if *lost { (SegmentState::Live, SegmentState::Lost) } else { (SegmentState::Lost, found) };
            assert_eq!(changed, model.swap(*segment, from, to));
        }
        Step::Collect(segment) => {
            let collected = db.collect_segment(segment_id(*segment), later(1)).await.expect("collect");
            assert_eq!(collected, model.collect(*segment));
        }
    }
}

async fn compare(db: &Db, model: &Model) {
    for (index, name) in ACCOUNTS.iter().enumerate() {
        let account = db.account(name).await.expect("account").expect("known");
        assert_eq!(account.used_bytes, model.used(index));
        assert_eq!(
            db.pins(name, None, 99).await.expect("pins").pins.len(),
            model.pins.iter().filter(|(owner, _)| *owner == index).count()
        );
    }
    for root in 0..ROOTS {
        let links: BTreeSet<_> = db.root_segments(&cid(root)).await.expect("links").into_iter().collect();
        let expected = model.links.get(&root).cloned().unwrap_or_default();
        assert_eq!(links, expected.into_iter().map(segment_id).collect());
    }
    let states: BTreeMap<_, _> = db.segments_after(None, 99).await.expect("segments").into_iter().collect();
    let expected: BTreeMap<_, _> =
        model.segments.iter().map(|(number, state)| (segment_id(*number), *state)).collect();
    assert!(states == expected, "{states:?} is not {expected:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn every_history_means_what_the_model_says(history in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let mut options = sqlite_options(&dir);
            options.url = "sqlite::memory:".to_string();
            let db = Db::open(&options).await.expect("open");
            db.migrate().await.expect("migrate");
            for name in ACCOUNTS {
                account(&db, name, QUOTA_BYTES).await;
            }
            let mut model = Model::default();
            for step in &history {
                take(&db, &mut model, step).await;
                compare(&db, &model).await;
            }
        });
    }
}
