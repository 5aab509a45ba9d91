//! What nodes ask and tell: enrolling, heartbeats, places of blocks, pay.

use axum::http::{Method, StatusCode};
use ed25519_dalek::SigningKey;
use protocol::{
    api::{
        Earnings, EnrolAnswer, EnrolRequest, HeartbeatAnswer, HeartbeatRequest, LocateAnswer, LocateRequest,
        NodeList, REDEEM_MAX, RedeemAnswer, RedeemEntry, RedeemRequest,
    },
    ids::{PieceHash, Serial},
    node_proof::{NODE_PROOF_HEADER, prove},
    order::{Action, Order, Purpose},
    receipt::Receipt,
    ticket::Ticket,
    time::{HOUR_MS, UnixMillis},
};
use serde::Serialize;
use serde_json::json;
use testing::Mode;

use super::world::{Answer, World, json_request, patterned, until};

/// A request signed by a node.
pub(super) async fn signed(world: &World, key: &SigningKey, path: &str, body: &impl Serialize) -> Answer {
    let body = serde_json::to_value(body).unwrap();
    let proof = prove(key, "POST", path, world.gateway.clock.now(), body.to_string().as_bytes());
    let mut request = json_request(Method::POST, path, None, &body);
    request.headers_mut().insert(NODE_PROOF_HEADER, proof.parse().unwrap());
    world.send(request).await
}

fn parse<T: serde::de::DeserializeOwned>(answer: &Answer) -> T {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

fn enrol_request(url: &str, invite: Option<&str>) -> EnrolRequest {
    EnrolRequest {
        url: url.into(),
        capacity_bytes: 1 << 40,
        version: "1".into(),
        invite: invite.map(Into::into),
        receipt: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_with_an_invitation() {
    let world = World::with_strangers(20, 2, |_| {}).await;
    let [node, other] = [&world.network.nodes()[20], &world.network.nodes()[21]];
    let enrol = async |key: &SigningKey, url: &str, invite: Option<&str>| {
        signed(&world, key, "/v1/nodes/enrol", &enrol_request(url, invite)).await
    };
    let refused = (403, "invite_refused".to_string());
    assert_eq!(enrol(node.key(), node.url(), None).await.error(), refused);
    assert_eq!(enrol(node.key(), node.url(), Some("inv_made_up")).await.error(), refused);
    let wanted = json!({ "operator": "ann", "nodes": 1 });
    let invite = world.admin(Method::POST, "/v1/admin/invites", wanted).await;
    assert_eq!(invite.status, StatusCode::CREATED);
    let invite = invite.json()["invite"].as_str().unwrap().to_string();

    // Whoever answers at the address must be the node.
    let unreachable = (422, "node_unreachable".to_string());
    assert_eq!(enrol(node.key(), other.url(), Some(&invite)).await.error(), unreachable);
    assert_eq!(enrol(node.key(), "http://127.1.200.1:4000", Some(&invite)).await.error(), unreachable);
    for url in ["nonsense", "ftp://127.1.20.1", "http://", "file:///etc/passwd"] {
        let (status, reason) = enrol(node.key(), url, Some(&invite)).await.error();
        assert_eq!((status, reason.as_str()), (400, "bad_url"), "{url}");
    }
    let answer: EnrolAnswer = parse(&enrol(node.key(), node.url(), Some(&invite)).await);
    assert_eq!(answer.region, "as", "127.3.20.1 by the database of places");
    let key = data_encoding::HEXLOWER.encode(world.network.signer().public_key().as_bytes());
    assert_eq!(answer.network_key, key);
    assert_eq!(enrol(other.key(), other.url(), Some(&invite)).await.error(), refused, "used up");
    parse::<EnrolAnswer>(&enrol(node.key(), node.url(), None).await);

    let list: NodeList = parse(&world.get("/v1/nodes").await);
    assert_eq!(list.nodes.len(), 21);
    let shown = list.nodes.iter().find(|shown| shown.id == node.id()).unwrap();
    assert_eq!((shown.url.as_str(), shown.status.as_str()), (node.url(), "online"));
    assert_eq!(shown.standing, "vetting");
    assert_eq!(list.regions.values().sum::<u32>(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_the_database_has_lost_is_let_in_by_its_receipt() {
    let world = World::with_strangers(20, 2, |_| {}).await;
    let [node, other] = [&world.network.nodes()[20], &world.network.nodes()[21]];
    // Every node that joins gets one.
    let known = &world.network.nodes()[0];
    let answer = signed(&world, known.key(), "/v1/nodes/enrol", &enrol_request(known.url(), None)).await;
    let kept = parse::<EnrolAnswer>(&answer).receipt.unwrap();
    let network = world.network.signer().public_key();
    assert!(!Receipt::verify(&network, known.id(), &kept).unwrap().operator.is_empty());

    let receipt = Receipt {
        node: node.id(),
        operator: "ann".into(),
        enrolled: UnixMillis(1_600_000_000_000),
        region: "eu".into(),
        country: None,
        latitude: None,
        longitude: None,
    };
    let receipt = receipt.sign(world.network.signer().key());
    let request = |url: &str| EnrolRequest { receipt: Some(receipt.clone()), ..enrol_request(url, None) };
    let answer = signed(&world, other.key(), "/v1/nodes/enrol", &request(other.url())).await;
    assert_eq!(answer.error(), (403, "invite_refused".into()), "it is another one's");
    assert_eq!(world.db.held().await.unwrap(), None);
    parse::<EnrolAnswer>(&signed(&world, node.key(), "/v1/nodes/enrol", &request(node.url())).await);
    let row = world.db.node(node.id()).await.unwrap().unwrap();
    assert_eq!((row.operator.as_str(), row.enrolled), ("ann", UnixMillis(1_600_000_000_000)));
    assert!(world.db.held().await.unwrap().is_some(), "more may be missing: nothing is collected");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_choose_whom_a_gateway_calls() {
    let world = World::with_strangers(20, 1, |_| {}).await;
    let stranger = &world.network.nodes()[20];
    stranger.set(Mode::Dead);
    let request = enrol_request(stranger.url(), None);
    let answer = signed(&world, stranger.key(), "/v1/nodes/enrol", &request).await;
    assert_eq!(answer.error(), (403, "invite_refused".into()), "and not that nobody answers there");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_nodes_are_heard() {
    let world = World::new().await;
    let node = &world.network.nodes()[0];
    let body = json!({ "cids": [] });
    for path in ["enrol", "heartbeat", "locate", "redeem"] {
        let path = format!("/v1/nodes/{path}");
        let answer = world.send(json_request(Method::POST, &path, None, &body)).await;
        assert_eq!(answer.error(), (401, "node_proof_missing".into()));
        let proof = prove(node.key(), "POST", &path, world.gateway.clock.now(), b"something else");
        for proof in [proof.as_str(), "nonsense", "..", ""] {
            let mut request = json_request(Method::POST, &path, None, &body);
            request.headers_mut().insert(NODE_PROOF_HEADER, proof.parse().unwrap());
            assert_eq!(world.send(request).await.error(), (401, "node_proof_refused".into()), "{proof:?}");
        }
        let answer = signed(&world, node.key(), &path, &json!({ "wrong": true })).await;
        assert_eq!(answer.error(), (400, "bad_json".into()), "{path}");
    }
    let stranger = SigningKey::from_bytes(&[200; 32]);
    let refused = (403, "not_enrolled".to_string());
    assert_eq!(signed(&world, &stranger, "/v1/nodes/heartbeat", &heartbeat(vec![])).await.error(), refused);
    let locate = LocateRequest { cids: vec![], root: None };
    assert_eq!(signed(&world, &stranger, "/v1/nodes/locate", &locate).await.error(), refused);
}

fn heartbeat(problems: Vec<PieceHash>) -> HeartbeatRequest {
    HeartbeatRequest {
        version: "2".into(),
        capacity_bytes: 2 << 40,
        used_bytes: 1 << 40,
        free_bytes: 1 << 40,
        piece_count: 9,
        problems,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_and_admitted_losses() {
    let world = World::new().await;
    let file = world.upload("", "x").await.file();
    let ids = world.db.root_segments(&file.cid.parse().unwrap()).await.unwrap();
    let pieces = async || world.db.segments_info(&ids).await.unwrap().remove(0).pieces;
    until(async || pieces().await.iter().all(|piece| piece.node.is_some())).await;
    let piece = pieces().await[4];
    let node = world.network.node(piece.node.unwrap()).unwrap();
    let before = world.db.node(node.id()).await.unwrap().unwrap();
    let answer = signed(&world, node.key(), "/v1/nodes/heartbeat", &heartbeat(vec![])).await;
    let answer: HeartbeatAnswer = parse(&answer);
    assert_eq!(answer.standing, "vetting");
    let row = world.db.node(node.id()).await.unwrap().unwrap();
    assert_eq!((row.version.as_str(), row.used_bytes, row.piece_count), ("2", 1 << 40, 9));
    assert_eq!(row.reputation, before.reputation);

    // It owns up to a piece, and to one that it never had.
    let lost = heartbeat(vec![piece.hash, PieceHash([1; 32])]);
    parse::<HeartbeatAnswer>(&signed(&world, node.key(), "/v1/nodes/heartbeat", &lost).await);
    assert_eq!(pieces().await[4].node, None);
    assert_ne!(world.db.node(node.id()).await.unwrap().unwrap().reputation, before.reputation);
    let health = world.get(&format!("/v1/files/{}/health", file.cid)).await.json();
    assert_eq!(health["status"], "degraded");
    // Told once more it changes nothing more.
    let after = world.db.node(node.id()).await.unwrap().unwrap().reputation;
    parse::<HeartbeatAnswer>(&signed(&world, node.key(), "/v1/nodes/heartbeat", &lost).await);
    assert_eq!(world.db.node(node.id()).await.unwrap().unwrap().reputation, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn places_of_blocks() {
    let world = World::new().await;
    let bytes = patterned(1, 2_500_000);
    let file = world.upload("", bytes.clone()).await.file();
    let node = &world.network.nodes()[0];
    let leaf = content::Cid::of(content::Codec::Raw, content::HashFn::Sha2_256, &bytes[..1 << 20]);
    let unknown = content::Cid::of(content::Codec::Raw, content::HashFn::Sha2_256, b"unknown");
    let cids = vec![file.cid.clone(), unknown.to_string(), leaf.to_string()];
    let locate = async |cids: Vec<String>| {
        signed(&world, node.key(), "/v1/nodes/locate", &LocateRequest { cids, root: None }).await
    };
    let answer: LocateAnswer = parse(&locate(cids).await);
    assert_eq!((answer.blocks.len(), answer.segments.len()), (2, 1));
    let segment = &answer.segments[0];
    assert!(segment.pieces.len() >= 18 && segment.scheme == "gf8/8/20");
    let place = answer.blocks.iter().find(|place| place.cid == leaf.to_string()).unwrap();
    assert_eq!((place.segment, place.length), (0, 1 << 20));
    // The orders are good: with them the block can be read.
    for piece in &segment.pieces {
        let order = Order::verify(&world.network.signer().public_key(), &piece.order).unwrap();
        assert_eq!((order.node, order.action), (piece.node, Action::Get(piece.hash, Purpose::Read)));
        assert_eq!(order.expires, segment.expires);
        assert_eq!(world.network.node(piece.node).unwrap().url(), piece.url);
    }
    // Nodes that are gone are left out while others suffice.
    world.network.set(0..4, Mode::Dead);
    world.probe().await;
    let answer: LocateAnswer = parse(&locate(vec![leaf.to_string()]).await);
    let gone: Vec<_> = world.network.nodes()[..4].iter().map(|node| node.id()).collect();
    assert!(answer.segments[0].pieces.iter().all(|piece| !gone.contains(&piece.node)));

    assert_eq!(locate(vec!["nonsense".into()]).await.error(), (400, "bad_cid".into()));
    assert_eq!(locate(vec![leaf.to_string(); 1025]).await.error(), (400, "too_many_cids".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_paid_once() {
    let world = World::new().await;
    let [node, other] = [&world.network.nodes()[0], &world.network.nodes()[1]];
    let key = world.network.signer().key().clone();
    let hour = UnixMillis(world.gateway.clock.now().hour().0 - HOUR_MS);
    let within = UnixMillis(hour.0 + 5000);
    let order = |serial: u8, node, issued, action| {
        let expires = UnixMillis(issued + HOUR_MS);
        let issued = UnixMillis(issued);
        Order { node, serial: Serial([serial; 16]), issued, expires, bytes_max: 1_000_000_000, action }
            .sign(&key)
    };
    let get = Action::Get(PieceHash([3; 32]), Purpose::Read);
    let ticket = |serial: u8| {
        let expires = UnixMillis(within.0 + HOUR_MS);
        let (serial, cid) = (Serial([serial; 16]), b"cid".to_vec());
        Ticket { node: node.id(), serial, issued: within, expires, bytes_max: 2_000_000_000, cid }.sign(&key)
    };
    let entry = |token: String, bytes| RedeemEntry { token, bytes };
    let entries = vec![
        entry(order(1, node.id(), within.0, get), 400_000_000),
        entry(ticket(2), 600_000_000),
        // More than the order allows.
        entry(order(3, node.id(), within.0, get), u64::MAX),
        entry(order(7, node.id(), within.0, Action::Get(PieceHash([3; 32]), Purpose::Repair)), 300),
        entry(order(8, node.id(), within.0, Action::Get(PieceHash([3; 32]), Purpose::Repair)), 70_000_000),
        entry(order(9, node.id(), within.0, Action::Get(PieceHash([3; 32]), Purpose::Audit)), 50),
        // Refused: another node's, another hour's, no reading, the same again, nonsense.
        entry(order(4, other.id(), within.0, get), 1),
        entry(order(5, node.id(), within.0 - HOUR_MS, get), 1),
        entry(order(6, node.id(), within.0, Action::List), 1),
        entry(order(1, node.id(), within.0, get), 1),
        entry("nonsense".into(), 1),
    ];
    let redeem = async |hour, entries| {
        signed(&world, node.key(), "/v1/nodes/redeem", &RedeemRequest { hour, entries }).await
    };
    let answer: RedeemAnswer = parse(&redeem(hour, entries.clone()).await);
    assert_eq!(answer, RedeemAnswer { settled: true, refused: 5 });
    let earnings = async || parse::<Earnings>(&world.get(&format!("/v1/nodes/{}/earnings", node.id())).await);
    let first = earnings().await;
    let mut quantities: Vec<(&str, u64)> =
        first.hours.iter().map(|line| (line.kind.as_str(), line.quantity)).collect();
    quantities.sort_unstable();
    let expected = [("audit_egress", 50), ("egress", 2_000_000_000), ("repair_egress", 70_000_300)];
    assert_eq!(quantities, expected, "by what the bytes were read for");
    assert!(first.by_kind["egress"] > 0 && first.by_kind["repair_egress"] > 0);
    assert_eq!(first.total_micros, first.by_kind.values().sum::<u64>());
    let again: RedeemAnswer = parse(&redeem(hour, entries).await);
    assert!(!again.settled);
    assert_eq!(earnings().await, first, "each hour once");

    let bad_hour = (400, "bad_hour".to_string());
    assert_eq!(redeem(UnixMillis(hour.0 + 1), vec![]).await.error(), bad_hour);
    assert_eq!(redeem(UnixMillis(hour.0 + HOUR_MS), vec![]).await.error(), bad_hour, "not over yet");
    let unknown = world.get(&format!("/v1/nodes/{}/earnings", "00".repeat(32))).await;
    assert_eq!(unknown.error(), (404, "unknown_node".into()));
    assert_eq!(world.get("/v1/nodes/x/earnings").await.error(), (400, "bad_node_id".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_entries_as_allowed_fit_a_request() {
    let world = World::new().await;
    let node = &world.network.nodes()[0];
    let hour = UnixMillis(world.gateway.clock.now().hour().0 - HOUR_MS);
    // As long as a signed order is.
    let entry = RedeemEntry { token: "x".repeat(240), bytes: 1 << 40 };
    let redeem = async |count: usize| {
        let entries = vec![entry.clone(); count];
        signed(&world, node.key(), "/v1/nodes/redeem", &RedeemRequest { hour, entries }).await
    };
    assert_eq!(redeem(REDEEM_MAX + 1).await.error(), (400, "too_many_entries".into()));
    let answer: RedeemAnswer = parse(&redeem(REDEEM_MAX).await);
    assert_eq!(answer, RedeemAnswer { settled: true, refused: REDEEM_MAX });
}
