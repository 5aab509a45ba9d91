//! Whatever happens in whatever order, the cache gives out what was put in or nothing, and stays within its limits.

use std::collections::HashSet;

use proptest::prelude::*;

use super::{SMALL, block, bytes_in, has, open_small};

#[derive(Clone, Copy, Debug)]
enum Step {
    Offer(u64),
    Get(u64),
    Flush,
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..IDS).prop_map(Step::Offer),
        20 => (0..IDS).prop_map(Step::Get),
        4 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

/// Blocks the model works with; together they are three times what the cache holds.
const IDS: u64 = 160;

/// Lengths from one byte up to most of a file, small ones more often.
fn len_of(id: u64) -> usize {
    let shift = id % 16;
    1 + usize::try_from(id.wrapping_mul(7919) % (1 << shift)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_may_miss_but_is_never_wrong(steps in proptest::collection::vec(any_step(), 100..800)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut cache = open_small(dir.path());
            let mut offered = HashSet::new();
            for step in steps {
                match step {
                    Step::Offer(id) => {
                        cache.offer(block(id, len_of(id)));
                        offered.insert(id);
                    }
                    Step::Get(id) => {
                        let found = has(&cache, &block(id, len_of(id))).await;
                        assert!(!found || offered.contains(&id), "found what was never offered");
                    }
                    Step::Flush => cache.flush().await,
                    Step::Reopen => {
                        let before = {
                            cache.close().await;
                            cache.stats()
                        };
                        cache = open_small(dir.path());
                        assert_eq!(cache.stats().entries, before.entries, "a clean restart loses nothing");
                    }
                }
                let stats = cache.stats();
                assert_eq!((stats.corrupt, stats.failed, stats.dropped), (0, 0, 0));
                assert!(stats.bytes <= SMALL.bytes_max && stats.entries <= SMALL.records_max);
                assert!(bytes_in(dir.path()) <= SMALL.bytes_max);
            }
        });
    }
}
