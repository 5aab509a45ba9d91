use std::fs;

use content::{Codec, HashFn};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    order::CLOCK_SKEW_MAX,
    places::PieceAt,
};

use super::*;
use crate::config::ByteSize;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn network() -> NetworkKey {
    let network = NetworkKey::in_memory();
    network.learn(key().verifying_key()).unwrap();
    network
}

fn cid(seed: u32) -> Cid {
    Cid::of(Codec::Raw, HashFn::Sha2_256, &seed.to_le_bytes())
}

/// A statement that some blocks lie in a segment, one piece of which a node holds.
fn statement(segment: u8, blocks: impl IntoIterator<Item = u32>, holder: u8, time: UnixMillis) -> String {
    let piece = PieceAt { index: 0, hash: PieceHash([segment; 32]), node: NodeId([holder; 32]) };
    let blocks = blocks.into_iter().map(|seed| (cid(seed), u64::from(seed), 1));
    let scheme = "gf8/8/20".parse().unwrap();
    let places = Places::new(time, SegmentId([segment; 16]), scheme, 16 << 20, [piece], blocks).unwrap();
    places.sign(&key())
}

fn tell(directory: &Directory, told: &[String], now: UnixMillis) {
    for told in told {
        directory.offer(told);
    }
    directory.write(&network(), now);
}

fn config(bytes_max: u64) -> DirectoryConfig {
    DirectoryConfig { bytes_max: ByteSize(bytes_max), ..DirectoryConfig::default() }
}

fn find(directory: &Directory, seed: u32, now: UnixMillis) -> Vec<String> {
    directory.find(&[cid(seed)], now)
}

#[test]
fn what_was_told_is_found_also_after_a_restart_until_it_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::open(dir.path(), &config(1 << 20));
    let (one, two) = (statement(1, 0..3, 1, NOW), statement(2, 3..5, 1, NOW));
    tell(&directory, &[one.clone(), two.clone()], NOW);
    for directory in [directory, Directory::open(dir.path(), &config(1 << 20))] {
        assert_eq!(find(&directory, 2, NOW), [one.as_str()]);
        assert_eq!(
            directory.find(&[cid(4), cid(0), cid(3), cid(9), cid(1)], NOW),
            [two.clone(), one.clone()]
        );
        assert_eq!(find(&directory, 5, NOW), Vec::<String>::new());
        assert_eq!(find(&directory, 2, NOW + HOUR * 24), [one.as_str()]);
        assert_eq!(find(&directory, 2, NOW + HOUR * 24 + Duration::from_millis(1)), Vec::<String>::new());
    }
    // And then it takes no room any more either.
    let directory = Directory::open(dir.path(), &config(1 << 20));
    tell(&directory, &[], NOW + HOUR * 25);
    assert_eq!(files(dir.path()), 0);
    assert_eq!(find(&Directory::open(dir.path(), &config(1 << 20)), 2, NOW), Vec::<String>::new());
}

/// Bytes of all files.
fn files(dir: &Path) -> u64 {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn only_what_the_network_signed_a_short_time_ago_is_kept() {
    let directory = Directory::in_memory(&config(1 << 20));
    let good = statement(1, [1], 1, NOW);
    let mut forged = good.clone();
    forged.replace_range(10..11, if &good[10..11] == "A" { "B" } else { "A" });
    let old = statement(1, [2], 1, NOW - HOUR * 25);
    let early = statement(1, [3], 1, NOW + CLOCK_SKEW_MAX + HOUR);
    let empty = statement(1, [], 1, NOW);
    tell(&directory, &[forged, "junk".into(), String::new(), old, early, empty], NOW);
    for seed in 1..4 {
        assert_eq!(find(&directory, seed, NOW), Vec::<String>::new(), "{seed}");
    }
    tell(&directory, std::slice::from_ref(&good), NOW);
    assert_eq!(find(&directory, 1, NOW), [good]);
    // Before the node knows its network it believes nobody.
    let stranger = Directory::in_memory(&config(1 << 20));
    stranger.offer(&statement(1, [1], 1, NOW));
    stranger.write(&NetworkKey::in_memory(), NOW);
    assert_eq!(find(&stranger, 1, NOW), Vec::<String>::new());
}

#[test]
fn the_newer_takes_the_place_of_the_older_as_far_as_it_goes() {
    let directory = Directory::in_memory(&config(1 << 20));
    let (first, second) = (statement(1, 0..4, 1, NOW), statement(1, 2..6, 2, NOW + HOUR));
    tell(&directory, std::slice::from_ref(&first), NOW);
    tell(&directory, std::slice::from_ref(&second), NOW + HOUR);
    for (seed, expected) in [(0, &first), (1, &first), (2, &second), (5, &second)] {
        assert_eq!(find(&directory, seed, NOW + HOUR), [expected.as_str()], "{seed}");
    }
    // An older one that says nothing else comes late.
    tell(&directory, &[statement(1, 2..6, 1, NOW)], NOW + HOUR);
    assert_eq!(find(&directory, 3, NOW + HOUR), [second]);
}

#[test]
fn what_is_known_is_not_written_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::open(dir.path(), &config(1 << 20));
    let minute = Duration::from_mins(1);
    tell(&directory, &[statement(1, 0..4, 1, NOW)], NOW);
    let written = files(dir.path());
    for minutes in 1..20 {
        let now = NOW + minute * minutes;
        tell(&directory, &[statement(1, 1..3, 1, now), statement(1, 0..4, 1, now)], now);
    }
    assert_eq!(files(dir.path()), written);
    // Another holder is news, further blocks are, and once in a while it is written anew all the same.
    let now = NOW + minute * 30;
    for (told, blocks) in [(statement(1, 0..4, 2, now), 4), (statement(1, 0..5, 2, now), 5)] {
        let before = files(dir.path());
        tell(&directory, std::slice::from_ref(&told), now);
        assert!(files(dir.path()) > before, "{blocks}");
        assert_eq!(find(&directory, 3, now), [told]);
    }
    let before = files(dir.path());
    tell(&directory, &[statement(1, 0..5, 2, now + HOUR)], now + HOUR);
    assert!(files(dir.path()) > before);
}

#[test]
fn the_oldest_go_when_there_is_no_more_room() {
    let dir = tempfile::tempdir().unwrap();
    let bytes_max = 40_000;
    let config = DirectoryConfig { blocks_max: 150, ..config(bytes_max) };
    let directory = Directory::open(dir.path(), &config);
    for seed in 0..1000_u32 {
        let segment = seed.to_le_bytes()[0];
        // Some are large, so that sometimes bytes are short and sometimes places in the index.
        let blocks = if seed % 50 == 7 { 2000..2070 } else { seed..seed + 1 };
        tell(&directory, &[statement(segment, blocks, 1, NOW)], NOW);
        assert!(files(dir.path()) <= bytes_max, "{}", files(dir.path()));
        assert_eq!(find(&directory, seed, NOW).len(), usize::from(seed % 50 != 7), "{seed}");
    }
    assert!(find(&directory, 900, NOW).is_empty());
    let reopened = Directory::open(dir.path(), &config);
    let found =
        |directory: &Directory| (0..1000).filter(|seed| !find(directory, *seed, NOW).is_empty()).count();
    assert_eq!(found(&directory), found(&reopened));
    assert!(found(&directory) >= 20, "{}", found(&directory));
}

#[test]
fn what_comes_faster_than_it_is_written_is_dropped() {
    let directory = Directory::in_memory(&config(64 << 20));
    let long = statement(1, 0..1000, 1, NOW);
    let fitting = WAITING_BYTES_MAX / long.len();
    for _ in 0..fitting + 10 {
        directory.offer(&long);
    }
    assert_eq!(directory.inner.waiting.lock().told.len(), fitting);
    directory.write(&network(), NOW);
    directory.offer(&long);
    assert_eq!(directory.inner.waiting.lock().told.len(), 1, "there is room again");
}

#[test]
fn one_that_is_off_or_cannot_be_opened_is_done_without() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    for directory in [Directory::open(dir.path(), &config(0)), Directory::open(&file, &config(1 << 20))] {
        tell(&directory, &[statement(1, [1], 1, NOW)], NOW);
        assert!(find(&directory, 1, NOW).is_empty());
        assert!(directory.inner.waiting.lock().told.is_empty());
    }
}

#[test]
fn damage_while_it_is_in_use_is_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::open(dir.path(), &config(1 << 20));
    let two = statement(2, [2], 1, NOW);
    tell(&directory, &[statement(1, [1], 1, NOW), two.clone()], NOW);
    let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(find(&directory, 1, NOW).is_empty());
    assert_eq!(find(&directory, 2, NOW), [two.as_str()]);
    tell(&directory, &[statement(1, [1], 1, NOW)], NOW);
    assert_eq!(find(&directory, 1, NOW).len(), 1, "it is written anew");
    fs::write(&path, b"").unwrap();
    assert!(find(&directory, 2, NOW).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_crash_leaves_is_opened_and_nothing_else_is_given_than_was_told(
        at: prop::sample::Index, byte: u8, cut in 0..400_usize, garbage in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let told: Vec<String> = (0..8).map(|seed| statement(1, [seed], seed.to_le_bytes()[0], NOW)).collect();
        tell(&Directory::open(dir.path(), &config(1 << 20)), &told, NOW);
        let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut);
        bytes.extend_from_slice(&garbage);
        fs::write(&path, &bytes).unwrap();
        let directory = Directory::open(dir.path(), &config(1 << 20));
        for seed in 0..8 {
            for found in find(&directory, seed, NOW) {
                prop_assert!(told.contains(&found));
            }
        }
        tell(&directory, &told, NOW);
        let again = Directory::open(dir.path(), &config(1 << 20));
        for seed in 0..8 {
            prop_assert_eq!(find(&again, seed, NOW).len(), 1);
        }
    }
}
