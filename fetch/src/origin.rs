//! Addresses at which others say that content is: URLs and multiaddrs that name an HTTP server. Does no I/O, and
//! allows nothing: that is [`crate::policy`].

use std::net::{Ipv4Addr, Ipv6Addr};

use percent_encoding::percent_decode_str;
use url::Url;

/// Longest address accepted, in bytes.
const ADDRESS_MAX: usize = 2048;

/// The URL below which `/ipfs/CID` is asked for; `None` when the address is that of no HTTP server, or malformed.
///
/// A multiaddr is a host (`/dns`, `/dns4`, `/dns6`, `/ip4`, `/ip6`), mostly `/tcp/PORT`, then `/http`, `/https` or
/// `/tls/http`, with `/sni` of that host only, and maybe `/http-path/PATH` and `/p2p/PEER`. The peer is passed over: a
/// block is known by its hash.
#[must_use]
pub fn base_url(address: &str) -> Option<Url> {
    if address.len() > ADDRESS_MAX {
        return None;
    }
    let url = match address.strip_prefix('/') {
        Some(multiaddr) => from_multiaddr(multiaddr)?,
        None => Url::parse(address).ok()?,
    };
    let is_base = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.query().is_none()
        && url.fragment().is_none();
    is_base.then_some(url)
}

fn from_multiaddr(multiaddr: &str) -> Option<Url> {
    let mut parts = multiaddr.trim_end_matches('/').split('/').peekable();
    let (kind, name) = (parts.next()?, parts.next()?);
    let host = match kind {
        "dns" | "dns4" | "dns6" => name.to_owned(),
        "ip4" => name.parse::<Ipv4Addr>().ok()?.to_string(),
        "ip6" => format!("[{}]", name.parse::<Ipv6Addr>().ok()?),
        _ => return None,
    };
    let mut port = String::new();
    if parts.next_if_eq(&"tcp").is_some() {
        port = format!(":{}", parts.next()?.parse::<u16>().ok()?);
    }
    let is_tls = parts.next_if_eq(&"tls").is_some();
    if is_tls && parts.next_if_eq(&"sni").is_some() && parts.next()? != name {
        return None;
    }
    let scheme = match parts.next()? {
        "http" if !is_tls => "http",
        "http" | "https" => "https",
        _ => return None,
    };
    let mut url = Url::parse(&format!("{scheme}://{host}{port}")).ok()?;
    // A host with characters of a URL in it would have become something else than the host.
    if url.path() != "/" || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    if parts.next_if_eq(&"http-path").is_some() {
        let path = percent_decode_str(parts.next()?).decode_utf8().ok()?;
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        url.path_segments_mut().ok()?.clear().extend(segments);
    }
    match parts.next() {
        None => Some(url),
        Some("p2p" | "ipfs") => (parts.next().is_some() && parts.next().is_none()).then_some(url),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{ADDRESS_MAX, base_url};
    use proptest::prelude::*;

    const PEER: &str = "12D3KooWDpp7U7W9Q8feMZPPEpPP5FKXTUakLgnVLbavfjb9mzrT";

    fn base(address: &str) -> Option<String> {
        base_url(address).map(String::from)
    }

    #[test]
    fn http_addresses_are_understood() {
        for (address, url) in [
            ("/dns4/ipfs.example/tcp/443/https", "https://ipfs.example/"),
            ("/dns/ipfs.example/tcp/443/tls/http", "https://ipfs.example/"),
            ("/dns6/ipfs.example/tcp/8443/tls/sni/ipfs.example/http", "https://ipfs.example:8443/"),
            ("/dns/ipfs.example/https", "https://ipfs.example/"),
            ("/ip4/1.2.3.4/tcp/8080/http", "http://1.2.3.4:8080/"),
            ("/ip6/2606:4700::1/tcp/80/http", "http://[2606:4700::1]/"),
            ("/dns/a.example/tcp/443/https/http-path/some%2Fwhere", "https://a.example/some/where"),
            ("https://ipfs.example/base/", "https://ipfs.example/base/"),
            ("http://1.2.3.4:8080", "http://1.2.3.4:8080/"),
        ] {
            assert_eq!(base(address).as_deref(), Some(url), "{address}");
            if address.starts_with('/') {
                assert_eq!(base(&format!("{address}/p2p/{PEER}")).as_deref(), Some(url));
                assert_eq!(base(&format!("{address}/p2p")), None, "{address}");
            }
        }
    }

    #[test]
    fn other_addresses_are_not() {
        let long = format!("https://ipfs.example/{}", "a".repeat(ADDRESS_MAX));
        for address in [
            "",
            "/",
            "//",
            "ipfs.example",
            "/dns4",
            "/dns4/ipfs.example",
            "/dns4/ipfs.example/tcp/443",
            "/ip4/1.2.3.4/tcp/4001/p2p/QmPeer",
            "/ip4/1.2.3.4/udp/4001/quic-v1",
            "/ip4/1.2.3.4/udp/443/quic-v1/http",
            "/dns4/ipfs.example/tcp/443/tls/ws",
            "/dns4/ipfs.example/tcp/443/wss",
            "/dnsaddr/ipfs.example/http",
            "/dns4/ipfs.example/tcp/99999/http",
            "/dns4/ipfs.example/tcp/443/tls/sni/other.example/http",
            "/ip4/1.2.3/tcp/80/http",
            "/ip6/1.2.3.4/tcp/80/http",
            "/dns/user@ipfs.example/tcp/80/http",
            "/dns/a.example?b/tcp/80/http",
            "/dns/a.example#b/tcp/80/http",
            "/dns4/a.example/tcp/80/http/p2p-circuit",
            "/dns4/a.example/tcp/80/http/p2p/A/p2p-circuit",
            "ftp://ipfs.example",
            "https://ipfs.example/?a=b",
            "https://ipfs.example/#a",
            "ipfs://bafy",
            "unix:/a",
            &long,
        ] {
            assert_eq!(base(address), None, "{address}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_base_or_none(text in "(/(dns|ip4|tcp|http|tls|sni|p2p|http-path|[a-z0-9.:%@?#]{0,9})){0,8}") {
            if let Some(url) = base_url(&text) {
                prop_assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{}", url);
                prop_assert!(url.query().is_none() && url.username().is_empty());
            }
        }
    }
}
