//! What of the configuration can change while a gateway runs: it is taken from here at each use, never remembered elsewhere.

use std::{net::IpAddr, sync::Arc};

use anyhow::Context as _;
use arc_swap::{ArcSwap, Guard};
use protocol::pay::Rates;
use service::clock::Clock;
use shared::{Link, SharedLimit};

use crate::{auth::AdminToken, config::Config};

/// Shared by all parts of a gateway; cheap to clone.
#[derive(Clone)]
pub(crate) struct Live {
    settings: Arc<ArcSwap<Settings>>,
    /// Through which limits hold for all gateways.
    redis: Option<Link>,
}

/// The settings of a moment.
pub(crate) struct Settings {
    /// What nodes are paid.
    pub(crate) rates: Rates,
    /// How many requests for content clients may have.
    pub(crate) client_limit: Option<Arc<SharedLimit<IpAddr>>>,
    /// How many requests accounts may have.
    pub(crate) account_limit: Option<Arc<SharedLimit<String>>>,
    /// Who may use the admin API.
    pub(crate) admin: AdminToken,
}

impl Settings {
    fn new(
        config: &Config,
        admin_token: Option<String>,
        clock: &Clock,
        redis: Option<&Link>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            rates: config.rates,
            client_limit: config.limits.clients(clock, redis).context("limits")?.map(Arc::new),
            account_limit: config.limits.accounts(clock, redis).context("limits")?.map(Arc::new),
            admin: AdminToken(admin_token.map(Into::into)),
        })
    }
}

impl Live {
    pub(crate) fn new(
        config: &Config,
        admin_token: Option<String>,
        clock: &Clock,
        redis: Option<Link>,
    ) -> anyhow::Result<Self> {
        let settings = Settings::new(config, admin_token, clock, redis.as_ref())?;
        Ok(Self { settings: Arc::new(ArcSwap::from_pointee(settings)), redis })
    }

    /// The settings of this moment. Not to be held for long.
    pub(crate) fn get(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Takes others. Whoever is counted begins anew.
    pub(crate) fn set(
        &self,
        config: &Config,
        admin_token: Option<String>,
        clock: &Clock,
    ) -> anyhow::Result<()> {
        self.settings.store(Arc::new(Settings::new(config, admin_token, clock, self.redis.as_ref())?));
        Ok(())
    }
}
