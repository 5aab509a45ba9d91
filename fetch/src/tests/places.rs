//! Where requests go, and where they do not.

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use parking_lot::Mutex;

use super::{
    config,
    dags::{cids, directory, raw},
    fetch, fetcher,
    memory::Memory,
    named,
    server::{Server, redirect},
};
use crate::{FetchConfig, FetchError};

async fn leading(to: impl Fn(&str) -> String + Send + Sync + Clone + 'static) -> Server {
    Server::start(move |asked| {
        let response: Response = redirect(&to(&format!("ipfs/{}?{}", asked.cid, asked.query)));
        std::future::ready(response)
    })
    .await
}

#[tokio::test]
async fn redirects_are_followed() {
    let (blocks, root) = directory(3);
    let server = Server::whole(&blocks).await;
    let url = server.url();
    let from = leading(move |path| format!("{url}/{path}")).await;
    let (outcome, memory) = fetch(config(&[&server, &from]), &root, &[&from]).await;
    outcome.unwrap();
    assert_eq!(memory.cids(), cids(&blocks));
}

#[tokio::test]
async fn redirects_are_counted() {
    // A relative one, to itself.
    let server = leading(|path| format!("/again/{path}")).await;
    let (outcome, _) = fetch(config(&[&server]), &raw("a").cid, &[&server]).await;
    let failure = outcome.unwrap_err();
    assert!(failure.to_string().ends_with("redirects too often or to nowhere"), "{failure}");
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn redirects_to_where_nobody_may_go_are_refused() {
    let block = raw("a secret of this machine");
    let inside = Server::whole(std::slice::from_ref(&block)).await;
    let port = inside.port;
    for (to, reason) in [
        // The port is not among those that may be asked.
        (format!("http://127.0.0.1:{port}"), format!("port {port} is not allowed")),
        ("http://10.0.0.1:80".into(), "its address is not public".into()),
        ("http://[::1]:80".into(), "its address is not public".into()),
        ("http://169.254.169.254:80".into(), "its address is not public".into()),
        ("http://inside.test:80".into(), "its address is not public".into()),
        ("ftp://public.test".into(), "only http and https are fetched from".into()),
        (
            "http://me:secret@public.test:80".into(),
            "a url with a user name or password is not fetched from".into(),
        ),
    ] {
        let server = leading(move |path| format!("{to}/{path}")).await;
        let config = FetchConfig { ports: vec![80, server.port], ..config(&[]) };
        let fetcher = named(config, &[("inside.test", &["192.168.0.1"]), ("public.test", &["1.1.1.1"])]);
        let failure = fetcher.fetch(&block.cid, &[server.url()], &mut Memory::default()).await.unwrap_err();
        assert_eq!(failure.to_string(), format!("no source may be asked: 127.0.0.1 not allowed: {reason}"));
        assert_eq!(server.asked().len(), 1, "it is not asked again either");
    }
    assert_eq!(inside.asked().len(), 0);
}

#[tokio::test]
async fn origins_where_nobody_may_go_are_refused() {
    let block = raw("a secret of this machine");
    let inside = Server::whole(std::slice::from_ref(&block)).await;
    let port = inside.port;
    // Nothing is allowed besides the public internet.
    let config = FetchConfig { allow_networks: Vec::new(), ..config(&[&inside]) };
    let names: [(&str, &[&str]); 2] = [
        ("localhost", &["127.0.0.1", "::1"]),
        ("rebound.test", &["127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1"]),
    ];
    for origin in [
        inside.url(),
        format!("/ip4/127.0.0.1/tcp/{port}/http"),
        format!("http://2130706433:{port}"),
        format!("http://127.0.0.1.:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("http://localhost:{port}"),
        format!("/dns4/rebound.test/tcp/{port}/http"),
    ] {
        let fetcher = named(config.clone(), &names);
        let outcome = fetcher.fetch(&block.cid, std::slice::from_ref(&origin), &mut Memory::default()).await;
        assert!(matches!(outcome, Err(FetchError::Refused { .. })), "{origin}: {outcome:?}");
    }
    assert_eq!(inside.asked().len(), 0);
}

#[tokio::test]
async fn of_the_addresses_of_a_name_only_those_are_used_that_are_allowed() {
    let block = raw("a");
    let server = Server::whole(std::slice::from_ref(&block)).await;
    let names: [(&str, &[&str]); 1] = [("mixed.test", &["10.255.255.1", "fe80::1", "127.0.0.1"])];
    // The others would not answer in this time.
    let config = FetchConfig { connect_timeout: Duration::from_secs(20), ..config(&[&server]) };
    let origin = format!("http://mixed.test:{}", server.port);
    let mut memory = Memory::default();
    named(config, &names).fetch(&block.cid, &[origin], &mut memory).await.unwrap();
    assert_eq!(memory.put, [block]);
    assert_eq!(server.asked()[0].headers["host"], format!("mixed.test:{}", server.port));
}

#[tokio::test]
async fn an_unknown_name_is_no_connection() {
    let origins = ["https://nowhere.test".to_owned()];
    let config = FetchConfig { ports: vec![443], ..config(&[]) };
    let failure = fetcher(config).fetch(&raw("a").cid, &origins, &mut Memory::default()).await.unwrap_err();
    assert!(failure.to_string().ends_with(": nowhere.test no connection"), "{failure}");
}

/// Our own gateways are not named to those who did not name them.
#[tokio::test]
async fn messages_do_not_name_our_gateways() {
    let seen: Arc<Mutex<u32>> = Arc::default();
    let count = Arc::clone(&seen);
    let server = Server::start(move |_| {
        *count.lock() += 1;
        std::future::ready(axum::response::IntoResponse::into_response(axum::http::StatusCode::IM_A_TEAPOT))
    })
    .await;
    let config = FetchConfig { gateways: vec![server.url()], ..config(&[]) };
    let failure = fetcher(config).fetch(&raw("a").cid, &[], &mut Memory::default()).await.unwrap_err();
    assert!(failure.to_string().ends_with(": our gateway answered with status 418"), "{failure}");
    assert_eq!(*seen.lock(), 1);
}
