//! Reading a file by its CID from a node, out of coded pieces on other nodes.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use content::{
    Cid, Codec, HashFn, car,
    unixfs::{file::import_bytes, profile::Profile},
};
use erasure::Scheme;
use protocol::{
    api::{BlockPlace, LocateAnswer, PiecePlace, SegmentPlace},
    ids::{SegmentId, Serial},
    order::{Action, Purpose},
    places::{PieceAt, Places},
    ticket::Ticket,
    time::UnixMillis,
};
use rand::{RngExt as _, SeedableRng as _};
use service::{http::client_address::PeerAddr, job::Job as _};
use transfer::{Pool, code_segment};

use super::{
    network::Gateway,
    world::{ORDER_LIFETIME, Request, Response, TestNode, World, text},
};
use crate::piece_store::PieceStore as _;

/// A file that is stored on eight nodes, and another node that can be asked for it.
struct Library {
    world: World,
    gateway: Arc<Gateway>,
    holders: Vec<TestNode>,
    reader: TestNode,
    file: Bytes,
    root: Cid,
}

async fn library(change: impl FnOnce(&mut crate::Config)) -> Library {
    let world = World::new();
    let gateway = world.gateway();
    let holders: Vec<TestNode> = (10..18).map(|number| world.node(number)).collect();
    let reader = world.node_with(1, change);
    reader.pinner.enrol().step().await.unwrap();

    let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(5);
    let file: Bytes = (0..3_500_000).map(|_| rng.random::<u8>()).collect();
    let profile = Profile::default();
    let finished = import_bytes(profile, &file);
    let (segment, places) = pack(&finished.blocks, &finished.root);
    let answer = spread(&world, &holders, segment, places).await;
    *gateway.places.lock() = answer;
    Library { world, gateway, holders, reader, file, root: finished.root }
}

/// A segment of these blocks, and where each of them lies in it.
fn pack(blocks: &[content::Block], root: &Cid) -> (Vec<u8>, Vec<BlockPlace>) {
    let mut segment = car::header(std::slice::from_ref(root));
    let mut places = Vec::new();
    for block in blocks {
        segment.extend(car::frame_prefix(&block.cid, block.bytes.len()));
        let (offset, length) = (segment.len() as u64, block.bytes.len() as u64);
        places.push(BlockPlace { cid: block.cid.to_string(), segment: 0, offset, length });
        segment.extend_from_slice(&block.bytes);
    }
    (segment, places)
}

/// Codes a segment and puts a piece on each holder.
async fn spread(
    world: &World,
    holders: &[TestNode],
    bytes: Vec<u8>,
    blocks: Vec<BlockPlace>,
) -> LocateAnswer {
    let scheme = Scheme::new(erasure::Codec::Gf8, 4, 8).unwrap();
    let (id, length) = (SegmentId([3; 16]), bytes.len() as u64);
    let pool = Pool::new(8 << 20);
    let mut segment = pool.take(bytes.len());
    segment.vec().extend_from_slice(&bytes);
    let mut pieces = Vec::new();
    for (piece, node) in code_segment(scheme, segment, &pool).unwrap().into_iter().zip(holders) {
        let meta = piece.meta(id, scheme, length);
        let order = world.put_order(node, meta);
        world.nodes().put(&order, piece.body(), Duration::from_secs(5)).await.unwrap();
        let order =
            world.signer.order(node.id, Action::Get(piece.hash, Purpose::Read), 100 << 20, ORDER_LIFETIME);
        let (node, url) = (node.id, node.url.clone());
        pieces.push(PiecePlace { index: piece.index, hash: piece.hash, node, url, order });
    }
    let expires = world.clock.now() + ORDER_LIFETIME;
    let at = |piece: &PiecePlace| PieceAt { index: piece.index, hash: piece.hash, node: piece.node };
    let places = blocks.iter().map(|block| (block.cid.parse().unwrap(), block.offset, block.length));
    let places = Places::new(world.clock.now(), id, scheme, length, pieces.iter().map(at), places).unwrap();
    let places = Some(places.sign(world.signer.key()));
    let segment = SegmentPlace { id, scheme: scheme.to_string(), length, expires, pieces, places };
    LocateAnswer { blocks, segments: vec![segment] }
}

impl Library {
    async fn read(&self, query: &str, range: Option<&str>) -> Response {
        let mut request = Request::get(format!("/ipfs/{}{query}", self.root));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        self.reader.ask(request.body(Body::empty()).unwrap()).await
    }

    async fn bytes(&self, query: &str, range: Option<&str>) -> (u16, Bytes) {
        let response = self.read(query, range).await;
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap();
        (status, body)
    }

    fn ticket(&self, node: &TestNode, cid: &Cid, bytes_max: u64) -> String {
        let issued = self.world.clock.now();
        let ticket = Ticket {
            node: node.id,
            serial: Serial([bytes_max.to_le_bytes()[0]; 16]),
            issued,
            expires: issued + ORDER_LIFETIME,
            bytes_max,
            cid: cid.as_bytes().to_vec(),
        };
        ticket.sign(self.world.signer.key())
    }

    fn paid(&self, node: &TestNode) -> Vec<u64> {
        node.usage.flush(self.world.clock.now()).unwrap();
        let hour = node.usage.hour(UnixMillis(self.world.clock.now().0).hour()).unwrap();
        hour.into_iter().map(|entry| entry.bytes).collect()
    }
}

#[tokio::test]
async fn a_file_is_read_through_a_node_that_holds_none_of_it() {
    let library = library(|_| {}).await;
    let (status, bytes) = library.bytes("", None).await;
    assert_eq!(status, 200);
    assert!(bytes == library.file, "the file came back changed");
    let served: u64 = library.holders.iter().flat_map(|node| library.paid(node)).sum();
    assert!(served >= 3_500_000, "every holder counts what it gave: {served}");
    assert_eq!(library.paid(&library.reader), [] as [u64; 0], "no ticket, no pay");

    let response = library.read("", Some("bytes=1000000-1000009")).await;
    assert_eq!(response.status(), 206);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let (_, part) = library.bytes("", Some("bytes=1000000-1000009")).await;
    assert_eq!(part, library.file[1_000_000..1_000_010]);
}

#[tokio::test]
async fn half_of_the_holders_are_enough() {
    let library = library(|_| {}).await;
    library.world.wires.cut(&library.holders[0].url);
    library.holders[1].store.lose_everything();
    for piece in library.holders[2].store.list(None, 10).unwrap() {
        library.holders[2].store.flip_bit(piece.hash, 500_000);
    }
    library.holders[3].store.set_behaviour(crate::piece_store::Behaviour::Lies);
    let (status, bytes) = library.bytes("", None).await;
    assert_eq!(status, 200);
    assert!(bytes == library.file);

    let library = self::library(|_| {}).await;
    for holder in &library.holders[..5] {
        library.world.wires.cut(&holder.url);
    }
    assert_eq!(library.bytes("", None).await.0, 503, "too few pieces, for now");
}

#[tokio::test]
async fn a_node_serves_its_own_piece_and_unknown_content_is_not_found() {
    let library = library(|_| {}).await;
    let holder = &library.holders[0];
    holder.pinner.enrol().step().await.unwrap();
    let request = Request::get(format!("/ipfs/{}", library.root)).body(Body::empty()).unwrap();
    assert_eq!(holder.ask(request).await.status(), 200);
    let unknown = Cid::of(Codec::Raw, HashFn::Sha2_256, b"nobody has this");
    let request = Request::get(format!("/ipfs/{unknown}")).body(Body::empty()).unwrap();
    assert_eq!(holder.ask(request).await.status(), 404);
    let request = Request::get("/ipfs/nonsense").body(Body::empty()).unwrap();
    assert_eq!(holder.ask(request).await.status(), 400);
}

#[tokio::test]
async fn a_gateway_that_talks_nonsense_breaks_nothing() {
    let library = library(|_| {}).await;
    let honest = library.gateway.places.lock().clone();
    let mut answers = vec![honest.clone(); 6];
    answers[0].segments[0].scheme = "gf8/0/900".into();
    answers[1].segments[0].length = u64::MAX;
    answers[2].blocks.iter_mut().for_each(|block| block.segment = 77);
    answers[3].blocks.iter_mut().for_each(|block| block.offset = u64::MAX);
    answers[4].blocks.iter_mut().for_each(|block| block.length = 1 << 40);
    answers[5].segments[0].pieces.iter_mut().for_each(|piece| piece.index = 200);
    for (at, answer) in answers.into_iter().enumerate() {
        *library.gateway.places.lock() = answer;
        let status = library.bytes("", None).await.0;
        assert!(matches!(status, 404 | 502 | 503), "{at}: {status}");
    }
    // A wrong place is found out by the block's own hash.
    let mut shifted = honest.clone();
    shifted.blocks.iter_mut().for_each(|block| block.offset -= 1);
    *library.gateway.places.lock() = shifted;
    assert_eq!(library.bytes("", None).await.0, 503);
    *library.gateway.places.lock() = honest;
    library.world.clock.advance(Duration::from_mins(1));
    assert!(library.bytes("", None).await.1 == library.file);
}

#[tokio::test]
async fn tickets_are_checked_and_counted() {
    let library = library(|_| {}).await;
    let ticket = library.ticket(&library.reader, &library.root, 1 << 40);
    let query = format!("?ticket={ticket}");
    assert_eq!(library.bytes(&query, Some("bytes=0-999")).await.0, 206);
    assert_eq!(library.bytes(&query, None).await.0, 200);
    assert_eq!(library.paid(&library.reader), [3_501_000]);

    let other = Cid::of(Codec::Raw, HashFn::Sha2_256, b"other");
    let bad = [
        ("nonsense", "nonsense".to_string()),
        ("another node", library.ticket(&library.holders[0], &library.root, 9)),
        ("another cid", library.ticket(&library.reader, &other, 9)),
        ("too long", "A".repeat(5000)),
    ];
    for (what, ticket) in bad {
        let (status, _) = text(library.read(&format!("?ticket={ticket}"), None).await).await;
        assert_eq!(status, 403, "{what}");
    }
    library.world.clock.advance(ORDER_LIFETIME);
    let (status, reason) = text(library.read(&query, None).await).await;
    assert_eq!(status, 403);
    assert!(reason.contains("expired"), "{reason}");
}

#[tokio::test]
async fn a_node_may_insist_on_tickets() {
    let library = library(|config| config.serve_without_ticket = false).await;
    assert_eq!(library.bytes("", None).await.0, 403);
    let ticket = library.ticket(&library.reader, &library.root, 1500);
    let query = format!("?ticket={ticket}");
    assert_eq!(library.bytes(&query, Some("bytes=0-999")).await.0, 206);
    assert_eq!(library.bytes(&query, Some("bytes=0-999")).await.0, 206);
    assert_eq!(library.bytes(&query, Some("bytes=0-999")).await.0, 403, "used up");
    assert_eq!(library.paid(&library.reader), [1500]);
}

#[tokio::test]
async fn what_is_denied_is_not_served_though_it_is_cached_and_paid_for() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.deny");
    std::fs::write(&list, "").unwrap();
    let library = library(|config| config.denylist.files = vec![list.clone()]).await;
    let deny = async |rules: String| {
        let aside = dir.path().join("aside");
        std::fs::write(&aside, rules).unwrap();
        std::fs::rename(&aside, &list).unwrap();
        library.reader.pinner.reload_denylist().step().await.unwrap();
    };
    let ticket = library.ticket(&library.reader, &library.root, 1 << 40);
    let query = format!("?ticket={ticket}");
    assert_eq!(library.bytes(&query, None).await.0, 200);
    let paid = library.paid(&library.reader);
    deny(format!("/ipfs/{}\n", library.root)).await;
    for query in [query.clone(), "?format=raw".into(), "?format=car".into(), "?ticket=nonsense".into()] {
        for range in [None, Some("bytes=0-9")] {
            assert_eq!(library.bytes(&query, range).await.0, 410, "{query} {range:?}");
        }
    }
    let head = Request::head(format!("/ipfs/{}", library.root)).body(Body::empty()).unwrap();
    assert_eq!(library.reader.ask(head).await.status(), 410);
    assert_eq!(library.paid(&library.reader), paid, "a refusal earns nothing");
    // The second leaf of four.
    let leaf = Cid::of(Codec::Raw, HashFn::Sha2_256, &library.file[1 << 20..2 << 20]);
    deny(format!("/ipfs/{leaf} status:451\n")).await;
    assert_eq!(library.bytes(&query, Some("bytes=0-1048575")).await.0, 206);
    assert_eq!(library.bytes(&query, Some("bytes=1048576-1048577")).await.0, 451);
    assert_eq!(library.bytes(&query, Some("bytes=2097152-")).await.0, 206);
    let whole = library.read(&query, None).await;
    assert_eq!(whole.status(), 200, "its beginning may be read");
    assert!(axum::body::to_bytes(whole.into_body(), 64 << 20).await.is_err(), "and is broken off");
    deny(String::new()).await;
    assert!(library.bytes(&query, None).await.1 == library.file);
}

#[tokio::test]
async fn readers_beyond_the_limit_are_sent_away() {
    let library = library(|config| config.limits.content_max = 1).await;
    let held = library.read("", None).await;
    assert_eq!(held.status(), 200);
    let busy = library.read("", None).await;
    assert_eq!((busy.status().as_u16(), busy.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    drop(held);
    assert_eq!(library.read("", None).await.status(), 200);
}

#[tokio::test]
async fn a_client_has_so_many_requests_and_gets_more_with_time() {
    let library = library(|config| {
        config.limits.client_rate = 0.5;
        config.limits.client_burst = 2;
        config.limits.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let path = format!("/ipfs/{}", library.root);
    let ask = async |method: &str, path: &str, peer: &str, client: &str| {
        let request = Request::builder().method(method).uri(path).header("x-forwarded-for", client);
        let mut request = request.header("range", "bytes=0-9").body(Body::empty()).unwrap();
        let peer: std::net::IpAddr = peer.parse().unwrap();
        request.extensions_mut().insert(PeerAddr((peer, 5000).into()));
        library.reader.ask(request).await
    };
    assert_eq!(ask("GET", &path, "10.0.0.1", "192.0.2.1").await.status(), 206);
    assert_eq!(ask("HEAD", "/ipfs/nonsense", "10.0.0.1", "192.0.2.1").await.status(), 400);
    let refused = ask("GET", &path, "10.0.0.1", "192.0.2.1").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "2");
    assert_eq!(refused.headers()["cache-control"], "no-store");
    assert_eq!(refused.headers()["x-ipfs-path"], path.as_str());
    assert_eq!(refused.headers().get_all("access-control-allow-origin").iter().count(), 1);
    assert_eq!(ask("HEAD", &path, "192.0.2.1", "10.9.9.9").await.status(), 429, "the same, past the proxy");
    assert_eq!(ask("GET", &path, "10.0.0.1", "192.0.2.2").await.status(), 206, "somebody else");
    assert_eq!(ask("OPTIONS", &path, "10.0.0.1", "192.0.2.1").await.status(), 204);
    for other in ["/healthz", "/readyz", "/metrics", "/v1/status"] {
        assert_ne!(ask("GET", other, "10.0.0.1", "192.0.2.1").await.status(), 429, "{other}");
    }
    library.world.clock.advance(Duration::from_secs(2));
    assert_eq!(ask("GET", &path, "10.0.0.1", "192.0.2.1").await.status(), 206);
    assert_eq!(ask("GET", &path, "10.0.0.1", "192.0.2.1").await.status(), 429);
}

#[tokio::test]
async fn any_page_may_read_and_nothing_else_is_answered() {
    let library = library(|_| {}).await;
    let path = format!("/ipfs/{}", library.root);
    let ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        library.reader.ask(request).await
    };
    let preflight = ask("OPTIONS", &path).await;
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    let head = ask("HEAD", &path).await;
    assert_eq!(
        (head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()),
        (200, "3500000")
    );
    assert_eq!(ask("POST", &path).await.status(), 405);
    assert_eq!(super::world::refusal(ask("GET", "/v2").await).await.0, 404);
    assert_eq!(ask("GET", "/healthz").await.status(), 200);
    assert_eq!(ask("GET", "/metrics").await.status(), 200);
}
