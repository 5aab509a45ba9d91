//! Keys, scopes, expiry, revocation, quotas, and the admin API that makes them.

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use serde_json::json;

use super::world::{ACCOUNT, ADMIN, World, json_request, patterned, request};

async fn upload_with(world: &World, key: Option<&str>) -> (u16, String) {
    world.send(request(Method::POST, "/v1/files", key, "x")).await.error()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_valid_keys_are_let_in() {
    let world = World::new().await;
    assert_eq!(upload_with(&world, None).await, (401, "unauthorized".into()));
    let id = world.key.split('.').next().unwrap();
    for wrong in ["", "x", "pk_", "pk_0123.4567", &format!("{id}.00"), &world.key[1..], &world.key[..40]] {
        assert_eq!(upload_with(&world, Some(wrong)).await, (401, "invalid_key".into()), "{wrong:?}");
    }
    let mut basic = request(Method::POST, "/v1/files", None, "x");
    basic.headers_mut().insert(header::AUTHORIZATION, format!("Basic {}", world.key).parse().unwrap());
    assert_eq!(world.send(basic).await.error(), (401, "unauthorized".into()));
    let mut lower = request(Method::POST, "/v1/files", None, "x");
    lower.headers_mut().insert(header::AUTHORIZATION, format!("bearer {}", world.key).parse().unwrap());
    assert_eq!(world.send(lower).await.status, StatusCode::CREATED);
    assert_eq!(world.segments().await, [0, 1, 0, 0], "nothing of the refused ones is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_come_as_a_password() {
    let world = World::new().await;
    let (id, secret) = world.key.split_once('.').unwrap();
    let bare_id = id.strip_prefix("pk_").unwrap();
    let key = &world.key;
    let send = async |credentials: &str| {
        let mut request = request(Method::GET, "/v1/files", None, "");
        let value = format!("Basic {}", data_encoding::BASE64.encode(credentials.as_bytes()));
        request.headers_mut().insert(header::AUTHORIZATION, value.parse().unwrap());
        world.send(request).await
    };
    for right in
        [format!("anybody:{key}"), format!(":{key}"), format!("{id}:{secret}"), format!("{bare_id}:{secret}")]
    {
        assert_eq!(send(&right).await.status, StatusCode::OK, "{right}");
    }
    for wrong in [
        format!("{id}:{}", &secret[1..]),
        format!("{key}:"),
        format!("x:{secret}"),
        "a:b:c".into(),
        ":".into(),
    ] {
        assert_eq!(send(&wrong).await.error(), (401, "invalid_key".into()), "{wrong}");
    }
    assert_eq!(send("no colon").await.error(), (401, "unauthorized".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_do_what_its_scopes_say() {
    let world = World::new().await;
    let file = world.upload("", "x").await.file();
    let one = format!("/v1/files/{}", file.cid);
    let health = format!("{one}/health");
    let requests = [
        ("read", Method::GET, "/v1/files"),
        ("read", Method::GET, &one),
        ("read", Method::GET, &health),
        ("write", Method::POST, "/v1/files"),
        ("delete", Method::DELETE, &one),
    ];
    for scope in ["read", "write", "delete"] {
        let key = world.make_key(&[scope], None).await;
        for (needed, method, uri) in &requests {
            let answer = world.send(request(method.clone(), uri, Some(&key), "x")).await;
            if *needed == scope {
                assert!(answer.status.is_success(), "{scope} for {method} {uri}: {answer:?}");
            } else {
                assert_eq!(answer.error(), (403, "missing_scope".into()), "{scope} for {method} {uri}");
            }
        }
    }
    let none = world.make_key(&[], None).await;
    assert_eq!(upload_with(&world, Some(&none)).await, (403, "missing_scope".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_end() {
    let world = World::new().await;
    let expired = world.make_key(&["write"], Some(-1)).await;
    assert_eq!(upload_with(&world, Some(&expired)).await, (401, "expired_key".into()));
    let good = world.make_key(&["write"], Some(3_600_000)).await;
    let answer = world.send(request(Method::POST, "/v1/files", Some(&good), "x")).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let id = good.trim_start_matches("pk_").split('.').next().unwrap();
    let revoke = format!("/v1/admin/keys/{id}");
    assert_eq!(world.admin(Method::DELETE, &revoke, json!(null)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(upload_with(&world, Some(&good)).await, (401, "revoked_key".into()), "at once");
    assert_eq!(world.admin(Method::DELETE, &revoke, json!(null)).await.error(), (404, "unknown_key".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_makes_accounts_and_keys() {
    let world = World::new().await;
    let created =
        world.admin(Method::POST, "/v1/admin/accounts", json!({ "name": "Ann", "quota_bytes": 10 })).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let account = created.json()["id"].as_str().unwrap().to_string();
    let keys = format!("/v1/admin/accounts/{account}/keys");
    let wanted = json!({ "name": "laptop", "scopes": ["read", "write"], "expires": "2100-01-01T00:00:00Z" });
    let made = world.admin(Method::POST, &keys, wanted).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let key = made.json()["key"].as_str().unwrap().to_string();
    let upload = world.send(request(Method::POST, "/v1/files", Some(&key), "ten bytes.")).await;
    assert_eq!(upload.status, StatusCode::CREATED);
    assert_eq!(upload_with(&world, Some(&key)).await, (403, "quota_exceeded".into()));
    let quota = format!("/v1/admin/accounts/{account}/quota");
    let raised = world.admin(Method::PUT, &quota, json!({ "quota_bytes": 11 })).await;
    assert_eq!(raised.status, StatusCode::NO_CONTENT);
    let upload = world.send(request(Method::POST, "/v1/files", Some(&key), "x")).await;
    assert_eq!(upload.status, StatusCode::CREATED);

    let listed = world.admin(Method::GET, &keys, json!(null)).await.json();
    assert_eq!(listed["keys"][0]["name"], "laptop");
    assert_eq!(listed["keys"][0]["expires"], "2100-01-01T00:00:00.000Z");
    let listed = listed.to_string();
    let secret = key.split('.').nth(1).unwrap();
    assert!(!listed.contains(secret) && !listed.contains(&crate::auth::hash(secret)), "{listed}");
    let accounts = world.admin(Method::GET, "/v1/admin/accounts", json!(null)).await.json();
    let ann =
        accounts["accounts"].as_array().unwrap().iter().find(|one| one["id"] == account.as_str()).unwrap();
    assert_eq!((&ann["used_bytes"], &ann["quota_bytes"]), (&json!(11), &json!(11)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_refuses() {
    let world = World::new().await;
    let uri = "/v1/admin/accounts";
    for bearer in [None, Some("wrong"), Some(world.key.as_str()), Some("")] {
        let answer = world.send(json_request(Method::POST, uri, bearer, &json!({ "name": "x" }))).await;
        let reason = if bearer.is_some() { "invalid_token" } else { "unauthorized" };
        assert_eq!(answer.error(), (401, reason.into()));
    }
    let keys = format!("/v1/admin/accounts/{ACCOUNT}/keys");
    for (uri, body, expected) in [
        (keys.as_str(), json!({ "scopes": ["root"] }), (400, "bad_scope")),
        (&keys, json!({ "expires": "tomorrow" }), (400, "bad_expires")),
        (&keys, json!({ "surprise": 1 }), (422, "bad_json")),
        ("/v1/admin/accounts/nobody/keys", json!({}), (404, "unknown_account")),
        (uri, json!({}), (422, "bad_json")),
        (uri, json!({ "name": "" }), (400, "bad_name")),
        (uri, json!({ "name": "  " }), (400, "bad_name")),
        (uri, json!({ "name": "two\nlines" }), (400, "bad_name")),
        (uri, json!({ "name": "é".repeat(256) }), (400, "bad_name")),
        (uri, json!({ "name": "x", "quota_bytes": 1u64 << 63 }), (400, "bad_quota")),
    ] {
        let (status, reason) = world.admin(Method::POST, uri, body).await.error();
        assert_eq!((status, reason.as_str()), expected, "{uri}");
    }
    let answer =
        world.admin(Method::PUT, "/v1/admin/accounts/nobody/quota", json!({ "quota_bytes": 1 })).await;
    assert_eq!(answer.error(), (404, "unknown_account".into()));
    let quota = format!("/v1/admin/accounts/{ACCOUNT}/quota");
    let answer = world.admin(Method::PUT, &quota, json!({ "quota_bytes": 1u64 << 63 })).await;
    assert_eq!(answer.error(), (400, "bad_quota".into()));
    let most = json!({ "name": "é".repeat(255), "quota_bytes": (1u64 << 63) - 1 });
    assert_eq!(world.admin(Method::POST, uri, most).await.status, StatusCode::CREATED);
    let broken = world.send(request(Method::POST, uri, Some(ADMIN), "no json")).await;
    assert_eq!(broken.error(), (415, "unsupported_media_type".into()));
    let long = world.admin(Method::POST, uri, json!({ "name": "x".repeat(5 << 20) })).await;
    assert_eq!(long.error(), (413, "body_too_large".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_kept_by_whatever_way_it_would_be_broken() {
    let world = World::new().await;
    world.db.set_quota(ACCOUNT, 3_000_000).await.unwrap();
    let file = world.upload("", patterned(1, 2_000_000)).await.file();
    let refused = (403, "quota_exceeded".to_string());
    // Announced, and refused before anything is read; then found out at the end.
    let mut request = world.request(
        Method::POST,
        "/v1/files",
        Body::from_stream(futures_util::stream::pending::<Result<&str, std::io::Error>>()),
    );
    request.headers_mut().insert(header::CONTENT_LENGTH, "99000000".parse().unwrap());
    assert_eq!(world.send(request).await.error(), refused);
    let parts = [Ok::<_, std::io::Error>(patterned(2, 700_000)), Ok(patterned(3, 700_000))];
    let body = Body::from_stream(futures_util::stream::iter(parts));
    assert_eq!(world.upload("", body).await.error(), refused);
    assert_eq!(world.used_bytes().await, 2_000_000);
    let listed = world.get("/v1/files").await.json();
    assert_eq!(listed["files"].as_array().unwrap().len(), 1);
    // Two at once, each of which alone would fit.
    let (a, b) =
        tokio::join!(world.upload("", patterned(4, 900_000)), world.upload("", patterned(5, 900_000)));
    let refused = [a, b].iter().filter(|answer| answer.status == StatusCode::FORBIDDEN).count();
    assert_eq!((refused, world.used_bytes().await), (1, 2_900_000));
    // What is removed counts no more.
    assert_eq!(world.delete(&format!("/v1/files/{}", file.cid)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.used_bytes().await, 900_000);
    world.upload("", patterned(6, 2_000_000)).await.file();
}
