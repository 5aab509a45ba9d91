//! 206, 304, 416.

use axum::http::{Method, StatusCode, header};

use super::{ask, site};
use crate::tests::world::patterned;

#[tokio::test]
async fn ranges() {
    let bytes = patterned(1, 25_000);
    let site = site::file(&bytes);
    let uri = format!("/ipfs/{}", site.root);
    for (asked, range) in [
        ("bytes=0-0", 0..1),
        ("bytes=999-1000", 999..1001),
        ("bytes=24000-", 24_000..25_000),
        ("bytes=-7", 24_993..25_000),
        ("bytes=20000-99999999", 20_000..25_000),
        ("bytes=0-24999", 0..25_000),
        ("bytes=99999-, 5-6", 5..7),
    ] {
        let answer = ask(&site.blocks, Method::GET, &uri, &[(header::RANGE, asked)]).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{asked}");
        assert!(answer.body == bytes[range.clone()], "{asked}");
        let content_range = format!("bytes {}-{}/25000", range.start, range.end - 1);
        assert_eq!(answer.header("content-range"), content_range);
        assert_eq!(answer.header("content-length"), range.len().to_string());
        let head = ask(&site.blocks, Method::HEAD, &uri, &[(header::RANGE, asked)]).await;
        assert_eq!((head.status, head.header("content-range")), (answer.status, content_range.as_str()));
        assert!(head.body.is_empty());
    }
    let beyond = ask(&site.blocks, Method::GET, &uri, &[(header::RANGE, "bytes=25000-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), "bytes */25000");
    let nonsense = ask(&site.blocks, Method::GET, &uri, &[(header::RANGE, "lines=1-2")]).await;
    assert_eq!((nonsense.status, nonsense.body.len()), (StatusCode::OK, 25_000));
}

#[tokio::test]
async fn a_range_of_the_content_has_the_type_of_the_whole() {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(vec![b'x'; 5000]);
    let site = site::file(&bytes);
    let range = [(header::RANGE, "bytes=4000-4100")];
    let answer = ask(&site.blocks, Method::GET, &format!("/ipfs/{}", site.root), &range).await;
    assert_eq!(answer.header("content-type"), "image/png");
}

#[tokio::test]
async fn who_has_it_already_gets_nothing() {
    let site = site::site(&[("a.txt", &patterned(2, 3000)), ("dir/b.txt", b"b")]);
    for path in ["a.txt", "dir/"] {
        let uri = format!("/ipfs/{}/{path}", site.root);
        let first = ask(&site.blocks, Method::GET, &uri, &[]).await;
        let etag = first.header("etag").to_string();
        for value in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".into()] {
            let asked = [(header::IF_NONE_MATCH, value.as_str())];
            let again = ask(&site.blocks, Method::GET, &uri, &asked).await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{value}");
            assert!(again.body.is_empty());
            assert_eq!(again.header("etag"), etag);
            assert_eq!(again.header("cache-control"), first.header("cache-control"));
        }
        let asked = [(header::IF_NONE_MATCH, "\"other\"")];
        assert_eq!(ask(&site.blocks, Method::GET, &uri, &asked).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn if_range_gives_the_whole_to_who_has_something_else() {
    let site = site::file(&patterned(3, 3000));
    let uri = format!("/ipfs/{}", site.root);
    let etag = format!("\"{}\"", site.root);
    let ask_if = async |tag: &str| {
        let headers = [(header::RANGE, "bytes=0-9"), (header::IF_RANGE, tag)];
        ask(&site.blocks, Method::GET, &uri, &headers).await.status
    };
    assert_eq!(ask_if(&etag).await, StatusCode::PARTIAL_CONTENT);
    assert_eq!(ask_if("\"other\"").await, StatusCode::OK);
}
