//! The token bucket: it holds up to `burst` tokens, a request takes one, and they come back at a steady rate. Pure, and
//! a single number: when the bucket will be full again (as in the generic cell rate algorithm, ITU-T I.371). It reads no
//! clock and never waits.

use std::time::Duration;

/// Requests a second that can be set.
pub(crate) const PER_SECOND_MIN: f64 = 0.001;
const PER_SECOND_MAX: f64 = 1_000_000.0;
/// Tokens that a bucket can be set to hold. With the slowest rate it fills up in 10^18 ns, which fits.
pub(crate) const BURST_MAX: u32 = 1_000_000;

/// How fast tokens come, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds until one more token comes.
    token_nanos: u64,
    /// Nanoseconds until an empty bucket is full.
    bucket_nanos: u64,
}

/// A rate that cannot be kept: the name of the setting, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// The rate.
    #[error("rate: must be 0 (no limit) or between {PER_SECOND_MIN} and {PER_SECOND_MAX} requests a second")]
    PerSecond,
    /// The burst.
    #[error("burst: must be between 1 and {BURST_MAX} requests")]
    Burst,
}

impl Rate {
    /// `per_second` requests a second in the long run, up to `burst` at once. 0 a second: `None`, there is no limit.
    pub fn new(per_second: f64, burst: u32) -> Result<Option<Self>, RateError> {
        if !(1..=BURST_MAX).contains(&burst) {
            return Err(RateError::Burst);
        }
        if per_second == 0.0 {
            return Ok(None);
        }
        if !(PER_SECOND_MIN..=PER_SECOND_MAX).contains(&per_second) {
            return Err(RateError::PerSecond);
        }
        let token_nanos = nanos(Duration::from_secs_f64(1.0 / per_second));
        Ok(Some(Self { token_nanos, bucket_nanos: token_nanos.saturating_mul(burst.into()) }))
    }

    /// Until one more token comes.
    pub fn token(self) -> Duration {
        Duration::from_nanos(self.token_nanos)
    }

    /// Until an empty bucket is full.
    pub fn bucket(self) -> Duration {
        Duration::from_nanos(self.bucket_nanos)
    }
}

/// One bucket. A new one is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenBucket {
    /// When it is full again, in nanoseconds of the clock that `take` is told of.
    full_at_nanos: u64,
}

impl TokenBucket {
    /// Takes a token at the time `now`, or says after how long there will be one. A refusal costs nothing.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let now = nanos(now);
        let full_at = self.full_at_nanos.max(now).saturating_add(rate.token_nanos);
        let too_far = (full_at - now).saturating_sub(rate.bucket_nanos);
        if too_far > 0 {
            return Err(Duration::from_nanos(too_far));
        }
        self.full_at_nanos = full_at;
        Ok(())
    }
}

/// 584 years fit.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Tokens in parts, one of which comes each nanosecond, counted one by one.
    #[derive(Clone)]
    struct Slow {
        parts: u64,
        token: u64,
        max: u64,
    }

    impl Slow {
        fn tick(&mut self) {
            self.parts = (self.parts + 1).min(self.max);
        }

        fn take(&mut self) -> Result<(), Duration> {
            if self.parts >= self.token {
                self.parts -= self.token;
                return Ok(());
            }
            let (mut later, mut waited) = (self.clone(), 0);
            while later.parts < later.token {
                later.tick();
                waited += 1;
            }
            Err(Duration::from_nanos(waited))
        }
    }

    proptest! {
        #[test]
        fn it_gives_what_counting_tokens_gives(
            token in 1_u64..20, burst in 1_u64..6, start in 0_u64..1_000, gaps in vec(0_u64..40, 1..80),
        ) {
            let rate = Rate { token_nanos: token, bucket_nanos: token * burst };
            let (mut bucket, mut slow) =
                (TokenBucket::default(), Slow { parts: token * burst, token, max: token * burst });
            let mut now = start;
            for gap in gaps {
                (0..gap).for_each(|_| slow.tick());
                now += gap;
                prop_assert_eq!(bucket.take(rate, Duration::from_nanos(now)), slow.take());
            }
        }

        #[test]
        fn no_time_and_no_rate_breaks_it(
            per_second in any::<f64>(), burst in any::<u32>(), times in vec(any::<u64>(), 0..20),
        ) {
            let Ok(Some(rate)) = Rate::new(per_second, burst) else { return Ok(()) };
            let mut bucket = TokenBucket::default();
            for time in times {
                let _ = bucket.take(rate, Duration::from_nanos(time));
            }
        }
    }

    #[test]
    fn rates() {
        assert_eq!(Rate::new(0.0, 1), Ok(None));
        let half = Rate { token_nanos: 2_000_000_000, bucket_nanos: 6_000_000_000 };
        assert_eq!(Rate::new(0.5, 3), Ok(Some(half)));
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e-9, 1e9] {
            assert_eq!(Rate::new(wrong, 1), Err(RateError::PerSecond), "{wrong}");
        }
        assert_eq!(Rate::new(0.0, 0), Err(RateError::Burst));
        assert_eq!(Rate::new(1.0, BURST_MAX + 1), Err(RateError::Burst));
        let slowest = Rate::new(PER_SECOND_MIN, BURST_MAX).unwrap().unwrap();
        assert_eq!(slowest.bucket_nanos, 1_000_000_000_000_000_000);
    }
}
