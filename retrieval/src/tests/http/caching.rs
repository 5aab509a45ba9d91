//! Names in caches, and what may be asked for from a cache only, as the conformance suite has it.

use axum::http::{Method, StatusCode, header};

use super::{ask, fixtures::fixture, get};

const ROOT: &str = "bafybeib3ffl2teiqdncv3mkz4r23b5ctrwkzrrhctdbne6iboayxuxk5ui";
const ROOT2: &str = "bafybeih2w7hjocxjg6g2ku25hvmd53zj7og4txpby3vsusfefw5rrg5sii";
const ROOT3: &str = "bafybeiawdvhmjcz65x5egzx4iukxc72hg4woks6v6fvgyupiyt3oczk5ja";
const ROOT4: &str = "bafybeifq2rzpqnqrsdupncmkmhs3ckxxjhuvdcbvydkgvch3ms24k5lo7q";
const INDEX: &str = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am";

#[tokio::test]
async fn directories_pages_and_files_have_their_names() {
    let fixture = fixture("gateway-cache/fixtures.car");
    let listing = get(&fixture.blocks, &format!("/ipfs/{ROOT}/root2/root3/")).await;
    assert_eq!(listing.header("x-ipfs-path"), format!("/ipfs/{ROOT}/root2/root3/"));
    assert_eq!(listing.header("x-ipfs-roots"), format!("{ROOT},{ROOT2},{ROOT3}"));
    assert!(listing.header("etag").starts_with("\"DirIndex-"));
    assert!(listing.header("etag").ends_with(&format!("_CID-{ROOT3}\"")));
    assert_eq!(listing.header("cache-control"), "public, max-age=604800, stale-while-revalidate=2678400");

    let page = get(&fixture.blocks, &format!("/ipfs/{ROOT}/root2/root3/root4/")).await;
    assert_eq!(page.header("etag"), format!("\"{ROOT4}\""));
    assert_eq!(page.header("x-ipfs-roots"), format!("{ROOT},{ROOT2},{ROOT3},{ROOT4}"));
    let file = get(&fixture.blocks, &format!("/ipfs/{ROOT}/root2/root3/root4/index.html")).await;
    assert_eq!(file.header("etag"), format!("\"{INDEX}\""));
    for answer in [&page, &file] {
        assert_eq!(answer.header("cache-control"), "public, max-age=29030400, immutable");
        assert_eq!(answer.text(), "hello\n");
    }
}

#[tokio::test]
async fn who_has_the_directory_needs_no_listing() {
    let fixture = fixture("gateway-cache/fixtures.car");
    let uri = format!("/ipfs/{ROOT}/root2/root3/");
    let etag = get(&fixture.blocks, &uri).await.header("etag").to_string();
    for value in [etag.clone(), format!("W/{etag}"), format!("W/\"{ROOT3}\""), format!("\"x\", \"{ROOT3}\"")]
    {
        let answer = ask(&fixture.blocks, Method::GET, &uri, &[(header::IF_NONE_MATCH, &value)]).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::NOT_MODIFIED, 0), "{value}");
        assert_eq!(answer.header("etag"), etag);
    }
}

#[tokio::test]
async fn only_what_is_at_hand_is_given_to_who_asks_for_no_more() {
    let fixture = fixture("gateway-cache/fixtures.car");
    let only = [(header::CACHE_CONTROL, "max-age=0, only-if-cached")];
    let uri = format!("/ipfs/{ROOT}/root2/root3/root4/?format=json");
    let missing = "/ipfs/QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN";
    for method in [Method::GET, Method::HEAD] {
        for uri in [missing, &uri] {
            let answer = ask(&fixture.blocks, method.clone(), uri, &only).await;
            assert_eq!((answer.status, answer.body.len()), (StatusCode::PRECONDITION_FAILED, 0), "{uri}");
        }
    }
    get(&fixture.blocks, &format!("/ipfs/{ROOT}")).await;
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(ask(&fixture.blocks, method, &uri, &only).await.status, StatusCode::OK);
    }
    // What is in its own name is always at hand.
    assert_eq!(ask(&fixture.blocks, Method::GET, "/ipfs/bafkqaaa", &only).await.status, StatusCode::OK);
}

#[tokio::test]
async fn forms_are_told_apart() {
    let fixture = fixture("gateway-cache/fixtures.car");
    let mut etags = std::collections::HashSet::new();
    for query in [
        "",
        "?format=raw",
        "?format=tar",
        "?format=car",
        "?format=car&dag-scope=block",
        "?format=car&dag-scope=entity",
        "?format=car&car-dups=y",
        "?format=car&entity-bytes=0:1",
        "?format=car&entity-bytes=0:2",
    ] {
        let answer = get(&fixture.blocks, &format!("/ipfs/{ROOT}/root2/root3/root4/index.html{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        assert!(etags.insert(answer.header("etag").to_string()), "{query}: {}", answer.header("etag"));
    }
    let negotiated =
        ask(&fixture.blocks, Method::GET, &format!("/ipfs/{INDEX}"), &[(header::ACCEPT, "*/*")]).await;
    assert_eq!(negotiated.header("vary"), "Accept");
    let named = get(&fixture.blocks, &format!("/ipfs/{INDEX}?format=raw")).await;
    assert!(!named.headers.contains_key("vary"));
}
