//! Compaction: it gives space back and keeps every piece, mark and deletion.

use super::*;
use crate::piece_store::faults::Fault;

/// Steps until nothing is left to do; returns the bytes freed.
fn compact(store: &DiskPieceStore, budget: u64) -> u64 {
    let mut freed = 0;
    for _ in 0..10_000 {
        let progress = store.compact_step(budget).unwrap();
        freed += progress.freed_bytes;
        if !progress.more {
            return freed;
        }
    }
    panic!("compaction does not end");
}

async fn fill(store: &DiskPieceStore, seeds: std::ops::Range<u64>) -> Vec<(PieceMeta, Bytes)> {
    let pieces: Vec<_> = seeds.map(|seed| piece(seed, if seed % 20 == 3 { 60_032 } else { 9984 })).collect();
    for (meta, data) in &pieces {
        put(store, *meta, data).await.unwrap();
    }
    pieces
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_piece_was_ordered_again_is_kept_through_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let pieces = fill(&store, 0..40).await;
    let later = UnixMillis(NOW.0 + 5000);
    for (meta, data) in &pieces {
        assert_eq!(put_at(&store, *meta, data, later).await.unwrap(), Stored::AlreadyHeld);
    }
    let check = |store: &DiskPieceStore| {
        assert_eq!(store.stats().pieces, pieces.len() as u64);
        for (meta, data) in &pieces {
            assert_eq!(store.read(meta.hash).unwrap().stored_at(), later);
            assert_eq!(read(store, meta.hash).unwrap(), *data);
        }
    };
    check(&store);
    assert!(compact(&store, 50_000) > 0);
    check(&store);
    drop(store);
    store = open(dir.path());
    check(&store);
    drop(store);
    DiskPieceStore::discard_index(dir.path()).unwrap();
    check(&open(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn space_comes_back_and_every_piece_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut pieces = fill(&store, 0..150).await;
    let gone: Vec<_> =
        pieces.extract_if(.., |(meta, _)| meta.hash.0[1] % 4 != 0).map(|(meta, _)| meta.hash).collect();
    assert_eq!(store.delete(given_up(gone.clone())).await.unwrap(), gone.len());
    let before = store.stats();
    assert!(before.dead_bytes > 500_000);
    let freed = compact(&store, 50_000);
    assert!(freed > 500_000, "{freed}");
    let after = store.stats();
    assert!(after.dead_bytes < before.dead_bytes / 2);
    assert_eq!((after.pieces, after.used_bytes), (before.pieces, before.used_bytes));
    let occupied: u64 = std::fs::read_dir(dir.path().join("logs"))
        .unwrap()
        .map(|log| log.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(occupied, store.shared().index.ledger(super::super::ledger::Ledger::log_bytes));
    for round in 0..3 {
        for (meta, data) in &pieces {
            assert_eq!(read(&store, meta.hash).unwrap(), *data);
        }
        for hash in &gone {
            assert!(matches!(store.read(*hash), Err(ReadError::NotFound(_))));
        }
        assert_counters_exact(&store);
        drop(store);
        if round == 1 {
            // Deletions hold even when the index has to be built from what compaction has left.
            DiskPieceStore::discard_index(dir.path()).unwrap();
        }
        store = open(dir.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn churn_does_not_grow_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut held: Vec<PieceHash> = Vec::new();
    for round in 0..12 {
        let pieces = fill(&store, round * 40..(round + 1) * 40).await;
        store.delete(given_up(std::mem::take(&mut held))).await.unwrap();
        held.extend(pieces.iter().map(|(meta, _)| meta.hash));
        compact(&store, 1 << 20);
        assert_counters_exact(&store);
    }
    assert!(store.shared().logs.numbers().unwrap().len() < 8);
    store.delete(given_up(held)).await.unwrap();
    compact(&store, 1 << 20);
    let stats = store.stats();
    assert_eq!((stats.pieces, stats.used_bytes), (0, 0));
    assert!(stats.dead_bytes < 400_000, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_finds_damage_and_keeps_marks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut pieces = fill(&store, 0..60).await;
    let place = |hash| store.shared().index.get(&hash).unwrap().unwrap();
    let in_first = |(meta, _): &(PieceMeta, Bytes)| place(meta.hash).place.log == 1;
    let first: Vec<_> = pieces.extract_if(.., |piece| in_first(piece)).collect();
    let [large, unread, header, known, ..] = [3, 0, 1, 2].map(|at| first[at].0.hash);
    assert_eq!(place(large).kind, Kind::Large);
    let damage = |hash, at: u64| {
        let path = dir.path().join("logs/0000001.log");
        let mut log = std::fs::read(&path).unwrap();
        log[usize::try_from(u64::from(place(hash).place.offset) + at).unwrap()] ^= 1;
        std::fs::write(&path, log).unwrap();
    };
    damage(unread, 500);
    damage(header, 50);
    damage(known, 500);
    assert!(read(&store, known).is_err());
    store.forget_problem(known).unwrap();
    std::fs::write(store.shared().large.path(&large), b"short").unwrap();
    assert!(read(&store, large).is_err());
    // Delete the rest of the first log, so that it is compacted.
    let rest: Vec<_> = first[4..].iter().map(|(meta, _)| meta.hash).collect();
    store.delete(given_up(rest)).await.unwrap();
    compact(&store, 1 << 20);
    assert!(!store.shared().logs.numbers().unwrap().contains(&1));
    let mut expected = vec![large, unread, header];
    expected.sort_unstable();
    for _ in 0..2 {
        let mut problems = store.problems(9).unwrap();
        problems.sort_unstable();
        assert_eq!(problems, expected);
        assert_eq!(store.stats().corrupt_pieces, 4);
        assert_counters_exact(&store);
        store.checkpoint().unwrap();
    }
    for (meta, data) in &first[..4] {
        assert!(matches!(store.read(meta.hash), Err(ReadError::Corrupt(_))));
        assert_eq!(put(&store, *meta, data).await.unwrap(), Stored::New);
        assert_eq!(read(&store, meta.hash).unwrap(), *data);
    }
    for (meta, data) in &pieces {
        assert_eq!(read(&store, meta.hash).unwrap(), *data);
    }
    assert_counters_exact(&store);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_cannot_write_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut pieces = fill(&store, 0..60).await;
    let gone: Vec<_> = pieces.drain(..40).map(|(meta, _)| meta.hash).collect();
    let kept_in_first = fill(&store, 200..203).await;
    store.delete(given_up(gone)).await.unwrap();
    pieces.extend(kept_in_first);
    for fault in [Fault::Append, Fault::Sync, Fault::Sync] {
        store.shared().logs.faults.arm(fault);
        let mut failed = false;
        while let Ok(progress) = store.compact_step(30_000).map_err(|_| failed = true) {
            if !progress.more {
                break;
            }
        }
        assert!(failed || pieces.is_empty());
        for (meta, data) in &pieces {
            assert_eq!(read(&store, meta.hash).unwrap(), *data);
        }
        assert_counters_exact(&store);
    }
    compact(&store, 30_000);
    assert_eq!(store.stats().corrupt_pieces, 0);
    for (meta, data) in &pieces {
        assert_eq!(read(&store, meta.hash).unwrap(), *data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_not_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(open(dir.path()));
    let mut pieces = fill(&store, 0..120).await;
    let gone: Vec<_> =
        pieces.extract_if(.., |(meta, _)| meta.hash.0[1] % 3 != 0).map(|(meta, _)| meta.hash).collect();
    store.delete(given_up(gone)).await.unwrap();
    let early = store.read(pieces[0].0.hash).unwrap();
    let reading = std::sync::Arc::clone(&store);
    let wanted = pieces.clone();
    let reader = std::thread::spawn(move || {
        for (meta, data) in wanted.iter().cycle().take(wanted.len() * 20) {
            assert_eq!(read(&*reading, meta.hash).unwrap(), *data);
        }
    });
    assert!(compact(&store, 10_000) > 0);
    reader.join().unwrap();
    early.slice_to_bytes(0..early.piece_len()).unwrap();
    assert!(store.problems(1).unwrap().is_empty());
}
