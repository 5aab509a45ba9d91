//! Version 3: large files in several requests.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use content::unixfs::profile::Profile;
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{
    super::{
        tus::broken,
        world::{Answer, World, patterned, request},
    },
    cid_of, data, file, ok, post_form, send, text,
};

/// `Upload-Metadata` as the client writes it: one byte for each character.
fn metadata(entries: &[(&str, &str)]) -> String {
    let latin1 = |value: &str| value.chars().map(|c| u8::try_from(c).unwrap()).collect::<Vec<u8>>();
    let entry = |(key, value): &(&str, &str)| format!("{key} {}", BASE64.encode(&latin1(value)));
    entries.iter().map(entry).collect::<Vec<_>>().join(",")
}

async fn post(world: &World, uri: &str, bearer: &str, length: usize, entries: &[(&str, &str)]) -> Answer {
    let mut request = request(Method::POST, uri, Some(bearer), Body::empty());
    request.headers_mut().insert("upload-length", length.into());
    request.headers_mut().insert("upload-metadata", metadata(entries).parse().unwrap());
    world.send(request).await
}

/// Begins an upload; gives its path.
async fn begin(world: &World, length: usize, entries: &[(&str, &str)]) -> String {
    let entries = [&[("network", "public")], entries].concat();
    location(&post(world, "/v3/files", &world.key, length, &entries).await)
}

#[track_caller]
fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.to_ascii_lowercase().contains("location"), "{exposed}");
    let url = answer.headers["location"].to_str().unwrap();
    url.strip_prefix("https://gateway.example").expect("the URL of this gateway").to_string()
}

async fn patch_as(
    world: &World,
    bearer: Option<&str>,
    uri: &str,
    offset: usize,
    body: impl Into<Body>,
) -> Answer {
    let mut request = request(Method::PATCH, uri, bearer, body);
    request.headers_mut().insert("upload-offset", offset.into());
    request.headers_mut().insert("content-type", "application/offset+octet-stream".parse().unwrap());
    world.send(request).await
}

async fn patch(world: &World, uri: &str, offset: usize, body: impl Into<Body>) -> Answer {
    patch_as(world, Some(&world.key), uri, offset, body).await
}

/// Checks that bytes were taken up to there.
#[track_caller]
fn taken(answer: &Answer, offset: usize) {
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    assert_eq!(answer.headers["upload-offset"], offset.to_string());
}

#[track_caller]
fn cid(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.to_ascii_lowercase().contains("upload-cid"), "{exposed}");
    answer.headers["upload-cid"].to_str().unwrap()
}

/// Sends all bytes in pieces that fit no leaf; gives the last answer.
async fn write(world: &World, uri: &str, bytes: &[u8], piece: usize) -> Answer {
    let mut last = None;
    for (number, part) in bytes.chunks(piece).enumerate() {
        let answer = patch(world, uri, number * piece, part.to_vec()).await;
        taken(&answer, number * piece + part.len());
        last = Some(answer);
    }
    last.unwrap()
}

/// The files of a CID, as the client asks for them when it is done.
async fn listed(world: &World, cid: &str) -> Vec<Value> {
    let page = data(&world.get(&format!("/v3/files/public?cid={cid}")).await);
    page["files"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_what_a_form_would_make_of_it() {
    let world = World::new().await;
    let group = data(&send(&world, Method::POST, "/v3/groups/public", &json!({ "name": "g" })).await);
    let group = group["id"].as_str().unwrap();
    // More leaves than one node has.
    let bytes = patterned(1, 60 << 20);
    let entries = [
        ("filename", "für.png"),
        ("filetype", ""),
        ("group_id", group),
        ("keyvalues", r#"{"env":"prod","n":"1"}"#),
        ("streamable", "true"),
        ("expires_at", "4000000000"),
    ];
    let uri = begin(&world, bytes.len(), &entries).await;
    let last = write(&world, &uri, &bytes, (13 << 20) + 1).await;
    let cid = cid(&last);
    assert_eq!(cid, cid_of(Profile::KUBO_V1, &bytes));
    let made = listed(&world, cid).await;
    let [made] = &made[..] else { panic!("{made:?}") };
    assert_eq!((&made["name"], &made["mime_type"]), (&json!("für.png"), &json!("image/png")));
    assert_eq!((&made["size"], &made["number_of_files"]), (&json!(bytes.len()), &json!(1)));
    assert_eq!((&made["group_id"], &made["keyvalues"]), (&json!(group), &json!({ "env": "prod", "n": "1" })));
    assert_eq!(world.get(&format!("/v1/files/{cid}")).await.json()["expires"], "2096-10-02T07:06:40.000Z");
    assert_eq!(world.used_bytes().await, bytes.len() as u64);
    world.assert_reads(cid, &bytes).await;

    // Another one of it is no other file, as with forms.
    let more = [("filename", "again"), ("filetype", "text/x"), ("keyvalues", r#"{"more":"2"}"#)];
    let uri = begin(&world, bytes.len(), &more).await;
    write(&world, &uri, &bytes, 50 << 20).await;
    let again = listed(&world, cid).await;
    assert_eq!((again.len(), &again[0]["id"]), (1, &made["id"]));
    assert_eq!((&again[0]["name"], &again[0]["mime_type"]), (&json!("again"), &json!("text/x")));
    assert_eq!(again[0]["keyvalues"], json!({ "env": "prod", "n": "1", "more": "2" }));
    assert_eq!(again[0]["group_id"], group);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_have_the_version_that_is_asked_for() {
    let world = World::new().await;
    for (bytes, version, profile) in [
        (patterned(2, 50 << 20), "v0", Profile::UNIXFS_V0_2015),
        (patterned(3, 700_000), "v0", Profile::UNIXFS_V0_2015),
        (patterned(4, 700_000), "v1", Profile::KUBO_V1),
        (patterned(5, 10), "v0", Profile::UNIXFS_V0_2015),
        (patterned(6, 10), "v1", Profile::KUBO_V1),
    ] {
        let uri = begin(&world, bytes.len(), &[("filename", "a"), ("cid_version", version)]).await;
        let last = write(&world, &uri, &bytes, 7_000_001).await;
        let expected = cid_of(profile, &bytes);
        assert_eq!(cid(&last), expected, "{} {version}", bytes.len());
        assert_eq!(listed(&world, &expected).await[0]["cid"], expected, "as it is written");
        world.assert_reads(&expected, &bytes).await;
    }
    let empty = post(&world, "/v3/files", &world.key, 0, &[("network", "public")]).await;
    location(&empty);
    assert_eq!(empty.headers["upload-cid"], cid_of(Profile::KUBO_V1, b""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_before_any_byte() {
    let world = World::with(20, |config| config.uploads.size_max = 1 << 50).await;
    let public = ("network", "public");
    for (length, entries, status, reason) in [
        (5, vec![], 501, "private_files"),
        (5, vec![("network", "private")], 501, "private_files"),
        (5, vec![public, ("car", "true")], 501, "unsupported"),
        (5, vec![public, ("group_id", "none")], 404, "unknown_group"),
        (5, vec![public, ("keyvalues", "[")], 400, "bad_json"),
        (5, vec![public, ("keyvalues", r#"{"a":{}}"#)], 400, "bad_keyvalues"),
        (5, vec![public, ("cid_version", "v2")], 400, "bad_parameter"),
        (5, vec![public, ("expires_at", "1")], 400, "bad_expires"),
        (1 << 51, vec![public], 413, "body_too_large"),
        (1 << 49, vec![public], 403, "quota_exceeded"),
    ] {
        let answer = post(&world, "/v3/files", &world.key, length, &entries).await;
        assert_eq!(answer.error(), (status, reason.to_string()), "{entries:?}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
    }
    let stranger = post(&world, "/v3/files", "undefined", 5, &[public]).await;
    assert_eq!(stranger.error(), (401, "invalid_key".into()));
    assert_eq!(world.db.long_uploads().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_answer_was_lost_is_taken_once_more() {
    let world = World::new().await;
    let bytes = patterned(7, 3_000_000);
    let uri = begin(&world, bytes.len(), &[("filename", "a")]).await;
    let (first, second) = bytes.split_at(1_000_001);
    taken(&patch(&world, &uri, 0, first.to_vec()).await, first.len());
    taken(&patch(&world, &uri, 0, first.to_vec()).await, first.len());
    // Only those bytes, and only as they were sent.
    let mut other = first.to_vec();
    other[500_000] ^= 1;
    for body in [other, first[1..].to_vec(), bytes[..=first.len()].to_vec(), vec![]] {
        assert_eq!(patch(&world, &uri, 0, body).await.error(), (409, "offset_mismatch".into()));
    }
    let cut = patch(&world, &uri, 0, broken(&first[..500_000])).await;
    assert_eq!(cut.error(), (400, "body_incomplete".into()));
    let mut tus = request(Method::PATCH, &uri, Some(&world.key), first.to_vec());
    for (name, value) in [
        ("tus-resumable", "1.0.0"),
        ("upload-offset", "0"),
        ("content-type", "application/offset+octet-stream"),
    ] {
        tus.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(world.send(tus).await.error(), (409, "offset_mismatch".into()), "clients of tus ask");

    for _ in 0..2 {
        let last = patch(&world, &uri, first.len(), second.to_vec()).await;
        taken(&last, bytes.len());
        assert_eq!(cid(&last), cid_of(Profile::KUBO_V1, &bytes));
    }
    assert_eq!(patch(&world, &uri, 0, first.to_vec()).await.error(), (409, "offset_mismatch".into()));
    assert_eq!(listed(&world, &cid_of(Profile::KUBO_V1, &bytes)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_request_that_is_cut_off_nothing_is_kept() {
    let world = World::with(20, |config| config.tus.progress_bytes = 1 << 20).await;
    let bytes = patterned(8, 5_000_000);
    let uri = begin(&world, bytes.len(), &[("filename", "a")]).await;
    taken(&patch(&world, &uri, 0, bytes[..1_000].to_vec()).await, 1_000);
    // The client goes on where it was, without asking.
    let cut = patch(&world, &uri, 1_000, broken(&bytes[1_000..4_000_000])).await;
    assert_eq!(cut.error(), (400, "body_incomplete".into()));
    let last = patch(&world, &uri, 1_000, bytes[1_000..].to_vec()).await;
    assert_eq!(cid(&last), cid_of(Profile::KUBO_V1, &bytes));
    world.assert_reads(&cid_of(Profile::KUBO_V1, &bytes), &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_a_file_of_which_not_all_is_said() {
    let world = World::with(20, |config| config.pinata.keyvalues_max = 1).await;
    let bytes = patterned(9, 600_000);
    let form = [file("a", &bytes), text("network", "public"), text("keyvalues", r#"{"old":"1"}"#)];
    let made = data(&post_form(&world, "/v3/files", &form).await);
    let uri = begin(&world, bytes.len(), &[("filename", "b"), ("keyvalues", r#"{"new":"2"}"#)]).await;
    // It is pinned, and then what is to be said of it does not fit: as when a gateway dies in between.
    for _ in 0..2 {
        let answer = patch(&world, &uri, 0, bytes.clone()).await;
        assert_eq!(answer.error(), (400, "too_many_keyvalues".into()));
        assert!(!answer.headers.contains_key("upload-cid"));
        let shown = world.get(&uri).await;
        assert_eq!(shown.error(), (400, "too_many_keyvalues".into()));
    }
    let change = json!({ "keyvalues": { "old": null } });
    let file = format!("/v3/files/public/{}", made["id"].as_str().unwrap());
    ok(&send(&world, Method::PUT, &file, &change).await);
    let answer = patch(&world, &uri, 0, bytes.clone()).await;
    assert_eq!(cid(&answer), cid_of(Profile::KUBO_V1, &bytes));
    assert_eq!(data(&world.get(&file).await)["keyvalues"], json!({ "new": "2" }));
    // It is said once.
    ok(&send(&world, Method::PUT, &file, &json!({ "keyvalues": { "new": "3" } })).await);
    cid(&patch(&world, &uri, 0, bytes.clone()).await);
    assert_eq!(world.get(&uri).await.json()["state"], "finished");
    assert_eq!(data(&world.get(&file).await)["keyvalues"], json!({ "new": "3" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_deleted_meanwhile_is_left_out() {
    let world = World::new().await;
    let group = data(&send(&world, Method::POST, "/v3/groups/public", &json!({ "name": "g" })).await);
    let group = group["id"].as_str().unwrap();
    let entries = [("filename", "a"), ("group_id", group), ("keyvalues", r#"{"k":"v"}"#)];
    let uri = begin(&world, 3, &entries).await;
    ok(&world.delete(&format!("/v3/groups/public/{group}")).await);
    let cid = cid(&patch(&world, &uri, 0, "abc").await).to_string();
    let made = listed(&world, &cid).await;
    assert_eq!((&made[0]["group_id"], &made[0]["keyvalues"]), (&Value::Null, &json!({ "k": "v" })));
}

/// A signed URL, without the host that it names.
async fn sign(world: &World, more: Value) -> String {
    let mut body = json!({ "expires": 60, "network": "public" });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let url = data(&send(world, Method::POST, "/v3/files/sign", &body).await);
    url.as_str().unwrap().strip_prefix("https://gateway.example").unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_signed_url_sends_large_files() {
    let world = World::new().await;
    let says = json!({ "filename": "signed", "keyvalues": { "from": "url" }, "max_file_size": 2_000_000, "allow_mime_types": ["image/*"] });
    let url = sign(&world, says).await + "&X-Upload-Option-Cid-Version=v0";
    let bytes = patterned(10, 2_000_000);
    let entries = [
        ("filename", "sent.png"),
        ("filetype", ""),
        ("network", "public"),
        ("keyvalues", r#"{"from":"header"}"#),
        ("group_id", "none"),
        ("cid_version", "v0"),
    ];
    let uri = location(&post(&world, &url, "undefined", bytes.len(), &entries).await);
    let (bare, query) = uri.split_once('?').unwrap();
    // A page sends no key, and the client whatever it has.
    taken(&patch_as(&world, None, &uri, 0, bytes[..900_000].to_vec()).await, 900_000);
    for (uri, status, reason) in [
        (bare.to_string(), 401, "unauthorized"),
        (format!("{bare}?X-Key={}", world.key), 401, "unauthorized"),
        (format!("{uri}A"), 403, "bad_signature"),
        (format!("{bare}?X-Signature={}", query.rsplit_once('=').unwrap().1), 403, "bad_signature"),
        (uri.replace("X-Key=", "X-Key=0"), 403, "bad_signature"),
        (format!("/tus/{}?{query}", "0".repeat(32)), 403, "bad_signature"),
    ] {
        let answer = patch_as(&world, None, &uri, 900_000, bytes[900_000..].to_vec()).await;
        assert_eq!(answer.error(), (status, reason.to_string()), "{uri}");
    }
    let last = patch_as(&world, Some("undefined"), &uri, 900_000, bytes[900_000..].to_vec()).await;
    assert_eq!(cid(&last), cid_of(Profile::UNIXFS_V0_2015, &bytes));
    let made = listed(&world, cid(&last)).await;
    assert_eq!((&made[0]["name"], &made[0]["mime_type"]), (&json!("signed"), &json!("image/png")));
    assert_eq!(made[0]["keyvalues"], json!({ "from": "url" }), "what is not signed does not count");

    let refused = async |length, entries: &[(&str, &str)]| {
        post(&world, &url, "undefined", length, entries).await.error()
    };
    let image = ("filetype", "image/png");
    assert_eq!(refused(2_000_001, &[image]).await, (413, "body_too_large".into()));
    assert_eq!(refused(5, &[("filetype", "text/html")]).await, (400, "type_not_allowed".into()));
    assert_eq!(refused(5, &[image, ("network", "private")]).await, (501, "private_files".into()));
    assert_eq!(refused(5, &[image, ("car", "true")]).await, (501, "unsupported".into()));
    let broken = post(&world, &format!("{url}&X-Grant=A"), "undefined", 5, &[image]).await;
    assert_eq!(broken.status, StatusCode::CREATED, "the first of a name counts");
    let unsigned = post(&world, "/v3/files/id", &world.key, 5, &[image]).await;
    assert_eq!(unsigned.error(), (403, "bad_signature".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_in_a_url_ends_with_its_key() {
    let world = World::new().await;
    let url = sign(&world, json!({})).await;
    let uri = location(&post(&world, &url, "undefined", 3, &[("filename", "a")]).await);
    taken(&patch_as(&world, None, &uri, 0, "a").await, 1);
    let id = world.key.trim_start_matches("pk_").split_once('.').unwrap().0;
    world.admin(Method::DELETE, &format!("/v1/admin/keys/{id}"), json!({})).await;
    assert_eq!(patch_as(&world, None, &uri, 1, "bc").await.error(), (403, "key_gone".into()));
}
