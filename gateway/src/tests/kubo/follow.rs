//! Uploads whose progress is followed.

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use service::http::server::{HttpConfig, Server};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
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

/// The whole answer to a request, from a real server.
async fn over_tcp(world: &World, query: &str, parts: &[Part<'_>]) -> String {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), HttpConfig::default()).await.unwrap();
    let mut client = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(world.router.clone(), stop.clone()));
    let request = form(world, &format!("add{query}"), parts);
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut bytes = format!("POST {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n", head.uri).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(format!("{name}: {}\r\n", value.to_str().unwrap()).as_bytes());
    }
    // Without a length, so that nothing is refused for it.
    bytes.extend_from_slice(format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(b"\r\n0\r\n\r\n");
    client.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    stop.cancel();
    serving.await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_late_ends_in_a_line_and_is_broken_off() {
    let world = World::new().await;
    let bytes = patterned(1, 600_000);
    let parts: [Part<'_>; 1] = [("a", "text/plain", &bytes)];
    let whole = over_tcp(&world, "?progress=true", &parts).await;
    assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("\r\n0\r\n\r\n"), "{whole}");
    let quota = format!("/v1/admin/accounts/{ACCOUNT}/quota");
    world.admin(Method::PUT, &quota, json!({ "quota_bytes": 600_001 })).await;
    let bytes = patterned(2, 600_000);
    let parts: [Part<'_>; 1] = [("a", "text/plain", &bytes)];
    assert_eq!(refused(&add(&world, "", &parts).await).0, 403, "without lines there is a status");
    let broken = over_tcp(&world, "?progress=true", &parts).await;
    assert!(broken.starts_with("HTTP/1.1 200") && !broken.ends_with("\r\n0\r\n\r\n"), "{broken}");
    let last = broken.lines().rfind(|line| line.starts_with('{')).unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["Type"], &last["Code"]), (&json!("error"), &json!(0)));
    assert!(last["Message"].as_str().unwrap().contains("quota"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_early_has_a_status() {
    let world = World::new().await;
    let quota = format!("/v1/admin/accounts/{ACCOUNT}/quota");
    world.admin(Method::PUT, &quota, json!({ "quota_bytes": 1_000 })).await;
    for command in ["add?progress=true", "dag/import"] {
        let mut announced = form(&world, command, &[("a", "text/plain", b"1")]);
        announced.headers_mut().insert(header::CONTENT_LENGTH, (3 << 20).into());
        assert_eq!(refused(&world.send(announced).await).0, 403, "{command}: more than fits");
    }
    for query in ["?progress=true&chunker=rabin", "?progress=maybe"] {
        assert_eq!(refused(&add(&world, query, &[("a", "text/plain", b"1")]).await).0, 400, "{query}");
    }
    assert_eq!(refused(&send_form(&world, "add?progress=true", &[]).await).0, 400, "nothing in it");
}
