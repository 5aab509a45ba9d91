//! Uploads whose progress is followed.

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::{Method, Part, World, add, form, header, imported, lines, patterned, refused, send_form};
use crate::tests::world::{ACCOUNT, until};

#[tokio::test(flavor = "multi_thread")]
async fn lines_tell_how_much_has_come_and_then_what_it_is() {
    let world = World::new().await;
    let bytes = patterned(1, 1_000_000);
    let parts: [Part<'_>; 2] = [("d%2Fbig", "text/plain", &bytes), ("d%2Fsmall", "text/plain", b"abc")];
    let answer = lines(&add(&world, "?progress=true", &parts).await);
    let (told, entries): (Vec<&Value>, Vec<&Value>) = answer.iter().partition(|line| line["Hash"].is_null());
    let of_big: Vec<u64> = told
        .iter()
        .filter(|line| line["Name"] == "d/big")
        .map(|line| line["Bytes"].as_u64().unwrap())
        .collect();
    assert!(of_big.is_sorted() && of_big.last() == Some(&1_000_000), "{of_big:?}");
    assert_eq!(told.last().unwrap(), &&json!({ "Name": "d/small", "Bytes": 3 }));
    let names: Vec<&Value> = entries.iter().map(|line| &line["Name"]).collect();
    assert_eq!(names, ["d/big", "d/small", "d"]);
    assert_eq!(lines(&add(&world, "", &parts).await).iter().collect::<Vec<_>>(), entries, "as without");
    world.assert_reads(entries[0]["Hash"].as_str().unwrap(), &bytes).await;
    let hashed = lines(&add(&world, "?progress=true&only-hash=true", &[("", "text/plain", b"x")]).await);
    let profile = content::unixfs::profile::Profile::UNIXFS_V0_2015;
    assert_eq!(
        (&hashed[0], &hashed[1]["Hash"]),
        (&json!({ "Name": "", "Bytes": 1 }), &imported(profile, b"x")["Hash"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_while_the_upload_comes() {
    let world = World::new().await;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = Body::from_stream(stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    }));
    let mut request = world.request(Method::POST, "/api/v0/add?progress=true", body);
    request.headers_mut().insert(header::CONTENT_TYPE, "multipart/form-data; boundary=X".parse().unwrap());
    let send = async |bytes: Vec<u8>| sender.send(Ok(bytes.into())).await.unwrap();
    let answer = tokio::spawn(world.router.clone().oneshot(request));
    send(b"--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n".to_vec()).await;
    send(patterned(1, 300_000)).await;
    let response = answer.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    let first: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(first["Name"], "a");
    assert!(first["Bytes"].as_u64().unwrap() >= 256 << 10, "{first}");
    // Whoever goes away takes the upload along.
    drop(body);
    until(async || sender.is_closed()).await;
    world.gateway.packer.until(|in_hand| in_hand.uploads == 0).await;
    assert_eq!(world.used_bytes().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_late_ends_in_a_line_and_is_broken_off() {
    let world = World::new().await;
    world
        .admin(Method::PUT, &format!("/v1/admin/accounts/{ACCOUNT}/quota"), json!({ "quota_bytes": 1_000 }))
        .await;
    let bytes = patterned(1, 600_000);
    let parts: [Part<'_>; 1] = [("a", "text/plain", &bytes)];
    assert_eq!(refused(&add(&world, "", &parts).await).0, 403, "without lines there is a status");
    let response = world.router.clone().oneshot(form(&world, "add?progress=true", &parts)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let (mut text, mut broken) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.extend_from_slice(frame.data_ref().unwrap()),
            Err(_) => broken = true,
        }
    }
    assert!(broken);
    let last = text.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap();
    let last: Value = serde_json::from_slice(last).unwrap();
    assert_eq!((&last["Type"], &last["Code"]), (&json!("error"), &json!(0)));
    assert!(last["Message"].as_str().unwrap().contains("quota"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_early_has_a_status() {
    let world = World::new().await;
    for query in ["?progress=true&chunker=rabin", "?progress=maybe"] {
        assert_eq!(refused(&add(&world, query, &[("a", "text/plain", b"1")]).await).0, 400, "{query}");
    }
    assert_eq!(refused(&send_form(&world, "add?progress=true", &[]).await).0, 400, "nothing in it");
}
