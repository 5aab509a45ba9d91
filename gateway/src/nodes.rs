//! The gateway's view of the nodes: what the database says, and what it has itself just heard of each.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use client::{NodeClient, Transport};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use protocol::{
    ids::NodeId,
    placement::{Candidate, Net, Operator},
    ranking::{Health, RankingRules, RouteNode},
    region::{Coordinates, Country, Place, Region},
    reputation::{Reputation, ReputationRules, Standing},
    time::UnixMillis,
};
use service::{
    clock::Clock,
    job::{Job, Progress},
};
use store::{Db, NodeRow};
use tokio::sync::Mutex as AsyncMutex;

use self::hearsay::Heard;
pub(crate) use self::hearsay::Hearsay;
use crate::{
    config::{NodesConfig, ReadsConfig},
    database::{DATABASE_AWAY, DatabaseWatch, NoAnswer},
};

mod hearsay;

/// One node as last read from the database.
#[derive(Clone, Debug)]
pub(crate) struct NodeEntry {
    pub(crate) row: NodeRow,
    pub(crate) place: Option<Place>,
    pub(crate) reputation: Option<Reputation>,
    net: Option<Net>,
    operator: Operator,
}

impl NodeEntry {
    fn new(row: NodeRow) -> Self {
        let region: Option<Region> = row.region.parse().ok();
        let coordinates = row.latitude.zip(row.longitude).and_then(|(lat, lon)| Coordinates::new(lat, lon));
        let country = row.country.as_deref().and_then(|code| code.parse::<Country>().ok());
        Self {
            place: region.map(|region| Place { region, country, coordinates }),
            reputation: serde_json::from_str(&row.reputation).ok(),
            net: row.address.parse().ok().map(Net::of),
            operator: Operator::of(&row.operator),
            row,
        }
    }

    /// Its standing; a node whose reputation cannot be read gets nothing new.
    pub(crate) fn standing(&self) -> Standing {
        self.reputation.as_ref().map_or(Standing::Disqualified, |reputation| reputation.standing)
    }
}

/// What was heard of a node lately.
#[derive(Clone, Debug, Default)]
struct Live {
    health: Health,
    in_flight: u32,
    confirmed: Option<UnixMillis>,
    reachable: bool,
}

type Probing = Arc<AsyncMutex<()>>;

/// Shared, cheap to clone.
#[derive(Clone)]
pub(crate) struct NodeWatch {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    database: DatabaseWatch,
    client: NodeClient,
    clock: Clock,
    config: NodesConfig,
    reads: ReadsConfig,
    ranking: RankingRules,
    reputation: ReputationRules,
    hearsay: Hearsay,
    /// In order, so that a simulation with the same seed draws the same nodes.
    entries: ArcSwap<BTreeMap<NodeId, Arc<NodeEntry>>>,
    live: Mutex<HashMap<NodeId, Live>>,
    probing: Mutex<HashMap<NodeId, Probing>>,
    refreshed: Mutex<Option<UnixMillis>>,
    /// All nodes have been asked once, or that was given up.
    looked_at: AtomicBool,
}

/// What a [`NodeWatch`] is made of.
pub(crate) struct WatchParts {
    pub(crate) db: Db,
    pub(crate) database: DatabaseWatch,
    pub(crate) transport: Transport,
    pub(crate) clock: Clock,
    pub(crate) nodes: NodesConfig,
    pub(crate) reads: ReadsConfig,
    pub(crate) ranking: RankingRules,
    pub(crate) reputation: ReputationRules,
    pub(crate) hearsay: Hearsay,
}

impl NodeWatch {
    pub(crate) fn new(parts: WatchParts) -> Self {
        let WatchParts { db, database, transport, clock, nodes: config, reads, ranking, reputation, hearsay } =
            parts;
        let inner = Inner {
            db,
            database,
            client: NodeClient::new(transport),
            clock,
            config,
            reads,
            ranking,
            reputation,
            hearsay,
            entries: ArcSwap::default(),
            live: Mutex::default(),
            probing: Mutex::default(),
            refreshed: Mutex::default(),
            looked_at: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Reads the list of nodes from the database. When that fails the last one stays.
    pub(crate) async fn refresh(&self) -> anyhow::Result<()> {
        let rows = self.inner.database.wait_for(self.inner.db.nodes()).await.map_err(|none| match none {
            NoAnswer::Failed(error) => error.into(),
            NoAnswer::Away | NoAnswer::Slow | NoAnswer::Late(_) => anyhow::anyhow!(DATABASE_AWAY),
        })?;
        let entries: BTreeMap<NodeId, Arc<NodeEntry>> =
            rows.into_iter().map(|row| (row.id, Arc::new(NodeEntry::new(row)))).collect();
        self.inner.live.lock().retain(|node, _| entries.contains_key(node));
        self.inner.probing.lock().retain(|node, _| entries.contains_key(node));
        self.inner.entries.store(Arc::new(entries));
        *self.inner.refreshed.lock() = Some(self.inner.clock.now());
        Ok(())
    }

    /// Whether the list is so old that it should be read again now, rather than at the next round of probes.
    fn is_due_for_refresh(&self) -> bool {
        let config = &self.inner.config;
        let refreshed = *self.inner.refreshed.lock();
        let age = refreshed.map(|at| self.inner.clock.now().since(at));
        age.is_none_or(|age| age + config.probe_every / 2 >= config.refresh_every)
    }

    /// Whether there is a list of nodes and each of them was asked once since the start.
    pub(crate) fn were_looked_at(&self) -> bool {
        self.inner.looked_at.load(Ordering::Relaxed)
    }

    /// Ends the first look, if there is a list: nodes that have not answered yet are taken to be there until they fail.
    pub(crate) fn end_first_look(&self) {
        if self.inner.refreshed.lock().is_some() {
            self.inner.looked_at.store(true, Ordering::Relaxed);
        }
    }

    /// All nodes.
    pub(crate) fn entries(&self) -> Arc<BTreeMap<NodeId, Arc<NodeEntry>>> {
        self.inner.entries.load_full()
    }

    /// One node.
    pub(crate) fn entry(&self, node: NodeId) -> Option<Arc<NodeEntry>> {
        self.inner.entries.load().get(&node).cloned()
    }

    /// Where a node is reached.
    pub(crate) fn url(&self, node: NodeId) -> Option<String> {
        self.entry(node).map(|entry| entry.row.url.clone())
    }

    /// Whether a node answered when it was last asked.
    pub(crate) fn is_reachable(&self, node: NodeId) -> bool {
        self.inner.live.lock().get(&node).is_none_or(|live| live.reachable || live.confirmed.is_none())
    }

    /// Nodes for new pieces, with the weights of their draw; those that cannot take one have weight 0.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let now = self.inner.clock.now();
        let entries = self.entries();
        let live = self.inner.live.lock();
        entries
            .values()
            .filter_map(|entry| {
                let row = &entry.row;
                let weight = entry.reputation.as_ref()?.placement_weight(&self.inner.reputation);
                let heard = now.since(row.heartbeat) <= self.inner.config.heartbeat_max;
                let reachable =
                    live.get(&row.id).is_none_or(|live| live.reachable || live.confirmed.is_none());
                let usable = heard && reachable && row.offline.is_none();
                Some(Candidate {
                    node: row.id,
                    net: entry.net?,
                    operator: entry.operator,
                    region: entry.place.as_ref()?.region,
                    free_bytes: row.free_bytes,
                    score: if usable { weight } else { 0.0 },
                })
            })
            .collect()
    }

    /// Nodes as a reader's route sees them.
    pub(crate) fn route_nodes(&self) -> Vec<RouteNode> {
        let entries = self.entries();
        let live = self.inner.live.lock();
        entries
            .values()
            .filter_map(|entry| {
                let known = live.get(&entry.row.id).cloned().unwrap_or_default();
                Some(RouteNode {
                    node: entry.row.id,
                    region: entry.place.as_ref()?.region,
                    online: entry.row.offline.is_none() && entry.standing() != Standing::Disqualified,
                    in_flight: known.in_flight,
                    capacity: 1.0,
                    health: known.health,
                })
            })
            .collect()
    }

    /// Whether a reader may be sent to this node now: it was heard of just now, or answers when asked. Of several callers
    /// one asks and the others wait for its answer.
    pub(crate) async fn confirm(&self, node: NodeId) -> bool {
        if let Some(known) = self.confirmed(node) {
            return known;
        }
        let probing = self.inner.probing.lock().entry(node).or_default().clone();
        let _turn = probing.lock().await;
        match self.confirmed(node) {
            Some(known) => known,
            None => self.probe(node, self.inner.reads.confirm_timeout).await.is_some(),
        }
    }

    fn confirmed(&self, node: NodeId) -> Option<bool> {
        let now = self.inner.clock.now();
        let live = self.inner.live.lock();
        let live = live.get(&node)?;
        (now.since(live.confirmed?) <= self.inner.reads.confirm_after).then_some(live.reachable)
    }

    /// Asks a node how it is; `None` when it did not answer.
    async fn probe(&self, node: NodeId, timeout: Duration) -> Option<Heard> {
        let entry = self.entry(node)?;
        let asked = self.inner.clock.now();
        let answer = self.inner.client.status(&entry.row.url, timeout).await;
        let now = self.inner.clock.now();
        let mut live = self.inner.live.lock();
        let live = live.entry(node).or_default();
        live.confirmed = Some(now);
        let heard = match answer {
            Ok(status) if status.id == node => {
                live.in_flight = status.in_flight;
                live.health.succeeded(now.since(asked), now, &self.inner.ranking);
                Some(Heard::new(now, now.since(asked), status.in_flight))
            }
            Ok(status) => {
                tracing::warn!(%node, other_node = %status.id, url = entry.row.url, "another node answers at this address");
                live.health.failed(now, &self.inner.ranking);
                None
            }
            Err(error) => {
                tracing::debug!(%node, %error, "node does not answer");
                live.health.failed(now, &self.inner.ranking);
                None
            }
        };
        live.reachable = heard.is_some();
        heard
    }

    /// Of all nodes those that have to be asked: the others answered another gateway just now, which is noted. A node that did
    /// not answer this gateway is asked by it.
    async fn unheard(&self) -> Vec<NodeId> {
        let now = self.inner.clock.now();
        let nodes: Vec<NodeId> = self.entries().keys().copied().collect();
        let heard = self.inner.hearsay.fresh(&nodes, now, self.inner.config.probe_every).await;
        let mut live = self.inner.live.lock();
        let mut answered = HashSet::new();
        for (node, heard) in heard {
            let live = live.entry(node).or_default();
            if live.confirmed.is_some() && !live.reachable {
                continue;
            }
            answered.insert(node);
            if live.confirmed.is_none_or(|confirmed| confirmed < heard.at()) {
                live.confirmed = Some(heard.at().min(now));
                live.reachable = true;
                live.in_flight = heard.in_flight;
                live.health.succeeded(heard.latency(), now, &self.inner.ranking);
            }
        }
        nodes.into_iter().filter(|node| !answered.contains(node)).collect()
    }

    /// Notes a request sent to a node, until its next status says how busy it is.
    pub(crate) fn sent_reader(&self, node: NodeId) {
        if let Some(live) = self.inner.live.lock().get_mut(&node) {
            live.in_flight = live.in_flight.saturating_add(1);
        }
    }
}

/// Job: reads the list of nodes and asks each of them how it is.
pub struct ProbeNodes {
    pub(crate) watch: NodeWatch,
}

impl Job for ProbeNodes {
    const NAME: &'static str = "probe_nodes";

    async fn step(&self) -> anyhow::Result<Progress> {
        let refreshed = if self.watch.is_due_for_refresh() { self.watch.refresh().await } else { Ok(()) };
        let watch = &self.watch;
        let timeout = watch.inner.reads.confirm_timeout;
        let probe = async |node: NodeId| Some((node, watch.probe(node, timeout).await?));
        let probes: Vec<_> = watch.unheard().await.into_iter().map(probe).collect();
        let answers = stream::iter(probes).buffer_unordered(watch.inner.config.probes_max);
        let answers: Vec<_> = answers.collect().await;
        watch.inner.hearsay.tell(answers.into_iter().flatten().collect());
        refreshed?;
        self.watch.end_first_look();
        Ok(Progress::Idle)
    }
}
