//! Enrolment, heartbeats, contacts, reputation and visits.

use super::{
    engines::both_engines,
    fixtures::{NOW, enrol_nodes, later, new_node, node_id},
};
use crate::{Db, Heartbeat, InviteError, NewNode, Visit};

both_engines!(
    an_invitation_admits_as_many_nodes_as_it_says,
    a_known_node_moves_without_an_invitation,
    one_node_enrolling_at_once_uses_one_place,
    heartbeats_and_contacts_are_recorded,
    reputation_is_replaced_by_compare_and_swap,
    visits_are_claimed_when_due,
    a_visit_can_be_moved,
    a_sweep_remembers_how_far_it_came,
);

async fn an_invitation_admits_as_many_nodes_as_it_says(db: Db) {
    db.create_invite("two", "alice", 2, NOW, later(10)).await.expect("invite");
    db.create_invite("old", "bob", 2, NOW, later(5)).await.expect("invite");
    let enrol = async |number, invite: Option<&str>, seconds| {
        db.enrol(&new_node(number), invite, later(seconds)).await.expect("enrol")
    };
    let may = async |number, invite: Option<&str>, seconds| {
        db.may_enrol(node_id(number), invite, later(seconds)).await.expect("may enrol")
    };
    assert!(!may(1, None, 0).await && !may(1, Some("unknown"), 0).await && !may(1, Some("old"), 5).await);
    assert!(may(1, Some("two"), 9).await, "asking uses up nothing");
    let refused = Err(InviteError::Refused);
    assert_eq!(enrol(1, None, 0).await, refused);
    assert_eq!(enrol(1, Some("unknown"), 0).await, refused);
    assert_eq!(enrol(1, Some("old"), 5).await, refused, "expired at that moment");
    assert_eq!(enrol(1, Some("two"), 9).await, Ok(()));
    assert_eq!(enrol(1, Some("two"), 9).await, Ok(()), "a known node uses up nothing");
    assert_eq!(enrol(2, Some("two"), 9).await, Ok(()));
    assert_eq!(enrol(3, Some("two"), 9).await, refused, "used up");
    assert!(!may(3, Some("two"), 9).await);
    assert!(may(1, None, 9999).await, "a known node always may");

    let nodes = db.nodes().await.expect("nodes");
    assert_eq!(nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [node_id(1), node_id(2)]);
    assert_eq!(nodes[0].operator, "alice");
    assert_eq!((nodes[0].enrolled, nodes[0].contact, nodes[0].offline), (later(9), later(9), None));
    assert_eq!((nodes[0].latitude, nodes[0].longitude), (Some(52.5), None));
    assert!(db.node(node_id(3)).await.expect("node").is_none());
}

async fn a_known_node_moves_without_an_invitation(db: Db) {
    enrol_nodes(&db, 1).await;
    let moved = NewNode {
        url: "http://elsewhere".to_string(),
        region: "us".to_string(),
        country: None,
        standing: "ignored".to_string(),
        reputation: "ignored".to_string(),
        ..new_node(0)
    };
    db.enrol(&moved, None, later(7)).await.expect("enrol").expect("known");
    let node = db.node(node_id(0)).await.expect("node").expect("known");
    assert_eq!((node.url.as_str(), node.region.as_str(), node.country), ("http://elsewhere", "us", None));
    assert_eq!((node.operator.as_str(), node.enrolled, node.heartbeat), ("operator", NOW, later(7)));
    assert_eq!(node.standing, "vetting", "what it has earned stays with it");
}

async fn one_node_enrolling_at_once_uses_one_place(db: Db) {
    db.create_invite("two", "alice", 2, NOW, later(10)).await.expect("invite");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let db = db.clone();
        tasks.spawn(async move { db.enrol(&new_node(1), Some("two"), NOW).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.expect("no panic").expect("no error").expect("admitted");
    }
    assert_eq!(db.nodes().await.expect("nodes").len(), 1);
    db.enrol(&new_node(2), Some("two"), NOW).await.expect("enrol").expect("a place is left");
    db.enrol(&new_node(3), Some("two"), NOW).await.expect("enrol").expect_err("but no more");
}

async fn heartbeats_and_contacts_are_recorded(db: Db) {
    enrol_nodes(&db, 1).await;
    let beat = Heartbeat {
        version: "2".to_string(),
        capacity_bytes: 9,
        used_bytes: 4,
        free_bytes: 5,
        piece_count: 3,
    };
    assert!(db.heartbeat(node_id(0), &beat, later(3)).await.expect("beat"));
    assert!(!db.heartbeat(node_id(9), &beat, later(3)).await.expect("beat"));
    let node = async || db.node(node_id(0)).await.expect("node").expect("known");
    let now = node().await;
    assert_eq!((now.used_bytes, now.free_bytes, now.piece_count, now.heartbeat), (4, 5, 3, later(3)));

    db.record_contact(node_id(0), false, later(4)).await.expect("contact");
    db.record_contact(node_id(0), false, later(9)).await.expect("contact");
    assert_eq!((node().await.offline, node().await.contact), (Some(later(4)), NOW), "since the first miss");
    db.record_contact(node_id(0), true, later(10)).await.expect("contact");
    assert_eq!((node().await.offline, node().await.contact), (None, later(10)));
}

async fn reputation_is_replaced_by_compare_and_swap(db: Db) {
    enrol_nodes(&db, 1).await;
    let revision = db.node(node_id(0)).await.expect("node").expect("known").revision;
    assert!(db.set_reputation(node_id(0), revision, "good", "{1}").await.expect("set"));
    assert!(!db.set_reputation(node_id(0), revision, "bad", "{2}").await.expect("set"), "read too early");
    let node = db.node(node_id(0)).await.expect("node").expect("known");
    assert_eq!((node.standing.as_str(), node.reputation.as_str()), ("good", "{1}"));
    assert!(db.set_reputation(node_id(0), node.revision, "bad", "{2}").await.expect("set"));
}

async fn visits_are_claimed_when_due(db: Db) {
    enrol_nodes(&db, 3).await;
    let claim = async |visit, seconds, next, limit| {
        db.claim_visits(visit, later(seconds), later(next), limit).await.expect("claim")
    };
    assert_eq!(claim(Visit::Probe, 0, 10, 2).await, [node_id(0), node_id(1)]);
    assert_eq!(claim(Visit::Probe, 0, 20, 2).await, [node_id(2)]);
    assert!(claim(Visit::Probe, 9, 30, 9).await.is_empty());
    assert_eq!(claim(Visit::Audit, 0, 10, 9).await.len(), 3, "each kind has its own times");
    assert_eq!(claim(Visit::Reconcile, 0, 10, 9).await.len(), 3);
    assert_eq!(claim(Visit::Probe, 10, 30, 9).await, [node_id(0), node_id(1)]);
    assert_eq!(claim(Visit::Probe, 30, 40, 1).await, [node_id(2)], "the longest due first");
}

async fn a_visit_can_be_moved(db: Db) {
    enrol_nodes(&db, 2).await;
    for visit in [Visit::Probe, Visit::Audit, Visit::Reconcile] {
        assert_eq!(db.claim_visits(visit, NOW, later(60), 9).await.expect("claim").len(), 2);
        db.schedule_visit(node_id(1), visit, later(5)).await.expect("schedule");
        assert!(db.claim_visits(visit, later(4), later(60), 9).await.expect("claim").is_empty());
        assert_eq!(db.claim_visits(visit, later(5), later(60), 9).await.expect("claim"), [node_id(1)]);
    }
}

async fn a_sweep_remembers_how_far_it_came(db: Db) {
    enrol_nodes(&db, 2).await;
    assert_eq!(db.sweep_cursor(node_id(0)).await.expect("cursor"), None);
    db.set_sweep_cursor(node_id(0), Some("aa")).await.expect("set");
    assert_eq!(db.sweep_cursor(node_id(0)).await.expect("cursor").as_deref(), Some("aa"));
    let begun = db.sweep_cursors().await.expect("cursors");
    assert_eq!(begun.into_iter().collect::<Vec<_>>(), [(node_id(0), "aa".to_string())]);
    db.set_sweep_cursor(node_id(0), None).await.expect("set");
    assert!(db.sweep_cursors().await.expect("cursors").is_empty());
    assert_eq!(db.sweep_cursor(node_id(0)).await.expect("cursor"), None);
    assert_eq!(db.sweep_cursor(node_id(9)).await.expect("cursor"), None);
}
