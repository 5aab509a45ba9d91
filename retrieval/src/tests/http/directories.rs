//! Directories: slashes, index pages, listings.

use axum::http::{Method, StatusCode, header};

use super::{ask, collect, get, send, site};

#[tokio::test]
async fn a_directory_needs_its_slash() {
    let site = site::site(&[("sub dir/a", b"a")]);
    let answer = get(&site.blocks, &format!("/ipfs/{}/sub%20dir?x=1", site.root)).await;
    assert_eq!(answer.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(answer.header("location"), format!("/ipfs/{}/sub%20dir/?x=1", site.root));
}

#[tokio::test]
async fn an_index_page_stands_for_its_directory() {
    let site = site::site(&[("www/index.html", b"<h1>hi</h1>"), ("dir/index.html/x", b"x")]);
    let answer = get(&site.blocks, &format!("/ipfs/{}/www/", site.root)).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "<h1>hi</h1>"));
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    let roots = answer.header("x-ipfs-roots");
    assert_eq!(answer.header("etag"), format!("\"{}\"", roots.split(',').next_back().unwrap()));
    let range = [(header::RANGE, "bytes=1-2")];
    let part = ask(&site.blocks, Method::GET, &format!("/ipfs/{}/www/", site.root), &range).await;
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "h1"));
    let listing = get(&site.blocks, &format!("/ipfs/{}/dir/", site.root)).await;
    assert!(listing.text().contains("index.html"), "a directory of that name is no page");
}

#[tokio::test]
async fn names_are_escaped() {
    let nasty = "<img src=x onerror='alert(1)'>&\"";
    let site = site::site(&[(nasty, b"1"), ("a?b#c %20", b"2"), ("grüße", b"3")]);
    let answer = get(&site.blocks, &format!("/ipfs/{}/", site.root)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.header("etag").starts_with("\"DirIndex-"));
    assert!(!answer.header("cache-control").contains("immutable"));
    let page = answer.text();
    assert!(!page.contains("<img") && !page.contains(nasty), "{page}");
    assert!(page.contains("&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&amp;&quot;"));
    assert!(page.contains(&format!("href=\"/ipfs/{}/a%3Fb%23c%20%2520\"", site.root)), "{page}");
    // Every link leads to its file.
    let start = format!("<tr><td><a href=\"/ipfs/{}/", site.root);
    let links = page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap());
    let mut found = Vec::new();
    for link in links {
        let file = get(
            &site.blocks,
            &format!("/ipfs/{}/{}", site.root, link.replace("&#39;", "'").replace("&amp;", "&")),
        )
        .await;
        assert_eq!(file.status, StatusCode::OK, "{link}");
        found.push(file.text().to_string());
    }
    found.sort();
    assert_eq!(found, ["1", "2", "3", "hello.txt"]);
    let head = ask(&site.blocks, Method::HEAD, &format!("/ipfs/{}/", site.root), &[]).await;
    assert_eq!((head.status, head.header("etag")), (StatusCode::OK, answer.header("etag")));
}

#[tokio::test]
async fn sharded_directories_are_like_others() {
    let names: Vec<String> = (0..700).map(|number| format!("file number {number:04}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let site = site::site(&files);
    let root = site.blocks.get(&site.root).await.unwrap();
    assert_eq!(content::unixfs::walk::kind(&root), Ok(content::unixfs::walk::Kind::HamtShard));
    for name in [&names[0], &names[350], &names[699]] {
        let uri = format!("/ipfs/{}/{}", site.root, name.replace(' ', "%20"));
        let answer = get(&site.blocks, &uri).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, name.as_str()));
    }
    let missing = get(&site.blocks, &format!("/ipfs/{}/no%20such", site.root)).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let page = get(&site.blocks, &format!("/ipfs/{}/", site.root)).await;
    let listed: Vec<&str> = page.text().split("\">file number ").skip(1).map(|rest| &rest[..4]).collect();
    assert_eq!(listed.len(), 700);
    assert!(listed.is_sorted());
}

#[tokio::test]
async fn a_huge_directory_is_listed_whole_and_begins_at_once() {
    let names: Vec<String> = (0..10_000).map(|number| format!("{number:05}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let site = site::site(&files);
    let uri = format!("/ipfs/{}/", site.root);
    let asked = site.world.pieces_asked();
    let head = ask(&site.blocks, Method::HEAD, &uri, &[]).await;
    assert_eq!(head.status, StatusCode::OK);
    assert!(site.world.pieces_asked() - asked < 200, "{}", site.world.pieces_asked());
    let page = get(&site.blocks, &uri).await;
    let mut listed: Vec<&str> = page
        .text()
        .split("<tr><td><a href=\"")
        .skip(1)
        .map(|row| row.split("\">").nth(1).unwrap().split('<').next().unwrap())
        .collect();
    listed.sort_unstable();
    assert_eq!(listed.len(), 10_001, "the link of every site, and all files");
    assert!(names.iter().all(|name| listed.binary_search(&name.as_str()).is_ok()));
    assert!(page.text().ends_with("</html>\n"));
    let last = get(&site.blocks, &format!("/ipfs/{}/09999", site.root)).await;
    assert_eq!(last.status, StatusCode::OK);
}

#[tokio::test]
async fn a_listing_fetches_no_children_and_breaks_off_when_a_shard_is_gone() {
    let names: Vec<String> = (0..5_000).map(|number| format!("{number:05}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let site = site::site(&files);
    let directories = site.only(|block| block.cid.codec() == content::Codec::DagPb);
    let uri = format!("/ipfs/{}/", site.root);
    let page = get(&directories.blocks, &uri).await;
    assert_eq!((page.status, page.text().matches("<tr>").count()), (StatusCode::OK, 5_001));

    // The first shard goes last in the store: without one of the others the page begins and does not end.
    let root = site.blocks.get(&site.root).await.unwrap();
    let last = content::unixfs::walk::list(&root).unwrap().shards.pop().unwrap();
    let broken = directories.only(|block| block.cid != last);
    let response = send(&broken.blocks, Method::GET, &uri, &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(collect(response).await.is_err(), "a page that breaks off must not look whole");
}
