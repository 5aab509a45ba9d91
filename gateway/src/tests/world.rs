//! A gateway over a database in a temporary file and nodes in memory, and short ways to ask it things.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use protocol::{api::FileInfo, reputation::Reputation};
use serde_json::Value;
use service::{clock::Clock, dice::Dice, http::client_address::PeerAddr, job::Job as _};
use shared::Link;
use store::{Db, DbOptions, NewApiKey, NewNode};
use tempfile::TempDir;
use testing::FakeNetwork;
use tower::ServiceExt as _;

use crate::{
    Config, Gateway, Parts, ReadMode, auth,
    geoip::{GeoIp, GeoIpConfig, dev_ranges, write_dev_database},
};

pub(super) const ADMIN: &str = "admin token";
pub(super) const ACCOUNT: &str = "0123456789abcdef01234567";

pub(super) struct World {
    dir: TempDir,
    pub(super) network: FakeNetwork,
    pub(super) db: Db,
    pub(super) gateway: Gateway,
    pub(super) router: Router,
    /// A key of [`ACCOUNT`] that may do everything.
    pub(super) key: String,
}

/// An answer with its whole body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Status and reason of an error; checks that it has the form of all errors.
    #[track_caller]
    pub(super) fn error(&self) -> (u16, String) {
        let json = self.json();
        assert!(!json["error"]["details"].as_str().unwrap().is_empty(), "{json}");
        let retry = self.headers.contains_key(header::RETRY_AFTER);
        let is_passing =
            matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(retry, is_passing, "{self:?}");
        (self.status.as_u16(), json["error"]["reason"].as_str().unwrap().to_string())
    }

    #[track_caller]
    pub(super) fn file(&self) -> FileInfo {
        assert_eq!(self.status, StatusCode::CREATED, "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(20, |_| {}).await
    }

    /// A network of so many nodes, and a gateway whose configuration is changed first.
    pub(super) async fn with(nodes: u8, change: impl FnOnce(&mut Config)) -> Self {
        Self::with_strangers(nodes, 0, change).await
    }

    /// The same with more nodes that are not enrolled.
    pub(super) async fn with_strangers(nodes: u8, strangers: u8, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = open_db(&dir).await;
        db.migrate().await.unwrap();
        let clock = Clock::System;
        let network = FakeNetwork::new(nodes + strangers, clock.clone());
        let places = dir.path().join("places.mmdb");
        write_dev_database(&places, &dev_ranges(3)).unwrap();
        let mut config = Config {
            public_url: "https://gateway.example/".into(),
            geoip: GeoIpConfig { path: Some(places), ..GeoIpConfig::default() },
            ..Config::default()
        };
        config.reads.mode = ReadMode::Proxy;
        // Nobody is to be thought slow because the machine is.
        config.gather.hedge_after = Duration::from_secs(20);
        change(&mut config);
        for node in &network.nodes()[..nodes.into()] {
            enrol(&db, &config, &clock, node).await;
        }
        db.create_account(ACCOUNT, "tests", 1 << 40, clock.now()).await.unwrap();
        let gateway = Gateway::new(Parts {
            db: db.clone(),
            transport: network.transport(),
            network_key: network.signer().key().clone(),
            admin_token: Some(ADMIN.into()),
            clock,
            dice: Dice::System,
            config,
            redis: None,
            metrics: None,
        });
        let gateway = gateway.unwrap();
        gateway.nodes.refresh().await.unwrap();
        gateway.nodes.end_first_look();
        let router = crate::router(&gateway);
        let mut world = Self { dir, network, db, gateway, router, key: String::new() };
        world.key = world.make_key(&["read", "write", "delete"], None).await;
        world
    }

    /// Another gateway of the same network, with connections of its own to the same database.
    pub(super) async fn another_gateway(&self) -> Gateway {
        self.linked_gateway(None).await
    }

    /// The same with a way to others like it.
    pub(super) async fn linked_gateway(&self, redis: Option<Link>) -> Gateway {
        let gateway = Gateway::new(Parts {
            db: open_db(&self.dir).await,
            transport: self.network.transport(),
            network_key: self.network.signer().key().clone(),
            admin_token: Some(ADMIN.into()),
            clock: self.gateway.clock.clone(),
            dice: Dice::System,
            config: Config::clone(&self.gateway.config),
            redis,
            metrics: None,
        });
        let gateway = gateway.unwrap();
        gateway.nodes.refresh().await.unwrap();
        gateway
    }

    /// A key of [`ACCOUNT`].
    pub(super) async fn make_key(&self, scopes: &[&str], expires_in: Option<i64>) -> String {
        let minted = auth::mint_key(&Dice::System);
        let now = self.gateway.clock.now();
        let key = NewApiKey {
            id: minted.id,
            account: ACCOUNT.into(),
            name: String::new(),
            secret_hash: minted.secret_hash,
            scopes: scopes.join(","),
            expires: expires_in.map(|ms| protocol::time::UnixMillis(now.0 + ms)),
        };
        self.db.create_key(&key, now).await.unwrap();
        minted.key
    }

    /// Asks every node how it is, as the gateway does every second.
    pub(super) async fn probe(&self) {
        self.gateway.nodes.refresh().await.unwrap();
        self.gateway.probe_nodes().step().await.unwrap();
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        send_to(self.router.clone(), request).await
    }

    /// A request with the account's key.
    pub(super) fn request(&self, method: Method, uri: &str, body: impl Into<Body>) -> Request<Body> {
        request(method, uri, Some(&self.key), body)
    }

    pub(super) async fn get(&self, uri: &str) -> Answer {
        self.send(self.request(Method::GET, uri, Body::empty())).await
    }

    pub(super) async fn delete(&self, uri: &str) -> Answer {
        self.send(self.request(Method::DELETE, uri, Body::empty())).await
    }

    /// A request with the admin token and a JSON body.
    pub(super) async fn admin(&self, method: Method, uri: &str, body: Value) -> Answer {
        self.send(json_request(method, uri, Some(ADMIN), &body)).await
    }

    /// Uploads bytes as they are.
    pub(super) async fn upload(&self, query: &str, bytes: impl Into<Body>) -> Answer {
        self.send(self.request(Method::POST, &format!("/v1/files{query}"), bytes)).await
    }

    /// Uploads a form with a field for each file.
    pub(super) async fn upload_form(&self, query: &str, files: &[(&str, &[u8])]) -> Answer {
        let fields: Vec<(&str, Option<&str>, &[u8])> =
            files.iter().map(|(path, bytes)| ("file", Some(*path), *bytes)).collect();
        self.send(self.form(query, &fields)).await
    }

    /// A form of fields with name, file name and content.
    pub(super) fn form(&self, query: &str, fields: &[(&str, Option<&str>, &[u8])]) -> Request<Body> {
        let mut request = self.request(Method::POST, &format!("/v1/files{query}"), form_body(fields));
        let value = format!("multipart/form-data; boundary={BOUNDARY}");
        request.headers_mut().insert(header::CONTENT_TYPE, value.parse().unwrap());
        request
    }

    /// Reads what is under a path through the gateway.
    pub(super) async fn read(&self, path: &str) -> Answer {
        self.send(request(Method::GET, &format!("/ipfs/{path}"), None, Body::empty())).await
    }

    pub(super) async fn assert_reads(&self, path: &str, bytes: &[u8]) {
        let answer = self.read(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.headers);
        assert!(answer.body == bytes, "{path}: wrong bytes");
    }

    /// How many segments there are: pending, live, orphaned, lost.
    pub(super) async fn segments(&self) -> [u64; 4] {
        self.db.segment_counts().await.unwrap()
    }

    /// The account's used bytes.
    pub(super) async fn used_bytes(&self) -> u64 {
        self.db.account(ACCOUNT).await.unwrap().unwrap().used_bytes
    }
}

/// Sends a request to the gateway whose router this is.
pub(super) async fn send_to(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// The world's database. Not durable: no test here pulls the plug.
async fn open_db(dir: &TempDir) -> Db {
    let mut options = DbOptions::new(format!("sqlite://{}", dir.path().join("test.db").display()));
    options.durable = false;
    Db::open(&options).await.unwrap()
}

/// Enrols a node as its request would.
async fn enrol(db: &Db, config: &Config, clock: &Clock, node: &testing::FakeNode) {
    let now = clock.now();
    let invite = format!("invite of {}", node.id());
    db.create_invite(&invite, &invite, 1, now, now + Duration::from_hours(1)).await.unwrap();
    let address = node.url().trim_start_matches("http://").trim_end_matches(":4000");
    let place = GeoIp::open(&config.geoip).lookup(address.parse().unwrap()).unwrap();
    let reputation = Reputation::new(now, &config.reputation);
    let new = NewNode {
        id: node.id(),
        url: node.url().into(),
        address: address.into(),
        region: place.region.to_string(),
        country: None,
        latitude: None,
        longitude: None,
        version: "test".into(),
        capacity_bytes: 1 << 40,
        standing: reputation.standing.name().into(),
        reputation: serde_json::to_string(&reputation).unwrap(),
    };
    db.enrol(&new, Some(&invite), now).await.unwrap().unwrap();
}

pub(super) const BOUNDARY: &str = "a-boundary-that-is-in-no-file";

/// The bytes of a form.
pub(super) fn form_body(fields: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file_name, content) in fields {
        let file_name = file_name.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
        let head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

pub(super) fn request(
    method: Method,
    uri: &str,
    bearer: Option<&str>,
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(bearer) = bearer {
        request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    }
    request.body(body.into()).unwrap()
}

pub(super) fn json_request(method: Method, uri: &str, bearer: Option<&str>, body: &Value) -> Request<Body> {
    let mut request = request(method, uri, bearer, body.to_string());
    request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    request
}

/// As the server does with the address of the other end.
pub(super) fn from_peer(mut request: Request<Body>, address: &str) -> Request<Body> {
    let address: SocketAddr = format!("{address}:50000").parse().unwrap();
    request.extensions_mut().insert(PeerAddr(address));
    request
}

/// Bytes that differ from place to place and from seed to seed.
pub(super) fn patterned(seed: u32, len: usize) -> Vec<u8> {
    let start = seed.wrapping_mul(0x0100_0193);
    let words = (0_u32..).map(|word| (word ^ start).wrapping_mul(0x9e37_79b1).wrapping_add(seed));
    words.flat_map(u32::to_le_bytes).take(len).collect()
}

/// Waits until something is so.
pub(super) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it comes about within 30 s");
}
