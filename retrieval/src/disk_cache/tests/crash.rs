//! A process that is killed leaves a cache that the next one opens: all that was flushed is there, all of it right.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use super::{block, has, open_small};

const DIR: &str = "DISK_CACHE_TEST_DIR";

fn len_of(id: u64) -> usize {
    usize::try_from(id * 37 % 3000).unwrap()
}

/// Not a test by itself: the process that is killed. It says how many blocks are flushed, and never stops.
#[tokio::test]
#[ignore = "run by the test below, which kills it"]
async fn fill_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let cache = open_small(Path::new(&dir));
    for id in 0.. {
        cache.offer(block(id, len_of(id)));
        if id % 8 == 7 {
            cache.flush().await;
            println!("flushed {}", id + 1);
        }
        // Nobody came to kill it.
        if id > 5_000_000 {
            return;
        }
    }
}

#[tokio::test]
async fn what_was_flushed_survives_a_kill() {
    for flushed_min in [8, 40, 96, 200] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "disk_cache::tests::crash::fill_until_killed", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = lines.map_while(Result::ok).filter_map(|line| {
            let (_, number) = line.split_once("flushed ")?;
            number.parse::<u64>().ok()
        });
        let flushed = numbers.take_while(|flushed| *flushed <= flushed_min).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let cache = open_small(dir.path());
        let entries = cache.stats().entries as u64;
        // By the time it died it may have begun to drop the oldest; the newest is there always.
        let mut found = 0;
        for id in 0..flushed + entries + 1000 {
            found += u64::from(has(&cache, &block(id, len_of(id))).await);
        }
        let stats = cache.stats();
        assert_eq!((stats.corrupt, found), (0, entries));
        assert!(entries >= flushed.min(150), "{entries} entries of {flushed}");
        let next = block(u64::MAX, 700);
        cache.offer(next.clone());
        cache.offer(next.clone());
        cache.flush().await;
        assert!(has(&cache, &next).await);
    }
}
