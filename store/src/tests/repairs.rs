//! The repair queue.

use super::{
    engines::both_engines,
    fixtures::{NOW, later, segment_id},
};
use crate::Db;

both_engines!(the_most_urgent_repair_is_claimed_first, a_claim_ends_and_a_repair_can_be_postponed);

async fn claim(db: &Db, seconds: u64, until: u64, limit: u32) -> Vec<(protocol::ids::SegmentId, u32)> {
    let jobs = db.claim_repairs("monitor", later(seconds), later(until), limit).await.expect("claim");
    jobs.into_iter().map(|job| (job.segment, job.attempts)).collect()
}

async fn the_most_urgent_repair_is_claimed_first(db: Db) {
    assert!(claim(&db, 0, 1, 9).await.is_empty());
    for (number, urgency) in [(1, 5.0), (2, 0.5), (3, 50.0), (4, 7.0)] {
        db.queue_repair(segment_id(number), urgency, NOW).await.expect("queue");
    }
    db.queue_repair(segment_id(3), 0.1, NOW).await.expect("it became urgent");
    assert_eq!(db.repairs_waiting().await.expect("repairs"), 4);
    assert_eq!(claim(&db, 0, 10, 2).await, [(segment_id(3), 0), (segment_id(2), 0)]);
    assert_eq!(claim(&db, 0, 10, 9).await, [(segment_id(1), 0), (segment_id(4), 0)]);
    assert!(claim(&db, 9, 20, 9).await.is_empty(), "all are in work");
    // Urgency may change while a repair is in work; that does not free it.
    db.queue_repair(segment_id(1), 0.01, later(2)).await.expect("queue");
    assert!(claim(&db, 9, 20, 9).await.is_empty());
    db.finish_repair(segment_id(2)).await.expect("finish");
    assert_eq!(db.repairs_waiting().await.expect("repairs"), 3);
}

async fn a_claim_ends_and_a_repair_can_be_postponed(db: Db) {
    db.queue_repair(segment_id(1), 1.0, NOW).await.expect("queue");
    assert_eq!(claim(&db, 0, 10, 9).await.len(), 1);
    assert_eq!(claim(&db, 10, 20, 9).await, [(segment_id(1), 0)], "its holder went away");
    db.postpone_repair(segment_id(1), later(100)).await.expect("postpone");
    assert!(claim(&db, 99, 120, 9).await.is_empty());
    assert_eq!(claim(&db, 100, 120, 9).await, [(segment_id(1), 1)]);
    db.postpone_repair(segment_id(9), later(100)).await.expect("nothing to postpone");
    db.finish_repair(segment_id(1)).await.expect("finish");
    assert!(claim(&db, 999, 1000, 9).await.is_empty());
}
