//! Raw blocks, ranges, names in paths and lists, as the conformance suite has it.

use axum::http::{Method, StatusCode, header};

use super::{ask, fixtures::fixture, get};

#[tokio::test]
async fn raw_blocks() {
    let fixture = fixture("gateway-raw-block.car");
    let (dir, file) = (
        "bafybeifaqksygmsbnqe76kwvxoqxtkzcwssq5jkhuo65ldtqiunr3bxlra",
        "bafkreihhpc5y2pqvl5rbe5uuyhqjouybfs3rvlmisccgzue2kkt5zq6upq",
    );
    let raw = [(header::ACCEPT, "application/vnd.ipld.raw")];
    let uri = format!("/ipfs/{}/dir", fixture.root);
    for answer in [
        get(&fixture.blocks, &format!("{uri}?format=raw")).await,
        ask(&fixture.blocks, Method::GET, &uri, &raw).await,
    ] {
        assert_eq!((answer.status, answer.body.clone()), (StatusCode::OK, fixture.block(dir)));
        assert_eq!(answer.header("content-type"), "application/vnd.ipld.raw");
        let start = format!("attachment; filename=\"{dir}.bin\"");
        assert!(answer.header("content-disposition").starts_with(&start));
        assert_eq!(answer.header("cache-control"), "public, max-age=29030400, immutable");
        assert_eq!(answer.header("etag"), format!("\"{dir}.raw\""));
        assert_eq!(answer.header("x-ipfs-roots"), format!("{},{dir}", fixture.root));
    }
    let negotiated = ask(&fixture.blocks, Method::GET, &format!("{uri}?filename=foobar.bin"), &raw).await;
    assert!(negotiated.header("content-disposition").starts_with("attachment; filename=\"foobar.bin\""));
    assert_eq!(negotiated.header("content-location"), format!("{uri}?filename=foobar.bin&format=raw"));
    let range = [raw[0].clone(), (header::RANGE, "bytes=6-16,0-4")];
    let part = ask(&fixture.blocks, Method::GET, &format!("{uri}/ascii.txt"), &range).await;
    assert_eq!(
        (part.status, part.body.clone()),
        (StatusCode::PARTIAL_CONTENT, fixture.block(file).slice(6..17))
    );
    assert_eq!(part.header("content-range"), "bytes 6-16/31");
    let probe = ask(&fixture.blocks, Method::GET, "/ipfs/bafkqaaa", &raw).await;
    assert_eq!((probe.status, probe.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn a_range_needs_only_its_own_blocks() {
    let fixture = fixture("trustless_gateway_car/file-3k-and-3-blocks-missing-block.car");
    let uri = format!("/ipfs/{}", fixture.root);
    for (range, expected) in
        [("bytes=997-1000", "bytes 997-1000/3072"), ("bytes=2200-2201", "bytes 2200-2201/3072")]
    {
        let answer = ask(&fixture.blocks, Method::GET, &uri, &[(header::RANGE, range)]).await;
        assert_eq!((answer.status, answer.header("content-range")), (StatusCode::PARTIAL_CONTENT, expected));
        assert_eq!(answer.header("etag"), format!("\"{}\"", fixture.root), "named as it was asked for");
    }
}

#[tokio::test]
async fn names_in_paths_are_decoded_once() {
    let fixture = fixture("path_gateway_unixfs/dir-with-percent-encoded-filename.car");
    let uri = format!("/ipfs/{}/Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt", fixture.root);
    assert_eq!(get(&fixture.blocks, &uri).await.text(), "hello from a percent encoded filename\n");
    let listing = get(&fixture.blocks, &format!("/ipfs/{}/", fixture.root)).await;
    assert!(listing.text().contains(&format!("href=\"{uri}\"")), "{}", listing.text());
}

#[tokio::test]
async fn the_uri_is_the_same_however_a_path_is_written() {
    let fixture = fixture("path_gateway_unixfs/dir-with-percent-encoded-filename.car");
    let root = &fixture.root;
    for name in [
        "Portugal%252C%2BEspa%C3%B1a%3DPeninsula%20Ib%C3%A9rica.txt",
        "Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt",
        "Portugal%252C%2bEspa%c3%b1a%3dPeninsula%20Ib%c3%a9rica%2etxt",
        "x%2F..%2FPortugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt",
    ] {
        let answer = get(&fixture.blocks, &format!("/ipfs/{root}/{name}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        let uri = format!("ipfs://{root}/Portugal%252C%2BEspa%C3%B1a%3DPeninsula%20Ib%C3%A9rica.txt");
        assert_eq!(answer.header("ipfs-uri"), uri);
    }
    for (path, uri) in [("", ""), ("/", "/"), ("/no%23such", "/no%23such")] {
        let answer = get(&fixture.blocks, &format!("/ipfs/{root}{path}")).await;
        assert_eq!(answer.header("ipfs-uri"), format!("ipfs://{root}{uri}"));
    }
    let sharp = get(&fixture.blocks, &format!("/ipfs/{root}/a%23b%3Fc.txt")).await;
    assert_eq!(sharp.header("x-ipfs-path"), format!("/ipfs/{root}/a#b?c.txt"));
}

#[tokio::test]
async fn links_are_what_they_point_at() {
    let fixture = fixture("path_gateway_unixfs/symlink.car");
    let link = get(&fixture.blocks, &format!("/ipfs/{}/bar", fixture.root)).await;
    assert_eq!((link.status, link.text()), (StatusCode::OK, "foo"));
    let roots =
        "QmWvY6FaqFMS89YAQ9NAPjVP4WZKA1qbHbicc9HeSKQTgt,QmTB8BaCJdCH5H3k7GrxJsxgDNmNYGGR71C58ERkivXoj5";
    assert_eq!(link.header("x-ipfs-roots"), roots, "in the version that they are linked in");
    let listing = get(&fixture.blocks, &format!("/ipfs/{}/", fixture.root)).await;
    assert!(listing.text().contains(">foo<") && listing.text().contains(">bar<"));
}

#[tokio::test]
async fn a_list_has_crumbs_hashes_and_a_way_back() {
    let fixture = fixture("dir_listing/fixtures.car");
    let root = &fixture.root;
    let top = get(&fixture.blocks, &format!("/ipfs/{root}/")).await;
    assert!(top.text().contains("Index of") && !top.text().contains(">..</a>"));
    let moved = get(&fixture.blocks, &format!("/ipfs/{root}/%c4%85/%c4%99?a=%c4%85&b")).await;
    assert_eq!(moved.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(moved.header("location"), format!("/ipfs/{root}/%C4%85/%C4%99/?a=%c4%85&b"));
    let deep = get(&fixture.blocks, &format!("/ipfs/{root}/%C4%85/%C4%99/")).await;
    let file = "bafkreialihlqnf5uwo4byh4n3cmwlntwqzxxs2fg5vanqdi3d7tb2l5xkm";
    for part in [
        format!(
            "/ipfs/<a href=\"/ipfs/{root}\">{root}</a>/<a href=\"/ipfs/{root}/%C4%85\">ą</a>/<a href=\"/ipfs/{root}/%C4%85/%C4%99\">ę</a>"
        ),
        format!("<a href=\"/ipfs/{root}/%C4%85/%C4%99/..\">..</a>"),
        format!("<a href=\"/ipfs/{root}/%C4%85/%C4%99/file-%C5%BA%C5%82.txt\">file-źł.txt</a>"),
        format!(
            "<a class=\"ipfs-hash\" translate=\"no\" href=\"/ipfs/{file}?filename=file-%25C5%25BA%25C5%2582.txt\">"
        ),
        "34 B".into(),
    ] {
        assert!(deep.text().contains(&part), "{part} in {}", deep.text());
    }
}
