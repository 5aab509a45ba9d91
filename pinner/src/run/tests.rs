//! A node on a real disk and real sockets: what it took is there after a restart, without any gateway.

use axum::{Json, Router, extract::State, routing::post};
use client::{NodeClient, PieceOrder};
use ed25519_dalek::SigningKey;
use protocol::{
    api::EnrolAnswer,
    ids::{NodeId, PieceHash, SegmentId},
    order::{Action, Purpose},
    piece::PieceMeta,
    proof::verify_slice,
};
use service::{http::server::HttpConfig, signer::Signer};

use super::*;
use crate::config::ByteSize;

/// A node that serves until it is shut down.
struct Running {
    life: Lifecycle,
    pinner: Pinner,
    url: String,
    store: Arc<dyn PieceStore>,
    usage: Usage,
}

async fn start(config: &Config) -> Running {
    let server = Server::bind(config.listen, config.http.clone()).await.unwrap();
    let url = own_url(server.local_addr().unwrap());
    let config = Config { url: url.clone(), ..config.clone() };
    let transport = Transport::http(config.timeouts.clone()).unwrap();
    let parts = open(&config, transport, Clock::System, Dice::System, url.clone()).await.unwrap();
    let (store, usage) = (parts.store.clone(), parts.usage.clone());
    let pinner = Pinner::new(parts, config);
    let life = Lifecycle::default();
    life.spawn(server.serve(pinner.router(None), life.stop()));
    pinner.spawn_jobs(&life);
    Running { life, pinner, url, store, usage }
}

async fn stop(running: Running) {
    running.life.shut_down().await;
    drop(running.pinner);
    close(running.store, running.usage).await.unwrap();
}

/// A gateway that admits everybody it can call back.
async fn gateway(key: NodeId, life: &Lifecycle) -> String {
    let enrol = async |State((nodes, key)): State<(NodeClient, NodeId)>, body: String| {
        let request: protocol::api::EnrolRequest = serde_json::from_str(&body).unwrap();
        nodes.identity(&request.url, "nonce").await.unwrap();
        Json(EnrolAnswer { network_key: key.to_string(), region: "eu".into(), receipt: None })
    };
    let nodes = NodeClient::new(Transport::http(client::Timeouts::default()).unwrap());
    let router = Router::new().route("/v1/nodes/enrol", post(enrol)).with_state((nodes, key));
    let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), HttpConfig::default()).await.unwrap();
    let url = own_url(server.local_addr().unwrap());
    life.spawn(server.serve(router, life.stop()));
    url
}

fn orders(running: &Running, signer: &Signer, meta: PieceMeta) -> [PieceOrder; 2] {
    let order = |action| PieceOrder {
        node: running.pinner.id(),
        url: running.url.clone(),
        hash: meta.hash,
        order: signer.order(running.pinner.id(), action, meta.piece_len(), Duration::from_mins(5)),
    };
    [order(Action::Put(meta)), order(Action::Get(meta.hash, Purpose::Read))]
}

#[tokio::test]
async fn what_was_taken_is_there_after_a_restart_without_a_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::new(SigningKey::from_bytes(&[3; 32]), Clock::System, Dice::System);
    let gateway_life = Lifecycle::default();
    let gateway_url = gateway(NodeId(signer.public_key().to_bytes()), &gateway_life).await;
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: dir.path().to_owned(),
        gateways: vec![gateway_url],
        capacity: ByteSize(100 << 20),
        reserve: ByteSize(0),
        ..Config::default()
    };
    let scheme = erasure::Scheme::new(erasure::Codec::Gf8, 8, 16).unwrap();
    let mut meta = PieceMeta {
        hash: PieceHash([0; 32]),
        segment: SegmentId([1; 16]),
        index: 0,
        scheme,
        segment_len: 4 << 20,
    };
    let bytes = bytes::Bytes::from(vec![7; usize::try_from(meta.piece_len()).unwrap()]);
    meta.hash = PieceHash::of(&bytes);
    let (client, timeout) =
        (NodeClient::new(Transport::http(config.timeouts.clone()).unwrap()), Duration::from_secs(20));

    let running = start(&config).await;
    // Until the node is admitted it says that it is not ready, so trying again is all there is to wait for.
    let [put, _] = orders(&running, &signer, meta);
    let trying =
        async { while client.put(&put, [bytes.clone()].into_iter().collect(), timeout).await.is_err() {} };
    tokio::time::timeout(timeout, trying).await.unwrap();
    let id = running.pinner.id();
    stop(running).await;
    gateway_life.shut_down().await;

    let running = start(&config).await;
    assert_eq!(running.pinner.id(), id);
    assert_eq!(running.store.stats().pieces, 1);
    let [put, get] = orders(&running, &signer, meta);
    let len = meta.piece_len();
    let encoded = client.get(&get, 0..len, timeout).await.unwrap().collect(8 << 20).await.unwrap();
    assert!(verify_slice(meta.hash, len, 0..len, &encoded[..]).unwrap() == bytes);
    client.put(&put, [bytes].into_iter().collect(), timeout).await.unwrap();
    running.usage.flush(Clock::System.now()).unwrap();
    let hours = running.usage.hours(Clock::System.now() + Duration::from_hours(1)).unwrap();
    assert_eq!(running.usage.hour(hours[0]).unwrap()[0].bytes, len);
    stop(running).await;
}

#[test]
fn a_node_reaches_itself_where_it_listens() {
    let check = |listen: &str| own_url(listen.parse().unwrap());
    assert_eq!(check("0.0.0.0:80"), "http://127.0.0.1:80");
    assert_eq!(check("[::]:80"), "http://[::1]:80");
    assert_eq!(check("192.0.2.1:4100"), "http://192.0.2.1:4100");
}

#[test]
fn an_invitation_comes_from_either_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("invite");
    let from_file = Config { invite_file: file.clone(), ..Config::default() };
    assert_eq!(invite(&from_file).unwrap(), None);
    std::fs::write(file, "abc\n").unwrap();
    assert_eq!(invite(&from_file).unwrap().as_deref(), Some("abc"));
    assert_eq!(
        invite(&Config { invite: "xyz".into(), ..Config::default() }).unwrap().as_deref(),
        Some("xyz")
    );
    assert_eq!(invite(&Config::default()).unwrap(), None);
}
