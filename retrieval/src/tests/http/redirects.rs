//! `_redirects` on hosts that belong to one CID, as the conformance suite has it.

use axum::http::{Method, StatusCode};

use super::{Answer, answer, at_origin, fixtures::fixture, get};
use crate::{AnswerRules, Blocks};

const EXAMPLES: &str = "QmYBhLYDwVFvxos9h8CGU2ibaY66QNgv8hpfewxaQrPiZj";

async fn ask(blocks: &Blocks, cid: &str, uri: &str) -> Answer {
    answer(blocks, &AnswerRules::default(), &at_origin(Method::GET, cid, uri)).await
}

#[tokio::test]
async fn the_examples_of_the_specification() {
    let fixture = fixture("redirects_file/redirects.car");
    for (uri, status, location) in [
        ("/redirect-one", 301, "/one.html"),
        ("/301-redirect-one", 301, "/one.html"),
        ("/302-redirect-two", 302, "/two.html"),
        ("/posts/2022/01/01/hello-world", 301, "/articles/2022/01/01/hello-world"),
        ("/splat/one.html", 301, "/redirected-splat/one.html"),
        ("/splat/one.html?a=b", 301, "/redirected-splat/one.html?a=b"),
    ] {
        let answer = ask(&fixture.blocks, EXAMPLES, uri).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, location), "{uri}");
    }
    for (uri, status, text, etag) in [
        ("/not-found/x", 404, "my 404", "Qmd9GD7Bauh6N2ZLfNnYS3b7QVAijbud83b8GE8LPMNBBP"),
        ("/gone/x", 410, "my 410", "QmSmR9NShZ89VEBrn9SBy7Xxvjw8Qe6XArD5GqtHvbtBM3"),
        ("/unavail/x", 451, "my 451", "QmVQqj9oZig9tH3ENHo4bxV5pNgssUwFCXUjAJAVcZVbJG"),
        ("/200-index", 200, "my index", "QmS6ZNKE9s8fsHoEnArsZXnzMWijKddhXXDsAev8LdTT5z"),
        ("/catch-all", 200, "my index", "QmS6ZNKE9s8fsHoEnArsZXnzMWijKddhXXDsAev8LdTT5z"),
    ] {
        let answer = ask(&fixture.blocks, EXAMPLES, uri).await;
        assert_eq!(answer.status.as_u16(), status, "{uri}");
        assert!(answer.text().contains(text), "{uri}");
        assert_eq!(answer.header("etag"), format!("\"{etag}\""), "as it is linked");
        assert_eq!(answer.header("cache-control"), "public, max-age=29030400, immutable");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    }
    let there = ask(&fixture.blocks, EXAMPLES, "/one.html").await;
    assert_eq!((there.status, there.text()), (StatusCode::OK, "my one\n"), "what is there is not redirected");
}

#[tokio::test]
async fn bad_files_are_said_to_be_bad_only_where_they_are_needed() {
    let fixture = fixture("redirects_file/redirects.car");
    for (cid, parts) in [
        (
            "QmU7ysGXwAtiV7aBarZASJsxKoKyKmd9Xrz2FFamSCbg8S",
            ["could not parse _redirects:", "forced redirects (or \"shadowing\") are not supported"],
        ),
        (
            "QmQTfvjGmvTfxFpUcZNLdTLuKV227KJkGiN6xooHVeVZAS",
            ["could not parse _redirects:", "redirects file size cannot exceed"],
        ),
        (
            "QmcBcFnKKqgpCVMxxGsriw9ByTVF6uDdKDMuEBq3m6f1bm",
            ["could not parse _redirects:", "unsupported redirect status"],
        ),
    ] {
        let answer = ask(&fixture.blocks, cid, "/not-found").await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{cid}");
        assert_eq!(answer.header("cache-control"), "no-store");
        for part in parts {
            assert!(answer.text().contains(part), "{part}: {}", answer.text());
        }
    }
    let bad_codes = "QmcBcFnKKqgpCVMxxGsriw9ByTVF6uDdKDMuEBq3m6f1bm";
    let found = ask(&fixture.blocks, bad_codes, "/found.html").await;
    assert_eq!(found.status, StatusCode::OK);
    let newlines =
        ask(&fixture.blocks, "QmYzMrtPyBv7LKiEAGLLRPtvqm3SjQYLWxwWQ2vnpxQwRd", "/redirect-one").await;
    assert_eq!((newlines.status.as_u16(), newlines.header("location")), (301, "/one.html"));
    let good = ask(&fixture.blocks, "QmWHn2TunA1g7gQ7q9rwAoWuot2hMpojZ6cZ9ERsNKm5gE", "/a301").await;
    assert_eq!((good.status.as_u16(), good.header("location")), (301, "/b301"));
}

#[tokio::test]
async fn an_app_of_one_page() {
    let fixture = fixture("redirects_file/redirects-spa.car");
    let page = ask(&fixture.blocks, &fixture.root, "/any/route?x=1").await;
    assert_eq!((page.status, page.text()), (StatusCode::OK, "hello world\n"));
    let shared = get(&fixture.blocks, &format!("/ipfs/{}/any/route", fixture.root)).await;
    assert_eq!(shared.status, StatusCode::NOT_FOUND, "not where others' content has the same origin");
}
