//! Damaged disks: whatever byte is changed or cut off, it is found, reported, and never served.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use super::*;
use crate::piece_store::{OpenError, ledger::Entry, record::outboard_len};

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

fn log_path(dir: &Path, log: u32) -> PathBuf {
    dir.join(format!("logs/{log:07}.log"))
}

fn entry(store: &DiskPieceStore, hash: PieceHash) -> Entry {
    store.shared().index.get(&hash).unwrap().unwrap()
}

/// Whatever is read of a damaged piece fails, it is marked, listed as a problem once, and can be replaced.
async fn assert_found_and_replaced(store: &DiskPieceStore, meta: PieceMeta, data: &Bytes) {
    assert!(matches!(read(store, meta.hash), Err(ReadError::Corrupt(hash)) if hash == meta.hash));
    assert_eq!(store.problems(100).unwrap(), [meta.hash]);
    assert_eq!(store.stats().corrupt_pieces, 1);
    store.checkpoint().unwrap();
    assert_eq!(store.problems(100).unwrap(), [meta.hash]);
    store.forget_problem(meta.hash).unwrap();
    assert!(store.problems(100).unwrap().is_empty());
    assert!(matches!(store.read(meta.hash), Err(ReadError::Corrupt(_))));
    assert_eq!(put(store, meta, data).await.unwrap(), Stored::New);
    assert_eq!(read(store, meta.hash).unwrap(), *data);
    assert_eq!(store.stats().corrupt_pieces, 0);
    assert_counters_exact(store);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_anywhere_in_a_record_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (meta, data) = piece(1, 30_016);
    put(&store, meta, &data).await.unwrap();
    // Header: magic, kind, hash, length, time, checksum. Then data and outboard.
    for at in [0, 5, 10, 69, 80, 95, 96, 15_000, 96 + 30_015, 96 + 30_016, 96 + 30_016 + 63] {
        let entry = entry(&store, meta.hash);
        flip(&log_path(dir.path(), entry.place.log), u64::from(entry.place.offset) + at);
        assert_found_and_replaced(&store, meta, &data).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_anywhere_in_a_large_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (meta, data) = piece(2, 100_032);
    put(&store, meta, &data).await.unwrap();
    let path = store.shared().large.path(&meta.hash);
    let outboard = u64::from(outboard_len(100_032));
    for at in
        [0, 50_000, 100_031, 100_032, 100_032 + outboard - 1, 100_032 + outboard, 100_032 + outboard + 95]
    {
        flip(&path, at);
        assert_found_and_replaced(&store, meta, &data).await;
    }
    for len in [0, 1, 100_032, 100_032 + outboard + 95] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();
        assert_found_and_replaced(&store, meta, &data).await;
    }
    fs::remove_file(&path).unwrap();
    assert_found_and_replaced(&store, meta, &data).await;
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(read(&store, meta.hash), Err(ReadError::Corrupt(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_before_the_damage_are_still_given() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (meta, data) = piece(3, 500_032);
    put(&store, meta, &data).await.unwrap();
    let whole = store.read(meta.hash).unwrap().slice_to_bytes(0..500_032).unwrap();
    flip(&store.shared().large.path(&meta.hash), 400_000);
    let mut given = Vec::new();
    let result = store.read(meta.hash).unwrap().slice(0..500_032, &mut |part| {
        given.extend_from_slice(&part);
        Ok(())
    });
    assert!(matches!(result, Err(ReadError::Corrupt(_))));
    assert!(given.len() > 300_000 && whole.starts_with(&given));
}

#[tokio::test(flavor = "multi_thread")]
async fn scrubbing_finds_damage_that_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let pieces: Vec<_> =
        (0..150).map(|seed| piece(100 + seed, if seed % 50 == 0 { 100_032 } else { 3008 })).collect();
    for (meta, data) in &pieces {
        put(&store, *meta, data).await.unwrap();
    }
    let mut damaged = Vec::new();
    for (meta, _) in [&pieces[0], &pieces[17], &pieces[99]] {
        let entry = entry(&store, meta.hash);
        match entry.kind {
            Kind::Large => flip(&store.shared().large.path(&meta.hash), 100_032 + 10),
            _ => flip(&log_path(dir.path(), entry.place.log), u64::from(entry.place.offset) + 2000),
        }
        damaged.push(meta.hash);
    }
    damaged.sort_unstable();
    let (mut checked, mut found, mut steps) = (0, 0, 0);
    loop {
        let progress = store.scrub_step(20_000).unwrap();
        (checked, found, steps) = (checked + progress.pieces, found + progress.corrupt, steps + 1);
        if progress.wrapped {
            break;
        }
        if steps == 3 {
            // The cursor survives a restart.
            drop(store);
            store = open(dir.path());
        }
    }
    assert_eq!((checked, found), (150, 3));
    assert!(steps > 10);
    let problems = |store: &DiskPieceStore| {
        let mut problems = store.problems(100).unwrap();
        problems.sort_unstable();
        problems
    };
    assert_eq!(problems(&store), damaged);
    assert_eq!(store.problems(2).unwrap().len(), 2);
    assert_counters_exact(&store);
    drop(store);
    let store = open(dir.path());
    assert_eq!(problems(&store), damaged);
    // A second round checks only what is left.
    assert_eq!(store.scrub_step(u64::MAX).unwrap().pieces, 147);
}

/// Makes a store whose log ends with three known records, ended as by a crash: nothing of them is in the index file.
async fn store_with_tail(dir: &Path) -> Vec<(PieceMeta, Bytes)> {
    let pieces: Vec<_> = [piece(1, 1024), piece(2, 2048), piece(3, 64)].into();
    let store = open(dir);
    store.checkpoint().unwrap();
    put(&store, pieces[0].0, &pieces[0].1).await.unwrap();
    // Closing writes the index down, so the state of the crash is copied before.
    for (meta, data) in &pieces[1..] {
        put(&store, *meta, data).await.unwrap();
    }
    let crashed = dir.with_extension("crashed");
    copy_dir(dir, &crashed);
    drop(store);
    fs::remove_dir_all(dir).unwrap();
    fs::rename(crashed, dir).unwrap();
    pieces
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        if item.file_type().unwrap().is_dir() {
            copy_dir(&item.path(), &to.join(item.file_name()));
        } else {
            fs::copy(item.path(), to.join(item.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_torn_at_any_byte_loses_only_its_last_record() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let pieces = store_with_tail(&dir).await;
    let whole = fs::read(log_path(&dir, 1)).unwrap();
    let last = whole.len() - 64 - HEADER_LEN;
    for cut in last..=whole.len() {
        let torn = root.path().join("torn");
        copy_dir(&dir, &torn);
        fs::write(log_path(&torn, 1), &whole[..cut]).unwrap();
        let store = open(&torn);
        assert_eq!(read(&store, pieces[0].0.hash).unwrap(), pieces[0].1);
        assert_eq!(read(&store, pieces[1].0.hash).unwrap(), pieces[1].1);
        if cut == whole.len() {
            assert_eq!(read(&store, pieces[2].0.hash).unwrap(), pieces[2].1);
        } else {
            assert!(matches!(store.read(pieces[2].0.hash), Err(ReadError::NotFound(_))), "cut at {cut}");
            if cut % 20 == 0 {
                put(&store, pieces[2].0, &pieces[2].1).await.unwrap();
                assert_eq!(read(&store, pieces[2].0.hash).unwrap(), pieces[2].1);
            }
        }
        assert!(store.problems(10).unwrap().is_empty());
        assert_counters_exact(&store);
        drop(store);
        fs::remove_dir_all(&torn).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_inside_the_tail_is_told_from_a_torn_end() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let pieces = store_with_tail(&dir).await;
    // Data of the second of three records: the piece is known, so it is reported.
    let second = 32 + 96 + 1024;
    let damaged = root.path().join("data");
    copy_dir(&dir, &damaged);
    flip(&log_path(&damaged, 1), second + 96 + 5);
    let store = open(&damaged);
    assert_eq!(store.problems(10).unwrap(), [pieces[1].0.hash]);
    assert_eq!(read(&store, pieces[2].0.hash).unwrap(), pieces[2].1);
    assert_counters_exact(&store);
    drop(store);
    // Its header: the record cannot be read, but those behind it can.
    let damaged = root.path().join("header");
    copy_dir(&dir, &damaged);
    flip(&log_path(&damaged, 1), second + 20);
    let store = open(&damaged);
    assert!(matches!(store.read(pieces[1].0.hash), Err(ReadError::NotFound(_))));
    assert_eq!(read(&store, pieces[0].0.hash).unwrap(), pieces[0].1);
    assert_eq!(read(&store, pieces[2].0.hash).unwrap(), pieces[2].1);
    assert_counters_exact(&store);
}

/// A store with small and large pieces, some deleted, one damaged and known to be.
async fn mixed_store(dir: &Path) -> (Vec<(PieceMeta, Bytes)>, Vec<PieceHash>) {
    let store = open(dir);
    let mut pieces: Vec<_> =
        (0..60).map(|seed| piece(seed, if seed % 10 == 0 { 80_000 } else { 7040 })).collect();
    for (meta, data) in &pieces {
        put(&store, *meta, data).await.unwrap();
    }
    let gone: Vec<_> = pieces.drain(40..).map(|(meta, _)| meta.hash).collect();
    store.delete(given_up(gone.clone())).await.unwrap();
    let (meta, _) = pieces.remove(7);
    let entry = entry(&store, meta.hash);
    flip(&log_path(dir, entry.place.log), u64::from(entry.place.offset) + 1000);
    assert!(read(&store, meta.hash).is_err());
    assert_counters_exact(&store);
    (pieces, gone)
}

fn assert_mixed(store: &DiskPieceStore, pieces: &[(PieceMeta, Bytes)], gone: &[PieceHash]) {
    for (meta, data) in pieces {
        assert_eq!(read(store, meta.hash).unwrap(), *data);
    }
    for hash in gone {
        assert!(matches!(store.read(*hash), Err(ReadError::NotFound(_))));
    }
    assert_eq!(store.problems(9).unwrap().len(), 1);
    assert_eq!(store.stats().pieces, pieces.len() as u64 + 1);
    assert_counters_exact(store);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let (pieces, gone) = mixed_store(dir.path()).await;
    fs::remove_file(dir.path().join("index.redb")).unwrap();
    fs::remove_file(dir.path().join("format")).unwrap();
    assert_mixed(&open(dir.path()), &pieces, &gone);
    DiskPieceStore::discard_index(dir.path()).unwrap();
    assert_mixed(&open(dir.path()), &pieces, &gone);
    // An index that was being built when the power failed looks complete, but is not used.
    fs::write(dir.path().join("index.damaged"), "").unwrap();
    assert_mixed(&open(dir.path()), &pieces, &gone);
    assert!(!dir.path().join("index.damaged").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_takes_in_large_files_without_a_record_and_misses_those_that_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (piece(1, 100_032), piece(2, 90_048));
    let store = open(dir.path());
    put(&store, first.0, &first.1).await.unwrap();
    put(&store, second.0, &second.1).await.unwrap();
    let at = entry(&store, first.0.hash).place;
    let gone = store.shared().large.path(&second.0.hash);
    drop(store);
    flip(&log_path(dir.path(), at.log), u64::from(at.offset) + 4);
    fs::remove_file(gone).unwrap();
    DiskPieceStore::discard_index(dir.path()).unwrap();
    for _ in 0..2 {
        let store = open(dir.path());
        assert_eq!(read(&store, first.0.hash).unwrap(), first.1);
        assert_eq!(store.problems(9).unwrap(), [second.0.hash]);
        assert_counters_exact(&store);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_file_with_changed_bytes_serves_nothing_wrong_and_heals() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let (pieces, gone) = mixed_store(&dir).await;
    let len = fs::metadata(dir.join("index.redb")).unwrap().len();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut noticed = 0;
    for _ in 0..40 {
        let damaged = root.path().join("damaged");
        copy_dir(&dir, &damaged);
        for _ in 0..20 {
            flip(&damaged.join("index.redb"), rng.random_range(0..len));
        }
        // Reading a damaged file may panic inside redb; the process then ends, and the start after a few such ends
        // builds the index again.
        let used = std::panic::catch_unwind(|| {
            let store = open(&damaged);
            for (meta, data) in &pieces {
                if let Ok(found) = read(&store, meta.hash) {
                    assert_eq!(found, *data);
                }
            }
            store.scrub_step(u64::MAX).is_err()
        });
        noticed += u32::from(!matches!(used, Ok(false)));
        if !matches!(used, Ok(false)) {
            fs::write(damaged.join("unclean.starts"), "6").unwrap();
            assert_mixed(&open(&damaged), &pieces, &gone);
        }
        fs::remove_dir_all(&damaged).unwrap();
    }
    assert!(noticed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_entry_is_found_by_its_checksum_and_the_index_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let (pieces, gone) = mixed_store(dir.path()).await;
    let path = dir.path().join("index.redb");
    let mut bytes = fs::read(&path).unwrap();
    let hash = pieces[3].0.hash;
    let found: Vec<_> =
        bytes.windows(32).enumerate().filter(|(_, key)| *key == hash.0).map(|(at, _)| at).collect();
    assert!(!found.is_empty());
    for at in found {
        bytes[at + 31] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    let store = open(dir.path());
    assert!(matches!(store.scrub_step(u64::MAX), Err(crate::piece_store::StoreError::Index(_))));
    drop(store);
    assert_mixed(&open(dir.path()), &pieces, &gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_opened_once_and_only_in_a_format_it_knows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (meta, data) = piece(1, 1024);
    put(&store, meta, &data).await.unwrap();
    assert!(matches!(DiskPieceStore::open(dir.path(), tight()), Err(OpenError::InUse(_))));
    drop(store);
    let format = fs::read(dir.path().join("format")).unwrap();
    fs::write(dir.path().join("format"), [b"PnStore\x02", &format[8..], b"more"].concat()).unwrap();
    assert!(matches!(DiskPieceStore::open(dir.path(), tight()), Err(OpenError::UnknownFormat(_))));
    fs::write(dir.path().join("format"), b"damage").unwrap();
    assert_eq!(read(&open(dir.path()), meta.hash).unwrap(), data);
    let config = PieceStoreConfig { log_bytes_max: 3 << 30, ..tight() };
    assert!(matches!(DiskPieceStore::open(dir.path(), config), Err(OpenError::Config(_))));
}
