//! Pins by CID: what is asked for is written down (`request`), and fetched in the background by whichever gateway is free
//! (`worker`, `dag`): what is stored here from here, the rest from the origins that came with it and from the gateways of the
//! configuration (`stored`).

mod dag;
mod request;
mod stored;
mod worker;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::Validate;

pub(crate) use request::{Wanted, request};
pub use worker::FetchPins;

/// The `[pins]` section: pins by CID.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PinsConfig {
    /// Pins that one gateway fetches at once, at most. 0: it fetches none.
    pub fetches_max: usize,
    /// Pins of one account that wait to be fetched, at most.
    pub waiting_max: u32,
    /// How often a gateway that fetches nothing looks for pins to fetch.
    #[serde(with = "humantime_serde")]
    pub poll_every: Duration,
    /// After so long without a sign of life from the gateway that fetches a pin, another one does.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How long after the first try the second one comes; later ones wait twice as long each.
    #[serde(with = "humantime_serde")]
    pub retry_pause: Duration,
    /// That time, at most.
    #[serde(with = "humantime_serde")]
    pub retry_pause_max: Duration,
    /// How long after it was asked for a pin may be tried again. The last try takes at most `fetch.deadline` in addition.
    #[serde(with = "humantime_serde")]
    pub give_up_after: Duration,
}

impl Default for PinsConfig {
    fn default() -> Self {
        Self {
            fetches_max: 4,
            waiting_max: 1_000,
            poll_every: Duration::from_secs(1),
            lease: Duration::from_mins(1),
            retry_pause: Duration::from_secs(15),
            retry_pause_max: Duration::from_mins(10),
            give_up_after: Duration::from_hours(1),
        }
    }
}

impl Validate for PinsConfig {
    fn problems(&self) -> Vec<String> {
        let times =
            [("poll_every", self.poll_every), ("lease", self.lease), ("retry_pause", self.retry_pause)];
        let zero = times.into_iter().filter(|(_, time)| time.is_zero());
        zero.map(|(key, _)| format!("pins.{key}: must not be 0")).collect()
    }
}
