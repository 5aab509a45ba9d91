//! Blocks of data: as they are, as pages, and the paths through them, as the conformance suite has it.

use axum::http::{Method, StatusCode, header};

use super::{Answer, ask, fixtures::fixture, get};

const DAG_CBOR: &str = "bafyreibs4utpgbn7uqegmd2goqz4bkyflre2ek2iwv743fhvylwi4zeeim";
const DAG_JSON: &str = "baguqeeram5ujjqrwheyaty3w5gdsmoz6vittchvhk723jjqxk7hakxkd47xq";

async fn accept(blocks: &crate::Blocks, uri: &str, accept: &str) -> Answer {
    ask(blocks, Method::GET, uri, &[(header::ACCEPT, accept)]).await
}

#[tokio::test]
async fn data_is_sent_as_it_is() {
    for (name, cid, kind, disposition) in [
        ("json", DAG_JSON, "application/vnd.ipld.dag-json", "inline"),
        ("cbor", DAG_CBOR, "application/vnd.ipld.dag-cbor", "attachment"),
    ] {
        let fixture = fixture(&format!("path_gateway_dag/dag-{name}-traversal.car"));
        let block = fixture.block(cid);
        let uri = format!("/ipfs/{cid}");
        let asked = [
            get(&fixture.blocks, &uri).await,
            get(&fixture.blocks, &format!("{uri}?format=dag-{name}")).await,
            accept(&fixture.blocks, &uri, kind).await,
            get(&fixture.blocks, &format!("{uri}/")).await,
        ];
        for answer in asked {
            assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, kind));
            assert_eq!(answer.header("content-length"), block.len().to_string());
            assert_eq!(answer.header("etag"), format!("\"{cid}.dag-{name}\""));
            assert_eq!(answer.header("cache-control"), "public, max-age=29030400, immutable");
            let start = format!("{disposition}; filename=\"{cid}.{name}\"");
            assert!(answer.header("content-disposition").starts_with(&start));
            assert_eq!(answer.body, block);
        }
        // As what it is a kind of.
        for answer in [
            get(&fixture.blocks, &format!("{uri}?format={name}")).await,
            accept(&fixture.blocks, &uri, &format!("application/{name}")).await,
        ] {
            assert_eq!(answer.header("content-type"), format!("application/{name}"));
            assert_eq!(answer.body, block);
        }
        let named = accept(&fixture.blocks, &format!("{uri}?filename=foobar.{name}"), kind).await;
        let start = format!("{disposition}; filename=\"foobar.{name}\"");
        assert!(named.header("content-disposition").starts_with(&start));
        let download = get(&fixture.blocks, &format!("{uri}?filename=foobar.{name}&download=true")).await;
        assert!(download.header("content-disposition").starts_with("attachment; filename=\"foobar."));
        let range = [(header::RANGE, "bytes=7-9,1-3")];
        let part = ask(&fixture.blocks, Method::GET, &uri, &range).await;
        assert_eq!((part.status, part.body), (StatusCode::PARTIAL_CONTENT, block.slice(7..10)));
        let head = ask(&fixture.blocks, Method::HEAD, &uri, &[]).await;
        assert_eq!((head.status, head.header("content-type")), (StatusCode::OK, kind));
    }
}

#[tokio::test]
async fn plain_json_and_cbor() {
    for (name, disposition) in [("json", "inline"), ("cbor", "attachment")] {
        let fixture = fixture(&format!("path_gateway_dag/plain-{name}.car"));
        let uri = format!("/ipfs/{}", fixture.root);
        for answer in [
            get(&fixture.blocks, &uri).await,
            get(&fixture.blocks, &format!("{uri}?format={name}")).await,
            accept(&fixture.blocks, &uri, &format!("application/{name}")).await,
        ] {
            assert_eq!(answer.header("content-type"), format!("application/{name}"));
            let start = format!("{disposition}; filename=\"{}.{name}\"", fixture.root);
            assert!(answer.header("content-disposition").starts_with(&start));
            assert_eq!(answer.body, fixture.block(&fixture.root));
        }
        let other = get(&fixture.blocks, &format!("{uri}?format=dag-{name}")).await;
        assert_eq!(other.status, StatusCode::NOT_ACCEPTABLE);
    }
}

#[tokio::test]
async fn nothing_is_converted() {
    let files = fixture("path_gateway_dag/gateway-json-cbor.car");
    let text = "bafkreialihlqnf5uwo4byh4n3cmwlntwqzxxs2fg5vanqdi3d7tb2l5xkm";
    let (json, cbor) = (
        fixture("path_gateway_dag/dag-json-traversal.car"),
        fixture("path_gateway_dag/dag-cbor-traversal.car"),
    );
    for (fixture, cid, format) in [
        (&files, text, "dag-json"),
        (&files, text, "dag-cbor"),
        (&files, &*files.root, "dag-json"),
        (&json, DAG_JSON, "dag-cbor"),
        (&json, DAG_JSON, "cbor"),
        (&json, DAG_JSON, "tar"),
        (&cbor, DAG_CBOR, "dag-json"),
        (&cbor, DAG_CBOR, "json"),
    ] {
        let uri = format!("/ipfs/{cid}?format={format}");
        assert_eq!(get(&fixture.blocks, &uri).await.status, StatusCode::NOT_ACCEPTABLE, "{uri}");
    }
    let uri = format!("/ipfs/{text}");
    let refused = accept(&files.blocks, &uri, "application/vnd.ipld.dag-json").await;
    assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    // A file is no data, whatever it says.
    for format in ["json", "cbor"] {
        let answer = get(&files.blocks, &format!("{uri}?format={format}")).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (StatusCode::OK, "text/plain; charset=utf-8")
        );
        assert!(!answer.headers.contains_key("content-location"));
    }
}

#[tokio::test]
async fn a_file_of_json_is_json() {
    let fixture = fixture("path_gateway_dag/gateway-json-cbor.car");
    let cid = "bafkreibrppizs3g7axs2jdlnjua6vgpmltv7k72l7v7sa6mmht6mne3qqe";
    let uri = format!("/ipfs/{cid}");
    for answer in [
        get(&fixture.blocks, &uri).await,
        accept(&fixture.blocks, &uri, "application/json").await,
        accept(&fixture.blocks, &format!("{uri}?format=json"), "application/vnd.ipld.raw").await,
        get(&fixture.blocks, &format!("/ipfs/{}/%C4%85/%C4%99/t.json", fixture.root)).await,
    ] {
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
        assert_eq!(answer.body, fixture.block(cid));
    }
}

#[tokio::test]
async fn paths_go_through_links_and_end_at_them() {
    for (name, cid) in [("json", DAG_JSON), ("cbor", DAG_CBOR)] {
        let fixture = fixture(&format!("path_gateway_dag/dag-{name}-traversal.car"));
        let ask =
            async |path: &str| get(&fixture.blocks, &format!("/ipfs/{cid}/{path}?format=dag-{name}")).await;
        let end = ask("foo/link/bar").await;
        assert_eq!(end.status, StatusCode::OK);
        assert!(end.body.windows(18).any(|text| text == b"this is not a link"));
        assert_eq!(end.header("x-ipfs-roots").split(',').count(), 3);
        for path in ["foo", "foo/object", "foo/link/bar/hello"] {
            let answer = ask(path).await;
            if path == "foo/object" && answer.status == StatusCode::NOT_FOUND {
                continue;
            }
            assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{path}");
            assert!(
                answer
                    .text()
                    .contains("reading IPLD Kinds other than Links (CBOR Tag 42) is not implemented")
            );
        }
        let missing = ask("foo/i-do-not-exist").await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
        assert!(missing.text().contains("i-do-not-exist"));
    }
}

#[tokio::test]
async fn who_asks_for_a_page_gets_one() {
    for (name, cid) in [("json", DAG_JSON), ("cbor", DAG_CBOR)] {
        let fixture = fixture(&format!("path_gateway_dag/dag-{name}-traversal.car"));
        let page = accept(&fixture.blocks, &format!("/ipfs/{cid}/"), "text/html").await;
        assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
        assert!(page.header("etag").contains("DagIndex-"));
        assert_eq!(page.header("cache-control"), "public, max-age=604800, stale-while-revalidate=2678400");
        assert!(!page.headers.contains_key("content-disposition"));
        assert!(page.text().contains("</html>") && page.text().contains(&format!("/ipfs/{cid}?format=raw")));
        let links = page.text().matches("<a href=\"/ipfs/ba").count();
        assert!(links > 3, "the forms of the block, and what it links to");
        // Whoever names a form gets that.
        let raw = accept(&fixture.blocks, &format!("/ipfs/{cid}/?format=raw"), "text/html").await;
        assert_eq!(raw.header("content-type"), "application/vnd.ipld.raw");
    }
}
