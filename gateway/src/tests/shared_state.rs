//! What gateways share through a real Redis, and that it costs speed only when it is gone.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use content::Cid;
use retrieval::Locator as _;
use serde_json::json;
use service::job::Job as _;
use shared::{Link, Notice, RedisConfig};
use testing::{Mode, RedisServer};
use tokio_util::sync::CancellationToken;

use super::world::{ADMIN, World, json_request, patterned, request, send_to, until};
use crate::{Gateway, heed::heed, router};

/// A world, and two gateways of it that share a Redis.
struct Shared {
    world: World,
    redis: RedisServer,
    one: Gateway,
    other: Gateway,
    stop: CancellationToken,
}

impl Shared {
    /// `None` where there is no `redis-server`.
    async fn new(change: impl FnOnce(&mut crate::Config)) -> Option<Self> {
        let redis = RedisServer::start(&[])?;
        let world = World::with(20, change).await;
        let mut gateways = Vec::new();
        let stop = CancellationToken::new();
        for _ in 0..2 {
            let config = RedisConfig {
                call_timeout: Duration::from_secs(2),
                retry_every: Duration::from_millis(20),
                ..RedisConfig::default()
            };
            let link = Link::new(&redis.url(), config, world.network.signer().key().as_bytes()).unwrap();
            let gateway = world.linked_gateway(Some(link)).await;
            let mut heard = gateway.notices.listen();
            tokio::spawn(heed(gateway.clone(), gateway.notices.listen(), stop.clone()));
            tokio::spawn(gateway.notices.clone().hear(stop.clone()));
            assert_eq!(heard.next().await, Some(Notice::Missed), "it has subscribed");
            gateways.push(gateway);
        }
        let (other, one) = (gateways.pop().unwrap(), gateways.pop().unwrap());
        Some(Self { world, redis, one, other, stop })
    }

    async fn list(&self, gateway: &Gateway) -> StatusCode {
        let listed = request(Method::GET, "/v1/files", Some(&self.world.key), "");
        send_to(router(gateway), listed).await.status
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_one_share_at_all_gateways_and_each_counts_when_redis_is_gone() {
    let limited = |config: &mut crate::Config| {
        config.limits.account_rate = 0.001;
        config.limits.account_burst = 6;
    };
    let Some(mut shared) = Shared::new(limited).await else { return };
    for gateway in [&shared.one, &shared.other] {
        for _ in 0..3 {
            assert_eq!(shared.list(gateway).await, StatusCode::OK);
        }
    }
    assert_eq!(shared.list(&shared.one).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(shared.list(&shared.other).await, StatusCode::TOO_MANY_REQUESTS);
    shared.redis.kill();
    // Four requests each were counted at home, the refused ones too.
    for gateway in [&shared.one, &shared.other] {
        assert_eq!(shared.list(gateway).await, StatusCode::OK);
        assert_eq!(shared.list(gateway).await, StatusCode::OK);
        assert_eq!(shared.list(gateway).await, StatusCode::TOO_MANY_REQUESTS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_told_to_all_gateways() {
    let Some(shared) = Shared::new(|_| {}).await else { return };
    let id = shared.world.key.strip_prefix("pk_").unwrap().split('.').next().unwrap().to_string();
    let mut heard = shared.other.notices.listen();
    assert_eq!(shared.list(&shared.other).await, StatusCode::OK);
    let revoke = json_request(Method::DELETE, &format!("/v1/admin/keys/{id}"), Some(ADMIN), &json!({}));
    assert_eq!(send_to(router(&shared.one), revoke).await.status, StatusCode::NO_CONTENT);
    assert_eq!(heard.next().await, Some(Notice::KeyChanged { id }));
    until(async || shared.list(&shared.other).await == StatusCode::UNAUTHORIZED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_is_asked_by_one_gateway_and_bad_news_is_not_passed_on() {
    let rarely = |config: &mut crate::Config| config.nodes.probe_every = Duration::from_hours(1);
    let Some(shared) = Shared::new(rarely).await else { return };
    let nodes = shared.world.network.nodes();
    nodes[0].set(Mode::Dead);
    shared.one.probe_nodes().step().await.unwrap();
    assert!(!shared.one.nodes.is_reachable(nodes[0].id()));
    let told = || shared.redis.command("DBSIZE");
    until(async || told().trim() == ":19").await;

    // The other one believes that they answer, though they would not any more; the one of which nothing was said it asks.
    for node in &nodes[1..] {
        node.set(Mode::Dead);
    }
    nodes[0].set(Mode::Honest);
    shared.other.probe_nodes().step().await.unwrap();
    let usable =
        |gateway: &Gateway| gateway.nodes.candidates().iter().filter(|node| node.score > 0.0).count();
    assert_eq!(usable(&shared.other), 20);
    assert_eq!(usable(&shared.one), 19);
    until(async || told().trim() == ":20").await;

    // Without Redis everybody asks.
    shared.redis.command("FLUSHALL");
    shared.other.probe_nodes().step().await.unwrap();
    assert_eq!(usable(&shared.other), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_are_asked_for_often_are_known_to_all_gateways_though_the_database_is_away() {
    let Some(shared) = Shared::new(|_| {}).await else { return };
    let (hot, cold) = (patterned(1, 300_000), patterned(2, 300_000));
    let hot_cid: Cid = shared.world.upload("?name=hot", hot.clone()).await.file().cid.parse().unwrap();
    let cold_cid: Cid = shared.world.upload("?name=cold", cold).await.file().cid.parse().unwrap();
    let found = async |gateway: &Gateway, cid: &Cid| {
        gateway.locator.find(std::slice::from_ref(cid), None).await.is_ok_and(|(blocks, _)| blocks.len() == 1)
    };
    assert!(found(&shared.one, &hot_cid).await && found(&shared.one, &cold_cid).await);
    assert!(shared.redis.command("DBSIZE").contains(":0"), "what is asked for once is of no use to others");
    // Asked for again when what is remembered is no longer fresh.
    shared.one.locator.forget(std::slice::from_ref(&hot_cid));
    assert!(found(&shared.one, &hot_cid).await);
    until(async || shared.redis.command("DBSIZE").contains(":2")).await;

    shared.other.db.close().await;
    assert!(found(&shared.other, &hot_cid).await);
    assert!(!found(&shared.other, &cold_cid).await);
    // What turned out to be wrong here is not believed of others before the database has said it again.
    shared.other.locator.forget(std::slice::from_ref(&hot_cid));
    let told =
        shared.other.locator.find_shared(std::slice::from_ref(&hot_cid), shared.other.clock.now()).await;
    assert!(!told, "it is doubted");
}
