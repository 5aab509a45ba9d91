//! What operators see.

use axum::body::Body;
use http::{Request, StatusCode};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use testing::Mode;

use super::world::{MINUTE, World};

#[tokio::test]
async fn status_and_events_are_shown() {
    let world = World::new(20).await;
    world.upload(1, 0..20).await;
    let monitor = world.monitor();
    world.set([3], Mode::Dead);
    world.pass(&monitor.probe(), MINUTE, MINUTE / 12).await;
    let draining = CancellationToken::new();
    let router = monitor.router(None, draining.clone());
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default())
    };
    let (status, body) = get("/v1/status").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["nodes"]["online"], 19);
    assert_eq!(body["nodes"]["offline"], 1);
    assert_eq!(body["nodes"]["standings"]["vetting"], 20);
    assert_eq!(body["segments"]["live"], 1);
    assert_eq!(body["breaker"], serde_json::Value::Null);
    let (_, body) = get("/v1/events?limit=5").await;
    assert_eq!(body[0]["kind"], "node_offline");
    assert_eq!(body[0]["node"], world.nodes[3].id().to_string());
    assert_eq!(get("/readyz").await.0, StatusCode::OK);
    draining.cancel();
    let (status, body) = get("/readyz").await;
    assert_eq!((status.as_u16(), body["error"]["reason"].as_str()), (503, Some("stopping")));
    assert_eq!(get("/healthz").await.0, StatusCode::OK);
    world.db.close().await;
    assert_eq!(get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    for path in ["/v1/status", "/v1/events"] {
        let (status, body) = get(path).await;
        let reason = body["error"]["reason"].as_str();
        assert_eq!((status.as_u16(), reason), (503, Some("database_unavailable")), "{path}");
    }
    assert_eq!(get("/healthz").await.0, StatusCode::OK);
}
