//! A token bucket for each key, as many as there is room for. It never waits and never goes through its buckets: those
//! that were not asked for longest go all at once.

use std::{collections::HashMap, hash::Hash, mem, time::Duration};

use parking_lot::Mutex;

use crate::{
    clock::Clock,
    token_bucket::{Rate, TokenBucket},
};

/// A key that has had its share for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests: try again in {} s", self.retry_after_secs())]
pub struct TooMany {
    /// How long until it may have one more.
    pub wait: Duration,
}

impl TooMany {
    /// What `Retry-After` says: seconds, rounded up.
    pub fn retry_after_secs(&self) -> u32 {
        u32::try_from(self.wait.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
    }
}

/// Limits how many requests each key may have. Buckets are this process's own: each gateway counts for itself.
#[derive(Debug)]
pub struct RateLimit<K> {
    rate: Rate,
    clock: Clock,
    /// Buckets in one generation, at most.
    generation_max: usize,
    buckets: Mutex<Generations<K>>,
}

/// Buckets that were asked for lately, and those that were not since the last change. When the first are as many as
/// may be, they become the second, and those are forgotten: a bucket goes only after `generation_max` other keys came.
#[derive(Debug)]
struct Generations<K> {
    young: HashMap<K, TokenBucket>,
    old: HashMap<K, TokenBucket>,
}

impl<K: Eq + Hash> RateLimit<K> {
    /// A limit that remembers at most `keys_max` keys, which is 2 or more. A key that was forgotten begins with a full
    /// bucket.
    pub fn new(rate: Rate, keys_max: usize, clock: Clock) -> Self {
        let buckets = Mutex::new(Generations { young: HashMap::new(), old: HashMap::new() });
        Self { rate, clock, generation_max: (keys_max / 2).max(1), buckets }
    }

    /// Whether this key may have one more request now, which then counts; else, after how long.
    pub fn take(&self, key: K) -> Result<(), TooMany> {
        let now = self.clock.monotonic();
        let mut buckets = self.buckets.lock();
        let Generations { young, old } = &mut *buckets;
        if let Some(bucket) = young.get_mut(&key) {
            return bucket.take(self.rate, now).map_err(|wait| TooMany { wait });
        }
        let mut bucket = old.remove(&key).unwrap_or_default();
        let outcome = bucket.take(self.rate, now).map_err(|wait| TooMany { wait });
        if young.len() >= self.generation_max {
            mem::swap(young, old);
            young.clear();
        }
        young.insert(key, bucket);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use protocol::time::UnixMillis;

    use super::*;

    fn limit(per_second: f64, burst: u32, keys_max: usize) -> (RateLimit<u32>, Clock) {
        let clock = Clock::sim(UnixMillis(1_000_000));
        let rate = Rate::new(per_second, burst).unwrap().unwrap();
        (RateLimit::new(rate, keys_max, clock.clone()), clock)
    }

    #[test]
    fn each_key_has_a_bucket_of_its_own() {
        let (limit, clock) = limit(0.5, 2, 100);
        for key in [1, 2] {
            assert_eq!([limit.take(key), limit.take(key)], [Ok(()), Ok(())]);
            let refused = limit.take(key).unwrap_err();
            assert_eq!((refused.wait, refused.retry_after_secs()), (Duration::from_secs(2), 2));
        }
        clock.advance(Duration::from_millis(900));
        assert_eq!(limit.take(1).unwrap_err().retry_after_secs(), 2, "1.1 s is told as two");
        clock.advance(Duration::from_millis(1_100));
        assert_eq!(limit.take(1), Ok(()));
        assert!(limit.take(1).is_err());
    }

    #[test]
    fn as_many_keys_are_remembered_as_there_is_room_for() {
        let (limit, _) = limit(0.001, 1, 10);
        for key in 0..1_000 {
            assert_eq!(limit.take(key), Ok(()));
            let buckets = limit.buckets.lock();
            assert!(buckets.young.len() + buckets.old.len() <= 10);
        }
        for key in 996..1_000 {
            assert!(limit.take(key).is_err(), "{key} was here just now");
        }
        assert_eq!(limit.take(0), Ok(()), "forgotten");
    }

    #[test]
    fn whoever_keeps_asking_is_not_forgotten_for_others_that_come_once() {
        let (limit, _) = limit(0.001, 1, 10);
        limit.take(0).unwrap();
        for other in 1..1_000 {
            limit.take(other).unwrap();
            assert!(limit.take(0).is_err());
        }
    }
}
