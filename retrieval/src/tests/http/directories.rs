//! Directories: slashes, index pages, listings.

use axum::http::{Method, StatusCode, header};

use super::{ask, get, site};

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
    assert!(page.contains("href=\"./a%3Fb%23c%20%2520\""), "{page}");
    // Every link leads to its file.
    let links = page.split("href=\"./").skip(1).map(|rest| rest.split('"').next().unwrap());
    let mut found = Vec::new();
    for link in links {
        let file = get(&site.blocks, &format!("/ipfs/{}/{link}", site.root)).await;
        assert_eq!(file.status, StatusCode::OK, "{link}");
        found.push(file.text().to_string());
    }
    found.sort();
    assert_eq!(found, ["1", "2", "3", "hello.txt"]);
    let head = ask(&site.blocks, Method::HEAD, &format!("/ipfs/{}/", site.root), &[]).await;
    assert_eq!(head.header("content-length"), page.len().to_string());
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
async fn a_huge_directory_is_listed_in_part_and_says_so() {
    let names: Vec<String> = (0..2500).map(|number| format!("{number:04}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let site = site::site(&files);
    let page = get(&site.blocks, &format!("/ipfs/{}/", site.root)).await;
    assert_eq!(page.text().matches("<tr>").count(), 2001);
    assert!(page.text().contains("Only the first 2000 entries"));
    let last = get(&site.blocks, &format!("/ipfs/{}/2499", site.root)).await;
    assert_eq!(last.status, StatusCode::OK);
}
