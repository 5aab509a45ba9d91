//! Many workers at once: nothing is given out twice, nothing fails, and what hangs together stays together.

use std::collections::HashSet;

use protocol::ids::PieceHash;
use tokio::task::JoinSet;

use super::{
    engines::both_engines,
    fixtures::{
        NOW, account, cid, commit, enrol_nodes, later, node_id, piece_hash, queued, repeated, segment,
        segment_id, slot, upload,
    },
    whole::assert_whole,
};
use crate::{Committed, Db, UploadMetadata, Visit};

both_engines!(
    sixteen_monitors_never_visit_one_node_twice,
    sixteen_monitors_never_claim_one_repair_twice,
    one_of_sixteen_moves_of_a_piece_wins,
    one_node_never_gets_two_pieces_of_a_segment,
    a_commit_that_is_dropped_midway_is_whole_or_nothing,
    the_last_pin_of_a_root_and_a_new_one_do_not_miss_each_other,
    the_last_two_roots_of_a_segment_do_not_miss_each_other,
    a_root_that_comes_and_goes_meanwhile_is_still_there,
    commits_and_removals_in_any_order_keep_all_things_whole,
);

const WORKERS: u32 = 16;

/// Runs `work` in every worker and gathers what they give.
pub(super) async fn all_at_once<T, F>(db: &Db, work: impl Fn(Db, u32) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for worker in 0..WORKERS {
        tasks.spawn(work(db.clone(), worker));
    }
    let mut done = Vec::new();
    while let Some(one) = tasks.join_next().await {
        done.push(one.expect("no worker panics"));
    }
    done
}

async fn sixteen_monitors_never_visit_one_node_twice(db: Db) {
    const NODES: u8 = 200;
    enrol_nodes(&db, NODES).await;
    let claimed = all_at_once(&db, |db, _| async move {
        let mut mine = Vec::new();
        loop {
            let some = db.claim_visits(Visit::Audit, NOW, later(60), 3).await.expect("claim");
            if some.is_empty() {
                return mine;
            }
            mine.extend(some);
        }
    })
    .await
    .concat();
    assert_eq!(claimed.len(), usize::from(NODES), "each was given out once");
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), usize::from(NODES));
}

async fn sixteen_monitors_never_claim_one_repair_twice(db: Db) {
    const REPAIRS: u32 = 200;
    for number in 0..REPAIRS {
        db.queue_repair(segment_id(number), f64::from(number % 7), NOW).await.expect("queue");
    }
    let claimed = all_at_once(&db, |db, worker| async move {
        let mut mine = Vec::new();
        loop {
            let some =
                db.claim_repairs(&worker.to_string(), NOW, later(60), 1 + worker % 3).await.expect("claim");
            if some.is_empty() {
                return mine;
            }
            mine.extend(some.into_iter().map(|job| job.segment));
        }
    })
    .await
    .concat();
    assert_eq!(claimed.len(), REPAIRS as usize, "each was given out once");
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), REPAIRS as usize);
}

async fn one_of_sixteen_moves_of_a_piece_wins(db: Db) {
    commit(&db, &[segment(1)], &[]).await;
    let won = all_at_once(&db, |db, worker| async move {
        let to = node_id(100 + u8::try_from(worker).expect("few workers"));
        let hash = piece_hash(1, 0);
        db.move_piece(slot(1, 0), hash, Some(node_id(0)), to, NOW).await.expect("move").then_some(to)
    })
    .await;
    let winners: Vec<_> = won.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(db.holdings(winners[0]).await.expect("holdings").0, 1);
    assert_eq!(queued(&db, 0).await, [piece_hash(1, 0)]);
    assert_eq!(db.unpins_waiting().await.expect("unpins"), 1);
}

async fn one_node_never_gets_two_pieces_of_a_segment(db: Db) {
    for round in 0..10 {
        let mut empty = segment(round);
        empty.pieces.iter_mut().for_each(|piece| piece.node = None);
        commit(&db, &[empty], &[]).await;
        // Each worker rebuilt some piece of the segment and put it on the same node.
        let won = all_at_once(&db, |db, worker| async move {
            let index = u8::try_from(worker % 4).expect("few pieces");
            let hash = piece_hash(round, index);
            db.move_piece(slot(round, index), hash, None, node_id(9), NOW).await.expect("move")
        })
        .await;
        assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
        assert_eq!(db.holdings(node_id(9)).await.expect("holdings").0, u64::from(round) + 1);
    }
}

async fn a_commit_that_is_dropped_midway_is_whole_or_nothing(db: Db) {
    const ROUNDS: u32 = 30;
    account(&db, "a", 1000).await;
    for round in 0..ROUNDS {
        let (segments, uploads) = ([segment(round)], [upload("a", round, 1, &[round])]);
        let work = db.commit(&segments, &[], &uploads, NOW, later(1));
        // Dropped at another point in each round, as when a client hangs up.
        let patience = async {
            for _ in 0..round * round * round {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = work => assert_eq!(done.expect("commit")[0].committed, Committed::Created),
            () = patience => {}
        }
    }
    // The next one waits until the last one that was given up is undone or done.
    commit(&db, &[segment(ROUNDS)], &[upload("a", ROUNDS, 1, &[ROUNDS])]).await;
    assert_whole(&db).await;
    for round in 0..ROUNDS {
        let root = cid(round);
        let pinned = db.pin("a", &root).await.expect("pin").is_some();
        let found = !db.find_blocks(&[root], false).await.expect("blocks").is_empty();
        let stored = !db.segments_info(&[segment_id(round)]).await.expect("infos").is_empty();
        assert_eq!((pinned, found), (stored, stored), "round {round}");
    }
}

async fn the_last_pin_of_a_root_and_a_new_one_do_not_miss_each_other(db: Db) {
    for round in 0..20 {
        let names = [format!("a{round}"), format!("b{round}")];
        for name in &names {
            account(&db, name, 100).await;
        }
        commit(&db, &[segment(round)], &[upload(&names[0], round, 10, &[round])]).await;
        let new = [repeated(&names[1], round, 10, &[round])];
        let root = cid(round);
        let (removed, made) =
            tokio::join!(db.unpin(&names[0], &root, later(1)), db.commit(&[], &[], &new, NOW, later(3600)));
        assert!(removed.expect("unpin"));
        made.expect("commit");
    }
    assert_whole(&db).await;
    assert_eq!(db.segment_counts().await.expect("counts"), [0, 20, 0, 0]);
}

async fn the_last_two_roots_of_a_segment_do_not_miss_each_other(db: Db) {
    const ROUNDS: u32 = 20;
    account(&db, "a", 1000).await;
    account(&db, "b", 1000).await;
    for round in 0..ROUNDS {
        let (one, other) = (2 * round, 2 * round + 1);
        let both = [upload("a", one, 1, &[round]), upload("b", other, 1, &[round])];
        commit(&db, &[segment(round)], &both).await;
        let (one, other) = (cid(one), cid(other));
        let removed = tokio::join!(db.unpin("a", &one, later(1)), db.unpin("b", &other, later(1)));
        assert!(removed.0.expect("unpin") && removed.1.expect("unpin"));
    }
    assert_whole(&db).await;
    let [pending, live, orphaned, lost] = db.segment_counts().await.expect("counts");
    assert_eq!((pending, live, orphaned, lost), (0, 0, u64::from(ROUNDS), 0), "nobody needs any of them");
}

async fn a_root_that_comes_and_goes_meanwhile_is_still_there(db: Db) {
    const ROUNDS: u32 = 20;
    for name in ["a", "b"] {
        account(&db, name, 1000).await;
    }
    let segments: Vec<_> = (0..ROUNDS).map(segment).collect();
    commit(&db, &segments, &[]).await;
    for round in 0..ROUNDS {
        let root = cid(round);
        let (short, lasting) = ([upload("a", round, 1, &[round])], [upload("b", round, 1, &[round])]);
        let come_and_go = async {
            db.commit(&[], &[], &short, NOW, later(1)).await.expect("commit");
            assert!(db.unpin("a", &root, later(1)).await.expect("unpin"));
        };
        tokio::join!(come_and_go, async {
            db.commit(&[], &[], &lasting, NOW, later(1)).await.expect("commit")
        });
    }
    assert_whole(&db).await;
    assert_eq!(db.segment_counts().await.expect("counts"), [0, u64::from(ROUNDS), 0, 0]);
}

async fn commits_and_removals_in_any_order_keep_all_things_whole(db: Db) {
    const STEPS: u32 = 40;
    for name in ["a", "b", "c"] {
        account(&db, name, 60).await;
    }
    let shared: Vec<_> = (0..6).map(segment).collect();
    commit(&db, &shared, &[]).await;
    all_at_once(&db, |db, worker| async move {
        for step in 0..STEPS {
            churn(&db, worker, step).await;
        }
    })
    .await;
    assert_whole(&db).await;
}

/// One random step of a busy network. No step may fail, whatever runs beside it.
async fn churn(db: &Db, worker: u32, step: u32) {
    let dice = PieceHash::of(format!("{worker} {step}").as_bytes()).0;
    let pick = |index: usize, of: u32| u32::from(dice[index]) % of;
    let any_account = |index| ["a", "b", "c"][pick(index, 3) as usize];
    let fresh = 1000 + worker * 1000 + step;
    match pick(0, 10) {
        0..=4 => {
            let uploads: Vec<UploadMetadata> = (1..=1 + pick(1, 3) as usize)
                .map(|nth| {
                    // Roots 0..8 have their number plus one as size, in whichever segments they lie.
                    let root = pick(nth + 4, 8);
                    let size = u64::from(root) + 1;
                    upload(
                        any_account(nth),
                        root,
                        size,
                        &[fresh, pick(nth + 8, 6)][pick(nth + 12, 2) as usize..],
                    )
                })
                .collect();
            db.commit(&[segment(fresh)], &[], &uploads, NOW, later(1)).await.expect("commit");
        }
        5..=7 => {
            db.unpin(any_account(1), &cid(pick(2, 8)), later(1)).await.expect("unpin");
        }
        8 => {
            db.set_lost(segment_id(pick(1, 6)), pick(2, 2) == 0).await.expect("lose or find");
        }
        _ => {
            for due in db.collectable_segments(later(9), 2).await.expect("due") {
                db.collect_segment(due, later(9)).await.expect("collect");
            }
        }
    }
}
