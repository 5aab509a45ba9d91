//! What the piece store costs: bytes, inodes, start-up times and speeds, each beside a plain baseline from the same run.
//!
//! `cargo bench -p pinner -- full` stores a million pieces of 1 KiB and 200 of 8 MiB; without `full` it is a quick look.
//! Files go to a temporary directory under `CARGO_TARGET_TMPDIR` and are removed.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use erasure::{Codec, Scheme};
use pinner::piece_store::{DiskPieceStore, PieceStore, PieceStoreConfig};
use protocol::{
    ids::{PieceHash, SegmentId},
    piece::PieceMeta,
    proof::verify_slice,
    time::UnixMillis,
    unpin::PieceUnpin,
};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const SMALL: u64 = 1024;
const LARGE: u64 = 8 << 20;
/// Puts that are under way at a time.
const IN_FLIGHT: u64 = 256;
const LARGE_IN_FLIGHT: u64 = 8;
/// Pieces that are audited; again and again if there are fewer.
const AUDITS: u64 = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, dir, count] = &arguments[..]
        && word == "fill-and-die"
    {
        fill_and_die(Path::new(dir), count.parse().expect("a count"));
    }
    if let [_, word, dir] = &arguments[..]
        && word == "open-and-tell"
    {
        let before = memory("VmRSS");
        let (store, time) = open(Path::new(dir));
        store.checkpoint().expect("checkpoint");
        println!(
            "  opened in a process of its own: {:.1} ms, {} pieces, {:.0} MiB of memory (before: {before:.0})",
            time.as_secs_f64() * 1e3,
            store.stats().pieces,
            memory("VmRSS")
        );
        return;
    }
    let full = arguments.iter().any(|argument| argument == "full");
    let (small, large) = if full { (1_000_000, 200) } else { (20_000, 10) };
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("temporary directory");
    baselines(root.path());
    small_pieces(&root.path().join("small"), small);
    large_pieces(&root.path().join("large"), large);
    after_a_crash(&root.path().join("crashed"), small);
}

fn piece(seed: u64, len: u64) -> (PieceMeta, Bytes) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let scheme = Scheme::new(Codec::Rs16, 1, 2).expect("a possible scheme");
    let mut data = vec![0; usize::try_from(len).expect("fits")];
    rng.fill_bytes(&mut data);
    let segment = SegmentId(rng.random());
    let meta = PieceMeta { hash: PieceHash::of(&data), segment, index: 0, scheme, segment_len: len };
    assert_eq!(meta.piece_len(), len);
    (meta, Bytes::from(data))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime")
}

fn open(dir: &Path) -> (Arc<DiskPieceStore>, Duration) {
    let start = Instant::now();
    let config = PieceStoreConfig { reserve_bytes: 0, ..PieceStoreConfig::default() };
    let store = DiskPieceStore::open(dir, config).expect("store opens");
    (Arc::new(store), start.elapsed())
}

async fn put(store: &DiskPieceStore, meta: PieceMeta, data: Bytes) {
    let mut put = store.put(meta, UnixMillis(0)).expect("put starts");
    for at in (0..data.len()).step_by(256 << 10) {
        put.write(data.slice(at..data.len().min(at + (256 << 10)))).await.expect("bytes are taken");
    }
    put.finish().await.expect("piece is stored");
}

/// Puts `count` pieces, so many at a time; returns how long each took, in milliseconds.
fn fill(store: &Arc<DiskPieceStore>, first: u64, count: u64, len: u64, in_flight: u64) -> Vec<f64> {
    runtime().block_on(async {
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..in_flight {
            let store = Arc::clone(store);
            workers.spawn(async move {
                let mut times = Vec::new();
                for number in (worker..count).step_by(usize::try_from(in_flight).expect("fits")) {
                    let (meta, data) = piece(first + number, len);
                    let start = Instant::now();
                    put(&store, meta, data).await;
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                }
                times
            });
        }
        workers.join_all().await.concat()
    })
}

fn percentiles(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() - 1) * share / 1000];
    format!("p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, worst {:.1} ms", at(500), at(990), at(999), at(1000))
}

/// Bytes on disk and inodes, directories included.
fn usage(dir: &Path) -> (u64, u64) {
    let mut total = (fs::metadata(dir).expect("metadata").blocks() * 512, 1);
    for item in fs::read_dir(dir).expect("directory") {
        let item = item.expect("entry");
        let (bytes, inodes) = if item.file_type().expect("type").is_dir() {
            usage(&item.path())
        } else {
            (item.metadata().expect("metadata").blocks() * 512, 1)
        };
        total = (total.0 + bytes, total.1 + inodes);
    }
    total
}

/// A line of `/proc/self/status` in MiB.
fn memory(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap_or(0.0) / 1024.0
}

fn mb_per_s(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

fn baselines(dir: &Path) {
    let path = dir.join("baseline");
    let file = File::create(&path).expect("file");
    for group in [1, 64, 256] {
        let bytes = vec![7; group * 1120];
        let (start, mut syncs) = (Instant::now(), 0_u64);
        while start.elapsed() < Duration::from_secs(1) {
            file.write_all_at(&bytes, syncs * bytes.len() as u64).expect("write");
            file.sync_data().expect("sync");
            syncs += 1;
        }
        let rate = syncs as f64 / start.elapsed().as_secs_f64();
        println!(
            "baseline: append {group} x 1120 B + fdatasync: {rate:.0} syncs/s, {:.0} records/s",
            rate * group as f64
        );
    }
    let (_, data) = piece(0, LARGE);
    let start = Instant::now();
    for number in 0..20 {
        let mut file = File::create(dir.join(format!("baseline.{number}"))).expect("file");
        file.write_all(&data).expect("write");
        file.sync_data().expect("sync");
    }
    println!(
        "baseline: 8 MiB files, write + fdatasync, one at a time: {:.0} MB/s",
        mb_per_s(20 * LARGE, start.elapsed())
    );
    let start = Instant::now();
    for _ in 0..20 {
        std::hint::black_box(PieceHash::of(std::hint::black_box(&data)));
    }
    println!("baseline: BLAKE3 of 8 MiB: {:.0} MB/s", mb_per_s(20 * LARGE, start.elapsed()));
    for item in fs::read_dir(dir).expect("directory") {
        fs::remove_file(item.expect("entry").path()).expect("remove");
    }
}

fn small_pieces(dir: &Path, count: u64) {
    let (store, _) = open(dir);
    let start = Instant::now();
    let times = fill(&store, 0, count, SMALL, IN_FLIGHT);
    let rate = count as f64 / start.elapsed().as_secs_f64();
    println!("{count} pieces of 1 KiB, {IN_FLIGHT} at a time: {rate:.0} puts/s; {}", percentiles(times));
    let times = fill(&store, count, 2000.min(count), SMALL, 1);
    println!("1 KiB, one at a time: {}", percentiles(times));
    println!("memory: {:.0} MiB now, {:.0} MiB at most", memory("VmRSS"), memory("VmHWM"));
    let stats = store.stats();
    let start = Instant::now();
    store.checkpoint().expect("checkpoint");
    println!("last checkpoint {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    audits(&*store, "1 KiB pieces", SMALL, count, 1024);
    let start = Instant::now();
    let scrubbed = store.scrub_step(1 << 30).expect("scrub");
    println!("scrub: {:.0} MB/s, {} pieces", mb_per_s(scrubbed.bytes, start.elapsed()), scrubbed.pieces);
    drop(store);
    let (bytes, inodes) = usage(dir);
    let index = fs::metadata(dir.join("index.redb")).expect("index").blocks() * 512;
    println!(
        "on disk: {:.1} MB in {inodes} inodes for {} pieces; {:.0} B/piece, index {:.0} of it; counted {} B",
        bytes as f64 / 1e6,
        stats.pieces,
        bytes as f64 / stats.pieces as f64,
        index as f64 / stats.pieces as f64,
        stats.used_bytes,
    );
    println!("open after a clean end:");
    open_apart(dir);
    let (store, _) = open(dir);
    let start = Instant::now();
    let hashes: Vec<_> = (0..count).step_by(2).map(|seed| piece(seed, SMALL).0.hash).collect();
    let (made, deleted) = (start.elapsed(), hashes.len());
    let start = Instant::now();
    for batch in hashes.chunks(1000) {
        runtime()
            .block_on(store.delete(
                batch.iter().map(|&hash| PieceUnpin { hash, stored_before: UnixMillis(i64::MAX) }).collect(),
            ))
            .expect("delete");
    }
    println!(
        "delete in batches of 1000: {:.0}/s (naming them took {made:.1?})",
        deleted as f64 / start.elapsed().as_secs_f64()
    );
    let (start, mut freed) = (Instant::now(), 0);
    loop {
        let progress = store.compact_step(8 << 20).expect("compaction");
        freed += progress.freed_bytes;
        if !progress.more {
            break;
        }
    }
    println!(
        "compaction: {:.1} MB of logs removed in {:.1?}, dead left {:.1} MB",
        freed as f64 / 1e6,
        start.elapsed(),
        store.stats().dead_bytes as f64 / 1e6
    );
    drop(store);
    DiskPieceStore::discard_index(dir).expect("discard");
    let (_, time) = open(dir);
    println!("open with the index lost: {:.1} s", time.as_secs_f64());
    fs::remove_dir_all(dir).expect("remove");
}

fn large_pieces(dir: &Path, count: u64) {
    let (store, _) = open(dir);
    // Made before the clock starts: drawing random bytes is slower than storing them.
    let start = Instant::now();
    for seed in 0..count {
        std::hint::black_box(piece(seed, LARGE));
    }
    let making = start.elapsed();
    let start = Instant::now();
    let times = fill(&store, 0, count, LARGE, LARGE_IN_FLIGHT);
    let (elapsed, bytes) = (start.elapsed(), count * LARGE);
    println!(
        "{count} pieces of 8 MiB, {LARGE_IN_FLIGHT} at a time: {:.0} MB/s ({:.0} without making them, {:.2?} of one thread); {}",
        mb_per_s(bytes, elapsed),
        mb_per_s(bytes, elapsed.saturating_sub(making / 2)),
        making,
        percentiles(times)
    );
    println!("memory: {:.0} MiB now, {:.0} MiB at most", memory("VmRSS"), memory("VmHWM"));
    let (on_disk, inodes) = usage(dir);
    println!(
        "on disk: {:.1} MB in {inodes} inodes for {:.1} MB of pieces",
        on_disk as f64 / 1e6,
        bytes as f64 / 1e6
    );
    let hashes: Vec<_> = (0..count.min(20)).map(|seed| piece(seed, LARGE).0.hash).collect();
    for (name, len) in [("1 MiB", 1 << 20), ("8 MiB", LARGE)] {
        let (start, mut read) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(2) {
            for hash in &hashes {
                let reader = store.read(*hash).expect("piece");
                reader
                    .slice(0..len, &mut |part| {
                        std::hint::black_box(&part);
                        Ok(())
                    })
                    .expect("slice");
                read += len;
            }
        }
        println!(
            "read {name} with proof, validated, one thread: {:.0} MB/s",
            mb_per_s(read, start.elapsed())
        );
    }
    audits(&*store, "8 MiB pieces", LARGE, count, 1024);
    drop(store);
    println!("open after a clean end:");
    open_apart(dir);
    fs::remove_dir_all(dir).expect("remove");
}

/// Random ranges of random pieces, at the node and at the auditor, one thread each in turn.
fn audits(store: &dyn PieceStore, name: &str, piece_len: u64, count: u64, len: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let pool: Vec<_> = (0..AUDITS).map(|_| piece(rng.next_u64() % count, piece_len).0.hash).collect();
    let hashes = pool.iter().cycle().take(5000);
    let mut answers = Vec::new();
    let start = Instant::now();
    for hash in hashes {
        let from = rng.next_u64() % (piece_len - len + 1);
        let slice = store.read(*hash).expect("piece").slice_to_bytes(from..from + len).expect("slice");
        answers.push((*hash, from, slice));
    }
    let node = start.elapsed();
    let start = Instant::now();
    let mut sent = 0;
    for (hash, from, slice) in &answers {
        verify_slice(*hash, piece_len, *from..*from + len, &slice[..]).expect("valid");
        sent += slice.len();
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / answers.len() as f64;
    println!(
        "audits of {len} B from {name}: {:.1} us at the node, {:.1} us at the auditor, {} B on the wire",
        each(node),
        each(start.elapsed()),
        sent / answers.len()
    );
}

fn after_a_crash(dir: &Path, count: u64) {
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program).arg("fill-and-die").arg(dir).arg(count.to_string()).status();
    assert!(!status.expect("child").success());
    println!("open after a kill:");
    open_apart(dir);
    let (store, _) = open(dir);
    assert_eq!(store.stats().pieces, count);
}

/// Opens a store in a fresh process, where nothing else takes memory.
fn open_apart(dir: &Path) {
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program).arg("open-and-tell").arg(dir).status();
    assert!(status.expect("child").success());
}

fn fill_and_die(dir: &Path, count: u64) -> ! {
    let (store, _) = open(dir);
    fill(&store, 0, count, SMALL, IN_FLIGHT);
    std::process::abort()
}
