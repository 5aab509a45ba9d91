//! W3C trace context: how a call says which trace it belongs to, and whose word on that counts.
//!
//! A process of the network says so beside the ids, in `tracestate`. It is not proven: a stranger may say the same. All
//! that gives him is that some of his requests are traced, as many a second as the configuration allows one client, or that
//! none of them is.

use std::{hash::Hash, net::IpAddr};

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{Link, SpanContext, TraceContextExt as _, TraceState},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::{
    clock::Clock,
    rate_limit::RateLimit,
    token_bucket::{BURST_MAX, PER_SECOND_MIN, Rate, RateError},
};

/// What our processes say in `tracestate`.
const OURS: &str = "pinstripe=1";
const TRACESTATE: &str = "tracestate";
const TRACEPARENT: &str = "traceparent";

/// What one client may have of all that is followed, so that it leaves the rest to others.
const CLIENT_SHARE: f64 = 0.25;
/// Clients that are remembered; some 80 bytes each.
const CLIENTS_MAX: usize = 1_000;

/// How many requests a second are kept because another process wants it.
#[derive(Debug)]
pub(super) struct Followed {
    /// None: nobody is followed.
    limits: Option<Limits>,
}

#[derive(Debug)]
struct Limits {
    all: RateLimit<()>,
    each: RateLimit<IpAddr>,
}

/// What a request's headers make of its span.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// The span that it is part of; none, when it begins a trace.
    pub(super) parent: Option<Context>,
    /// A span that it has to do with.
    pub(super) link: Option<Link>,
}

impl Followed {
    /// 0 requests a second: none at all.
    pub(super) fn new(per_second: f64, clock: &Clock) -> anyhow::Result<Self> {
        let all = limit(per_second, 2, clock)?;
        let of_one = if per_second > 0.0 { (per_second * CLIENT_SHARE).max(PER_SECOND_MIN) } else { 0.0 };
        let each = limit(of_one, CLIENTS_MAX, clock)?;
        Ok(Self { limits: all.zip(each).map(|(all, each)| Limits { all, each }) })
    }

    /// Reads what the caller says. `client`: whom the request counts for; nobody within the process.
    pub(super) fn caller(&self, headers: &HeaderMap, client: impl FnOnce() -> Option<IpAddr>) -> Caller {
        if !headers.contains_key(TRACEPARENT) {
            return Caller::default();
        }
        let cx = TraceContextPropagator::new().extract_with_context(&Context::new(), &Read(headers));
        let said = cx.span().span_context().clone();
        if !said.is_valid() {
            return Caller::default();
        }
        // Whatever else stands in `tracestate` is somebody else's, and as long as he likes.
        let (trace, span, flags) = (said.trace_id(), said.span_id(), said.trace_flags());
        let said = SpanContext::new(trace, span, flags, true, TraceState::NONE);
        if is_ours(headers) && (!said.is_sampled() || self.has_room(client())) {
            return Caller { parent: Some(Context::new().with_remote_span_context(said)), link: None };
        }
        Caller { parent: None, link: Some(Link::with_context(said)) }
    }

    fn has_room(&self, client: Option<IpAddr>) -> bool {
        let Some(Limits { all, each }) = &self.limits else { return false };
        // His own share first: what he is refused for costs the others nothing.
        client.is_none_or(|client| each.take(client).is_ok()) && all.take(()).is_ok()
    }
}

/// A limit whose buckets hold what comes in a second; none at 0 a second.
fn limit<K: Eq + Hash>(
    per_second: f64,
    keys_max: usize,
    clock: &Clock,
) -> Result<Option<RateLimit<K>>, RateError> {
    let mut burst = 1;
    while f64::from(burst) < per_second && burst < BURST_MAX {
        burst *= 2;
    }
    let rate = Rate::new(per_second, burst.min(BURST_MAX))?;
    Ok(rate.map(|rate| RateLimit::new(rate, keys_max, clock.clone())))
}

fn is_ours(headers: &HeaderMap) -> bool {
    let states = headers.get_all(TRACESTATE).iter().filter_map(|value| value.to_str().ok());
    states.flat_map(|state| state.split(',')).any(|member| member.trim() == OURS)
}

/// Says in the headers of a call which trace it belongs to.
pub(super) fn inject(cx: &Context, headers: &mut HeaderMap) {
    if !cx.span().span_context().is_valid() {
        return;
    }
    TraceContextPropagator::new().inject_context(cx, &mut Write(headers));
    headers.insert(TRACESTATE, HeaderValue::from_static(OURS));
}

/// Whether two contexts are of one span.
pub(super) fn is_same(one: &SpanContext, other: &SpanContext) -> bool {
    (one.trace_id(), one.span_id()) == (other.trace_id(), other.span_id())
}

struct Read<'h>(&'h HeaderMap);

impl Extractor for Read<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

struct Write<'h>(&'h mut HeaderMap);

impl Injector for Write<'_> {
    fn set(&mut self, key: &str, value: String) {
        // `tracestate` of others is not passed on.
        if key == TRACEPARENT
            && let Ok(value) = HeaderValue::from_str(&value)
        {
            self.0.insert(TRACEPARENT, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::time::UnixMillis;

    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const DROPPED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn headers(parent: &str, state: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, parent.parse().unwrap());
        if let Some(state) = state {
            headers.insert(TRACESTATE, state.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_stranger_is_linked_and_a_process_followed_as_often_as_is_allowed() {
        let clock = Clock::sim(UnixMillis(1_000_000));
        let followed = Followed::new(1.0, &clock).unwrap();
        let ask = |parent, state| followed.caller(&headers(parent, state), || None);
        for state in [None, Some("vendor=1"), Some("pinstripe=2"), Some("xpinstripe=1")] {
            let caller = ask(SAMPLED, state);
            assert!(caller.parent.is_none() && caller.link.is_some(), "{state:?}");
        }
        let caller = ask(SAMPLED, Some("vendor=7, pinstripe=1"));
        assert!(
            caller.parent.is_some_and(|cx| cx.span().span_context().is_sampled()) && caller.link.is_none()
        );
        let caller = ask(SAMPLED, Some("pinstripe=1"));
        assert!(caller.parent.is_none() && caller.link.is_some(), "one a second");
        let caller = ask(DROPPED, Some("pinstripe=1"));
        assert!(caller.parent.is_some_and(|cx| !cx.span().span_context().is_sampled()), "it costs nothing");
        clock.advance(Duration::from_secs(1));
        assert!(ask(SAMPLED, Some("pinstripe=1")).parent.is_some());
        let never = Followed::new(0.0, &clock).unwrap();
        assert!(never.caller(&headers(SAMPLED, Some("pinstripe=1")), || None).parent.is_none());
    }

    #[test]
    fn one_client_that_wants_all_followed_leaves_the_rest_to_others() {
        let clock = Clock::sim(UnixMillis(1_000_000));
        let followed = Followed::new(8.0, &clock).unwrap();
        let ask = |client: u8| {
            let headers = headers(SAMPLED, Some("pinstripe=1"));
            followed.caller(&headers, || Some([192, 0, 2, client].into())).parent.is_some()
        };
        let times = |client| (0..1_000).filter(|_| ask(client)).count();
        assert_eq!([1, 1, 2, 3, 4, 5].map(times), [2, 0, 2, 2, 2, 0], "a quarter each, of eight");
        clock.advance(Duration::from_secs(1));
        assert_eq!([1, 5].map(times), [2, 2]);
        // The slowest rate that can be set has shares too.
        assert!(Followed::new(0.001, &clock).unwrap().limits.is_some());
    }

    #[test]
    fn nonsense_is_no_caller() {
        let followed = Followed::new(1.0, &Clock::System).unwrap();
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for parent in ["", "x", "00-1-2", zero, "zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            let caller = followed.caller(&headers(parent, Some("pinstripe=1")), || None);
            assert!(caller.parent.is_none() && caller.link.is_none(), "{parent}");
        }
        let mut headers = headers(SAMPLED, None);
        headers.insert(TRACESTATE, HeaderValue::from_bytes(b"pinstripe=1\xff").unwrap());
        assert!(followed.caller(&headers, || None).parent.is_none());
    }

    #[test]
    fn what_is_said_is_understood() {
        let followed = Followed::new(1.0, &Clock::System).unwrap();
        let cx = followed.caller(&headers(SAMPLED, Some("other=2,pinstripe=1")), || None).parent.unwrap();
        let mut told = HeaderMap::new();
        inject(&cx, &mut told);
        assert_eq!(told, headers(SAMPLED, Some("pinstripe=1")));
        let mut nothing = HeaderMap::new();
        inject(&Context::new(), &mut nothing);
        assert!(nothing.is_empty());
    }
}
