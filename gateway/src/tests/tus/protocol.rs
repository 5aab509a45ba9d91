//! Headers, versions, methods, and who may do what.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::json;

use super::{Client, cid_of, location, path};
use crate::tests::world::{World, request};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_can_do() {
    let world = World::with(20, |config| config.uploads.size_max = 12_345).await;
    for uri in ["/tus", "/tus/", "/tus/0123"] {
        let answer = world.send(request(Method::OPTIONS, uri, None, Body::empty())).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        let header = |name: &str| answer.headers[name].to_str().unwrap();
        assert_eq!((header("tus-version"), header("tus-max-size")), ("1.0.0", "12345"));
        for extension in [
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "expiration",
            "checksum",
            "termination",
            "concatenation",
        ] {
            assert!(header("tus-extension").split(',').any(|known| known == extension), "{extension}");
        }
        assert_eq!(header("tus-checksum-algorithm"), "sha1,sha256,sha512,md5");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_the_version() {
    let world = World::new().await;
    let client = Client::new(&world);
    let begun = client.post(&[("upload-length", "3")]).await;
    let answers = [
        client.head(&location(&begun)).await,
        begun,
        client.post(&[]).await,
        client.head("/tus/0123").await,
        world.send(request(Method::POST, "/tus", None, Body::empty())).await,
        client.send(Method::PUT, "/tus", &[], Body::empty()).await,
    ];
    let statuses = answers.each_ref().map(|answer| answer.status.as_u16());
    assert_eq!(statuses, [200, 201, 400, 404, 401, 405]);
    for answer in &answers {
        assert_eq!(answer.headers["tus-resumable"], "1.0.0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions() {
    let world = World::new().await;
    let client = Client::new(&world);
    let uri = client.begin_of(3).await;
    for (method, uri) in [(Method::POST, "/tus"), (Method::PATCH, path(&uri)), (Method::DELETE, path(&uri))] {
        let answer = client.send(method, uri, &[("tus-resumable", "0.2.2")], "abc").await;
        assert_eq!(answer.error(), (412, "tus_version".into()));
        assert_eq!(answer.headers["tus-version"], "1.0.0");
    }
    assert_eq!(client.offset(&uri).await, 0);
    // Pinata's clients do not say it, and have a value that is empty.
    let mut request = client.request(
        Method::POST,
        "/tus",
        &[("upload-length", "3"), ("upload-metadata", "filename YQ==,filetype ,network cHVibGlj")],
        Body::empty(),
    );
    request.headers_mut().remove("tus-resumable");
    let uri = location(&world.send(request).await);
    let headers = [("upload-offset", "0"), ("content-type", "application/offset+octet-stream")];
    let mut request = client.request(Method::PATCH, &uri, &headers, "abc");
    request.headers_mut().remove("tus-resumable");
    let answer = world.send(request).await;
    assert_eq!(
        (answer.status, answer.headers["upload-cid"].as_bytes()),
        (StatusCode::NO_CONTENT, cid_of(b"abc").as_bytes())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_in_a_header() {
    let world = World::new().await;
    let client = Client::new(&world);
    let uri = client.begin_of(3).await;
    let patch = [
        ("x-http-method-override", "PATCH"),
        ("content-type", "application/offset+octet-stream"),
        ("upload-offset", "0"),
    ];
    assert_eq!(client.send(Method::POST, &uri, &patch, "abc").await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.offset(&uri).await, 3);
    let delete = [("x-http-method-override", "delete")];
    assert_eq!(client.send(Method::POST, &uri, &delete, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.head(&uri).await.status, StatusCode::NOT_FOUND);
    let none = client.send(Method::POST, "/tus", &[("x-http-method-override", "a b")], "").await;
    assert_eq!(none.error(), (400, "bad_header".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense() {
    let world = World::with(20, |config| config.tus.metadata_max = 40).await;
    let client = Client::new(&world);
    let refuse = async |headers: &[(&'static str, &str)]| client.post(headers).await.error().1;
    assert_eq!(refuse(&[]).await, "bad_length");
    assert_eq!(refuse(&[("upload-length", "1"), ("upload-defer-length", "1")]).await, "bad_length");
    assert_eq!(refuse(&[("upload-length", "-1")]).await, "bad_header");
    assert_eq!(refuse(&[("upload-length", "1"), ("upload-metadata", "a ?")]).await, "bad_header");
    assert_eq!(refuse(&[("upload-length", "1"), ("upload-metadata", &"a".repeat(41))]).await, "bad_header");
    assert_eq!(refuse(&[("upload-length", "1"), ("upload-concat", "some")]).await, "bad_header");
    let uri = client.begin_of(3).await;
    let typed = ("content-type", "application/offset+octet-stream");
    let no_type = client.send(Method::PATCH, &uri, &[("upload-offset", "0")], "abc").await;
    assert_eq!(no_type.error(), (415, "unsupported_media_type".into()));
    let no_offset = client.send(Method::PATCH, &uri, &[typed], "abc").await;
    assert_eq!(no_offset.error(), (400, "bad_header".into()));
    assert_eq!(client.patch(&uri, 1, "bc").await.error(), (409, "offset_mismatch".into()));
    assert_eq!(client.patch(&uri, 0, "abcd").await.error(), (413, "body_too_large".into()));
    let announced = client.patch_with(&uri, 0, &[("content-length", "4")], Body::empty()).await;
    assert_eq!(announced.error(), (413, "body_too_large".into()));
    assert_eq!(client.offset(&uri).await, 0);
    client.write(&uri, 0, b"abc").await;
    assert_eq!(client.patch(&uri, 0, "abc").await.error(), (409, "offset_mismatch".into()));
    assert_eq!(client.patch(&uri, 3, "").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_belongs_to_its_account() {
    let world = World::new().await;
    let client = Client::new(&world);
    let uri = client.begin_of(3).await;
    let account = world.admin(Method::POST, "/v1/admin/accounts", json!({ "name": "other" })).await.json();
    let keys = format!("/v1/admin/accounts/{}/keys", account["id"].as_str().unwrap());
    let key = world.admin(Method::POST, &keys, json!({})).await.json();
    let other = Client { router: world.router.clone(), key: key["key"].as_str().unwrap().into() };
    let unknown = (404, "unknown_upload".to_string());
    assert_eq!(other.send(Method::GET, &uri, &[], "").await.error(), unknown);
    assert_eq!(other.patch(&uri, 0, "abc").await.error(), unknown);
    assert_eq!(other.send(Method::DELETE, &uri, &[], "").await.error(), unknown);
    assert_eq!(other.head(&uri).await.status, StatusCode::NOT_FOUND);
    let reader = Client { router: world.router.clone(), key: world.make_key(&["read"], None).await };
    assert_eq!(reader.post(&[("upload-length", "3")]).await.error(), (403, "missing_scope".into()));
    assert_eq!(reader.send(Method::GET, &uri, &[], "").await.error(), (403, "missing_scope".into()));
    client.write(&uri, 0, b"abc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_tells_how_it_stands() {
    let world = World::new().await;
    let client = Client::new(&world);
    let metadata = "filename YS50eHQ=,empty ,flag";
    let uri = client.begin(&[("upload-length", "5"), ("upload-metadata", metadata)]).await;
    client.write(&uri, 0, b"ab").await;
    let head = client.head(&uri).await;
    let header = |name: &str| head.headers[name].to_str().unwrap();
    assert_eq!((header("upload-length"), header("upload-offset")), ("5", "2"));
    assert_eq!((header("upload-metadata"), header("cache-control")), (metadata, "no-store"));
    assert!(header("upload-expires").ends_with(" GMT"));
    let shown = client.send(Method::GET, &uri, &[], "").await.json();
    assert_eq!(
        (&shown["state"], &shown["offset"], &shown["length"]),
        (&json!("uploading"), &json!(2), &json!(5))
    );
    assert_eq!(shown["metadata"], json!({ "filename": "a.txt", "empty": "", "flag": "" }));
    assert_eq!(shown.get("cid"), None);
    client.write(&uri, 2, b"cde").await;
    let shown = client.send(Method::GET, &uri, &[], "").await.json();
    let cid = cid_of(b"abcde");
    assert_eq!((&shown["state"], &shown["cid"]), (&json!("finished"), &json!(cid)));
    assert_eq!(shown["url"], json!(format!("https://gateway.example/ipfs/{cid}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums() {
    let world = World::new().await;
    let client = Client::new(&world);
    let uri = client.begin_of(9).await;
    client.write(&uri, 0, b"ab").await;
    // SHA-1 of "abc", as FIPS 180 has it.
    let abc = "sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=";
    let wrong = client.patch_with(&uri, 2, &[("upload-checksum", abc)], "abd").await;
    assert_eq!(wrong.error(), (460, "checksum_mismatch".into()));
    assert_eq!(client.offset(&uri).await, 2, "nothing of it is kept");
    let cut = client.patch_with(&uri, 2, &[("upload-checksum", abc)], super::broken(b"abc")).await;
    assert_eq!(cut.error(), (400, "body_incomplete".into()));
    assert_eq!(client.offset(&uri).await, 2, "what cannot be checked is not kept");
    let unknown = client.patch_with(&uri, 2, &[("upload-checksum", "crc32 AAAA")], "abc").await;
    assert_eq!(unknown.error(), (400, "bad_header".into()));
    let right = client.patch_with(&uri, 2, &[("upload-checksum", abc)], "abc").await;
    assert_eq!(right.status, StatusCode::NO_CONTENT);
    client.write(&uri, 5, b"defg").await;
    assert_eq!(client.cid(&uri).await, cid_of(b"ababcdefg"));

    let first = [
        ("upload-length", "3"),
        ("content-type", "application/offset+octet-stream"),
        ("upload-checksum", abc),
    ];
    let wrong = client.send(Method::POST, "/tus", &first, "abd").await;
    assert_eq!(wrong.error(), (460, "checksum_mismatch".into()));
    assert_eq!(client.send(Method::POST, "/tus", &first, "abc").await.status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_pieces_that_do_not_have_their_checksum_leave_nothing() {
    let world = World::with(20, |config| {
        config.uploads.segment_bytes = super::MIB;
        config.tus.progress_bytes = 1 << 20;
    })
    .await;
    let client = Client::new(&world);
    let bytes = crate::tests::world::patterned(9, 6 * super::MIB);
    let uri = client.begin_of(bytes.len()).await;
    client.write(&uri, 0, &bytes[..100]).await;
    let wrong = "sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=";
    let answer = client.patch_with(&uri, 100, &[("upload-checksum", wrong)], bytes[100..].to_vec()).await;
    assert_eq!(answer.error(), (460, "checksum_mismatch".into()));
    assert_eq!(client.offset(&uri).await, 100);
    client.write(&uri, 100, &bytes[100..]).await;
    assert_eq!(client.cid(&uri).await, cid_of(&bytes));
    world.assert_reads(&cid_of(&bytes), &bytes).await;
}
