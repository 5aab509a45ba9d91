//! The description of the API is that of the API.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::Value;

use super::world::{World, request};

/// What a router says of a path that it does not have, in the form of each surface.
fn is_unknown(status: StatusCode, body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    // Of Kubo's commands those that are not here are told apart.
    matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
        || (status == StatusCode::NOT_FOUND
            && (text.contains("no such path") || text.contains("404 page not found")))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_that_is_described_is_there() {
    let world = World::new().await;
    let described = world.send(request(Method::GET, "/openapi.json", None, Body::empty())).await;
    assert_eq!(described.headers["content-type"], "application/json");
    let api: Value = described.json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut count = 0;
    for (path, methods) in api["paths"].as_object().unwrap() {
        let uri: String = path
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        // Made where the process is put together.
        if path == "/metrics" {
            continue;
        }
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = world.send(request(method.clone(), &uri, None, Body::empty())).await;
            assert!(!is_unknown(answer.status, &answer.body), "{method} {path}: {answer:?}");
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
    // The check can fail.
    let nowhere = world.send(request(Method::GET, "/v1/nowhere", None, Body::empty())).await;
    assert!(is_unknown(nowhere.status, &nowhere.body));
    let wrong = world.send(request(Method::DELETE, "/v1/nodes", None, Body::empty())).await;
    assert!(is_unknown(wrong.status, &wrong.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_in_the_description_leads_somewhere() {
    let world = World::new().await;
    let api = world.send(request(Method::GET, "/openapi.json", None, Body::empty())).await.json();
    let mut todo = vec![&api];
    while let Some(value) = todo.pop() {
        if let Some(to) = value["$ref"].as_str() {
            assert!(api.pointer(to.trim_start_matches('#')).is_some(), "{to}");
        }
        todo.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        todo.extend(value.as_array().into_iter().flatten());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_every_operation_and_nothing_from_elsewhere() {
    let world = World::new().await;
    let api = world.send(request(Method::GET, "/openapi.json", None, Body::empty())).await.json();
    let page = world.send(request(Method::GET, "/docs", None, Body::empty())).await;
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    let shown = text.matches("<h3>").count();
    let described: usize =
        api["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(shown, described);
    for outside in ["http://", "https://", "<script", "src="] {
        assert!(!text.contains(outside), "{outside}");
    }
}
