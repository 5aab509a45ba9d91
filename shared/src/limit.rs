//! A rate that holds for all gateways together. Each counts for itself as well, so that there is a limit when Redis is away:
//! then each gateway allows the whole rate.

use std::{fmt::Display, hash::Hash, sync::LazyLock, time::Duration};

use redis::Script;
use service::{
    clock::Clock,
    rate_limit::{RateLimit, TooMany},
    token_bucket::Rate,
};

use crate::link::Link;

/// The generic cell rate algorithm (ITU-T I.371), as in [`service::token_bucket`], by the server's clock. The key holds when
/// the bucket will be full again, in microseconds. The arguments are microseconds until one more token comes, and until an empty bucket is
/// full. The answer is 0, or how many microseconds to wait.
///
/// What is there and makes no sense (or a clock that was set back) counts as an empty bucket at most, never as a longer wait.
const TAKE: &str = "
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local token, bucket = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or now) or now
full_at = math.min(math.max(full_at, now), now + bucket) + token
local too_far = full_at - now - bucket
if too_far > 0 then return math.ceil(too_far) end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1)
return 0
";

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(TAKE));

/// Limits how many requests each key may have, at all gateways together.
#[derive(Debug)]
pub struct SharedLimit<K> {
    own: RateLimit<K>,
    rate: Rate,
    kind: &'static str,
    link: Option<Link>,
}

impl<K: Eq + Hash + Display> SharedLimit<K> {
    /// A limit of some kind that remembers at most `keys_max` keys in this process.
    pub fn new(rate: Rate, keys_max: usize, clock: Clock, kind: &'static str, link: Option<Link>) -> Self {
        Self { own: RateLimit::new(rate, keys_max, clock), rate, kind, link }
    }

    /// Whether this key may have one more request now, which then counts; else, after how long.
    pub async fn take(&self, key: K) -> Result<(), TooMany> {
        let outcome = self.taken(key).await;
        if outcome.is_err() {
            metrics::counter!("pinstripe_rate_limited_total", "limit" => self.kind).increment(1);
        }
        outcome
    }

    async fn taken(&self, key: K) -> Result<(), TooMany> {
        let name = self.link.as_ref().map(|link| {
            let hidden = link.seal().name_of(self.kind, &key.to_string());
            (link, link.name("limit", &hidden))
        });
        // What was too much here is too much for all.
        self.own.take(key)?;
        let Some((link, name)) = name else { return Ok(()) };
        let mut call = SCRIPT.key(name);
        call.arg(micros(self.rate.token())).arg(micros(self.rate.bucket()));
        let wait: Option<u64> =
            link.ask("limit", async |mut redis| call.invoke_async(&mut redis).await).await;
        match wait {
            None | Some(0) => Ok(()),
            Some(wait) => Err(TooMany { wait: Duration::from_micros(wait) }),
        }
    }
}

/// At least 1: a token that comes at once would never end.
fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1)
}
