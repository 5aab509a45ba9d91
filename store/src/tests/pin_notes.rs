//! What is said of pins: metadata, groups, kinds; and looking for pins by it.

use super::{
    engines::both_engines,
    fixtures::{account, cid, commit, later, segment, store_file, upload},
    pin_states::waiting,
    whole::assert_whole,
};
use crate::{
    Db, Described, GroupFilter, GroupTest, MetaCompare, MetaTest, NameMatch, PinChange, PinFilter, PinGroup,
    PinKind, UploadMetadata,
};

both_engines!(
    pins_are_described_anew,
    metadata_is_compared_as_it_is_asked_for,
    pages_go_both_ways,
    groups_come_and_go_and_pins_stay,
    an_account_has_so_many_groups,
    pins_are_found_by_size_kind_and_part_of_their_cid,
);

fn meta(entries: &[(&str, Option<&str>)]) -> PinChange {
    let entries = entries.iter().map(|(key, value)| (key.to_string(), value.map(str::to_string)));
    PinChange { meta: entries.collect(), ..PinChange::default() }
}

async fn describe(db: &Db, account: &str, id: &str, change: &PinChange) -> Described {
    db.describe_pin(account, id, change, 3).await.expect("describe")
}

async fn pins_are_described_anew(db: Db) {
    account(&db, "a", 100).await;
    db.add_waiting_pin(&waiting("w", "a", 0), 9).await.expect("add");
    let named =
        PinChange { name: Some("NAME".into()), ..meta(&[("app", None), ("k", Some("v\0")), ("gone", None)]) };
    assert_eq!(describe(&db, "b", "w", &named).await, Described::NoPin, "of another");
    assert_eq!(describe(&db, "a", "w", &named).await, Described::Done);
    assert_eq!(describe(&db, "a", "w", &meta(&[("k", Some("new"))])).await, Described::Done);
    let kind = Some(PinKind { mime_type: "directory".into(), files: 7 });
    let change = PinChange { kind, expires: Some(later(9)), ..PinChange::default() };
    assert_eq!(describe(&db, "a", "w", &change).await, Described::Done);
    let by_name = PinFilter { name: Some(("name".into(), NameMatch::ExactAnyCase)), ..PinFilter::default() };
    let find = async || db.find_pins("a", &by_name, 9).await.expect("find").pins.remove(0);
    let found = find().await;
    assert_eq!((found.pin.name.as_str(), found.pin.expires), ("NAME", Some(later(9))));
    assert_eq!(found.meta, [("k".to_string(), "new".to_string())].into());
    assert_eq!((found.mime_type.as_deref(), found.files), (Some("directory"), Some(7)));

    let many = meta(&[("1", Some("")), ("2", Some("")), ("3", Some(""))]);
    assert_eq!(describe(&db, "a", "w", &many).await, Described::TooMany);
    assert_eq!(find().await.meta.len(), 1, "nothing of it was said");
    let moved = meta(&[("1", Some("")), ("2", Some("")), ("3", Some("")), ("k", None)]);
    assert_eq!(describe(&db, "a", "w", &moved).await, Described::Done);
    assert_eq!(find().await.meta.len(), 3);
    assert_whole(&db).await;
}

async fn metadata_is_compared_as_it_is_asked_for(db: Db) {
    account(&db, "a", 100).await;
    let values = ["9", "10", "Apple", "apple", "a*b", "2024-01-02", "ünder_score"];
    for (root, value) in (0..).zip(values) {
        let named = UploadMetadata { name: value.into(), ..upload("a", root, 1, &[root]) };
        commit(&db, &[segment(root)], std::slice::from_ref(&named)).await;
        assert_eq!(describe(&db, "a", &named.pin, &meta(&[("k", Some(value))])).await, Described::Done);
    }
    store_file(&db, "a", 50, 1, 50).await;
    let find = async |value: &str, compare: MetaCompare| {
        let test = MetaTest { key: "k".into(), value: value.into(), compare };
        let filter = PinFilter { meta: vec![test], oldest_first: true, ..PinFilter::default() };
        let found = db.find_pins("a", &filter, 100).await.expect("find").pins;
        let mut names: Vec<String> = found.into_iter().map(|found| found.pin.name).collect();
        names.sort();
        names
    };
    use MetaCompare::{Between, Equal, Greater, Less, Like, NotBetween, NotEqual};
    assert_eq!(find("10", Equal).await, ["10"]);
    assert_eq!(find("10", NotEqual).await.len(), 6, "what has no such entry is not found");
    assert_eq!(find("9", Greater(false)).await, ["10"], "numbers are compared as numbers");
    assert_eq!(find("9", Greater(true)).await, ["10", "9"]);
    assert_eq!(find("10", Less(false)).await, ["9"]);
    assert_eq!(find("9.5", Between("1e1".into())).await, ["10"]);
    assert_eq!(find("9.5", NotBetween("11".into())).await, ["9"]);
    assert_eq!(find("2024-01-01", Between("2024-12-31".into())).await, ["2024-01-02"]);
    assert_eq!(find("Z", Less(true)).await, ["10", "2024-01-02", "9", "Apple"], "byte by byte");
    let like = |any_case, not| Like { any_case, not };
    assert_eq!(find("a%", like(false, false)).await, ["a*b", "apple"]);
    assert_eq!(find("A%", like(true, false)).await, ["Apple", "a*b", "apple"]);
    assert_eq!(find("a*%", like(false, false)).await, ["a*b"], "only these two signs stand for others");
    assert_eq!(find("a_b", like(false, false)).await, ["a*b"]);
    assert_eq!(find("%r\\_s%", like(false, false)).await, ["ünder_score"]);
    assert_eq!(find("%r\\_S%", like(true, false)).await, ["ünder_score"]);
    assert_eq!(find("_", like(false, false)).await, ["9"]);
    assert_eq!(find("apple", like(false, true)).await.len(), 6);
    assert_eq!(find("apple", like(true, true)).await.len(), 5);
    for broken in ["\\", "a\\", "[", "\\\\"] {
        for any_case in [false, true] {
            assert_eq!(find(broken, like(any_case, false)).await, [""; 0], "{broken}");
        }
    }
}

async fn pages_go_both_ways(db: Db) {
    account(&db, "a", 100).await;
    for root in 0..5 {
        store_file(&db, "a", root, 1, root).await;
    }
    for oldest_first in [false, true] {
        let mut filter = PinFilter { oldest_first, ..PinFilter::default() };
        let mut seen = Vec::new();
        loop {
            let page = db.find_pins("a", &filter, 2).await.expect("find").pins;
            let Some(last) = page.last() else { break };
            filter.cursor = Some((last.pin.created, last.pin.id.clone()));
            seen.extend(page.into_iter().map(|found| found.pin.id));
        }
        assert_eq!(seen.len(), 5);
        assert_eq!(seen.is_sorted(), oldest_first);
        for (offset, expected) in [(0, 2), (1, 2), (4, 1), (5, 0), (9, 0)] {
            let filter = PinFilter { oldest_first, offset, ..PinFilter::default() };
            let found = db.find_pins("a", &filter, 2).await.expect("find");
            assert_eq!((found.count, found.pins.len()), (5, expected), "{offset}");
            let ids: Vec<&String> = found.pins.iter().map(|found| &found.pin.id).collect();
            assert!(ids.iter().eq(&seen.iter().skip(offset as usize).take(2).collect::<Vec<_>>()));
        }
    }
}

fn group(id: &str, account: &str, at: u64) -> PinGroup {
    let (id, account, name) = (id.to_string(), account.to_string(), format!("group {id}"));
    PinGroup { id, account, name, is_public: id_is_even(at), created: later(at).micros() }
}

fn id_is_even(at: u64) -> bool {
    at.is_multiple_of(2)
}

async fn groups_come_and_go_and_pins_stay(db: Db) {
    account(&db, "a", 100).await;
    account(&db, "b", 100).await;
    for (id, account, at) in [("x", "a", 1), ("y", "a", 2), ("z", "b", 3)] {
        assert!(db.create_group(&group(id, account, at), 9).await.expect("create"));
    }
    store_file(&db, "a", 1, 1, 1).await;
    store_file(&db, "a", 2, 1, 2).await;
    let pin = db.pin("a", &cid(1)).await.expect("pin").expect("one").id;
    let into =
        |group: Option<&str>| PinChange { group: Some(group.map(str::to_string)), ..PinChange::default() };
    assert_eq!(describe(&db, "a", &pin, &into(Some("z"))).await, Described::NoGroup, "of another");
    assert_eq!(describe(&db, "a", &pin, &into(Some("x"))).await, Described::Done);
    assert_eq!(describe(&db, "a", &pin, &into(Some("y"))).await, Described::Done);
    let of = async |test: GroupTest| {
        let filter = PinFilter { group: Some(test), ..PinFilter::default() };
        db.find_pins("a", &filter, 9).await.expect("find").count
    };
    let within = |id: &str| GroupTest::In(id.to_string());
    assert_eq!((of(within("x")).await, of(within("y")).await, of(GroupTest::Without).await), (0, 1, 1));
    assert_eq!(describe(&db, "a", &pin, &into(None)).await, Described::Done);
    assert_eq!(of(GroupTest::Without).await, 2);
    assert_eq!(describe(&db, "a", &pin, &into(Some("y"))).await, Described::Done);

    let list = async |filter: GroupFilter| {
        let groups = db.groups("a", &filter, 9).await.expect("groups");
        groups.into_iter().map(|group| group.id).collect::<Vec<_>>()
    };
    assert_eq!(list(GroupFilter::default()).await, ["y", "x"]);
    assert_eq!(list(GroupFilter { name: Some("p y".into()), ..GroupFilter::default() }).await, ["y"]);
    assert_eq!(list(GroupFilter { is_public: Some(false), ..GroupFilter::default() }).await, ["x"]);
    let cursor = Some((later(2).micros(), "y".to_string()));
    assert_eq!(list(GroupFilter { cursor, ..GroupFilter::default() }).await, ["x"]);
    assert!(db.change_group("a", "y", Some("new"), None).await.expect("change"));
    assert!(!db.change_group("b", "y", Some("stolen"), None).await.expect("change"));
    let changed = db.group("a", "y").await.expect("group").expect("it is there");
    assert_eq!((changed.name.as_str(), changed.is_public), ("new", true));

    assert!(!db.remove_group("b", "y").await.expect("remove"));
    assert!(db.remove_group("a", "y").await.expect("remove"));
    assert!(!db.remove_group("a", "y").await.expect("remove"));
    assert_eq!((db.group("a", "y").await.expect("group"), of(GroupTest::Without).await), (None, 2));
    assert_whole(&db).await;
}

async fn an_account_has_so_many_groups(db: Db) {
    account(&db, "a", 100).await;
    account(&db, "b", 100).await;
    for (id, account, fits) in [("1", "a", true), ("2", "a", true), ("3", "a", false), ("4", "b", true)] {
        assert_eq!(db.create_group(&group(id, account, 1), 2).await.expect("create"), fits, "{id}");
    }
}

async fn pins_are_found_by_size_kind_and_part_of_their_cid(db: Db) {
    account(&db, "a", 100).await;
    for root in 1..4 {
        store_file(&db, "a", root, u64::from(root), root).await;
    }
    let pin = db.pin("a", &cid(2)).await.expect("pin").expect("one").id;
    let kind = Some(PinKind { mime_type: "text/plain".into(), files: 1 });
    assert_eq!(describe(&db, "a", &pin, &PinChange { kind, ..PinChange::default() }).await, Described::Done);
    let find = async |filter: PinFilter| {
        let found = db.find_pins("a", &filter, 9).await.expect("find").pins;
        let mut sizes: Vec<u64> = found.into_iter().map(|found| found.pin.size_bytes).collect();
        sizes.sort_unstable();
        sizes
    };
    let any = PinFilter::default;
    assert_eq!(find(PinFilter { size_bytes: (Some(2), None), ..any() }).await, [2, 3]);
    assert_eq!(find(PinFilter { size_bytes: (Some(2), Some(2)), ..any() }).await, [2]);
    assert_eq!(find(PinFilter { mime_type: Some("text/plain".into()), ..any() }).await, [2]);
    let text = cid(3).to_string();
    assert_eq!(find(PinFilter { cid_part: Some(text[20..40].into()), ..any() }).await, [3]);
    assert_eq!(find(PinFilter { cid_part: Some("bafkrei".into()), ..any() }).await, [1, 2, 3]);
    assert_eq!(find(PinFilter { cid_part: Some("%".into()), ..any() }).await, [0; 0]);
}
