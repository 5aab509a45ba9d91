//! Asking nodes what their pieces are parts of. A node is what it proves to be with its key; what it says of pieces is put down
//! and believed only when bytes bear it out.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use protocol::{
    api::{InventoryPage, InventoryPiece},
    ids::NodeId,
    node_proof,
    order::Action,
    receipt::Receipt,
    reputation::{Reputation, ReputationRules},
    time::UnixMillis,
};
use store::{FoundPiece, NewNode};

use crate::{Recovery, Summary, Urls};

/// How long an order to list is good: a page is asked for at once.
const ORDER_LIFETIME: Duration = Duration::from_mins(5);

/// A node that was asked.
struct Asked {
    id: NodeId,
    url: String,
    pieces: u64,
    is_new: bool,
}

impl Recovery {
    /// Puts down what all nodes hold: those at these addresses, and those that the database knows. Gives those that answered to
    /// the end.
    pub(crate) async fn take_inventories(
        &self,
        urls: &[String],
        summary: &mut Summary,
        tell: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<Urls> {
        let mut all: BTreeSet<String> =
            urls.iter().map(|url| url.trim_end_matches('/').to_string()).collect();
        all.extend(self.db.nodes().await?.into_iter().map(|node| node.url.trim_end_matches('/').to_string()));
        all.retain(|url| !self.config.without.contains(url));
        let begun = Mutex::new(HashSet::new());
        let begun = &begun;
        let mut asked = stream::iter(all)
            .map(|url| async move {
                let asked =
                    tokio::time::timeout(self.config.inventory_max, self.take_inventory(&url, begun)).await;
                (asked.unwrap_or_else(|_| Err(anyhow::anyhow!("it took too long to list its pieces"))), url)
            })
            .buffer_unordered(self.config.nodes_at_once);
        let mut found = Urls::new();
        while let Some((outcome, url)) = asked.next().await {
            match outcome {
                Ok(Asked { id, url, pieces, is_new }) => {
                    tell(&format!("node {id} at {url} holds {pieces} pieces"));
                    let urls: &mut Vec<String> = found.entry(id).or_default();
                    if urls.is_empty() {
                        summary.nodes += 1;
                        summary.nodes_new += u64::from(is_new);
                    }
                    summary.pieces += pieces;
                    urls.push(url);
                }
                Err(error) => {
                    tell(&format!("{url} gave no inventory: {error:#}"));
                    summary.absent.push((url, format!("{error:#}")));
                }
            }
        }
        Ok(found)
    }

    async fn take_inventory(&self, url: &str, begun: &Mutex<HashSet<NodeId>>) -> anyhow::Result<Asked> {
        let nonce = hex::encode(self.dice.bytes::<16>());
        let identity = self.nodes.identity(url, &nonce).await.context("ask who it is")?;
        let id = node_proof::check(&identity.proof, "GET", "/v1/identity", self.now(), nonce.as_bytes())
            .context("it does not prove who it is")?;
        // Pieces that it has no longer are not to be looked for there. Somebody else may have passed its proof on: what it lists at
        // one address is not forgotten for what it lists at another.
        if begun.lock().insert(id) {
            self.db.forget_found(id).await?;
        }
        let mut listed = 0;
        let (mut after, mut pieces, mut is_new) = (None, 0, false);
        loop {
            let order = self.signer.order(id, Action::List, 0, ORDER_LIFETIME);
            let page = self.nodes.inventory(url, &order, after, self.config.page).await?;
            if after.is_none() {
                is_new = self.know_node(id, url, &page).await?;
            }
            anyhow::ensure!(
                page.pieces.len() <= self.config.page as usize,
                "it lists more than it was asked for"
            );
            let found: Vec<FoundPiece> = page.pieces.iter().filter_map(|piece| found(id, piece)).collect();
            pieces += found.len() as u64;
            listed += page.pieces.len() as u64 + 1;
            anyhow::ensure!(
                listed <= self.config.pieces_max,
                "it lists more than {} pieces",
                self.config.pieces_max
            );
            self.db.add_found(&found).await?;
            let Some(next) = page.next else { break };
            anyhow::ensure!(after.is_none_or(|after| after < next), "its inventory is not in order");
            after = Some(next);
        }
        Ok(Asked { id, url: url.to_string(), pieces, is_new })
    }

    /// Records a node that the database does not know, as its receipt has it. One without a receipt is its own operator.
    async fn know_node(&self, id: NodeId, url: &str, page: &InventoryPage) -> anyhow::Result<bool> {
        let network = self.signer.public_key();
        let receipt = page.receipt.as_ref().and_then(|text| Receipt::verify(&network, id, text).ok());
        let now = self.now();
        let enrolled = receipt.as_ref().map_or(now, |receipt| receipt.enrolled);
        let operator =
            receipt.as_ref().map_or_else(|| format!("unknown-{id}"), |receipt| receipt.operator.clone());
        let rules = ReputationRules::default();
        let reputation = Reputation::new(enrolled, &rules);
        let status = self.nodes.status(url, Duration::from_secs(10)).await?;
        let place = |what: fn(&Receipt) -> Option<f64>| receipt.as_ref().and_then(what);
        let node = NewNode {
            id,
            url: url.to_string(),
            address: address_of(url).await?.to_string(),
            region: receipt.as_ref().map_or_else(|| "unknown".into(), |receipt| receipt.region.clone()),
            country: receipt.as_ref().and_then(|receipt| receipt.country.clone()),
            latitude: place(|receipt| receipt.latitude),
            longitude: place(|receipt| receipt.longitude),
            // It tells the rest with its next heartbeat.
            version: String::new(),
            capacity_bytes: status.free_bytes,
            reputation: serde_json::to_string(&reputation)?,
            standing: reputation.standing.name().to_string(),
        };
        Ok(self.db.readmit(&node, &operator, enrolled, now).await?)
    }

    /// Compares what was found with the segments of `known`.
    pub(crate) async fn count_segments(
        &self,
        known: &store::Db,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let ids = self.db.found_after(after, 500).await?;
            let Some(last) = ids.last().copied() else { return Ok(()) };
            after = Some(last);
            let infos = known.segments_info(&ids).await?;
            let infos: HashSet<_> = infos.into_iter().map(|info| info.id).collect();
            for id in ids {
                if infos.contains(&id) {
                    summary.segments_known += 1;
                    continue;
                }
                let pieces = self.db.found_pieces(id).await?;
                let indices: BTreeSet<u8> = pieces.iter().map(|piece| piece.index).collect();
                let needed = pieces.first().map_or(1, |piece| usize::from(piece.scheme.needed()));
                if indices.len() < needed {
                    summary.unreadable(id, &[(indices.len(), needed)]);
                } else {
                    summary.segments_restored += 1;
                }
            }
        }
    }
}

/// A line of an inventory that is possible. Damaged pieces are not counted on: a repair makes them anew.
fn found(node: NodeId, piece: &InventoryPiece) -> Option<FoundPiece> {
    let scheme: erasure::Scheme = piece.scheme.parse().ok()?;
    let length_fits = (1..=protocol::piece::SEGMENT_MAX).contains(&piece.segment_bytes);
    let is_possible = length_fits && piece.index < scheme.total() && !piece.corrupt;
    is_possible.then_some(FoundPiece {
        node,
        hash: piece.hash,
        segment: piece.segment,
        index: piece.index,
        scheme,
        segment_bytes: piece.segment_bytes,
        stored: UnixMillis(piece.stored.0),
    })
}

/// The IP address behind a node's URL.
async fn address_of(url: &str) -> anyhow::Result<IpAddr> {
    let uri: http::Uri = url.parse().with_context(|| format!("{url:?} is not a url"))?;
    let host = uri.host().with_context(|| format!("{url:?} has no host"))?.trim_matches(['[', ']']);
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let port = uri.port_u16().unwrap_or(443);
    let mut found = tokio::net::lookup_host((host, port)).await.with_context(|| format!("look up {host}"))?;
    found.next().map(|address| address.ip()).with_context(|| format!("{host} has no address"))
}
