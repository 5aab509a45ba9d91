//! Signed URLs for uploads.

use axum::http::Method;
use content::unixfs::profile::Profile;
use serde_json::{Value, json};

use super::{
    super::world::{Answer, World, patterned},
    Field, cid_of, data, file, form, send, text,
};

/// A URL, without the host that it names.
async fn sign(world: &World, more: Value) -> String {
    let now = world.gateway.clock.now().0 / 1000;
    let mut body = json!({ "date": now, "expires": 60, "network": "public" });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let url = data(&send(world, Method::POST, "/v3/files/sign", &body).await);
    let path = url.as_str().unwrap().strip_prefix("https://gateway.example");
    path.expect("the URL of this gateway").to_string()
}

/// As the client does it: with a token that means nothing.
async fn upload(world: &World, url: &str, fields: &[Field<'_>]) -> Answer {
    world.send(form(Method::POST, url, Some("undefined"), fields)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_url_uploads_what_it_says() {
    let world = World::new().await;
    let group = send(&world, Method::POST, "/v3/groups/public", &json!({ "name": "g" })).await;
    let group = data(&group)["id"].clone();
    let says = json!({ "group_id": group, "filename": "signed", "keyvalues": { "from": "url" } });
    let url = sign(&world, says).await;
    let bytes = patterned(1, 300_000);
    let fields = [
        file("sent.txt", &bytes),
        text("network", "public"),
        text("name", "sent"),
        text("keyvalues", r#"{"from":"form"}"#),
    ];
    let made = data(&upload(&world, &url, &fields).await);
    assert_eq!((&made["name"], &made["group_id"]), (&json!("signed"), &group));
    assert_eq!(made["keyvalues"], json!({ "from": "url" }), "what is not signed does not count");
    assert_eq!(made["cid"], cid_of(Profile::KUBO_V1, &bytes));
    assert_eq!(data(&world.get("/v3/files/public").await)["files"][0]["id"], made["id"]);
    assert_eq!(world.used_bytes().await, 300_000);

    let put = form(Method::PUT, &url, None, &[file("again", b"again")]);
    assert_eq!(data(&world.send(put).await)["name"], "signed");
    // A client adds this behind what was signed.
    let unnamed = sign(&world, json!({})).await + "&X-Upload-Option-Cid-Version=v1";
    assert_eq!(data(&upload(&world, &unnamed, &[file("own", b"own")]).await)["name"], "own");
    let folder = [file("f/a", b"1"), file("f/b", b"2"), text("network", "public"), text("name", "f")];
    let made = data(&upload(&world, &unnamed, &folder).await);
    assert_eq!((&made["mime_type"], &made["number_of_files"]), (&json!("directory"), &json!(2)));
    let secret = [file("own", b"secret"), text("network", "private")];
    assert_eq!(upload(&world, &unnamed, &secret).await.error().1, "private_files");
}

#[tokio::test(flavor = "multi_thread")]
async fn size_and_type_are_bounded_by_the_url() {
    let world = World::new().await;
    let url =
        sign(&world, json!({ "max_file_size": 1000, "allow_mime_types": ["image/*", "text/plain"] })).await;
    let typed = |kind: &'static str| ("file", Some("a"), Some(kind), &b"bytes"[..]);
    for (field, refused) in [
        (typed("image/png"), None),
        (typed("text/plain"), None),
        (typed("text/html"), Some((400, "type_not_allowed".to_string()))),
        (("file", Some("f/a"), Some("image/png"), &b"x"[..]), Some((400, "type_not_allowed".to_string()))),
    ] {
        let answer = upload(&world, &url, &[field]).await;
        match refused {
            None => drop(data(&answer)),
            Some(refused) => assert_eq!(answer.error(), refused),
        }
    }
    let folders = sign(&world, json!({ "allow_mime_types": ["directory"] })).await;
    data(&upload(&world, &folders, &[file("f/a", b"x")]).await);
    let used = world.used_bytes().await;
    for bytes in [patterned(1, 1001), patterned(1, 400_000), patterned(1, 3_000_000)] {
        let answer = upload(&world, &url, &[("file", Some("a"), Some("image/png"), &bytes)]).await;
        assert_eq!(answer.error(), (413, "body_too_large".into()), "{}", bytes.len());
    }
    data(&upload(&world, &url, &[("file", Some("a"), Some("image/png"), &patterned(1, 1000))]).await);
    assert_eq!(world.used_bytes().await, used + 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_that_were_changed_or_are_over_are_refused() {
    let world = World::new().await;
    let url = sign(&world, json!({})).await;
    let other = sign(&world, json!({ "max_file_size": 10 })).await;
    let (head, signature) = url.split_once("&X-Signature=").unwrap();
    let (other_head, _) = other.split_once("&X-Signature=").unwrap();
    for broken in [
        "/v3/files/some-id".to_string(),
        head.to_string(),
        format!("{head}&X-Signature="),
        format!("{head}&X-Signature=AAAA"),
        format!("{other_head}&X-Signature={signature}"),
    ] {
        let answer = upload(&world, &broken, &[file("a", b"a")]).await;
        assert_eq!(answer.error(), (403, "bad_signature".into()), "{broken}");
    }
    let now = world.gateway.clock.now().0 / 1000;
    for (bad, reason) in [
        (json!({ "expires": 0 }), "bad_expires"),
        (json!({ "expires": -1 }), "bad_expires"),
        (json!({ "expires": 24 * 3600 + 1 }), "bad_expires"),
        (json!({ "date": now - 61 }), "bad_expires"),
        (json!({ "date": now + 3600 }), "bad_date"),
        (
            json!({ "filename": "\u{1F600}".repeat(255), "keyvalues": { "a": "x".repeat(1024), "b": "x".repeat(1024), "c": "x".repeat(1024) } }),
            "too_long",
        ),
        (json!({ "keyvalues": { "k": [] } }), "bad_keyvalues"),
    ] {
        let mut body = json!({ "date": now, "expires": 60, "network": "public" });
        for (key, value) in bad.as_object().unwrap() {
            body[key] = value.clone();
        }
        let answer = send(&world, Method::POST, "/v3/files/sign", &body).await;
        assert_eq!(answer.error(), (400, reason.to_string()), "{bad}");
    }
    let private = json!({ "date": now, "expires": 60, "network": "private" });
    assert_eq!(send(&world, Method::POST, "/v3/files/sign", &private).await.error().1, "private_files");
    let lost = json!({ "date": now, "expires": 60, "network": "public", "group_id": "none" });
    assert_eq!(send(&world, Method::POST, "/v3/files/sign", &lost).await.error().1, "unknown_group");
    assert_eq!(world.used_bytes().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_ends_with_its_time_and_with_its_key() {
    let world = World::new().await;
    let now = world.gateway.clock.now().0 / 1000;
    // It was asked for a minute ago, and has a second or two left.
    let ending = sign(&world, json!({ "date": now - 60, "expires": 62 })).await;
    data(&upload(&world, &ending, &[file("a", b"a")]).await);
    super::super::world::until(async || {
        let answer = upload(&world, &ending, &[file("a", b"a")]).await;
        answer.status != 200 && answer.error() == (403, "expired_url".into())
    })
    .await;
    let url = sign(&world, json!({})).await;
    let id = world.key.trim_start_matches("pk_").split_once('.').unwrap().0;
    world.admin(Method::DELETE, &format!("/v1/admin/keys/{id}"), json!({})).await;
    assert_eq!(upload(&world, &url, &[file("b", b"b")]).await.error(), (403, "key_gone".into()));
}
