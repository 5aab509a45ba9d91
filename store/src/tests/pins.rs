//! Listing, removing and expiring pins.

use super::{
    engines::both_engines,
    fixtures::{
        NOW, account, cid, commit, later, repeated, segment, segment_id, state, store_file, upload, used,
    },
};
use crate::{Committed::Created, Db, SegmentState, UploadMetadata};

both_engines!(
    pages_walk_through_equal_timestamps,
    unpinning_frees_the_account_and_orphans_what_nobody_needs,
    a_shared_segment_lives_until_its_last_root_goes,
    a_shared_root_lives_until_its_last_pin_goes,
    expired_pins_are_found_and_removed,
    a_pin_made_to_stay_is_not_expired,
);

async fn pages_walk_through_equal_timestamps(db: Db) {
    account(&db, "a", 1000).await;
    account(&db, "b", 1000).await;
    // Seven pins of the same millisecond, then three later ones; another account's pin lies between.
    let first: Vec<UploadMetadata> = (0..7).map(|root| upload("a", root, 1, &[1])).collect();
    commit(&db, &[segment(1)], &first).await;
    let second: Vec<UploadMetadata> = (7..10).map(|root| repeated("a", root, 1, &[1])).collect();
    db.commit(&[], &[], &second, later(1), later(2)).await.expect("commit");
    commit(&db, &[], &[repeated("b", 3, 1, &[1])]).await;
    // Another call in the very same millisecond.
    commit(&db, &[], &[repeated("a", 10, 1, &[1]), repeated("a", 11, 1, &[1])]).await;

    for limit in [1, 3, 7, 10, 11] {
        let (mut walked, mut cursor) = (Vec::new(), None);
        loop {
            let page = db.pins("a", cursor.as_ref(), limit).await.expect("page");
            assert!(page.pins.len() <= limit as usize);
            walked.extend(page.pins);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let keys: Vec<_> = walked.iter().map(|pin| (pin.created, pin.id.clone())).collect();
        let mut sorted = keys.clone();
        sorted.sort();
        sorted.dedup();
        sorted.reverse();
        assert_eq!(keys, sorted, "newest first, each once, by pages of {limit}");
        assert_eq!(walked.len(), 12);
        assert!(walked.iter().all(|pin| pin.account == "a"));
    }
    let none = db.pins("nobody", None, 5).await.expect("page");
    assert_eq!((none.pins.len(), none.next), (0, None));
}

async fn unpinning_frees_the_account_and_orphans_what_nobody_needs(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 1, 60, 1).await;
    store_file(&db, "a", 2, 30, 2).await;
    assert!(!db.unpin("b", &cid(1), later(1)).await.expect("unpin"));
    assert!(db.unpin("a", &cid(1), later(1)).await.expect("unpin"));
    assert!(!db.unpin("a", &cid(1), later(1)).await.expect("unpin"), "gone already");
    assert_eq!(used(&db, "a").await, 30);
    assert_eq!(db.root_size(&cid(1)).await.expect("root"), None);
    assert!(db.root_segments(&cid(1)).await.expect("links").is_empty());
    assert_eq!(state(&db, 1).await, Some(SegmentState::Orphaned));
    assert_eq!(state(&db, 2).await, Some(SegmentState::Live));
    assert!(db.collectable_segments(NOW, 9).await.expect("due").is_empty());
    assert_eq!(db.collectable_segments(later(1), 9).await.expect("due"), [segment_id(1)]);
    // Freed bytes can be pinned again.
    assert_eq!(commit(&db, &[], &[repeated("a", 3, 70, &[2])]).await, [Created]);
}

async fn a_shared_segment_lives_until_its_last_root_goes(db: Db) {
    account(&db, "a", 100).await;
    store_file(&db, "a", 1, 10, 1).await;
    commit(&db, &[segment(2)], &[upload("a", 2, 10, &[2, 1])]).await;
    db.set_lost(segment_id(2), true).await.expect("lose");
    db.unpin("a", &cid(1), later(1)).await.expect("unpin");
    assert_eq!(state(&db, 1).await, Some(SegmentState::Live));
    db.unpin("a", &cid(2), later(2)).await.expect("unpin");
    assert_eq!(state(&db, 1).await, Some(SegmentState::Orphaned));
    let due = db.collectable_segments(later(2), 9).await.expect("due");
    assert_eq!(due.len(), 2, "a lost segment is collected too");
}

async fn a_shared_root_lives_until_its_last_pin_goes(db: Db) {
    account(&db, "a", 100).await;
    account(&db, "b", 100).await;
    store_file(&db, "a", 1, 10, 1).await;
    commit(&db, &[], &[repeated("b", 1, 10, &[1])]).await;
    db.unpin("a", &cid(1), later(1)).await.expect("unpin");
    assert_eq!((used(&db, "a").await, used(&db, "b").await), (0, 10));
    assert_eq!(state(&db, 1).await, Some(SegmentState::Live));
    assert_eq!(db.root_size(&cid(1)).await.expect("root"), Some(10));
    db.unpin("b", &cid(1), later(1)).await.expect("unpin");
    assert_eq!(state(&db, 1).await, Some(SegmentState::Orphaned));
}

async fn expired_pins_are_found_and_removed(db: Db) {
    account(&db, "a", 100).await;
    let ending = |root, expires| UploadMetadata { expires, ..upload("a", root, 10, &[1]) };
    let uploads = [ending(1, Some(later(20))), ending(2, None), ending(3, Some(later(10)))];
    commit(&db, &[segment(1)], &uploads).await;
    let pin = async |root| ("a".to_string(), db.pin("a", &cid(root)).await.expect("pin").expect("pinned").id);
    let (second, third) = (pin(2).await, pin(3).await);
    assert!(db.expired_pins(later(9), 9).await.expect("expired").is_empty());
    assert_eq!(db.expired_pins(later(10), 9).await.expect("expired"), std::slice::from_ref(&third));
    let both = [third, pin(1).await];
    assert_eq!(db.expired_pins(later(20), 9).await.expect("expired"), both);
    assert_eq!(db.expired_pins(later(20), 1).await.expect("expired"), both[..1]);

    assert!(!db.expire_pin("a", &both[0].1, later(9), later(99)).await.expect("expire"), "not yet");
    assert!(!db.expire_pin("a", &second.1, later(9999), later(99)).await.expect("expire"), "never");
    assert!(db.expire_pin("a", &both[0].1, later(10), later(99)).await.expect("expire"));
    assert_eq!(used(&db, "a").await, 20);
}

async fn a_pin_made_to_stay_is_not_expired(db: Db) {
    account(&db, "a", 100).await;
    let ending = UploadMetadata { expires: Some(later(1)), ..upload("a", 1, 10, &[1]) };
    commit(&db, &[segment(1)], &[ending]).await;
    let expired = db.expired_pins(later(1), 9).await.expect("expired");
    // The account uploads the file again, for good, between the look and the removal.
    commit(&db, &[], &[repeated("a", 1, 10, &[1])]).await;
    for (account, id) in expired {
        assert!(!db.expire_pin(&account, &id, later(1), later(9)).await.expect("expire"));
    }
    assert!(db.pin("a", &cid(1)).await.expect("pin").is_some());
    assert_eq!(state(&db, 1).await, Some(SegmentState::Live));
}
