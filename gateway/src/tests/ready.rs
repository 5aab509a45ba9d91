//! When a gateway says that it is ready.

use std::time::Duration;

use axum::http::StatusCode;
use testing::Mode;

use super::world::{World, patterned, request, send_to};
use crate::run::look_at_nodes;

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_not_ready_before_it_has_looked_at_its_nodes() {
    let world = World::with(24, |_| {}).await;
    for node in &world.network.nodes()[..4] {
        node.set(Mode::Dead);
    }
    let gateway = world.another_gateway().await;
    let router = crate::router(&gateway);
    let ready = async || send_to(router.clone(), request("GET".parse().unwrap(), "/readyz", None, "")).await;
    assert_eq!(ready().await.error(), (503, "starting".into()));
    look_at_nodes(&gateway, Duration::from_secs(60)).await;
    assert_eq!(ready().await.status, StatusCode::OK);
    let client =
        super::world::request("POST".parse().unwrap(), "/v1/files", Some(&world.key), patterned(1, 9));
    assert_eq!(send_to(router, client).await.status, StatusCode::CREATED, "the first upload finds its nodes");
    assert!(world.network.nodes()[..4].iter().all(|node| !gateway.nodes.is_reachable(node.id())));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_hang_do_not_stop_a_gateway_from_starting() {
    let world = World::with(20, |config| config.reads.confirm_timeout = Duration::from_secs(3600)).await;
    for node in world.network.nodes() {
        node.set(Mode::Slow(Duration::from_secs(3600)));
    }
    let gateway = world.another_gateway().await;
    look_at_nodes(&gateway, Duration::from_millis(20)).await;
    assert!(gateway.nodes.were_looked_at());
}
