//! What is denied is served to nobody, in no form and under no name, cached or not.

use axum::http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;

use super::{answer, ask, at_origin, collect, get, send, site};
use crate::{
    AnswerRules, Blocks, respond,
    tests::world::{patterned, settle},
};

/// What came of a body until it broke off, and whether it did.
async fn until_broken(blocks: &Blocks, uri: &str) -> (StatusCode, Vec<u8>, bool) {
    let response = send(blocks, Method::GET, uri, &[]).await;
    let (parts, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
            Err(_) => return (parts.status, bytes, true),
        }
    }
    (parts.status, bytes, false)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

async fn status(blocks: &Blocks, uri: &str) -> u16 {
    get(blocks, uri).await.status.as_u16()
}

async fn status_at_origin(blocks: &Blocks, root: &str, uri: &str) -> u16 {
    let request = at_origin(Method::GET, root, uri);
    answer(blocks, &AnswerRules::default(), &request).await.status.as_u16()
}

#[tokio::test]
async fn a_denied_root_is_refused_before_anybody_is_asked() {
    let site = site::site(&[("a.txt", b"a")]);
    site.world.deny(&format!("/ipfs/{}\n", site.root));
    for query in
        ["", "/", "/a.txt", "?format=raw", "?format=car", "?format=tar", "?format=zip", "?format=dag-json"]
    {
        let uri = format!("/ipfs/{}{query}", site.root);
        for method in [Method::GET, Method::HEAD] {
            let plain = ask(&site.blocks, method.clone(), &uri, &[]).await;
            assert_eq!(plain.status, StatusCode::GONE, "{method} {uri}");
            assert_eq!(plain.header("cache-control"), "no-store");
            assert!(!plain.headers.contains_key("etag"));
            for header in [
                (header::IF_NONE_MATCH, "*"),
                (header::CACHE_CONTROL, "only-if-cached"),
                (header::RANGE, "bytes=0-0"),
                (header::ACCEPT, "text/html"),
            ] {
                let answer = ask(&site.blocks, method.clone(), &uri, std::slice::from_ref(&header)).await;
                assert_eq!(answer.status, StatusCode::GONE, "{method} {uri} {header:?}");
            }
        }
    }
    let said = get(&site.blocks, &format!("/ipfs/{}", site.root)).await;
    assert_eq!(said.text(), format!("{} is on a denylist and is not served here\n", site.root));
    assert_eq!(status_at_origin(&site.blocks, &site.root.to_string(), "/a.txt").await, 410);
    assert_eq!(site.world.locator.asked(), 0, "nobody was asked where it is");
}

#[tokio::test]
async fn the_law_is_named() {
    let site = site::site(&[("a.txt", b"a")]);
    site.world.deny(&format!("/ipfs/{} status:451\n", site.root));
    let answer = get(&site.blocks, &format!("/ipfs/{}/", site.root)).await;
    assert_eq!(answer.status, StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS);
    assert_eq!(answer.text(), format!("{} is not served here for legal reasons\n", site.root));
}

#[tokio::test]
async fn what_was_cached_is_denied_from_the_reload_on_and_given_again_after_it_is_allowed() {
    let site = site::site(&[("a.txt", b"a")]);
    let uris = ["", "?format=raw", "/a.txt"].map(|rest| format!("/ipfs/{}{rest}", site.root));
    let all = async || {
        let mut statuses = Vec::new();
        for uri in &uris {
            statuses.push(status(&site.blocks, uri).await);
        }
        statuses
    };
    assert_eq!(all().await, [301, 200, 200]);
    assert!(site.blocks.at_hand(&site.root).is_some());
    let rule = format!("/ipfs/{}\n", site.root);
    site.world.deny(&rule);
    assert_eq!(all().await, [410, 410, 410]);
    assert!(site.blocks.at_hand(&site.root).is_none());
    site.world.deny(&format!("{rule}!{rule}"));
    assert_eq!(all().await, [301, 200, 200]);
}

#[tokio::test]
async fn no_byte_of_a_denied_leaf_leaves_in_any_range() {
    let bytes = patterned(7, 20_000);
    let site = site::file(&bytes);
    let root = &site.root;
    let uri = format!("/ipfs/{root}");
    // Once with everything in memory, once with a reader that has nothing.
    assert_eq!(get(&site.blocks, &uri).await.body, bytes);
    site.world.deny(&format!("/ipfs/{}\n", site.leaf(&bytes[5000..6000])));
    for blocks in [&site.blocks, &site.world.blocks()] {
        let (status, sent, broken) = until_broken(blocks, &uri).await;
        assert_eq!((status, broken), (StatusCode::OK, true));
        assert!(sent == bytes[..5000], "what stands before it, and nothing of it: {}", sent.len());
        let range = async |range: &str| {
            let headers = [(header::RANGE, range)];
            collect(send(blocks, Method::GET, &uri, &headers).await)
                .await
                .map(|answer| answer.status.as_u16())
        };
        assert_eq!(range("bytes=0-4999").await, Ok(206));
        assert_eq!(range("bytes=6000-").await, Ok(206));
        assert_eq!(range("bytes=5999-6500").await, Ok(410), "it would begin in it");
        assert!(range("bytes=4999-5000").await.is_err(), "it is broken off at it");
        let leaf = format!("/ipfs/{}?format=raw", site.leaf(&bytes[5000..6000]));
        assert_eq!(get(blocks, &leaf).await.status, StatusCode::GONE);
    }
    site.world.deny(&format!("/ipfs/{}\n", site.leaf(&bytes[..1000])));
    assert_eq!(status(&site.blocks, &uri).await, 410, "known before the first byte");
}

#[tokio::test]
async fn what_was_fetched_ahead_is_denied_from_the_reload_on() {
    let bytes = patterned(7, 20_000);
    let site = site::file(&bytes);
    // With a name, so that nothing is read to find out the type.
    let uri = format!("/ipfs/{}?filename=a.txt", site.root);
    let response = send(&site.blocks, Method::GET, &uri, &[]).await;
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, bytes[..1000]);
    // The whole file is on its way to this reader by now.
    settle().await;
    assert!(site.blocks.at_hand(&site.leaf(&bytes[2000..3000])).is_some());
    site.world.deny(&format!("/ipfs/{}\n", site.leaf(&bytes[2000..3000])));
    let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(second, bytes[1000..2000]);
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn a_car_breaks_off_at_a_denied_child() {
    let bytes = patterned(7, 20_000);
    let site = site::file(&bytes);
    let uri = format!("/ipfs/{}?format=car", site.root);
    assert_eq!(status(&site.blocks, &uri).await, 200);
    let leaf = &bytes[5000..6000];
    site.world.deny(&format!("/ipfs/{}\n", site.leaf(leaf)));
    for blocks in [&site.blocks, &site.world.blocks()] {
        for dups in ["y", "n"] {
            let (status, sent, broken) = until_broken(blocks, &format!("{uri}&dups={dups}")).await;
            assert_eq!((status, broken), (StatusCode::OK, true));
            assert!(contains(&sent, &bytes[4000..5000]) && !contains(&sent, leaf));
        }
        for fine in ["&dag-scope=block", "&dag-scope=entity&entity-bytes=0:4999"] {
            assert_eq!(status(blocks, &format!("{uri}{fine}")).await, 200, "{fine}");
        }
    }
}

#[tokio::test]
async fn every_cid_on_a_path_counts() {
    let site = site::site(&[("dir/sub/a.txt", b"a"), ("dir/b.txt", b"b")]);
    let root = &site.root;
    let roots =
        get(&site.blocks, &format!("/ipfs/{root}/dir/sub/a.txt")).await.header("x-ipfs-roots").to_string();
    let cids: Vec<&str> = roots.split(',').collect();
    for denied in &cids {
        site.world.deny(&format!("/ipfs/{denied}\n"));
        assert_eq!(status(&site.blocks, &format!("/ipfs/{root}/dir/sub/a.txt")).await, 410, "{denied}");
    }
    // `sub` is denied: its name may be read, and what is beside it.
    site.world.deny(&format!("/ipfs/{}\n", cids[2]));
    for fine in ["", "/", "/dir/", "/dir/b.txt", "/dir?format=raw"] {
        let answer = get(&site.blocks, &format!("/ipfs/{root}{fine}")).await;
        assert!(answer.status.as_u16() < 400, "{fine}");
    }
}

#[tokio::test]
async fn every_block_of_a_sharded_directory_counts() {
    let many: Vec<(String, Vec<u8>)> =
        (0..100).map(|number| (format!("many/{number}"), vec![number; 10])).collect();
    let files: Vec<(&str, &[u8])> = many.iter().map(|(path, bytes)| (&**path, &**bytes)).collect();
    let site = site::site(&files);
    let mut below_shards = 0;
    for (path, _) in &many {
        let uri = format!("/ipfs/{}/{path}", site.root);
        site.world.deny("# nothing\n");
        let car = get(&site.blocks, &format!("{uri}?format=car&dag-scope=block")).await;
        let way = content::car::CarReader::new(&car.body).unwrap();
        let way: Vec<content::Cid> = way.blocks().map(|block| block.unwrap().cid).collect();
        // Root, directory, shard, file: others lie in the directory's first block.
        if let [_, _, shard, _] = way.as_slice() {
            site.world.deny(&format!("/ipfs/{shard}\n"));
            assert_eq!(status(&site.blocks, &uri).await, 410);
            assert_eq!(
                status(&site.blocks, &format!("/ipfs/{}/many/", site.root)).await,
                410,
                "no list either"
            );
            below_shards += 1;
        }
    }
    assert!((1..100).contains(&below_shards), "{below_shards}");
}

#[tokio::test]
async fn a_rule_about_a_path_holds_through_every_way_to_it() {
    let site = site::site(&[("dir/sub/a b.txt", b"a"), ("dir/sub/c.txt", b"c"), ("dir/sub2/x", b"x")]);
    let root = &site.root;
    let uri = format!("/ipfs/{root}/dir/sub/a%20b.txt");
    let roots = get(&site.blocks, &uri).await.header("x-ipfs-roots").to_string();
    let cids: Vec<&str> = roots.split(',').collect();
    let below = ["dir/sub/a%20b.txt", "sub/a%20b.txt", "a%20b.txt"];
    for (cid, path) in cids.iter().zip(below) {
        site.world.deny(&format!("/ipfs/{cid}/{path}\n"));
        for same in [
            &*uri,
            &format!("{uri}?format=raw"),
            &format!("{uri}?format=car"),
            &format!("/ipfs/{root}//dir/./sub%2Fa%20b.txt/"),
        ] {
            assert_eq!(status(&site.blocks, same).await, 410, "{same} by {cid}/{path}");
        }
        assert_eq!(status(&site.blocks, &format!("/ipfs/{root}/dir/sub/c.txt")).await, 200);
        assert_eq!(
            status(&site.blocks, &format!("/ipfs/{}", cids[3])).await,
            200,
            "the file itself is not named"
        );
    }
    site.world.deny(&format!("/ipfs/{root}/dir/sub*\n!/ipfs/{root}/dir/sub/c*\n"));
    for (path, expected) in
        [("sub/a%20b.txt", 410), ("sub2/x", 410), ("sub/", 410), ("sub/c.txt", 200), ("", 200)]
    {
        assert_eq!(status(&site.blocks, &format!("/ipfs/{root}/dir/{path}")).await, expected, "{path}");
    }
}

#[tokio::test]
async fn an_index_page_is_denied_by_its_own_path() {
    let site = site::site(&[("sub/index.html", b"<p>home"), ("sub/other", b"x")]);
    let (root, uri) = (&site.root, format!("/ipfs/{}/sub/", site.root));
    let roots = get(&site.blocks, &uri).await.header("x-ipfs-roots").to_string();
    let sub = roots.split(',').next_back().unwrap();
    for rule in
        [format!("{root}/sub/index.html"), format!("{sub}/index.html"), site.leaf(b"<p>home").to_string()]
    {
        site.world.deny(&format!("/ipfs/{rule}\n"));
        assert_eq!(status(&site.blocks, &uri).await, 410, "{rule}");
        assert_eq!(status(&site.blocks, &format!("{uri}other")).await, 200);
    }
}

#[tokio::test]
async fn an_archive_breaks_off_at_what_is_denied() {
    let site = site::site(&[("dir/a", b"first file"), ("dir/b", b"second file"), ("dir/c", b"third file")]);
    let (root, uri) = (&site.root, format!("/ipfs/{}/dir?format=tar", site.root));
    assert_eq!(status(&site.blocks, &uri).await, 200);
    for rule in [site.leaf(b"second file").to_string(), format!("{root}/dir/b"), format!("{root}/dir/b*")] {
        site.world.deny(&format!("/ipfs/{rule}\n"));
        for blocks in [&site.blocks, &site.world.blocks()] {
            let (status, sent, broken) = until_broken(blocks, &uri).await;
            assert_eq!((status, broken), (StatusCode::OK, true), "{rule}");
            assert!(contains(&sent, b"first file") && !contains(&sent, b"second file"), "{rule}");
        }
    }
}

#[tokio::test]
async fn a_site_cannot_lead_to_what_is_denied() {
    let rules =
        b"/rewritten /secret.html 200\n/moved /secret.html 302\n/away https://example.com/secret.html 302\n\
                  /fine /open.html 302\n/* /404.html 404\n";
    let site = site::site(&[
        ("_redirects", rules.as_slice()),
        ("secret.html", b"<p>secret"),
        ("open.html", b"<p>open"),
        ("404.html", b"<p>nothing"),
    ]);
    let root = site.root.to_string();
    let at = async |uri: &str| status_at_origin(&site.blocks, &root, uri).await;
    assert_eq!([at("/rewritten").await, at("/moved").await, at("/x").await], [200, 302, 404]);
    site.world.deny(&format!("/ipfs/{root}/secret.html\n"));
    assert_eq!([at("/rewritten").await, at("/moved").await, at("/secret.html").await], [410, 410, 410]);
    assert_eq!([at("/away").await, at("/fine").await, at("/x").await], [302, 302, 404]);
    site.world.deny(&format!("/ipfs/{}\n", site.leaf(b"<p>nothing")));
    assert_eq!([at("/x").await, at("/fine").await], [410, 302], "the page of an error too");
    for rule in [format!("{root}/_redirects"), site.leaf(rules).to_string()] {
        site.world.deny(&format!("/ipfs/{rule}\n"));
        assert_eq!([at("/fine").await, at("/open.html").await], [410, 200], "the rules themselves: {rule}");
    }
}

#[tokio::test]
async fn data_within_a_cid_is_denied_too() {
    let site = site::site(&[]);
    let cid = content::Cid::identity(content::Codec::Raw, b"small").unwrap();
    let uri = format!("/ipfs/{cid}");
    assert_eq!(get(&site.blocks, &uri).await.body, b"small"[..]);
    site.world.deny(&format!("/ipfs/{cid}\n"));
    assert_eq!(status(&site.blocks, &uri).await, 410);
    assert!(site.blocks.get(&cid).await.is_err());
}

#[tokio::test]
async fn trustless_hosts_refuse_it_as_well() {
    let site = site::site(&[("a.txt", b"a")]);
    site.world.deny(&format!("/ipfs/{}\n", site.root));
    let rules = AnswerRules { trustless_hosts: vec!["trustless.example".into()], ..AnswerRules::default() };
    for format in ["raw", "car"] {
        let uri = format!("/ipfs/{}?format={format}", site.root);
        let request = super::request(Method::GET, &uri, &[(header::HOST, "trustless.example")]);
        assert_eq!(respond(&site.blocks, &rules, &request).await.status(), StatusCode::GONE, "{format}");
    }
}
