//! DAGs as CARs.

use axum::http::{StatusCode, header};
use content::{Block, Cid, Codec, HashFn, car, car::CarDecoder};
use serde_json::{Value, json};

use super::{Part, World, add, call, lines, patterned, refused, send_form};

/// The roots and blocks of a CAR.
fn read(bytes: &[u8]) -> (Vec<Cid>, Vec<Block>) {
    let mut decoder = CarDecoder::new();
    decoder.push(bytes.to_vec().into());
    let mut blocks = Vec::new();
    while let Some(block) = decoder.next_block().unwrap() {
        blocks.push(block);
    }
    decoder.finish().unwrap();
    (decoder.roots().unwrap().to_vec(), blocks)
}

fn write(roots: &[Cid], blocks: &[Block]) -> Vec<u8> {
    let mut bytes = match roots {
        [root] => car::header_as_written(root),
        roots => car::header(roots),
    };
    for block in blocks {
        bytes.extend(car::frame_prefix(&block.cid, block.bytes.len()));
        bytes.extend_from_slice(&block.bytes);
    }
    bytes
}

async fn import(world: &World, query: &str, cars: &[&[u8]]) -> super::Answer {
    let parts: Vec<Part<'_>> = cars.iter().map(|car| ("", "application/octet-stream", *car)).collect();
    send_form(world, &format!("dag/import{query}"), &parts).await
}

fn root_line(cid: &str, message: &str) -> Value {
    json!({ "Root": { "Cid": { "/": cid }, "PinErrorMsg": message } })
}

/// A directory with a file of several blocks; the directory's name and its CAR.
async fn exported(world: &World, bytes: &[u8]) -> (String, Vec<u8>) {
    let parts: [Part<'_>; 2] = [("d%2Fbig", "text/plain", bytes), ("d%2Fsmall", "text/plain", b"s")];
    let added = lines(&add(world, "", &parts).await);
    let root = added[2]["Hash"].as_str().unwrap().to_string();
    let answer = call(world, &format!("dag/export?arg={root}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/vnd.ipld.car; version=1");
    (root, answer.body.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_imported_elsewhere() {
    let bytes = patterned(1, 900_000);
    let (root, car) = exported(&World::new().await, &bytes).await;
    let (roots, blocks) = read(&car);
    assert_eq!(roots[0].as_written().to_string(), root);
    assert_eq!(blocks.len(), 1 + 1 + 4 + 1, "directory, file, its leaves, the other file");

    let world = World::new().await;
    let answer = lines(&import(&world, "?stats=true", &[&car]).await);
    let total: usize = blocks.iter().map(|block| block.bytes.len()).sum();
    let stats = json!({ "Stats": { "BlockCount": 7, "BlockBytesCount": total } });
    assert_eq!(answer, [root_line(&root, ""), stats]);
    world.assert_reads(&format!("{root}/big"), &bytes).await;
    assert_eq!(world.get(&format!("/v1/files/{root}")).await.status, StatusCode::OK, "it is pinned");
    assert_eq!(lines(&import(&world, "?silent=true", &[&car]).await), [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dag_may_come_in_several_cars() {
    let bytes = patterned(1, 900_000);
    let (root, car) = exported(&World::new().await, &bytes).await;
    let (roots, blocks) = read(&car);
    let (first, second) = blocks.split_at(3);
    let world = World::new().await;
    let (first, second) = (write(&roots, first), write(&roots, second));
    assert_eq!(lines(&import(&world, "", &[&first, &second]).await), [root_line(&root, "")]);
    world.assert_reads(&format!("{root}/big"), &bytes).await;

    // One after another: what came first is held.
    let world = World::new().await;
    let answer = lines(&import(&world, "", &[&first]).await);
    let message = answer[0]["Root"]["PinErrorMsg"].as_str().unwrap();
    assert!(message.contains("not stored here"), "{message}");
    assert_eq!(answer[1]["Message"], "unable to pin all roots: 1 out of 1 failed");
    assert_eq!(call(&world, "pin/ls").await.json(), json!({ "Keys": {} }));
    let held = world.used_bytes().await;
    assert!(held > 0, "what is held is paid for");
    assert_eq!(lines(&import(&world, "", &[&second]).await), [root_line(&root, "")]);
    world.assert_reads(&format!("{root}/big"), &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_that_are_complete_are_pinned_beside_others() {
    let world = World::new().await;
    let whole = Block::of(Codec::Raw, HashFn::Sha2_256, b"whole".to_vec().into());
    let missing = Cid::of(Codec::Raw, HashFn::Sha2_256, b"not there");
    let car = write(&[missing.clone(), whole.cid.clone()], std::slice::from_ref(&whole));
    let answer = lines(&import(&world, "", &[&car]).await);
    let of = |cid: &Cid| {
        let found = answer.iter().find(|line| line["Root"]["Cid"]["/"] == json!(cid.to_string()));
        found.unwrap()["Root"]["PinErrorMsg"].as_str().unwrap().to_string()
    };
    assert_eq!(of(&whole.cid), "");
    assert!(of(&missing).contains(&missing.to_string()), "{answer:?}");
    assert_eq!(answer[2]["Type"], "error", "and Kubo's clients hear of it at the end");
    let pins = call(&world, "pin/ls").await.json()["Keys"].clone();
    assert_eq!(pins.as_object().unwrap().keys().collect::<Vec<_>>(), [&whole.cid.to_string()]);

    let alone = write(std::slice::from_ref(&missing), &[]);
    let answer = lines(&import(&world, "", &[&alone]).await);
    assert_eq!((answer.len(), &answer[1]["Type"]), (2, &json!("error")), "no block at all: {answer:?}");
    assert_eq!(refused(&import(&world, "", &[b"no car"]).await).0, 400);
    assert_eq!(refused(&import(&world, "", &[]).await).0, 400);
    assert_eq!(refused(&call(&world, "dag/import").await).0, 400, "no form");
    let many: Vec<Cid> = (0..65_u8).map(|seed| Cid::of(Codec::Raw, HashFn::Sha2_256, &[seed])).collect();
    assert_eq!(refused(&import(&world, "", &[&write(&many, &[])]).await).0, 400, "too many roots");
}

#[tokio::test(flavor = "multi_thread")]
async fn cars_are_kept_for_a_while_without_being_pinned() {
    let bytes = patterned(1, 600_000);
    let (root, car) = exported(&World::new().await, &bytes).await;
    let world = World::new().await;
    assert_eq!(lines(&import(&world, "?pin-roots=false", &[&car]).await), [] as [Value; 0]);
    assert_eq!(call(&world, "pin/ls").await.json(), json!({ "Keys": {} }));
    world.assert_reads(&format!("{root}/big"), &bytes).await;
    let block = Block::of(Codec::Raw, HashFn::Sha2_256, b"alone".to_vec().into());
    let rootless = write(&[], std::slice::from_ref(&block));
    assert_eq!(lines(&import(&world, "", &[&rootless]).await), [] as [Value; 0]);
    world.assert_reads(&block.cid.to_string(), b"alone").await;
    assert_eq!(call(&world, &format!("pin/add?arg={root}")).await.json(), json!({ "Pins": [root] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_roots_share_is_counted_once() {
    let world = World::new().await;
    let bytes = patterned(1, 600_000);
    let parts: [Part<'_>; 3] =
        [("a%2Fbig", "text/plain", &bytes), ("a%2Fx", "text/plain", b"x"), ("b%2Fbig", "text/plain", &bytes)];
    let added = lines(&add(&world, "?cid-version=1", &parts).await);
    let hash = |name: &str| {
        let entry = added.iter().find(|line| line["Name"] == name).unwrap();
        entry["Hash"].as_str().unwrap().to_string()
    };
    let (a, b, big) = (hash("a"), hash("b"), hash("a/big"));
    let stat = async |args: &str| call(&world, &format!("dag/stat?{args}")).await.json();
    let alone = stat(&format!("arg={a}/big&progress=false")).await;
    // Three leaves and the node above them.
    assert_eq!((&alone["UniqueBlocks"], &alone["DagStats"][0]["NumBlocks"]), (&json!(4), &json!(4)));
    assert_eq!(
        (&alone["DagStats"][0]["Cid"], &alone["Ratio"], &alone["SharedSize"]),
        (&json!(big), &json!(1.0), &json!(0))
    );
    let size = alone["TotalSize"].as_u64().unwrap();
    assert!(size > 600_000 && alone["DagStats"][0]["Size"] == size);
    let both = stat(&format!("arg={a}&arg={b}")).await;
    assert_eq!(both["UniqueBlocks"], 4 + 1 + 1 + 1);
    assert_eq!((&both["SharedSize"], &both["DagStats"][1]["NumBlocks"]), (&json!(size), &json!(5)));
    assert!(both["Ratio"].as_f64().unwrap() > 1.9);
    let missing = Cid::of(Codec::Raw, HashFn::Sha2_256, b"not there");
    assert_eq!(refused(&call(&world, &format!("dag/stat?arg={missing}")).await).0, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_shown_and_paths_are_followed_into_it() {
    let world = World::new().await;
    let leaf = Block::of(Codec::Raw, HashFn::Sha2_256, b"leaf".to_vec().into());
    let json_text = format!(r#"{{"a":{{"b":[1,{{"/":"{}"}}]}},"c":"x"}}"#, leaf.cid);
    let node = Block::of(Codec::DagJson, HashFn::Sha2_256, json_text.clone().into());
    let car = write(std::slice::from_ref(&node.cid), &[node.clone(), leaf.clone()]);
    lines(&import(&world, "", &[&car]).await);
    let cid = &node.cid;
    let get = async |arg: &str| call(&world, &format!("dag/get?arg={cid}{arg}")).await;
    assert_eq!(get("").await.body, json_text);
    assert_eq!(get("").await.headers[header::CONTENT_TYPE], "application/vnd.ipld.dag-json");
    assert_eq!(get("/a/b/0").await.body, "1");
    assert_eq!(get("/a/b/1").await.json(), json!({ "/": { "bytes": "bGVhZg" } }), "the link is followed");
    assert_eq!(get("/a/b/1&output-codec=raw").await.body, "leaf");
    assert_eq!(refused(&get("/a/b/2").await).0, 404);
    assert_eq!(refused(&get("&output-codec=dag-cbor").await).0, 400);
    let resolved = async |arg: &str| call(&world, &format!("dag/resolve?arg={cid}{arg}")).await.json();
    let named = |cid: &Cid, rest: &str| json!({ "Cid": { "/": cid.to_string() }, "RemPath": rest });
    assert_eq!(resolved("").await, named(cid, ""));
    assert_eq!(resolved("/a/b/0").await, named(cid, "a/b/0"));
    assert_eq!(resolved("/a/b/1").await, named(&leaf.cid, ""));
    let path = call(&world, &format!("resolve?arg=/ipfs/{cid}/a/b")).await.json();
    assert_eq!(path, json!({ "Path": format!("/ipfs/{cid}/a/b") }));
}
