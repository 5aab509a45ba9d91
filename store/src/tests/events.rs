//! The log of decisions.

use super::{
    engines::both_engines,
    fixtures::{later, node_id, segment_id},
};
use crate::{Db, Event};

both_engines!(events_are_listed_newest_first_and_trimmed);

async fn events_are_listed_newest_first_and_trimmed(db: Db) {
    let event = |seconds, details: &str| Event {
        at: later(seconds),
        kind: "piece_lost".to_string(),
        node: Some(node_id(1)),
        segment: (seconds > 1).then(|| segment_id(7)),
        details: details.to_string(),
    };
    db.record_events(&[]).await.expect("nothing to record");
    let events = [
        ("x".to_string(), event(1, "one")),
        ("y".to_string(), event(3, "three")),
        ("z".to_string(), event(2, "a NUL \0 is not text")),
    ];
    db.record_events(&events).await.expect("record");
    db.record_events(&events[..1]).await.expect("the same event twice is one");

    let listed = db.recent_events(10).await.expect("events");
    assert_eq!(listed, [event(3, "three"), event(2, "a NUL  is not text"), event(1, "one")]);
    assert_eq!(db.recent_events(1).await.expect("events"), [event(3, "three")]);
    assert_eq!(db.trim_events(later(3), 1).await.expect("trim"), 1, "no more than allowed at once");
    assert_eq!(db.trim_events(later(3), 9).await.expect("trim"), 1);
    assert_eq!(db.recent_events(10).await.expect("events"), [event(3, "three")]);
}
