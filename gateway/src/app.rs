//! Putting a gateway together. What it answers is in `routes`, its life as a process in `run`; neither is known here.

use std::sync::Arc;

use anyhow::Context as _;
use client::{NodeClient, Transport};
use content::unixfs::profile::{CidVersion, Profile};
use ed25519_dalek::SigningKey;
use fetch::{Fetcher, Resolver};
use metrics_exporter_prometheus::PrometheusHandle;
use protocol::region::Place;
use retrieval::{AnswerRules, Blocks, BlocksConfig, Denylist};
use service::{clock::Clock, dice::Dice, signer::Signer};
use shared::{Link, Memo, Notices};
use store::Db;
use tokio::sync::Semaphore;
use transfer::{Gather, Peers, Pool, Spreader};

use crate::{
    auth::Keys,
    config::Config,
    database::DatabaseWatch,
    geoip::GeoIp,
    intake::Spool,
    live::Live,
    locate::{Directory, DirectoryParts, LocatorParts, SharedPlaces, StoreLocator, UnfinishedLocator},
    nodes::{Hearsay, NodeWatch, ProbeNodes, WatchParts},
    routes::StatusMemory,
    routing::{Routing, RoutingParts, nowhere},
    upload::{IngestParts, Packer, Room, Sealer, UploadSlots, WritePinLog},
};

/// Accounts whose last version of a CID is remembered, at most.
const CID_VERSIONS_MAX: u64 = 10_000;

/// A gateway, as its routes use it. A clone is one more reference: every request makes several.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

/// A gateway's parts.
pub struct Inner {
    pub(crate) db: Db,
    pub(crate) database: DatabaseWatch,
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) config: Arc<Config>,
    pub(crate) signer: Signer,
    pub(crate) transport: Transport,
    pub(crate) keys: Keys,
    pub(crate) live: Live,
    pub(crate) notices: Notices,
    pub(crate) nodes: NodeWatch,
    pub(crate) routing: Routing,
    pub(crate) locator: StoreLocator,
    pub(crate) blocks: Blocks,
    /// Blocks of uploads that are not finished too.
    pub(crate) unfinished: Blocks,
    pub(crate) answers: AnswerRules,
    pub(crate) packer: Packer,
    pub(crate) sealer: Sealer,
    pub(crate) fetcher: Fetcher,
    pub(crate) ingest: IngestParts,
    pub(crate) spool: Spool,
    #[cfg(test)]
    pub(crate) coding_room: Room,
    pub(crate) uploads: UploadSlots,
    pub(crate) reads: Arc<Semaphore>,
    /// Sizes of roots that were asked for a moment ago.
    pub(crate) known_roots: moka::sync::Cache<content::Cid, u64>,
    /// Versions of CIDs that accounts asked for last, in forms that say it only at their ends.
    pub(crate) cid_versions: moka::sync::Cache<String, CidVersion>,
    pub(crate) status: StatusMemory,
    pub(crate) metrics: Option<PrometheusHandle>,
    pub(crate) redis: Option<Link>,
}

/// What a gateway is built from.
pub struct Parts {
    /// Metadata.
    pub db: Db,
    /// The way to the nodes.
    pub transport: Transport,
    /// The network's secret key.
    pub network_key: SigningKey,
    /// The admin API's token.
    pub admin_token: Option<String>,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub dice: Dice,
    /// Settings.
    pub config: Config,
    /// What gateways tell each other; each is on its own without it.
    pub redis: Option<Link>,
    /// Renders metrics, when the process has any.
    pub metrics: Option<PrometheusHandle>,
}

impl std::ops::Deref for Gateway {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Gateway {
    /// Builds a gateway and starts its packer. Nothing is bound or probed yet.
    pub fn new(parts: Parts) -> anyhow::Result<Self> {
        let Parts { db, transport, network_key, admin_token, clock, dice, config, redis, metrics } = parts;
        let config = Arc::new(config);
        let signer = Signer::new(network_key, clock.clone(), dice.clone());
        let client = NodeClient::new(transport.clone());
        let database = DatabaseWatch::new(db.clone(), clock.clone(), &config.directory);
        let nodes = NodeWatch::new(WatchParts {
            db: db.clone(),
            database: database.clone(),
            transport: transport.clone(),
            clock: clock.clone(),
            nodes: config.nodes.clone(),
            reads: config.reads.clone(),
            ranking: config.ranking,
            reputation: config.reputation,
            hearsay: Hearsay::new(
                Memo::new(redis.clone(), "health", config.nodes.probe_every * 2),
                config.redis.group.clone(),
            ),
        });
        let routing = Routing::new(RoutingParts {
            nodes: nodes.clone(),
            geoip: GeoIp::open(&config.geoip),
            signer: signer.clone(),
            clock: clock.clone(),
            dice: dice.clone(),
            rules: config.ranking,
            config: config.reads.clone(),
        });
        let directory = Directory::new(DirectoryParts {
            nodes: nodes.clone(),
            client: client.clone(),
            signer: signer.clone(),
            clock: clock.clone(),
            rules: config.ranking,
            config: config.directory.clone(),
            own: own_place(&config, &routing),
        });
        let locator = StoreLocator::new(LocatorParts {
            db: db.clone(),
            database: database.clone(),
            directory,
            signer: signer.clone(),
            nodes: nodes.clone(),
            clock: clock.clone(),
            order_lifetime: config.reads.order_lifetime,
            shared: SharedPlaces::new(redis.as_ref(), config.redis.places_ttl),
        });
        let peers = Peers::new(clock.clone());
        let gather = Gather::new(client.clone(), peers.clone(), config.gather.clone());
        let denylist = Denylist::open(&config.denylist)?;
        let unfinished = Blocks::new(
            Box::new(UnfinishedLocator(locator.clone())),
            gather.clone(),
            denylist.clone(),
            clock.clone(),
            unfinished_config(config.tus.joining_bytes),
        );
        let blocks =
            Blocks::open(Box::new(locator.clone()), gather, denylist, clock.clone(), config.cache.clone());
        let coding_room = Room::new(config.uploads.coding_bytes);
        let sealer = Sealer {
            nodes: nodes.clone(),
            spreader: Spreader::new(client, signer.clone(), peers, config.spread.clone()),
            signer: signer.clone(),
            rules: config.redundancy,
            codec: config.uploads.codec.parse().context("uploads.codec")?,
            dice: dice.clone(),
            pool: Pool::new(config.uploads.coding_bytes / 2),
            room: coding_room.clone(),
        };
        let packer =
            Packer::start(db.clone(), sealer.clone(), clock.clone(), dice.clone(), config.uploads.clone());
        let ingest = IngestParts {
            pool: Pool::new(config.uploads.ingest_bytes / 2),
            dag_room: Arc::new(Semaphore::new(config.uploads.dag_nodes_max as usize)),
            room: Arc::new(Semaphore::new(
                config.uploads.ingest_bytes.max(Profile::UNIXFS_V1_2025.chunk_bytes()),
            )),
        };
        let spool = Spool::new(&config.uploads);
        let known_roots = moka::sync::Cache::builder()
            .max_capacity(config.cache.places_max)
            .time_to_live(std::time::Duration::from_secs(2))
            .build();
        let fetcher = Fetcher::new(config.fetch.clone(), Resolver::System, dice.clone())?;
        let answers = config.reads.answers();
        let live = Live::new(&config, admin_token, &clock, redis.clone())?;
        Ok(Self(Arc::new(Inner {
            answers,
            keys: Keys::new(db.clone(), database.clone(), clock.clone(), live.clone()),
            live,
            notices: Notices::new(redis.clone()),
            redis,
            status: StatusMemory::new(&clock),
            uploads: UploadSlots::new(config.uploads.uploads_max, config.uploads.account_uploads_max),
            reads: Arc::new(Semaphore::new(config.reads.reads_max)),
            db,
            database,
            clock,
            dice,
            config,
            signer,
            transport,
            nodes,
            routing,
            locator,
            blocks,
            unfinished,
            packer,
            sealer,
            fetcher,
            #[cfg(test)]
            coding_room,
            ingest,
            spool,
            known_roots,
            cid_versions: moka::sync::Cache::new(CID_VERSIONS_MAX),
            metrics,
        })))
    }

    /// The job that writes the network's log of pins.
    pub fn write_pin_log(&self) -> WritePinLog {
        WritePinLog { gateway: self.clone() }
    }

    /// The job that keeps the view of the nodes fresh.
    pub fn probe_nodes(&self) -> ProbeNodes {
        ProbeNodes { watch: self.nodes.clone() }
    }
}

/// Where this gateway is: in the region that is set, or where the address in its public URL is.
fn own_place(config: &Config, routing: &Routing) -> Place {
    if let Some(region) = config.directory.own_region() {
        return Place::of_region(region);
    }
    let address = url::Url::parse(&config.public_url).ok().and_then(|url| match url.host()? {
        url::Host::Ipv4(ip) => Some(ip.into()),
        url::Host::Ipv6(ip) => Some(ip.into()),
        url::Host::Domain(_) => None,
    });
    address.map_or_else(nowhere, |address| routing.place_of(address))
}

/// What is read once and in order needs no memory but for what is on its way.
fn unfinished_config(in_flight_bytes: u32) -> BlocksConfig {
    BlocksConfig {
        memory_bytes: 0,
        disk_dir: std::path::PathBuf::new(),
        places_max: 1_000,
        in_flight_bytes,
        sending_bytes: in_flight_bytes,
        ..BlocksConfig::default()
    }
}
