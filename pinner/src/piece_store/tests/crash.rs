//! Killed in the middle: every acknowledged put is there, nothing is half there, and the counters are exact.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
    sync::Arc,
};

use super::*;

const ROUNDS: u64 = 36;
const LENGTHS: [u64; 6] = [64, 1024, 5056, 20_032, 60_032, 300_032];

fn numbered(number: u64) -> (PieceMeta, Bytes) {
    piece(number, LENGTHS[usize::try_from(number % 6).unwrap()])
}

/// Puts and deletes for as long as it lives, and says so when it begins and when it is answered.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by what_was_acknowledged_survives_sigkill"]
async fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os("PIECE_STORE_TEST_DIR") else { return };
    let first: u64 = std::env::var_os("PIECE_STORE_TEST_FIRST").unwrap().to_str().unwrap().parse().unwrap();
    let config = PieceStoreConfig { checkpoint_changes: 7, log_bytes_max: 150_000, ..tight() };
    let store = Arc::new(open_with(Path::new(&dir), config));
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n@{line}").unwrap();
        out.flush().unwrap();
    };
    let mut workers = Vec::new();
    for worker in 0..4_u64 {
        let store = Arc::clone(&store);
        workers.push(tokio::spawn(async move {
            for step in 0..100_000_u64 {
                let number = first + step * 4 + worker;
                let (meta, data) = numbered(number);
                put(&*store, meta, &data).await.unwrap();
                say(format!("put {number}"));
                if step % 3 == 2 {
                    let old = number - 8;
                    say(format!("deleting {old}"));
                    store.delete(given_up([numbered(old).0.hash])).await.unwrap();
                    say(format!("deleted {old}"));
                }
                if step % 10 == 9 {
                    let store = Arc::clone(&store);
                    tokio::task::spawn_blocking(move || {
                        store.compact_step(100_000).unwrap();
                        store.checkpoint().unwrap();
                    })
                    .await
                    .unwrap();
                }
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
}

/// What the child has said about a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Put,
    Deleting,
    Deleted,
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut said: BTreeMap<u64, Said> = BTreeMap::new();
    let mut counts = (0, 0);
    for round in 0..ROUNDS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture"]);
        command.arg("piece_store::tests::crash::child_that_writes_until_it_is_killed");
        command.env("PIECE_STORE_TEST_DIR", dir.path());
        command.env("PIECE_STORE_TEST_FIRST", (round * 1_000_000).to_string());
        let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut left = rng.random_range(1..120);
        // What the child managed to say between the kill and its end counts as well.
        for line in lines {
            let mut words = line.strip_prefix('@').unwrap_or_default().split(' ');
            let Some(word) = words.next() else { continue };
            let Some(number) = words.next().and_then(|number| number.parse().ok()) else { continue };
            let state = match word {
                "put" => Said::Put,
                "deleting" => Said::Deleting,
                _ => Said::Deleted,
            };
            said.insert(number, state);
            left -= 1;
            if left == 0 {
                // Not only right after an answer.
                (0..rng.random_range(0..200_000)).for_each(|step| {
                    std::hint::black_box(step);
                });
                child.kill().unwrap();
            }
        }
        let output = child.wait_with_output().unwrap();
        let last_words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGKILL), "round {round}: {last_words}");
        let store = open(dir.path());
        assert_counters_exact(&store);
        counts = check(&store, &said);
    }
    assert!(counts.0 > 300 && counts.1 > 50, "{counts:?}");
    let store = open(dir.path());
    let progress = store.scrub_step(u64::MAX).unwrap();
    assert_eq!((progress.corrupt, progress.wrapped), (0, true));
}

/// Every answer holds. Returns how many pieces are there and how many are gone.
fn check(store: &DiskPieceStore, said: &BTreeMap<u64, Said>) -> (usize, usize) {
    let mut counts = (0, 0);
    for (number, state) in said {
        let (meta, data) = numbered(*number);
        match (read(store, meta.hash), state) {
            (Ok(found), Said::Put | Said::Deleting) => {
                assert_eq!(found, data);
                counts.0 += 1;
            }
            (Err(ReadError::NotFound(_)), Said::Deleted | Said::Deleting) => counts.1 += 1,
            (found, state) => {
                panic!("piece {number} was {state:?}, now {:?}", found.map(|bytes| bytes.len()))
            }
        }
    }
    // A piece whose put was not answered is there whole or not at all.
    for line in store.list(None, usize::MAX).unwrap() {
        assert!(!line.corrupt);
        read(store, line.hash).unwrap();
    }
    counts
}
