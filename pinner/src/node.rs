//! A storage node put together from its parts, all of which come in from outside.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use axum::Router;
use client::{NodeClient, Transport};
use ed25519_dalek::SigningKey;
use metrics_exporter_prometheus::PrometheusHandle;
use protocol::{api::EnrolRequest, ids::NodeId};
use retrieval::{Blocks, Denylist, DenylistReload};
use service::{
    clock::Clock, dice::Dice, http::client_limit::ClientLimit, job, lifecycle::Lifecycle,
    telemetry::set_log_filter,
};
use tokio_util::sync::CancellationToken;
use transfer::{Gather, Peers, Pool};

use crate::{
    config::Config,
    directory::{Directory, WriteDirectory},
    enrol::{Admission, Enrol},
    gateways::Gateways,
    heartbeat::Heartbeat,
    identity::{NetworkKey, node_id},
    load::Load,
    locate::GatewayLocator,
    orders::Orders,
    piece_store::PieceStore,
    redeem::{FlushUsage, Redeem},
    routes,
    scrub::{Care, Checkpoint, Compact, Scrub},
    usage::Usage,
};

/// How often it is looked whether the node has to enrol. Attempts have pauses of their own.
const ENROL_EVERY: std::time::Duration = std::time::Duration::from_millis(250);

/// What a node is made of.
pub struct Parts {
    /// Its secret key; the public one is its id.
    pub key: SigningKey,
    /// The key that orders are checked with.
    pub network_key: NetworkKey,
    /// Where its pieces are.
    pub store: Arc<dyn PieceStore>,
    /// Where it counts what it serves.
    pub usage: Usage,
    /// What it was told of places.
    pub directory: Directory,
    /// What it does not serve.
    pub denylist: Denylist,
    /// The way to gateways and to other nodes.
    pub transport: Transport,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub dice: Dice,
    /// Where the node reaches itself; empty for its public URL.
    pub own_url: String,
    /// The invitation, needed the first time only.
    pub invite: Option<String>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("id", &node_id(&self.key)).finish_non_exhaustive()
    }
}

/// What requests are answered with.
pub(crate) struct App {
    pub(crate) id: NodeId,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) network: Arc<NetworkKey>,
    pub(crate) store: Arc<dyn PieceStore>,
    pub(crate) orders: Orders,
    pub(crate) usage: Usage,
    pub(crate) directory: Directory,
    pub(crate) load: Load,
    /// It can change while the node runs.
    pub(crate) client_limit: ArcSwap<Option<ClientLimit>>,
    /// Buffers for parts of slices being given.
    pub(crate) parts: Pool,
    pub(crate) blocks: Blocks,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
}

/// A storage node; cheap to clone.
#[derive(Clone)]
pub struct Pinner {
    app: Arc<App>,
    gateways: Gateways,
    admission: Admission,
    dice: Dice,
    invite: Option<String>,
}

impl fmt::Debug for Pinner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinner").field("id", &self.app.id).finish_non_exhaustive()
    }
}

impl Pinner {
    /// Puts a node together. Nothing runs yet: serve its [`Pinner::router`] and run its jobs.
    pub fn new(parts: Parts, config: Config) -> Self {
        let Parts {
            key,
            network_key,
            store,
            usage,
            directory,
            denylist,
            transport,
            clock,
            dice,
            own_url,
            invite,
        } = parts;
        let (id, key, network) = (node_id(&key), Arc::new(key), Arc::new(network_key));
        let gateways = Gateways::new(&config.gateways, &transport, &clock, key.clone());
        let locator = GatewayLocator::new(gateways.clone(), id, own_url, directory.clone());
        let gather =
            Gather::new(NodeClient::new(transport), Peers::new(clock.clone()), config.gather.clone());
        let blocks = Blocks::open(Box::new(locator), gather, denylist, clock.clone(), config.cache.clone());
        let orders = Orders::new(id, network.clone(), clock.clone(), config.limits.orders_cached_max);
        let load = Load::new(&config.limits);
        let parts = Pool::new(config.limits.idle_bytes);
        let client_limit =
            config.limits.clients(&clock).expect("the configuration was checked when it was read");
        let client_limit = ArcSwap::from_pointee(client_limit);
        let app = App {
            id,
            key,
            network,
            store,
            orders,
            usage,
            directory,
            load,
            client_limit,
            parts,
            blocks,
            clock,
            config,
        };
        Self { app: Arc::new(app), gateways, admission: Admission::default(), dice, invite }
    }

    /// Takes what of the configuration can change while a node runs.
    pub(crate) fn change(&self, config: &Config) -> anyhow::Result<()> {
        let limit = config.limits.clients(&self.app.clock)?;
        set_log_filter(&config.log.filter)?;
        self.app.client_limit.store(Arc::new(limit));
        Ok(())
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.app.id
    }

    /// Requests in progress.
    pub fn in_flight(&self) -> u32 {
        self.app.load.in_flight()
    }

    /// Everything that it answers, on one address.
    pub fn router(&self, metrics: Option<PrometheusHandle>) -> Router {
        routes::router(self.app.clone(), metrics)
    }

    /// What it answers to everybody, and what on the internal listener, if there is one.
    pub(crate) fn surface(
        &self,
        metrics: PrometheusHandle,
        draining: CancellationToken,
    ) -> (Router, Option<Router>) {
        routes::surface(self.app.clone(), metrics, draining)
    }

    /// The job that joins the network.
    pub fn enrol(&self) -> Enrol {
        let App { config, network, clock, store, .. } = &*self.app;
        let request = EnrolRequest {
            url: config.url.clone(),
            capacity_bytes: store.stats().capacity_bytes,
            version: env!("CARGO_PKG_VERSION").to_string(),
            invite: self.invite.clone(),
            receipt: None,
        };
        let (gateways, admission) = (self.gateways.clone(), self.admission.clone());
        Enrol::new(
            gateways,
            network.clone(),
            admission,
            self.app.id,
            request,
            clock.clone(),
            self.dice.clone(),
        )
    }

    /// The job that tells gateways how the node is.
    pub fn heartbeat(&self) -> Heartbeat {
        let App { store, clock, config, .. } = &*self.app;
        let (gateways, admission) = (self.gateways.clone(), self.admission.clone());
        Heartbeat::new(gateways, admission, store.clone(), clock.clone(), config.heartbeat.problems_max)
    }

    /// The job that writes counts of served bytes down.
    pub fn flush_usage(&self) -> FlushUsage {
        FlushUsage::new(self.app.usage.clone(), self.app.clock.clone())
    }

    /// The job that hands served bytes in.
    pub fn redeem(&self) -> Redeem {
        let App { usage, clock, config, .. } = &*self.app;
        Redeem::new(self.gateways.clone(), usage.clone(), clock.clone(), &config.usage)
    }

    /// The job that writes down what the node was told of places.
    pub fn write_directory(&self) -> WriteDirectory {
        let App { directory, network, clock, .. } = &*self.app;
        WriteDirectory { directory: directory.clone(), network: network.clone(), clock: clock.clone() }
    }

    /// The job that checks pieces.
    pub fn scrub(&self) -> Scrub {
        Scrub::new(self.care())
    }

    /// The job that gives space back.
    pub fn compact(&self) -> Compact {
        Compact::new(self.care())
    }

    /// The job that writes the index of the store down.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::new(self.care())
    }

    /// The job that keeps the denylists fresh.
    pub fn reload_denylist(&self) -> DenylistReload {
        DenylistReload::new(self.app.blocks.denylist().clone())
    }

    fn care(&self) -> Care {
        let App { store, load, clock, config, .. } = &*self.app;
        Care { store: store.clone(), load: load.clone(), clock: clock.clone(), config: config.scrub.clone() }
    }

    /// Runs all jobs until the process is asked to stop.
    pub fn spawn_jobs(&self, life: &Lifecycle) {
        let config = &self.app.config;
        life.spawn(job::run(self.enrol(), ENROL_EVERY, life.stop()));
        life.spawn(job::run(self.heartbeat(), config.heartbeat.every, life.stop()));
        life.spawn(job::run(self.flush_usage(), config.usage.flush_every, life.stop()));
        life.spawn(job::run(self.redeem(), config.usage.redeem_every, life.stop()));
        life.spawn(job::run(self.write_directory(), config.directory.write_every, life.stop()));
        life.spawn(job::run(self.scrub(), config.scrub.every, life.stop()));
        life.spawn(job::run(self.compact(), config.scrub.every, life.stop()));
        life.spawn(job::run(self.checkpoint(), config.scrub.checkpoint_every, life.stop()));
        life.spawn(job::run(self.reload_denylist(), config.denylist.reload_every, life.stop()));
    }
}
