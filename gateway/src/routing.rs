//! Sending a reader to the best node of its region, with a ticket.

use std::{net::IpAddr, sync::Arc};

use content::Cid;
use protocol::{
    ids::{NodeId, Serial},
    ranking::{self, RankingRules, Readiness},
    region::{Place, Region},
    ticket::Ticket,
    time::UnixMillis,
};
use service::{clock::Clock, dice::Dice, signer::Signer};

use crate::{
    config::ReadsConfig,
    geoip::GeoIp,
    nodes::{NodeEntry, NodeWatch},
};

/// Nodes asked before the gateway serves the reader itself.
const NODES_TRIED_MAX: usize = 4;
/// Tickets remembered for being handed out again.
const TICKETS_MAX: u64 = 50_000;
/// How often a ticket is handed out again: what is popular needs no new signature for each reader.
const READERS_PER_TICKET: u64 = 64;
/// A ticket pays at least for this many bytes.
const TICKET_BYTES_MIN: u64 = 1 << 20;

/// Decides where readers go.
#[derive(Clone)]
pub(crate) struct Routing {
    pub(crate) nodes: NodeWatch,
    pub(crate) geoip: GeoIp,
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) rules: RankingRules,
    pub(crate) config: ReadsConfig,
    /// With the time from which on each is not handed out any more.
    tickets: moka::sync::Cache<(Cid, NodeId), (UnixMillis, Arc<str>)>,
}

/// What a [`Routing`] is made of.
pub(crate) struct RoutingParts {
    pub(crate) nodes: NodeWatch,
    pub(crate) geoip: GeoIp,
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) rules: RankingRules,
    pub(crate) config: ReadsConfig,
}

impl Routing {
    pub(crate) fn new(parts: RoutingParts) -> Self {
        let RoutingParts { nodes, geoip, signer, clock, dice, rules, config } = parts;
        let tickets = moka::sync::Cache::builder()
            .max_capacity(TICKETS_MAX)
            .time_to_live(config.ticket_lifetime / 2)
            .build();
        Self { nodes, geoip, signer, clock, dice, rules, config, tickets }
    }

    /// Where a reader is. Somebody whose place is unknown is anywhere: all nodes are equally near.
    pub(crate) fn place_of(&self, ip: IpAddr) -> Place {
        self.geoip.lookup(ip).unwrap_or_else(nowhere)
    }

    /// The best node that answers; `None` when a few of the best do not.
    pub(crate) async fn choose(&self, root: &Cid, reader: &Place) -> Option<Arc<NodeEntry>> {
        let nodes = self.nodes.route_nodes();
        let ranked = ranking::rank(root.multihash(), reader, &nodes, self.clock.now(), &self.rules);
        let able = ranked.iter().filter(|place| place.readiness != Readiness::Down);
        for place in able.take(NODES_TRIED_MAX) {
            let node = nodes[place.index].node;
            if self.nodes.confirm(node).await {
                self.nodes.sent_reader(node);
                return self.nodes.entry(node);
            }
        }
        None
    }

    /// A ticket for reading what is under `root` from `node`.
    pub(crate) fn ticket(&self, root: &Cid, node: NodeId, size_bytes: u64) -> Arc<str> {
        let now = self.clock.now();
        let make = || {
            let ticket = Ticket {
                node,
                serial: Serial(self.dice.bytes()),
                issued: now,
                expires: now + self.config.ticket_lifetime,
                bytes_max: size_bytes.max(TICKET_BYTES_MIN).saturating_mul(READERS_PER_TICKET),
                cid: root.as_bytes().to_vec(),
            };
            (now + self.config.ticket_lifetime / 2, ticket.sign(self.signer.key()).into())
        };
        // The cache's own time is the machine's. What is valid is decided by the clock that the ticket is signed with.
        let entry =
            self.tickets.entry((root.clone(), node)).or_insert_with_if(make, |(until, _)| *until <= now);
        entry.into_value().1
    }
}

/// The region of whoever no database knows.
pub(crate) const UNKNOWN_REGION: &str = "unknown";

/// The place of whoever no database knows.
pub(crate) fn nowhere() -> Place {
    let region: Region = UNKNOWN_REGION.parse().expect("it is a short lower-case word");
    Place::of_region(region)
}
