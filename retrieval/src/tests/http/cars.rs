//! CARs, as the conformance suite has them: which blocks, in which order, named how.

use axum::http::{Method, StatusCode, header};
use content::car::CarReader;

use super::{
    Answer, answer, ask, collect,
    fixtures::{Fixture, fixture},
    get, request, site,
};
use crate::{AnswerRules, respond, tests::world::patterned};

const MULTIBLOCK: &str = "bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa";
const LEAVES: [&str; 5] = [
    "bafkreie5noke3mb7hqxukzcy73nl23k6lxszxi5w3dtmuwz62wnvkpsscm",
    "bafkreih4ephajybraj6wnxsbwjwa77fukurtpl7oj7t7pfq545duhot7cq",
    "bafkreigu7buvm3cfunb35766dn7tmqyh2um62zcio63en2btvxuybgcpue",
    "bafkreicll3huefkc3qnrzeony7zcfo7cr3nbx64hnxrqzsixpceg332fhe",
    "bafkreifst3pqztuvj57lycamoi7z34b4emf7gawxs74nwrc2c7jncmpaqm",
];
const ASCII: &str = "bafkreifkam6ns4aoolg3wedr4uzrs3kvq66p4pecirz6y2vlrngla62mxm";
const HELLO: &str = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";

/// The blocks of a CAR, named as it names them. Each is checked against its name.
#[track_caller]
fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer.header("content-type").starts_with("application/vnd.ipld.car; version=1; order=dfs; dups=")
    );
    assert_eq!(answer.header("accept-ranges"), "none");
    assert!(answer.header("content-disposition").starts_with("attachment; filename=\""));
    assert!(answer.header("etag").starts_with("W/\"") && answer.header("etag").contains(".car."));
    assert_eq!(answer.header("cache-control"), "public, max-age=29030400, immutable");
    let reader = CarReader::new(&answer.body).unwrap();
    reader.blocks().map(|block| block.unwrap().cid.as_written().to_string()).collect()
}

async fn car(fixture: &Fixture, path_and_query: &str) -> Vec<String> {
    let by_query = get(&fixture.blocks, &format!("/ipfs/{path_and_query}")).await;
    let names = names(&by_query);
    let plain = path_and_query.replace("format=car&", "").replace("?format=car", "");
    let accept = [(header::ACCEPT, "application/vnd.ipld.car")];
    let by_header = ask(&fixture.blocks, Method::GET, &format!("/ipfs/{plain}"), &accept).await;
    assert_eq!(by_header.body, by_query.body);
    assert!(by_header.header("content-location").contains("format=car"));
    let head = ask(&fixture.blocks, Method::HEAD, &format!("/ipfs/{path_and_query}"), &[]).await;
    assert_eq!((head.status, head.header("etag")), (StatusCode::OK, by_query.header("etag")));
    names
}

#[tokio::test]
async fn the_way_comes_first() {
    let fixture = fixture("trustless_gateway_car/subdir-with-two-single-block-files.car");
    let (root, subdir) = (&*fixture.root, "bafybeiggghzz6dlue3m6nb2dttnbrygxh3lrjl5764f2m4gq7dgzdt55o4");
    let path = format!("{root}/subdir/ascii.txt?format=car");
    assert_eq!(car(&fixture, &path).await, [root, subdir, ASCII]);
    assert_eq!(car(&fixture, &format!("{path}&dag-scope=block")).await, [root, subdir, ASCII]);
    assert_eq!(car(&fixture, &format!("{root}/subdir?format=car&dag-scope=block")).await, [root, subdir]);
    assert_eq!(car(&fixture, &format!("{root}?format=car&dag-scope=entity")).await, [root]);
    assert_eq!(car(&fixture, &format!("{root}?format=car")).await, [root, subdir, ASCII, HELLO]);
    let missing = get(&fixture.blocks, &format!("/ipfs/{root}/subdir/i-do-not-exist?format=car")).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let nobody = get(&fixture.blocks, &format!("/ipfs/{}?format=car", LEAVES[0])).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn data_leads_the_way_too() {
    let fixture = fixture("trustless_gateway_car/dir-with-dag-cbor-with-links.car");
    let (root, document) = (&*fixture.root, "bafyreidy4q6mmetut5jzc54ambsfnatbyoujmwbfzyyolqw24majazwgha");
    assert_eq!(car(&fixture, &format!("{document}/files/single?format=car")).await, [document, HELLO]);
    assert_eq!(
        car(&fixture, &format!("{root}/document?format=car&dag-scope=entity")).await,
        [root, document]
    );
    let all = car(&fixture, &format!("{root}?format=car")).await;
    assert_eq!(all[..2], [root, document]);
    assert_eq!(all.len(), 9, "whatever the document links to");
}

#[tokio::test]
async fn sharded_directories() {
    let fixture = fixture("trustless_gateway_car/single-layer-hamt-with-multi-block-files.car");
    let root = &*fixture.root;
    let file = car(&fixture, &format!("{root}/685.txt?format=car")).await;
    assert_eq!((&*file[0], &*file[2]), (root, MULTIBLOCK), "root, shard, file");
    assert_eq!(file[3..], LEAVES);
    assert_eq!(car(&fixture, &format!("{root}/1.txt?format=car&dag-scope=block")).await.len(), 3);
    let shards = car(&fixture, &format!("{root}?format=car&dag-scope=entity&entity-bytes=0:*")).await;
    assert_eq!(shards, car(&fixture, &format!("{root}?format=car&dag-scope=entity")).await);
    assert_eq!(shards.len(), 237, "the root and all shards, and no file");
    assert_eq!(car(&fixture, &format!("{root}?format=car")).await.len(), 243, "each block once");
}

#[tokio::test]
async fn parts_of_files() {
    let fixture = fixture("trustless_gateway_car/subdir-with-mixed-block-files.car");
    let subdir = "bafybeicnmple4ehlz3ostv2sbojz3zhh5q7tz5r2qkfdpqfilgggeen7xm";
    let whole =
        car(&fixture, &format!("{}/subdir/multiblock.txt?format=car&entity-bytes=0:*", fixture.root)).await;
    assert_eq!(whole[..3], [&*fixture.root, subdir, MULTIBLOCK]);
    assert_eq!(whole[3..], LEAVES);
    for (bytes, leaves) in [
        ("0:*", 0..5),
        ("512:*", 2..5),
        ("512:1023", 2..4),
        ("512:-256", 2..4),
        ("-5:*", 3..5),
        ("-9999:*", 0..5),
        ("-9999:-3", 0..4),
        ("0:0", 0..1),
        ("0:255", 0..1),
        ("0:256", 0..2),
        ("5:4", 0..0),
        ("1000:99999", 3..5),
    ] {
        let found =
            car(&fixture, &format!("{MULTIBLOCK}?format=car&dag-scope=entity&entity-bytes={bytes}")).await;
        assert_eq!(
            (found[0].as_str(), &found[1..]),
            (MULTIBLOCK, &LEAVES.map(String::from)[leaves]),
            "{bytes}"
        );
    }
    for bytes in ["1026:*", "0:-1027", "", "1", "a:b", "0:+", "99999999999999999999:*"] {
        let uri = format!("/ipfs/{MULTIBLOCK}?format=car&entity-bytes={bytes}");
        assert_eq!(get(&fixture.blocks, &uri).await.status, StatusCode::BAD_REQUEST, "{bytes}");
    }
}

#[tokio::test]
async fn what_is_not_asked_for_may_be_missing() {
    let fixture = fixture("trustless_gateway_car/file-3k-and-3-blocks-missing-block.car");
    let root = "QmYhmPjhFjYFyaoiuNzYv8WGavpSRDwdHWe5B4M5du5Rtk";
    for (bytes, leaf) in [
        ("0:1000", "QmPKt7ptM2ZYSGPUc8PmPT2VBkLDK3iqpG9TBJY7PCE9rF"),
        ("2200:*", "QmWXY482zQdwecnfBsj78poUUuPXvyw2JAFAEMw4tzTavV"),
    ] {
        let found = car(&fixture, &format!("{root}?format=car&dag-scope=entity&entity-bytes={bytes}")).await;
        assert_eq!(found, [root, leaf], "in the version that they are linked in");
    }
    let rules = AnswerRules::default();
    let whole = request(Method::GET, &format!("/ipfs/{root}?format=car"), &[]);
    let response = respond(&fixture.blocks, &rules, &whole).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(collect(response).await.is_err(), "a CAR that breaks off must not look whole");
}

#[tokio::test]
async fn duplicates_come_once_or_each_time() {
    let fixture = fixture("trustless_gateway_car/dir-with-duplicate-files.car");
    let root = &*fixture.root;
    let once = [&[root, ASCII, HELLO, MULTIBLOCK][..], &LEAVES].concat();
    let twice = [&[root, ASCII, ASCII, HELLO, MULTIBLOCK][..], &LEAVES].concat();
    let uri = format!("/ipfs/{root}");
    let ask = async |accept: &str, query: &str| {
        let accept = [(header::ACCEPT, accept)];
        ask(&fixture.blocks, Method::GET, &format!("{uri}{query}"), &accept).await
    };
    for (accept, query, expected) in [
        ("application/vnd.ipld.car; version=1; order=dfs; dups=y", "", &twice),
        ("application/vnd.ipld.car; version=1; order=dfs; dups=n", "", &once),
        ("application/vnd.ipld.car; version=1; order=unk", "", &once),
        ("application/vnd.ipld.car; version=1; order=dfs; dups=y", "?format=car", &twice),
        ("application/vnd.ipld.car; dups=n", "?format=car&car-dups=y", &twice),
        ("text/html", "?format=car&car-version=1&car-order=dfs", &once),
    ] {
        let answer = ask(accept, query).await;
        assert_eq!(&names(&answer), expected, "{accept} {query}");
        let dups = if expected.len() == twice.len() { "dups=y" } else { "dups=n" };
        assert!(answer.header("content-type").ends_with(dups));
    }
    for (accept, query, status) in [
        ("application/vnd.ipld.car; version=2", "", StatusCode::NOT_ACCEPTABLE),
        ("application/vnd.ipld.car; order=bfs", "", StatusCode::NOT_ACCEPTABLE),
        ("*/*", "?format=car&car-version=2", StatusCode::BAD_REQUEST),
        ("*/*", "?format=car&car-dups=maybe", StatusCode::BAD_REQUEST),
        ("*/*", "?format=car&dag-scope=half", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(ask(accept, query).await.status, status, "{accept} {query}");
    }
}

#[tokio::test]
async fn names_that_are_their_own_blocks_are_never_in_a_car() {
    let fixture = fixture("gateway-raw-block.car");
    for cid in ["bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa", "bafkqaaa"] {
        let answer = get(&fixture.blocks, &format!("/ipfs/{cid}?format=car&car-dups=y")).await;
        assert!(names(&answer).is_empty());
        assert_eq!(CarReader::new(&answer.body).unwrap().roots()[0].to_string(), cid);
    }
}

#[tokio::test]
async fn any_tree_comes_whole_and_in_order() {
    let bytes = patterned(5, 200_000);
    let zeros = vec![0; 90_000];
    let site = site::site(&[("a/data", &bytes), ("a/zeros", &zeros), ("b", &bytes)]);
    for (query, rules) in [
        ("?format=car", AnswerRules::default()),
        ("?format=car&car-dups=y", AnswerRules { car_blocks_max: 1, ..AnswerRules::default() }),
    ] {
        let request = request(Method::GET, &format!("/ipfs/{}{query}", site.root), &[]);
        let found = names(&answer(&site.blocks, &rules, &request).await);
        let distinct: std::collections::HashSet<&String> = found.iter().collect();
        assert_eq!(distinct.len(), site.stored_distinct());
        assert_eq!(found.len() == distinct.len(), !query.ends_with('y'));
    }
    let few = AnswerRules { car_blocks_max: 20, ..AnswerRules::default() };
    let request = request(Method::GET, &format!("/ipfs/{}?format=car", site.root), &[]);
    let response = respond(&site.blocks, &few, &request).await;
    assert!(collect(response).await.is_err(), "more blocks than can be told apart");
}

#[tokio::test]
async fn no_more_is_fetched_than_the_client_takes_and_a_little_ahead() {
    use http_body_util::BodyExt as _;
    let world = crate::tests::world::World::new();
    let profile = content::unixfs::profile::Profile::UNIXFS_V1_2025;
    let file = content::unixfs::file::import_bytes(profile, &patterned(6, 24 << 20).into());
    world.store(&file.blocks);
    let blocks = world.blocks();
    let whole = request(Method::GET, &format!("/ipfs/{}?format=car", file.root), &[]);
    let mut body = respond(&blocks, &AnswerRules::default(), &whole).await.into_body();
    let mut taken = 0;
    while taken < 2 << 20 {
        taken += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    crate::tests::world::settle().await;
    let asked = world.network.bytes_asked();
    assert!(asked <= 12 << 20, "{asked}");
    let rest = body.collect().await.unwrap().to_bytes();
    assert!(taken + rest.len() > 24 << 20);
}
