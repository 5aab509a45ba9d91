//! Version 3.

use axum::{body::Body, http::Method};
use content::unixfs::profile::Profile;
use serde_json::{Value, json};

use super::{
    super::world::{World, patterned, request},
    Field, cid_of, data, file, ok, post_form, send, text,
};

const PUBLIC: Field<'static> = ("network", None, None, b"public");

async fn upload(world: &World, name: &str, bytes: &[u8], more: &[Field<'_>]) -> Value {
    let fields = [&[file(name, bytes), PUBLIC], more].concat();
    data(&post_form(world, "/v3/files", &fields).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_uploaded_shown_changed_and_deleted() {
    let world = World::new().await;
    let bytes = patterned(1, 600_000);
    let said = [text("name", "photo.png"), text("keyvalues", r#"{"env":"prod","a":"1"}"#)];
    let made = upload(&world, "x.bin", &bytes, &said).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["cid"], cid_of(Profile::KUBO_V1, &bytes));
    assert_eq!((&made["name"], &made["size"]), (&json!("photo.png"), &json!(600_000)));
    assert_eq!((&made["number_of_files"], &made["group_id"]), (&json!(1), &Value::Null));
    assert_eq!((&made["network"], &made["is_duplicate"]), (&json!("public"), &Value::Null));
    world.assert_reads(made["cid"].as_str().unwrap(), &bytes).await;
    let uri = format!("/v3/files/public/{id}");
    assert_eq!(data(&world.get(&uri).await), made);

    let change = json!({ "name": "new", "keyvalues": { "a": null, "b": "2" } });
    let changed = data(&send(&world, Method::PUT, &uri, &change).await);
    assert_eq!(
        (&changed["name"], &changed["keyvalues"]),
        (&json!("new"), &json!({ "env": "prod", "b": "2" }))
    );
    assert_eq!(data(&send(&world, Method::PUT, &uri, &json!({})).await), changed);
    let past = send(&world, Method::PUT, &uri, &json!({ "expires_at": 1 })).await;
    assert_eq!(past.error(), (400, "bad_expires".into()));
    data(&send(&world, Method::PUT, &uri, &json!({ "expires_at": 4_000_000_000_i64 })).await);
    let cid = made["cid"].as_str().unwrap();
    let expires = world.get(&format!("/v1/files/{cid}")).await.json()["expires"].clone();
    assert_eq!(expires, "2096-10-02T07:06:40.000Z");

    let again = upload(&world, "x.bin", &bytes, &[]).await;
    assert_eq!((&again["id"], &again["is_duplicate"]), (&json!(id), &json!(true)));
    assert_eq!(ok(&world.delete(&uri).await), json!({ "data": null }));
    for method in [Method::GET, Method::DELETE] {
        let gone = world.send(world.request(method, &uri, Body::empty())).await;
        assert_eq!(gone.error(), (404, "unknown_file".into()));
    }
    assert_eq!(world.used_bytes().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_choose_the_version_and_the_type() {
    let world = World::new().await;
    let bytes = patterned(2, 500_000);
    for (version, profile) in [("v0", Profile::UNIXFS_V0_2015), ("v1", Profile::KUBO_V1)] {
        let made = upload(&world, "a.txt", &bytes, &[text("cid_version", version)]).await;
        assert_eq!(made["cid"], cid_of(profile, &bytes), "{version}");
        assert_eq!(made["mime_type"], "text/plain", "by its name");
    }
    let typed = [("file", Some("a.txt"), Some("Image/PNG; q=1"), &b"png"[..]), PUBLIC];
    assert_eq!(data(&post_form(&world, "/v3/files", &typed).await)["mime_type"], "image/png");
    let other = upload(&world, "blob", b"?", &[text("expires_at", "4000000000")]).await;
    assert_eq!(other["mime_type"], "application/octet-stream");
    let before = [PUBLIC, text("cid_version", "v0"), file("late", &bytes)];
    let early = data(&post_form(&world, "/v3/files", &before).await);
    assert_eq!(early["cid"], cid_of(Profile::UNIXFS_V0_2015, &bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_public_that_was_to_be_private() {
    let world = World::new().await;
    for more in [vec![], vec![text("network", "private")]] {
        let fields = [vec![file("a", b"secret")], more].concat();
        assert_eq!(post_form(&world, "/v3/files", &fields).await.error(), (501, "private_files".into()));
    }
    let car = [file("a", b"1"), PUBLIC, text("car", "true")];
    assert_eq!(post_form(&world, "/v3/files", &car).await.error(), (501, "unsupported".into()));
    let link = json!({ "url": "https://x/files/cid", "date": 1, "expires": 30, "method": "GET" });
    assert_eq!(send(&world, Method::POST, "/v3/files/sign", &link).await.error().1, "private_files");
    for uri in
        ["/v3/files/private", "/v3/files/private/id", "/v3/groups/private", "/v3/files/private/pin_by_cid"]
    {
        assert_eq!(world.get(uri).await.error().1, "private_files", "{uri}");
    }
    assert_eq!(world.get("/v3/files/other").await.error().0, 404);
    assert_eq!(world.used_bytes().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_walked_by_pages() {
    let world = World::new().await;
    let mut cids = Vec::new();
    for (n, name) in ["a.png", "b.png", "c.txt", "d.txt", "e.txt"].into_iter().enumerate() {
        let keyvalues = json!({ "n": n.to_string(), "all": "yes" }).to_string();
        let made = upload(&world, name, name.as_bytes(), &[text("keyvalues", &keyvalues)]).await;
        cids.push(made["cid"].as_str().unwrap().to_string());
    }
    let names = |page: &Value| {
        let files = page["files"].as_array().unwrap().clone();
        files.into_iter().map(|file| file["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let list = async |query: &str| data(&world.get(&format!("/v3/files/public{query}")).await);
    for (order, first) in [("ASC", "a.png"), ("DESC", "e.txt")] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = list(&format!("?limit=2&order={order}&pageToken={token}")).await;
            seen.extend(names(&page));
            match page["next_page_token"].as_str() {
                Some(next) => token = next.to_string(),
                None => break,
            }
        }
        assert_eq!((seen.len(), seen[0].as_str()), (5, first));
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }
    assert_eq!(names(&list("?name=B.P").await), ["b.png"]);
    assert_eq!(names(&list("?mimeType=image/png").await), ["b.png", "a.png"]);
    assert_eq!(names(&list(&format!("?cid={}", cids[2])).await), ["c.txt"]);
    assert_eq!(names(&list("?keyvalues%5Bn%5D=3&keyvalues[all]=yes").await), ["d.txt"]);
    assert_eq!(names(&list("?keyvalues[n]=3&keyvalues[all]=no").await), [""; 0]);
    assert_eq!(names(&list("?cidPending=true").await), [""; 0]);
    assert_eq!(names(&list("?group=null").await).len(), 5);
    for bad in ["?limit=0", "?limit=x", "?order=up", "?pageToken=x", "?cid=x"] {
        assert_eq!(world.get(&format!("/v3/files/public{bad}")).await.error().0, 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_hold_files() {
    let world = World::with(20, |config| config.pinata.groups_max = 2).await;
    let group = data(&send(&world, Method::POST, "/v3/groups/public", &json!({ "name": "first" })).await);
    let id = group["id"].as_str().unwrap();
    assert_eq!((&group["is_public"], &group["createdAt"]), (&json!(false), &group["created_at"]));
    let within = upload(&world, "in", b"in", &[text("group_id", id)]).await;
    assert_eq!(within["group_id"], id);
    let other = upload(&world, "out", b"out", &[]).await;
    let files = async |query: &str| {
        let page = data(&world.get(&format!("/v3/files/public?{query}")).await);
        page["files"].as_array().unwrap().len()
    };
    let member = format!("/v3/groups/public/{id}/ids/{}", other["id"].as_str().unwrap());
    assert_eq!(files(&format!("group={id}")).await, 1);
    // As the client sends it: JSON by its header, and no body.
    let mut put = world.request(Method::PUT, &member, Body::empty());
    put.headers_mut().insert("content-type", "application/json".parse().unwrap());
    assert_eq!(ok(&world.send(put).await), json!({ "data": null }));
    assert_eq!((files(&format!("group={id}")).await, files("group=null").await), (2, 0));
    ok(&world.delete(&member).await);
    assert_eq!(world.delete(&member).await.error(), (404, "unknown_file".into()), "it is not in it");
    assert_eq!(files(&format!("group={id}")).await, 1);

    let second = json!({ "name": "second", "is_public": true });
    let second = data(&send(&world, Method::POST, "/v3/groups/public", &second).await);
    let many = send(&world, Method::POST, "/v3/groups/public", &json!({ "name": "third" })).await;
    assert_eq!(many.error(), (400, "too_many_groups".into()));
    let unnamed = send(&world, Method::POST, "/v3/groups/public", &json!({})).await;
    assert_eq!(unnamed.error(), (400, "bad_name".into()));
    let list = async |query: &str| data(&world.get(&format!("/v3/groups/public{query}")).await);
    let page = list("?limit=1").await;
    assert_eq!(page["groups"], json!([second]));
    let token = page["next_page_token"].as_str().unwrap();
    let page = list(&format!("?pageToken={token}")).await;
    assert_eq!((&page["groups"], &page["next_page_token"]), (&json!([group]), &Value::Null));
    assert_eq!(list("?isPublic=true").await["groups"], json!([second]));
    assert_eq!(list("?name=irs").await["groups"], json!([group]));

    let uri = format!("/v3/groups/public/{id}");
    let changed = data(&send(&world, Method::PUT, &uri, &json!({ "name": "renamed" })).await);
    assert_eq!((&changed["name"], data(&world.get(&uri).await)), (&json!("renamed"), changed.clone()));
    ok(&world.delete(&uri).await);
    assert_eq!(world.get(&uri).await.error(), (404, "unknown_group".into()));
    assert_eq!((files("group=null").await, files("").await), (2, 2), "files stay");
    let lost = post_form(&world, "/v3/files", &[file("x", b"x"), PUBLIC, text("group_id", id)]).await;
    assert_eq!(lost.error(), (404, "unknown_group".into()));
    assert_eq!(files("").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_fetched_waits_in_a_queue() {
    let world = World::new().await;
    let group = data(&send(&world, Method::POST, "/v3/groups/public", &json!({ "name": "g" })).await);
    let cid = cid_of(Profile::KUBO_V1, b"elsewhere");
    let asked = json!({
        "cid": cid, "name": "n", "keyvalues": { "k": "v" }, "group_id": group["id"],
        "host_nodes": ["/dns4/example.com/tcp/443/https"]
    });
    let job = data(&send(&world, Method::POST, "/v3/files/public/pin_by_cid", &asked).await);
    assert_eq!(
        (&job["cid"], &job["status"], &job["name"]),
        (&json!(cid), &json!("prechecking"), &json!("n"))
    );
    assert_eq!((&job["group_id"], &job["keyvalues"]), (&group["id"], &json!({ "k": "v" })));
    let v0 = cid_of(Profile::UNIXFS_V0_2015, b"elsewhere");
    let by_hash = json!({ "hashToPin": v0, "pinataOptions": {}, "pinataMetadata": { "name": "old" } });
    let old = ok(&send(&world, Method::POST, "/pinning/pinByHash", &by_hash).await);
    assert_eq!(
        (&old["ipfsHash"], &old["status"], &old["name"]),
        (&json!(v0), &json!("prechecking"), &json!("old"))
    );

    let queue = async |query: &str| {
        let page = data(&world.get(&format!("/v3/files/public/pin_by_cid?{query}")).await);
        let jobs = page["jobs"].as_array().unwrap().clone();
        jobs.into_iter().map(|job| job["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(queue("includesCount=false&sort=ASC").await, ["n", "old"]);
    assert_eq!(queue("sort=DSC&limit=1").await, ["old"]);
    assert_eq!(queue("status=prechecking").await.len(), 2);
    assert_eq!(queue(&format!("cid={v0}")).await, ["old"]);
    for status in ["retrieving", "expired", "over_max_size"] {
        assert_eq!(queue(&format!("status={status}")).await, [""; 0]);
    }
    let jobs = ok(&world.get("/pinning/pinJobs?sort=ASC&offset=1&limit=5").await);
    assert_eq!((&jobs["count"], &jobs["rows"][0]["ipfs_pin_hash"]), (&json!(2), &json!(v0)));
    assert_eq!(ok(&world.get("/data/pinList").await)["count"], 0, "they are not pinned yet");
    let id = job["id"].as_str().unwrap();
    assert_eq!(world.get(&format!("/v3/files/public/{id}")).await.error().0, 404);
    assert_eq!(
        world.get("/psa/pins?status=queued").await.json()["count"],
        2,
        "they are those of all other ways"
    );

    ok(&world.delete(&format!("/v3/files/public/pin_by_cid/{id}")).await);
    assert_eq!(queue("").await, ["old"]);
    let stored = upload(&world, "s", b"s", &[]).await;
    let uri = format!("/v3/files/public/pin_by_cid/{}", stored["id"].as_str().unwrap());
    assert_eq!(world.delete(&uri).await.error(), (404, "unknown_file".into()), "it waits for nothing");
    let bad = send(&world, Method::POST, "/v3/files/public/pin_by_cid", &json!({ "cid": "x" })).await;
    assert_eq!(bad.error(), (400, "bad_cid".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_see_only_their_own() {
    let world = World::new().await;
    let made = upload(&world, "a", b"a", &[]).await;
    let group = data(&send(&world, Method::POST, "/v3/groups/public", &json!({ "name": "g" })).await);
    world.db.create_account("other", "other", 1 << 20, world.gateway.clock.now()).await.unwrap();
    let minted = world.admin(Method::POST, "/v1/admin/accounts/other/keys", json!({})).await.json();
    let key = minted["key"].as_str().unwrap();
    let (file, group) = (made["id"].as_str().unwrap(), group["id"].as_str().unwrap());
    for (method, uri) in [
        (Method::GET, format!("/v3/files/public/{file}")),
        (Method::PUT, format!("/v3/files/public/{file}")),
        (Method::DELETE, format!("/v3/files/public/{file}")),
        (Method::GET, format!("/v3/groups/public/{group}")),
        (Method::PUT, format!("/v3/groups/public/{group}")),
        (Method::DELETE, format!("/v3/groups/public/{group}")),
        (Method::PUT, format!("/v3/groups/public/{group}/ids/{file}")),
        (Method::DELETE, format!("/v3/groups/public/{group}/ids/{file}")),
    ] {
        let answer = world.send(request(method.clone(), &uri, Some(key), r#"{"name":"x"}"#)).await;
        assert_eq!(answer.error().0, 404, "{method} {uri}");
    }
    let list = world.send(request(Method::GET, "/v3/files/public", Some(key), Body::empty())).await;
    assert_eq!(data(&list)["files"], json!([]));
    assert_eq!(data(&world.get(&format!("/v3/files/public/{file}")).await), made);
}
