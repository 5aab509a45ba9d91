//! `/v1/nodes`: what nodes tell and ask, and what everybody may know of them.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use client::NodeClient;
use content::Cid;
use protocol::{
    api::{
        Earnings, EarningsHour, EnrolAnswer, EnrolRequest, HeartbeatAnswer, HeartbeatRequest, LOCATE_MAX,
        LocateAnswer, LocateRequest, NodeInfo, NodeList, REDEEM_MAX, RedeemAnswer, RedeemEntry,
        RedeemRequest,
    },
    ids::{NodeId, PieceHash, Serial},
    node_proof::{self, NODE_PROOF_HEADER},
    order::{Action, Order, Purpose},
    pay::Kind,
    receipt::Receipt,
    reputation::{Reputation, Standing, Tally},
    ticket::Ticket,
    time::{HOUR_MS, UnixMillis},
};
use serde::de::DeserializeOwned;
use service::http::error::ApiError;
use shared::Notice;
use store::{Earning, Event, Heartbeat, InviteError, LedgerKind, NewNode, NodeRow, PieceSlot};

use super::time_text::rfc3339;
use crate::{app::Gateway, auth, database::store_failed, routing::UNKNOWN_REGION};

/// Lines of a node's ledger that are shown.
const HOURS_SHOWN: u32 = 200;

/// Checks the signature of a node's request and reads its body.
fn signed<T: DeserializeOwned>(
    gateway: &Gateway,
    headers: &HeaderMap,
    path: &str,
    body: &Bytes,
) -> Result<(NodeId, T), ApiError> {
    let proof = headers.get(NODE_PROOF_HEADER).and_then(|value| value.to_str().ok());
    let proof = proof.ok_or_else(|| {
        ApiError::new(StatusCode::UNAUTHORIZED, "node_proof_missing", "only nodes may ask this")
    })?;
    let node = node_proof::check(proof, "POST", path, gateway.clock.now(), body)
        .map_err(|error| ApiError::new(StatusCode::UNAUTHORIZED, "node_proof_refused", error))?;
    let request = serde_json::from_slice(body).map_err(|error| ApiError::bad_request("bad_json", error))?;
    Ok((node, request))
}

/// `POST /v1/nodes/enrol`: a node joins, or moves to another address.
pub(super) async fn enrol(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<EnrolAnswer>, ApiError> {
    let (node, request): (NodeId, EnrolRequest) = signed(&gateway, &headers, "/v1/nodes/enrol", &body)?;
    gateway.database.present()?;
    let invite_hash = request.invite.as_deref().map(auth::hash);
    // Before its URL is called: not everybody may make this gateway call wherever they like.
    let admitted = gateway.db.may_enrol(node, invite_hash.as_deref(), gateway.clock.now()).await;
    let receipt = request.receipt.as_deref();
    let receipt = receipt.and_then(|text| Receipt::verify(&gateway.signer.public_key(), node, text).ok());
    let admitted = admitted.map_err(store_failed)?;
    if !admitted && receipt.is_none() {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "invite_refused", InviteError::Refused));
    }
    let address = address_of(&request.url).await?;
    call_back(&gateway, node, &request.url).await?;
    let place = gateway.routing.geoip.lookup(address);
    let region = place.map_or_else(|| UNKNOWN_REGION.to_string(), |place| place.region.to_string());
    let now = gateway.clock.now();
    let reputation = Reputation::new(now, &gateway.config.reputation);
    let new = NewNode {
        id: node,
        url: request.url,
        address: address.to_string(),
        region: region.clone(),
        country: place.and_then(|place| place.country).map(|country| country.as_str().to_string()),
        latitude: place.and_then(|place| place.coordinates).map(|point| point.latitude),
        longitude: place.and_then(|place| place.coordinates).map(|point| point.longitude),
        version: request.version,
        capacity_bytes: request.capacity_bytes,
        standing: reputation.standing.name().to_string(),
        reputation: serde_json::to_string(&reputation).map_err(anyhow::Error::from)?,
    };
    if let Some(receipt) = receipt.filter(|_| !admitted) {
        readmit(&gateway, &new, &receipt).await?;
    }
    let enrolled = gateway.db.enrol(&new, invite_hash.as_deref(), now).await.map_err(store_failed)?;
    enrolled.map_err(|error| match error {
        InviteError::Refused => ApiError::new(StatusCode::FORBIDDEN, "invite_refused", error),
    })?;
    gateway.nodes.refresh().await?;
    gateway.notices.tell(Notice::NodesChanged);
    tracing::info!(%node, url = new.url, region, "node enrolled");
    let network_key = data_encoding::HEXLOWER.encode(gateway.signer.public_key().as_bytes());
    let receipt = receipt_for(&gateway, node).await?;
    Ok(Json(EnrolAnswer { network_key, region, receipt }))
}

/// Lets a node in again that the database has lost. Where one is missing more may be: nothing is collected from then on.
async fn readmit(gateway: &Gateway, new: &NewNode, receipt: &Receipt) -> Result<(), ApiError> {
    let (db, now) = (&gateway.db, gateway.clock.now());
    let why = format!("node {} was enrolled at {} and is not known here", new.id, receipt.enrolled);
    if db.hold_collection(now, &why).await.map_err(store_failed)? {
        tracing::error!("nothing is collected any more: {why}; see \"Recover\" in docs/operations.md");
    }
    db.readmit(new, &receipt.operator, receipt.enrolled, now).await.map_err(store_failed)?;
    Ok(())
}

/// What the node keeps for the case that this database is lost.
async fn receipt_for(gateway: &Gateway, node: NodeId) -> Result<Option<String>, ApiError> {
    let row = gateway.db.node(node).await.map_err(store_failed)?;
    let receipt = |row: NodeRow| Receipt {
        node,
        operator: row.operator,
        enrolled: row.enrolled,
        region: row.region,
        country: row.country,
        latitude: row.latitude,
        longitude: row.longitude,
    };
    Ok(row.map(|row| receipt(row).sign(gateway.signer.key())))
}

/// The IP address behind a node's URL.
async fn address_of(url: &str) -> Result<IpAddr, ApiError> {
    let bad = |why: &str| ApiError::bad_request("bad_url", format!("{url:?}: {why}"));
    let parsed = url::Url::parse(url).map_err(|error| bad(&error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(bad("must be http or https"));
    }
    let port = parsed.port_or_known_default().ok_or_else(|| bad("has no port"))?;
    let host = parsed.host().ok_or_else(|| bad("has no host"))?;
    match host {
        url::Host::Ipv4(ip) => Ok(ip.into()),
        url::Host::Ipv6(ip) => Ok(ip.into()),
        url::Host::Domain(name) => {
            let mut found =
                tokio::net::lookup_host((name, port)).await.map_err(|error| bad(&error.to_string()))?;
            found.next().map(|address| address.ip()).ok_or_else(|| bad("has no address"))
        }
    }
}

/// Asks whoever answers at the URL to prove that it is the node.
async fn call_back(gateway: &Gateway, node: NodeId, url: &str) -> Result<(), ApiError> {
    let nonce = data_encoding::HEXLOWER.encode(&gateway.dice.bytes::<16>());
    let unreachable = |why: String| {
        let text = format!("the node could not be reached at {url}: {why}");
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "node_unreachable", text)
    };
    let answer = NodeClient::new(gateway.transport.clone()).identity(url, &nonce).await;
    let identity = answer.map_err(|error| unreachable(error.to_string()))?;
    let now = gateway.clock.now();
    let proven = node_proof::check(&identity.proof, "GET", "/v1/identity", now, nonce.as_bytes());
    match proven {
        Ok(id) if id == node => Ok(()),
        Ok(id) => Err(unreachable(format!("node {id} answers there"))),
        Err(error) => Err(unreachable(error.to_string())),
    }
}

/// `POST /v1/nodes/heartbeat`.
pub(super) async fn heartbeat(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<HeartbeatAnswer>, ApiError> {
    let (node, beat): (NodeId, HeartbeatRequest) = signed(&gateway, &headers, "/v1/nodes/heartbeat", &body)?;
    gateway.database.present()?;
    let now = gateway.clock.now();
    let row = Heartbeat {
        version: beat.version,
        capacity_bytes: beat.capacity_bytes,
        used_bytes: beat.used_bytes,
        free_bytes: beat.free_bytes,
        piece_count: beat.piece_count,
    };
    if !gateway.db.heartbeat(node, &row, now).await.map_err(store_failed)? {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "not_enrolled",
            format!("node {node} is not enrolled"),
        ));
    }
    if !beat.problems.is_empty() {
        admit(&gateway, node, &beat.problems).await?;
    }
    let standing = gateway.nodes.entry(node).map_or(Standing::Vetting, |entry| entry.standing());
    Ok(Json(HeartbeatAnswer { now, standing: standing.name().to_string() }))
}

/// A node admits that it lost pieces: they are taken from it at once, for less than being found out costs.
async fn admit(gateway: &Gateway, node: NodeId, hashes: &[PieceHash]) -> Result<(), ApiError> {
    let now = gateway.clock.now();
    let mut lost = Vec::new();
    for hash in hashes.iter().take(LOCATE_MAX) {
        let held = gateway.db.held_pieces(node, *hash, 1).await.map_err(store_failed)?;
        lost.extend(
            held.into_iter().filter(|piece| piece.hash == *hash).map(|piece| (piece.slot, piece.hash)),
        );
    }
    let slots: Vec<(PieceSlot, _)> = lost;
    let taken = gateway.db.lose_pieces(node, &slots, now).await.map_err(store_failed)?;
    if taken == 0 {
        return Ok(());
    }
    tracing::warn!(%node, pieces = taken, "node admits lost pieces");
    metrics::counter!("pinstripe_pieces_admitted_lost_total").increment(taken);
    note_admitted(gateway, node, &slots, now).await;
    for (slot, _) in &slots {
        // Urgency 0: looked at next; the monitor classifies the segment and works the real one out.
        gateway.db.queue_repair(slot.segment, 0.0, now).await.map_err(store_failed)?;
    }
    let admitted = u32::try_from(taken).unwrap_or(u32::MAX);
    blame(gateway, node, &Tally { admitted, ..Tally::default() }).await
}

/// Tells operators which pieces a node owned up to.
async fn note_admitted(gateway: &Gateway, node: NodeId, slots: &[(PieceSlot, PieceHash)], at: UnixMillis) {
    let event = |(slot, hash): &(PieceSlot, PieceHash)| {
        let segment = slot.segment;
        tracing::warn!(%node, %segment, index = slot.index, piece = %hash, "piece lost: its node says so");
        let details = format!("piece {} of {segment}, {hash}: its node says that it lost it", slot.index);
        let event =
            Event { at, kind: "piece_lost".into(), node: Some(node), segment: Some(segment), details };
        (data_encoding::HEXLOWER.encode(&gateway.dice.bytes::<16>()), event)
    };
    let events: Vec<(String, Event)> = slots.iter().map(event).collect();
    if let Err(error) = gateway.db.record_events(&events).await {
        tracing::warn!(%node, %error, "admitted losses could not be noted");
    }
}

/// Writes a tally into a node's reputation, again when somebody else wrote meanwhile.
async fn blame(gateway: &Gateway, node: NodeId, tally: &Tally) -> Result<(), ApiError> {
    for _ in 0..5 {
        let Some(row) = gateway.db.node(node).await.map_err(store_failed)? else { return Ok(()) };
        let Ok(mut reputation) = serde_json::from_str::<Reputation>(&row.reputation) else { return Ok(()) };
        reputation.record(tally, gateway.clock.now(), &gateway.config.reputation);
        let text = serde_json::to_string(&reputation).map_err(anyhow::Error::from)?;
        let written = gateway.db.set_reputation(node, row.revision, reputation.standing.name(), &text).await;
        if written.map_err(store_failed)? {
            return Ok(());
        }
    }
    tracing::warn!(%node, "reputation was too busy to note admitted losses");
    Ok(())
}

async fn is_enrolled(gateway: &Gateway, node: NodeId) -> Result<bool, ApiError> {
    let row = gateway.database.wait_for(gateway.db.node(node)).await?;
    Ok(row.is_some())
}

/// `POST /v1/nodes/locate`.
pub(super) async fn locate(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<LocateAnswer>, ApiError> {
    let (node, request): (NodeId, LocateRequest) = signed(&gateway, &headers, "/v1/nodes/locate", &body)?;
    // A node that joined a moment ago is not on the list yet, and a gateway that has just started has none.
    let known = gateway.nodes.entry(node).is_some() || is_enrolled(&gateway, node).await?;
    if !known {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "not_enrolled",
            format!("node {node} is not enrolled"),
        ));
    }
    if request.cids.len() > LOCATE_MAX {
        return Err(ApiError::bad_request("too_many_cids", format!("at most {LOCATE_MAX} at once")));
    }
    let cids: Result<Vec<Cid>, ApiError> =
        request.cids.iter().map(|cid| super::files::parse_cid(cid)).collect();
    let mut cids = cids?;
    // A node without this list of its own cannot be asked for what it denies instead.
    cids.retain(|cid| gateway.blocks.denylist().denied(cid).is_none());
    let root = request.root.as_deref().map(super::files::parse_cid).transpose()?;
    let answer = gateway.locator.answer(&cids, root.as_ref()).await;
    Ok(Json(answer.map_err(|error| ApiError::unavailable("store_unavailable", error, 5))?))
}

/// Bytes that a node sent, by what for.
#[derive(Default)]
struct Sent {
    read: u64,
    repair: u64,
    audit: u64,
}

impl Sent {
    fn add(&mut self, purpose: Purpose, bytes: u64) {
        let sum = match purpose {
            Purpose::Read => &mut self.read,
            Purpose::Repair => &mut self.repair,
            Purpose::Audit => &mut self.audit,
        };
        *sum = sum.saturating_add(bytes);
    }

    fn earnings(&self) -> Vec<Earning> {
        let all = [
            (LedgerKind::Egress, self.read),
            (LedgerKind::RepairEgress, self.repair),
            (LedgerKind::AuditEgress, self.audit),
        ];
        let earned = all.into_iter().filter(|(_, quantity)| *quantity > 0);
        earned.map(|(kind, quantity)| Earning { kind, quantity }).collect()
    }
}

fn paid_as(kind: LedgerKind) -> Kind {
    match kind {
        LedgerKind::Storage => Kind::Storage,
        LedgerKind::Egress => Kind::Egress,
        LedgerKind::RepairEgress => Kind::RepairEgress,
        LedgerKind::AuditEgress => Kind::AuditEgress,
    }
}

/// `POST /v1/nodes/redeem`: books one hour of a node's traffic.
pub(super) async fn redeem(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<RedeemAnswer>, ApiError> {
    let (node, request): (NodeId, RedeemRequest) = signed(&gateway, &headers, "/v1/nodes/redeem", &body)?;
    gateway.database.present()?;
    if request.entries.len() > REDEEM_MAX {
        return Err(ApiError::bad_request("too_many_entries", format!("at most {REDEEM_MAX} at once")));
    }
    let now = gateway.clock.now();
    if request.hour != request.hour.hour() || now.0 < request.hour.0.saturating_add(HOUR_MS) {
        return Err(ApiError::bad_request("bad_hour", "hour must be the start of an hour that is over"));
    }
    let key = gateway.signer.public_key();
    let hour = request.hour;
    // Tens of thousands of signatures take seconds.
    let counted = tokio::task::spawn_blocking(move || {
        let mut seen: HashSet<Serial> = HashSet::new();
        let (mut sent, mut refused) = (Sent::default(), 0);
        for RedeemEntry { token, bytes } in &request.entries {
            let redeemed = Order::verify(&key, token)
                .ok()
                .filter(|order| order.node == node)
                .and_then(|order| match order.action {
                    Action::Get(_, purpose) => Some((order.serial, order.issued, order.bytes_max, purpose)),
                    _ => None,
                })
                .or_else(|| {
                    let ticket = Ticket::verify(&key, node, token).ok()?;
                    Some((ticket.serial, ticket.issued, ticket.bytes_max, Purpose::Read))
                });
            match redeemed {
                Some((serial, issued, limit, purpose)) if issued.hour() == hour && seen.insert(serial) => {
                    sent.add(purpose, (*bytes).min(limit));
                }
                _ => refused += 1,
            }
        }
        (sent, refused)
    });
    let (sent, refused) = counted.await.map_err(anyhow::Error::from)?;
    let rates = gateway.live.get().rates;
    let settled = gateway
        .db
        .settle_window(node, hour, &sent.earnings(), now, |earning, carry| {
            let accrued = rates.accrue(paid_as(earning.kind), earning.quantity.into(), carry);
            accrued.map_or((0, carry), |accrued| (accrued.amount.0, accrued.carry))
        })
        .await
        .map_err(store_failed)?;
    Ok(Json(RedeemAnswer { settled, refused }))
}

/// `GET /v1/nodes`: public.
pub(super) async fn list(State(gateway): State<Gateway>) -> Json<NodeList> {
    let entries = gateway.nodes.entries();
    let mut regions: BTreeMap<String, u32> = BTreeMap::new();
    let mut nodes: Vec<NodeInfo> = entries
        .values()
        .map(|entry| {
            let row = &entry.row;
            let online = row.offline.is_none() && gateway.nodes.is_reachable(row.id);
            *regions.entry(row.region.clone()).or_default() += u32::from(online);
            NodeInfo {
                id: row.id,
                url: row.url.clone(),
                region: row.region.clone(),
                country: row.country.clone(),
                status: if online { "online" } else { "offline" }.to_string(),
                standing: entry.standing().name().to_string(),
                capacity_bytes: row.capacity_bytes,
                used_bytes: row.used_bytes,
                audit_score: entry.reputation.as_ref().map_or(0.0, |reputation| reputation.audit.score()),
                last_contact: rfc3339(row.contact.max(row.heartbeat)),
            }
        })
        .collect();
    nodes.sort_by_key(|node| node.id);
    Json(NodeList { nodes, regions })
}

/// `GET /v1/nodes/{id}/earnings`: public, so that an operator can check it and so can everybody else.
pub(super) async fn earnings(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
) -> Result<Json<Earnings>, ApiError> {
    let node: NodeId = id.parse().map_err(|error| ApiError::bad_request("bad_node_id", error))?;
    if gateway.db.node(node).await.map_err(store_failed)?.is_none() {
        return Err(ApiError::not_found("unknown_node", format!("there is no node {node}")));
    }
    let by_kind: BTreeMap<String, u64> =
        gateway.db.earned(node).await.map_err(store_failed)?.into_iter().collect();
    let lines = gateway.db.ledger(node, HOURS_SHOWN).await.map_err(store_failed)?;
    let hours = lines.into_iter().map(|line| EarningsHour {
        hour: rfc3339(line.hour),
        kind: line.kind,
        quantity: line.quantity,
        micros: line.micros,
    });
    Ok(Json(Earnings { node, total_micros: by_kind.values().sum(), by_kind, hours: hours.collect() }))
}
