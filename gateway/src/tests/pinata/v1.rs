//! Version 1.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use content::unixfs::profile::Profile;
use serde_json::{Value, json};

use super::{
    super::world::{World, patterned, request},
    Field, cid_of, file, folder_of, ok, post_form, send, text,
};

const V0: Profile = Profile::UNIXFS_V0_2015;
const V1: Profile = Profile::KUBO_V1;
const PIN_FILE: &str = "/pinning/pinFileToIPFS";

#[tokio::test(flavor = "multi_thread")]
async fn files_have_the_version_that_is_asked_for_behind_them() {
    let world = World::new().await;
    // Below what is held back, and far beyond it; each of the latter first under a wrong guess and then under a right one.
    for length in [100_000, 900_000] {
        for (seed, options, profile) in [
            (1, None, V0),
            (2, Some(r#"{"cidVersion":1}"#), V1),
            (3, Some(r#"{"cidVersion":1}"#), V1),
            (4, Some(r#"{"cidVersion":0}"#), V0),
            (5, Some(r#"{"cidVersion":"0"}"#), V0),
        ] {
            let bytes = patterned(seed, length);
            let mut fields: Vec<Field<'_>> =
                vec![file("a.bin", &bytes), text("pinataMetadata", r#"{"name":"mine"}"#)];
            fields.extend(options.map(|options| text("pinataOptions", options)));
            let before = world.used_bytes().await;
            let answer = ok(&post_form(&world, PIN_FILE, &fields).await);
            let cid = cid_of(profile, &bytes);
            assert_eq!(
                (&answer["IpfsHash"], &answer["PinSize"]),
                (&json!(cid), &json!(length)),
                "{options:?}"
            );
            assert_eq!(answer["isDuplicate"], Value::Null);
            world.assert_reads(&cid, &bytes).await;
            assert_eq!(world.used_bytes().await, before + length as u64, "what was read back is let go");
        }
    }
    let rows = ok(&world.get("/data/pinList?pageLimit=1000").await)["rows"].as_array().unwrap().len();
    assert_eq!(rows, 10, "and it is in no list");
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_have_the_version_that_is_asked_for_behind_them() {
    let world = World::new().await;
    let (big, small) = (patterned(1, 700_000), b"small");
    let files = [file("site/index.html", small), file("site/sub/big.bin", &big), file("site/c", b"")];
    let plain: [(&str, &[u8]); 3] = [("index.html", small), ("sub/big.bin", &big), ("c", b"")];
    for (options, profile) in [(r#"{"cidVersion":1}"#, V1), ("{}", V0), (r#"{"cidVersion":1}"#, V1)] {
        let fields = [&files[..], &[text("pinataOptions", options)]].concat();
        let answer = ok(&post_form(&world, PIN_FILE, &fields).await);
        let cid = folder_of(profile, &plain);
        assert_eq!(answer["IpfsHash"], cid, "{options}");
        assert_eq!(answer["PinSize"], 700_005);
        assert_eq!((&answer["NumberOfFiles"], &answer["MimeType"]), (&json!(3), &json!("directory")));
        assert_eq!(answer["Name"], "site");
        world.assert_reads(&format!("{cid}/sub/big.bin"), &big).await;
    }
    let wrapped = [file("only.txt", small), text("pinataOptions", r#"{"wrapWithDirectory":true}"#)];
    let answer = ok(&post_form(&world, PIN_FILE, &wrapped).await);
    assert_eq!(answer["IpfsHash"], folder_of(V0, &[("only.txt", small)]));
    assert_eq!(world.used_bytes().await, 2 * 700_005 + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_those_that_browsers_mean() {
    let world = World::new().await;
    let one = ok(&post_form(&world, PIN_FILE, &[file("a%22b%20.txt", b"x")]).await);
    assert_eq!(one["Name"], "a\"b%20.txt");
    let files = [file("f%22/%22", b"1"), file("f%22/c", b"2")];
    let folder = ok(&post_form(&world, PIN_FILE, &files).await);
    assert_eq!(
        (&folder["Name"], &folder["IpfsHash"]),
        (&json!("f\""), &json!(folder_of(V0, &[("\"", b"1"), ("c", b"2")])))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn json_keeps_its_order_and_its_digits() {
    let world = World::new().await;
    for (body, content) in [
        (r#"{"b": 1.50, "a": [ "x  y" ]}"#, r#"{"b":1.50,"a":["x  y"]}"#),
        ("[1, 2]", "[1,2]"),
        (
            r#"{"pinataContent": {"z": 1, "y": "\u00e4"}, "pinataMetadata": {"name": "n", "keyvalues": {"k": 1}}}"#,
            r#"{"z":1,"y":"\u00e4"}"#,
        ),
        (r#"{"pinataContent":"text","pinataOptions":{"cidVersion":1}}"#, r#""text""#),
    ] {
        let mut request = world.request(Method::POST, "/pinning/pinJSONToIPFS", body);
        let kind = "application/json;charset=utf-8".parse().unwrap();
        request.headers_mut().insert("content-type", kind);
        let answer = ok(&world.send(request).await);
        let profile = if body.contains("cidVersion") { V1 } else { V0 };
        assert_eq!(answer["IpfsHash"], cid_of(profile, content.as_bytes()), "{body}");
        assert_eq!(answer["MimeType"], "application/json");
        world.assert_reads(answer["IpfsHash"].as_str().unwrap(), content.as_bytes()).await;
    }
    let named = ok(&world.get("/data/pinList?metadata[name]=n").await);
    assert_eq!(named["rows"][0]["metadata"], json!({ "name": "n", "keyvalues": { "k": "1" } }));
    assert_eq!(world.send(world.request(Method::POST, "/pinning/pinJSONToIPFS", "{")).await.error().0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_is_a_duplicate_that_is_said_more_of() {
    let world = World::new().await;
    let upload = async |metadata: &str| {
        let fields = [file("a", b"bytes"), text("pinataMetadata", metadata)];
        ok(&post_form(&world, PIN_FILE, &fields).await)
    };
    let first = upload(r#"{"name":"one","keyvalues":{"a":"1","b":2}}"#).await;
    let again = upload(r#"{"name":"two","keyvalues":{"b":"3"}}"#).await;
    assert_eq!((&first["isDuplicate"], &again["isDuplicate"]), (&Value::Null, &json!(true)));
    assert_eq!((&first["ID"], &first["Timestamp"]), (&again["ID"], &again["Timestamp"]));
    assert_eq!((&again["Name"], &again["Keyvalues"]), (&json!("two"), &json!({ "a": "1", "b": "3" })));
    assert_eq!(world.used_bytes().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_by_all_that_is_said() {
    let world = World::new().await;
    for (name, bytes, n) in [("Apple", &b"1"[..], 9), ("apple pie", b"22", 10), ("pear", b"333", 11)] {
        let metadata = json!({ "name": name, "keyvalues": { "n": n, "kind": name } }).to_string();
        ok(&post_form(&world, PIN_FILE, &[file("x", bytes), text("pinataMetadata", &metadata)]).await);
    }
    let list = async |query: &str| {
        let query = query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        let rows = ok(&world.get(&format!("/data/pinList?{query}")).await)["rows"].clone();
        let names = rows.as_array().unwrap().iter().map(|row| row["metadata"]["name"].clone());
        names.map(|name| name.as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let by = |test: &str| format!("metadata[keyvalues]={{\"n\":{test}}}");
    assert_eq!(list("").await, ["pear", "apple pie", "Apple"]);
    assert_eq!(list("status=pinned&includeCount=false&pageLimit=2").await, ["pear", "apple pie"]);
    assert_eq!(list("pageLimit=2&pageOffset=2").await, ["Apple"]);
    assert_eq!(list("status=unpinned").await, [""; 0]);
    assert_eq!(list("metadata[name]=APPLE").await, ["apple pie", "Apple"]);
    assert_eq!(list("pinSizeMin=2&pinSizeMax=2").await, ["apple pie"]);
    assert_eq!(list(&by(r#"{"value":9,"op":"gt"}"#)).await, ["pear", "apple pie"]);
    assert_eq!(list(&by(r#"{"value":"10","op":"lte"}"#)).await, ["apple pie", "Apple"]);
    assert_eq!(list(&by(r#"{"value":10,"secondValue":20,"op":"between"}"#)).await, ["pear", "apple pie"]);
    assert_eq!(list(&by(r#"{"value":10,"secondValue":20,"op":"notBetween"}"#)).await, ["Apple"]);
    assert_eq!(list(&by(r#"{"value":"10"}"#)).await, ["apple pie"], "eq is what nobody says");
    assert_eq!(
        list(r#"metadata[keyvalues]={"kind":{"value":"a%25","op":"iLike"},"n":{"value":9,"op":"ne"}}"#).await,
        ["apple pie"]
    );
    let (v0, whole) = (cid_of(V0, b"22"), ok(&world.get("/data/pinList").await));
    assert_eq!(list(&format!("hashContains={v0}")).await, ["apple pie"]);
    assert_eq!(whole["count"], 3);
    let row = &whole["rows"][1];
    assert_eq!(
        (&row["ipfs_pin_hash"], &row["size"], &row["date_unpinned"]),
        (&json!(v0), &json!(2), &Value::Null)
    );
    let at = row["date_pinned"].as_str().unwrap();
    assert!(list(&format!("pinStart={at}&pinEnd={at}")).await.contains(&"apple pie".to_string()));
    assert_eq!(list("pinEnd=2020-01-01T00:00:00.000Z").await, [""; 0]);
    for bad in [
        "status=x",
        "pageLimit=0",
        "pageLimit=1001",
        "pageOffset=-1",
        "pinStart=yesterday",
        "metadata[keyvalues]=1",
        "metadata[keyvalues]=%7B%22a%22:%7B%22op%22:%22eq%22%7D%7D",
        "metadata[keyvalues]=%7B%22a%22:%7B%22value%22:%22b%22,%22op%22:%22about%22%7D%7D",
        "metadata[keyvalues]=%7B%22a%22:%7B%22value%22:%22b%22,%22op%22:%22between%22%7D%7D",
    ] {
        assert_eq!(world.get(&format!("/data/pinList?{bad}")).await.error().0, 400, "{bad}");
    }
    let regexp = "metadata[keyvalues]=%7B%22a%22:%7B%22value%22:%22b%22,%22op%22:%22regexp%22%7D%7D";
    assert_eq!(world.get(&format!("/data/pinList?{regexp}")).await.error().0, 501);
    let total = ok(&world.get("/v3/data/userPinnedDataTotal").await);
    assert_eq!((&total["pin_count"], &total["pin_size_total"]), (&json!(3), &json!(6)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pinned_is_described_anew_and_unpinned() {
    let world = World::new().await;
    let metadata = r#"{"name":"n","keyvalues":{"a":"1","gone":"x"}}"#;
    let answer =
        ok(&post_form(&world, PIN_FILE, &[file("x", b"bytes"), text("pinataMetadata", metadata)]).await);
    let cid = answer["IpfsHash"].as_str().unwrap();
    let change = json!({ "ipfsPinHash": cid, "keyvalues": { "b": true, "gone": null } });
    let changed = send(&world, Method::PUT, "/pinning/hashMetadata", &change).await;
    assert_eq!((changed.status, &changed.body[..]), (StatusCode::OK, &b"OK"[..]));
    let row = ok(&world.get("/data/pinList").await)["rows"][0].clone();
    assert_eq!(row["metadata"], json!({ "name": "n", "keyvalues": { "a": "1", "b": "true" } }));
    for (bad, reason) in [
        (json!({ "ipfsPinHash": "nonsense" }), "bad_cid"),
        (json!({ "ipfsPinHash": cid, "keyvalues": { "": "x" } }), "bad_keyvalues"),
        (json!({ "ipfsPinHash": cid, "keyvalues": { "k": ["x"] } }), "bad_keyvalues"),
        (
            json!({ "ipfsPinHash": cid, "keyvalues": (0..11).map(|n| (n.to_string(), json!(n))).collect::<serde_json::Map<_, _>>() }),
            "too_many_keyvalues",
        ),
        (
            json!({ "ipfsPinHash": cid, "keyvalues": (0..9).map(|n| (n.to_string(), json!(n))).collect::<serde_json::Map<_, _>>() }),
            "too_many_keyvalues",
        ),
        (json!({ "ipfsPinHash": cid_of(V0, b"other") }), "CURRENT_USER_HAS_NOT_PINNED_CID"),
    ] {
        let refused = send(&world, Method::PUT, "/pinning/hashMetadata", &bad).await;
        assert_eq!(refused.error(), (400, reason.to_string()), "{bad}");
    }
    let gone = world.delete(&format!("/pinning/unpin/{cid}")).await;
    assert_eq!((gone.status, &gone.body[..]), (StatusCode::OK, &b"OK"[..]));
    assert_eq!(world.used_bytes().await, 0);
    let again = world.delete(&format!("/pinning/unpin/{cid}")).await;
    assert_eq!(again.error().1, "CURRENT_USER_HAS_NOT_PINNED_CID");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_as_bearer_tokens_or_in_two_headers() {
    let world = World::new().await;
    let (id, secret) = world.key.split_once('.').unwrap();
    let test = async |headers: &[(&'static str, &str)]| {
        let mut asked = request(Method::GET, "/data/testAuthentication", None, Body::empty());
        for (name, value) in headers {
            asked.headers_mut().insert(*name, value.parse().unwrap());
        }
        world.send(asked).await.status.as_u16()
    };
    let pair = |id, secret| [("pinata_api_key", id), ("pinata_secret_api_key", secret)];
    assert_eq!(test(&[("authorization", &format!("Bearer {}", world.key))]).await, 200);
    assert_eq!(test(&pair(id, secret)).await, 200);
    assert_eq!(test(&pair(id.trim_start_matches("pk_"), secret)).await, 200);
    assert_eq!(test(&pair("whatever", &world.key)).await, 200);
    assert_eq!(test(&pair(id, "wrong")).await, 401);
    assert_eq!(test(&[("pinata_api_key", id)]).await, 401);
    assert_eq!(test(&[]).await, 401);
    let reader = world.make_key(&["read"], None).await;
    for uri in [PIN_FILE, "/pinning/pinJSONToIPFS", "/pinning/pinByHash", "/v3/files", "/v3/groups/public"] {
        let refused = world.send(request(Method::POST, uri, Some(&reader), "{}")).await;
        assert_eq!(refused.error(), (403, "missing_scope".into()), "{uri}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_say_nonsense_pin_nothing() {
    let world = World::with(20, |config| config.uploads.size_max = 400_000).await;
    let bytes = patterned(1, 300_000);
    let long = "x".repeat(70_000);
    for (fields, status) in [
        (vec![text("pinataMetadata", "{}")], 400),
        (vec![file("a", b"1"), text("pinataMetadata", "{")], 400),
        (vec![file("a", &bytes), text("pinataOptions", r#"{"cidVersion":2}"#)], 400),
        (vec![file("a", b"1"), text("pinataMetadata", r#"{"keyvalues":{"k":{}}}"#)], 400),
        (vec![file("a", b"1"), text("pinataOptions", r#"{"groupId":"none"}"#)], 404),
        (vec![file("a", b"1"), text("other", &long)], 400),
        (vec![file("../a", b"1")], 400),
        (vec![file("a", b"1"), file("a", b"2")], 400),
        (vec![file("a", &bytes), file("b", &bytes)], 413),
    ] {
        let answer = post_form(&world, PIN_FILE, &fields).await;
        assert_eq!(answer.error().0, status, "{answer:?}");
    }
    assert_eq!(world.used_bytes().await, 0);
    assert_eq!(ok(&world.get("/data/pinList").await)["count"], 0);
}
