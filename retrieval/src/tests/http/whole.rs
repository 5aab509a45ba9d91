//! 200: bodies, types, names.

use axum::http::{Method, StatusCode};

use super::{ask, get, site};
use crate::tests::world::patterned;

#[tokio::test]
async fn a_file_with_all_its_headers() {
    let bytes = patterned(1, 25_000);
    let site = site::site(&[("a/data.bin", &bytes), ("hello.txt", b"hello")]);
    let uri = format!("/ipfs/{}/a/data.bin", site.root);
    let answer = get(&site.blocks, &uri).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body == bytes);
    assert_eq!(answer.header("content-length"), "25000");
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("cache-control"), "public, max-age=29030400, immutable");
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.header("x-ipfs-path"), uri);
    let roots: Vec<&str> = answer.header("x-ipfs-roots").split(',').collect();
    assert_eq!((roots.len(), roots[0]), (3, site.root.to_string().as_str()));
    assert_eq!(answer.header("etag"), format!("\"{}\"", roots[2]));

    let head = ask(&site.blocks, Method::HEAD, &uri, &[]).await;
    assert_eq!(head.status, StatusCode::OK);
    assert!(head.body.is_empty());
    for name in ["content-length", "content-type", "etag", "cache-control", "x-ipfs-roots"] {
        assert_eq!(head.header(name), answer.header(name), "{name}");
    }
}

#[tokio::test]
async fn a_head_fetches_no_more_than_it_must() {
    let site = site::site(&[("page.html", &patterned(2, 100_000)), ("unnamed", &patterned(3, 100_000))]);
    let asked = async |name: &str| {
        let before = site.world.network.bytes_asked();
        let answer = ask(&site.blocks, Method::HEAD, &format!("/ipfs/{}/{name}", site.root), &[]).await;
        assert_eq!(answer.header("content-length"), "100000");
        site.world.network.bytes_asked() - before
    };
    assert!(asked("page.html").await < 5000, "only the directory and the root of the file");
    assert!(asked("unnamed").await < 10_000, "and the first leaves, to see what it is");
}

#[tokio::test]
async fn files_of_no_bytes_one_block_and_many() {
    for len in [0, 1, 999, 1000, 1001, 8000, 8001, 64_001] {
        let bytes = patterned(7, len);
        let site = site::file(&bytes);
        let answer = get(&site.blocks, &format!("/ipfs/{}", site.root)).await;
        assert_eq!(answer.status, StatusCode::OK, "{len}");
        assert!(answer.body == bytes, "{len}");
        assert_eq!(answer.header("content-length"), len.to_string());
        assert_eq!(answer.header("etag"), format!("\"{}\"", site.root));
    }
}

#[tokio::test]
async fn what_a_file_is_is_told_by_name_or_by_its_first_bytes() {
    let png = b"\x89PNG\r\n\x1a\n and so on";
    let site = site::site(&[
        ("page.html", b"<p>"),
        ("picture", png),
        ("notes", "grüße".as_bytes()),
        ("void", b"\x00\x01"),
        ("style.css", b""),
    ]);
    for (path, expected) in [
        ("page.html", "text/html; charset=utf-8"),
        ("picture", "image/png"),
        ("notes", "text/plain; charset=utf-8"),
        ("void", "application/octet-stream"),
        ("style.css", "text/css; charset=utf-8"),
        ("notes?filename=x.json", "application/json"),
    ] {
        let answer = get(&site.blocks, &format!("/ipfs/{}/{path}", site.root)).await;
        assert_eq!(answer.header("content-type"), expected, "{path}");
    }
}

#[tokio::test]
async fn a_name_can_be_asked_for() {
    let site = site::file(b"some bytes");
    let answer = get(&site.blocks, &format!("/ipfs/{}?filename=gr%C3%BC%C3%9Fe%22.txt", site.root)).await;
    assert_eq!(
        answer.header("content-disposition"),
        "inline; filename=\"gr__e_.txt\"; filename*=UTF-8''gr%C3%BC%C3%9Fe%22.txt"
    );
    let answer = get(&site.blocks, &format!("/ipfs/{}?download=true&filename=a.txt", site.root)).await;
    assert!(answer.header("content-disposition").starts_with("attachment; filename=\"a.txt\""));
    let answer = get(&site.blocks, &format!("/ipfs/{}", site.root)).await;
    assert!(!answer.headers.contains_key("content-disposition"));
}

#[tokio::test]
async fn links_and_blocks_that_are_no_files() {
    let site = site::site(&[("hello.txt", b"hello")]);
    let link = get(&site.blocks, &format!("/ipfs/{}/link", site.root)).await;
    assert_eq!((link.status, link.header("content-type")), (StatusCode::OK, "inode/symlink"));
    assert_eq!(link.body, "hello.txt");
    let cbor = content::Block::of(content::Codec::DagCbor, content::HashFn::Sha2_256, b"\xa0"[..].into());
    site.world.store(std::slice::from_ref(&cbor));
    let answer = get(&site.blocks, &format!("/ipfs/{}", cbor.cid)).await;
    assert_eq!(answer.header("content-type"), "application/vnd.ipld.dag-cbor");
    assert_eq!(answer.body, &b"\xa0"[..]);
    // Of a codec that nobody here knows.
    let git = content::Block::of(content::Codec::Other(0x78), content::HashFn::Blake3, b"blob"[..].into());
    site.world.store(std::slice::from_ref(&git));
    let answer = get(&site.blocks, &format!("/ipfs/{}", git.cid)).await;
    assert_eq!(answer.header("content-type"), "application/vnd.ipld.raw");
    let disposition = answer.header("content-disposition");
    assert!(disposition.starts_with(&format!("attachment; filename=\"{}.bin\"", git.cid)), "{disposition}");
    assert_eq!(answer.body, &b"blob"[..]);
}
