//! Where requests may go whose targets strangers name: to the public internet, over HTTP, at the usual ports.
//!
//! Decides about URLs and addresses, and does no I/O. Whoever connects asks twice: about the URL, and about each
//! address that its name has (`outbound.rs` does both, and again after every redirect).

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// What of IPv4 is not the public internet: the IANA registry of special-purpose addresses (RFC 6890 and its updates),
/// multicast (RFC 5771) and what is reserved, broadcast among it.
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// All global unicast addresses of IPv6 (RFC 4291, 2.4, as far as IANA gives them out). Loopback, unique local,
/// link-local, site-local, multicast and IPv4-compatible ones are outside.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0], 3);

/// What of [`GLOBAL_V6`] is not the public internet: protocols' own (Teredo and benchmarking among them), both networks for
/// documentation, and 6to4, which leads to any IPv4 address.
const SPECIAL_V6: [Ipv6Net; 4] =
    [v6([0x2001, 0], 23), v6([0x2001, 0xdb8], 32), v6([0x2002, 0], 16), v6([0x3fff, 0], 20)];

/// Addresses in whose last 32 bits a translator finds the IPv4 address to connect to (RFC 6052).
const NAT64: Ipv6Net = v6([0x64, 0xff9b], 96);

/// Why a URL or an address is not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither http nor https.
    #[error("only http and https are fetched from")]
    Scheme,
    /// There is a user name or a password in the URL.
    #[error("a url with a user name or password is not fetched from")]
    Credentials,
    /// A port that is not allowed.
    #[error("port {0} is not allowed")]
    Port(u16),
    /// The host is, or has no address but, one that is not public.
    #[error("its address is not public")]
    Address,
}

/// Which URLs and addresses may be asked.
#[derive(Debug, Clone)]
pub struct OutboundPolicy {
    ports: Vec<u16>,
    allow_networks: Vec<IpNet>,
    /// Host and port of what the operator lists.
    listed: Vec<(String, u16)>,
}

impl OutboundPolicy {
    /// Allows `ports` everywhere, the ports of the `listed` URLs at their hosts, and `allow_networks` besides the public
    /// internet.
    #[must_use]
    pub fn new<'a>(
        ports: Vec<u16>,
        allow_networks: Vec<IpNet>,
        listed: impl IntoIterator<Item = &'a Url>,
    ) -> Self {
        Self { ports, allow_networks, listed: listed.into_iter().filter_map(place).collect() }
    }

    /// Checks everything about a URL that can be known without resolving its host. A host that is an address is checked
    /// here, for no resolver will be asked about it.
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        let place = place(url).ok_or(Refusal::Scheme)?;
        if !self.ports.contains(&place.1) && !self.listed.contains(&place) {
            return Err(Refusal::Port(place.1));
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address(address.into()),
            Some(Host::Ipv6(address)) => self.check_address(address.into()),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }

    /// Checks an address before it is connected to.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Refusal> {
        let address = address.to_canonical();
        let is_allowed = self.allow_networks.iter().any(|network| network.contains(&address));
        if is_allowed || is_public(address) { Ok(()) } else { Err(Refusal::Address) }
    }
}

fn place(url: &Url) -> Option<(String, u16)> {
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

/// Whether an address is one of the public internet. IPv4 addresses within IPv6 are judged as what they lead to.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_public(Ipv4Addr::new(a, b, c, d).into())
        }
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|network| network.contains(&address))
        }
    }
}

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b]: [u16; 2], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}
