//! What each listener of a gateway shows, and to whom.

use std::net::SocketAddr;

use axum::{
    Router,
    http::{Method, StatusCode},
};
use tokio_util::sync::CancellationToken;

use super::world::{ADMIN, World, request, send_to};
use crate::{
    Config,
    routes::{Surface, surface},
};

const INTERNAL: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
const ADMINS: &str = "/v1/admin/accounts";
const PUBLIC: &str = "/v1/nodes";

async fn status(router: &Router, path: &str) -> StatusCode {
    send_to(router.clone(), request(Method::GET, path, Some(ADMIN), "")).await.status
}

async fn surface_of(change: impl FnOnce(&mut Config)) -> (World, Surface, CancellationToken) {
    let world = World::with(0, change).await;
    let draining = CancellationToken::new();
    let surface = surface(&world.gateway, draining.clone());
    (world, surface, draining)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_listener_of_its_own_is_nowhere_else() {
    let own: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let both = |config: &mut Config| (config.internal_listen, config.admin_listen) = (Some(own), Some(own));
    let (_world, surface, _) = surface_of(both).await;
    let Surface { public, internal: Some(internal), admin: Some(admin) } = surface else {
        panic!("each has its own")
    };
    for path in INTERNAL {
        assert_eq!(status(&internal, path).await, StatusCode::OK, "{path}");
        assert_eq!(status(&public, path).await, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(status(&admin, path).await, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(status(&admin, ADMINS).await, StatusCode::OK);
    for other in [&public, &internal] {
        assert_eq!(status(other, ADMINS).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(status(&public, PUBLIC).await, StatusCode::OK);
    for other in [&admin, &internal] {
        assert_eq!(status(other, PUBLIC).await, StatusCode::NOT_FOUND);
        assert_eq!(status(other, "/ipfs/bafkqaaa").await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_listeners_of_their_own_metrics_are_for_this_machine_only() {
    let (_world, at_home, _) = surface_of(|_| {}).await;
    assert!(at_home.internal.is_none() && at_home.admin.is_none());
    for path in INTERNAL.into_iter().chain([ADMINS, PUBLIC]) {
        assert_eq!(status(&at_home.public, path).await, StatusCode::OK, "{path}");
    }
    let (_world, abroad, _) = surface_of(|config| config.listen = "0.0.0.0:80".parse().unwrap()).await;
    assert_eq!(status(&abroad.public, "/metrics").await, StatusCode::NOT_FOUND);
    assert_eq!(status(&abroad.public, "/healthz").await, StatusCode::OK);
    assert_eq!(status(&abroad.public, "/readyz").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_about_to_end_is_not_ready() {
    let (_world, surface, draining) = surface_of(|_| {}).await;
    assert_eq!(status(&surface.public, "/readyz").await, StatusCode::OK);
    draining.cancel();
    let answer = send_to(surface.public.clone(), request(Method::GET, "/readyz", None, "")).await;
    assert_eq!(answer.error(), (503, "stopping".into()));
    assert_eq!(status(&surface.public, "/healthz").await, StatusCode::OK);
    assert_eq!(status(&surface.public, PUBLIC).await, StatusCode::OK, "requests are still answered");
}
