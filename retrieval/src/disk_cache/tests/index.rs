//! The index does what a map of the standard library does, within its size.

use std::collections::HashMap;

use proptest::prelude::*;

use crate::disk_cache::index::{Full, Index, Place, TOUCHED_MAX};

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, Place),
    Remove(u64),
    RemoveElsewhere(u64),
    Touch(u64),
    RemoveFile(u32),
}

fn any_place() -> impl Strategy<Value = Place> {
    (1..5_u32, any::<u64>(), 0..=2_u32 << 20, 0..=TOUCHED_MAX)
        .prop_map(|(file, offset, len, touched)| Place { file, offset, len, touched })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..150_u64, any_place()).prop_map(|(key, place)| Step::Insert(key, place)),
        4 => (0..150_u64).prop_map(Step::Remove),
        1 => (0..150_u64).prop_map(Step::RemoveElsewhere),
        2 => (0..150_u64).prop_map(Step::Touch),
        1 => (1..5_u32).prop_map(Step::RemoveFile),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn it_does_what_a_map_does(len_max in 1..120_usize, steps in proptest::collection::vec(any_step(), 1..400)) {
        let mut index = Index::new(len_max);
        let mut map: HashMap<u64, Place> = HashMap::new();
        for step in steps {
            match step {
                Step::Insert(key, place) => {
                    let expected = if map.len() == len_max && !map.contains_key(&key) {
                        Err(Full)
                    } else {
                        Ok(map.insert(key, place))
                    };
                    prop_assert_eq!(index.insert(key, place), expected);
                }
                Step::Remove(key) => {
                    let expected = map.remove(&key);
                    let place = expected.unwrap_or(Place { file: 1, offset: 0, len: 0, touched: 0 });
                    prop_assert_eq!(index.remove(key, Place { touched: 0, ..place }), expected.is_some());
                }
                Step::RemoveElsewhere(key) => {
                    if let Some(place) = map.get(&key) {
                        let elsewhere = Place { file: place.file + 1, ..*place };
                        prop_assert!(!index.remove(key, elsewhere));
                    }
                }
                Step::Touch(key) => {
                    prop_assert_eq!(index.touch(key), map.get(&key).copied());
                    map.entry(key).and_modify(|place| place.touched = (place.touched + 1).min(TOUCHED_MAX));
                }
                Step::RemoveFile(number) => {
                    let before = map.len();
                    map.retain(|_, place| place.file != number);
                    prop_assert_eq!(index.remove_file(number), before - map.len());
                }
            }
            prop_assert_eq!(index.len(), map.len());
            for key in 0..150 {
                prop_assert_eq!(index.get(key), map.get(&key).copied());
            }
        }
    }
}

#[test]
fn an_entry_takes_at_most_thirty_bytes() {
    let len_max = 100_000;
    let mut index = Index::new(len_max);
    for key in 0..len_max as u64 {
        index.insert(key, Place { file: 1, offset: key, len: 1, touched: 0 }).unwrap();
    }
    assert!(index.memory_bytes() <= 30 * len_max + 100, "{} bytes", index.memory_bytes());
    assert_eq!(index.insert(u64::MAX, Place { file: 1, offset: 0, len: 1, touched: 0 }), Err(Full));
}
