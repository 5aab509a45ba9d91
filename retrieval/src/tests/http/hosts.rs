//! Hosts: those of one CID, those that give only what can be verified, and those that many people's content shares.

use axum::http::{Method, StatusCode, header};

use super::{answer, ask, at_origin, fixtures::fixture, request, site};
use crate::{ActiveContent, AnswerRules};

const DIRECTORY: &str = "bafybeiht6dtwk3les7vqm6ibpvz6qpohidvlshsfyr7l5mpysdw2vmbbhe";

#[tokio::test]
async fn on_a_host_of_its_own_content_begins_at_the_root() {
    let fixture = fixture("subdomain_gateway/fixtures.car");
    let rules = AnswerRules::default();
    let ask =
        async |uri: &str| answer(&fixture.blocks, &rules, &at_origin(Method::GET, DIRECTORY, uri)).await;
    let top = ask("/").await;
    assert_eq!(top.header("x-ipfs-path"), format!("/ipfs/{DIRECTORY}/"));
    for part in ["<a href=\"/hello\">hello</a>", "<a href=\"/ipfs\">ipfs</a>"] {
        assert!(top.text().contains(part), "{part} in {}", top.text());
    }
    assert!(!top.text().contains(">..</a>"));
    let deep = ask("/ipfs/ipns/").await;
    for part in [
        "<a href=\"/ipfs/ipns/..\">..</a>".to_string(),
        "<a href=\"/ipfs/ipns/bar\">bar</a>".into(),
        format!(
            "/ipfs/<a href=\"//gateway.example:8080/ipfs/{DIRECTORY}\">{DIRECTORY}</a>/<a href=\"//gateway.example:8080/ipfs/{DIRECTORY}/ipfs\">ipfs</a>/<a href=\"//gateway.example:8080/ipfs/{DIRECTORY}/ipfs/ipns\">ipns</a>"
        ),
    ] {
        assert!(deep.text().contains(&part), "{part} in {}", deep.text());
    }
    assert_eq!(ask("/ipfs/file.txt").await.text(), "I am a txt file\n");
    assert_eq!(ask("/ipfs/ipns/bar").await.text(), "text-file-content\n");
    assert_eq!(ask(&format!("/ipfs/{DIRECTORY}")).await.status, StatusCode::NOT_FOUND);
    let moved = ask("//ipfs//ipns?q=1").await;
    assert_eq!(
        (moved.status.as_u16(), moved.header("location")),
        (301, "/ipfs/ipns/?q=1"),
        "never to another host"
    );
}

#[tokio::test]
async fn trustless_hosts_give_raw_blocks_and_cars() {
    let site = site::site(&[("a", b"a")]);
    let rules = AnswerRules { trustless_hosts: vec!["trustless.example".into()], ..AnswerRules::default() };
    let ask = async |host: &str, query: &str| {
        let uri = format!("/ipfs/{}{query}", site.root);
        answer(&site.blocks, &rules, &request(Method::GET, &uri, &[(header::HOST, host)])).await.status
    };
    for host in ["trustless.example", "Trustless.Example:443"] {
        assert_eq!(ask(host, "?format=raw").await, StatusCode::OK);
        assert_eq!(ask(host, "?format=car").await, StatusCode::OK);
        assert_eq!(ask(host, "/a?format=car").await, StatusCode::OK);
        for query in ["", "/", "/a", "?format=tar", "?format=json", "/a?format=raw"] {
            assert_eq!(ask(host, query).await, StatusCode::BAD_REQUEST, "{query}");
        }
    }
    assert_eq!(ask("other.example", "/").await, StatusCode::OK);
}

#[tokio::test]
async fn content_that_can_run_is_kept_apart_where_content_shares_an_origin() {
    let site = site::site(&[
        ("page.html", b"<script>1</script>"),
        ("pic.svg", b"<svg/>"),
        ("x.xhtml", b"<html/>"),
        ("a.txt", b"a"),
        ("unnamed", b"<!DOCTYPE html><script>1</script>"),
    ]);
    let ask = async |active_content, path: &str| {
        let rules = AnswerRules { active_content, ..AnswerRules::default() };
        let uri = format!("/ipfs/{}/{path}", site.root);
        answer(&site.blocks, &rules, &request(Method::GET, &uri, &[])).await
    };
    for path in ["page.html", "pic.svg", "x.xhtml", "unnamed"] {
        assert!(!ask(ActiveContent::Allow, path).await.headers.contains_key("content-security-policy"));
        let sandboxed = ask(ActiveContent::Sandbox, path).await;
        let policy = sandboxed.header("content-security-policy");
        assert!(policy.starts_with("sandbox ") && !policy.contains("allow-same-origin"), "{path}");
        assert_eq!(ask(ActiveContent::Refuse, path).await.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(ask(ActiveContent::Refuse, &format!("{path}?download=true")).await.status, StatusCode::OK);
    }
    for active in [ActiveContent::Sandbox, ActiveContent::Refuse] {
        let text = ask(active, "a.txt").await;
        assert_eq!(text.status, StatusCode::OK);
        assert!(!text.headers.contains_key("content-security-policy"));
    }
    let rules = AnswerRules { active_content: ActiveContent::Refuse, ..AnswerRules::default() };
    let own = at_origin(Method::GET, &site.root.to_string(), "/page.html");
    assert_eq!(
        answer(&site.blocks, &rules, &own).await.status,
        StatusCode::OK,
        "on a host of its own it may"
    );
}

#[tokio::test]
async fn a_service_worker_must_be_below_its_root() {
    let site = site::site(&[("sw.js", b"1")]);
    let file = site::file(b"1");
    let script = [(header::HeaderName::from_static("service-worker"), "script")];
    let ask = async |blocks, uri: String| ask(blocks, Method::GET, &uri, &script).await.status;
    assert_eq!(ask(&file.blocks, format!("/ipfs/{}", file.root)).await, StatusCode::BAD_REQUEST);
    assert_eq!(ask(&site.blocks, format!("/ipfs/{}/sw.js", site.root)).await, StatusCode::OK);
    let rules = AnswerRules::default();
    let mut own = at_origin(Method::GET, &file.root.to_string(), "/");
    own.headers.insert("service-worker", "script".parse().unwrap());
    assert_eq!(answer(&file.blocks, &rules, &own).await.status, StatusCode::OK);
}
