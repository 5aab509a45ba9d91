//! How many requests clients and accounts may have: 429 on every surface, in its own form.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::json;

use super::world::{Answer, World, from_peer, patterned, request};

/// Requests that are let through in the tests; the next one would come after a quarter of an hour.
const RATE: f64 = 0.001;

/// What is refused says so, and when to come again.
#[track_caller]
fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
    let retry: u32 = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((990..=1_000).contains(&retry), "{retry}");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
}

async fn limited_accounts(burst: u32) -> World {
    World::with(20, |config| {
        config.limits.account_rate = RATE;
        config.limits.account_burst = burst;
    })
    .await
}

/// The key of a new account.
async fn fresh_key(world: &World) -> String {
    let account = world.admin(Method::POST, "/v1/admin/accounts", json!({ "name": "another" })).await.json();
    let keys = format!("/v1/admin/accounts/{}/keys", account["id"].as_str().unwrap());
    let key = world.admin(Method::POST, &keys, json!({ "name": "key" })).await.json();
    key["key"].as_str().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_api_that_takes_keys_counts_a_request_once_and_then_says_429() {
    let world = limited_accounts(1).await;
    let cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    let arg = format!("arg={cid}");
    for (method, uri) in [
        (Method::POST, "/v1/files".to_string()),
        (Method::GET, "/v1/files".into()),
        (Method::GET, format!("/v1/files/{cid}")),
        (Method::DELETE, format!("/v1/files/{cid}")),
        (Method::GET, format!("/v1/files/{cid}/health")),
        (Method::GET, "/psa/pins".into()),
        (Method::POST, "/psa/pins/nothing".into()),
        (Method::GET, "/data/testAuthentication".into()),
        (Method::GET, "/v3/files/public".into()),
        (Method::POST, "/v3/files/sign".into()),
        (Method::DELETE, format!("/pinning/unpin/{cid}")),
        (Method::POST, "/tus".into()),
        (Method::HEAD, "/tus/nothing".into()),
        (Method::POST, format!("/api/v0/cat?{arg}")),
        (Method::POST, format!("/api/v0/ls?{arg}")),
        (Method::POST, format!("/api/v0/dag/resolve?{arg}")),
        (Method::POST, format!("/api/v0/pin/update?{arg}&{arg}")),
        (Method::POST, format!("/api/v0/pin/rm?{arg}&{arg}")),
        (Method::POST, "/api/v0/pin/ls".into()),
    ] {
        let key = fresh_key(&world).await;
        let ask = || request(method.clone(), &uri, Some(&key), "{\"cid\": 1}");
        let ask = || with_json(ask());
        let first = world.send(ask()).await;
        assert_ne!(first.status, StatusCode::TOO_MANY_REQUESTS, "{method} {uri}: {first:?}");
        assert_ne!(first.status, StatusCode::UNAUTHORIZED, "{method} {uri}: {first:?}");
        let second = world.send(ask()).await;
        assert_refused(&second);
        if uri.starts_with("/api/") {
            assert!(second.json()["Message"].as_str().unwrap().contains("too many requests"), "{second:?}");
        } else if method != Method::HEAD {
            assert_eq!(second.error(), (429, "rate_limited".into()), "{uri}");
        }
    }
}

fn with_json(mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_one_limit_for_all_its_keys_and_others_have_theirs() {
    let world = limited_accounts(3).await;
    let second_key = world.make_key(&["read"], None).await;
    let list = |key: &str| request(Method::GET, "/v1/files", Some(key), "");
    // Whoever has no good key uses nothing up; a good key that may not do this does.
    let id = world.key.split('.').next().unwrap();
    for _ in 0..5 {
        assert_eq!(world.send(list(&format!("{id}.00"))).await.error(), (401, "invalid_key".into()));
    }
    let upload = request(Method::POST, "/v1/files", Some(&second_key), "x");
    assert_eq!(world.send(upload).await.error(), (403, "missing_scope".into()));
    assert_eq!(world.send(list(&world.key)).await.status, StatusCode::OK);
    assert_eq!(world.send(list(&second_key)).await.status, StatusCode::OK);
    assert_refused(&world.send(list(&second_key)).await);
    assert_refused(&world.send(list(&world.key)).await);
    assert_refused(&world.upload("", patterned(1, 100)).await);
    let other = fresh_key(&world).await;
    assert_eq!(world.send(list(&other)).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_counts_for_the_account_that_asked_for_it() {
    let world = limited_accounts(2).await;
    let asks = json!({ "network": "public", "date": world.gateway.clock.now().0 / 1_000, "expires": 60 });
    let signed = world.send(with_json(world.request(Method::POST, "/v3/files/sign", asks.to_string()))).await;
    let url = signed.json()["data"].as_str().unwrap().replace("https://gateway.example", "");
    let upload = || request(Method::POST, &url, None, "");
    assert_eq!(world.send(upload()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.send(upload()).await.error(), (429, "rate_limited".into()));
}

async fn limited_clients(burst: u32) -> World {
    World::with(20, |config| {
        config.limits.client_rate = RATE;
        config.limits.client_burst = burst;
        config.reads.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        config.reads.subdomain_hosts = vec!["gateway.example".into()];
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_so_many_requests_for_content_however_they_are_made() {
    let world = limited_clients(6).await;
    let file = world.upload("?name=x", patterned(1, 1_000)).await.file();
    let send = async |method: Method, host: &str, path: &str, peer: &str| {
        let mut request = from_peer(request(method, path, None, ""), peer);
        request.headers_mut().insert(header::HOST, host.parse().unwrap());
        request.headers_mut().insert(header::IF_NONE_MATCH, format!("\"{}\"", file.cid).parse().unwrap());
        world.send(request).await
    };
    let (path, own) = (format!("/ipfs/{}", file.cid), format!("{}.ipfs.gateway.example", file.cid));
    let client = "192.0.2.1";
    // One each: conditional, by HEAD, nonsense, an address of its own, the way there, another method.
    for (method, host, path, status) in [
        (Method::GET, "other", &*path, 304),
        (Method::HEAD, "other", &*path, 304),
        (Method::GET, "other", "/ipfs/nonsense", 400),
        (Method::GET, &*own, "/", 304),
        (Method::GET, "gateway.example", &*path, 301),
        (Method::POST, &*own, "/", 405),
    ] {
        // A preflight is free.
        assert_eq!(send(Method::OPTIONS, host, path, client).await.status.as_u16(), 204);
        assert_eq!(send(method, host, path, client).await.status.as_u16(), status, "{host}{path}");
    }
    for (method, host, path) in [
        (Method::GET, "other", &*path),
        (Method::HEAD, "other", &path),
        (Method::GET, &own, "/"),
        (Method::GET, "gateway.example", &path),
    ] {
        let refused = send(method.clone(), host, path, client).await;
        assert_refused(&refused);
        assert_eq!(
            refused.headers["x-ipfs-path"].to_str().unwrap().trim_end_matches('/'),
            format!("/ipfs/{}", file.cid)
        );
        assert_eq!(refused.headers.get_all("access-control-allow-origin").iter().count(), 1);
        assert!(refused.headers["access-control-expose-headers"].to_str().unwrap().contains("Retry-After"));
        let text = String::from_utf8_lossy(&refused.body);
        assert_eq!(text.contains("too many requests"), method != Method::HEAD, "{text}");
    }
    assert_refused(&send(Method::GET, "other", "/ipfs/nonsense", client).await);
    assert_refused(&send(Method::GET, "other", "/ipfs/?uri=ipfs://x", client).await);
    // Others have theirs, and nothing else is limited.
    assert_eq!(send(Method::GET, "other", &path, "192.0.2.2").await.status.as_u16(), 304);
    for path in ["/healthz", "/readyz", "/metrics", "/v1/nodes"] {
        assert_eq!(send(Method::GET, "other", path, client).await.status, StatusCode::OK, "{path}");
    }
    let list = from_peer(world.request(Method::GET, "/v1/files", ""), client);
    assert_eq!(world.send(list).await.status, StatusCode::OK);
    // Nodes have no keys and may ask as often as they need: refused here for want of a signature.
    for _ in 0..10 {
        let locate = from_peer(request(Method::POST, "/v1/nodes/locate", None, ""), client);
        assert_eq!(world.send(locate).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_clients_are_told_apart() {
    let world = limited_clients(1).await;
    let send = async |peer: &str, forwarded: &str| {
        let mut request = from_peer(request(Method::GET, "/ipfs/bafkqaaa", None, ""), peer);
        request.headers_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
        world.send(request).await.status.as_u16()
    };
    assert_eq!(send("10.0.0.1", "198.51.100.1").await, 200);
    assert_eq!(send("10.0.0.1", "198.51.100.2").await, 200);
    assert_eq!(send("10.0.0.2", "198.51.100.1").await, 429);
    assert_eq!(send("192.0.2.1", "198.51.100.3").await, 200);
    assert_eq!(send("192.0.2.1", "198.51.100.4").await, 429, "not a proxy that is trusted");
}
