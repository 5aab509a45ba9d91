//! What monitors say of themselves, and whether what a recovery writes is taken for it.

use std::time::Duration;

use super::{
    engines::both_engines,
    fixtures::{NOW, later},
};
use crate::{Db, MonitorSign};

const HOUR: Duration = Duration::from_hours(1);

fn sign(id: &str, seconds: u64, breaker: Option<&str>) -> MonitorSign {
    MonitorSign { id: id.into(), seen: later(seconds), breaker: breaker.map(str::to_string) }
}

async fn the_last_word_of_each_monitor_stays_until_it_is_long_gone(db: Db) {
    assert_eq!((db.monitors(9).await.expect("none"), db.monitor_seen().await.expect("none")), (vec![], None));
    for sign in [sign("a", 1, Some("many fail")), sign("b", 2, Some("many fail")), sign("a", 3, None)] {
        db.sign_monitor(&sign).await.expect("sign");
    }
    let both = vec![sign("a", 3, None), sign("b", 2, Some("many fail"))];
    assert_eq!(db.monitors(9).await.expect("both"), both);
    assert_eq!(db.monitors(1).await.expect("one"), both[..1]);
    assert_eq!(db.monitor_seen().await.expect("seen"), Some(later(3)));
    assert_eq!(db.trim_monitors(later(3), 9).await.expect("trim"), 1);
    assert_eq!(db.monitors(9).await.expect("one is left"), both[..1]);
}

async fn a_recovery_into_an_empty_database_is_no_monitor(db: Db) {
    db.begin_recovery(NOW).await.expect("begin");
    assert_eq!(db.monitor_seen().await.expect("seen"), None);
    db.release_collection(later(60)).await.expect("release");
    assert_eq!(db.monitor_seen().await.expect("seen"), None, "nor is its end");
    // Of a version that only has this sign of life.
    db.beat(None, later(70), HOUR).await.expect("beat");
    assert_eq!(db.monitor_seen().await.expect("seen"), Some(later(70)));
    // Another recovery, beside a monitor that gives signs of life.
    db.sign_monitor(&sign("a", 80, None)).await.expect("sign");
    db.hold_collection(later(90), "set back").await.expect("hold");
    db.release_collection(later(100)).await.expect("release");
    assert_eq!(db.monitor_seen().await.expect("seen"), Some(later(80)));
    let watch = db.last_watch().await.expect("watch").expect("a row");
    assert_eq!(watch.beat, later(100), "whoever starts next finds a database that was watched until here");
}

both_engines!(
    the_last_word_of_each_monitor_stays_until_it_is_long_gone,
    a_recovery_into_an_empty_database_is_no_monitor,
);
