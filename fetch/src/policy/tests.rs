//! The policy against addresses and URLs of every kind.

use std::net::IpAddr;

use proptest::prelude::*;
use url::Url;

use super::{OutboundPolicy, Refusal, is_public};

fn policy(allow: &[&str], listed: &[&str]) -> OutboundPolicy {
    let listed: Vec<Url> = listed.iter().map(|url| url.parse().unwrap()).collect();
    let allow = allow.iter().map(|network| network.parse().unwrap()).collect();
    OutboundPolicy::new(vec![80, 443], allow, &listed)
}

fn check(policy: &OutboundPolicy, url: &str) -> Result<(), Refusal> {
    policy.check_url(&url.parse().unwrap())
}

#[test]
fn addresses_that_are_not_public_are_refused() {
    let special = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.170",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.1.2.3",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::808:808",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ];
    let policy = policy(&[], &[]);
    for address in special {
        assert_eq!(policy.check_address(address.parse().unwrap()), Err(Refusal::Address), "{address}");
    }
    let public = [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.0.1",
        "172.32.0.0",
        "192.0.1.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2606:4700:4700::1111",
        "2a00:1450::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
    ];
    for address in public {
        assert_eq!(policy.check_address(address.parse().unwrap()), Ok(()), "{address}");
    }
}

#[test]
fn an_operator_can_allow_networks() {
    let policy = policy(&["127.0.0.0/8", "fd00::/8"], &[]);
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "fd00::1"] {
        assert_eq!(policy.check_address(address.parse().unwrap()), Ok(()), "{address}");
    }
    for address in ["10.0.0.1", "::1", "fe80::1", "64:ff9b::7f00:1"] {
        assert_eq!(policy.check_address(address.parse().unwrap()), Err(Refusal::Address), "{address}");
    }
}

#[test]
fn hosts_that_are_addresses_are_checked_however_they_are_written() {
    let policy = policy(&[], &[]);
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "169.254.169.254",
        "%31%32%37.0.0.1",
    ] {
        assert_eq!(check(&policy, &format!("http://{host}/")), Err(Refusal::Address), "{host}");
    }
    assert_eq!(check(&policy, "http://8.8.8.8/"), Ok(()));
    assert_eq!(check(&policy, "https://[2606:4700:4700::1111]/"), Ok(()));
}

#[test]
fn urls_are_plain_http_at_usual_ports() {
    let policy = policy(&[], &["http://kubo.example:8080/base"]);
    for (url, outcome) in [
        ("https://ipfs.example", Ok(())),
        ("http://ipfs.example:443/a", Ok(())),
        ("http://ipfs.example:22", Err(Refusal::Port(22))),
        ("http://ipfs.example:8080", Err(Refusal::Port(8080))),
        ("http://kubo.example:8080", Ok(())),
        ("http://kubo.example:8081", Err(Refusal::Port(8081))),
        ("http://kubo.example", Ok(())),
        ("http://me@ipfs.example", Err(Refusal::Credentials)),
        ("http://:secret@ipfs.example", Err(Refusal::Credentials)),
        ("ftp://ipfs.example", Err(Refusal::Scheme)),
        ("file:///etc/passwd", Err(Refusal::Scheme)),
        ("data:text/plain,x", Err(Refusal::Scheme)),
    ] {
        assert_eq!(check(&policy, url), outcome, "{url}");
    }
}

proptest! {
    #[test]
    fn what_leads_to_an_ipv4_address_is_judged_as_it(octets in any::<[u8; 4]>()) {
        let direct = is_public(IpAddr::from(octets));
        let [a, b, c, d] = octets;
        let translated: IpAddr = format!("64:ff9b::{a:02x}{b:02x}:{c:02x}{d:02x}").parse().unwrap();
        prop_assert_eq!(is_public(translated), direct);
        // A mapped address is the IPv4 address to the system that connects.
        let mapped: IpAddr = format!("::ffff:{a}.{b}.{c}.{d}").parse().unwrap();
        prop_assert_eq!(policy(&[], &[]).check_address(mapped).is_ok(), direct);
        // So is one of the standard library's own list.
        let std = std::net::Ipv4Addr::from(octets);
        if std.is_loopback() || std.is_private() || std.is_link_local() || std.is_multicast() || std.is_broadcast()
            || std.is_documentation() || std.is_unspecified()
        {
            prop_assert!(!direct);
        }
    }
}
