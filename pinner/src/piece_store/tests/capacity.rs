//! No room and failing disks: the put fails, nothing is half there, and the store goes on.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use super::*;
use crate::piece_store::faults::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_refuses_before_the_bytes_come() {
    let dir = tempfile::tempdir().unwrap();
    let config = PieceStoreConfig { capacity_bytes: 500_000, ..tight() };
    let store = open_with(dir.path(), config);
    let (large, large_data) = piece(1, 400_000);
    let started = store.put(large, NOW).unwrap();
    // What is under way counts.
    assert!(
        matches!(store.put(piece(2, 120_000).0, NOW), Err(PutError::NoSpace { bytes }) if bytes > 120_000)
    );
    drop(started);
    put(&store, large, &large_data).await.unwrap();
    let mut held = Vec::new();
    let refused = loop {
        let (meta, data) = piece(100 + held.len() as u64, 4096);
        match put(&store, meta, &data).await {
            Ok(_) => held.push((meta, data)),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, PutError::NoSpace { .. }));
    assert!((20..30).contains(&held.len()));
    let stats = store.stats();
    assert!(stats.free_bytes < 5000 && stats.used_bytes + stats.dead_bytes <= 500_000, "{stats:?}");
    // A piece that is held needs no room.
    assert_eq!(put(&store, held[0].0, &held[0].1).await.unwrap(), Stored::AlreadyHeld);
    assert_eq!(store.delete(given_up([large.hash])).await.unwrap(), 1);
    put(&store, piece(3, 300_032).0, &piece(3, 300_032).1).await.unwrap();
    assert_counters_exact(&store);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reserve_of_the_file_system_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = PieceStoreConfig { reserve_bytes: u64::MAX, ..tight() };
    let store = open_with(dir.path(), config);
    assert!(matches!(store.put(piece(1, 64).0, NOW), Err(PutError::NoSpace { .. })));
    assert_eq!((store.stats().free_bytes, store.stats().reserved_bytes), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_cannot_be_written_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (first, first_data) = piece(1, 2048);
    put(&store, first, &first_data).await.unwrap();
    let mut seed = 10;
    for fault in [Fault::Append, Fault::Sync, Fault::Append, Fault::Rename, Fault::Sync, Fault::Sync] {
        for len in [1024, 100_032] {
            seed += 1;
            let (meta, data) = piece(seed, len);
            store.shared().logs.faults.arm(fault);
            let result = put(&store, meta, &data).await;
            if fault == Fault::Rename && len == 1024 {
                assert_eq!(result.unwrap(), Stored::New);
                let (meta, data) = piece(seed + 1000, 50_048);
                assert!(matches!(put(&store, meta, &data).await, Err(PutError::Failed(_))));
                assert!(matches!(store.read(meta.hash), Err(ReadError::NotFound(_))));
                continue;
            }
            assert!(matches!(result, Err(PutError::Failed(_))), "{fault:?} {len}: {result:?}");
            assert!(matches!(store.read(meta.hash), Err(ReadError::NotFound(_))));
            assert_counters_exact(&store);
            assert_eq!(put(&store, meta, &data).await.unwrap(), Stored::New);
            assert_eq!(read(&store, meta.hash).unwrap(), data);
        }
        store.shared().logs.faults.arm(fault);
        if fault == Fault::Rename {
            let (meta, data) = piece(seed + 2000, 60_032);
            assert!(put(&store, meta, &data).await.is_err());
        } else {
            assert!(store.delete(given_up([first.hash])).await.is_err());
        }
        assert_eq!(read(&store, first.hash).unwrap(), first_data);
        assert_counters_exact(&store);
        drop(store);
        store = open(dir.path());
        assert_counters_exact(&store);
    }
    // A log became unusable at each failed sync, and a new one could not be made: the next put tries again.
    store.shared().logs.faults.arm(Fault::Sync);
    assert!(put(&store, piece(500, 64).0, &piece(500, 64).1).await.is_err());
    store.shared().logs.faults.arm(Fault::Create);
    assert!(put(&store, piece(500, 64).0, &piece(500, 64).1).await.is_err());
    put(&store, piece(500, 64).0, &piece(500, 64).1).await.unwrap();
    assert_counters_exact(&store);
}

/// The body of the test below, in a process of its own: the limit holds for all of a process.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by files_that_cannot_grow"]
async fn child_with_a_file_size_limit() {
    let Some(dir) = std::env::var_os("PIECE_STORE_TEST_DIR") else { return };
    let dir = Path::new(&dir);
    let store = open_with(dir, PieceStoreConfig { log_bytes_max: 1 << 30, ..tight() });
    let (mut held, mut refused) = (Vec::new(), 0);
    for seed in 0..80 {
        let (meta, data) = piece(seed, if seed % 8 == 0 { 1_400_000 } else { 20_032 });
        match put(&store, meta, &data).await {
            Ok(_) => held.push((meta, data)),
            Err(PutError::NoSpace { .. }) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(refused > 5 && held.len() > 20, "{refused} {}", held.len());
    for (meta, data) in &held {
        assert_eq!(read(&store, meta.hash).unwrap(), *data);
    }
    assert_counters_exact(&store);
}

#[test]
fn files_that_cannot_grow() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "piece_store::tests::capacity::child_with_a_file_size_limit"]);
    child.env("PIECE_STORE_TEST_DIR", dir.path());
    let limit = libc::rlimit { rlim_cur: 1_200_000, rlim_max: 1_200_000 };
    // SAFETY: between fork and exec only two system calls are made, which are safe to make there.
    unsafe {
        child.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            if libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        });
    }
    let output = start(child.stdout(Stdio::piped()).stderr(Stdio::piped())).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Without the limit everything is as the child left it.
    let store = open(dir.path());
    assert!(store.stats().pieces > 20);
    assert_eq!(store.scrub_step(u64::MAX).unwrap().corrupt, 0);
    assert_counters_exact(&store);
}
