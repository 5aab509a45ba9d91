//! Every queue, with sixteen workers on it at once: what is in it is given to one of them, or done by one of them.

use std::{collections::HashSet, time::Duration};

use protocol::time::UnixMillis;

use super::{
    contention::all_at_once,
    engines::both_engines,
    fixtures::{
        NOW, account, cid, commit, enrol_nodes, later, node_id, piece_hash, queued, segment, segment_id,
        upload, used,
    },
    whole::assert_whole,
};
use crate::{
    BlockAt, Db, Earning, LedgerKind, NewTusUpload, TusBegun, TusKind, UploadPart, Visit, WaitingPin,
};

both_engines!(
    each_visit_of_each_kind_is_given_out_once,
    each_waiting_pin_is_given_out_once,
    each_waiting_pin_is_given_out_again_when_its_claim_is_over,
    each_pin_ends_once,
    each_segment_is_collected_once,
    each_long_upload_is_cleared_away_whole,
    each_upload_in_several_requests_is_forgotten,
    each_hour_is_settled_once_and_forgotten_once,
    what_a_node_may_drop_is_queued_and_forgotten_as_a_whole,
);

/// Sorted, to be compared with what there was; one that was given to two is there twice.
fn sorted<T: Ord>(found: Vec<Vec<T>>) -> Vec<T> {
    let mut all: Vec<T> = found.into_iter().flatten().collect();
    all.sort_unstable();
    all
}

async fn each_visit_of_each_kind_is_given_out_once(db: Db) {
    const NODES: u8 = 60;
    enrol_nodes(&db, NODES).await;
    for visit in [Visit::Probe, Visit::Audit, Visit::Reconcile] {
        let claimed = all_at_once(&db, |db, worker| async move {
            let mut mine = Vec::new();
            loop {
                let some = db.claim_visits(visit, NOW, later(60), 1 + worker % 4).await.expect("claim");
                if some.is_empty() {
                    return mine;
                }
                mine.extend(some);
            }
        })
        .await;
        assert_eq!(sorted(claimed), (0..NODES).map(node_id).collect::<Vec<_>>(), "{visit:?}");
    }
}

fn waiting(number: u32) -> WaitingPin {
    WaitingPin {
        id: format!("waiting-{number:03}"),
        account: "a".into(),
        cid: cid(number),
        name: String::new(),
        origins: Vec::new(),
        meta: [].into(),
        created: NOW.micros(),
        deadline: later(600),
    }
}

/// Everything that is to be fetched at this time, by whom it is claimed until when.
async fn fetch_all(db: &Db, at: UnixMillis, until: UnixMillis) -> Vec<String> {
    let claimed = all_at_once(db, |db, worker| async move {
        let mut mine = Vec::new();
        loop {
            let some = db.claim_pin_jobs(at, until, 1 + worker % 3).await.expect("claim");
            if some.is_empty() {
                return mine;
            }
            mine.extend(some.into_iter().map(|job| job.pin));
        }
    });
    sorted(claimed.await)
}

async fn each_waiting_pin_is_given_out_once(db: Db) {
    const PINS: u32 = 60;
    account(&db, "a", 1_000).await;
    for number in 0..PINS {
        db.add_waiting_pin(&waiting(number), PINS).await.expect("add").expect("it fits");
    }
    let names: Vec<String> = (0..PINS).map(|number| waiting(number).id).collect();
    assert_eq!(fetch_all(&db, later(1), later(60)).await, names);
    assert_eq!(fetch_all(&db, later(59), later(90)).await, [""; 0], "all are claimed");
}

async fn each_waiting_pin_is_given_out_again_when_its_claim_is_over(db: Db) {
    const PINS: u32 = 20;
    account(&db, "a", 1_000).await;
    for number in 0..PINS {
        db.add_waiting_pin(&waiting(number), PINS).await.expect("add").expect("it fits");
    }
    let mut mine = db.claim_pin_jobs(later(1), later(30), PINS).await.expect("claim");
    // One of them is still alive when the others' claims are over.
    let kept = mine.pop().expect("there are some");
    let mut kept_on = kept.clone();
    assert!(db.keep_pin_job(&mut kept_on, later(90), None).await.expect("keep"));
    let names: Vec<String> = sorted(vec![mine.iter().map(|job| job.pin.clone()).collect()]);
    assert_eq!(fetch_all(&db, later(40), later(80)).await, names);
    for mut job in mine {
        assert!(!db.keep_pin_job(&mut job, later(95), None).await.expect("keep"), "{} is another's", job.pin);
    }
}

async fn each_pin_ends_once(db: Db) {
    const PINS: u32 = 40;
    account(&db, "a", 1_000).await;
    let segments: Vec<_> = (0..PINS).map(segment).collect();
    let mut uploads: Vec<_> = (0..PINS).map(|number| upload("a", number, 1, &[number])).collect();
    for upload in &mut uploads {
        upload.expires = Some(later(10));
    }
    commit(&db, &segments, &uploads).await;
    let ended = all_at_once(&db, |db, _| async move {
        let mut mine = Vec::new();
        for (account, id) in db.expired_pins(later(20), PINS).await.expect("expired") {
            if db.expire_pin(&account, &id, later(20), later(30)).await.expect("expire") {
                mine.push(id);
            }
        }
        mine
    });
    let ended = ended.await.concat();
    assert_eq!((ended.len(), ended.iter().collect::<HashSet<_>>().len()), (PINS as usize, PINS as usize));
    assert_eq!(used(&db, "a").await, 0, "each was given back once");
    assert_whole(&db).await;
}

async fn each_segment_is_collected_once(db: Db) {
    const SEGMENTS: u32 = 40;
    let segments: Vec<_> = (0..SEGMENTS).map(segment).collect();
    commit(&db, &segments, &[]).await;
    let over = later(2 * 3600);
    let collected = all_at_once(&db, |db, _| async move {
        let mut mine = Vec::new();
        for id in db.collectable_segments(over, SEGMENTS).await.expect("due") {
            if db.collect_segment(id, over).await.expect("collect") {
                mine.push(id);
            }
        }
        mine
    });
    assert_eq!(sorted(collected.await), (0..SEGMENTS).map(segment_id).collect::<Vec<_>>());
    assert_eq!(db.unpins_waiting().await.expect("unpins"), u64::from(SEGMENTS) * 4);
}

async fn each_long_upload_is_cleared_away_whole(db: Db) {
    const UPLOADS: u32 = 6;
    const BLOCKS: u32 = 30;
    account(&db, "a", 1_000).await;
    let segments: Vec<_> = (0..UPLOADS).map(segment).collect();
    let number = |of: u32, block: u32| 1_000 * (of + 1) + block;
    let part = |of: u32| UploadPart {
        upload: format!("long-{of}"),
        is_first: true,
        blocks: (0..BLOCKS)
            .map(|block| BlockAt {
                cid: cid(number(of, block)),
                segment: segment_id(of),
                offset_bytes: 0,
                length_bytes: 1,
            })
            .collect(),
    };
    let parts: Vec<_> = (0..UPLOADS).map(part).collect();
    // Every other one is finished.
    let mut uploads: Vec<_> = (0..UPLOADS).step_by(2).map(|of| upload("a", of, 1, &[of])).collect();
    for (upload, part) in uploads.iter_mut().zip(parts.iter().step_by(2)) {
        upload.recorded = Some(part.upload.clone());
    }
    db.commit(&segments, &parts, &[], NOW, later(60)).await.expect("commit");
    commit(&db, &[], &uploads).await;
    all_at_once(&db, |db, _| async move {
        while db.clear_long_upload(later(2 * 3600), 7).await.expect("clear") {}
    })
    .await;
    assert_eq!(db.long_uploads().await.expect("count"), 0);
    for of in 0..UPLOADS {
        let cids: Vec<_> = (0..BLOCKS).map(|block| cid(number(of, block))).collect();
        let found = db.find_blocks(&cids, false).await.expect("blocks").len();
        assert_eq!(found, if of % 2 == 0 { BLOCKS as usize } else { 0 }, "upload {of}");
    }
}

async fn each_upload_in_several_requests_is_forgotten(db: Db) {
    const UPLOADS: u32 = 40;
    account(&db, "a", 1_000).await;
    for number in 0..UPLOADS {
        let new = NewTusUpload {
            id: format!("tus-{number}"),
            account: "a".into(),
            kind: TusKind::Plain,
            parts: String::new(),
            metadata: String::new(),
            profile: String::new(),
            hash: String::new(),
            notes: String::new(),
            whole_pieces: false,
            length_bytes: None,
            due: later(10),
        };
        let begun = db.create_tus_upload(&new, u64::from(UPLOADS), NOW).await.expect("create");
        assert_eq!(begun, TusBegun::Yes);
    }
    all_at_once(&db, |db, worker| async move {
        while db.clear_tus_uploads(later(20), 1 + worker % 5).await.expect("clear") {}
    })
    .await;
    for number in 0..UPLOADS {
        assert_eq!(db.tus_upload(&format!("tus-{number}")).await.expect("upload"), None);
    }
}

async fn each_hour_is_settled_once_and_forgotten_once(db: Db) {
    const HOURS: u32 = 20;
    let hour = |number: u32| NOW.hour() + Duration::from_hours(1) * number;
    let settled = all_at_once(&db, |db, _| async move {
        let one = [Earning { kind: LedgerKind::Egress, quantity: 1 }];
        let mut mine = Vec::new();
        for number in 0..HOURS {
            if db
                .settle_window(node_id(1), hour(number), &one, NOW, |_, carry| (1, carry))
                .await
                .expect("settle")
            {
                mine.push(number);
            }
        }
        mine
    });
    assert_eq!(sorted(settled.await), (0..HOURS).collect::<Vec<_>>());
    // While they are forgotten nobody is paid for one of them once more.
    let forgotten = all_at_once(&db, |db, worker| async move {
        let one = [Earning { kind: LedgerKind::Egress, quantity: 1 }];
        let mut mine = 0;
        for number in 0..HOURS {
            let at = hour(number);
            if worker % 2 == 0 {
                mine += db.trim_settlements(at, 3).await.expect("trim");
            } else {
                let again = db.settle_window(node_id(1), at, &one, NOW, |_, carry| (1, carry)).await;
                assert!(!again.expect("settle"), "hour {number} is paid twice");
            }
        }
        mine
    });
    let forgotten: u64 = forgotten.await.into_iter().sum();
    let left = db.trim_settlements(hour(HOURS), 100).await.expect("trim");
    assert_eq!(forgotten + left, u64::from(HOURS));
    assert_eq!(db.earned(node_id(1)).await.expect("earned"), [("egress".to_string(), u64::from(HOURS))]);
}

async fn what_a_node_may_drop_is_queued_and_forgotten_as_a_whole(db: Db) {
    const PIECES: u32 = 40;
    let hashes: Vec<_> = (0..PIECES).map(|number| piece_hash(number, 9)).collect();
    all_at_once(&db, |db, worker| {
        let mut hashes = hashes.clone();
        async move {
            // In another order each, as from several segments.
            hashes.rotate_left(worker as usize);
            db.queue_unpins(node_id(1), &hashes, NOW).await.expect("queue");
            let told = db.queued_unpins(node_id(1), 10).await.expect("queued");
            db.finish_unpins(node_id(1), &told).await.expect("finish");
        }
    })
    .await;
    db.queue_unpins(node_id(1), &hashes, later(5)).await.expect("queue");
    assert_eq!(queued(&db, 1).await.len(), PIECES as usize, "each is there once");
    assert_eq!(db.unpins_waiting().await.expect("unpins"), u64::from(PIECES));
}
