//! How many requests clients and accounts may have.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use service::{
    clock::Clock,
    http::client_limit::{ClientLimit, ClientRates},
    rate_limit::RateLimit,
    token_bucket::{Rate, RateError},
};

/// The `[limits]` section: requests a second in the long run, and at once. A rate of 0 is no limit, and that is the
/// default: many people may share one address, and only the operator knows. Each gateway counts for itself.
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
        trusted_proxies: &[IpNet],
        clock: &Clock,
    ) -> Result<Option<ClientLimit>, RateError> {
        self.client_rates().limit(trusted_proxies, clock)
    }

    fn client_rates(&self) -> ClientRates {
        let (per_second, burst) = (self.client_rate, self.client_burst);
        ClientRates { per_second, burst, clients_max: self.clients_max }
    }

    /// The limit of accounts, if there is one.
    pub(crate) fn accounts(&self, clock: &Clock) -> Result<Option<RateLimit<String>>, RateError> {
        let rate = Rate::new(self.account_rate, self.account_burst)?;
        Ok(rate.map(|rate| RateLimit::new(rate, self.accounts_max, clock.clone())))
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
