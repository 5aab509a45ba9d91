//! How many requests each client may have. A client is an address, or what is given to one customer of IPv6; many people
//! behind one address (NAT) are one client. It refuses nobody whose address it does not know.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

use super::client_address::{PeerAddr, client_ip};
use crate::{
    clock::Clock,
    rate_limit::{RateLimit, TooMany},
    token_bucket::{Rate, RateError},
};

/// The network part of an IPv6 address. Whoever has a line has at least a /64 (RFC 6177), and could use a new address
/// for each request.
const CUSTOMER_BITS: u128 = !(u64::MAX as u128);

/// How many requests each client may have, as `[limits]` of gateways and nodes says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClientRates {
    /// `client_rate`: requests a second in the long run; 0 is no limit.
    pub per_second: f64,
    /// `client_burst`: requests at once, after a pause.
    pub burst: u32,
    /// `clients_max`: clients that are remembered, at most; some 80 bytes each.
    pub clients_max: usize,
}

impl ClientRates {
    /// The limit, if there is one.
    pub fn limit(self, trusted_proxies: &[IpNet], clock: &Clock) -> Result<Option<ClientLimit>, RateError> {
        let rate = Rate::new(self.per_second, self.burst)?;
        let buckets = rate.map(|rate| RateLimit::new(rate, self.clients_max, clock.clone()));
        Ok(buckets.map(|buckets| ClientLimit::new(buckets, trusted_proxies.to_vec())))
    }

    /// What is wrong with these numbers, each with its key.
    pub fn problems(self) -> Vec<String> {
        let rate = Rate::new(self.per_second, self.burst).err();
        let mut problems: Vec<String> =
            rate.map(|error| format!("limits.client_{error}")).into_iter().collect();
        if self.clients_max < 2 {
            problems.push("limits.clients_max: must be at least 2".into());
        }
        problems
    }
}

/// The limit, and who is believed about clients' addresses.
#[derive(Debug)]
pub struct ClientLimit {
    buckets: RateLimit<IpAddr>,
    trusted_proxies: Vec<IpNet>,
}

impl ClientLimit {
    /// A limit over these buckets.
    pub fn new(buckets: RateLimit<IpAddr>, trusted_proxies: Vec<IpNet>) -> Self {
        Self { buckets, trusted_proxies }
    }

    /// Whether the client behind a request with these extensions and headers may have it.
    pub fn take(&self, extensions: &Extensions, headers: &HeaderMap) -> Result<(), TooMany> {
        let Some(customer) = customer_of(extensions, headers, &self.trusted_proxies) else { return Ok(()) };
        self.buckets.take(customer).inspect_err(|_| {
            metrics::counter!("pinstripe_rate_limited_total", "limit" => "client").increment(1);
        })
    }
}

/// Whom a request counts for. `None` for requests that come from within the process: the server puts the peer's address into
/// all others.
pub fn customer_of(
    extensions: &Extensions,
    headers: &HeaderMap,
    trusted_proxies: &[IpNet],
) -> Option<IpAddr> {
    let PeerAddr(peer) = extensions.get()?;
    Some(customer(client_ip(peer.ip(), headers, trusted_proxies)))
}

/// The first address of those that one customer has.
pub(super) fn customer(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & CUSTOMER_BITS).into(),
    }
}

#[cfg(test)]
mod tests {
    use protocol::time::UnixMillis;

    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        let buckets =
            RateLimit::new(Rate::new(1.0, 1).unwrap().unwrap(), 100, Clock::sim(UnixMillis(1_000_000)));
        let limit = ClientLimit::new(buckets, vec!["10.0.0.0/8".parse().unwrap()]);
        let take = |peer: &str, forwarded: Option<&str>| {
            let (mut extensions, mut headers) = (Extensions::new(), HeaderMap::new());
            extensions.insert(PeerAddr((peer.parse::<IpAddr>().unwrap(), 4000).into()));
            if let Some(forwarded) = forwarded {
                headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            }
            limit.take(&extensions, &headers).is_ok()
        };
        assert!(take("192.0.2.1", None));
        assert!(!take("192.0.2.1", None));
        assert!(take("192.0.2.2", None), "a neighbour");
        assert!(!take("::ffff:192.0.2.1", None), "the same, on a socket for both");
        assert!(!take("192.0.2.1", Some("198.51.100.9")), "nobody believes this");
        assert!(take("10.0.0.1", Some("198.51.100.9")));
        assert!(!take("10.0.0.2", Some("1.1.1.1, 198.51.100.9")), "by another proxy");
        assert!(take("2001:db8:0:1::1", None));
        assert!(!take("2001:db8:0:1:ffff:ffff:ffff:ffff", None));
        assert!(take("2001:db8:0:2::1", None));
        for _ in 0..5 {
            assert!(limit.take(&Extensions::new(), &HeaderMap::new()).is_ok(), "from within");
        }
    }
}
