//! Where blocks are when the database is away: nodes are asked for what the network once signed of it ([`Places`]). A miss
//! costs a bounded number of questions, and a node that answers wrongly is passed over.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use client::NodeClient;
use content::Cid;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use protocol::{
    api::PlacesRequest,
    order::Action,
    places::Places,
    ranking::{self, RankingRules, Readiness},
    region::Place,
    time::UnixMillis,
};
use service::{clock::Clock, signer::Signer};
use tokio::sync::Semaphore;

use super::STALE;
use crate::{
    config::DirectoryConfig,
    nodes::{NodeEntry, NodeWatch},
    routing::UNKNOWN_REGION,
};

/// How long an order to tell places holds: one question.
const ORDER_LIFETIME: Duration = Duration::from_mins(1);

/// Asks nodes; cheap to clone.
#[derive(Clone)]
pub(crate) struct Directory {
    inner: Arc<Inner>,
}

struct Inner {
    nodes: NodeWatch,
    client: NodeClient,
    signer: Signer,
    clock: Clock,
    rules: RankingRules,
    config: DirectoryConfig,
    own: Place,
    slots: Semaphore,
}

/// A block that is looked for.
pub(super) struct Unsure {
    pub(super) cid: Cid,
    /// When what is known of its place already was said; only something newer ends the search.
    pub(super) known: Option<UnixMillis>,
}

/// What a [`Directory`] is made of.
pub(crate) struct DirectoryParts {
    pub(crate) nodes: NodeWatch,
    pub(crate) client: NodeClient,
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
    pub(crate) rules: RankingRules,
    pub(crate) config: DirectoryConfig,
    /// Where this gateway is.
    pub(crate) own: Place,
}

impl Directory {
    pub(crate) fn new(parts: DirectoryParts) -> Self {
        let DirectoryParts { nodes, client, signer, clock, rules, config, own } = parts;
        let slots = Semaphore::new(config.questions_max.min(Semaphore::MAX_PERMITS));
        Self { inner: Arc::new(Inner { nodes, client, signer, clock, rules, config, own, slots }) }
    }

    /// What nodes were told of these blocks, which are read below `root`, as far as the network signed it and it is not too
    /// old. Some may be missing, and some may be in several of them.
    pub(super) async fn look_up(&self, unsure: Vec<Unsure>, root: &Cid) -> Vec<Places> {
        let inner = &*self.inner;
        let missing: HashMap<Cid, Option<UnixMillis>> =
            unsure.into_iter().map(|Unsure { cid, known }| (cid, known)).collect();
        let missing = Mutex::new(missing);
        let mut found = Vec::new();
        let all = async {
            for nodes in self.nodes_to_ask(root) {
                let questions = nodes.into_iter().map(|node| self.ask(node, &missing));
                let mut answers = stream::iter(questions).buffer_unordered(inner.config.at_once);
                while let Some(answer) = answers.next().await {
                    let mut missing = missing.lock();
                    for places in &answer {
                        for block in &places.blocks {
                            if missing.get(&block.cid).is_some_and(|known| *known < Some(places.time)) {
                                missing.remove(&block.cid);
                            }
                        }
                    }
                    found.extend(answer);
                    if missing.is_empty() {
                        return;
                    }
                }
            }
        };
        if tokio::time::timeout(inner.config.within, all).await.is_err() {
            tracing::debug!("nodes took too long to say where blocks are");
        }
        found
    }

    /// Nodes of this region that are asked, and some of others that are asked when those do not know; in either, those that
    /// readers of the root are sent to come first, since they were told most of what lies below it.
    fn nodes_to_ask(&self, root: &Cid) -> [Vec<Arc<NodeEntry>>; 2] {
        let inner = &*self.inner;
        let nodes = inner.nodes.route_nodes();
        let ranked = ranking::rank(root.multihash(), &inner.own, &nodes, inner.clock.now(), &inner.rules);
        let is_up = |place: &ranking::Ranked| {
            place.readiness != Readiness::Down && inner.nodes.is_reachable(nodes[place.index].node)
        };
        let ids = ranked.iter().filter(|place| is_up(place)).map(|place| place.index);
        // A gateway that does not know where it is takes all nodes for near ones.
        let is_near = |index: &usize| {
            let region = inner.own.region;
            region == nodes[*index].region || region.as_str() == UNKNOWN_REGION
        };
        let (near, far): (Vec<usize>, Vec<usize>) = ids.partition(is_near);
        let some = |indices: Vec<usize>, max: usize| {
            let entries = indices.into_iter().filter_map(|index| inner.nodes.entry(nodes[index].node));
            entries.take(max).collect()
        };
        [some(near, inner.config.own_region_max), some(far, inner.config.elsewhere_max)]
    }

    /// What one node says of those that are still missing when it is its turn.
    async fn ask(
        &self,
        node: Arc<NodeEntry>,
        missing: &Mutex<HashMap<Cid, Option<UnixMillis>>>,
    ) -> Vec<Places> {
        let inner = &*self.inner;
        let Ok(_slot) = inner.slots.acquire().await else { return Vec::new() };
        let cids: Vec<Cid> = missing.lock().keys().cloned().collect();
        let request = PlacesRequest { cids: cids.iter().map(Cid::to_string).collect() };
        let Ok(question) = serde_json::to_vec(&request) else { return Vec::new() };
        let digest = *blake3::hash(&question).as_bytes();
        let (id, timeout) = (node.row.id, inner.config.timeout);
        let order = inner.signer.order(id, Action::Places(digest), 0, ORDER_LIFETIME);
        let call = inner.client.places(&node.row.url, &order, Bytes::from(question), timeout);
        let answer = match tokio::time::timeout(timeout, call).await {
            Ok(Ok(answer)) => answer.places,
            Ok(Err(error)) => {
                tracing::debug!(node = %id, %error, "node does not say where blocks are");
                return none("failed");
            }
            Err(_) => return none("failed"),
        };
        if answer.is_empty() {
            return none("nothing");
        }
        let directory = self.clone();
        let checked = tokio::task::spawn_blocking(move || directory.checked(&cids, &answer)).await;
        let Ok(Some(found)) = checked else {
            tracing::warn!(node = %id, "node says of places what the network did not sign");
            return none("wrong");
        };
        if found.is_empty() {
            return none("nothing");
        }
        count("found");
        found
    }

    /// What of an answer is about these blocks and not too old; `None` when any of it is not the network's word.
    fn checked(&self, cids: &[Cid], answer: &[String]) -> Option<Vec<Places>> {
        let now = self.inner.clock.now();
        let key = self.inner.signer.public_key();
        let asked: HashSet<&Cid> = cids.iter().collect();
        let mut found = Vec::new();
        // More than one for each block would be of no use, and signatures take time.
        for text in answer.iter().take(cids.len()) {
            let places = Places::verify(&key, text).ok()?;
            let is_usable = now.since(places.time) <= STALE && !places.is_from_the_future(now);
            if is_usable && places.blocks.iter().any(|block| asked.contains(&block.cid)) {
                found.push(places);
            }
        }
        Some(found)
    }
}

fn none(outcome: &'static str) -> Vec<Places> {
    count(outcome);
    Vec::new()
}

fn count(outcome: &'static str) {
    metrics::counter!("pinstripe_directory_questions_total", "outcome" => outcome).increment(1);
}
