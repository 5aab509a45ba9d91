//! What can be set about fetching from others, with its limits. What is allowed besides is in [`crate::policy`].

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use service::config::Validate;
use url::Url;

use crate::{origin::base_url, policy::OutboundPolicy};

/// The `[fetch]` section of a gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchConfig {
    /// Trustless gateways that are asked for everything, after the origins that come with a request: URLs, or multiaddrs
    /// of HTTP servers. Any port is allowed at their hosts. None by default: each sees what is fetched.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub gateways: Vec<String>,
    /// Origins of one request that are looked at, at most.
    pub origins_max: usize,
    /// Ports that may be asked at any host.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub ports: Vec<u16>,
    /// Networks that may be asked although they are not the public internet. This holds for `gateways`, for the origins
    /// that users name, and for redirects.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub allow_networks: Vec<IpNet>,
    /// Redirects of one request that are followed, at most.
    pub redirects_max: u8,
    /// Distinct blocks of one DAG, at most. They take about 50 bytes of memory each, and 160 until they came.
    pub blocks_max: u32,
    /// Links of one DAG, at most. They take 4 bytes each.
    pub links_max: u32,
    /// Bytes of the distinct blocks of one DAG, at most.
    pub bytes_max: u64,
    /// Bytes of a CAR that bring nothing new, at most. One with more is broken off, and the rest is fetched block by block.
    pub repeats_bytes_max: u64,
    /// Blocks of one DAG that are asked for at once when there is no CAR to take them from. Each takes up to 2 MiB of memory.
    pub at_once: usize,
    /// How often all sources are gone through for one block, at most.
    pub passes_max: u32,
    /// Time between the first and the second time; then it doubles, and is longer when a source asks for that.
    #[serde(with = "humantime_serde")]
    pub retry_pause: Duration,
    /// That time, at most.
    #[serde(with = "humantime_serde")]
    pub retry_pause_max: Duration,
    /// How long resolving a name and connecting may take.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long the head of an answer may take, redirects included.
    #[serde(with = "humantime_serde")]
    pub first_byte_timeout: Duration,
    /// How long a source may send nothing.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// How long a source may take from one new block to the next. A block has up to 2 MiB.
    #[serde(with = "humantime_serde")]
    pub block_timeout: Duration,
    /// How long fetching one DAG may take in all.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            gateways: Vec::new(),
            // As many as the Pinning Services API allows.
            origins_max: 20,
            ports: vec![80, 443],
            allow_networks: Vec::new(),
            redirects_max: 3,
            blocks_max: 500_000,
            links_max: 2_000_000,
            bytes_max: 32 << 30,
            repeats_bytes_max: 64 << 20,
            at_once: 8,
            passes_max: 3,
            retry_pause: Duration::from_secs(1),
            retry_pause_max: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(30),
            // What the specification of trustless gateways asks of clients.
            idle_timeout: Duration::from_secs(30),
            block_timeout: Duration::from_mins(1),
            deadline: Duration::from_hours(1),
        }
    }
}

impl FetchConfig {
    /// The gateways, as far as they have HTTP addresses.
    pub(crate) fn gateway_urls(&self) -> Vec<Url> {
        self.gateways.iter().filter_map(|gateway| base_url(gateway)).collect()
    }

    /// Where requests may go.
    pub(crate) fn policy(&self) -> OutboundPolicy {
        OutboundPolicy::new(self.ports.clone(), self.allow_networks.clone(), &self.gateway_urls())
    }
}

impl Validate for FetchConfig {
    fn problems(&self) -> Vec<String> {
        let policy = self.policy();
        let problem_of = |gateway: &String| match base_url(gateway) {
            None => Some(format!("fetch.gateways: {gateway} is no http address")),
            Some(url) => Some(format!("fetch.gateways: {gateway}: {}", policy.check_url(&url).err()?)),
        };
        let mut problems: Vec<_> = self.gateways.iter().filter_map(problem_of).collect();
        let counts = [
            ("blocks_max", self.blocks_max > 0),
            ("links_max", self.links_max > 0),
            ("at_once", self.at_once > 0),
            ("passes_max", self.passes_max > 0),
        ];
        let times = [
            ("connect_timeout", self.connect_timeout),
            ("first_byte_timeout", self.first_byte_timeout),
            ("idle_timeout", self.idle_timeout),
            ("block_timeout", self.block_timeout),
            ("deadline", self.deadline),
        ];
        let zero = counts.into_iter().chain(times.map(|(key, time)| (key, !time.is_zero())));
        problems.extend(zero.filter(|(_, fine)| !fine).map(|(key, _)| format!("fetch.{key}: must not be 0")));
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, time::Duration};

    use service::config::{Validate as _, load};

    use super::FetchConfig;

    #[test]
    fn what_makes_no_sense_is_said() {
        assert_eq!(FetchConfig::default().problems(), Vec::<String>::new());
        let gateways = [
            "https://ipfs.example:8443",
            "/ip4/1.2.3.4/udp/1/quic-v1",
            "http://10.0.0.1",
            "http://a@b.example",
        ];
        let wrong = FetchConfig {
            gateways: gateways.map(str::to_owned).to_vec(),
            at_once: 0,
            idle_timeout: Duration::ZERO,
            ..FetchConfig::default()
        };
        let problems = wrong.problems();
        assert_eq!(problems.len(), 5, "{problems:?}");
        for start in [
            "fetch.gateways: /ip4/1.2.3.4/udp/1/quic-v1 is no",
            "fetch.gateways: http://10.0.0.1: its address",
            "fetch.gateways: http://a@b.example: ",
            "fetch.at_once: ",
            "fetch.idle_timeout: ",
        ] {
            assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start}: {problems:?}");
        }
    }

    #[test]
    fn lists_are_read_from_files_and_from_the_environment() {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        file.write_all(b"ports = [80, 8080]\nallow_networks = [\"127.0.0.0/8\"]\n").unwrap();
        let gateways = "http://127.0.0.1:9090, https://ipfs.example".to_owned();
        let variables = vec![("PINSTRIPE__GATEWAYS".to_owned(), gateways)];
        let read: FetchConfig = load(Some(file.path()), variables).unwrap();
        assert_eq!((read.ports, read.gateways.len(), read.allow_networks.len()), (vec![80, 8080], 2, 1));
        let variables = vec![("PINSTRIPE__PORTS".to_owned(), "443,8443".to_owned())];
        assert_eq!(load::<FetchConfig>(None, variables).unwrap().ports, [443, 8443]);
    }
}
