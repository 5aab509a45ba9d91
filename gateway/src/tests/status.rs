//! How the network is, as a gateway tells whoever holds the admin token.

use std::time::Duration;

use axum::{body::Body, http::Method};
use protocol::status::NetworkStatus;
use serde_json::json;
use store::{MonitorSign, Tallies};
use testing::Mode;

use super::world::{World, patterned, request};
use crate::routes::status::told;

/// What is said now, and not what was said a moment ago.
async fn status(world: &World) -> NetworkStatus {
    world.gateway.status.notes.forget().await;
    world.gateway.status.tallies.forget().await;
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
    world.db.beat(None, now, Duration::from_hours(1)).await.unwrap();
    assert_eq!(status(&world).await.problems(), Vec::<String>::new());
    world.db.hold_collection(now, "it was set back").await.unwrap();
    // One that works elsewhere, and one that worked there.
    for (id, away) in [("here", Duration::ZERO), ("gone", Duration::from_mins(2))] {
        let breaker = Some("4 of 9 nodes are offline".into());
        world.db.sign_monitor(&MonitorSign { id: id.into(), seen: now - away, breaker }).await.unwrap();
    }
    for node in &world.network.nodes()[..3] {
        node.set(Mode::Dead);
    }
    service::job::Job::step(&world.gateway.probe_nodes()).await.unwrap();
    let said = status(&world).await;
    assert_eq!(said.regions.values().map(|region| region.offline).sum::<u64>(), 3, "{said:?}");
    let problems = said.problems();
    assert!(problems.len() == 3 && problems[0].starts_with("15 nodes"), "{problems:?}");
    assert_eq!(problems[1], "monitor here holds consequences back: 4 of 9 nodes are offline");
    assert_eq!(problems[2], "nothing is collected: it was set back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_is_not_told_as_a_monitor() {
    let world = World::new().await;
    world.db.begin_recovery(world.gateway.clock.now()).await.unwrap();
    let said = status(&world).await;
    assert_eq!(said.recorded.as_ref().unwrap().monitor_seen_ms_ago, None, "{said:?}");
    let problems = said.problems();
    assert_eq!(problems[0], "no monitor has ever worked here");
    assert!(problems.len() == 2 && problems[1].starts_with("nothing is collected"), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_without_the_database_too() {
    let world = World::new().await;
    world.db.close().await;
    let said = status(&world).await;
    assert_eq!((said.recorded.clone(), said.nodes_usable), (None, 20));
    assert!(said.not_ready.is_some() && said.problems().len() == 2, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_take_long_do_not_look_like_a_database_that_is_away() {
    let world = World::new().await;
    world.db.beat(None, world.gateway.clock.now(), Duration::from_hours(1)).await.unwrap();
    let memory = &world.gateway.status;
    // Somebody asked before, and the answer does not come.
    assert!(memory.tallies.get(Duration::ZERO, std::future::pending()).await.is_err());
    let said = told(&world.gateway, Duration::ZERO).await;
    assert_eq!((said.not_ready.clone(), said.database.as_str()), (None, "up"));
    let recorded = said.recorded.as_ref().unwrap();
    assert!(recorded.monitor_seen_ms_ago.is_some() && recorded.segments.is_empty(), "{said:?}");
    assert_eq!((recorded.repairs_waiting, recorded.unpins_waiting), (None, None));
    let problems = said.problems();
    assert!(problems.len() == 1 && problems[0].contains("took too long"), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_not_asked_anew_for_everybody_who_looks() {
    let world = World::new().await;
    let (tell, counted) = tokio::sync::oneshot::channel();
    let question = async { Ok(counted.await.unwrap_or_default()) };
    assert!(world.gateway.status.tallies.get(Duration::ZERO, question).await.is_err(), "it is open");
    let (said, sent) = tokio::join!(told(&world.gateway, Duration::from_mins(2)), async {
        tell.send(Tallies { live: 77, ..Tallies::default() })
    });
    assert_eq!((said.recorded.unwrap().segments["live"], sent), (77, Ok(())), "what somebody else asked");
}
