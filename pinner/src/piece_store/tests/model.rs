//! Random sequences of operations, compared step by step with a map.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(u64),
    PutDamaged(u64),
    Abandon(u64),
    Delete(Vec<u64>),
    Read(u64, u64, u64),
    Damage(u64),
    Compact,
    Checkpoint,
    Scrub(u64),
    Reopen,
    Rebuild,
}

/// Few pieces, so that steps meet: of different lengths, on both sides of the step from log to file.
fn numbered(number: u64) -> (PieceMeta, Bytes) {
    piece(number, [64, 3008, 17_024, 39_040, 41_024, 90_048][usize::try_from(number % 6).unwrap()])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 0_u64..14;
    let step = prop_oneof![
        8 => number.clone().prop_map(Step::Put),
        1 => number.clone().prop_map(Step::PutDamaged),
        1 => number.clone().prop_map(Step::Abandon),
        4 => prop::collection::vec(number.clone(), 1..4).prop_map(Step::Delete),
        4 => (number.clone(), any::<u64>(), any::<u64>()).prop_map(|(number, from, to)| Step::Read(number, from, to)),
        1 => number.prop_map(Step::Damage),
        2 => Just(Step::Compact),
        1 => Just(Step::Checkpoint),
        1 => (1_u64..200_000).prop_map(Step::Scrub),
        1 => Just(Step::Reopen),
        1 => Just(Step::Rebuild),
    ];
    prop::collection::vec(step, 1..60)
}

/// What should be held: the bytes, and whether the piece is known to be damaged.
type Model = BTreeMap<PieceHash, (Bytes, Damage)>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Damage {
    None,
    Unnoticed,
    Known,
}

fn config() -> PieceStoreConfig {
    PieceStoreConfig { log_bytes_max: 60_000, checkpoint_changes: 5, ..tight() }
}

async fn run(dir: &Path, steps: Vec<Step>) {
    let mut store = open_with(dir, config());
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Put(number) => {
                let (meta, data) = numbered(number);
                let held = model.get(&meta.hash).is_some_and(|(_, damage)| *damage != Damage::Known);
                let expected = if held { Stored::AlreadyHeld } else { Stored::New };
                assert_eq!(put(&store, meta, &data).await.unwrap(), expected);
                if !held {
                    model.insert(meta.hash, (data, Damage::None));
                }
            }
            Step::PutDamaged(number) => {
                let (meta, data) = numbered(number);
                let mut data = data.to_vec();
                data[0] ^= 1;
                assert!(matches!(
                    put(&store, meta, &Bytes::from(data)).await,
                    Err(PutError::WrongHash { .. })
                ));
            }
            Step::Abandon(number) => {
                let (meta, data) = numbered(number);
                let mut put = store.put(meta, NOW).unwrap();
                put.write(data.slice(..data.len() / 2)).await.unwrap();
            }
            Step::Delete(numbers) => {
                let hashes: Vec<_> = numbers.iter().map(|number| numbered(*number).0.hash).collect();
                let count = hashes.iter().filter(|hash| model.remove(hash).is_some()).count();
                assert_eq!(store.delete(given_up(hashes)).await.unwrap(), count);
            }
            Step::Read(number, from, to) => check_read(&store, &mut model, numbered(number).0.hash, from, to),
            Step::Damage(number) => damage(&store, &mut model, numbered(number).0.hash),
            Step::Compact => {
                while store.compact_step(40_000).unwrap().more {}
                note_found(&store, &mut model);
            }
            Step::Checkpoint => store.checkpoint().unwrap(),
            Step::Scrub(budget) => {
                store.scrub_step(budget).unwrap();
                note_found(&store, &mut model);
            }
            Step::Reopen | Step::Rebuild => {
                drop(store);
                if matches!(step, Step::Rebuild) {
                    DiskPieceStore::discard_index(dir).unwrap();
                }
                store = open_with(dir, config());
                note_found(&store, &mut model);
            }
        }
        compare(&store, &model);
    }
}

fn check_read(store: &DiskPieceStore, model: &mut Model, hash: PieceHash, from: u64, to: u64) {
    let Some((data, damage)) = model.get_mut(&hash) else {
        assert!(matches!(store.read(hash), Err(ReadError::NotFound(_))));
        return;
    };
    let len = data.len() as u64;
    let start = from % len;
    let range = start..start + 1 + to % (len - start);
    match store.read(hash).and_then(|reader| reader.slice_to_bytes(range.clone())) {
        Ok(slice) => {
            assert_ne!(*damage, Damage::Known);
            let bytes = verify_slice(hash, len, range.clone(), &slice[..]).unwrap();
            assert_eq!(
                bytes,
                data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
            );
        }
        Err(ReadError::Corrupt(_)) => {
            assert_ne!(*damage, Damage::None);
            *damage = Damage::Known;
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// Changes a byte of a piece on disk.
fn damage(store: &DiskPieceStore, model: &mut Model, hash: PieceHash) {
    use std::os::unix::fs::FileExt as _;
    let Some((_, damage @ Damage::None)) = model.get_mut(&hash) else { return };
    let shared = store.shared();
    let entry = shared.index.get(&hash).unwrap().unwrap();
    let (path, at) = if entry.kind == Kind::Large {
        (shared.large.path(&hash), 30)
    } else {
        let path = shared.dir.join(format!("logs/{:07}.log", entry.place.log));
        (path, u64::from(entry.place.offset) + HEADER_LEN as u64 + 30)
    };
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    *damage = Damage::Unnoticed;
}

/// Steps that look at pieces on their own may find damage, but only where there is some.
fn note_found(store: &DiskPieceStore, model: &mut Model) {
    let mut torn = Vec::new();
    let listed: BTreeMap<_, _> =
        store.list(None, usize::MAX).unwrap().into_iter().map(|line| (line.hash, line)).collect();
    for (hash, (_, damage)) in &mut *model {
        match (listed.get(hash), &damage) {
            (Some(line), Damage::Unnoticed) if line.corrupt => *damage = Damage::Known,
            // The last record of the last log cannot be told from a torn one when the index is lost.
            (None, Damage::Unnoticed | Damage::Known) => torn.push(*hash),
            _ => {}
        }
    }
    for hash in torn {
        model.remove(&hash);
    }
}

fn compare(store: &DiskPieceStore, model: &Model) {
    let listed = store.list(None, usize::MAX).unwrap();
    let found: Vec<_> = listed.iter().map(|line| (line.hash, line.piece_len, line.corrupt)).collect();
    let expected =
        model.iter().map(|(hash, (data, damage))| (*hash, data.len() as u64, *damage == Damage::Known));
    assert_eq!(found, expected.collect::<Vec<_>>());
    let known = model.values().filter(|(_, damage)| *damage == Damage::Known).count();
    assert_eq!(store.problems(usize::MAX).unwrap().len(), known);
    assert_counters_exact(store);
    compare_inventory(store, model);
}

/// In pages of any length it names each piece once, in order, and as it was put.
fn compare_inventory(store: &DiskPieceStore, model: &Model) {
    let metas: BTreeMap<PieceHash, PieceMeta> =
        (0..14).map(|number| numbered(number).0).map(|meta| (meta.hash, meta)).collect();
    let (mut described, mut after) = (Vec::new(), None);
    loop {
        let page = store.inventory(after, 3).unwrap();
        assert!(page.pieces.len() <= 3);
        described.extend(page.pieces);
        let Some(last) = page.last else { break };
        assert!(after < Some(last));
        after = Some(last);
    }
    assert!(described.is_sorted_by_key(|piece| piece.meta.hash));
    for piece in &described {
        assert_eq!(Some(&piece.meta), metas.get(&piece.meta.hash));
    }
    for (hash, (_, damage)) in model {
        let found = described.iter().find(|piece| piece.meta.hash == *hash);
        // Of a damaged one perhaps nothing is left.
        assert!(found.is_some() || *damage == Damage::Known);
        assert!(found.is_none_or(|piece| piece.corrupt == (*damage == Damage::Known)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_a_map(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        runtime.block_on(run(dir.path(), steps));
    }
}
