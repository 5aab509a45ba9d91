//! Sending readers to nodes: near ones, live ones, with tickets that are good there and nowhere else.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use protocol::{api::TICKET_PARAMETER, ticket::Ticket};
use testing::{FakeNode, Mode};

use super::world::{Answer, World, from_peer, request, until};
use crate::ReadMode;

async fn ask(world: &World, peer: &str, uri: &str) -> Answer {
    world.send(from_peer(request(Method::GET, uri, None, Body::empty()), peer)).await
}

/// The node that an answer leads to, and the path and query there.
fn target<'w>(world: &'w World, answer: &Answer) -> (&'w FakeNode, String, Vec<(String, String)>) {
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "{answer:?}");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let location = answer.headers[header::LOCATION].to_str().unwrap();
    let node =
        world.network.nodes().iter().find(|node| location.starts_with(&format!("{}/", node.url()))).unwrap();
    let url = url::Url::parse(location).unwrap();
    (node, url.path().to_string(), url.query_pairs().into_owned().collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_go_to_nodes_of_their_region() {
    let world = World::with(20, |config| config.reads.mode = ReadMode::Redirect).await;
    world.probe().await;
    let mut chosen = BTreeSet::new();
    for number in 0..10 {
        let file = world.upload("", format!("file {number}")).await.file();
        for region in 1..=3 {
            let answer = ask(&world, &format!("127.{region}.77.9"), &format!("/ipfs/{}", file.cid)).await;
            let (node, path, _) = target(&world, &answer);
            assert!(node.url().starts_with(&format!("http://127.{region}.")), "{}", node.url());
            assert_eq!(path, format!("/ipfs/{}", file.cid));
            chosen.insert(node.id());
            let again = ask(&world, &format!("127.{region}.1.1"), &format!("/ipfs/{}", file.cid)).await;
            assert_eq!(target(&world, &again).0.id(), node.id(), "what one reader warmed the next one uses");
        }
    }
    assert!(chosen.len() > 6, "different files go to different nodes: {}", chosen.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_do_not_answer_are_passed_over() {
    let world = World::with(20, |config| config.reads.mode = ReadMode::Redirect).await;
    world.probe().await;
    let file = world.upload("", "x").await.file();
    let uri = format!("/ipfs/{}", file.cid);
    let (first, ..) = target(&world, &ask(&world, "127.1.0.9", &uri).await);
    let number = world.network.nodes().iter().position(|node| node.id() == first.id()).unwrap();
    world.network.set([number], Mode::Dead);
    world.probe().await;
    let (second, ..) = target(&world, &ask(&world, "127.1.0.9", &uri).await);
    assert_ne!(second.id(), first.id());
    assert!(second.url().starts_with("http://127.1."), "still in the region");
    // All dead, and nobody has noticed: the gateway serves it, or says honestly that it cannot.
    world.network.set(0..20, Mode::Dead);
    world.probe().await;
    let answer = ask(&world, "127.1.0.9", &uri).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_not_heard_of_lately_is_asked_first() {
    let world = World::with(20, |config| {
        config.reads.mode = ReadMode::Redirect;
        config.reads.confirm_after = std::time::Duration::ZERO;
    })
    .await;
    world.probe().await;
    let file = world.upload("", "x").await.file();
    let uri = format!("/ipfs/{}", file.cid);
    // Dead since the last round of probes: nobody is sent there.
    for _ in 0..6 {
        let (node, ..) = target(&world, &ask(&world, "127.1.0.9", &uri).await);
        assert_ne!(node.mode(), Mode::Dead);
        node.set(Mode::Dead);
        // What was heard in this very millisecond still counts.
        let heard = world.gateway.clock.now();
        until(async || world.gateway.clock.now() > heard).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_hold_for_the_node_and_the_file() {
    let world = World::new().await;
    world.probe().await;
    let file = world.upload("", "some bytes").await.file();
    let uri =
        format!("/ipfs/{}/a%20b/c?route=redirect&filename=x%26y.txt&ticket=forged&download=true", file.cid);
    let (node, path, query) = target(&world, &ask(&world, "127.2.0.9", &uri).await);
    assert_eq!(path, format!("/ipfs/{}/a%20b/c", file.cid), "as it came");
    let (ticket, rest) = query.split_last().unwrap();
    let kept: Vec<(&str, &str)> = rest.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(kept, [("filename", "x&y.txt"), ("download", "true")], "ours are taken out");
    assert_eq!(ticket.0, TICKET_PARAMETER);
    let network_key = world.network.signer().public_key();
    let now = world.gateway.clock.now();
    let cid: content::Cid = file.cid.parse().unwrap();
    let read = Ticket::verify(&network_key, node.id(), &ticket.1).unwrap();
    assert_eq!(read.check(cid.as_bytes(), now), Ok(()));
    let other = world.network.nodes().iter().find(|other| other.id() != node.id()).unwrap();
    assert!(Ticket::verify(&network_key, other.id(), &ticket.1).is_err());
    assert!(read.expires > now && read.expires <= now + world.gateway.config.reads.ticket_lifetime);
    assert!(read.bytes_max >= 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_decides_over_the_configuration() {
    let world = World::with(20, |config| config.reads.mode = ReadMode::Redirect).await;
    world.probe().await;
    let file = world.upload("", "x").await.file();
    let ask = async |query: &str| ask(&world, "127.1.0.9", &format!("/ipfs/{}{query}", file.cid)).await;
    assert_eq!(ask("").await.status, StatusCode::TEMPORARY_REDIRECT);
    let proxied = ask("?route=proxy").await;
    assert_eq!((proxied.status, &proxied.body[..]), (StatusCode::OK, &b"x"[..]));
    assert_eq!(proxied.headers.get_all("access-control-allow-origin").iter().count(), 1);
    assert_eq!(ask("?route=redirect").await.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(ask("?route=somewhere").await.status, StatusCode::BAD_REQUEST);
    let head =
        from_peer(request(Method::HEAD, &format!("/ipfs/{}", file.cid), None, Body::empty()), "127.1.0.9");
    assert_eq!(world.send(head).await.status, StatusCode::TEMPORARY_REDIRECT);
    let options = request(Method::OPTIONS, &format!("/ipfs/{}", file.cid), None, Body::empty());
    let options = world.send(options).await;
    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert_eq!(options.headers["access-control-allow-methods"], "GET, HEAD, OPTIONS");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_trusted_proxies_say_where_a_reader_is() {
    let world = World::with(20, |config| {
        config.reads.mode = ReadMode::Redirect;
        config.reads.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    world.probe().await;
    let file = world.upload("", "x").await.file();
    let ask = async |peer: &str, forwarded: &str| {
        let mut request = request(Method::GET, &format!("/ipfs/{}", file.cid), None, Body::empty());
        request.headers_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
        let answer = world.send(from_peer(request, peer)).await;
        target(&world, &answer).0.url().to_string()
    };
    assert!(ask("10.0.0.1", "127.3.0.9").await.starts_with("http://127.3."));
    assert!(ask("127.2.0.9", "127.3.0.9").await.starts_with("http://127.2."), "its own claim counts nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_holds_its_place_until_the_last_byte() {
    let world = World::with(20, |config| config.reads.reads_max = 1).await;
    let file = world.upload("", "x").await.file();
    let uri = format!("/ipfs/{}", file.cid);
    let first =
        tower::ServiceExt::oneshot(world.router.clone(), request(Method::GET, &uri, None, Body::empty()));
    let first = first.await.unwrap();
    let second = world.send(request(Method::GET, &uri, None, Body::empty())).await;
    assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(second.headers[header::RETRY_AFTER], "1");
    drop(first);
    assert_eq!(world.send(request(Method::GET, &uri, None, Body::empty())).await.status, StatusCode::OK);
}
