//! When a database is held to be an older one.

use std::time::Duration;

use super::{
    engines::both_engines,
    fixtures::{NOW, account, later, store_file},
};
use crate::Db;

const HOUR: Duration = Duration::from_hours(1);

async fn a_new_database_holds_what_was_before_it_to_be_doubtful(db: Db) {
    let watch = db.beat(None, NOW, HOUR).await.expect("beat");
    assert!(
        watch.held.is_none() && watch.gap.is_some_and(|(from, to)| from.0 == 0 && to == NOW),
        "{watch:?}"
    );
    // Restarts change nothing in that for a while.
    let watch = db.beat(None, later(600), HOUR).await.expect("beat");
    assert!(watch.held.is_none() && watch.gap.is_some_and(|(from, _)| from.0 == 0), "{watch:?}");
}

async fn a_database_from_before_there_was_a_watch_is_not_doubted(db: Db) {
    account(&db, "a", 1_000).await;
    store_file(&db, "a", 1, 10, 1).await;
    let watch = db.beat(None, later(9), HOUR).await.expect("beat");
    assert_eq!((watch.held, watch.gap), (None, None));
}

async fn whoever_starts_after_a_long_time_holds_everything(db: Db) {
    let day = 24 * 3600;
    db.beat(None, NOW, HOUR).await.expect("beat");
    let alive = db.beat(Some(NOW), later(20 * day), HOUR).await.expect("beat");
    assert!(alive.held.is_none(), "who was there all the time doubts nothing");
    let short = db.beat(None, later(20 * day + 1800), HOUR).await.expect("beat");
    assert!(
        short.held.is_none() && short.gap == Some((later(20 * day), later(20 * day + 1800))),
        "{short:?}"
    );
    let long = db.beat(None, later(21 * day), HOUR).await.expect("beat");
    assert!(long.held.is_some() && long.is_new, "{long:?}");
    let again = db.beat(Some(long.beat), later(22 * day), HOUR).await.expect("beat");
    assert!(again.held == long.held && !again.is_new, "it stays so");
    assert!(!db.hold_collection(later(22 * day), "once more").await.expect("hold"));
    db.release_collection(later(22 * day)).await.expect("release");
    assert_eq!(db.held().await.expect("held"), None);
}

async fn a_database_that_goes_back_under_a_running_monitor_is_noticed(db: Db) {
    db.beat(None, NOW, HOUR).await.expect("beat");
    // What it wrote after that is not there: somebody put a backup in place.
    let watch = db.beat(Some(later(300)), later(310), HOUR).await.expect("beat");
    assert!(watch.held.is_some() && watch.is_new, "{watch:?}");
    assert_eq!(watch.gap, Some((NOW, later(310))));
}

async fn a_database_that_is_replaced_by_an_empty_one_is_noticed(db: Db) {
    let watch = db.beat(Some(later(300)), later(310), HOUR).await.expect("beat");
    assert!(watch.held.is_some() && watch.is_new, "{watch:?}");
}

both_engines!(
    a_new_database_holds_what_was_before_it_to_be_doubtful,
    a_database_from_before_there_was_a_watch_is_not_doubted,
    whoever_starts_after_a_long_time_holds_everything,
    a_database_that_goes_back_under_a_running_monitor_is_noticed,
    a_database_that_is_replaced_by_an_empty_one_is_noticed,
);
