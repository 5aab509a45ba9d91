//! Which APIs web pages of any origin may use: what a browser asks first, and what it may read of every answer.

use axum::{
    body::Body,
    http::{HeaderMap, Method, StatusCode, header},
};

use super::world::{Answer, World, patterned, request};

const ORIGIN: &str = "access-control-allow-origin";
const EXPOSED: &str = "access-control-expose-headers";

/// The only value of a header.
#[track_caller]
fn only<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].to_str().unwrap()
}

/// Asks as a browser does before a page sends `method` with these headers.
async fn preflight(world: &World, uri: &str, method: &str, headers: &str) -> Answer {
    let mut request = request(Method::OPTIONS, uri, None, Body::empty());
    for (name, value) in [
        ("origin", "https://page.example"),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    world.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_may_ask_for_whatever_takes_a_key() {
    let world = World::new().await;
    let key = "authorization,content-type";
    for (uri, method, headers) in [
        ("/v1/files", "POST", key),
        ("/v1/files?unpack=car", "POST", key),
        ("/v1/files/bafkqaaa", "DELETE", "authorization"),
        ("/v1/files/bafkqaaa/health", "GET", "authorization"),
        ("/psa/pins", "POST", key),
        ("/psa/pins/id", "DELETE", "authorization"),
        ("/v3/files", "POST", "authorization,source"),
        ("/v3/files/public/id", "PUT", "authorization,content-type,source"),
        ("/v3/files/0123?X-Grant=x&X-Signature=y", "POST", "authorization,source"),
        ("/v3/groups/public/id/ids/file", "PUT", "authorization"),
        ("/pinning/pinFileToIPFS", "POST", "pinata_api_key,pinata_secret_api_key"),
        ("/data/pinList", "GET", "authorization"),
        ("/api/v0/add", "POST", "authorization,x-requested-with"),
        ("/api/v0/nonsense", "POST", "authorization"),
        ("/tus", "POST", "authorization,tus-resumable,upload-length,upload-metadata"),
        ("/tus/0123", "PATCH", "authorization,content-type,tus-resumable,upload-offset,upload-checksum"),
    ] {
        let answer = preflight(&world, uri, method, headers).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{uri}");
        assert_eq!(only(&answer.headers, ORIGIN), "*", "{uri}");
        let list = |name: &str| only(&answer.headers, name).to_ascii_lowercase();
        let (methods, allowed) = (list("access-control-allow-methods"), list("access-control-allow-headers"));
        let has = |list: &str, wanted: &str| list.split(',').any(|one| one.trim() == wanted);
        assert!(has(&methods, &method.to_ascii_lowercase()), "{uri}: {methods}");
        assert!(headers.split(',').all(|header| has(&allowed, header)), "{uri}: {allowed}");
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_once_that_a_page_may_read_it() {
    let world = World::with(20, |config| {
        config.uploads.size_max = 1_000;
        config.limits.account_rate = 0.001;
        config.limits.account_burst = 10;
    })
    .await;
    let key = Some(world.key.as_str());
    let json_too_long = "x".repeat(100 << 10);
    for (method, uri, key, body, status) in [
        (Method::POST, "/v1/files", key, "hello", 201),
        (Method::POST, "/v1/files", key, &json_too_long, 413),
        (Method::POST, "/v1/files?wrap=perhaps", key, "", 400),
        (Method::GET, "/v1/files", None, "", 401),
        (Method::GET, "/v1/files", key, "", 200),
        (Method::PUT, "/v1/files", key, "", 405),
        (Method::GET, "/v1/files/bafkqaaa/nothing", key, "", 404),
        (Method::GET, "/psa/pins", key, "", 200),
        (Method::GET, "/psa/pins", None, "", 401),
        (Method::PATCH, "/psa/pins", key, "", 405),
        (Method::GET, "/psa", key, "", 404),
        (Method::GET, "/v3/files/public", key, "", 200),
        (Method::GET, "/v3/nothing", key, "", 404),
        (Method::PATCH, "/v3/files", key, "", 405),
        (Method::GET, "/data/testAuthentication", key, "", 200),
        (Method::DELETE, "/data/testAuthentication", key, "", 405),
        (Method::GET, "/pinning/pinJobs", None, "", 401),
        (Method::POST, "/api/v0/pin/ls", key, "", 200),
        (Method::POST, "/api/v0/files/ls", key, "", 501),
        (Method::GET, "/api/v0/pin/ls", key, "", 405),
        (Method::POST, "/tus", key, "", 400),
        (Method::HEAD, "/tus/nothing", key, "", 404),
        (Method::PUT, "/tus", key, "", 405),
        (Method::GET, "/v1/files", key, "", 200),
        (Method::GET, "/v1/files", key, "", 429),
        (Method::GET, "/psa/pins", key, "", 429),
        (Method::GET, "/v3/files/public", key, "", 429),
        (Method::POST, "/api/v0/pin/ls", key, "", 429),
        (Method::POST, "/tus", key, "", 429),
    ] {
        let mut asked = request(method.clone(), uri, key, body.to_string());
        asked.headers_mut().insert(header::ORIGIN, "https://page.example".parse().unwrap());
        let answer = world.send(asked).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {uri}: {answer:?}");
        assert_eq!(only(&answer.headers, ORIGIN), "*", "{method} {uri}");
        let exposed = only(&answer.headers, EXPOSED);
        for name in ["Location", "Retry-After", "Upload-Offset", "Upload-Cid", "X-Chunked-Output"] {
            assert!(exposed.split(", ").any(|one| one == name), "{exposed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_may_use_what_operators_and_nodes_use() {
    let world = World::new().await;
    for uri in [
        "/v1/admin/accounts",
        "/v1/admin/events",
        "/v1/admin/status",
        "/v1/nodes",
        "/v1/nodes/redeem",
        "/v1/filesystem",
        "/metrics",
    ] {
        let answer = preflight(&world, uri, "POST", "authorization").await;
        assert!(!answer.status.is_success(), "{uri}: {answer:?}");
        assert!(!answer.headers.contains_key(ORIGIN), "{uri}");
        let answer = world.send(request(Method::GET, uri, Some(super::world::ADMIN), Body::empty())).await;
        assert!(!answer.headers.contains_key(ORIGIN), "{uri}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_has_its_own_rules_and_hosts_of_cids_have_no_api() {
    let world = World::new().await;
    let file = world.upload("", patterned(1, 100)).await.file();
    let read = world.read(&file.cid).await;
    assert_eq!(only(&read.headers, ORIGIN), "*");
    let preflight = preflight(&world, &format!("/ipfs/{}", file.cid), "GET", "range").await;
    assert_eq!(only(&preflight.headers, "access-control-allow-methods"), "GET, HEAD, OPTIONS");
    // On the host of a CID these paths are content.
    let mut request = request(Method::OPTIONS, "/v1/files", None, Body::empty());
    request.headers_mut().insert(header::HOST, format!("{}.ipfs.localhost", file.cid).parse().unwrap());
    let answer = world.send(request).await;
    assert_eq!(only(&answer.headers, "access-control-allow-methods"), "GET, HEAD, OPTIONS");
}
