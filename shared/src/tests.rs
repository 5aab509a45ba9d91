//! Every part with and without a real Redis, which is killed, stalled, emptied and fed nonsense. Where there is no
//! `redis-server`, only what works without it is tested.

mod cluster;
mod limit;
mod memo;
mod notices;
mod outages;

use std::time::{Duration, Instant};

use protocol::time::UnixMillis;
use service::{clock::Clock, token_bucket::Rate};
use testing::RedisServer;

use crate::{Link, Memo, RedisConfig, SharedLimit};

const SECRET: [u8; 32] = [7; 32];

/// Quick to give up and quick to come back; an answer may take as long as a busy machine wants.
fn config() -> RedisConfig {
    RedisConfig {
        call_timeout: Duration::from_secs(2),
        retry_every: Duration::from_millis(20),
        ping_every: Duration::from_millis(50),
        ..RedisConfig::default()
    }
}

/// A link that has connected.
async fn linked(server: &RedisServer) -> Link {
    linked_with(server, config(), &SECRET).await
}

async fn linked_with(server: &RedisServer, config: RedisConfig, secret: &[u8; 32]) -> Link {
    let link = Link::new(&server.url(), config, secret).unwrap();
    until(async || link.is_up()).await;
    link
}

/// A memo of texts.
fn memo(link: Option<&Link>) -> Memo<String> {
    Memo::new(link.cloned(), "texts", Duration::from_mins(1))
}

/// A limit of `burst` at once and then one every seventeen minutes: time plays no part.
fn limit(link: Option<&Link>, burst: u32) -> SharedLimit<String> {
    let rate = Rate::new(0.001, burst).unwrap().unwrap();
    SharedLimit::new(rate, 100, Clock::sim(UnixMillis(1_000_000)), "tests", link.cloned())
}

/// Waits until something is so.
async fn until(condition: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never came about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_string()).collect()
}

#[test]
fn addresses_are_checked_and_never_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    for (addresses, wrong) in [
        ("", "no address"),
        (" , ", "no address"),
        ("redis://a,http://u:geheim@b/", "address 2"),
        ("x y", "address 1"),
    ] {
        let error = Link::new(addresses, config(), &SECRET).unwrap_err().to_string();
        assert!(error.contains(wrong) && !error.contains("geheim"), "{addresses:?}: {error}");
    }
    assert!(Link::new("redis://:pw@localhost:6379/2, rediss://other", config(), &SECRET).is_ok());
    let shown = format!("{:?}", Link::new("redis://:geheim@localhost", config(), &SECRET).unwrap());
    assert!(!shown.contains("geheim"), "{shown}");
}

#[test]
fn settings_that_make_no_sense_are_all_named() {
    assert_eq!(RedisConfig::default().problems(), Vec::<String>::new());
    let wrong = RedisConfig {
        prefix: "a:b".into(),
        group: String::new(),
        call_timeout: Duration::ZERO,
        in_flight_max: 0,
        ..RedisConfig::default()
    };
    let problems = wrong.problems().join("\n");
    for key in ["redis.prefix", "redis.group", "redis.call_timeout", "redis.in_flight_max"] {
        assert!(problems.contains(key), "{problems}");
    }
}
