//! Pins: what paths name, and whether they can be read.

use axum::http::StatusCode;
use serde_json::{Value, json};
use testing::Mode;

use super::{Part, World, add, call, lines, refused};
use crate::tests::world::until;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_path_leads_to_is_unpinned_and_not_its_root() {
    let world = World::new().await;
    let parts: [Part<'_>; 2] = [("d%2Fa", "text/plain", b"1"), ("a", "text/plain", b"1")];
    let added = lines(&add(&world, "?cid-version=1&pin-name=n", &parts).await);
    let (file, dir) = (added[0]["Hash"].as_str().unwrap(), added[2]["Hash"].as_str().unwrap());
    let by_path = call(&world, &format!("pin/ls?arg=/ipfs/{dir}/a")).await.json();
    assert_eq!(by_path, json!({ "Keys": { file: { "Type": "recursive", "Name": "" } } }));
    assert_eq!(call(&world, &format!("pin/rm?arg={dir}/a")).await.json(), json!({ "Pins": [file] }));
    let left = lines(&call(&world, "pin/ls?stream=true&name=n").await);
    assert_eq!(left, [json!({ "Cid": dir, "Type": "recursive", "Name": "n" })], "a filter shows names");
    assert_eq!(refused(&call(&world, &format!("pin/rm?arg={dir}/b")).await).0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_that_cannot_be_read_are_told() {
    let world = World::new().await;
    let added = lines(&add(&world, "?cid-version=1", &[("a", "text/plain", b"1")]).await);
    let file = added[0]["Hash"].as_str().unwrap();
    let whole = async || {
        world.probe().await;
        let health = world.get(&format!("/v1/files/{file}/health")).await.json();
        health["segments"][0]["healthy"] == 20
    };
    until(whole).await;
    assert_eq!(lines(&call(&world, "pin/verify").await), [] as [Value; 0]);
    assert_eq!(lines(&call(&world, "pin/verify?verbose=true").await), [json!({ "Cid": file, "Ok": true })]);
    world.network.set(0..13, Mode::Dead);
    world.probe().await;
    let [line] = &lines(&call(&world, "pin/verify").await)[..] else { panic!("one line") };
    assert_eq!(
        (&line["Cid"], &line["Ok"], &line["BadNodes"][0]["Cid"]),
        (&json!(file), &json!(false), &json!(file))
    );
    assert!(line["BadNodes"][0]["Err"].as_str().unwrap().contains("7 of the 8"), "{line}");
    let quiet = lines(&call(&world, "pin/verify?quiet=true").await);
    assert_eq!(quiet, [json!({ "Cid": file, "Ok": false, "BadNodes": [] })]);
    assert_eq!(call(&world, "pin/verify?quiet=true&verbose=true").await.status, StatusCode::BAD_REQUEST);
}
