//! What every backend promises, as one suite run on each.

use std::io;

use bytes::Bytes;

use super::*;
use crate::piece_store::{Behaviour, MemoryPieceStore};

/// Lengths at which something changes: one chunk, one group, several groups, the step from log to file.
const LENGTHS: [u64; 10] = [64, 1024, 1088, 16_384, 16_448, 32_768, 39_936, 40_064, 300_000, 1 << 20];

async fn suite(store: &dyn PieceStore) {
    keeps_what_it_takes(store).await;
    refuses_wrong_bytes(store).await;
    forgets_abandoned_puts(store).await;
    takes_a_piece_once(store).await;
    lists_in_order(store).await;
    gives_any_range(store).await;
    deletes(store).await;
    keeps_what_was_ordered_again(store).await;
    survives_a_reader_that_gives_up(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    suite(&store).await;
    assert_counters_exact(&store);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    suite(&MemoryPieceStore::new(1 << 30)).await;
}

async fn keeps_what_it_takes(store: &dyn PieceStore) {
    for (seed, len) in (0..).zip(LENGTHS) {
        let (meta, data) = piece(seed, len);
        assert!(matches!(store.read(meta.hash), Err(ReadError::NotFound(hash)) if hash == meta.hash));
        let before = store.stats();
        assert_eq!(put(store, meta, &data).await.unwrap(), Stored::New);
        assert_eq!(read(store, meta.hash).unwrap(), data);
        let reader = store.read(meta.hash).unwrap();
        assert_eq!((*reader.meta(), reader.piece_len(), reader.stored_at()), (meta, data.len() as u64, NOW));
        let stats = store.stats();
        assert_eq!(stats.pieces, before.pieces + 1);
        let least = data.len() as u64 + proof::outboard_len(data.len() as u64) + HEADER_LEN as u64;
        let used = stats.used_bytes - before.used_bytes;
        assert!((least..=least + HEADER_LEN as u64).contains(&used), "{used} for {least}");
        assert_eq!(stats.reserved_bytes, 0);
    }
}

async fn refuses_wrong_bytes(store: &dyn PieceStore) {
    for len in [1024, 16_448, 300_032] {
        let (meta, data) = piece(1000 + len, len);
        let mut other = data.to_vec();
        other[100] ^= 1;
        let wrong = put(store, meta, &Bytes::from(other)).await;
        assert!(
            matches!(wrong, Err(PutError::WrongHash { expected, .. }) if expected == meta.hash),
            "{wrong:?}"
        );
        let short = put(store, meta, &data.slice(..data.len() - 1)).await;
        assert!(matches!(short, Err(PutError::WrongLength { hash }) if hash == meta.hash));
        let long = Bytes::from([&data[..], b"x"].concat());
        assert!(
            matches!(put(store, meta, &long).await, Err(PutError::WrongLength { hash }) if hash == meta.hash)
        );
        assert!(matches!(store.read(meta.hash), Err(ReadError::NotFound(_))));
    }
    assert_eq!(store.stats().reserved_bytes, 0);
}

async fn forgets_abandoned_puts(store: &dyn PieceStore) {
    for len in [1024, 900_032] {
        let (meta, data) = piece(2000 + len, len);
        let before = store.stats();
        let mut started = store.put(meta, NOW).unwrap();
        assert!(store.stats().reserved_bytes >= len);
        started.write(data.slice(..data.len() / 2)).await.unwrap();
        drop(started);
        // The space left on the disk is not the store's alone, so it may have moved meanwhile.
        let after = store.stats();
        assert_eq!(after, Stats { free_bytes: after.free_bytes, ..before });
        assert!(matches!(store.read(meta.hash), Err(ReadError::NotFound(_))));
        // And it can be put again.
        put(store, meta, &data).await.unwrap();
    }
}

async fn takes_a_piece_once(store: &dyn PieceStore) {
    for len in [2048, 200_000] {
        let (meta, data) = piece(3000 + len, len);
        let both = tokio::join!(put(store, meta, &data), put(store, meta, &data));
        let new =
            [both.0.unwrap(), both.1.unwrap()].into_iter().filter(|stored| *stored == Stored::New).count();
        assert_eq!(new, 1);
        let before = store.stats();
        assert_eq!(put(store, meta, &data).await.unwrap(), Stored::AlreadyHeld);
        let mut other = data.to_vec();
        other[5] ^= 1;
        assert!(matches!(put(store, meta, &Bytes::from(other)).await, Err(PutError::WrongHash { .. })));
        assert!(matches!(put(store, meta, &data.slice(1..)).await, Err(PutError::WrongLength { .. })));
        let after = store.stats();
        assert_eq!((after.pieces, after.used_bytes), (before.pieces, before.used_bytes));
        assert_eq!(read(store, meta.hash).unwrap(), data);
    }
}

async fn lists_in_order(store: &dyn PieceStore) {
    let mut expected = store.list(None, usize::MAX).unwrap();
    for seed in 0..30 {
        let (meta, data) = piece(4000 + seed, 256);
        put(store, meta, &data).await.unwrap();
        let piece_len = data.len() as u64;
        expected.push(Listed { hash: meta.hash, stored_at: NOW, piece_len, corrupt: false });
        if seed == 15 {
            store.checkpoint().unwrap();
        }
    }
    expected.sort_by_key(|line| line.hash);
    let mut found = Vec::new();
    loop {
        let page = store.list(found.last().map(|line: &Listed| line.hash), 7).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 7);
        found.extend(page);
    }
    assert_eq!(found, expected);
}

async fn gives_any_range(store: &dyn PieceStore) {
    for len in [1088, 39_936, 300_032] {
        let (meta, data) = piece(5000 + len, len);
        put(store, meta, &data).await.unwrap();
        let reader = store.read(meta.hash).unwrap();
        let len = data.len() as u64;
        for range in [0..1, 0..len, 1..len, len - 1..len, 1000..1025, len / 2..len / 2 + 64] {
            let slice = reader.slice_to_bytes(range.clone()).unwrap();
            assert_eq!(slice.len() as u64, encoded_len(len, &range));
            let bytes = verify_slice(meta.hash, len, range.clone(), &slice[..]).unwrap();
            let at = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            assert_eq!(bytes, data[at]);
        }
        for range in [0..0, 5..5, 0..len + 1, len..len + 1, len + 1..len + 2, u64::MAX - 1..u64::MAX] {
            assert!(matches!(reader.slice_to_bytes(range), Err(ReadError::BadRange { .. })));
        }
    }
}

async fn deletes(store: &dyn PieceStore) {
    let before = store.stats();
    let pieces: Vec<_> = [512, 20_032, 100_032].map(|len| piece(6000 + len, len)).into();
    for (meta, data) in &pieces {
        put(store, *meta, data).await.unwrap();
    }
    let open = store.read(pieces[2].0.hash).unwrap();
    let mut hashes: Vec<_> = pieces.iter().map(|(meta, _)| meta.hash).collect();
    hashes.push(PieceHash([7; 32]));
    hashes.push(hashes[0]);
    assert_eq!(store.delete(given_up(hashes.clone())).await.unwrap(), 3);
    assert_eq!(store.delete(given_up(hashes)).await.unwrap(), 0);
    for (meta, _) in &pieces {
        assert!(matches!(store.read(meta.hash), Err(ReadError::NotFound(_))));
    }
    // Whoever had it open may finish.
    assert_eq!(open.slice_to_bytes(0..64).unwrap().len() as u64, encoded_len(open.piece_len(), &(0..64)));
    let after = store.stats();
    assert_eq!((after.pieces, after.used_bytes), (before.pieces, before.used_bytes));
    for (meta, data) in &pieces {
        assert_eq!(put(store, *meta, data).await.unwrap(), Stored::New);
        assert_eq!(read(store, meta.hash).unwrap(), *data);
    }
}

/// An order to delete may be under way for so long that its piece is wanted again when it arrives.
async fn keeps_what_was_ordered_again(store: &dyn PieceStore) {
    let at = |seconds: i64| UnixMillis(NOW.0 + 1000 * seconds);
    for len in [512, 20_032, 900_032] {
        let (meta, data) = piece(6500 + len, len);
        let unpin = |stored_before| vec![PieceUnpin { hash: meta.hash, stored_before }];
        assert_eq!(put_at(store, meta, &data, at(0)).await.unwrap(), Stored::New);
        let before = store.stats();
        assert_eq!(put_at(store, meta, &data, at(20)).await.unwrap(), Stored::AlreadyHeld);
        let after = store.stats();
        assert_eq!((after.pieces, after.used_bytes), (before.pieces, before.used_bytes));
        // The order of ten seconds ago, and a repetition of the first put.
        assert_eq!(store.delete(unpin(at(10))).await.unwrap(), 0);
        assert_eq!(put_at(store, meta, &data, at(0)).await.unwrap(), Stored::AlreadyHeld);
        assert_eq!(store.delete(unpin(at(20))).await.unwrap(), 0);
        assert_eq!(store.read(meta.hash).unwrap().stored_at(), at(20));
        assert_eq!(read(store, meta.hash).unwrap(), data);
        assert_eq!(store.delete(unpin(at(21))).await.unwrap(), 1);
        assert!(matches!(store.read(meta.hash), Err(ReadError::NotFound(_))));
    }
    assert_eq!(store.stats().reserved_bytes, 0);
}

async fn survives_a_reader_that_gives_up(store: &dyn PieceStore) {
    let (meta, data) = piece(7000, 500_032);
    put(store, meta, &data).await.unwrap();
    let mut taken = 0;
    let gone = store.read(meta.hash).unwrap().slice(0..data.len() as u64, &mut |part| {
        taken += part.len();
        if taken > 100_000 { Err(io::Error::from(io::ErrorKind::BrokenPipe)) } else { Ok(()) }
    });
    assert!(matches!(gone, Err(ReadError::Sink(_))));
    assert_eq!(read(store, meta.hash).unwrap(), data);
    assert!(store.problems(10).unwrap().is_empty());
}

#[tokio::test]
async fn a_memory_store_misbehaves_on_demand() {
    let store = MemoryPieceStore::new(1 << 20);
    let (meta, data) = piece(1, 50_000);
    put(&store, meta, &data).await.unwrap();
    store.set_behaviour(Behaviour::Lies);
    let slice = store.read(meta.hash).unwrap().slice_to_bytes(0..1024).unwrap();
    assert!(verify_slice(meta.hash, data.len() as u64, 0..1024, &slice[..]).is_err());
    store.set_behaviour(Behaviour::Forgets);
    let (other, other_data) = piece(2, 1024);
    assert_eq!(put(&store, other, &other_data).await.unwrap(), Stored::New);
    assert!(matches!(store.read(other.hash), Err(ReadError::NotFound(_))));
    store.set_behaviour(Behaviour::Honest);
    assert!(store.flip_bit(meta.hash, 20_000));
    assert!(store.read(meta.hash).unwrap().slice_to_bytes(0..1024).is_ok());
    let progress = store.scrub_step(1).unwrap();
    assert_eq!((progress.pieces, progress.corrupt), (1, 1));
    assert!(matches!(store.read(meta.hash), Err(ReadError::Corrupt(_))));
    assert_eq!(store.problems(9).unwrap(), [meta.hash]);
    store.forget_problem(meta.hash).unwrap();
    assert!(store.problems(9).unwrap().is_empty());
    assert_eq!(put(&store, meta, &data).await.unwrap(), Stored::New);
    assert_eq!(read(&store, meta.hash).unwrap(), data);
    store.lose_everything();
    assert_eq!(store.stats().pieces, 0);
    let (big, _) = piece(3, 2 << 20);
    assert!(matches!(store.put(big, NOW), Err(PutError::NoSpace { .. })));
}

use crate::piece_store::{Listed, Stats};
