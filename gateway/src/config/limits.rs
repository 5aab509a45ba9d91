//! How many requests clients and accounts may have.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use service::{
    clock::Clock,
    http::client_limit::ClientRates,
    token_bucket::{Rate, RateError},
};
use shared::{Link, SharedLimit};

/// The `[limits]` section: requests a second in the long run, and at once. A rate of 0 is no limit, and that is the
/// default: many people may share one address, and only the operator knows. They hold for all gateways together that use one
/// Redis; without one each gateway counts for itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests for content that one client may have each second: an address, or a /64 of IPv6.
    pub client_rate: f64,
    /// Such requests at once, after a pause.
    pub client_burst: u32,
    /// Clients that are remembered, at most; some 80 bytes each.
    pub clients_max: usize,
    /// Requests with keys of one account each second, by whatever API.
    pub account_rate: f64,
    /// Such requests at once, after a pause.
    pub account_burst: u32,
    /// Accounts that are remembered, at most; some 150 bytes each.
    pub accounts_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            client_rate: 0.0,
            client_burst: 500,
            clients_max: 100_000,
            account_rate: 0.0,
            account_burst: 500,
            accounts_max: 10_000,
        }
    }
}

impl LimitsConfig {
    /// The limit of clients, if there is one.
    pub(crate) fn clients(
        &self,
        clock: &Clock,
        link: Option<&Link>,
    ) -> Result<Option<SharedLimit<IpAddr>>, RateError> {
        let rate = Rate::new(self.client_rate, self.client_burst)?;
        let limit = |rate| SharedLimit::new(rate, self.clients_max, clock.clone(), "client", link.cloned());
        Ok(rate.map(limit))
    }

    fn client_rates(&self) -> ClientRates {
        let (per_second, burst) = (self.client_rate, self.client_burst);
        ClientRates { per_second, burst, clients_max: self.clients_max }
    }

    /// The limit of accounts, if there is one.
    pub(crate) fn accounts(
        &self,
        clock: &Clock,
        link: Option<&Link>,
    ) -> Result<Option<SharedLimit<String>>, RateError> {
        let rate = Rate::new(self.account_rate, self.account_burst)?;
        let limit = |rate| SharedLimit::new(rate, self.accounts_max, clock.clone(), "account", link.cloned());
        Ok(rate.map(limit))
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.client_rates().problems();
        if let Err(error) = Rate::new(self.account_rate, self.account_burst) {
            problems.push(format!("limits.account_{error}"));
        }
        if self.accounts_max < 2 {
            problems.push("limits.accounts_max: must be at least 2".into());
        }
        problems
    }
}
