//! How the network is, as a gateway tells whoever holds the admin token.

use axum::{body::Body, http::Method};
use protocol::status::NetworkStatus;
use serde_json::json;
use testing::Mode;

use super::world::{World, patterned, request};

async fn status(world: &World) -> NetworkStatus {
    let answer = world.admin(Method::GET, "/v1/admin/status", json!(null)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_value(answer.json()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_is_told_as_it_is_and_to_nobody_else() {
    let world = World::with(18, |_| {}).await;
    for token in [None, Some("wrong")] {
        let answer = world.send(request(Method::GET, "/v1/admin/status", token, Body::empty())).await;
        assert!(
            answer.status.is_client_error() && !answer.json().to_string().contains("nodes"),
            "{answer:?}"
        );
    }
    world.upload("", patterned(1, 300_000)).await.file();
    let said = status(&world).await;
    assert_eq!((said.not_ready.clone(), said.redis.as_str()), (None, "off"));
    assert_eq!((said.nodes_needed, said.nodes_usable), (16, 18));
    let healthy: Vec<u64> = said.regions.values().map(|region| region.healthy).collect();
    assert_eq!(healthy, [6, 6, 6], "{said:?}");
    let recorded = said.recorded.as_ref().unwrap();
    assert_eq!((recorded.segments["live"], recorded.segments["lost"]), (1, 0));
    assert_eq!(said.problems(), ["no monitor has ever worked here"]);

    let now = world.gateway.clock.now();
    world.db.beat(None, now, std::time::Duration::from_hours(1)).await.unwrap();
    assert_eq!(status(&world).await.problems(), Vec::<String>::new());
    world.db.hold_collection(now, "it was set back").await.unwrap();
    for node in &world.network.nodes()[..3] {
        node.set(Mode::Dead);
    }
    service::job::Job::step(&world.gateway.probe_nodes()).await.unwrap();
    let said = status(&world).await;
    assert_eq!(said.regions.values().map(|region| region.offline).sum::<u64>(), 3, "{said:?}");
    let problems = said.problems();
    assert!(problems.len() == 2 && problems[0].starts_with("15 nodes"), "{problems:?}");
    assert_eq!(problems[1], "nothing is collected: it was set back");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_without_the_database_too() {
    let world = World::new().await;
    world.db.close().await;
    let said = status(&world).await;
    assert_eq!((said.recorded.clone(), said.nodes_usable), (None, 20));
    assert!(said.not_ready.is_some() && said.problems().len() == 2, "{said:?}");
}
