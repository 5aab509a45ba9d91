//! Listing, looking at and removing files.

use axum::http::{Method, StatusCode};
use protocol::api::{FileInfo, FileList};

use super::world::{World, patterned, request};

async fn page(world: &World, query: &str) -> FileList {
    let answer = world.get(&format!("/v1/files{query}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_every_file_once_newest_first() {
    let world = World::new().await;
    let mut uploaded = Vec::new();
    for number in 0..7 {
        uploaded.push(world.upload(&format!("?name={number}"), number.to_string()).await.file());
    }
    let all = page(&world, "").await;
    assert_eq!(all.cursor, None);
    assert!(all.files.is_sorted_by(|a, b| a.created >= b.created));
    let mut expected = uploaded.clone();
    let mut listed = all.files.clone();
    expected.sort_by(|a, b| a.cid.cmp(&b.cid));
    listed.sort_by(|a, b| a.cid.cmp(&b.cid));
    assert_eq!(listed, expected, "what the upload answered is what is listed");
    for limit in [1, 3, 6, 7] {
        let (mut paged, mut query): (Vec<FileInfo>, String) = (Vec::new(), format!("?limit={limit}"));
        loop {
            let page = page(&world, &query).await;
            assert!(page.files.len() <= limit);
            paged.extend(page.files);
            let Some(cursor) = page.cursor else { break };
            query = format!("?limit={limit}&cursor={cursor}");
        }
        assert_eq!(paged, all.files, "limit {limit}");
    }
    for (query, reason) in [
        ("limit=0", "bad_limit"),
        ("limit=1001", "bad_limit"),
        ("limit=many", "bad_request"),
        ("cursor=x", "bad_cursor"),
        ("cursor=1.", "bad_cursor"),
    ] {
        assert_eq!(world.get(&format!("/v1/files?{query}")).await.error(), (400, reason.into()), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_gone_and_collectable() {
    let world = World::new().await;
    let file = world.upload("", "bytes").await.file();
    let uri = format!("/v1/files/{}", file.cid);
    let shown: FileInfo = serde_json::from_slice(&world.get(&uri).await.body).unwrap();
    assert_eq!(shown, file);
    assert_eq!(world.delete(&uri).await.status, StatusCode::NO_CONTENT);
    let unknown = (404, "unknown_file".to_string());
    assert_eq!(world.get(&uri).await.error(), unknown);
    assert_eq!(world.get(&format!("{uri}/health")).await.error(), unknown);
    assert_eq!(world.delete(&uri).await.error(), unknown);
    assert_eq!(world.segments().await, [0, 0, 1, 0], "its segment waits to be collected");
    assert_eq!(world.used_bytes().await, 0);
    // Uploaded again it is whole again.
    let again = world.upload("", "bytes").await.file();
    assert!(!again.duplicate);
    world.assert_reads(&again.cid, b"bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_here_is_404() {
    let world = World::new().await;
    let cid = content::Cid::of(content::Codec::Raw, content::HashFn::Sha2_256, b"never");
    assert_eq!(world.get(&format!("/v1/files/{cid}")).await.error(), (404, "unknown_file".into()));
    assert_eq!(world.get("/v1/files/nonsense").await.error(), (400, "bad_cid".into()));
    assert_eq!(world.read(&cid.to_string()).await.status, StatusCode::NOT_FOUND);
    let redirected = world.read(&format!("{cid}?route=redirect")).await;
    assert_eq!(redirected.status, StatusCode::NOT_FOUND);
    assert_eq!(world.read("nonsense").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.get("/v1/nothing").await.error(), (404, "not_found".into()));
    let put = world.send(request(Method::PUT, "/v1/files", Some(&world.key), "")).await;
    assert_eq!(put.error(), (405, "method_not_allowed".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_can_end_by_itself() {
    let world = World::new().await;
    let file = world.upload("?expires=2100-01-01T00:00:00Z", "short lived").await.file();
    assert_eq!(file.expires.as_deref(), Some("2100-01-01T00:00:00.000Z"));
    let shown: FileInfo =
        serde_json::from_slice(&world.get(&format!("/v1/files/{}", file.cid)).await.body).unwrap();
    assert_eq!(shown, file);
    for no_end in ["soon", "2001-01-01T00:00:00Z"] {
        let refused = world.upload(&format!("?expires={no_end}"), "x").await;
        assert_eq!(refused.error(), (400, "bad_parameter".into()), "{no_end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_never_shortens_the_life_of_a_pin() {
    let world = World::new().await;
    let upload = async |query: &str| world.upload(query, "the same bytes").await.file();
    assert_eq!(
        upload("?expires=2100-01-01T00:00:00Z").await.expires.as_deref(),
        Some("2100-01-01T00:00:00.000Z")
    );
    let shorter = upload("?expires=2090-01-01T00:00:00Z").await;
    assert!(shorter.duplicate);
    assert_eq!(shorter.expires.as_deref(), Some("2100-01-01T00:00:00.000Z"), "the answer says what holds");
    let longer = upload("?expires=2110-01-01T00:00:00Z").await;
    assert_eq!(longer.expires.as_deref(), Some("2110-01-01T00:00:00.000Z"));
    assert_eq!(upload("").await.expires, None);
    let permanent = upload("?expires=2120-01-01T00:00:00Z").await;
    assert_eq!((permanent.expires, permanent.duplicate), (None, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_kept_within_bounds() {
    let world = World::new().await;
    let long = "ä".repeat(400);
    let file = world.upload(&format!("?name={}", "%C3%A4".repeat(400)), "long").await.file();
    assert_eq!(file.name, long.chars().take(255).collect::<String>());
    let nul = world.upload("?name=a%00b", "nul").await.file();
    assert_eq!(nul.name, "ab");
    for file in [file, nul] {
        let shown = world.get(&format!("/v1/files/{}", file.cid)).await.json();
        assert_eq!(shown["name"], file.name.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_does_not_see_the_other() {
    let world = World::new().await;
    let file = world.upload("", "private name").await.file();
    let created =
        world.admin(Method::POST, "/v1/admin/accounts", serde_json::json!({ "name": "other" })).await;
    let keys = format!("/v1/admin/accounts/{}/keys", created.json()["id"].as_str().unwrap());
    let key = world.admin(Method::POST, &keys, serde_json::json!({})).await.json();
    let as_other = async |method, uri: &str| world.send(request(method, uri, key["key"].as_str(), "")).await;
    let uri = format!("/v1/files/{}", file.cid);
    assert_eq!(as_other(Method::GET, &uri).await.status, StatusCode::NOT_FOUND);
    assert_eq!(as_other(Method::DELETE, &uri).await.status, StatusCode::NOT_FOUND);
    assert_eq!(as_other(Method::GET, "/v1/files").await.json()["files"], serde_json::json!([]));
    assert_eq!(world.get(&uri).await.status, StatusCode::OK);
}

/// It was refused by its length, although it is what fills the quota.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fills_the_quota_can_be_repeated() {
    let world = World::new().await;
    let path = format!("/v1/admin/accounts/{}/quota", super::world::ACCOUNT);
    let quota = serde_json::json!({ "quota_bytes": 6_000_000 });
    assert!(world.admin(Method::PUT, &path, quota).await.status.is_success());
    let bytes = patterned(1, 6_000_000);
    assert!(!world.upload("", bytes.clone()).await.file().duplicate);
    assert!(world.upload("", bytes.clone()).await.file().duplicate);
    assert!(world.upload_form("", &[("a", &bytes)]).await.file().duplicate);
    // Of that length, but another: known at its end.
    assert_eq!(world.upload("", patterned(2, 6_000_000)).await.error(), (403, "quota_exceeded".into()));
    assert_eq!(world.upload("", patterned(2, 9_000_000)).await.error(), (403, "quota_exceeded".into()));
    assert_eq!(world.used_bytes().await, 6_000_000);
}
