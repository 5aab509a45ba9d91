//! What of the configuration can change while a gateway runs: it is taken from here at each use, never remembered elsewhere.

use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::{ArcSwap, Guard};
use protocol::pay::Rates;
use service::{clock::Clock, http::client_limit::ClientLimit, rate_limit::RateLimit};

use crate::{auth::AdminToken, config::Config};

/// Shared by all parts of a gateway; cheap to clone.
#[derive(Clone)]
pub(crate) struct Live(Arc<ArcSwap<Settings>>);

/// The settings of a moment.
pub(crate) struct Settings {
    /// What nodes are paid.
    pub(crate) rates: Rates,
    /// How many requests for content clients may have.
    pub(crate) client_limit: Option<ClientLimit>,
    /// How many requests accounts may have.
    pub(crate) account_limit: Option<RateLimit<String>>,
    /// Who may use the admin API.
    pub(crate) admin: AdminToken,
}

impl Settings {
    fn new(config: &Config, admin_token: Option<String>, clock: &Clock) -> anyhow::Result<Self> {
        Ok(Self {
            rates: config.rates,
            client_limit: config.limits.clients(&config.reads.trusted_proxies, clock).context("limits")?,
            account_limit: config.limits.accounts(clock).context("limits")?,
            admin: AdminToken(admin_token.map(Into::into)),
        })
    }
}

impl Live {
    pub(crate) fn new(config: &Config, admin_token: Option<String>, clock: &Clock) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(Settings::new(config, admin_token, clock)?))))
    }

    /// The settings of this moment. Not to be held for long.
    pub(crate) fn get(&self) -> Guard<Arc<Settings>> {
        self.0.load()
    }

    /// Takes others. Whoever is counted begins anew.
    pub(crate) fn set(
        &self,
        config: &Config,
        admin_token: Option<String>,
        clock: &Clock,
    ) -> anyhow::Result<()> {
        self.0.store(Arc::new(Settings::new(config, admin_token, clock)?));
        Ok(())
    }
}
