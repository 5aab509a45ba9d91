//! Batches of challenges, judged as a monitor judges them.

use std::time::Duration;

use bytes::Bytes;
use client::CallError;
use protocol::{
    audit::{Batch, Challenge, Fault, Outcome, Reply, Verdict, judge},
    ids::PieceHash,
    order::Action,
    time::UnixMillis,
    unpin::PieceUnpin,
};

use super::world::{Piece, TestNode, World, is, refused};
use crate::piece_store::{Behaviour, PieceStore as _};

async fn visit(world: &World, node: &TestNode, batch: &Batch) -> Outcome {
    let body = Bytes::from(batch.encode().unwrap());
    let max = batch.answers_len_max();
    let order = world.order(node, Action::Audit(*blake3::hash(&body).as_bytes()), max as u64);
    let answer = world.nodes().audit(&node.url, &order, body, max, Duration::from_secs(5)).await.unwrap();
    judge(batch, Reply::Body(&answer))
}

fn challenge(piece: &Piece) -> Challenge {
    Challenge { hash: piece.meta.hash, piece_len: piece.len() }
}

#[tokio::test]
async fn an_honest_node_passes_and_admits_what_it_lost() {
    let world = World::new();
    let node = world.node(1);
    let pieces: Vec<Piece> = (0..40).map(|seed| Piece::random(seed, 200 + seed * 3000)).collect();
    for piece in &pieces {
        world.put(&node, piece).await.unwrap();
    }
    let challenges: Vec<Challenge> = pieces.iter().map(challenge).collect();
    let batch = Batch { nonce: [7; 32], challenges };
    assert_eq!(visit(&world, &node, &batch).await, Outcome::Answered(vec![Verdict::Passed; 40]));

    // Pieces of one chunk: whichever chunk is asked for, the damage is in it.
    let (damaged, deleted) = (&pieces[0], &pieces[1]);
    node.store.flip_bit(damaged.meta.hash, 3);
    let unpin = PieceUnpin { hash: deleted.meta.hash, stored_before: UnixMillis(i64::MAX) };
    node.store.delete(vec![unpin]).await.unwrap();
    let wrong_len = Challenge { piece_len: 77, ..batch.challenges[5] };
    let challenges = vec![batch.challenges[0], batch.challenges[1], wrong_len, batch.challenges[9]];
    let expected = vec![
        Verdict::Failed(Fault::Admitted),
        Verdict::Failed(Fault::NotFound),
        Verdict::Unknown,
        Verdict::Passed,
    ];
    let batch = Batch { nonce: [8; 32], challenges };
    assert_eq!(visit(&world, &node, &batch).await, Outcome::Answered(expected));
    assert_eq!(node.store.problems(10).unwrap(), [damaged.meta.hash]);
}

#[tokio::test]
async fn a_lie_does_not_pass() {
    let world = World::new();
    let node = world.node(1);
    let piece = Piece::random(1, 50_000);
    world.put(&node, &piece).await.unwrap();
    node.store.set_behaviour(Behaviour::Lies);
    let batch = Batch { nonce: [7; 32], challenges: vec![challenge(&piece)] };
    assert_eq!(
        visit(&world, &node, &batch).await,
        Outcome::Answered(vec![Verdict::Failed(Fault::WrongBytes)])
    );
}

#[tokio::test]
async fn only_the_ordered_batch_is_answered() {
    let world = World::new();
    let node = world.node(1);
    let challenges = vec![Challenge { hash: PieceHash([1; 32]), piece_len: 5000 }];
    let body = Bytes::from(Batch { nonce: [7; 32], challenges: challenges.clone() }.encode().unwrap());
    let other = Bytes::from(Batch { nonce: [8; 32], challenges }.encode().unwrap());
    let digest = *blake3::hash(&body).as_bytes();
    let ask = async |order: String, body: &Bytes| -> Result<Bytes, CallError> {
        world.nodes().audit(&node.url, &order, body.clone(), 1 << 20, Duration::from_secs(5)).await
    };
    let order = |action, bytes_max| world.order(&node, action, bytes_max);
    assert_eq!(refused(ask(order(Action::Audit(digest), 9999), &other).await), is(403, "order_refused"));
    assert_eq!(refused(ask(order(Action::Delete(digest), 9999), &body).await), is(403, "order_refused"));
    assert_eq!(refused(ask(order(Action::Audit(digest), 100), &body).await), is(403, "order_refused"));
    let nonsense = Bytes::from_static(b"nonsense");
    let digest_of_nonsense = *blake3::hash(&nonsense).as_bytes();
    assert_eq!(
        refused(ask(order(Action::Audit(digest_of_nonsense), 100), &nonsense).await),
        is(400, "bad_batch")
    );
    let long = Bytes::from(vec![0; Batch::body_len_max() + 1]);
    let digest_of_long = *blake3::hash(&long).as_bytes();
    assert_eq!(
        refused(ask(order(Action::Audit(digest_of_long), 100), &long).await),
        is(413, "body_too_large")
    );
    ask(order(Action::Audit(digest), 9999), &body).await.unwrap();
}
