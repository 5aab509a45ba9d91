//! Whose request this is: the address of the peer, or what a trusted proxy in front says about it.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The address of the other end of the connection, put into each request's extensions by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The client's address. `X-Forwarded-For` counts only when the peer is a trusted proxy; it is read from the right, and
/// the first address that is not itself a trusted proxy is the client: what stands further left is the client's own claim.
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> IpAddr {
    let trusted = |ip: IpAddr| trusted_proxies.iter().any(|net| net.contains(&ip));
    let peer = peer.to_canonical();
    if !trusted(peer) {
        return peer;
    }
    let claims = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = claims.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut client = peer;
    for hop in hops.iter().rev() {
        let Some(ip) = parse_hop(hop) else { return client };
        client = ip.to_canonical();
        if !trusted(client) {
            return client;
        }
    }
    client
}

fn parse_hop(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_matches(['[', ']']);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn forwarded(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_from_the_right() {
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let check = |peer, values: &[&str]| client_ip(ip(peer), &forwarded(values), &proxies);
        assert_eq!(check("192.0.2.1", &["198.51.100.7"]), ip("192.0.2.1"), "an untrusted peer is the client");
        assert_eq!(check("10.0.0.1", &[]), ip("10.0.0.1"));
        assert_eq!(check("10.0.0.1", &["198.51.100.7"]), ip("198.51.100.7"));
        assert_eq!(check("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.2.3.4"]), ip("198.51.100.7"));
        assert_eq!(check("10.0.0.1", &["1.1.1.1", "198.51.100.7:4000"]), ip("198.51.100.7"));
        assert_eq!(check("10.0.0.1", &["[2001:db8::1]"]), ip("2001:db8::1"));
        assert_eq!(
            check("10.0.0.1", &["198.51.100.7, nonsense"]),
            ip("10.0.0.1"),
            "nothing left of nonsense counts"
        );
        assert_eq!(check("::ffff:10.0.0.1", &["198.51.100.7"]), ip("198.51.100.7"));
    }
}
