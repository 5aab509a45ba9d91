//! Pins by CID, asked for by the Pinning Services API.

use std::{net::SocketAddr, time::Duration};

use axum::{body::Body, http::Method, http::StatusCode};
use content::{Block, Codec, HashFn};
use serde_json::{Value, json};
use service::job::{Job as _, Progress};
use tokio_util::sync::CancellationToken;

use super::world::{Answer, World, json_request, patterned, request};
use crate::Config;

const MIB: usize = 1 << 20;

impl World {
    async fn pins(&self, method: Method, path: &str, body: Value) -> Answer {
        let mut request = json_request(method.clone(), &format!("/psa/pins{path}"), Some(&self.key), &body);
        if method == Method::GET || method == Method::DELETE {
            *request.body_mut() = Body::empty();
        }
        self.send(request).await
    }

    async fn add_pin(&self, body: Value) -> Value {
        let answer = self.pins(Method::POST, "", body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        assert_eq!(answer.json()["status"], "queued");
        answer.json()
    }

    async fn pin_status(&self, pin: &Value) -> Value {
        let id = pin["requestid"].as_str().unwrap();
        self.pins(Method::GET, &format!("/{id}"), Value::Null).await.json()
    }

    /// Lets a worker do all that there is to do now.
    async fn fetch_pins(&self) {
        let worker = self.gateway.fetch_pins(CancellationToken::new());
        while worker.step().await.unwrap() == Progress::More {}
    }

    async fn listed(&self, query: &str) -> Vec<String> {
        let answer = self.pins(Method::GET, query, Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {answer:?}");
        let json = answer.json();
        let names = json["results"].as_array().unwrap().iter().map(|pin| pin["pin"]["name"].as_str());
        names.map(|name| name.unwrap_or_default().to_string()).collect()
    }
}

/// Serves a world's gateway at an address of its own.
async fn serve(world: &World) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// May fetch from this port of this machine.
fn fetching(port: u16) -> impl FnOnce(&mut Config) {
    move |config| {
        config.fetch.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
        config.fetch.ports = vec![port];
        config.fetch.passes_max = 1;
        config.pins.retry_pause = Duration::from_millis(1);
    }
}

fn origin(address: SocketAddr) -> String {
    format!("/ip4/{}/tcp/{}/http", address.ip(), address.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_pinned_by_its_cid() {
    let world = World::new().await;
    let (one, two) = (patterned(1, 3 * MIB + 5), patterned(2, 100));
    let folder = world.upload_form("", &[("site/one", &one), ("site/two", &two)]).await.file();
    let used = world.used_bytes().await;
    let pin = world.add_pin(json!({ "cid": folder.cid, "name": "again" })).await;
    world.fetch_pins().await;
    let status = world.pin_status(&pin).await;
    assert_eq!((&status["status"], &status["pin"]["name"]), (&json!("pinned"), &json!("again")), "{status}");
    assert_eq!(status["info"]["raw_size"], (one.len() + two.len()).to_string());
    assert_eq!(world.used_bytes().await, used, "a further pin of it costs nothing");
    // The upload is a pin as well. Either keeps it.
    let listed = world.pins(Method::GET, "", Value::Null).await.json();
    assert_eq!(listed["count"], 2);
    let upload = listed["results"][1]["requestid"].as_str().unwrap().to_string();
    assert_eq!(
        world.pins(Method::DELETE, &format!("/{upload}"), Value::Null).await.status,
        StatusCode::ACCEPTED
    );
    world.assert_reads(&format!("{}/one", folder.cid), &one).await;
    assert_eq!((world.segments().await[2], world.used_bytes().await), (0, used));
    let id = pin["requestid"].as_str().unwrap();
    assert_eq!(world.pins(Method::DELETE, &format!("/{id}"), Value::Null).await.status, StatusCode::ACCEPTED);
    assert_eq!(world.used_bytes().await, 0);
    assert_eq!(
        world.pins(Method::DELETE, &format!("/{id}"), Value::Null).await.error(),
        (404, "unknown_pin".into())
    );
    // Part of what is stored is as good.
    let file = world.upload("", one.clone()).await.file();
    let leaf = Block::of(Codec::Raw, HashFn::Sha2_256, one[..MIB].to_vec().into());
    let pin = world.add_pin(json!({ "cid": leaf.cid.to_string() })).await;
    world.fetch_pins().await;
    assert_eq!(world.pin_status(&pin).await["status"], "pinned");
    world.delete(&format!("/v1/files/{}", file.cid)).await;
    world.assert_reads(&leaf.cid.to_string(), &leaf.bytes).await;
    assert_eq!(world.used_bytes().await, MIB as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_is_fetched_from_them() {
    let (there, one, two) = (World::new().await, patterned(1, 2 * MIB + 5), patterned(2, 100));
    let folder = there.upload_form("", &[("site/one", &one), ("site/two", &two)]).await.file();
    let address = serve(&there).await;
    let here = World::with(20, fetching(address.port())).await;
    // One of the files is here already.
    here.upload("", two.clone()).await.file();
    let origins = [origin(address)];
    let pin = here.add_pin(json!({ "cid": folder.cid, "origins": origins, "meta": { "k": "v" } })).await;
    assert_eq!(here.pins(Method::GET, "", Value::Null).await.json()["count"], 1, "what waits is not pinned");
    here.fetch_pins().await;
    let status = here.pin_status(&pin).await;
    assert_eq!(status["status"], "pinned", "{status}");
    assert_eq!((&status["pin"]["origins"], &status["pin"]["meta"]["k"]), (&json!(origins), &json!("v")));
    here.assert_reads(&format!("{}/one", folder.cid), &one).await;
    here.assert_reads(&format!("{}/two", folder.cid), &two).await;
    assert_eq!(here.used_bytes().await, (one.len() + 2 * two.len()) as u64);
    // From the gateways of the configuration.
    let with_gateway = |config: &mut Config| {
        fetching(address.port())(config);
        config.fetch.gateways = vec![format!("http://{address}")];
    };
    let other = World::with(20, with_gateway).await;
    let pin = other.add_pin(json!({ "cid": folder.cid })).await;
    other.fetch_pins().await;
    assert_eq!(other.pin_status(&pin).await["status"], "pinned");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_fails_with_a_reason() {
    let there = World::new().await;
    let address = serve(&there).await;
    let here = World::with(20, |config| {
        fetching(address.port())(config);
        config.pins.give_up_after = Duration::from_secs(3600);
    })
    .await;
    let nowhere = Block::of(Codec::Raw, HashFn::Sha2_256, "nobody has it".into()).cid.to_string();
    let failed = async |world: &World, pin: &Value, reason: &str| {
        let status = world.pin_status(pin).await;
        assert_eq!(status["status"], "failed", "{status}");
        let details = status["info"]["status_details"].as_str().unwrap();
        assert!(details.contains(reason), "{details}");
    };
    let pin = here.add_pin(json!({ "cid": nowhere })).await;
    here.fetch_pins().await;
    failed(&here, &pin, "nobody to fetch from").await;
    // Somebody may come to have it: it waits, and says what is missing.
    let pin = here.add_pin(json!({ "cid": nowhere, "origins": [origin(address)] })).await;
    let worker = here.gateway.fetch_pins(CancellationToken::new());
    assert_eq!(worker.step().await.unwrap(), Progress::More);
    let status = here.pin_status(&pin).await;
    assert_eq!(status["status"], "queued");
    assert!(status["info"]["status_details"].as_str().unwrap().starts_with("not found"), "{status}");
    // And gives up when its time is over.
    let hasty = World::with(20, |config| {
        fetching(address.port())(config);
        config.pins.retry_pause = Duration::from_secs(60);
        config.pins.give_up_after = Duration::from_secs(1);
    })
    .await;
    let pin = hasty.add_pin(json!({ "cid": nowhere, "origins": [origin(address)] })).await;
    hasty.fetch_pins().await;
    failed(&hasty, &pin, "not found").await;
    // Addresses that are not of the public internet are not asked.
    let guarded = World::new().await;
    let pin = guarded.add_pin(json!({ "cid": nowhere, "origins": [origin(address)] })).await;
    guarded.fetch_pins().await;
    failed(&guarded, &pin, "no source may be asked").await;
    assert_eq!(guarded.listed("?status=failed").await.len(), 1);
    assert_eq!(guarded.listed("").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_holds_for_what_is_fetched() {
    let (there, bytes) = (World::new().await, patterned(1, 2 * MIB));
    let file = there.upload("", bytes).await.file();
    let address = serve(&there).await;
    let here = World::with(20, fetching(address.port())).await;
    let set_quota = async |bytes: usize| {
        let path = format!("/v1/admin/accounts/{}/quota", super::world::ACCOUNT);
        assert!(here.admin(Method::PUT, &path, json!({ "quota_bytes": bytes })).await.status.is_success());
    };
    set_quota(MIB).await;
    let pin = here.add_pin(json!({ "cid": file.cid, "origins": [origin(address)] })).await;
    here.fetch_pins().await;
    let status = here.pin_status(&pin).await;
    assert_eq!(status["status"], "failed", "{status}");
    assert!(status["info"]["status_details"].as_str().unwrap().contains("quota"), "{status}");
    assert_eq!(here.used_bytes().await, 0);
    // Its blocks are a little more than its bytes, which are what counts.
    set_quota(2 * MIB).await;
    let pin = here.add_pin(json!({ "cid": file.cid, "origins": [origin(address)] })).await;
    here.fetch_pins().await;
    assert_eq!(here.pin_status(&pin).await["status"], "pinned");
    assert_eq!(here.used_bytes().await, 2 * MIB as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_gives_back_what_it_fetches() {
    // A server that never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let world = World::with(20, fetching(address.port())).await;
    let nowhere = Block::of(Codec::Raw, HashFn::Sha2_256, "nobody has it".into()).cid.to_string();
    let pin = world.add_pin(json!({ "cid": nowhere, "origins": [origin(address)] })).await;
    let stop = CancellationToken::new();
    let worker = world.gateway.fetch_pins(stop.clone());
    let working = tokio::spawn(async move { worker.step().await.map(drop) });
    let _asked = silent.accept().await.unwrap();
    assert_eq!(world.pin_status(&pin).await["status"], "pinning");
    stop.cancel();
    working.await.unwrap().unwrap();
    assert_eq!(world.pin_status(&pin).await["status"], "queued");
    // One that nobody wants any more ends with it.
    let stop = CancellationToken::new();
    let id = pin["requestid"].as_str().unwrap();
    assert_eq!(world.pins(Method::DELETE, &format!("/{id}"), Value::Null).await.status, StatusCode::ACCEPTED);
    assert_eq!(world.gateway.fetch_pins(stop).step().await.unwrap(), Progress::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_replaced_and_what_both_share_stays() {
    let world = World::new().await;
    let (one, two) = (patterned(1, MIB + 5), patterned(2, 100));
    let both = world.upload_form("", &[("site/one", &one), ("site/two", &two)]).await.file();
    let alone = world.upload_form("?wrap=true", &[("one", &one)]).await.file();
    world.delete(&format!("/v1/files/{}", alone.cid)).await;
    let listed = world.pins(Method::GET, "", Value::Null).await.json();
    let old = listed["results"][0]["requestid"].as_str().unwrap().to_string();
    let file = Block::of(Codec::Raw, HashFn::Sha2_256, two.clone().into()).cid.to_string();
    let answer = world.pins(Method::POST, &format!("/{old}"), json!({ "cid": file, "name": "new" })).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let new = answer.json();
    assert_ne!(new["requestid"], json!(old));
    assert_eq!(world.pins(Method::GET, &format!("/{old}"), Value::Null).await.error().0, 404);
    assert!(world.get(&format!("/v1/files/{}", both.cid)).await.status == StatusCode::NOT_FOUND);
    world.fetch_pins().await;
    assert_eq!(world.pin_status(&new).await["status"], "pinned", "its bytes were held");
    let missing = world.pins(Method::POST, "/nothing", json!({ "cid": file })).await;
    assert_eq!(missing.error(), (404, "unknown_pin".into()));
}

/// What was held for it counted against the room that it needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_takes_most_of_the_quota_can_be_renamed() {
    let world = World::new().await;
    let file = world.upload("", patterned(1, 2 * MIB)).await.file();
    let path = format!("/v1/admin/accounts/{}/quota", super::world::ACCOUNT);
    let quota = json!({ "quota_bytes": 2 * MIB + MIB / 4 });
    assert!(world.admin(Method::PUT, &path, quota).await.status.is_success());
    let old = world.pins(Method::GET, "", Value::Null).await.json();
    let old = old["results"][0]["requestid"].as_str().unwrap().to_string();
    let new = world.pins(Method::POST, &format!("/{old}"), json!({ "cid": file.cid, "name": "new" })).await;
    world.fetch_pins().await;
    let status = world.pin_status(&new.json()).await;
    assert_eq!((&status["status"], &status["pin"]["name"]), (&json!("pinned"), &json!("new")), "{status}");
    assert_eq!(world.used_bytes().await, 2 * MIB as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_asked_for_in_both_spellings() {
    let world = World::new().await;
    let nowhere = Block::of(Codec::Raw, HashFn::Sha2_256, patterned(1, 9).into()).cid.to_string();
    for (name, app) in [("one", "a"), ("two", "b")] {
        let meta = json!({ "app": app, "all": "yes" });
        world.add_pin(json!({ "cid": nowhere, "name": name, "meta": meta })).await;
    }
    for (query, names) in [
        ("&meta%5Bapp%5D=b", vec!["two"]),
        ("&meta[app]=a", vec!["one"]),
        ("&meta%5Ball%5D=yes", vec!["two", "one"]),
        ("&meta%5Ball%5D=yes&meta%5Bapp%5D=a", vec!["one"]),
        ("&meta=%7B%22all%22%3A%22yes%22%7D&meta%5Bapp%5D=b", vec!["two"]),
        ("&meta%5Bapp%5D=c", vec![]),
    ] {
        assert_eq!(world.listed(&format!("?status=queued,pinning{query}")).await, names, "{query}");
    }
    let many = (0..11).map(|key| format!("&meta%5B{key}%5D=v")).collect::<Vec<_>>().concat();
    let refused = world.pins(Method::GET, &format!("?{}", &many[1..]), Value::Null).await;
    assert_eq!(refused.error(), (400, "bad_parameter".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged_by_time() {
    let world = World::new().await;
    let nowhere =
        |seed: u32| Block::of(Codec::Raw, HashFn::Sha2_256, patterned(seed, 9).into()).cid.to_string();
    for (seed, name) in (0..).zip(["Alpha", "alphabet", "beta", "Gamma%"]) {
        world.add_pin(json!({ "cid": nowhere(seed), "name": name, "meta": { "n": name } })).await;
    }
    for (query, names) in [
        ("&name=alpha", vec![]),
        ("&name=alpha&match=iexact", vec!["Alpha"]),
        ("&name=alpha&match=partial", vec!["alphabet"]),
        ("&name=ALPHA&match=ipartial", vec!["alphabet", "Alpha"]),
        ("&name=%25&match=partial", vec!["Gamma%"]),
        ("&limit=2", vec!["Gamma%", "beta"]),
        ("&meta=%7B%22n%22%3A%22beta%22%7D", vec!["beta"]),
        ("&after=2999-01-01T00:00:00Z", vec![]),
        ("&before=2999-01-01T00:00:00%2B02:00", vec!["Gamma%", "beta", "alphabet", "Alpha"]),
    ] {
        assert_eq!(world.listed(&format!("?status=queued,pinning{query}")).await, names, "{query}");
    }
    let cids = format!("?status=queued&cid={},{}", nowhere(0), nowhere(2));
    assert_eq!(world.listed(&cids).await, ["beta", "Alpha"]);
    assert_eq!(world.listed("?status=queued&status=failed").await.len(), 4);
    // As clients do it that know only milliseconds.
    let (mut walked, mut before) = (Vec::new(), String::new());
    loop {
        let query = format!("?status=queued&limit=1{before}");
        let page = world.pins(Method::GET, &query, Value::Null).await.json();
        let Some(pin) = page["results"].get(0) else { break };
        walked.push(pin["pin"]["name"].as_str().unwrap().to_string());
        let created = pin["created"].as_str().unwrap();
        before = format!("&before={}Z", &created[..created.len() - 4]);
    }
    assert_eq!(walked, ["Gamma%", "beta", "alphabet", "Alpha"]);
    for query in [
        "?limit=0",
        "?limit=1001",
        "?limit=x",
        "?match=some",
        "?status=held",
        "?before=now",
        "?cid=x",
        "?meta=1",
    ] {
        let refused = world.pins(Method::GET, query, Value::Null).await;
        assert_eq!(refused.error(), (400, "bad_parameter".into()), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_that_make_no_sense_are_refused() {
    let world = World::with(20, |config| config.pins.waiting_max = 1).await;
    let cid = Block::of(Codec::Raw, HashFn::Sha2_256, "x".into()).cid.to_string();
    let many: Vec<String> = (0..21).map(|number| format!("/ip4/1.1.1.1/tcp/{number}/http")).collect();
    for body in [
        json!({}),
        json!({ "cid": 7 }),
        json!({ "cid": cid, "name": "n".repeat(256) }),
        json!({ "cid": cid, "origins": many }),
        json!({ "cid": cid, "meta": { "k": 7 } }),
        json!({ "cid": cid, "meta": { "k": "v".repeat(9000) } }),
    ] {
        let refused = world.pins(Method::POST, "", body.clone()).await;
        assert_eq!(refused.error(), (400, "bad_pin".into()), "{body}");
    }
    let refused = world.pins(Method::POST, "", json!({ "cid": cid, "name": "n".repeat(70_000) })).await;
    assert_eq!(refused.error(), (413, "body_too_large".into()));
    let refused = world.pins(Method::POST, "", json!({ "cid": "nonsense" })).await;
    assert_eq!(refused.error(), (400, "bad_parameter".into()));
    world.add_pin(json!({ "cid": cid, "name": null, "origins": null, "meta": null })).await;
    let refused = world.pins(Method::POST, "", json!({ "cid": cid })).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers.contains_key("retry-after"));
    for key in [None, Some("nonsense")] {
        let refused = world.send(request(Method::GET, "/psa/pins", key, Body::empty())).await;
        assert_eq!(refused.error().0, 401);
    }
    let reader = world.make_key(&["read"], None).await;
    let request = json_request(Method::POST, "/psa/pins", Some(&reader), &json!({ "cid": cid }));
    assert_eq!(world.send(request).await.error(), (403, "missing_scope".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn cids_are_repeated_as_they_were_given() {
    let world = World::new().await;
    let old = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
    let pin = world.add_pin(json!({ "cid": old })).await;
    assert_eq!(pin["pin"]["cid"], old);
    assert_eq!(world.pin_status(&pin).await["pin"]["cid"], old);
    let delegate = pin["delegates"][0].as_str().unwrap();
    assert!(delegate.starts_with("/dns/gateway.example/tcp/443/https/p2p/12D3Koo"), "{delegate}");
}
