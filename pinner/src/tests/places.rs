//! What gateways tell of places, and who is told it again.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use client::CallError;
use content::{Cid, Codec, HashFn};
use protocol::{
    api::{BlockPlace, LOCATE_MAX, LocateAnswer, PlacesAnswer, PlacesRequest, SegmentPlace},
    ids::SegmentId,
    order::Action,
    places::Places,
};
use service::job::Job as _;

use super::world::{Request, TestNode, World, is, refused};

const PATIENCE: Duration = Duration::from_secs(5);

fn cid(seed: u8) -> Cid {
    Cid::of(Codec::Raw, HashFn::Sha2_256, &[seed])
}

/// A block in a segment without pieces, as a gateway says where it is.
fn answer(world: &World, places: Option<String>) -> LocateAnswer {
    let block = BlockPlace { cid: cid(1).to_string(), segment: 0, offset: 0, length: 1 };
    let segment = SegmentPlace {
        id: SegmentId([3; 16]),
        scheme: "gf8/4/8".into(),
        length: 100,
        expires: world.clock.now() + PATIENCE,
        pieces: Vec::new(),
        places,
    };
    LocateAnswer { blocks: vec![block], segments: vec![segment] }
}

fn statement(world: &World) -> String {
    let scheme = "gf8/4/8".parse().unwrap();
    let blocks = [(cid(1), 0, 1)];
    let places = Places::new(world.clock.now(), SegmentId([3; 16]), scheme, 100, [], blocks).unwrap();
    places.sign(world.signer.key())
}

fn question(cids: impl IntoIterator<Item = Cid>) -> Bytes {
    let request = PlacesRequest { cids: cids.into_iter().map(|cid| cid.to_string()).collect() };
    serde_json::to_vec(&request).unwrap().into()
}

/// Asks under an order for these very bytes.
async fn ask(world: &World, node: &TestNode, question: Bytes) -> Result<PlacesAnswer, CallError> {
    let order = world.order(node, Action::Places(*blake3::hash(&question).as_bytes()), 0);
    world.nodes().places(&node.url, &order, question, PATIENCE).await
}

#[tokio::test]
async fn what_a_gateway_signed_is_kept_and_told_again() {
    let world = World::new();
    let gateway = world.gateway();
    let node = world.node(1);
    node.pinner.enrol().step().await.unwrap();
    // As an older gateway answers.
    *gateway.places.lock() = answer(&world, None);
    let read = || Request::get(format!("/ipfs/{}", cid(1))).body(Body::empty()).unwrap();
    assert_eq!(node.ask(read()).await.status(), 503, "there are no pieces");
    node.pinner.write_directory().step().await.unwrap();
    assert_eq!(ask(&world, &node, question([cid(1)])).await, Ok(PlacesAnswer::default()));

    world.clock.advance(Duration::from_mins(6));
    let told = statement(&world);
    *gateway.places.lock() = answer(&world, Some(told.clone()));
    assert_eq!(node.ask(read()).await.status(), 503);
    node.pinner.write_directory().step().await.unwrap();
    let found = ask(&world, &node, question([cid(2), cid(1), cid(1)])).await.unwrap();
    assert_eq!(found.places, [told]);
    assert_eq!(ask(&world, &node, question([cid(2)])).await.unwrap().places, Vec::<String>::new());
}

#[tokio::test]
async fn only_who_has_an_order_for_this_question_is_told() {
    let world = World::new();
    let node = world.node(1);
    let (asked, other) = (question([cid(1)]), question([cid(2)]));
    let digest = *blake3::hash(&asked).as_bytes();
    for action in [Action::List, Action::Audit(digest), Action::Delete(digest)] {
        let order = world.order(&node, action, 0);
        let outcome = world.nodes().places(&node.url, &order, asked.clone(), PATIENCE).await;
        assert_eq!(refused(outcome), is(403, "order_refused"));
    }
    let order = world.order(&node, Action::Places(digest), 0);
    let outcome = world.nodes().places(&node.url, &order, other, PATIENCE).await;
    assert_eq!(refused(outcome), is(403, "order_refused"));
    let response = node.ask(Request::post("/v1/places").body(Body::from(asked)).unwrap()).await;
    assert_eq!(response.status(), 401);
    // Under an order as well a question has a form and a length.
    for wrong in [Bytes::from_static(b"{"), Bytes::from_static(br#"{"cids": ["x"]}"#)] {
        assert_eq!(refused(ask(&world, &node, wrong).await), is(400, "bad_body"));
    }
    let many = question(std::iter::repeat_n(cid(1), LOCATE_MAX + 1));
    assert_eq!(refused(ask(&world, &node, many).await), is(400, "bad_body"));
    let long = Bytes::from(vec![b' '; 1 << 20]);
    assert_eq!(refused(ask(&world, &node, long).await), is(413, "body_too_large"));
}
