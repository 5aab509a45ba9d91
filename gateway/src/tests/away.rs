//! A gateway whose database is away and that remembers nothing: what nodes were told serves, nothing is called missing, and
//! uploads are told to come back.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, StatusCode, header},
};
use content::{
    Cid,
    unixfs::{file::import_bytes, profile::Profile},
};
use ed25519_dalek::SigningKey;
use protocol::{
    api::{LocateAnswer, LocateRequest},
    node_proof::{NODE_PROOF_HEADER, prove},
    order::{Action, Order, Purpose},
    places::Places,
    ticket::Ticket,
    time::UnixMillis,
};
use serde_json::json;
use service::job::Job as _;
use testing::{FakeNode, Mode};

use super::world::{Answer, World, form_body, from_peer, json_request, patterned, request, send_to, until};
use crate::{Config, Gateway, ReadMode, database::NoAnswer, router};

/// A file in a network, and a gateway that has just been started and whose database is gone.
struct Away {
    world: World,
    gateway: Gateway,
    router: Router,
    bytes: Vec<u8>,
    file: String,
    /// What the network says of its blocks.
    told: Vec<String>,
}

impl Away {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let world = World::with(20, |config| {
            // The first region is that of every third node.
            config.directory.region = "eu".into();
            change(config);
        })
        .await;
        let bytes = patterned(1, 2_500_000);
        let file = world.upload("?name=file", bytes.clone()).await.file().cid;
        let blocks = import_bytes(Profile::UNIXFS_V1_2025, &bytes.clone().into()).blocks;
        let cids = blocks.iter().map(|block| block.cid.clone()).collect::<Vec<_>>();
        let answer = locate(&world.router, &world.network.nodes()[0], &cids).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let answer: LocateAnswer = serde_json::from_slice(&answer.body).unwrap();
        let told: Vec<String> = answer.segments.into_iter().map(|segment| segment.places.unwrap()).collect();
        let gateway = world.another_gateway().await;
        gateway.probe_nodes().step().await.unwrap();
        gateway.db.close().await;
        let router = router(&gateway);
        Self { world, gateway, router, bytes, file, told }
    }

    fn tell(&self, number: usize) {
        for told in &self.told {
            self.world.network.nodes()[number].tell(told);
        }
    }

    async fn get(&self, method: Method, query: &str, range: Option<&str>) -> Answer {
        let uri = format!("/ipfs/{}{query}", self.file);
        let mut request = from_peer(request(method, &uri, None, Body::empty()), "127.1.0.9");
        if let Some(range) = range {
            request.headers_mut().insert(header::RANGE, range.parse().unwrap());
        }
        send_to(self.router.clone(), request).await
    }

    async fn assert_serves(&self) {
        let answer = self.get(Method::GET, "", None).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.headers);
        assert!(answer.body == self.bytes);
    }

    /// How often nodes were asked for places, by number.
    fn asked(&self) -> Vec<usize> {
        self.world.network.nodes().iter().map(|node| node.places_asked()).collect()
    }

    /// The number of the node that a reader is sent to.
    fn sent_to(&self, sent: &Answer) -> usize {
        let location = sent.headers[header::LOCATION].to_str().unwrap();
        let is_there = |node: &FakeNode| location.starts_with(&format!("{}/", node.url()));
        self.world.network.nodes().iter().position(|node| is_there(node)).unwrap()
    }

    fn key(&self) -> SigningKey {
        self.world.network.signer().key().clone()
    }
}

/// A node's question.
async fn locate(router: &Router, node: &FakeNode, cids: &[Cid]) -> Answer {
    locate_below(router, node, cids, None).await
}

async fn locate_below(router: &Router, node: &FakeNode, cids: &[Cid], root: Option<&Cid>) -> Answer {
    let path = "/v1/nodes/locate";
    let cids = cids.iter().map(Cid::to_string).collect();
    let body = serde_json::to_value(LocateRequest { cids, root: root.map(Cid::to_string) }).unwrap();
    let mut request = json_request(Method::POST, path, None, &body);
    let now = service::clock::Clock::System.now();
    let proof = prove(node.key(), "POST", path, now, body.to_string().as_bytes());
    request.headers_mut().insert(NODE_PROOF_HEADER, proof.parse().unwrap());
    send_to(router.clone(), request).await
}

#[track_caller]
fn assert_comes_back(answer: &Answer, what: &str) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{what}: {answer:?}");
    assert!(answer.headers.contains_key(header::RETRY_AFTER), "{what}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_node_knows_is_served_with_ranges_heads_and_redirects() {
    let away = Away::new(|_| {}).await;
    away.tell(3);
    away.assert_serves().await;
    let part = away.get(Method::GET, "", Some("bytes=1048000-1048999")).await;
    assert_eq!(
        (part.status, &part.body[..]),
        (StatusCode::PARTIAL_CONTENT, &away.bytes[1_048_000..1_049_000])
    );
    let head = away.get(Method::HEAD, "", None).await;
    assert_eq!((head.status, &head.headers["content-length"]), (StatusCode::OK, &"2500000".parse().unwrap()));
    // Near nodes of which none knows were asked once, others never; then it is remembered here.
    let asked = away.asked();
    assert!(asked.iter().all(|times| *times <= 1), "{asked:?}");
    assert!(asked.iter().enumerate().all(|(number, times)| number % 3 == 0 || *times == 0), "{asked:?}");

    let sent = away.get(Method::GET, "?route=redirect", None).await;
    assert_eq!(sent.status, StatusCode::TEMPORARY_REDIRECT, "{sent:?}");
    let location = url::Url::parse(sent.headers[header::LOCATION].to_str().unwrap()).unwrap();
    let ticket = location.query_pairs().find(|(name, _)| name == "ticket").unwrap().1.into_owned();
    let node = &away.world.network.nodes()[away.sent_to(&sent)];
    let ticket = Ticket::verify(&away.key().verifying_key(), node.id(), &ticket).unwrap();
    let cid: Cid = away.file.parse().unwrap();
    assert_eq!(ticket.check(cid.as_bytes(), away.gateway.clock.now()), Ok(()));
    assert!(node.url().starts_with("http://127.1."), "{location}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_asks_is_told_with_orders_and_the_time_stays_what_it_was() {
    let away = Away::new(|_| {}).await;
    away.tell(6);
    let nodes = away.world.network.nodes();
    let cid: Cid = away.file.parse().unwrap();
    let answer = locate(&away.router, &nodes[7], std::slice::from_ref(&cid)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let answer: LocateAnswer = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.blocks.len(), answer.segments.len()), (1, 1));
    let key = away.key().verifying_key();
    for piece in &answer.segments[0].pieces {
        let order = Order::verify(&key, &piece.order).unwrap();
        assert_eq!((order.node, order.action), (piece.node, Action::Get(piece.hash, Purpose::Read)));
    }
    let said = Places::verify(&key, answer.segments[0].places.as_ref().unwrap()).unwrap();
    let mut first = away.told.iter().map(|told| Places::verify(&key, told).unwrap());
    let first = first.find(|first| first.segment == said.segment).unwrap();
    assert_eq!(said.time, first.time, "what is passed on gets no younger");
    assert_eq!((said.pieces, said.blocks.len()), (first.pieces, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_not_called_missing_and_costs_few_questions() {
    let away = Away::new(|_| {}).await;
    let reads = (0..30).map(|number| {
        let method = if number % 2 == 0 { Method::GET } else { Method::HEAD };
        away.get(method, "", None)
    });
    for answer in futures_util::future::join_all(reads).await {
        assert_comes_back(&answer, "read");
        if !answer.body.is_empty() {
            assert!(String::from_utf8_lossy(&answer.body).contains("metadata store"), "{answer:?}");
        }
    }
    let config = &away.gateway.config.directory;
    let questions = away.asked();
    let most = config.own_region_max + config.elsewhere_max;
    assert!(
        questions.iter().sum::<usize>() <= most && questions.iter().all(|times| *times <= 1),
        "{questions:?}"
    );
    assert!(
        questions.iter().enumerate().any(|(number, times)| number % 3 != 0 && *times > 0),
        "{questions:?}"
    );
    let cid: Cid = away.file.parse().unwrap();
    let node = &away.world.network.nodes()[0];
    let answer = locate(&away.router, node, &[cid]).await;
    assert_eq!(answer.error(), (503, "store_unavailable".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_lie_are_passed_over() {
    let away = Away::new(|_| {}).await;
    let nodes = away.world.network.nodes();
    let key = away.key();
    let read = |told: &String| Places::verify(&key.verifying_key(), told).unwrap();
    for told in away.told.iter().map(read) {
        let stranger = SigningKey::from_bytes(&[66; 32]);
        nodes[0].tell(told.sign(&stranger));
        nodes[3].tell("garbage");
        // Genuine, and too old or from tomorrow.
        let day = Duration::from_hours(24);
        let at = |time: UnixMillis| Places { time, ..told.clone() }.sign(&key);
        nodes[6].tell(at(told.time - day - Duration::from_secs(60)));
        nodes[9].tell(at(told.time + day));
    }
    nodes[12].set(Mode::Failing);
    assert_comes_back(&away.get(Method::GET, "", None).await, "nobody says anything that can be believed");
    // One that tells the truth.
    let away = Away { router: router(&another(&away).await), ..away };
    away.tell(15);
    away.assert_serves().await;
}

/// One more gateway without a database.
async fn another(away: &Away) -> Gateway {
    let gateway = away.world.another_gateway().await;
    gateway.probe_nodes().step().await.unwrap();
    gateway.db.close().await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_word_costs_a_failed_fetch_and_a_newer_one_of_another_node_mends_it() {
    let away = Away::new(|_| {}).await;
    let key = away.key();
    // As it was an hour ago: all pieces lay elsewhere.
    for told in &away.told {
        let mut told = Places::verify(&key.verifying_key(), told).unwrap();
        told.time = told.time - Duration::from_hours(1);
        let nodes: Vec<_> = told.pieces.iter().map(|piece| piece.node).collect();
        for (piece, node) in told.pieces.iter_mut().zip(nodes.iter().cycle().skip(1)) {
            piece.node = *node;
        }
        for node in away.world.network.nodes().iter().step_by(3) {
            node.tell(told.sign(&key));
        }
    }
    let cid: Cid = away.file.parse().unwrap();
    let answer = away.get(Method::GET, "", None).await;
    assert_comes_back(&answer, "the pieces are not there any more");
    assert!(away.gateway.locator.find(std::slice::from_ref(&cid), None).await.is_ok());
    // Another node knows better, and the others repeat the old word; whoever remembers that asks again when it has failed.
    away.world.network.nodes()[9].forget_places();
    away.tell(9);
    until(async || away.get(Method::GET, "", None).await.status == StatusCode::OK).await;
    away.assert_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_that_readers_of_a_root_are_sent_to_is_asked_about_all_below_it() {
    let away = Away::new(|config| {
        config.directory.own_region_max = 1;
        config.directory.elsewhere_max = 0;
        // Whatever probes take: who comes first is up to the root alone.
        config.ranking.latency_good = Duration::from_hours(1);
    })
    .await;
    let sent = away.get(Method::GET, "?route=redirect", None).await;
    assert_eq!(sent.status, StatusCode::TEMPORARY_REDIRECT, "{sent:?}");
    let node = away.sent_to(&sent);
    away.tell(node);
    // That node has no cache of its own, and asks for blocks far from the root.
    let told = |told: &String| Places::verify(&away.key().verifying_key(), told).unwrap();
    let root: Cid = away.file.parse().unwrap();
    let below: Vec<Cid> =
        away.told.iter().flat_map(|text| told(text).blocks).map(|block| block.cid).collect();
    assert!(below.len() > 2, "a root and its leaves");
    let nodes = away.world.network.nodes();
    for cid in below {
        let answer = locate_below(&away.router, &nodes[node], std::slice::from_ref(&cid), Some(&root)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.json()["blocks"][0]["cid"], json!(cid.to_string()));
    }
    let asked = away.asked();
    assert_eq!(asked.iter().sum::<usize>(), asked[node], "nobody else was asked: {asked:?}");
    let away = Away { router: router(&another(&away).await), ..away };
    away.assert_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_slow_and_not_away_is_asked_beside_nodes_that_do_not_answer() {
    let world = World::with(20, |config| {
        let long = Duration::from_hours(1);
        (config.directory.timeout, config.directory.within) = (long, long);
    })
    .await;
    let file = world.upload("", patterned(1, 1_000)).await.file().cid.parse().unwrap();
    let gateway = world.another_gateway().await;
    gateway.probe_nodes().step().await.unwrap();
    for node in world.network.nodes() {
        node.set(Mode::Stalled);
    }
    let late = gateway.database.ask(std::future::pending::<Result<(), _>>()).await;
    assert!(matches!(late, Err(NoAnswer::Late(_))), "it is slow");
    // However many want to know, and although most have heard enough when the first nodes could answer.
    let finds = (0..300).map(|_| gateway.locator.find(std::slice::from_ref(&file), None));
    let all = tokio::time::timeout(Duration::from_mins(1), futures_util::future::join_all(finds)).await;
    for found in all.expect("nobody waits for the nodes") {
        assert_eq!(found.unwrap().0.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_stays_denied() {
    let list = tempfile::NamedTempFile::new().unwrap();
    let path = list.path().to_path_buf();
    let away = Away::new(|config| {
        config.denylist.files = vec![path];
        config.reads.mode = ReadMode::Proxy;
    })
    .await;
    away.tell(0);
    std::fs::write(list.path(), format!("/ipfs/{}\n", away.file)).unwrap();
    crate::WatchDenylist(away.gateway.clone()).step().await.unwrap();
    for query in ["", "?route=redirect"] {
        assert_eq!(away.get(Method::GET, query, None).await.status, StatusCode::GONE);
    }
    let cid: Cid = away.file.parse().unwrap();
    let answer = locate(&away.router, &away.world.network.nodes()[0], &[cid]).await;
    assert_eq!(answer.json()["blocks"], json!([]));
    assert_eq!(away.asked().iter().sum::<usize>(), 0, "nobody is asked about it");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_where_that_is_switched_off_or_the_database_answers() {
    let away = Away::new(|config| {
        config.directory.own_region_max = 0;
        config.directory.elsewhere_max = 0;
    })
    .await;
    away.tell(0);
    assert_comes_back(&away.get(Method::GET, "", None).await, "switched off");
    let unknown = Cid::of(content::Codec::Raw, content::HashFn::Sha2_256, b"unknown");
    assert_eq!(away.world.read(&unknown.to_string()).await.status, StatusCode::NOT_FOUND);
    away.world.assert_reads(&away.file, &away.bytes).await;
    assert_eq!(away.asked().iter().sum::<usize>(), 0);
}

/// Method, path, headers and body.
type Way<'a> = (Method, String, Vec<(&'static str, &'a str)>, Vec<u8>);

/// Every way in, with a key that is still remembered and with one that is not.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_by_every_way_are_told_when_to_come_back() {
    let world = World::new().await;
    let file = world.upload("", patterned(1, 1_000)).await.file().cid;
    let tus = [("tus-resumable", "1.0.0"), ("upload-length", "10")];
    let begun = with(world.request(Method::POST, "/tus", Body::empty()), &tus);
    let begun = world.send(begun).await.headers[header::LOCATION].to_str().unwrap().to_string();
    let begun = begun.trim_start_matches("https://gateway.example").to_string();
    world.get("/v1/files").await;
    world.db.close().await;
    let form = form_body(&[("file", Some("a"), b"some bytes"), ("network", None, b"public")]);
    let multipart = format!("multipart/form-data; boundary={}", super::world::BOUNDARY);
    let psa = json!({ "cid": file });
    let ways: Vec<Way<'_>> = vec![
        (Method::POST, "/v1/files".into(), vec![], b"bytes".into()),
        (Method::POST, "/v1/files".into(), vec![("content-type", &multipart)], form.clone()),
        (Method::POST, "/api/v0/add".into(), vec![("content-type", &multipart)], form.clone()),
        (Method::POST, format!("/api/v0/pin/add?arg={file}"), vec![], vec![]),
        (Method::POST, "/api/v0/block/put".into(), vec![("content-type", &multipart)], form.clone()),
        (
            Method::POST,
            "/psa/pins".into(),
            vec![("content-type", "application/json")],
            psa.to_string().into(),
        ),
        (Method::GET, "/psa/pins".into(), vec![], vec![]),
        (Method::POST, "/pinning/pinFileToIPFS".into(), vec![("content-type", &multipart)], form.clone()),
        (
            Method::POST,
            "/pinning/pinJSONToIPFS".into(),
            vec![("content-type", "application/json")],
            br#"{"pinataContent": {"a": 1}}"#.into(),
        ),
        (Method::POST, "/v3/files".into(), vec![("content-type", &multipart)], form),
        (Method::GET, "/v3/files/public".into(), vec![], vec![]),
        (Method::POST, "/tus".into(), tus.to_vec(), vec![]),
        (
            Method::PATCH,
            begun.clone(),
            vec![
                ("tus-resumable", "1.0.0"),
                ("upload-offset", "0"),
                ("content-type", "application/offset+octet-stream"),
            ],
            b"0123456789".into(),
        ),
        (Method::HEAD, begun, vec![("tus-resumable", "1.0.0")], vec![]),
        (Method::GET, "/v1/files".into(), vec![], vec![]),
        (Method::GET, format!("/v1/files/{file}/health"), vec![], vec![]),
        (Method::DELETE, format!("/v1/files/{file}"), vec![], vec![]),
    ];
    let send = async |method: &Method, uri: &str, headers: &[(&'static str, &str)], body: &[u8]| {
        let request = world.request(method.clone(), uri, body.to_vec());
        world.send(with(request, headers)).await
    };
    // At once, while the key is remembered; those that come late find that it is not.
    for again in [false, true] {
        if again {
            world.gateway.keys.forget_all();
        }
        let asked = ways.iter().map(|(method, uri, headers, body)| send(method, uri, headers, body));
        let answers = futures_util::future::join_all(asked).await;
        for (answer, (method, uri, ..)) in answers.iter().zip(&ways) {
            assert_comes_back(answer, &format!("{method} {uri} ({again})"));
        }
    }
    let [pending, live, ..] = {
        let db = world.another_gateway().await.db.clone();
        db.segment_counts().await.unwrap()
    };
    assert_eq!((pending, live), (0, 1), "nothing but the first file is recorded");
}

fn with(
    mut request: axum::http::Request<Body>,
    headers: &[(&'static str, &str)],
) -> axum::http::Request<Body> {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    request.headers_mut().extend(headers);
    request
}
