//! The way to Redis. A question has its answer within `call_timeout` or none at all; after the first that has none, nobody asks
//! until a connection made anew in the background has answered. So a server that stands still costs one timeout, once.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{config::RedisConfig, seal::Seal};

/// An address of Redis that cannot be used. The text never holds the address, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is none.
    #[error("no address")]
    Empty,
    /// It is not of the form `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS.
    #[error("address {0} is not of the form redis://[user:password@]host[:port][/database]")]
    Address(usize),
    /// Addresses of a cluster that do not go together.
    #[error("the addresses do not make a cluster: {0}")]
    Cluster(String),
}

/// What a server answers that is not the one to be asked now, or not yet.
const ELSEWHERE: [&str; 4] = ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"];

/// A handle on Redis; cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    target: Target,
    /// Each server by itself, for subscriptions.
    servers: Vec<Client>,
    config: RedisConfig,
    seal: Seal,
    /// None while Redis is away.
    connection: ArcSwapOption<Connection>,
    /// Whether somebody is looking whether it is back.
    healing: AtomicBool,
    room: Semaphore,
}

enum Target {
    One(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// A connection that takes any number of questions at a time.
#[derive(Clone)]
pub(crate) enum Connection {
    One(Box<MultiplexedConnection>),
    Cluster(ClusterConnection),
}

impl Link {
    /// A link to the server at `addresses`, or to the cluster of which they are some, with commas between them. It goes on in
    /// the background to connect: what is asked before that has no answer. To be called within a Tokio runtime.
    pub fn new(addresses: &str, config: RedisConfig, network_secret: &[u8; 32]) -> Result<Self, LinkError> {
        let addresses: Vec<&str> =
            addresses.split(',').map(str::trim).filter(|address| !address.is_empty()).collect();
        let mut servers = Vec::with_capacity(addresses.len());
        for (index, address) in addresses.iter().enumerate() {
            servers.push(Client::open(*address).map_err(|_| LinkError::Address(index + 1))?);
        }
        let target = match servers.first() {
            None => return Err(LinkError::Empty),
            Some(_) if config.cluster => {
                let cluster = ClusterClient::builder(addresses.iter().copied())
                    .connection_timeout(config.connect_timeout)
                    .response_timeout(config.call_timeout)
                    .retries(1)
                    .build();
                // Without its text, in which addresses stand.
                let cluster = cluster.map_err(|error| LinkError::Cluster(error.category().to_string()))?;
                Target::Cluster(Box::new(cluster))
            }
            Some(server) => Target::One(Box::new(server.clone())),
        };
        let inner = Inner {
            target,
            servers,
            seal: Seal::new(network_secret),
            connection: ArcSwapOption::empty(),
            healing: AtomicBool::new(false),
            room: Semaphore::new(config.in_flight_max),
            config,
        };
        let link = Self(Arc::new(inner));
        link.heal(Duration::ZERO);
        Ok(link)
    }

    /// Asks something. `None`: Redis is away, busy, or did not answer in time.
    pub(crate) async fn ask<T, F>(
        &self,
        what: &'static str,
        question: impl FnOnce(Connection) -> F,
    ) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let count = |outcome: &'static str| {
            metrics::counter!("pinstripe_redis_calls_total", "call" => what, "outcome" => outcome)
                .increment(1);
        };
        let Some(connection) = self.0.connection.load_full() else {
            count("away");
            return None;
        };
        let Ok(_place) = self.0.room.try_acquire() else {
            count("crowded");
            return None;
        };
        match timeout(self.0.config.call_timeout, question(connection.as_ref().clone())).await {
            Ok(Ok(answer)) => {
                count("answered");
                Some(answer)
            }
            Ok(Err(error)) => {
                count("failed");
                // A server that refuses one thing (a value of another type, no memory left) is there: a new connection would
                // be told the same.
                if error.code().is_none_or(|code| ELSEWHERE.contains(&code)) {
                    self.lost(&connection, what, &error);
                }
                None
            }
            Err(_) => {
                count("late");
                self.lost(&connection, what, &"no answer in time");
                None
            }
        }
    }

    /// Gives a connection up, unless somebody has already.
    fn lost(&self, connection: &Arc<Connection>, what: &str, why: &dyn fmt::Display) {
        let now = self.0.connection.compare_and_swap(&Some(connection.clone()), None);
        if now.as_ref().is_some_and(|now| Arc::ptr_eq(now, connection)) {
            tracing::warn!(call = what, error = %why, "redis is away, going on without");
            metrics::gauge!("pinstripe_redis_up").set(0.0);
            // Not at once: whoever takes connections and breaks each of them is not asked more often than this.
            self.heal(self.0.config.retry_every);
        }
    }

    /// After a pause, looks in the background until there is a connection.
    fn heal(&self, pause: Duration) {
        if !self.0.healing.swap(true, Ordering::SeqCst) {
            tokio::spawn(heal(Arc::downgrade(&self.0), pause));
        }
    }

    /// The name of a value of some kind.
    pub(crate) fn name(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.0.config.prefix)
    }

    pub(crate) fn seal(&self) -> &Seal {
        &self.0.seal
    }

    pub(crate) fn config(&self) -> &RedisConfig {
        &self.0.config
    }

    pub(crate) fn servers(&self) -> &[Client] {
        &self.0.servers
    }

    /// Whether it is up as far as is known.
    pub fn is_up(&self) -> bool {
        self.0.connection.load().is_some()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("prefix", &self.0.config.prefix).finish_non_exhaustive()
    }
}

/// Connects, again and again, until that works or nobody has the link any more.
async fn heal(link: Weak<Inner>, mut pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(inner) = link.upgrade() else { return };
        match timeout(inner.config.connect_timeout, inner.connect()).await {
            Ok(Ok(connection)) => {
                // In this order: whoever loses the new connection at once must be able to begin again.
                inner.healing.store(false, Ordering::SeqCst);
                inner.connection.store(Some(Arc::new(connection)));
                metrics::gauge!("pinstripe_redis_up").set(1.0);
                tracing::info!("redis answers");
                return;
            }
            Ok(Err(error)) => tracing::debug!(%error, "redis does not answer"),
            Err(_) => tracing::debug!("redis does not answer in time"),
        }
        pause = inner.config.retry_every;
    }
}

impl Inner {
    /// A connection that has answered once.
    async fn connect(&self) -> RedisResult<Connection> {
        let mut connection = match &self.target {
            Target::One(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(self.config.connect_timeout))
                    .set_response_timeout(Some(self.config.call_timeout));
                let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
                Connection::One(Box::new(connection))
            }
            Target::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        };
        let probe = format!("{}:probe", self.config.prefix);
        let _: Option<Vec<u8>> = redis::cmd("GET").arg(probe).query_async(&mut connection).await?;
        Ok(connection)
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
