use std::time::Duration;

use erasure::{Codec, Scheme};
use proptest::prelude::*;

use super::*;
use crate::ids::SegmentId;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn order(action: Action) -> Order {
    Order {
        node: NodeId([1; 32]),
        serial: Serial([2; 16]),
        issued: UnixMillis(1_000_000),
        expires: UnixMillis(1_060_000),
        bytes_max: 4096,
        action,
    }
}

fn meta() -> PieceMeta {
    PieceMeta {
        hash: PieceHash([9; 32]),
        segment: SegmentId([4; 16]),
        index: 19,
        scheme: Scheme::new(Codec::Gf8, 8, 20).unwrap(),
        segment_len: 1 << 20,
    }
}

#[test]
fn every_action_survives_signing() {
    for action in [
        Action::Put(meta()),
        Action::Get(PieceHash([5; 32]), Purpose::Read),
        Action::Get(PieceHash([5; 32]), Purpose::Repair),
        Action::Get(PieceHash([5; 32]), Purpose::Audit),
        Action::Audit([6; 32]),
        Action::Delete([7; 32]),
        Action::List,
        Action::Places([8; 32]),
    ] {
        let order = order(action);
        assert_eq!(Order::verify(&key().verifying_key(), &order.sign(&key())), Ok(order));
    }
}

#[test]
fn an_order_is_refused_elsewhere_and_out_of_time() {
    let order = order(Action::List);
    let inside = UnixMillis(1_030_000);
    assert_eq!(order.check(order.node, inside), Ok(()));
    assert_eq!(order.check(NodeId([8; 32]), inside), Err(OrderError::WrongNode(order.node)));
    assert_eq!(order.check(order.node, order.expires), Err(OrderError::Expired(order.expires)));
    let early = order.issued - CLOCK_SKEW_MAX - Duration::from_millis(1);
    assert_eq!(order.check(order.node, early), Err(OrderError::FromTheFuture(order.issued)));
}

#[test]
fn a_put_for_an_impossible_piece_is_malformed() {
    let mut bad = meta();
    bad.index = 20;
    assert_eq!(
        Order::verify(&key().verifying_key(), &order(Action::Put(bad)).sign(&key())),
        Err(TokenError::Malformed)
    );
}

proptest! {
    #[test]
    fn arbitrary_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let token = token::sign(&key(), DOMAIN, &payload);
        let _ = Order::verify(&key().verifying_key(), &token);
    }
}
