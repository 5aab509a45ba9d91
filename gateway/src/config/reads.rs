//! How content is given to readers.

use std::time::Duration;

use ipnet::IpNet;
use retrieval::{ActiveContent, AnswerRules};
use serde::{Deserialize, Serialize};

/// Whether readers are sent to nodes or served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadMode {
    /// 307 to the best node of the reader's region.
    Redirect,
    /// Served by the gateway.
    Proxy,
}

/// The `[reads]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadsConfig {
    /// What happens when a request does not say.
    pub mode: ReadMode,
    /// Reads served here at once, at most.
    pub reads_max: usize,
    /// Networks of proxies in front whose `X-Forwarded-For`, `-Host` and `-Proto` are believed.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub trusted_proxies: Vec<IpNet>,
    /// Hosts (names without port) below which every CID has a host of its own, `{cid}.ipfs.{host}`. Paths under `/ipfs/`
    /// of these hosts lead there.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub subdomain_hosts: Vec<String>,
    /// Hosts that give nothing but raw blocks and CARs.
    #[serde(deserialize_with = "service::config::one_or_many")]
    pub trustless_hosts: Vec<String>,
    /// What is done with HTML, SVG and their like under `/ipfs/`, where they share an origin with the API.
    pub active_content: ActiveContent,
    /// How long a reader waits for the head of an answer, at most.
    #[serde(with = "humantime_serde")]
    pub first_byte_timeout: Duration,
    /// How long an answer may pause before it is broken off.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Blocks of a CAR without duplicates, at most.
    pub car_blocks_max: usize,
    /// How long a ticket is valid.
    #[serde(with = "humantime_serde")]
    pub ticket_lifetime: Duration,
    /// A node that was not heard of for so long is asked before a reader is sent to it.
    #[serde(with = "humantime_serde")]
    pub confirm_after: Duration,
    /// How long that answer is waited for.
    #[serde(with = "humantime_serde")]
    pub confirm_timeout: Duration,
    /// How long orders for reading pieces hold.
    #[serde(with = "humantime_serde")]
    pub order_lifetime: Duration,
}

impl ReadsConfig {
    /// The rules of answers that nodes have too.
    pub fn answers(&self) -> AnswerRules {
        AnswerRules {
            trustless_hosts: self.trustless_hosts.clone(),
            active_content: self.active_content,
            first_byte_timeout: self.first_byte_timeout,
            stall_timeout: self.stall_timeout,
            car_blocks_max: self.car_blocks_max,
        }
    }
}

impl Default for ReadsConfig {
    fn default() -> Self {
        let answers = AnswerRules::default();
        Self {
            mode: ReadMode::Redirect,
            reads_max: 512,
            trusted_proxies: Vec::new(),
            subdomain_hosts: vec!["localhost".into()],
            trustless_hosts: answers.trustless_hosts,
            active_content: ActiveContent::Sandbox,
            first_byte_timeout: answers.first_byte_timeout,
            stall_timeout: answers.stall_timeout,
            car_blocks_max: answers.car_blocks_max,
            ticket_lifetime: Duration::from_mins(5),
            confirm_after: Duration::from_millis(250),
            confirm_timeout: Duration::from_secs(1),
            order_lifetime: Duration::from_mins(10),
        }
    }
}
