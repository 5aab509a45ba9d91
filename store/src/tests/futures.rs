//! Every future of the store can be sent to another thread: servers spawn them.

use protocol::ids::PieceHash;

use super::fixtures::{NOW, cid, node_id, piece_hash, segment_id, slot};
use crate::{Db, DbOptions, Earning, Visit};

fn is_send(_: impl Send) {}

#[tokio::test]
async fn all_futures_are_send() {
    let db = Db::open(&DbOptions::new("sqlite::memory:")).await.expect("open");
    let amount = |_: Earning, carry: u64| (0, carry);
    let (node, root, hash) = (node_id(1), cid(1), piece_hash(1, 1));
    is_send(Db::open(&DbOptions::new("")));
    is_send(db.migrate());
    is_send(db.ping());
    is_send(db.close());
    is_send(db.commit(&[], &[], &[], NOW, NOW));
    is_send(db.extend_leases(&[], &[], NOW));
    is_send(db.locate(std::slice::from_ref(&root)));
    is_send(db.root_segments(&root));
    is_send(db.pin("", &root));
    is_send(db.pins("", None, 1));
    is_send(db.unpin("", &root, NOW));
    is_send(db.expire_pin("", "", NOW, NOW));
    is_send(db.expired_pins(NOW, 1));
    is_send(db.set_lost(segment_id(1), true));
    is_send(db.collect_segment(segment_id(1), NOW));
    is_send(db.segments_after(None, 1));
    is_send(db.held_pieces(node, PieceHash([0; 32]), 1));
    is_send(db.known_pieces(node, &[hash]));
    is_send(db.move_piece(slot(1, 1), hash, None, node, NOW));
    is_send(db.lose_pieces(node, &[], NOW));
    is_send(db.queue_unpins(node, &[hash], NOW));
    is_send(db.finish_unpins(node, &[]));
    is_send(db.claim_visits(Visit::Probe, NOW, NOW, 1));
    is_send(db.schedule_visit(node, Visit::Probe, NOW));
    is_send(db.may_enrol(node, None, NOW));
    is_send(db.claim_repairs("", NOW, NOW, 1));
    is_send(db.record_passed(node, &[], NOW, amount));
    is_send(db.settle_window(node, NOW, &[], NOW, amount));
    is_send(db.record_events(&[]));
}
