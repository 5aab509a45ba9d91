//! Tests of the piece store: what both backends promise, and what disk and crashes may do to the one on disk.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use erasure::{Codec, Scheme};
use protocol::{
    ids::{PieceHash, SegmentId},
    piece::PieceMeta,
    proof::{encoded_len, verify_slice},
    time::UnixMillis,
    unpin::PieceUnpin,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{
    DiskPieceStore, PieceStore, PieceStoreConfig, PutError, ReadError, Stored,
    ledger::{Kind, LogUsage},
    proof,
    record::HEADER_LEN,
};

mod capacity;
mod compaction;
mod conformance;
mod crash;
mod damage;
mod formats;
mod model;
mod proofs;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// The piece number `seed` of about `len` bytes; the same seed and length give the same piece.
fn piece(seed: u64, len: u64) -> (PieceMeta, Bytes) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let scheme = Scheme::new(Codec::Rs16, 1, 2).unwrap();
    let mut segment = [0; 16];
    rng.fill(&mut segment[..]);
    let hash = PieceHash([0; 32]);
    let mut meta = PieceMeta { hash, segment: SegmentId(segment), index: 0, scheme, segment_len: len };
    let mut data = vec![0; usize::try_from(meta.piece_len()).unwrap()];
    rng.fill(&mut data[..]);
    meta.hash = PieceHash::of(&data);
    (meta, Bytes::from(data))
}

/// Puts a piece in parts of 10 000 bytes.
async fn put(store: &dyn PieceStore, meta: PieceMeta, data: &Bytes) -> Result<Stored, PutError> {
    put_at(store, meta, data, NOW).await
}

/// [`put`] under an order of another time.
async fn put_at(
    store: &dyn PieceStore,
    meta: PieceMeta,
    data: &Bytes,
    at: UnixMillis,
) -> Result<Stored, PutError> {
    let mut put = store.put(meta, at)?;
    for at in (0..data.len()).step_by(10_000) {
        put.write(data.slice(at..data.len().min(at + 10_000))).await?;
    }
    put.finish().await
}

/// Unpins of pieces that were given up after anything happened to them.
fn given_up(hashes: impl IntoIterator<Item = PieceHash>) -> Vec<PieceUnpin> {
    let stored_before = UnixMillis(i64::MAX);
    hashes.into_iter().map(|hash| PieceUnpin { hash, stored_before }).collect()
}

/// Reads the whole piece and checks it against its name.
fn read(store: &dyn PieceStore, hash: PieceHash) -> Result<Vec<u8>, ReadError> {
    let reader = store.read(hash)?;
    let range = 0..reader.piece_len();
    let slice = reader.slice_to_bytes(range.clone())?;
    Ok(verify_slice(hash, reader.piece_len(), range.clone(), &slice[..]).unwrap())
}

/// Small limits, so that a few pieces exercise rotation, compaction and checkpoints.
fn tight() -> PieceStoreConfig {
    PieceStoreConfig {
        reserve_bytes: 0,
        small_len_max: 40_000,
        log_bytes_max: 200_000,
        checkpoint_changes: 20,
        small_puts_bytes_max: 1 << 20,
        index_cache_bytes: 1 << 20,
        ..PieceStoreConfig::default()
    }
}

fn open(dir: &Path) -> DiskPieceStore {
    open_with(dir, tight())
}

/// Taken for writing while a process is started: until it has become another program it holds copies of all open files,
/// and with them the locks of stores that have long been closed here.
static STARTING_A_PROCESS: parking_lot::RwLock<()> = parking_lot::RwLock::new(());

fn open_with(dir: &Path, config: PieceStoreConfig) -> DiskPieceStore {
    let _no_process_starts = STARTING_A_PROCESS.read();
    DiskPieceStore::open(dir, config).unwrap()
}

fn start(command: &mut std::process::Command) -> std::process::Child {
    let _nothing_is_opened = STARTING_A_PROCESS.write();
    command.spawn().unwrap()
}

/// Counts everything anew, from the index and from the disk, and compares it with the counters.
fn assert_counters_exact(store: &DiskPieceStore) {
    let shared = store.shared();
    let entries = shared.index.list(None, usize::MAX).unwrap();
    let ledger = shared.index.ledger(Clone::clone);
    assert_eq!(ledger.pieces, entries.len() as u64);
    assert_eq!(ledger.corrupt, entries.iter().filter(|(_, entry)| entry.corrupt).count() as u64);
    assert_eq!(ledger.used, entries.iter().map(|(_, entry)| entry.used_bytes()).sum::<u64>());
    assert_eq!(ledger.files, entries.iter().map(|(_, entry)| entry.file_bytes()).sum::<u64>());
    let mut logs: BTreeMap<u32, LogUsage> = BTreeMap::new();
    for log in shared.logs.numbers().unwrap() {
        logs.insert(log, LogUsage { total: shared.logs.len(log).unwrap().unwrap(), live: 0 });
    }
    for (_, entry) in &entries {
        let usage = logs.get_mut(&entry.place.log);
        usage.unwrap_or_else(|| panic!("no log for {entry:?} in {ledger:?}")).live += entry.log_bytes();
    }
    for ((_, holder), count) in &ledger.tombs {
        logs.get_mut(holder).unwrap().live += count * HEADER_LEN as u64;
    }
    assert_eq!(ledger.logs, logs);
    let large = shared.large.walk().unwrap();
    let filed = entries
        .iter()
        .filter(|(_, entry)| entry.kind == Kind::Large && !entry.corrupt)
        .map(|(hash, _)| *hash);
    let corrupt = |hash: &PieceHash| entries.iter().any(|(found, entry)| found == hash && entry.corrupt);
    assert_eq!(
        large.into_iter().filter(|hash| !corrupt(hash)).collect::<Vec<_>>(),
        filed.collect::<Vec<_>>()
    );
    assert_eq!(std::fs::read_dir(shared.dir.join("tmp")).unwrap().count(), 0);
    assert_eq!(store.stats().reserved_bytes, 0);
}
