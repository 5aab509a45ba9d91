//! Hosts of their own for CIDs, what trusted proxies say about hosts, and what every way in has in common.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};

use metrics_exporter_prometheus::PrometheusBuilder;
use service::http::observed;
use tower::ServiceExt as _;

use super::world::{Answer, World, from_peer, request};
use crate::{Config, ReadMode};

fn config(config: &mut Config) {
    config.reads.subdomain_hosts = vec!["example.com".into()];
    config.reads.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
}

async fn site(world: &World) -> String {
    let files: [(&str, &[u8]); 4] = [
        ("site/index.html", b"<h1>home</h1>"),
        ("site/sub/page.html", b"<p>page"),
        ("site/404.html", b"not here"),
        ("site/_redirects", b"/old/* /sub/:splat 302\n/* /404.html 404\n"),
    ];
    world.upload_form("", &files).await.file().cid
}

async fn ask(world: &World, host: &str, uri: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = request(Method::GET, uri, None, Body::empty());
    request.headers_mut().insert("host", host.parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let from_proxy = headers.iter().any(|(name, _)| name.starts_with("x-forwarded"));
    world.send(from_peer(request, if from_proxy { "10.0.0.1" } else { "192.0.2.1" })).await
}

fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::MOVED_PERMANENTLY, "{answer:?}");
    assert_eq!(answer.headers.get_all("access-control-allow-origin").iter().count(), 1);
    answer.headers["location"].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_lead_to_the_host_of_their_cid() {
    let world = World::with(20, config).await;
    let cid = site(&world).await;
    let own = format!("http://{cid}.ipfs.example.com:8080");
    for (path, expected) in [
        (format!("/ipfs/{cid}"), format!("{own}/")),
        (format!("/ipfs/{cid}/sub/page.html?a=b&c"), format!("{own}/sub/page.html?a=b&c")),
        (format!("/ipfs/{cid}/%c4%85/x%20y/"), format!("{own}/%C4%85/x%20y/")),
    ] {
        assert_eq!(location(&ask(&world, "example.com:8080", &path, &[]).await), expected);
    }
    let v0 = ask(&world, "example.com", "/ipfs/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn/", &[]).await;
    let v1 = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";
    assert_eq!(location(&v0), format!("http://{v1}.ipfs.example.com/"));
    let bad = ask(&world, "example.com", "/ipfs/QmInvalidCID", &[]).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&bad.body).contains("invalid path \"/ipfs/QmInvalidCID\""));
    let long = "bafkrgqhhyivzstcz3hhswshfjgy6ertgmnqeleynhwt4dlfsthi4hn7zgh4uvlsb5xncykzapi3ocd4lzogukir6ksdy6wzrnz6ohnv4aglcs";
    for (host, path) in
        [("example.com", &*format!("/ipfs/{long}")), (&format!("{long}.ipfs.example.com"), "/")]
    {
        let answer = ask(&world, host, path, &[]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(
            String::from_utf8_lossy(&answer.body)
                .contains("CID incompatible with DNS label length limit of 63")
        );
    }
    assert_eq!(ask(&world, "other.example", &format!("/ipfs/{cid}/"), &[]).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_its_host_everything_is_content() {
    let world = World::with(20, |settings| {
        config(settings);
        // Readers are never sent elsewhere from there: it would be another origin.
        settings.reads.mode = ReadMode::Redirect;
    })
    .await;
    world.probe().await;
    let cid = site(&world).await;
    let host = format!("{cid}.ipfs.example.com:8080");
    let home = ask(&world, &host, "/", &[]).await;
    assert_eq!((home.status, &home.body[..]), (StatusCode::OK, &b"<h1>home</h1>"[..]));
    assert!(!home.headers.contains_key("content-security-policy"));
    let moved = ask(&world, &host, "/sub?x=1", &[]).await;
    assert_eq!(location(&moved), "/sub/?x=1");
    let old = ask(&world, &host, "/old/page.html", &[]).await;
    assert_eq!((old.status.as_u16(), &old.headers["location"]), (302, &"/sub/page.html".parse().unwrap()));
    for path in ["/v1/files", "/v1/nodes", "/healthz", "/metrics", "/ipfs/x"] {
        let answer = ask(&world, &host, path, &[]).await;
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::NOT_FOUND, &b"not here"[..]), "{path}");
    }
    for (method, status) in [(Method::OPTIONS, 204), (Method::POST, 405), (Method::DELETE, 405)] {
        let asked = Request::builder().method(method).uri("/v1/files").header("host", &host);
        let answer = world.send(asked.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
    }
    assert_eq!(ask(&world, "nonsense.ipfs.example.com", "/", &[]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ask(&world, "name.ipns.example.com", "/", &[]).await.status, StatusCode::BAD_REQUEST);
    let v0 = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn.ipfs.example.com";
    let v1 = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354.ipfs.example.com";
    assert_eq!(location(&ask(&world, v0, "/a?b", &[]).await), format!("http://{v1}/a?b"), "one origin each");
    // The API is where it always was.
    assert_eq!(ask(&world, "example.com", "/healthz", &[]).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_trusted_proxies_say_which_host_was_asked() {
    let world = World::with(20, config).await;
    let cid = site(&world).await;
    let path = format!("/ipfs/{cid}/");
    let secure = ask(&world, "example.com", &path, &[("x-forwarded-proto", "https")]).await;
    assert_eq!(location(&secure), format!("https://{cid}.ipfs.example.com/"));
    let forwarded = [("x-forwarded-host", "example.com"), ("x-forwarded-proto", "https")];
    let other = ask(&world, "fake.domain.com", &path, &forwarded).await;
    assert_eq!(location(&other), format!("https://{cid}.ipfs.example.com/"));
    let mut claim = request(Method::GET, &path, None, Body::empty());
    claim.headers_mut().insert("host", "fake.domain.com".parse().unwrap());
    claim.headers_mut().insert("x-forwarded-host", "example.com".parse().unwrap());
    assert_eq!(world.send(from_peer(claim, "192.0.2.1")).await.status, StatusCode::OK, "anybody's claim");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_the_ipfs_scheme_are_found() {
    let world = World::with(20, config).await;
    let cid = "QmXoypizjW3WknFiJnKLwHCnL72vedxjQkDDP1mXWo6uco";
    for path in ["/ipfs/", "/ipfs"] {
        let uri = format!("{path}?uri=ipfs%3A%2F%2F{cid}%2Fwiki%2FDiego_Maradona.html");
        let moved = ask(&world, "example.com", &uri, &[]).await;
        assert_eq!(location(&moved), format!("/ipfs/{cid}/wiki/Diego_Maradona.html"));
    }
    for bad in [
        "",
        "?uri=",
        "?uri=https://example.com",
        "?uri=ipns://x",
        "?uri=ipfs://nonsense/x",
        "?uri=ipfs://%0d%0a",
    ] {
        let answer = ask(&world, "other.example", &format!("/ipfs/{bad}"), &[]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_here_and_not_sent_on() {
    let world = World::with(20, |config| config.reads.mode = ReadMode::Redirect).await;
    world.probe().await;
    let file = world.upload("", "x").await.file();
    let path = format!("/ipfs/{}", file.cid);
    let status = async |uri: &str, headers: &[(&str, &str)]| {
        ask(&world, "a.example", uri, headers).await.status.as_u16()
    };
    assert_eq!(status(&path, &[]).await, 307);
    assert_eq!(status(&path, &[("service-worker", "script")]).await, 400);
    assert_eq!(status(&format!("{path}?format=zip"), &[]).await, 400);
    assert_eq!(status(&path, &[("accept", "application/vnd.ipld.car;order=foo")]).await, 406);
    assert_eq!(status(&path, &[("cache-control", "only-if-cached")]).await, 307, "a node may have it");
    let unknown = "/ipfs/bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    assert_eq!(status(unknown, &[]).await, 404);
    assert_eq!(status(unknown, &[("cache-control", "only-if-cached")]).await, 412);
    // What is at hand here is given here.
    assert_eq!(status(&format!("{path}?route=proxy"), &[]).await, 200);
    assert_eq!(status(&path, &[("cache-control", "only-if-cached")]).await, 200);
    let post = world.send(request(Method::POST, &path, None, Body::empty())).await;
    assert_eq!((post.status.as_u16(), &post.headers["allow"]), (405, &"GET, HEAD, OPTIONS".parse().unwrap()));
    assert_eq!(post.headers["access-control-allow-origin"], "*");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_beside_the_api_have_an_origin_of_their_own() {
    let world = World::new().await;
    let file = world.upload("?name=a.html", "<!DOCTYPE html><p>").await.file();
    let answer = ask(&world, "a.example", &format!("/ipfs/{}", file.cid), &[]).await;
    assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("sandbox ") && !policy.contains("allow-same-origin"), "{policy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_the_host_of_a_cid_is_not_counted_as_the_api() {
    let world = World::with(20, config).await;
    let cid = site(&world).await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let router = observed(world.router.clone(), "public");
    let own = format!("{cid}.ipfs.example.com");
    for (host, uri) in [
        (own.as_str(), "/v1/nodes"),
        (own.as_str(), "/"),
        ("name.ipns.example.com", "/v1/nodes"),
        ("example.com", "/v1/nodes"),
    ] {
        let mut request = request(Method::GET, uri, None, Body::empty());
        request.headers_mut().insert("host", host.parse().unwrap());
        router.clone().oneshot(request).await.unwrap();
    }
    let text = recorder.handle().render();
    let counted = |route: &str| {
        let of_route = format!("route=\"{route}\"");
        let counts = text.lines().filter(|line| line.contains("_count{") && line.contains(&of_route));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok()).sum::<u32>()
    };
    let routes = ["{cid}.ipfs/{*path}", "{name}.ipns/{*path}", "/v1/nodes"];
    assert_eq!(routes.map(counted), [2, 1, 1], "{text}");
}
